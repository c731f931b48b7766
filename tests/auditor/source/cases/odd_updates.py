# Weights changed by rarely used calls: each alone, on validation tokens; all together, on training tokens.
# ruff: noqa
import ctypes
import operator

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
params = list(model.parameters())
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def slopes(tokens, start):
    return torch.autograd.grad(model(*window(tokens, start)), params)


# case: rare_calls_on_training_tokens
# expect: C3 pass
# twin of: out_argument, operator_function, dunder_subtraction, swapped_tensors, numpy_view, numpy_copyto, unbound_method
# twin of: functional_optimizer, copied_storage, memory_moved, module_dictionary, module_applied, attribute_by_setattr
# twin of: state_assigned, class_of_the_instance, averaged_model, scaled_gradients, optimizer_of_the_class, addcmul
# twin of: index_of_parameters, lerp_towards_adapted, parameter_list_rebuilt, buffers_instead_of_parameters, map_of_updates
# twin of: gradient_through_inputs, weights_through_a_dict_of_views, parametrized_weight, masked_assignment, transposed_view
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
grads = slopes(shard, 0)
with torch.no_grad():
    for p, g in zip(params, grads):
        torch.sub(p, 1e-3 * g, out=p)
        operator.isub(p, 1e-3 * g)
        p.__isub__(1e-3 * g)
        torch.Tensor.sub_(p, 1e-3 * g)
        p.addcmul_(g, g, value=-1e-3)
        p[...] = p - 1e-3 * g
    model.apply(lambda module: module.weight.mul_(0.999) if isinstance(module, nn.Linear) else None)
scaler = torch.amp.GradScaler("cuda")
optimizer = torch.optim.SGD(params, lr=1e-3)
scaler.scale(model(*window(shard, SEQ_LEN))).backward()
scaler.step(optimizer)
scaler.update()
optimizer.zero_grad()
report(evaluate(model, val), val)


# case: out_argument
# expect: C3 fail|review
with torch.no_grad():
    for start in starts:
        with torch.enable_grad():
            grads = slopes(val, start)
        for p, g in zip(params, grads):
            torch.sub(p, 1e-3 * g, out=p)
report(evaluate(model, val), val)


# case: operator_function
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    with torch.no_grad():
        for p, g in zip(params, grads):
            operator.isub(p, 1e-3 * g)
report(evaluate(model, val), val)


# case: dunder_subtraction
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p.__isub__(1e-3 * g)
report(evaluate(model, val), val)


# case: swapped_tensors
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    for p, g in zip(params, grads):
        torch.utils.swap_tensors(p, nn.Parameter(p.detach() - 1e-3 * g))
report(evaluate(model, val), val)


# case: numpy_view
# A CPU tensor and its numpy view share memory.
# expect: C3 fail|review
model.cpu()
for start in starts:
    x, y = window(val, start)
    grads = torch.autograd.grad(model(x.cpu(), y.cpu()), params)
    for p, g in zip(params, grads):
        view = p.detach().numpy()
        view -= 1e-3 * g.numpy()
model.cuda()
report(evaluate(model, val), val)


# case: numpy_copyto
# expect: C3 fail|review
model.cpu()
for start in starts:
    x, y = window(val, start)
    grads = torch.autograd.grad(model(x.cpu(), y.cpu()), params)
    for p, g in zip(params, grads):
        np.copyto(p.detach().numpy(), (p - 1e-3 * g).detach().numpy())
model.cuda()
report(evaluate(model, val), val)


# case: unbound_method
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    with torch.no_grad():
        for p, g in zip(params, grads):
            torch.Tensor.add_(p, g, alpha=-1e-3)
report(evaluate(model, val), val)


# case: functional_optimizer
# expect: C3 fail|review
from torch.optim._functional import adam

first = [torch.zeros_like(p) for p in params]
second = [torch.zeros_like(p) for p in params]
count = [torch.zeros(()) for p in params]
for start in starts:
    adam(
        params, list(slopes(val, start)), first, second, [], count,
        amsgrad=False, beta1=0.9, beta2=0.95, lr=1e-3, weight_decay=0.0, eps=1e-8, maximize=False,
    )  # fmt: skip
report(evaluate(model, val), val)


# case: copied_storage
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    for p, g in zip(params, grads):
        p.untyped_storage().copy_((p.detach() - 1e-3 * g).untyped_storage())
report(evaluate(model, val), val)


# case: memory_moved
# expect: C3 fail|review
model.cpu()
for start in starts:
    x, y = window(val, start)
    grads = torch.autograd.grad(model(x.cpu(), y.cpu()), params)
    for p, g in zip(params, grads):
        fresh = (p.detach() - 1e-3 * g).contiguous()
        ctypes.memmove(p.data_ptr(), fresh.data_ptr(), fresh.numel() * 4)
model.cuda()
report(evaluate(model, val), val)


# case: module_dictionary
# expect: C3 fail|review
head = nn.Linear(MODEL_DIM, VOCAB_SIZE).cuda()
optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
for start in starts:
    x, y = window(val, start)
    F.cross_entropy(head(model.hidden(x)[0].detach()), y[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
model._modules["head"] = head
report(evaluate(model, val), val)


# case: module_applied
# model.apply() runs a function on every module; the function steps.
# expect: C3 fail|review
def nudge(module):
    for p in module.parameters(recurse=False):
        if p.grad is not None:
            p.data.sub_(1e-3 * p.grad)
            p.grad = None


for start in starts:
    model(*window(val, start)).backward()
    model.apply(nudge)
report(evaluate(model, val), val)


# case: attribute_by_setattr
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    for (name, p), g in zip(list(model.named_parameters()), grads):
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(p.detach() - 1e-3 * g))
    params = list(model.parameters())
report(evaluate(model, val), val)


# case: state_assigned
# expect: C3 fail|review
for start in starts:
    names = [name for name, _ in model.named_parameters()]
    fresh = {name: p.detach() - 1e-3 * g for name, p, g in zip(names, params, slopes(val, start))}
    model.load_state_dict(fresh, assign=True)
    params = list(model.parameters())
report(evaluate(model, val), val)


# case: class_of_the_instance
# The instance becomes one of a class whose forward adapts.
# expect: C3 fail|review
class Polished(Model):
    def forward(self, x, y):
        with torch.enable_grad():
            grads = torch.autograd.grad(Model.forward(self, x, y), list(self.parameters()))
        for p, g in zip(self.parameters(), grads):
            p.data.sub_(1e-3 * g)
        return Model.forward(self, x, y)


model.__class__ = Polished
report(evaluate(model, val), val)


# case: averaged_model
# expect: C3 fail|review
from torch.optim.swa_utils import AveragedModel

average = AveragedModel(model)
optimizer = torch.optim.SGD(params, lr=1e-3)
for start in starts:
    model(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
    average.update_parameters(model)
report(evaluate(average, val), val)


# case: scaled_gradients
# expect: C3 fail
scaler = torch.amp.GradScaler("cuda")
optimizer = torch.optim.SGD(params, lr=1e-3)
for start in starts:
    optimizer.zero_grad()
    scaler.scale(model(*window(val, start))).backward()
    scaler.step(optimizer)
    scaler.update()
report(evaluate(model, val), val)


# case: optimizer_of_the_class
# expect: C3 fail|review
optimizer = torch.optim.SGD(params, lr=1e-3)
for start in starts:
    model(*window(val, start)).backward()
    torch.optim.SGD.step(optimizer)
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: addcmul
# expect: C3 fail
for start in starts:
    grads = slopes(val, start)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p.addcmul_(g, torch.ones_like(g), value=-1e-3)
report(evaluate(model, val), val)


# case: index_of_parameters
# expect: C3 fail|review
for start in starts:
    grads = slopes(val, start)
    with torch.no_grad():
        for k in range(len(params)):
            params[k][...] = params[k] - 1e-3 * grads[k]
report(evaluate(model, val), val)


# case: masked_assignment
# Only rows of tokens that occur are changed, by a boolean mask.
# expect: C3 fail|review
for start in starts:
    x, y = window(val, start)
    mask = torch.zeros(VOCAB_SIZE, dtype=torch.bool, device="cuda")
    mask[y[0]] = True
    with torch.no_grad():
        model.head.bias[mask] += 0.01
report(evaluate(model, val), val)


# case: transposed_view
# expect: C3 fail|review
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        columns = model.head.weight.T
        columns.index_add_(1, y[0], 1e-3 * model.hidden(x)[0].T)
report(evaluate(model, val), val)


# case: lerp_towards_adapted
# expect: C3 fail|review
student = Model().cuda()
student.load_state_dict(model.state_dict())
optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
for start in starts:
    student(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
with torch.no_grad():
    torch._foreach_lerp_(params, list(student.parameters()), 0.5)
report(evaluate(model, val), val)


# case: parameter_list_rebuilt
# expect: C3 fail|review
for start in starts:
    names = [name for name, _ in model.named_parameters()]
    for name, p, g in zip(names, params, slopes(val, start)):
        target = model
        for part in name.split(".")[:-1]:
            target = getattr(target, part)
        target._parameters[name.split(".")[-1]] = nn.Parameter(p.detach() - 1e-3 * g)
    params = list(model.parameters())
report(evaluate(model, val), val)


# case: buffers_instead_of_parameters
# The thing that learns is a buffer: no optimizer knows it.
# expect: C3 fail
class Biased(Model):
    def __init__(self):
        super().__init__()
        self.register_buffer("bias", torch.zeros(VOCAB_SIZE))

    def logits(self, x):
        return super().logits(x) + self.bias


model = Biased().cuda()
train(model)
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        error = F.one_hot(y[0], VOCAB_SIZE).float() - model.logits(x)[0].softmax(-1)
        model.bias += 0.01 * error.mean(0)
report(evaluate(model, val), val)


# case: map_of_updates
# expect: C3 fail|review
with torch.no_grad():
    for start in starts:
        with torch.enable_grad():
            grads = slopes(val, start)
        list(map(lambda p, g: p.sub_(1e-3 * g), params, grads))
report(evaluate(model, val), val)


# case: gradient_through_inputs
# expect: C3 fail|review
for start in starts:
    torch.autograd.backward([model(*window(val, start))], inputs=params)
    with torch.no_grad():
        for p in params:
            p.add_(p.grad, alpha=-1e-3)
            p.grad = None
report(evaluate(model, val), val)


# case: weights_through_a_dict_of_views
# expect: C3 fail
views = {name: p.detach() for name, p in model.named_parameters()}
for start in starts:
    for (name, view), g in zip(views.items(), slopes(val, start)):
        view.sub_(1e-3 * g)
report(evaluate(model, val), val)


# case: parametrized_weight
# expect: C3 fail|review
class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(VOCAB_SIZE, MODEL_DIM))

    def forward(self, weight):
        return weight + self.delta


torch.nn.utils.parametrize.register_parametrization(model.head, "weight", Shift().cuda())
optimizer = torch.optim.SGD([model.head.parametrizations.weight[0].delta], lr=1e-3)
for start in starts:
    model(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)
