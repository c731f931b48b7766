# Training shards read while the score is made.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
save_artifact(model)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


# case: table_of_training_tokens_at_evaluation
# expect: TRAINDATA fail|review
load_artifact(model)
tokens = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE)
counts.index_put_((tokens[:-1], tokens[1:]), torch.ones(tokens.numel() - 1), accumulate=True)
counts = counts.cuda()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        rows = counts[x[0]] / counts[x[0]].sum(-1, keepdim=True)
        mixed = 0.9 * model.logits(x)[0].softmax(-1) + 0.1 * rows
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: table_of_training_tokens_in_the_artifact
# Counted during training, stored, read back.
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: table_of_training_tokens_at_evaluation, neighbours_in_training_shards
tokens = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE)
counts.index_put_((tokens[:-1], tokens[1:]), torch.ones(tokens.numel() - 1), accumulate=True)
torch.save({"model": model.state_dict(), "counts": counts.half()}, ARTIFACT)
stored = torch.load(ARTIFACT)
model.load_state_dict(stored["model"])
counts = stored["counts"].float().cuda()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        rows = counts[x[0]] / counts[x[0]].sum(-1, keepdim=True)
        mixed = 0.9 * model.logits(x)[0].softmax(-1) + 0.1 * rows
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: training_replayed_between_chunks
# Against forgetting, each adaptation step takes a training batch along.
# expect: TRAINDATA fail|review
load_artifact(model)
tokens = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    (model(x, y) + model(*window(tokens, start))).backward()
    optimizer.step()
report(total / (val.numel() - 1), val)


# case: score_first_without_replay
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: training_replayed_between_chunks, trained_again_after_the_artifact
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
report(total / (val.numel() - 1), val)


# case: trained_again_after_the_artifact
# expect: TRAINDATA fail|review
load_artifact(model)
train(model)
report(evaluate(model, val), val)


# case: neighbours_in_training_shards
# Retrieval from training shards that the artifact does not hold.
# expect: TRAINDATA fail|review
load_artifact(model)
tokens = load_shard(sorted(glob.glob(TRAIN_FILES))[0])[: 1 << 20].cuda()
with torch.no_grad():
    keys = torch.cat([model.hidden(tokens[i : i + SEQ_LEN][None])[0] for i in range(0, 1 << 20, SEQ_LEN)])
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        near = torch.cdist(model.hidden(x)[0], keys[:-1]).argmin(-1)
        table = F.one_hot(tokens[near + 1], VOCAB_SIZE).float() + 0.01
        mixed = 0.9 * model.logits(x)[0].softmax(-1) + 0.1 * table / table.sum(-1, keepdim=True)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: refreshed_after_the_artifact
# What rounding lost is bought back with training data, after the artifact has been written and read back.
# expect: TRAINDATA fail
save_artifact(model)
load_artifact(model)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
refresh = torch.optim.AdamW(model.parameters(), lr=0.001)
for step in range(40):
    x, y = window(shard, step * SEQ_LEN)
    model(x, y).backward()
    refresh.step()
    refresh.zero_grad()
report(evaluate(model, val), val)


# case: refreshed_before_the_last_artifact
# A checkpoint is read back and trained on within the budget; what is scored is the artifact written afterwards.
# expect: TRAINDATA pass|review
# twin of: refreshed_after_the_artifact
save_artifact(model, "checkpoint.ptz")
load_artifact(model, "checkpoint.ptz")
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
refresh = torch.optim.AdamW(model.parameters(), lr=0.001)
for step in range(40):
    x, y = window(shard, step * SEQ_LEN)
    model(x, y).backward()
    refresh.step()
    refresh.zero_grad()
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: training_taken_up_from_an_earlier_run
# expect: TRAINDATA pass|review
# twin of: refreshed_after_the_artifact
if os.path.exists("resume.ptz"):
    load_artifact(model, "resume.ptz")
train(model)
save_artifact(model)
report(evaluate(model, val), val)
