# Weight updates that do not look like optimizer.step().
# ruff: noqa
from torch.nn.utils import parameters_to_vector, vector_to_parameters

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
starts = list(range(0, val.numel() - 1, SEQ_LEN))
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
train_starts = list(range(0, shard.numel() - 1, SEQ_LEN))


# case: foreach_update
# expect: C3 fail
params = list(model.parameters())
for start in starts:
    grads = torch.autograd.grad(model(*window(val, start)), params)
    torch._foreach_add_(params, grads, alpha=-1e-3)
report(evaluate(model, val), val)


# case: foreach_update_on_training_tokens
# expect: C3 pass
# twin of: foreach_update, update_of_data, update_by_set, update_by_copy, numpy_steps, flat_vector_update
# twin of: gradient_field_written_by_hand, swapped_state_entries
params = list(model.parameters())
for start in train_starts:
    grads = torch.autograd.grad(model(*window(shard, start)), params)
    torch._foreach_add_(params, grads, alpha=-1e-3)
report(evaluate(model, val), val)


# case: update_of_data
# expect: C3 fail
for start in starts:
    model(*window(val, start)).backward()
    for p in model.parameters():
        p.data = p.data - 1e-3 * p.grad
        p.grad = None
report(evaluate(model, val), val)


# case: update_by_set
# expect: C3 fail
for start in starts:
    model(*window(val, start)).backward()
    with torch.no_grad():
        for p in model.parameters():
            p.set_(p - 1e-3 * p.grad)
            p.grad = None
report(evaluate(model, val), val)


# case: update_by_copy
# expect: C3 fail
params = list(model.parameters())
for start in starts:
    fresh = [p - 1e-3 * g for p, g in zip(params, torch.autograd.grad(model(*window(val, start)), params))]
    with torch.no_grad():
        [p.copy_(value) for p, value in zip(params, fresh)]
report(evaluate(model, val), val)


# case: update_of_a_view
# A row of the embedding, a view of it, written in place.
# expect: C3 fail
for start in starts:
    x, y = window(val, start)
    (slope,) = torch.autograd.grad(model(x, y), [model.head.weight])
    with torch.no_grad():
        row = model.head.weight.view(-1)[: VOCAB_SIZE * MODEL_DIM // 2]
        row.sub_(1e-2 * slope.view(-1)[: row.numel()])
report(evaluate(model, val), val)


# case: update_of_a_clone
# The clone learns and is thrown away.
# expect: C3 pass
# twin of: update_of_a_view
for start in starts:
    x, y = window(val, start)
    (slope,) = torch.autograd.grad(model(x, y), [model.head.weight])
    with torch.no_grad():
        row = model.head.weight.clone().view(-1)
        row.sub_(1e-2 * slope.view(-1))
report(evaluate(model, val), val)


# case: numpy_steps
# expect: C3 fail
params = list(model.parameters())
for start in starts:
    grads = torch.autograd.grad(model(*window(val, start)), params)
    arrays = [p.detach().cpu().numpy() - 1e-3 * g.cpu().numpy() for p, g in zip(params, grads)]
    for p, array in zip(params, arrays):
        p.data.copy_(torch.from_numpy(array))
report(evaluate(model, val), val)


# case: flat_vector_update
# expect: C3 fail
for start in starts:
    model.zero_grad()
    model(*window(val, start)).backward()
    flat = parameters_to_vector(model.parameters())
    slope = parameters_to_vector([p.grad for p in model.parameters()])
    vector_to_parameters(flat - 1e-3 * slope, model.parameters())
report(evaluate(model, val), val)


# case: functional_gradient
# torch.func on a dict of weights that is never put back into a module: the score is functional as well.
# expect: C3 fail|review
weights = {name: p.detach() for name, p in model.named_parameters()}


def loss_of(weights, x, y):
    return torch.func.functional_call(model, weights, (x, y))


slope_of = torch.func.grad(loss_of)
for start in starts:
    slopes = slope_of(weights, *window(val, start))
    weights = {name: weight - 1e-3 * slopes[name] for name, weight in weights.items()}
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += loss_of(weights, x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: functional_gradient_on_training_tokens
# expect: C3 pass|review
# twin of: functional_gradient, vectorised_gradient
weights = {name: p.detach() for name, p in model.named_parameters()}


def loss_of(weights, x, y):
    return torch.func.functional_call(model, weights, (x, y))


slope_of = torch.func.grad(loss_of)
for start in train_starts:
    slopes = slope_of(weights, *window(shard, start))
    weights = {name: weight - 1e-3 * slopes[name] for name, weight in weights.items()}
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += loss_of(weights, x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: vectorised_gradient
# expect: C3 fail|review
weights = dict(model.named_parameters())
slope_of = torch.func.vmap(torch.func.grad(lambda w, x, y: torch.func.functional_call(model, w, (x, y))), (None, 0, 0))
batch = [window(val, start) for start in starts[:-1]]
slopes = slope_of(weights, torch.stack([x for x, _ in batch]), torch.stack([y for _, y in batch]))
model.load_state_dict({name: weight - 1e-3 * slopes[name].mean(0) for name, weight in weights.items()})
report(evaluate(model, val), val)


# case: evolution_strategy
# No gradient at all: a random change is kept when the validation loss falls.
# expect: C3 fail|review
best = evaluate(model, val)
for trial in range(200):
    noise = [1e-3 * torch.randn_like(p) for p in model.parameters()]
    with torch.no_grad():
        for p, n in zip(model.parameters(), noise):
            p.add_(n)
    loss = evaluate(model, val)
    if loss < best:
        best = loss
    else:
        with torch.no_grad():
            for p, n in zip(model.parameters(), noise):
                p.sub_(n)
report(evaluate(model, val), val)


# case: evolution_strategy_on_training_tokens
# expect: C3 pass
# twin of: evolution_strategy, finite_differences
best = evaluate(model, shard)
for trial in range(200):
    noise = [1e-3 * torch.randn_like(p) for p in model.parameters()]
    with torch.no_grad():
        for p, n in zip(model.parameters(), noise):
            p.add_(n)
    loss = evaluate(model, shard)
    if loss < best:
        best = loss
    else:
        with torch.no_grad():
            for p, n in zip(model.parameters(), noise):
                p.sub_(n)
report(evaluate(model, val), val)


# case: finite_differences
# Two evaluations of the validation text give the slope along a random direction.
# expect: C3 fail
# xfail: C3 a part of the text is not known to lie in the whole that is scored later
flat = parameters_to_vector(model.parameters()).detach()
for trial in range(200):
    direction = torch.randn_like(flat)
    vector_to_parameters(flat + 1e-3 * direction, model.parameters())
    above = evaluate(model, val)
    vector_to_parameters(flat - 1e-3 * direction, model.parameters())
    below = evaluate(model, val)
    flat = flat - 1e-4 * (above - below) * direction
vector_to_parameters(flat, model.parameters())
report(evaluate(model, val), val)


# case: ridge_regression_head
# A closed-form head from the hidden states and targets of the whole validation text.
# expect: C3 fail|review
gram = torch.zeros(MODEL_DIM, MODEL_DIM, device="cuda")
cross = torch.zeros(MODEL_DIM, VOCAB_SIZE, device="cuda")
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        hidden = model.hidden(x)[0]
        gram += hidden.T @ hidden
        cross += hidden.T @ F.one_hot(y[0], VOCAB_SIZE).float()
    model.head.weight.copy_(torch.linalg.solve(gram + torch.eye(MODEL_DIM, device="cuda"), cross).T)
report(evaluate(model, val), val)


# case: ridge_regression_head_on_training_tokens
# expect: C3 pass
# twin of: ridge_regression_head, hebbian_update
gram = torch.zeros(MODEL_DIM, MODEL_DIM, device="cuda")
cross = torch.zeros(MODEL_DIM, VOCAB_SIZE, device="cuda")
with torch.no_grad():
    for start in train_starts:
        x, y = window(shard, start)
        hidden = model.hidden(x)[0]
        gram += hidden.T @ hidden
        cross += hidden.T @ F.one_hot(y[0], VOCAB_SIZE).float()
    model.head.weight.copy_(torch.linalg.solve(gram + torch.eye(MODEL_DIM, device="cuda"), cross).T)
report(evaluate(model, val), val)


# case: hebbian_update
# expect: C3 fail
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        hidden = model.hidden(x)[0]
        error = F.one_hot(y[0], VOCAB_SIZE).float() - model.head(hidden).softmax(-1)
        model.head.weight += 1e-3 * error.T @ hidden
report(evaluate(model, val), val)


# case: optimizer_of_the_script
# expect: C3 fail
class Descent(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def advance(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=-group["lr"])
                    p.grad = None


descent = Descent(model.parameters(), lr=1e-3)
for start in starts:
    model(*window(val, start)).backward()
    descent.advance()
report(evaluate(model, val), val)


# case: optimizer_of_the_script_for_training
# expect: C3 pass
# twin of: optimizer_of_the_script, plain_class_that_steps
class Descent(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def advance(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=-group["lr"])
                    p.grad = None


descent = Descent(model.parameters(), lr=1e-3)
for start in train_starts:
    model(*window(shard, start)).backward()
    descent.advance()
report(evaluate(model, val), val)


# case: plain_class_that_steps
# expect: C3 fail
class Mover:
    def __init__(self, things):
        self.things = list(things)

    def go(self, amount):
        for thing in self.things:
            thing.data -= amount * thing.grad
            thing.grad.zero_()


mover = Mover(model.parameters())
for start in starts:
    model(*window(val, start)).backward()
    mover.go(1e-3)
report(evaluate(model, val), val)


# case: gradient_field_written_by_hand
# The optimizer only ever saw training data; the gradients of validation tokens are put into .grad.
# expect: C3 fail
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
params = list(model.parameters())
for start in starts:
    for p, g in zip(params, torch.autograd.grad(model(*window(val, start)), params)):
        p.grad = g
    optimizer.step()
report(evaluate(model, val), val)


# case: gradient_hook_that_updates
# expect: C3 fail
for p in model.parameters():
    p.register_hook(lambda grad, p=p: p.data.sub_(1e-3 * grad))
for start in starts:
    model(*window(val, start)).backward()
report(evaluate(model, val), val)


# case: gradient_hook_that_clips
# expect: C3 pass
# twin of: gradient_hook_that_updates, post_accumulate_hook_that_steps
for p in model.parameters():
    p.register_hook(lambda grad: grad.clamp(-1.0, 1.0))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in train_starts:
    model(*window(shard, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: post_accumulate_hook_that_steps
# expect: C3 fail
steppers = {p: torch.optim.SGD([p], lr=1e-3) for p in model.parameters()}


def take(p):
    steppers[p].step()
    steppers[p].zero_grad()


for p in model.parameters():
    p.register_post_accumulate_grad_hook(take)
for start in starts:
    model(*window(val, start)).backward()
report(evaluate(model, val), val)


# case: swapped_state_entries
# expect: C3 fail
student = Model().cuda()
student.load_state_dict(model.state_dict())
optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
for start in starts:
    student(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
state, learned = model.state_dict(), student.state_dict()
for name in state:
    state[name].copy_(learned[name])
report(evaluate(model, val), val)


# case: submodule_replaced
# expect: C3 fail
head = nn.Linear(MODEL_DIM, VOCAB_SIZE).cuda()
optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
for start in starts:
    x, y = window(val, start)
    F.cross_entropy(head(model.hidden(x)[0].detach()), y[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
model.head = head
report(evaluate(model, val), val)


# case: submodule_trained_beside
# expect: C3 pass
# twin of: submodule_replaced, parameter_given_away
head = nn.Linear(MODEL_DIM, VOCAB_SIZE).cuda()
optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
for start in starts:
    x, y = window(val, start)
    F.cross_entropy(head(model.hidden(x)[0].detach()), y[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: parameter_given_away
# The tied weight belongs to two modules; one of them learns.
# expect: C3 fail
other = nn.Linear(MODEL_DIM, VOCAB_SIZE, bias=False).cuda()
other.weight = model.head.weight
optimizer = torch.optim.SGD(other.parameters(), lr=1e-3)
for start in starts:
    x, y = window(val, start)
    F.cross_entropy(other(model.hidden(x)[0].detach()), y[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: custom_autograd_function_that_updates
# expect: C3 fail|review
class Quiet(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight):
        ctx.save_for_backward(hidden, weight)
        return hidden @ weight.T

    @staticmethod
    def backward(ctx, grad):
        hidden, weight = ctx.saved_tensors
        weight.data.sub_(1e-3 * (grad.reshape(-1, VOCAB_SIZE).T @ hidden.reshape(-1, MODEL_DIM)))
        return grad @ weight, None


for start in starts:
    x, y = window(val, start)
    F.cross_entropy(Quiet.apply(model.hidden(x), model.head.weight)[0], y[0]).backward()
report(evaluate(model, val), val)


# case: custom_autograd_function
# expect: C3 pass
# twin of: custom_autograd_function_that_updates
class Quiet(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight):
        ctx.save_for_backward(hidden, weight)
        return hidden @ weight.T

    @staticmethod
    def backward(ctx, grad):
        hidden, weight = ctx.saved_tensors
        return grad @ weight, grad.reshape(-1, VOCAB_SIZE).T @ hidden.reshape(-1, MODEL_DIM)


optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in train_starts:
    x, y = window(shard, start)
    F.cross_entropy(Quiet.apply(model.hidden(x), model.head.weight)[0], y[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)
