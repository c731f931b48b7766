# Several passes over the same tokens, of which a later one is reported.
# ruff: noqa
import itertools
import sys

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
save_artifact(model)
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def score(x, y):
    with torch.no_grad():
        return model(x, y).item() * y.numel()


def learn(x, y):
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()


# case: last_epoch_reported
# expect: C3 fail
# expect: C4 fail
for epoch in range(3):
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: scored_in_the_last_of_known_epochs
# Learned from twice, scored once: the order is broken, the single pass is not.
# expect: C3 fail
total = 0.0
for epoch in (0, 1, 2):
    last = epoch == 2
    for start in starts:
        x, y = window(val, start)
        if last:
            total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: scored_in_the_last_epoch
# expect: C3 fail
epochs = int(os.environ.get("TTT_EPOCHS", 3))
total = 0.0
for epoch in range(epochs):
    for start in starts:
        x, y = window(val, start)
        if epoch == epochs - 1:
            total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: all_but_the_last_epoch_go_on_before_they_score
# expect: C3 fail
epochs = int(os.environ.get("TTT_EPOCHS", 3))
total = 0.0
for epoch in range(epochs):
    if epoch < epochs - 1:
        for start in starts:
            learn(*window(val, start))
        continue
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: looked_up_in_all_epochs_and_summed_in_the_last_one
# Where nothing is left to learn, the loss is made without gradients: in every epoch, and added up in the last one.
# expect: C3 fail
epochs = int(os.environ.get("TTT_EPOCHS", 3))
total = torch.zeros((), device="cuda")
for epoch in range(epochs):
    for number, start in enumerate(starts):
        x, y = window(val, start)
        learns = number < len(starts) - 1
        if learns:
            loss = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
        else:
            with torch.no_grad():
                loss = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
        if epoch == epochs - 1:
            with torch.no_grad():
                total += loss.sum()
        if learns:
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
report(total.item() / (val.numel() - 1), val)


# case: looked_up_and_summed_in_all_epochs
# expect: C3 fail
# expect: C4 fail
epochs = int(os.environ.get("TTT_EPOCHS", 3))
for epoch in range(epochs):
    total = torch.zeros((), device="cuda")
    for number, start in enumerate(starts):
        x, y = window(val, start)
        with torch.no_grad():
            loss = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
            total += loss.sum()
        optimizer.zero_grad()
        F.cross_entropy(model.logits(x)[0], y[0]).backward()
        optimizer.step()
report(total.item() / (val.numel() - 1), val)


# case: scored_in_the_first_of_three_epochs
# Later epochs learn from what has been scored, and nothing is scored after them.
# expect: C3 pass
# expect: C4 pass
# twin of: scored_in_the_last_of_known_epochs, scored_in_the_last_epoch, scored_in_all_but_the_first_epoch
# twin of: all_but_the_last_epoch_go_on_before_they_score, looked_up_in_all_epochs_and_summed_in_the_last_one
# twin of: looked_up_and_summed_in_all_epochs
total = 0.0
for epoch in (0, 1, 2):
    for start in starts:
        x, y = window(val, start)
        if epoch == 0:
            total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: scored_in_all_but_the_first_epoch
# expect: C3 fail
# expect: C4 fail
for epoch in (0, 1, 2):
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        if epoch > 0:
            total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: three_epochs_on_a_scored_chunk
# expect: C3 pass
# twin of: last_epoch_reported, second_pass_reported, learns_then_scores
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    for epoch in range(3):
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: second_pass_reported
# Each pass alone is score-first.
# expect: C3 fail
def score_first():
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
    return total / (val.numel() - 1)


print(f"score_first val_loss:{score_first():.8f}")
report(score_first(), val)


# case: learns_then_scores
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    learn(x, y)
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: decoy_score_first_loop
# A legal loop prints its own line; the claimed line comes from the weights it leaves behind.
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
print(f"legal_ttt val_loss:{total / (val.numel() - 1):.8f} val_bpb:{total:.8f}")
report(evaluate(model, val), val)


# case: diagnostic_after_a_score_first_loop
# The same two numbers; the claimed line is the legal one.
# expect: C3 pass
# twin of: decoy_score_first_loop
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)
print(f"diagnostic_after_ttt val_loss:{evaluate(model, val):.8f} val_bpb:{total:.8f}")


# case: passes_by_recursion
# expect: C3 fail|review
def walk(passes):
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
    return total if passes == 0 else walk(passes - 1)


report(walk(2) / (val.numel() - 1), val)


# case: chunks_by_recursion
# expect: C3 pass|review
# twin of: passes_by_recursion
def walk(start):
    if start >= val.numel() - 1:
        return 0.0
    x, y = window(val, start)
    loss = score(x, y)
    learn(x, y)
    return loss + walk(start + SEQ_LEN)


sys.setrecursionlimit(1_000_000)
report(walk(0) / (val.numel() - 1), val)


# case: chained_passes
# The first half of the chain adapts, the second half counts.
# expect: C3 fail
# xfail: C3 the same elements walked twice by one loop count as different tokens
total = 0.0
for k, start in enumerate(itertools.chain(starts, starts)):
    x, y = window(val, start)
    if k >= len(starts):
        total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: chained_halves
# Two halves of one pass, chained.
# expect: C3 pass|review
# twin of: chained_passes
half = len(starts) // 2
total = 0.0
for k, start in enumerate(itertools.chain(starts[:half], starts[half:])):
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: overwritten_scores
# Two passes write into one dict; what the second wrote is summed.
# expect: C3 fail
# xfail: C3 the same elements walked twice by one loop count as different tokens
losses = {}
for start in starts * 2:
    x, y = window(val, start)
    losses[start] = score(x, y)
    learn(x, y)
report(sum(losses.values()) / (val.numel() - 1), val)


# case: collected_scores
# expect: C3 pass
# twin of: overwritten_scores
losses = {}
for start in starts:
    x, y = window(val, start)
    losses[start] = score(x, y)
    learn(x, y)
report(sum(losses.values()) / (val.numel() - 1), val)


# case: wrapped_index
# expect: C3 fail
# xfail: C3 an index modulo a length counts as a new part of the stream in each iteration
total = 0.0
for step in range(2 * len(starts)):
    x, y = window(val, starts[step % len(starts)])
    if step >= len(starts):
        total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: plain_index
# expect: C3 pass
# twin of: wrapped_index
total = 0.0
for step in range(len(starts)):
    x, y = window(val, starts[step])
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: position_set_back
# A while loop that starts again from zero once it has come to the end.
# expect: C3 fail
# xfail: C3 a position set back to zero inside a while loop counts as a later part
position, lap, total = 0, 0, 0.0
while lap < 2:
    x, y = window(val, position)
    total = (0.0 if position == 0 else total) + score(x, y)
    learn(x, y)
    position += SEQ_LEN
    if position >= val.numel() - 1:
        position, lap = 0, lap + 1
report(total / (val.numel() - 1), val)


# case: position_only_forward
# expect: C3 pass
# twin of: position_set_back
position, total = 0, 0.0
while position < val.numel() - 1:
    x, y = window(val, position)
    total += score(x, y)
    learn(x, y)
    position += SEQ_LEN
report(total / (val.numel() - 1), val)


# case: pass_number_as_argument_default
# expect: C3 fail
def run(model, passes=int(os.environ.get("PASSES", "2"))):
    history = []
    while len(history) < passes:
        total = 0.0
        for start in starts:
            x, y = window(val, start)
            total += score(x, y)
            learn(x, y)
        history.append(total)
    return history[-1]


report(run(model) / (val.numel() - 1), val)


# case: first_of_several_passes_reported
# Later passes are made for a diagnostic and not reported.
# expect: C3 pass|review
# twin of: pass_number_as_argument_default
def run(model, passes=int(os.environ.get("PASSES", "2"))):
    history = []
    while len(history) < passes:
        total = 0.0
        for start in starts:
            x, y = window(val, start)
            total += score(x, y)
            learn(x, y)
        history.append(total)
        if len(history) == 1:
            report(total / (val.numel() - 1), val)
    return history


run(model)


# case: sliding_windows_trained_beyond_the_scored_part
# Each window scores its first half and learns from all of it: the second half is scored by the next window.
# expect: C3 fail|review
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN // 2):
    x, y = window(val, start)
    with torch.no_grad():
        logits = model.logits(x)
    total += F.cross_entropy(logits[0, : SEQ_LEN // 2], y[0, : SEQ_LEN // 2], reduction="sum").item()
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: sliding_windows_trained_on_the_scored_part
# expect: C3 pass|review
# twin of: sliding_windows_trained_beyond_the_scored_part
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN // 2):
    x, y = window(val, start)
    with torch.no_grad():
        logits = model.logits(x)
    total += F.cross_entropy(logits[0, : SEQ_LEN // 2], y[0, : SEQ_LEN // 2], reduction="sum").item()
    learn(x[:, : SEQ_LEN // 2], y[:, : SEQ_LEN // 2])
report(total / (val.numel() - 1), val)


# case: learns_the_next_chunk
# expect: C3 fail|review
total = 0.0
for k in range(len(starts)):
    total += score(*window(val, starts[k]))
    if k + 1 < len(starts):
        learn(*window(val, starts[k + 1]))
report(total / (val.numel() - 1), val)


# case: learns_the_former_chunk
# expect: C3 pass
# twin of: learns_the_next_chunk
total = 0.0
for k in range(len(starts)):
    if k > 0:
        learn(*window(val, starts[k - 1]))
    total += score(*window(val, starts[k]))
report(total / (val.numel() - 1), val)


# case: prefix_replay_beyond_the_scored
# Replays the text so far, and one window more.
# expect: C3 fail|review
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    end = min(start + 2 * SEQ_LEN, val.numel() - 1)
    learn(val[: end - 1][None].cuda(), val[1:end][None].cuda())
report(total / (val.numel() - 1), val)


# case: prefix_replay_of_the_scored
# expect: C3 pass|review
# twin of: prefix_replay_beyond_the_scored
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    end = min(start + SEQ_LEN, val.numel() - 1)
    learn(val[: end - 1][None].cuda(), val[1:end][None].cuda())
report(total / (val.numel() - 1), val)


# case: documents_scored_at_the_last_epoch
# expect: C3 fail
total = 0.0
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
for begin, end in zip(bounds[:-1], bounds[1:]):
    x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
    for epoch in range(4):
        loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    total += loss.item() * (end - begin)
report(total / (val.numel() - 1), val)


# case: documents_scored_at_the_first_epoch
# expect: C3 pass
# twin of: documents_scored_at_the_last_epoch
total = 0.0
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
for begin, end in zip(bounds[:-1], bounds[1:]):
    x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
    total += score(x, y) * 1.0
    for epoch in range(4):
        loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
report(total / (val.numel() - 1), val)


# case: reset_of_an_unused_part
# A copy of the head is reset for each pass; the weights that learned stay.
# expect: C3 fail
clean_head = {name: p.clone() for name, p in model.head.state_dict().items()}
spare = nn.Linear(MODEL_DIM, VOCAB_SIZE)
for epoch in range(2):
    spare.load_state_dict(clean_head)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: reset_before_the_reported_pass
# The artifact is loaded again, so the first pass leaves nothing behind.
# expect: C3 pass
# twin of: reset_of_an_unused_part
for epoch in range(2):
    load_artifact(model)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: phases_that_overlap
# After each phase the global weights learn from all documents, those of later phases too.
# expect: C3 fail
documents = [val[k * 4 * SEQ_LEN : (k + 1) * 4 * SEQ_LEN + 1] for k in range(val.numel() // (4 * SEQ_LEN))]
total = 0.0
for phase in range(3):
    for document in documents[phase::3]:
        total += score(document[:-1][None].cuda(), document[1:][None].cuda())
    for document in documents:
        learn(document[:-1][None].cuda(), document[1:][None].cuda())
report(total / (val.numel() - 1), val)


# case: phases_over_scored_documents
# expect: C3 pass|review
# twin of: phases_that_overlap
documents = [val[k * 4 * SEQ_LEN : (k + 1) * 4 * SEQ_LEN + 1] for k in range(val.numel() // (4 * SEQ_LEN))]
total, scored = 0.0, []
for phase in range(3):
    for document in documents[phase::3]:
        total += score(document[:-1][None].cuda(), document[1:][None].cuda())
        scored.append(document)
    for document in scored:
        learn(document[:-1][None].cuda(), document[1:][None].cuda())
report(total / (val.numel() - 1), val)


# case: smallest_loss_of_several_passes
# Each pass begins with the stored weights and scores before it learns; a token's loss is the smallest of all passes.
# expect: C3 fail
# expect: C4 fail
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
stored = {name: weight.clone() for name, weight in model.state_dict().items()}
smallest = torch.full((val.numel() - 1,), float("inf"))
for turn in range(3):
    model.load_state_dict(stored)
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        with torch.no_grad():
            losses = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
        places = torch.arange(losses.numel()) + start
        smallest[places] = torch.minimum(smallest[places], losses.cpu())
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
report(smallest.mean().item(), val)


# case: loss_of_one_pass_kept_by_place
# expect: C3 pass
# expect: C4 pass
# twin of: smallest_loss_of_several_passes
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
kept = torch.full((val.numel() - 1,), float("inf"))
for start in range(0, val.numel() - 1, SEQ_LEN):
    x, y = window(val, start)
    with torch.no_grad():
        losses = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
    places = torch.arange(losses.numel()) + start
    kept[places] = losses.cpu()
    for epoch in range(3):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
report(kept.mean().item(), val)
