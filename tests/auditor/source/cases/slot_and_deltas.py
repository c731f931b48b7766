# Small things fitted on the window that is scored: deltas, biases, prompts, adapters.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
save_artifact(model)
load_artifact(model)
for p in model.parameters():
    p.requires_grad_(False)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def nll(logits, y):
    return F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="sum")


# case: delta_fitted_on_the_scored_window
# expect: C3 fail
# expect: C1 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    hidden = model.hidden(x)
    delta = torch.zeros(1, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        loss = nll(model.head(hidden + delta), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden + delta), y).item()
report(total / (val.numel() - 1), val)


# case: delta_fitted_on_the_former_window
# expect: C3 pass
# expect: C1 pass
# expect: C4 pass
# twin of: delta_fitted_on_the_scored_window, delta_scored_at_its_last_step
total = 0.0
delta = torch.zeros(1, 1, MODEL_DIM, device="cuda", requires_grad=True)
for start in starts:
    x, y = window(val, start)
    hidden = model.hidden(x)
    with torch.no_grad():
        total += nll(model.head(hidden + delta), y).item()
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        loss = nll(model.head(hidden + delta), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
report(total / (val.numel() - 1), val)


# case: delta_scored_at_its_last_step
# The loss of the last step is the score; nothing is evaluated separately.
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    delta = nn.Parameter(torch.zeros(VOCAB_SIZE, device="cuda"))
    optimizer = torch.optim.SGD([delta], lr=0.1)
    for step in range(8):
        loss = nll(model.logits(x) + delta, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    total += loss.item()
report(total / (val.numel() - 1), val)


# case: bias_by_hand_written_steps
# Gradient descent on a logit bias without an optimizer.
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    logits = model.logits(x)
    bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
    for step in range(8):
        (gradient,) = torch.autograd.grad(nll(logits + bias, y), [bias])
        bias = (bias - 0.1 * gradient).detach().requires_grad_(True)
    total += nll(logits + bias, y).item()
report(total / (val.numel() - 1), val)


# case: bias_by_closed_form
# The gradient of a logit bias is known: empirical minus predicted frequencies.
# expect: C3 fail|review
# expect: C1 fail|review
total = 0.0
for start in starts:
    x, y = window(val, start)
    logits = model.logits(x)
    empirical = F.one_hot(y, VOCAB_SIZE).float().mean((0, 1))
    predicted = logits.softmax(-1).mean((0, 1))
    total += nll(logits + (empirical + 1e-3).log() - (predicted + 1e-3).log(), y).item()
report(total / (val.numel() - 1), val)


# case: bias_by_hand_after_scoring
# expect: C3 pass
# twin of: bias_by_hand_written_steps
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
for start in starts:
    x, y = window(val, start)
    logits = model.logits(x)
    total += nll(logits + bias, y).item()
    (gradient,) = torch.autograd.grad(nll(logits + bias, y), [bias])
    bias = (bias - 0.1 * gradient).detach().requires_grad_(True)
report(total / (val.numel() - 1), val)


# case: frequencies_of_the_former_window
# expect: C3 pass
# expect: C1 pass
# twin of: bias_by_closed_form
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda")
for start in starts:
    x, y = window(val, start)
    logits = model.logits(x)
    total += nll(logits + bias, y).item()
    empirical = F.one_hot(y, VOCAB_SIZE).float().mean((0, 1))
    predicted = logits.softmax(-1).mean((0, 1))
    bias = (empirical + 1e-3).log() - (predicted + 1e-3).log()
report(total / (val.numel() - 1), val)


# case: context_mask_one_stride_too_late
# The fit claims to use context only, but the mask ends where the scored part ends.
# expect: C3 fail|review
stride = 64
total = 0.0
for start in range(0, val.numel() - SEQ_LEN, stride):
    x, y = window(val, start)
    hidden = model.hidden(x)
    delta = torch.zeros(MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        nll(model.head(hidden + delta)[:, :SEQ_LEN], y[:, :SEQ_LEN]).backward()
        optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden + delta)[:, -stride:], y[:, -stride:]).item()
report(total / (val.numel() - 1), val)


# case: context_mask_before_the_scored_part
# Fitted on the part of the window that earlier windows have scored. Not ruled on by an organizer.
# expect: C3 pass|review
# twin of: context_mask_one_stride_too_late
stride = 64
total = 0.0
for start in range(0, val.numel() - SEQ_LEN, stride):
    x, y = window(val, start)
    hidden = model.hidden(x)
    delta = torch.zeros(MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        nll(model.head(hidden + delta)[:, :-stride], y[:, :-stride]).backward()
        optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden + delta)[:, -stride:], y[:, -stride:]).item()
report(total / (val.numel() - 1), val)


# case: soft_prompt_for_each_window
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    prompt = torch.zeros(1, 16, MODEL_DIM, device="cuda").requires_grad_(True)
    optimizer = torch.optim.Adam([prompt])
    for step in range(4):
        states = model.mix(torch.cat([prompt, model.embed(x)], dim=1))[0][:, 16:]
        loss = nll(model.head(states), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        states = model.mix(torch.cat([prompt, model.embed(x)], dim=1))[0][:, 16:]
        total += nll(model.head(states), y).item()
report(total / (val.numel() - 1), val)


# case: soft_prompt_of_training_text
# expect: C3 pass
# twin of: soft_prompt_for_each_window
prompt = torch.zeros(1, 16, MODEL_DIM, device="cuda").requires_grad_(True)
optimizer = torch.optim.Adam([prompt])
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
for start in range(0, shard.numel() - 1, SEQ_LEN):
    x, y = window(shard, start)
    states = model.mix(torch.cat([prompt, model.embed(x)], dim=1))[0][:, 16:]
    loss = nll(model.head(states), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        states = model.mix(torch.cat([prompt, model.embed(x)], dim=1))[0][:, 16:]
        total += nll(model.head(states), y).item()
report(total / (val.numel() - 1), val)


# case: closure_given_to_lbfgs
# expect: C3 fail
total = 0.0
for start in starts:
    x, y = window(val, start)
    bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
    lbfgs = torch.optim.LBFGS([bias], max_iter=10)

    def objective():
        lbfgs.zero_grad()
        value = nll(model.logits(x) + bias, y)
        value.backward()
        return value

    lbfgs.step(objective)
    total += nll(model.logits(x) + bias, y).item()
report(total / (val.numel() - 1), val)


# case: closure_called_after_scoring
# expect: C3 pass
# twin of: closure_given_to_lbfgs
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
lbfgs = torch.optim.LBFGS([bias], max_iter=10)
for start in starts:
    x, y = window(val, start)
    total += nll(model.logits(x) + bias, y).item()

    def objective():
        lbfgs.zero_grad()
        value = nll(model.logits(x) + bias, y)
        value.backward()
        return value

    lbfgs.step(objective)
report(total / (val.numel() - 1), val)


# case: adapter_carried_over_to_a_second_pass
# The adapters learn in a first pass; the reported pass makes new optimizers, not new adapters.
# expect: C3 fail
class Adapter(nn.Module):
    def __init__(self, rank=8):
        super().__init__()
        self.down = nn.Linear(MODEL_DIM, rank, bias=False)
        self.up = nn.Linear(rank, VOCAB_SIZE, bias=False)

    def forward(self, hidden):
        return self.up(self.down(hidden))


adapter = Adapter().cuda()
for name in ("warm", "final"):
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.01)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        hidden = model.hidden(x)
        loss = nll(model.head(hidden) + adapter(hidden), y)
        total += loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
report(total / (val.numel() - 1), val)


# case: adapter_new_for_each_document
# expect: C3 pass
# twin of: adapter_carried_over_to_a_second_pass, adapter_scored_after_its_steps, reset_that_keeps_the_factor
class Adapter(nn.Module):
    def __init__(self, rank=8):
        super().__init__()
        self.down = nn.Linear(MODEL_DIM, rank, bias=False)
        self.up = nn.Linear(rank, VOCAB_SIZE, bias=False)

    def forward(self, hidden):
        return self.up(self.down(hidden))


total = 0.0
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
for begin, end in zip(bounds[:-1], bounds[1:]):
    adapter = Adapter().cuda()
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.01)
    for start in range(begin, end, 256):
        stop = min(start + 256, end)
        x, y = val[start:stop][None].cuda(), val[start + 1 : stop + 1][None].cuda()
        hidden = model.hidden(x)
        loss = nll(model.head(hidden) + adapter(hidden), y)
        total += loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
report(total / (val.numel() - 1), val)


# case: adapter_scored_after_its_steps
# expect: C3 fail
total = 0.0
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
for begin, end in zip(bounds[:-1], bounds[1:]):
    adapter = nn.Linear(MODEL_DIM, VOCAB_SIZE).cuda()
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.01)
    x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
    hidden = model.hidden(x)
    for step in range(10):
        optimizer.zero_grad()
        nll(model.head(hidden) + adapter(hidden), y).backward()
        optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden) + adapter(hidden), y).item()
report(total / (val.numel() - 1), val)


# case: reset_that_keeps_the_factor
# Between the two passes one of the two factors is set to zero and then swapped back.
# expect: C3 fail|review
down = nn.Parameter(torch.randn(MODEL_DIM, 8, device="cuda"))
up = nn.Parameter(torch.zeros(8, VOCAB_SIZE, device="cuda"))
optimizer = torch.optim.Adam([down, up], lr=0.01)
for lap in range(2):
    kept = up.data.clone()
    up.data.zero_()
    up.data.copy_(kept)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        hidden = model.hidden(x)
        loss = nll(model.head(hidden) + hidden @ down @ up, y)
        total += loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
report(total / (val.numel() - 1), val)


# case: delta_fitted_on_the_slice_before_the_scored_part
# One window, cut where its scored part begins: everything before it was scored by the windows before.
# expect: C3 pass|review
# expect: C1 pass|review
# twin of: delta_fitted_on_the_scored_window, delta_fitted_before_a_border_that_moves_back, delta_shared_by_windows_cut_at_a_border, delta_behind_more_borders_than_are_told_apart
total = 0.0
for start in starts:
    seen = min(start, 256)
    tokens = val[start - seen : min(start + SEQ_LEN, val.numel() - 1) + 1].cuda()
    hidden, y = model.hidden(tokens[None, :-1])[0], tokens[1:]
    delta = torch.zeros(1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    if seen:
        for step in range(8):
            loss = nll(model.head(hidden[:seen] + delta), y[:seen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden[seen:] + delta), y[seen:]).item()
report(total / (val.numel() - 1), val)


# case: delta_fitted_before_a_border_that_moves_back
# The border between what the delta is fitted to and what it scores is set to the window's beginning in between.
# expect: C3 fail|review
# expect: C1 fail|review
total = 0.0
for start in starts:
    border = min(start, 256) + SEQ_LEN
    tokens = val[start : min(start + SEQ_LEN, val.numel() - 1) + 1].cuda()
    hidden, y = model.hidden(tokens[None, :-1])[0], tokens[1:]
    delta = torch.zeros(1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        loss = nll(model.head(hidden[:border] + delta), y[:border])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    border = 0
    with torch.no_grad():
        total += nll(model.head(hidden[border:] + delta), y[border:]).item()
report(total / (val.numel() - 1), val)


# case: delta_shared_by_windows_cut_at_a_border
# What is before the border of one window of a batch is behind that of another.
# expect: C3 fail|review
# expect: C1 fail|review
total = 0.0
for first in range(0, val.numel() - 1, 4 * SEQ_LEN):
    delta = torch.zeros(1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    contexts, scored = [], []
    for start in range(first, min(first + 4 * SEQ_LEN, val.numel() - 1), 64):
        seen = min(start, SEQ_LEN - 64)
        tokens = val[start - seen : start + 65].cuda()
        hidden, y = model.hidden(tokens[None, :-1])[0], tokens[1:]
        contexts.append((hidden[:seen], y[:seen]))
        scored.append((hidden[seen:], y[seen:]))
    for step in range(8):
        loss = sum(nll(model.head(hidden + delta), y) for hidden, y in contexts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        total += sum(nll(model.head(hidden + delta), y).item() for hidden, y in scored)
report(total / (val.numel() - 1), val)


# case: delta_behind_more_borders_than_are_told_apart
# The window is cut in many places; what is fitted and what is scored overlap all the same.
# expect: C3 fail|review
# expect: C1 fail|review
total = 0.0
for start in starts:
    tokens = val[start : min(start + SEQ_LEN, val.numel() - 1) + 1].cuda()
    hidden, y = model.hidden(tokens[None, :-1])[0], tokens[1:]
    a, b, c = y.numel() // 2, y.numel() // 3, y.numel() // 4
    d, e, f, g = y.numel() // 5, y.numel() // 6, y.numel() - 8, y.numel() // 8
    cuts = [(y[:a], y[a:]), (y[:b], y[b:]), (y[:c], y[c:]), (y[:d], y[d:]), (y[:e], y[e:]), (y[f:], y[:g])]
    delta = torch.zeros(1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        loss = nll(model.head(hidden[:f] + delta), y[:f])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        total += nll(model.head(hidden[g:] + delta), y[g:]).item()
report(total / (val.numel() - 1), val)


# case: bias_fitted_before_the_part_taken_out_of_all_losses
# The losses of the whole window are computed at once; only those behind what the bias was fitted to are scored.
# expect: C3 pass|review
# expect: C1 pass|review
# twin of: bias_fitted_to_the_end_of_the_window, bias_fitted_one_token_too_far, bias_scored_from_the_beginning
stride = 64
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
optimizer = torch.optim.AdamW([bias], lr=0.01)
for start in range(0, val.numel() - 1, stride):
    x, y = window(val, start)
    length = y.numel()
    seen = 0 if start == 0 else max(length - stride, 0)
    with torch.no_grad():
        logits = model.logits(x)
    if seen > 0:
        for step in range(8):
            optimizer.zero_grad()
            F.cross_entropy(logits[0, :seen] + bias, y[0, :seen]).backward()
            optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy((logits + bias)[0], y[0], reduction="none")[None]
        total += losses[0, seen:length].sum().item()
report(total / (val.numel() - 1), val)


# case: bias_fitted_to_the_end_of_the_window
# expect: C3 fail
# expect: C1 fail
stride = 64
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
optimizer = torch.optim.AdamW([bias], lr=0.01)
for start in range(0, val.numel() - 1, stride):
    x, y = window(val, start)
    length = y.numel()
    seen = 0 if start == 0 else max(length - stride, 0)
    with torch.no_grad():
        logits = model.logits(x)
    if seen > 0:
        for step in range(8):
            optimizer.zero_grad()
            F.cross_entropy(logits[0, :length] + bias, y[0, :length]).backward()
            optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy((logits + bias)[0], y[0], reduction="none")[None]
        total += losses[0, seen:length].sum().item()
report(total / (val.numel() - 1), val)


# case: bias_fitted_one_token_too_far
# expect: C3 fail
# expect: C1 fail
stride = 64
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
optimizer = torch.optim.AdamW([bias], lr=0.01)
for start in range(0, val.numel() - 1, stride):
    x, y = window(val, start)
    length = y.numel()
    seen = 0 if start == 0 else max(length - stride, 0)
    with torch.no_grad():
        logits = model.logits(x)
    if seen > 0:
        for step in range(8):
            optimizer.zero_grad()
            F.cross_entropy(logits[0, : seen + 1] + bias, y[0, : seen + 1]).backward()
            optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy((logits + bias)[0], y[0], reduction="none")[None]
        total += losses[0, seen:length].sum().item()
report(total / (val.numel() - 1), val)


# case: bias_scored_from_the_beginning
# expect: C3 fail
# expect: C1 fail
stride = 64
total = 0.0
bias = torch.zeros(VOCAB_SIZE, device="cuda", requires_grad=True)
optimizer = torch.optim.AdamW([bias], lr=0.01)
for start in range(0, val.numel() - 1, stride):
    x, y = window(val, start)
    length = y.numel()
    seen = 0 if start == 0 else max(length - stride, 0)
    with torch.no_grad():
        logits = model.logits(x)
    if seen > 0:
        for step in range(8):
            optimizer.zero_grad()
            F.cross_entropy(logits[0, :seen] + bias, y[0, :seen]).backward()
            optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy((logits + bias)[0], y[0], reduction="none")[None]
        total += losses[0, :length].sum().item()
report(total / (val.numel() - 1), val)


# case: delta_of_its_own_for_each_masked_window
# A batch of overlapping windows; each window's delta is fitted to what stands before the part of it that is scored.
# expect: C3 pass|review
# expect: C1 pass|review
# twin of: delta_shared_by_masked_windows, delta_of_its_own_for_each_whole_window, delta_fitted_where_the_mask_is_not
stride = 64
starts = list(range(0, val.numel() - 1, stride))
total = 0.0
for first in range(0, len(starts), 32):
    batch = starts[first : first + 32]
    rows = len(batch)
    x = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    y = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    lengths = []
    for i, start in enumerate(batch):
        end = min(start + SEQ_LEN, val.numel() - 1)
        lengths.append(end - start)
        tokens = val[start : end + 1].cuda()
        x[i, : end - start] = tokens[:-1]
        y[i, : end - start] = tokens[1:]
    with torch.no_grad():
        hidden = model.hidden(x)
    seen_before = torch.zeros(rows, SEQ_LEN, dtype=torch.bool, device="cuda")
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        if seen > 0:
            seen_before[i, :seen] = True
    delta = torch.zeros(rows, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        logits = model.head(hidden + delta)
        losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
        losses[seen_before].mean().backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.head(hidden + delta.detach())
    losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        total += losses[i, seen : lengths[i]].sum().item()
report(total / (val.numel() - 1), val)


# case: delta_shared_by_masked_windows
# What stands before the scored part of one window is the scored part of another.
# expect: C3 fail
# expect: C1 fail
stride = 64
starts = list(range(0, val.numel() - 1, stride))
total = 0.0
for first in range(0, len(starts), 32):
    batch = starts[first : first + 32]
    rows = len(batch)
    x = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    y = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    lengths = []
    for i, start in enumerate(batch):
        end = min(start + SEQ_LEN, val.numel() - 1)
        lengths.append(end - start)
        tokens = val[start : end + 1].cuda()
        x[i, : end - start] = tokens[:-1]
        y[i, : end - start] = tokens[1:]
    with torch.no_grad():
        hidden = model.hidden(x)
    seen_before = torch.zeros(rows, SEQ_LEN, dtype=torch.bool, device="cuda")
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        if seen > 0:
            seen_before[i, :seen] = True
    delta = torch.zeros(1, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        logits = model.head(hidden + delta)
        losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
        losses[seen_before].mean().backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.head(hidden + delta.detach())
    losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        total += losses[i, seen : lengths[i]].sum().item()
report(total / (val.numel() - 1), val)


# case: delta_of_its_own_for_each_whole_window
# The mask leaves the whole window.
# expect: C3 fail
# expect: C1 fail
stride = 64
starts = list(range(0, val.numel() - 1, stride))
total = 0.0
for first in range(0, len(starts), 32):
    batch = starts[first : first + 32]
    rows = len(batch)
    x = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    y = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    lengths = []
    for i, start in enumerate(batch):
        end = min(start + SEQ_LEN, val.numel() - 1)
        lengths.append(end - start)
        tokens = val[start : end + 1].cuda()
        x[i, : end - start] = tokens[:-1]
        y[i, : end - start] = tokens[1:]
    with torch.no_grad():
        hidden = model.hidden(x)
    seen_before = torch.zeros(rows, SEQ_LEN, dtype=torch.bool, device="cuda")
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        if seen > 0:
            seen_before[i, : lengths[i]] = True
    delta = torch.zeros(rows, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        logits = model.head(hidden + delta)
        losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
        losses[seen_before].mean().backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.head(hidden + delta.detach())
    losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        total += losses[i, seen : lengths[i]].sum().item()
report(total / (val.numel() - 1), val)


# case: delta_fitted_where_the_mask_is_not
# expect: C3 fail|review
stride = 64
starts = list(range(0, val.numel() - 1, stride))
total = 0.0
for first in range(0, len(starts), 32):
    batch = starts[first : first + 32]
    rows = len(batch)
    x = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    y = torch.zeros(rows, SEQ_LEN, dtype=torch.int64, device="cuda")
    lengths = []
    for i, start in enumerate(batch):
        end = min(start + SEQ_LEN, val.numel() - 1)
        lengths.append(end - start)
        tokens = val[start : end + 1].cuda()
        x[i, : end - start] = tokens[:-1]
        y[i, : end - start] = tokens[1:]
    with torch.no_grad():
        hidden = model.hidden(x)
    seen_before = torch.zeros(rows, SEQ_LEN, dtype=torch.bool, device="cuda")
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        if seen > 0:
            seen_before[i, :seen] = True
    delta = torch.zeros(rows, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.AdamW([delta], lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        logits = model.head(hidden + delta)
        losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
        losses[~seen_before].mean().backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.head(hidden + delta.detach())
    losses = F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="none").reshape(rows, SEQ_LEN)
    for i, start in enumerate(batch):
        seen = 0 if start == 0 else max(lengths[i] - stride, 0)
        total += losses[i, seen : lengths[i]].sum().item()
report(total / (val.numel() - 1), val)


# case: delta_fitted_to_the_end_of_the_scored_window
# All but the last place of the window's end, by a closure that is stepped once.
# expect: C1 fail|review
# expect: C3 fail|review
total = 0.0
for start in starts:
    x, y = window(val, start)
    hidden = model.hidden(x)
    delta = torch.zeros(1, 1, MODEL_DIM, device="cuda", requires_grad=True)
    optimizer = torch.optim.LBFGS([delta], max_iter=10)

    def closure():
        optimizer.zero_grad()
        loss = nll(model.head(hidden + delta)[:, 896:-1], y[:, 896:-1])
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        total += nll(model.head(hidden + delta), y).item()
report(total / (val.numel() - 1), val)


# case: delta_fitted_to_the_end_of_the_former_window
# expect: C1 pass
# expect: C3 pass
# twin of: delta_fitted_to_the_end_of_the_scored_window
total = 0.0
delta = torch.zeros(1, 1, MODEL_DIM, device="cuda", requires_grad=True)
for start in starts:
    x, y = window(val, start)
    hidden = model.hidden(x)
    with torch.no_grad():
        total += nll(model.head(hidden + delta), y).item()
    optimizer = torch.optim.SGD([delta], lr=0.01)
    optimizer.zero_grad()
    nll(model.head(hidden + delta)[:, 896:-1], y[:, 896:-1]).backward()
    optimizer.step()
report(total / (val.numel() - 1), val)
