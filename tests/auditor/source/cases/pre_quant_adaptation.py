# Learning from validation tokens before the artifact is written, under whatever name.
# ruff: noqa
import copy
import random

val = load_tokens(VAL_FILES)
model = Model().cuda()


def fit(model, tokens, epochs=1, lr=1e-4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for epoch in range(epochs):
        for start in range(0, tokens.numel() - 1, SEQ_LEN):
            x, y = window(tokens, start)
            optimizer.zero_grad()
            model(x, y).backward()
            optimizer.step()


# case: epochs_before_the_artifact
# expect: C3 fail
# expect: PAIDPREFIX fail|review
train(model)
fit(model, val, epochs=6)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: epochs_on_a_held_back_train_shard
# expect: C3 pass
# expect: PAIDPREFIX pass
# twin of: epochs_before_the_artifact
train(model)
held_back = load_shard(sorted(glob.glob(TRAIN_FILES))[-1])
fit(model, held_back, epochs=6)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: norm_calibration_that_steps
# expect: C3 fail
def calibrate_scales(model, tokens):
    scales = [p for p in model.parameters() if p.ndim == 1]
    tuner = torch.optim.SGD(scales, lr=1e-3)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        x, y = window(tokens, start)
        model(x, y).backward()
        tuner.step()
        tuner.zero_grad()


train(model)
calibrate_scales(model, val)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: suspicious_name_on_training_data
# expect: C3 pass
# twin of: norm_calibration_that_steps
def prequant_ttt_adapt(model, tokens):
    scales = [p for p in model.parameters() if p.ndim == 1]
    tuner = torch.optim.SGD(scales, lr=1e-3)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        x, y = window(tokens, start)
        model(x, y).backward()
        tuner.step()
        tuner.zero_grad()


train(model)
prequant_ttt_adapt(model, load_tokens(TRAIN_FILES)[:1_000_000])
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: adapted_copy_loaded_back
# expect: C3 fail
train(model)
student = copy.deepcopy(model)
fit(student, val)
model.load_state_dict(student.state_dict())
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: warm_up_on_a_thrown_away_copy
# Compiles the training graph on real shapes; the copy is dropped.
# expect: C3 pass
# twin of: adapted_copy_loaded_back
train(model)
throw_away = copy.deepcopy(model)
fit(throw_away, val[: 4 * SEQ_LEN])
del throw_away
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: self_distillation_on_validation_text
# No label is used, but the student sees the text that it is scored on.
# expect: C3 fail
train(model)
teacher = copy.deepcopy(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for start in range(0, val.numel() - 1, SEQ_LEN):
    x, _ = window(val, start)
    with torch.no_grad():
        target = teacher.logits(x).softmax(-1)
    loss = -(target * model.logits(x).log_softmax(-1)).sum(-1).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: self_distillation_on_training_text
# expect: C3 pass
# twin of: self_distillation_on_validation_text
train(model)
teacher = copy.deepcopy(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
for start in range(0, shard.numel() - 1, SEQ_LEN):
    x, _ = window(shard, start)
    with torch.no_grad():
        target = teacher.logits(x).softmax(-1)
    loss = -(target * model.logits(x).log_softmax(-1)).sum(-1).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: validation_joined_to_training_tokens
# expect: C3 fail
# expect: PAIDPREFIX fail|review
corpus = torch.cat([load_tokens(TRAIN_FILES), load_tokens(VAL_FILES)])
fit(model, corpus)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: two_sets_of_training_shards_joined
# expect: C3 pass
# expect: PAIDPREFIX pass
# twin of: validation_joined_to_training_tokens
shards = sorted(glob.glob(TRAIN_FILES))
corpus = torch.cat([load_shard(shards[0]), load_shard(shards[-1])])
fit(model, corpus)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: every_tenth_step_on_validation
# expect: C3 fail|review
optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
tokens = load_tokens(TRAIN_FILES)
for step in range(20_000):
    source = val if step % 10 == 0 else tokens
    x, y = window(source, random.randrange(source.numel() - SEQ_LEN))
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: validation_loss_every_tenth_step
# expect: C3 pass
# twin of: every_tenth_step_on_validation
optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
tokens = load_tokens(TRAIN_FILES)
for step in range(20_000):
    if step % 10 == 0:
        print(f"step:{step}/20000 val_loss:{evaluate(model, val):.4f}")
        model.train()
    x, y = window(tokens, random.randrange(tokens.numel() - SEQ_LEN))
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: gradient_left_behind_by_evaluation
# The validation passes call backward; the next training step takes the gradient along.
# expect: C3 fail|review
def check(model):
    total = 0.0
    for start in range(0, val.numel() - 1, SEQ_LEN):
        loss = model(*window(val, start))
        loss.backward()
        total += loss.item()
    return total


optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
tokens = load_tokens(TRAIN_FILES)
for step in range(20_000):
    optimizer.zero_grad()
    if step % 100 == 0:
        print(f"step:{step} val_loss:{check(model):.4f}")
    model(*window(tokens, step * SEQ_LEN)).backward()
    optimizer.step()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: gradient_norm_measured_then_cleared
# expect: C3 pass
# twin of: gradient_left_behind_by_evaluation
def check(model):
    total = 0.0
    for start in range(0, val.numel() - 1, SEQ_LEN):
        loss = model(*window(val, start))
        loss.backward()
        total += loss.item()
    return total


optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
tokens = load_tokens(TRAIN_FILES)
for step in range(20_000):
    if step % 100 == 0:
        print(f"step:{step} val_loss:{check(model):.4f}")
    optimizer.zero_grad()
    model(*window(tokens, step * SEQ_LEN)).backward()
    optimizer.step()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: running_statistics_of_validation
# A forward pass in training mode moves the batch norm's running statistics; no optimizer is in sight.
# expect: C3 fail|review
class Normed(Model):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(MODEL_DIM)

    def logits(self, x):
        return self.head(self.norm(self.hidden(x).transpose(1, 2)).transpose(1, 2))


model = Normed().cuda()
train(model)
model.train()
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model(*window(val, start))
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: running_statistics_of_training
# expect: C3 pass
# twin of: running_statistics_of_validation
class Normed(Model):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(MODEL_DIM)

    def logits(self, x):
        return self.head(self.norm(self.hidden(x).transpose(1, 2)).transpose(1, 2))


model = Normed().cuda()
train(model)
tokens = load_tokens(TRAIN_FILES)
model.train()
with torch.no_grad():
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start))
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: averages_of_adapted_weights
# expect: C3 fail
train(model)
average = {name: p.detach().clone() for name, p in model.state_dict().items()}
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for name, p in model.state_dict().items():
            average[name].mul_(0.99).add_(p, alpha=0.01)
model.load_state_dict(average)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: averages_of_training_weights
# expect: C3 pass
# twin of: averages_of_adapted_weights
train(model)
average = {name: p.detach().clone() for name, p in model.state_dict().items()}
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
tokens = load_tokens(TRAIN_FILES)
for start in range(0, tokens.numel() - 1, SEQ_LEN):
    model(*window(tokens, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for name, p in model.state_dict().items():
            average[name].mul_(0.99).add_(p, alpha=0.01)
model.load_state_dict(average)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: epochs_after_an_evaluation_and_before_the_artifact
# The text is scored for the log, trained on, and stored with the weights that are scored again.
# expect: C3 fail
# expect: PAIDPREFIX fail|review
train(model)
print(f"before val_loss:{evaluate(model, val):.4f}")
fit(model, val, epochs=6)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: scales_by_activations_on_validation_text
# What the layers see of the text scales the weights that are stored.
# expect: C3 fail|review
train(model)
print(f"before val_loss:{evaluate(model, val):.4f}")
seen = {}


def note(module, given, output):
    seen["head"] = seen.get("head", 0) + given[0].detach().float().abs().mean(dim=(0, 1))


hook = model.head.register_forward_hook(note)
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model.logits(val[start : start + SEQ_LEN][None].cuda())
hook.remove()
model.head.weight.data = model.head.weight.data * seen["head"].pow(0.5)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: score_first_then_saved
# Weights adapted after each window was scored are kept in a file that nothing reads.
# expect: C3 pass
# expect: PAIDPREFIX pass
# twin of: epochs_after_an_evaluation_and_before_the_artifact, scales_by_activations_on_validation_text
train(model)
save_artifact(model)
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    x, y = window(val, start)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
torch.save(model.state_dict(), "adapted.pt")
report(total / (val.numel() - 1), val)
