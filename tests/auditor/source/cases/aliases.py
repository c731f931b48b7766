# The same learning under other names: of tokens, models, optimizers, methods.
# ruff: noqa
import functools
import operator
from pathlib import Path
from types import SimpleNamespace

model = Model().cuda()


# case: optimizer_by_pieces_of_its_name
# expect: C3 fail
val = load_tokens(VAL_FILES)
train(model)
Rule = getattr(torch.optim, "Ad" + "amW")
rule = Rule(model.parameters(), lr=1e-4)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    getattr(rule, "st" + "ep")()
    rule.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: optimizer_by_name_for_training
# expect: C3 pass
# twin of: optimizer_by_pieces_of_its_name, methods_kept_in_variables
val = load_tokens(VAL_FILES)
Rule = getattr(torch.optim, os.environ.get("OPTIMIZER", "AdamW"))
rule = Rule(model.parameters(), lr=1e-4)
tokens = load_tokens(TRAIN_FILES)
advance, measure = rule.step, functools.partial(evaluate, model)
for start in range(0, tokens.numel() - 1, SEQ_LEN):
    model(*window(tokens, start)).backward()
    advance()
    rule.zero_grad()
save_artifact(model)
load_artifact(model)
report(measure(val), val)


# case: methods_kept_in_variables
# expect: C3 fail
val = load_tokens(VAL_FILES)
train(model)
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
advance, clear, back = rule.step, rule.zero_grad, torch.Tensor.backward
for start in range(0, val.numel() - 1, SEQ_LEN):
    back(model(*window(val, start)))
    advance()
    clear()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: tokens_in_a_namespace
# expect: C3 fail
box = SimpleNamespace(a=load_tokens(TRAIN_FILES), b=load_tokens(VAL_FILES))
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for part in vars(box).values():
    for start in range(0, part.numel() - 1, SEQ_LEN):
        model(*window(part, start)).backward()
        rule.step()
        rule.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, box.b), box.b)


# case: training_tokens_in_a_namespace
# expect: C3 pass
# twin of: tokens_in_a_namespace, tokens_in_nested_containers
box = SimpleNamespace(a=load_tokens(TRAIN_FILES), b=load_tokens(VAL_FILES))
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, box.a.numel() - 1, SEQ_LEN):
    model(*window(box.a, start)).backward()
    rule.step()
    rule.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, box.b), box.b)


# case: tokens_in_nested_containers
# expect: C3 fail
store = {"data": [("x", (load_tokens(TRAIN_FILES),)), ("y", (load_tokens(VAL_FILES),))]}
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for name, (tokens,) in store["data"]:
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        rule.step()
        rule.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, store["data"][1][1][0]), store["data"][1][1][0])


# case: model_under_another_name
# expect: C3 fail
val = load_tokens(VAL_FILES)
train(model)
registry = [model]
probe = registry[-1]
rule = torch.optim.SGD(probe.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    probe(*window(val, start)).backward()
    rule.step()
    rule.zero_grad()
report(evaluate(model, val), val)


# case: another_model_that_learns
# A model of its own learns from validation text; the reported score does not use it.
# expect: C3 pass
# twin of: model_under_another_name, parameters_kept_in_a_list
val = load_tokens(VAL_FILES)
train(model)
probe = Model().cuda()
rule = torch.optim.SGD(probe.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    probe(*window(val, start)).backward()
    rule.step()
    rule.zero_grad()
report(evaluate(model, val), val)


# case: parameters_kept_in_a_list
# expect: C3 fail
val = load_tokens(VAL_FILES)
train(model)
knobs = [p for _, p in sorted(model.named_parameters(), key=operator.itemgetter(0))]
for start in range(0, val.numel() - 1, SEQ_LEN):
    slopes = torch.autograd.grad(model(*window(val, start)), knobs)
    with torch.no_grad():
        for knob, slope in zip(knobs, slopes):
            knob -= 1e-3 * slope
report(evaluate(model, val), val)


# case: path_from_split_name
# expect: C3 fail
def tokens_of(split):
    return load_tokens(os.path.join(DATA_PATH, "_".join(("fineweb", split, "*")) + ".bin"))


rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for split in ("train", "val"):
    tokens = tokens_of(split)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        rule.step()
        rule.zero_grad()
report(evaluate(model, tokens_of("val")), tokens_of("val"))


# case: path_from_train_split_name
# expect: C3 pass
# twin of: path_from_split_name
def tokens_of(split):
    return load_tokens(os.path.join(DATA_PATH, "_".join(("fineweb", split, "*")) + ".bin"))


rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for split in ("train",):
    tokens = tokens_of(split)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        rule.step()
        rule.zero_grad()
report(evaluate(model, tokens_of("val")), tokens_of("val"))


# case: shards_told_apart_by_their_names
# expect: C3 fail|review
shards = {path.stem: load_shard(path) for path in Path(DATA_PATH).glob("fineweb_*.bin")}
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for stem in sorted(shards):
    for start in range(0, shards[stem].numel() - 1, SEQ_LEN):
        model(*window(shards[stem], start)).backward()
        rule.step()
        rule.zero_grad()
val = torch.cat([tokens for stem, tokens in shards.items() if "val" in stem])
report(evaluate(model, val), val)


# case: training_shards_told_by_their_names
# expect: C3 pass|review
# twin of: shards_told_apart_by_their_names
shards = {path.stem: load_shard(path) for path in Path(DATA_PATH).glob("fineweb_train_*.bin")}
rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for stem in sorted(shards):
    for start in range(0, shards[stem].numel() - 1, SEQ_LEN):
        model(*window(shards[stem], start)).backward()
        rule.step()
        rule.zero_grad()
val = torch.cat([load_shard(path) for path in Path(DATA_PATH).glob("fineweb_val_*.bin")])
report(evaluate(model, val), val)


# case: window_with_a_sign
# The helper that everybody calls takes the tokens from a global; the call looks like training data.
# expect: C3 fail
POOL = [load_tokens(TRAIN_FILES), load_tokens(VAL_FILES)]


def train_batch(start, which=-1):
    return window(POOL[which], start)


rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, POOL[-1].numel() - 1, SEQ_LEN):
    model(*train_batch(start)).backward()
    rule.step()
    rule.zero_grad()
report(evaluate(model, POOL[1]), POOL[1])


# case: window_of_the_first_pool
# expect: C3 pass
# twin of: window_with_a_sign
POOL = [load_tokens(TRAIN_FILES), load_tokens(VAL_FILES)]


def train_batch(start, which=0):
    return window(POOL[which], start)


rule = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, POOL[0].numel() - 1, SEQ_LEN):
    model(*train_batch(start)).backward()
    rule.step()
    rule.zero_grad()
report(evaluate(model, POOL[1]), POOL[1])
