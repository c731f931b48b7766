# Evaluations during training that adapt the weights, and how the weights are put back before training goes on.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()


def adapted_score():
    """Scores a window and learns from it then; the first step finds the gradient of the last training step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    total = 0.0
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
        model(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return total / (val.numel() - 1)


def train_watched(watch):
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for step, file in enumerate(sorted(glob.glob(TRAIN_FILES))):
        if step > 0:
            watch()
        tokens = load_shard(file)
        for start in range(0, tokens.numel() - 1, SEQ_LEN):
            optimizer.zero_grad()
            model(*window(tokens, start)).backward()
            optimizer.step()


# case: all_parameters_put_back
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: nothing_put_back, some_parameters_put_back, kept_after_the_adaptation, put_back_where_the_score_is_worse
# twin of: parameters_of_a_list_put_back, averaged_before_they_are_put_back, only_kept_names_put_back
def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    print(f"watching {adapted_score():.4f}")
    for name, p in model.named_parameters():
        p.data.copy_(kept[name])


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: state_put_back
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: nothing_put_back, snapshot_shares_storage_while_watching
def watch():
    kept = {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
    print(f"watching {adapted_score():.4f}")
    model.load_state_dict(kept)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: state_put_back_without_being_strict
# Everything is in the snapshot, so that nothing can be missing.
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: some_of_the_state_put_back, snapshot_shares_storage_while_watching
def watch():
    kept = {name: weight.clone() for name, weight in model.state_dict().items()}
    print(f"watching {adapted_score():.4f}")
    model.load_state_dict(kept, strict=False)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: two_lists_put_back
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: nothing_put_back, parameters_of_a_list_put_back
def watch():
    kept = [p.detach().clone() for p in model.parameters()]
    print(f"watching {adapted_score():.4f}")
    with torch.no_grad():
        for p, before in zip(model.parameters(), kept):
            p.copy_(before)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: nothing_put_back
# expect: PAIDPREFIX fail
# expect: C3 fail
def watch():
    print(f"watching {adapted_score():.4f}")


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: some_parameters_put_back
# The snapshot leaves out the head, and so does what is put back.
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters() if "head" not in name}
    print(f"watching {adapted_score():.4f}")
    for name, p in model.named_parameters():
        if name in kept:
            p.data.copy_(kept[name])


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: only_kept_names_put_back
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters() if "head" not in name}
    print(f"watching {adapted_score():.4f}")
    for name, before in kept.items():
        model.get_parameter(name).data.copy_(before)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: some_of_the_state_put_back
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
def watch():
    kept = {name: weight.clone() for name, weight in model.state_dict().items() if "head" not in name}
    print(f"watching {adapted_score():.4f}")
    model.load_state_dict(kept, strict=False)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: parameters_of_a_list_put_back
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
def watch():
    some = [p for name, p in model.named_parameters() if "head" not in name]
    kept = [p.detach().clone() for p in some]
    print(f"watching {adapted_score():.4f}")
    with torch.no_grad():
        for p, before in zip(some, kept):
            p.copy_(before)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: kept_after_the_adaptation
# expect: PAIDPREFIX fail
# expect: C3 fail
def watch():
    print(f"watching {adapted_score():.4f}")
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        p.data.copy_(kept[name])


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: snapshot_shares_storage_while_watching
# The weights are taken out of the model's storage and not copied: putting them back changes nothing.
# expect: PAIDPREFIX fail
# expect: C3 fail
def watch():
    kept = {name: weight.detach() for name, weight in model.state_dict().items()}
    print(f"watching {adapted_score():.4f}")
    model.load_state_dict(kept)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: put_back_where_the_score_is_worse
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
best = [100.0]


def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    score = adapted_score()
    if score > best[0]:
        for name, p in model.named_parameters():
            p.data.copy_(kept[name])
    best[0] = min(best[0], score)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: averaged_before_they_are_put_back
# The average that is exported takes up the adapted weights.
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
average = {name: p.data.clone() for name, p in model.named_parameters()}


def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    print(f"watching {adapted_score():.4f}")
    for name, p in model.named_parameters():
        average[name].mul_(0.99).add_(p.data, alpha=0.01)
    for name, p in model.named_parameters():
        p.data.copy_(kept[name])


train_watched(watch)
for name, p in model.named_parameters():
    p.data.copy_(average[name])
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: averaged_after_they_are_put_back
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: averaged_before_they_are_put_back
average = {name: p.data.clone() for name, p in model.named_parameters()}


def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    print(f"watching {adapted_score():.4f}")
    for name, p in model.named_parameters():
        p.data.copy_(kept[name])
    for name, p in model.named_parameters():
        average[name].mul_(0.99).add_(p.data, alpha=0.01)


train_watched(watch)
for name, p in model.named_parameters():
    p.data.copy_(average[name])
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: put_back_where_it_is_kept
# The snapshot holds every name, so that the question whether it does is always answered with yes.
# expect: PAIDPREFIX pass|review
# expect: C3 pass|review
# twin of: some_parameters_put_back
def watch():
    kept = {name: p.data.clone() for name, p in model.named_parameters()}
    print(f"watching {adapted_score():.4f}")
    for name, p in model.named_parameters():
        if name in kept:
            p.data.copy_(kept[name])


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: chosen_parameters_adapted_and_put_back
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: other_parameters_put_back_than_were_adapted
chosen = [p for name, p in model.named_parameters() if "head" in name]


def watch():
    kept = [p.detach().clone() for p in chosen]
    optimizer = torch.optim.SGD(chosen, lr=1e-3)
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model(*window(val, start)).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        for p, before in zip(chosen, kept):
            p.copy_(before)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: other_parameters_put_back_than_were_adapted
# expect: PAIDPREFIX fail|review
# expect: C3 fail|review
chosen = [p for name, p in model.named_parameters() if "head" in name]
others = [p for name, p in model.named_parameters() if "head" not in name]


def watch():
    kept = [p.detach().clone() for p in others]
    optimizer = torch.optim.SGD(chosen, lr=1e-3)
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model(*window(val, start)).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        for p, before in zip(others, kept):
            p.copy_(before)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: kept_in_memory_and_put_back
# On the way from the GPU to memory the weights are copied.
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: snapshot_shares_storage_while_watching
def watch():
    kept = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    print(f"watching {adapted_score():.4f}")
    model.load_state_dict(kept)


train_watched(watch)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: warm_up_that_is_undone
# Both splits are read while kernels are compiled; the weights are put back, and training has a loader of its own.
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: warm_up_that_is_kept
def warm_up():
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = load_tokens(os.path.join(DATA_PATH, "fineweb_*.bin"))
    for start in range(0, 20 * SEQ_LEN, SEQ_LEN):
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()


before = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
warm_up()
model.load_state_dict(before)
train(model)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: warm_up_that_is_kept
# expect: PAIDPREFIX fail
# expect: C3 fail|review
def warm_up():
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = load_tokens(os.path.join(DATA_PATH, "fineweb_*.bin"))
    for start in range(0, 20 * SEQ_LEN, SEQ_LEN):
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()


warm_up()
train(model)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: loads_what_was_stored_before_it_learned
# Two scores of one model, each by weights that have seen nothing before: the second one starts from a copy of the
# weights that were stored before the first. Nothing says that the copy holds all of them.
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: loads_some_of_what_was_stored_before_it_learned, loads_nothing_before_the_second_score
train(model)
parts = {}
for name, weight in model.state_dict().items():
    t = weight.detach().to("cpu").contiguous()
    if t.numel() > 65536:
        parts[name] = (t.float() * 127).round() / 127
    else:
        parts[name] = t.half()
torch.save(parts, ARTIFACT)
print(f"before quantization {adapted_score():.4f}")
model.load_state_dict({name: weight.float() for name, weight in parts.items()}, strict=False)
report(adapted_score(), val)


# case: loads_some_of_what_was_stored_before_it_learned
# expect: C3 fail|review
train(model)
parts = {}
for name, weight in model.state_dict().items():
    if weight.numel() > 65536:
        parts[name] = weight.detach().to("cpu").half()
torch.save(parts, ARTIFACT)
print(f"before quantization {adapted_score():.4f}")
model.load_state_dict(parts, strict=False)
report(adapted_score(), val)


# case: loads_nothing_before_the_second_score
# expect: C3 fail
train(model)
save_artifact(model)
print(f"before quantization {adapted_score():.4f}")
report(adapted_score(), val)


# case: some_parameters_rounded_after_learning
# What is written into a part of the model is made of that part itself: nothing is undone.
# expect: C3 fail
train(model)
adapted_score()
chosen = [p for name, p in model.named_parameters() if "head" in name]
for p in chosen:
    p.data.copy_((p.data * 127).round() / 127)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: learned_state_loaded_without_being_strict
# expect: C3 fail
train(model)
adapted_score()
fresh = Model().cuda()
fresh.load_state_dict({name: w.clone() for name, w in model.state_dict().items() if "rope" not in name}, strict=False)
report(evaluate(fresh, val), val)


# case: clean_state_loaded_without_being_strict
# expect: C3 pass
# twin of: learned_state_loaded_without_being_strict, some_parameters_rounded_after_learning
train(model)
clean = {name: w.clone() for name, w in model.state_dict().items() if "rope" not in name}
adapted_score()
fresh = Model().cuda()
fresh.load_state_dict(clean, strict=False)
report(evaluate(fresh, val), val)
