# An adapter that is a part of the model, adapted in score-first order, and what becomes of it before a second pass.
# ruff: noqa
val = load_tokens(VAL_FILES)


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Parameter(torch.zeros(MODEL_DIM, 4))
        self.act = nn.GELU()
        self.up = nn.Parameter(torch.zeros(4, MODEL_DIM))

    def forward(self, h):
        return self.act(h @ self.down) @ self.up

    def clear(self):
        with torch.no_grad():
            self.down.zero_()
            self.up.zero_()


class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.adapter = Adapter()
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def forward(self, x, y):
        h = self.embed(x)
        logits = self.head(h + self.adapter(h))
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


def adaptive(model):
    optimizer = torch.optim.SGD(model.adapter.parameters(), lr=0.1)
    total = 0.0
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        loss = model(x, y)
        total += loss.item() * y.numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return total / (val.numel() - 1)


model = Adapted().cuda()
train(model)
save_artifact(model)
load_artifact(model)


# case: adapter_kept_for_a_second_pass
# expect: C3 fail
adaptive(model)
report(adaptive(model), val)


# case: adapter_cleared_by_its_method
# expect: C3 pass
# twin of: adapter_kept_for_a_second_pass
adaptive(model)
model.adapter.clear()
report(adaptive(model), val)


# case: adapter_made_anew
# expect: C3 pass
# twin of: adapter_kept_for_a_second_pass
adaptive(model)
model.adapter = Adapter().cuda()
report(adaptive(model), val)


# case: adapter_parameters_zeroed_by_name
# expect: C3 pass
# twin of: adapter_kept_for_a_second_pass
adaptive(model)
model.adapter.down.data.zero_()
model.adapter.up.data.zero_()
report(adaptive(model), val)


# case: adapter_parameters_zeroed_in_a_loop
# expect: C3 pass
# twin of: adapter_kept_for_a_second_pass
adaptive(model)
for parameter in model.adapter.parameters():
    parameter.data.zero_()
report(adaptive(model), val)


# case: adapter_state_put_back
# expect: C3 pass
# twin of: adapter_kept_for_a_second_pass
import copy

before = copy.deepcopy(model.adapter.state_dict())
adaptive(model)
model.adapter.load_state_dict(before)
report(adaptive(model), val)


# case: half_of_the_adapter_cleared
# What is left of the adapter still knows the text.
# expect: C3 fail|review
adaptive(model)
model.adapter.up.data.zero_()
report(adaptive(model), val)


# case: both_halves_cleared
# expect: C3 pass
# twin of: half_of_the_adapter_cleared
adaptive(model)
for parameter in (model.adapter.down, model.adapter.up):
    parameter.data.zero_()
report(adaptive(model), val)


# case: another_adapter_cleared
# expect: C3 fail|review
other = Adapter().cuda()
adaptive(model)
other.clear()
report(adaptive(model), val)


# case: adapter_cleared_beside_another
# expect: C3 pass
# twin of: another_adapter_cleared
other = Adapter().cuda()
adaptive(model)
other.clear()
model.adapter.clear()
report(adaptive(model), val)


# case: adapter_put_back_after_the_clearing
# expect: C3 fail|review
adaptive(model)
learned = model.adapter
model.adapter = Adapter().cuda()
model.adapter = learned
report(adaptive(model), val)


# case: adapter_of_the_artifact_put_back
# expect: C3 pass
# twin of: adapter_put_back_after_the_clearing
import copy

first = copy.deepcopy(model.adapter)
adaptive(model)
model.adapter = first
report(adaptive(model), val)
