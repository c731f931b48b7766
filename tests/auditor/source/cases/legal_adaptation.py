# Adaptation as accepted submissions do it, in many shapes, and the smallest change that makes each illegal.
# ruff: noqa
import collections
import copy

import torch.distributed as dist

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
save_artifact(model)
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
starts = list(range(0, val.numel() - 1, SEQ_LEN))
CHUNK = 32 * SEQ_LEN


def score(x, y):
    with torch.no_grad():
        return model(x, y).item() * y.numel()


def learn(x, y):
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()


# case: sliding_windows_by_chunk
# Windows are sorted into chunks by the tokens they score; a chunk is trained on once all its windows are scored.
# expect: C3 pass|review
# twin of: sliding_windows_by_chunk_trained_first
stride = 64
chunk_windows = collections.defaultdict(list)
for start in range(0, val.numel() - SEQ_LEN, stride):
    first_scored = start if start == 0 else start + SEQ_LEN - stride
    chunk_windows[first_scored // CHUNK].append(start)
chunks = (val.numel() - 1 + CHUNK - 1) // CHUNK
loss_sum, count = 0.0, 0
for chunk in range(chunks):
    model.eval()
    with torch.inference_mode():
        for start in chunk_windows[chunk]:
            x, y = window(val, start)
            nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
            kept = nll if start == 0 else nll[-stride:]
            loss_sum += kept.sum().item()
            count += kept.numel()
    if chunk == chunks - 1:
        continue
    model.train()
    begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, val.numel() - 1)
    for epoch in range(3):
        for start in range(begin, end - SEQ_LEN, SEQ_LEN):
            learn(val[start : start + SEQ_LEN][None].cuda(), val[start + 1 : start + SEQ_LEN + 1][None].cuda())
report(loss_sum / count, val)


# case: sliding_windows_by_chunk_trained_first
# expect: C3 fail|review
stride = 64
chunk_windows = collections.defaultdict(list)
for start in range(0, val.numel() - SEQ_LEN, stride):
    first_scored = start if start == 0 else start + SEQ_LEN - stride
    chunk_windows[first_scored // CHUNK].append(start)
chunks = (val.numel() - 1 + CHUNK - 1) // CHUNK
loss_sum, count = 0.0, 0
for chunk in range(chunks):
    model.train()
    begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, val.numel() - 1)
    for epoch in range(3):
        for start in range(begin, end - SEQ_LEN, SEQ_LEN):
            learn(val[start : start + SEQ_LEN][None].cuda(), val[start + 1 : start + SEQ_LEN + 1][None].cuda())
    model.eval()
    with torch.inference_mode():
        for start in chunk_windows[chunk]:
            x, y = window(val, start)
            nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
            kept = nll if start == 0 else nll[-stride:]
            loss_sum += kept.sum().item()
            count += kept.numel()
report(loss_sum / count, val)


# case: batches_of_documents_with_adapters
# Documents side by side, one chunk of each after another; adapters are reset for the next batch.
# expect: C3 pass
# twin of: batches_of_documents_adapted_first
class Adapter(nn.Module):
    def __init__(self, batch, rank=8):
        super().__init__()
        self.down = nn.Parameter(torch.empty(batch, MODEL_DIM, rank))
        self.up = nn.Parameter(torch.zeros(batch, rank, VOCAB_SIZE))
        self.reset()

    def reset(self):
        with torch.no_grad():
            self.down.normal_(0.0, 0.02)
            self.up.zero_()

    def forward(self, hidden):
        return hidden @ self.down @ self.up


bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
documents = sorted(zip(bounds[:-1], bounds[1:]), key=lambda span: span[1] - span[0])
adapter = Adapter(16).cuda()
steps = torch.optim.Adam(adapter.parameters(), lr=0.01)
loss_sum, count = 0.0, 0
for first in range(0, len(documents), 16):
    batch = documents[first : first + 16]
    adapter.reset()
    for group in steps.param_groups:
        for p in group["params"]:
            steps.state.pop(p, None)
    longest = max(end - begin for begin, end in batch)
    for chunk in range(0, longest, 256):
        x = torch.stack([F.pad(val[b + chunk : min(b + chunk + 256, e)], (0, 256))[:256] for b, e in batch]).cuda()
        y = torch.stack(
            [F.pad(val[b + chunk + 1 : min(b + chunk + 257, e + 1)], (0, 256))[:256] for b, e in batch]
        ).cuda()
        mask = torch.stack([torch.arange(256) + chunk < e - b for b, e in batch]).cuda()
        hidden = model.hidden(x)
        logits = model.head(hidden) + adapter(hidden)
        nll = F.cross_entropy(logits.transpose(1, 2), y, reduction="none") * mask
        loss_sum += nll.detach().sum().item()
        count += int(mask.sum())
        if chunk + 256 < longest:
            steps.zero_grad()
            (nll.sum() / mask.sum()).backward()
            steps.step()
report(loss_sum / count, val)


# case: batches_of_documents_adapted_first
# expect: C3 fail
adapter = nn.Linear(MODEL_DIM, VOCAB_SIZE).cuda()
steps = torch.optim.Adam(adapter.parameters(), lr=0.01)
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
documents = sorted(zip(bounds[:-1], bounds[1:]), key=lambda span: span[1] - span[0])
loss_sum, count = 0.0, 0
for first in range(0, len(documents), 16):
    for begin, end in documents[first : first + 16]:
        x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
        hidden = model.hidden(x)
        for lap in range(2):
            logits = model.head(hidden) + adapter(hidden)
            loss = F.cross_entropy(logits[0], y[0], reduction="sum")
            if lap == 0:
                steps.zero_grad()
                loss.backward()
                steps.step()
            else:
                loss_sum += loss.item()
                count += y.numel()
report(loss_sum / count, val)


# case: buffer_of_scored_chunks
# Scored windows are collected; every eighth time the model learns from the buffer, which is then emptied.
# expect: C3 pass|review
# twin of: buffer_filled_ahead_of_scoring
buffer = []
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    buffer.append((x, y))
    if len(buffer) == 8:
        for x, y in buffer:
            learn(x, y)
        buffer.clear()
report(total / (val.numel() - 1), val)


# case: buffer_filled_ahead_of_scoring
# expect: C3 fail|review
buffer = [window(val, start) for start in starts[:8]]
total = 0.0
for k, start in enumerate(starts):
    for x, y in buffer:
        learn(x, y)
    total += score(*buffer.pop(0))
    if k + 8 < len(starts):
        buffer.append(window(val, starts[k + 8]))
report(total / (val.numel() - 1), val)


# case: former_window_kept_in_a_variable
# expect: C3 pass|review
# twin of: next_window_kept_in_a_variable
former = None
total = 0.0
for start in starts:
    present = window(val, start)
    if former is not None:
        learn(*former)
    total += score(*present)
    former = present
report(total / (val.numel() - 1), val)


# case: next_window_kept_in_a_variable
# expect: C3 fail|review
present = window(val, 0)
total = 0.0
for start in starts[1:]:
    following = window(val, start)
    total += score(*present)
    learn(*following)
    present = following
total += score(*present)
report(total / (val.numel() - 1), val)


# case: replay_of_the_last_four
# expect: C3 pass|review
# twin of: buffer_filled_ahead_of_scoring
recent = collections.deque(maxlen=4)
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    recent.append((x, y))
    for past in recent:
        learn(*past)
report(total / (val.numel() - 1), val)


# case: losses_kept_in_an_array
# expect: C3 pass
# twin of: losses_overwritten_in_an_array
losses = torch.zeros(val.numel() - 1)
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        losses[start : start + y.numel()] = F.cross_entropy(model.logits(x)[0], y[0], reduction="none").cpu()
    learn(x, y)
report(losses.mean().item(), val)


# case: losses_overwritten_in_an_array
# expect: C3 fail
losses = torch.zeros(val.numel() - 1)
for lap in range(2):
    for start in starts:
        x, y = window(val, start)
        with torch.no_grad():
            losses[start : start + y.numel()] = F.cross_entropy(model.logits(x)[0], y[0], reduction="none").cpu()
        learn(x, y)
report(losses.mean().item(), val)


# case: warm_up_with_the_state_put_back
# Compilation is warmed up on real windows; weights and momentum are put back before anything is scored.
# expect: C3 pass
# twin of: warm_up_without_putting_back, warm_up_with_half_put_back
clean = {name: p.detach().clone() for name, p in model.state_dict().items()}
for start in starts[:3]:
    learn(*window(val, start))
model.load_state_dict(clean)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: warm_up_without_putting_back
# expect: C3 fail|review
clean = {name: p.detach().clone() for name, p in model.state_dict().items()}
for start in starts[:3]:
    learn(*window(val, start))
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: warm_up_with_half_put_back
# Only the head is put back.
# expect: C3 fail|review
clean = copy.deepcopy(model.head.state_dict())
for start in starts:
    learn(*window(val, start))
model.head.load_state_dict(clean)
report(evaluate(model, val), val)


# case: warm_up_on_random_tokens
# expect: C3 pass
# twin of: warm_up_without_putting_back
for step in range(3):
    noise = torch.randint(0, VOCAB_SIZE, (1, SEQ_LEN + 1), device="cuda")
    learn(noise[:, :-1], noise[:, 1:])
load_artifact(model)
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: warm_up_backward_without_a_step
# Gradients of validation windows, thrown away.
# expect: C3 pass
# twin of: warm_up_without_putting_back
for start in starts[:3]:
    model(*window(val, start)).backward()
optimizer.zero_grad(set_to_none=True)
report(evaluate(model, val), val)


# case: learning_after_the_report
# The reported line is out; what comes then cannot matter.
# expect: C3 pass
# twin of: learning_before_the_report
report(evaluate(model, val), val)
for start in starts:
    learn(*window(val, start))
torch.save(model.state_dict(), "adapted.pt")


# case: learning_before_the_report
# The score is computed by a function object that runs when the line is printed.
# expect: C3 fail
final = lambda: evaluate(model, val)
for start in starts:
    learn(*window(val, start))
torch.save(model.state_dict(), "adapted.pt")
report(final(), val)


# case: score_computed_before_learning_and_printed_after
# expect: C3 pass
# twin of: learning_before_the_report
final = evaluate(model, val)
for start in starts:
    learn(*window(val, start))
report(final, val)


# case: adaptation_that_is_never_called
# expect: C3 pass
# twin of: adaptation_called_through_a_table
def adapt_on_validation():
    for start in starts:
        learn(*window(val, start))


def main():
    report(evaluate(model, val), val)
    return
    adapt_on_validation()


main()


# case: adaptation_called_through_a_table
# expect: C3 fail
def adapt_on_validation():
    for start in starts:
        learn(*window(val, start))


stages = [lambda: load_artifact(model), adapt_on_validation, lambda: report(evaluate(model, val), val)]
for stage in stages:
    stage()


# case: two_models_of_one_factory
# One is adapted and dropped, the other one is scored; both come from the same line.
# expect: C3 pass
# twin of: one_model_of_a_factory_that_remembers
def build():
    fresh = Model().cuda()
    load_artifact(fresh)
    return fresh


spare, chosen = build(), build()
steps = torch.optim.SGD(spare.parameters(), lr=0.01)
for start in starts[:8]:
    spare(*window(val, start)).backward()
    steps.step()
    steps.zero_grad()
report(evaluate(chosen, val), val)


# case: one_model_of_a_factory_that_remembers
# expect: C3 fail
built = {}


def build():
    if "model" not in built:
        built["model"] = Model().cuda()
        load_artifact(built["model"])
    return built["model"]


spare, chosen = build(), build()
steps = torch.optim.SGD(spare.parameters(), lr=0.01)
for start in starts:
    spare(*window(val, start)).backward()
    steps.step()
    steps.zero_grad()
report(evaluate(chosen, val), val)


# case: loader_class_for_both_splits
# One class reads training and validation shards; training uses the one, scoring the other.
# expect: C3 pass
# twin of: loader_class_with_a_shared_list
class Stream:
    def __init__(self, pattern):
        self.files = sorted(glob.glob(pattern))
        self.position = 0
        self.tokens = load_shard(self.files[0])

    def take(self, count):
        part = self.tokens[self.position : self.position + count + 1]
        self.position += count
        return part[:-1][None].cuda(), part[1:][None].cuda()


source, target = Stream(TRAIN_FILES), Stream(VAL_FILES)
for step in range(1000):
    learn(*source.take(SEQ_LEN))
save_artifact(model)
load_artifact(model)
total = 0.0
for step in range(len(starts)):
    total += score(*target.take(SEQ_LEN))
report(total / (val.numel() - 1), val)


# case: loader_class_with_a_shared_list
# The list of files belongs to the class: the second loader adds to what the first one reads.
# expect: C3 fail|review
class Stream:
    files = []

    def __init__(self, pattern):
        self.files.extend(sorted(glob.glob(pattern)))
        self.position = 0

    def take(self, count):
        tokens = torch.cat([load_shard(file) for file in self.files])
        part = tokens[self.position : self.position + count + 1]
        self.position += count
        return part[:-1][None].cuda(), part[1:][None].cuda()


source, target = Stream(TRAIN_FILES), Stream(VAL_FILES)
for step in range(1000):
    learn(*source.take(SEQ_LEN))
report(evaluate(model, val), val)


# case: chunks_divided_among_ranks
# Every rank scores its share of the chunk; gradients are averaged after all have scored.
# expect: C3 pass
# twin of: chunks_learned_before_the_barrier
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
loss_sum, count = torch.zeros(1, device="cuda"), torch.zeros(1, device="cuda")
for begin in range(0, val.numel() - 1, CHUNK):
    end = min(begin + CHUNK, val.numel() - 1)
    mine = list(range(begin, end, SEQ_LEN))[rank::world]
    with torch.no_grad():
        for start in mine:
            x, y = window(val, start)
            loss_sum += model(x, y) * y.numel()
            count += y.numel()
    dist.barrier()
    for start in mine:
        optimizer.zero_grad()
        model(*window(val, start)).backward()
        for p in model.parameters():
            dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)
        optimizer.step()
dist.all_reduce(loss_sum)
dist.all_reduce(count)
report((loss_sum / count).item(), val)


# case: chunks_learned_before_the_barrier
# expect: C3 fail|review
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
loss_sum, count = torch.zeros(1, device="cuda"), torch.zeros(1, device="cuda")
for begin in range(0, val.numel() - 1, CHUNK):
    end = min(begin + CHUNK, val.numel() - 1)
    mine = list(range(begin, end, SEQ_LEN))[rank::world]
    for start in mine:
        optimizer.zero_grad()
        model(*window(val, start)).backward()
        for p in model.parameters():
            dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)
        optimizer.step()
    with torch.no_grad():
        for start in mine:
            x, y = window(val, start)
            loss_sum += model(x, y) * y.numel()
            count += y.numel()
dist.all_reduce(loss_sum)
dist.all_reduce(count)
report((loss_sum / count).item(), val)


# case: adaptive_temperature_of_scored_tokens
# The temperature follows the loss of windows already scored.
# expect: C3 pass
# expect: C1 pass
# twin of: adaptive_temperature_of_this_window
temperature, total = 1.0, 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        loss = F.cross_entropy(model.logits(x)[0] / temperature, y[0], reduction="sum").item()
        total += loss
        temperature = 0.99 * temperature + 0.01 * (loss / y.numel()) / 2.0
report(total / (val.numel() - 1), val)


# case: adaptive_temperature_of_this_window
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        temperature = 0.9 + 0.1 * F.cross_entropy(logits, y[0]).item() / 2.0
        total += F.cross_entropy(logits / temperature, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: token_by_token_counts
# Each token is scored with the counts of those before it, then counted.
# expect: C3 pass|review
# expect: C2 pass|review
# expect: C1 pass|review
# twin of: token_by_token_counts_counted_first
counts = np.ones((VOCAB_SIZE, VOCAB_SIZE))
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        rows = model.logits(x)[0].softmax(-1).cpu().numpy()
        for t, (a, b) in enumerate(zip(x[0].tolist(), y[0].tolist())):
            mixed = 0.8 * rows[t] + 0.2 * counts[a] / counts[a].sum()
            total -= math.log(mixed[b])
            counts[a, b] += 1
report(total / (val.numel() - 1), val)


# case: token_by_token_counts_counted_first
# expect: C3 fail|review
counts = np.ones((VOCAB_SIZE, VOCAB_SIZE))
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        rows = model.logits(x)[0].softmax(-1).cpu().numpy()
        for t, (a, b) in enumerate(zip(x[0].tolist(), y[0].tolist())):
            counts[a, b] += 1
            mixed = 0.8 * rows[t] + 0.2 * counts[a] / counts[a].sum()
            total -= math.log(mixed[b])
report(total / (val.numel() - 1), val)


# case: weights_averaged_over_scored_chunks
# The scored weights are a moving average of the adapted ones, updated after each chunk.
# expect: C3 pass
# twin of: weights_averaged_over_all_chunks
average = copy.deepcopy(model)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        total += average(x, y).item() * y.numel()
    learn(x, y)
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters()):
            slow.lerp_(fast, 0.01)
report(total / (val.numel() - 1), val)


# case: weights_averaged_over_all_chunks
# expect: C3 fail
average = copy.deepcopy(model)
for start in starts:
    x, y = window(val, start)
    learn(x, y)
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters()):
            slow.lerp_(fast, 0.01)
report(evaluate(average, val), val)


# case: all_scored_chunks_learned_again
# After each chunk the model learns from everything scored so far.
# expect: C3 pass
# twin of: next_chunk_learned_too
total = 0.0
for begin in range(0, val.numel() - 1, CHUNK):
    end = min(begin + CHUNK, val.numel() - 1)
    for start in range(begin, end, SEQ_LEN):
        total += score(*window(val, start))
    for start in range(0, end, SEQ_LEN):
        learn(*window(val, start))
report(total / (val.numel() - 1), val)


# case: next_chunk_learned_too
# The learning goes on into the chunk that is scored next.
# expect: C3 fail|review
total = 0.0
for begin in range(0, val.numel() - 1, CHUNK):
    for start in range(begin, min(begin + CHUNK, val.numel() - 1), SEQ_LEN):
        total += score(*window(val, start))
    for start in range(begin, min(begin + 2 * CHUNK, val.numel() - 1), SEQ_LEN):
        learn(*window(val, start))
report(total / (val.numel() - 1), val)


# case: microbatches_of_a_scored_chunk
# expect: C3 pass
# twin of: microbatches_scored_between_steps
total = 0.0
for begin in range(0, val.numel() - 1, CHUNK):
    inside = range(begin, min(begin + CHUNK, val.numel() - 1), SEQ_LEN)
    for start in inside:
        total += score(*window(val, start))
    optimizer.zero_grad()
    for start in inside:
        (model(*window(val, start)) / len(inside)).backward()
    optimizer.step()
report(total / (val.numel() - 1), val)


# case: microbatches_scored_between_steps
# The chunk is learned from as a whole before its second half is scored.
# expect: C3 fail|review
total = 0.0
for begin in range(0, val.numel() - 1, CHUNK):
    inside = range(begin, min(begin + CHUNK, val.numel() - 1), SEQ_LEN)
    optimizer.zero_grad()
    for start in inside:
        (model(*window(val, start)) / len(inside)).backward()
    optimizer.step()
    for start in inside:
        total += score(*window(val, start))
report(total / (val.numel() - 1), val)


# case: learning_rate_of_zero
# The steps run, for timing, with a learning rate of zero.
# expect: C3 pass|review
# twin of: learning_before_the_report
still = torch.optim.SGD(model.parameters(), lr=0.0)
for start in starts[:8]:
    still.zero_grad()
    model(*window(val, start)).backward()
    still.step()
report(evaluate(model, val), val)


# case: validation_in_the_name_of_a_training_folder
# expect: C3 pass|review
# twin of: training_in_the_name_of_a_validation_folder
train(model, files="./data/without_fineweb_val_documents/fineweb_train_*.bin")
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: training_in_the_name_of_a_validation_folder
# expect: C3 fail
train(model, files="./data/next_to_fineweb_train_shards/fineweb_val_*.bin")
report(evaluate(model, val), val)


# case: epochs_counted_down
# Several epochs over a scored chunk, in a while loop with its own counter.
# expect: C3 pass
# twin of: epochs_counted_down_outside
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    left = 3
    while left > 0:
        learn(x, y)
        left -= 1
report(total / (val.numel() - 1), val)


# case: epochs_counted_down_outside
# expect: C3 fail
left, total = 3, 0.0
while left > 0:
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
    left -= 1
report(total / (val.numel() - 1), val)


# case: nested_generators
# expect: C3 pass
# twin of: nested_generators_that_peek
def spans():
    for begin in range(0, val.numel() - 1, CHUNK):
        yield begin, min(begin + CHUNK, val.numel() - 1)


def pieces():
    for begin, end in spans():
        for start in range(begin, end, SEQ_LEN):
            yield window(val, start)


total = 0.0
for x, y in pieces():
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: nested_generators_that_peek
# expect: C3 fail|review
def pieces():
    stream = (window(val, start) for start in starts)
    ahead = next(stream)
    for following in stream:
        learn(*following)
        yield ahead
        ahead = following
    yield ahead


total = 0.0
for x, y in pieces():
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: scorer_object
# expect: C3 pass
# twin of: scorer_object_that_learns_in_add
class Scorer:
    def __init__(self, model):
        self.model, self.total, self.count = model, 0.0, 0

    def add(self, x, y):
        self.total += score(x, y)
        self.count += y.numel()

    def adapt(self, x, y):
        learn(x, y)

    @property
    def mean(self):
        return self.total / self.count


scorer = Scorer(model)
for start in starts:
    x, y = window(val, start)
    scorer.add(x, y)
    scorer.adapt(x, y)
report(scorer.mean, val)


# case: scorer_object_that_learns_in_add
# expect: C3 fail
class Scorer:
    def __init__(self, model):
        self.model, self.total, self.count = model, 0.0, 0

    def add(self, x, y):
        self.adapt(x, y)
        self.total += score(x, y)
        self.count += y.numel()

    def adapt(self, x, y):
        learn(x, y)

    @property
    def mean(self):
        return self.total / self.count


scorer = Scorer(model)
for start in starts:
    scorer.add(*window(val, start))
report(scorer.mean, val)


# case: phases_over_all_documents_scored_so_far
# Every pause learns from all documents scored until then, the earlier ones again.
# expect: C3 pass|review
# twin of: phases_that_learn_the_next_documents_too
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
documents = list(zip(bounds[:-1], bounds[1:]))
scored, loss_sum, count = [], 0.0, 0
for first in range(0, len(documents), 1000):
    for begin, end in documents[first : first + 1000]:
        x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
        loss_sum += score(x, y)
        count += y.numel()
        scored.append((x, y))
    if first + 1000 < len(documents):
        for x, y in scored:
            learn(x, y)
report(loss_sum / count, val)


# case: phases_that_learn_the_next_documents_too
# expect: C3 fail
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
documents = list(zip(bounds[:-1], bounds[1:]))
loss_sum, count = 0.0, 0
for first in range(0, len(documents), 1000):
    for begin, end in documents[first : first + 1000]:
        x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
        loss_sum += score(x, y)
        count += y.numel()
    for begin, end in documents:
        learn(val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda())
report(loss_sum / count, val)


# case: chunks_whose_end_is_the_smaller_of_two
# expect: C3 pass
# twin of: chunks_whose_end_is_the_smaller_of_two_learned_first
total_tokens = val.numel() - 1
chunks = [(first, min(first + CHUNK, total_tokens)) for first in range(0, total_tokens, CHUNK)]
total = 0.0
for first, last in chunks:
    for start in range(first, last, SEQ_LEN):
        end = min(start + SEQ_LEN, last)
        total += score(val[start:end][None].cuda(), val[start + 1 : end + 1][None].cuda())
    if last == total_tokens:
        break
    for start in range(first, last, SEQ_LEN):
        end = min(start + SEQ_LEN, last)
        learn(val[start:end][None].cuda(), val[start + 1 : end + 1][None].cuda())
report(total / total_tokens, val)


# case: chunks_whose_end_is_the_smaller_of_two_learned_first
# expect: C3 fail
total_tokens = val.numel() - 1
chunks = [(first, min(first + CHUNK, total_tokens)) for first in range(0, total_tokens, CHUNK)]
total = 0.0
for first, last in chunks:
    for start in range(first, last, SEQ_LEN):
        end = min(start + SEQ_LEN, last)
        learn(val[start:end][None].cuda(), val[start + 1 : end + 1][None].cuda())
    for start in range(first, last, SEQ_LEN):
        end = min(start + SEQ_LEN, last)
        total += score(val[start:end][None].cuda(), val[start + 1 : end + 1][None].cuda())
report(total / total_tokens, val)


# case: segments_of_batches_claimed_in_turn
# Lists of lists that are filled as they are needed; which list a segment holds is one of several.
# expect: C3 pass
# expect: C4 pass
# twin of: segments_of_batches_learned_first
segments = []
for batch_number, first in enumerate(starts):
    key = batch_number // 8
    if not segments or segments[-1][0] != key:
        segments.append((key, []))
    segments[-1][1].append((batch_number, [(first, SEQ_LEN)]))
total = 0.0
for place, (key, batches) in enumerate(segments):
    for batch_number, entries in batches:
        for first, length in entries:
            x, y = val[first : first + length][None].cuda(), val[first + 1 : first + length + 1][None].cuda()
            total += score(x, y)
            learn(x, y)
report(total / (val.numel() - 1), val)


# case: segments_of_batches_learned_first
# expect: C3 fail
segments = []
for batch_number, first in enumerate(starts):
    key = batch_number // 8
    if not segments or segments[-1][0] != key:
        segments.append((key, []))
    segments[-1][1].append((batch_number, [(first, SEQ_LEN)]))
total = 0.0
for place, (key, batches) in enumerate(segments):
    for batch_number, entries in batches:
        for first, length in entries:
            x, y = val[first : first + length][None].cuda(), val[first + 1 : first + length + 1][None].cuda()
            learn(x, y)
            total += score(x, y)
report(total / (val.numel() - 1), val)


# case: wrapped_model_restored_between_two_adaptations
# The model inside the wrapper is the model: what is loaded into it is what is scored.
# expect: C3 pass
# expect: C4 pass
# setting: WORLD_SIZE=8
# twin of: wrapped_model_adapted_twice
def adaptive(inner):
    before = {name: weight.clone() for name, weight in inner.state_dict().items()}
    own = torch.optim.SGD(inner.parameters(), lr=0.01)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        with torch.no_grad():
            total += inner(x, y).item() * y.numel()
        own.zero_grad()
        inner(x, y).backward()
        own.step()
    inner.load_state_dict(before)
    return total / (val.numel() - 1)


wrapped = nn.parallel.DistributedDataParallel(model)
raw = wrapped.module if int(os.environ.get("WORLD_SIZE", "1")) > 1 else wrapped
adaptive(raw)
report(adaptive(raw), val)


# case: wrapped_model_adapted_twice
# expect: C3 fail
# setting: WORLD_SIZE=8
def adaptive(inner):
    own = torch.optim.SGD(inner.parameters(), lr=0.01)
    total = 0.0
    for start in starts:
        x, y = window(val, start)
        with torch.no_grad():
            total += inner(x, y).item() * y.numel()
        own.zero_grad()
        inner(x, y).backward()
        own.step()
    return total / (val.numel() - 1)


wrapped = nn.parallel.DistributedDataParallel(model)
raw = wrapped.module if int(os.environ.get("WORLD_SIZE", "1")) > 1 else wrapped
adaptive(raw)
report(adaptive(raw), val)


# case: adapters_removed_before_the_evaluation
# What learned is deleted from the modules that held it; which of them did is decided as the script runs.
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: adapters_kept_for_the_evaluation
for part in model.modules():
    if isinstance(part, nn.Linear):
        part.register_parameter("adapter", nn.Parameter(torch.zeros(VOCAB_SIZE)))
adapters = torch.optim.SGD([weight for name, weight in model.named_parameters() if "adapter" in name], lr=0.1)
for start in starts:
    x, y = window(val, start)
    model(x, y).backward()
    adapters.step()
    adapters.zero_grad()
for part in model.modules():
    if isinstance(part, nn.Linear):
        del part._parameters["adapter"]
report(evaluate(model, val), val)


# case: adapters_kept_for_the_evaluation
# expect: C3 fail
for part in model.modules():
    if isinstance(part, nn.Linear):
        part.register_parameter("adapter", nn.Parameter(torch.zeros(VOCAB_SIZE)))
adapters = torch.optim.SGD([weight for name, weight in model.named_parameters() if "adapter" in name], lr=0.1)
for start in starts:
    x, y = window(val, start)
    model(x, y).backward()
    adapters.step()
    adapters.zero_grad()
report(evaluate(model, val), val)


# case: former_chunk_learned_under_a_state_that_goes_on
# The model goes on from the state in which the former chunk left it, and learns from that chunk first.
# expect: C1 pass
# expect: C3 pass
# expect: C4 pass
# twin of: chunk_kept_before_it_is_scored_under_a_state, former_chunk_scored_under_a_state, following_chunk_kept_after_the_place_moved_on
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def forward(self, x, state=None):
        hidden, state = self.mix(self.embed(x), state)
        return self.head(hidden), state


model = Recurrent().cuda()
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
former = state = None
total, place = 0.0, 0
while place + SEQ_LEN < val.numel():
    chunk = val[place : place + SEQ_LEN + 1].cuda()
    x, y = chunk[None, :-1], chunk[None, 1:]
    if former is not None:
        optimizer.zero_grad()
        F.cross_entropy(model(former[0])[0][0], former[1][0]).backward()
        optimizer.step()
    with torch.no_grad():
        logits, state = model(x, state)
        total += F.cross_entropy(logits[0], y[0], reduction="sum").item()
    former = x, y
    place += SEQ_LEN
report(total / (val.numel() - 1), val)


# case: chunk_kept_before_it_is_scored_under_a_state
# expect: C3 fail
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def forward(self, x, state=None):
        hidden, state = self.mix(self.embed(x), state)
        return self.head(hidden), state


model = Recurrent().cuda()
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
former = state = None
total, place = 0.0, 0
while place + SEQ_LEN < val.numel():
    chunk = val[place : place + SEQ_LEN + 1].cuda()
    x, y = chunk[None, :-1], chunk[None, 1:]
    former = x, y
    if former is not None:
        optimizer.zero_grad()
        F.cross_entropy(model(former[0])[0][0], former[1][0]).backward()
        optimizer.step()
    with torch.no_grad():
        logits, state = model(x, state)
        total += F.cross_entropy(logits[0], y[0], reduction="sum").item()
    place += SEQ_LEN
report(total / (val.numel() - 1), val)


# case: former_chunk_scored_under_a_state
# What was learned from is scored afterwards, by what the model makes of it and of the next chunk.
# expect: C3 fail|review
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def forward(self, x, state=None):
        hidden, state = self.mix(self.embed(x), state)
        return self.head(hidden), state


model = Recurrent().cuda()
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
former = state = None
total, place = 0.0, 0
while place + SEQ_LEN < val.numel():
    chunk = val[place : place + SEQ_LEN + 1].cuda()
    x, y = chunk[None, :-1], chunk[None, 1:]
    if former is not None:
        optimizer.zero_grad()
        F.cross_entropy(model(former[0])[0][0], former[1][0]).backward()
        optimizer.step()
    with torch.no_grad():
        logits, state = model(x, state)
        if former is not None:
            total += F.cross_entropy(logits[0], former[1][0], reduction="sum").item()
    former = x, y
    place += SEQ_LEN
report(total / (val.numel() - 1), val)


# case: following_chunk_kept_after_the_place_moved_on
# The place moves on before the chunk to learn from next time is taken: it is the one that is scored then.
# expect: C3 fail|review
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def forward(self, x, state=None):
        hidden, state = self.mix(self.embed(x), state)
        return self.head(hidden), state


model = Recurrent().cuda()
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
former = state = None
total, place = 0.0, 0
while place + SEQ_LEN < val.numel():
    chunk = val[place : place + SEQ_LEN + 1].cuda()
    x, y = chunk[None, :-1], chunk[None, 1:]
    if former is not None:
        optimizer.zero_grad()
        F.cross_entropy(model(former[0])[0][0], former[1][0]).backward()
        optimizer.step()
    with torch.no_grad():
        logits, state = model(x, state)
        total += F.cross_entropy(logits[0], y[0], reduction="sum").item()
    place += SEQ_LEN
    chunk = val[place : place + SEQ_LEN + 1].cuda()
    former = chunk[None, :-1], chunk[None, 1:]
report(total / (val.numel() - 1), val)


# case: documents_from_where_the_last_one_ended
# expect: C3 pass
# expect: C4 pass
# twin of: documents_learned_before_they_are_scored, documents_from_where_the_first_one_began, documents_twice
total, prev = 0.0, 0
for end in (val == 1).nonzero().flatten().tolist():
    x, y = val[prev : end - 1][None].cuda(), val[prev + 1 : end][None].cuda()
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
    prev = end
report(total / (val.numel() - 1), val)


# case: documents_learned_before_they_are_scored
# expect: C3 fail
total, prev = 0.0, 0
for end in (val == 1).nonzero().flatten().tolist():
    x, y = val[prev : end - 1][None].cuda(), val[prev + 1 : end][None].cuda()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    prev = end
report(total / (val.numel() - 1), val)


# case: documents_from_where_the_first_one_began
# What is learned from is scored again with every further document, for the boundary hardly ever moves.
# expect: C3 fail|review
total, prev = 0.0, 0
for end in (val == 1).nonzero().flatten().tolist():
    x, y = val[prev : end - 1][None].cuda(), val[prev + 1 : end][None].cuda()
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
    if y.numel() > 1 << 40:
        prev = end
report(total / (val.numel() - 1), val)


# case: documents_twice
# expect: C3 fail
# expect: C4 fail
for lap in range(2):
    total, prev = 0.0, 0
    for end in (val == 1).nonzero().flatten().tolist():
        x, y = val[prev : end - 1][None].cuda(), val[prev + 1 : end][None].cuda()
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
        prev = end
report(total / (val.numel() - 1), val)


# case: learned_up_to_the_end_of_the_batch
# expect: C3 pass|review
# twin of: learned_beyond_the_end_of_the_batch, learned_up_to_the_end_of_the_next_batch
total, known = 0.0, 0
for first in range(0, len(starts), 8):
    batch = starts[first : first + 8]
    for start in batch:
        x, y = window(val, start)
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
    end = batch[-1] + y.numel() + 1
    if end > known:
        tokens = val[known:end].cuda()
        optimizer.zero_grad()
        model(tokens[None, :-1], tokens[None, 1:]).backward()
        optimizer.step()
        known = end
report(total / (val.numel() - 1), val)


# case: learned_beyond_the_end_of_the_batch
# expect: C3 fail|review
total, known = 0.0, 0
for first in range(0, len(starts), 8):
    batch = starts[first : first + 8]
    for start in batch:
        x, y = window(val, start)
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
    end = batch[-1] + y.numel() + 1 + 8 * SEQ_LEN
    if end > known:
        tokens = val[known:end].cuda()
        optimizer.zero_grad()
        model(tokens[None, :-1], tokens[None, 1:]).backward()
        optimizer.step()
        known = end
report(total / (val.numel() - 1), val)


# case: learned_up_to_the_end_of_the_next_batch
# The batch is learned from before its windows are scored.
# expect: C3 fail|review
total, known = 0.0, 0
for first in range(0, len(starts), 8):
    batch = starts[first : first + 8]
    end = batch[-1] + SEQ_LEN + 1
    if end > known:
        tokens = val[known:end].cuda()
        optimizer.zero_grad()
        model(tokens[None, :-1], tokens[None, 1:]).backward()
        optimizer.step()
        known = end
    for start in batch:
        x, y = window(val, start)
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: first_tokens_learned_and_the_rest_scored
# What is learned from is no part of what is scored, which is then not the whole text.
# expect: C3 pass|review
# twin of: first_tokens_learned_and_all_scored, more_tokens_learned_than_passed_over, all_learned_and_the_rest_scored
def first_part(tokens, amount):
    for start in range(0, amount - SEQ_LEN, SEQ_LEN):
        learn(tokens[start : start + SEQ_LEN][None].cuda(), tokens[start + 1 : start + SEQ_LEN + 1][None].cuda())
    return amount


def the_rest(tokens, place):
    places = []
    while place + SEQ_LEN < tokens.numel():
        places.append(place)
        place += SEQ_LEN
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in places:
            x, y = window(tokens, start)
            loss_sum += model(x, y).item() * y.numel()
            count += y.numel()
    return loss_sum / count


known = first_part(val, 4096)
report(the_rest(val, known), val)


# case: first_tokens_learned_and_all_scored
# expect: C3 fail
def first_part(tokens, amount):
    for start in range(0, amount - SEQ_LEN, SEQ_LEN):
        learn(tokens[start : start + SEQ_LEN][None].cuda(), tokens[start + 1 : start + SEQ_LEN + 1][None].cuda())
    return amount


def the_rest(tokens, place):
    places = []
    while place + SEQ_LEN < tokens.numel():
        places.append(place)
        place += SEQ_LEN
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in places:
            x, y = window(tokens, start)
            loss_sum += model(x, y).item() * y.numel()
            count += y.numel()
    return loss_sum / count


known = first_part(val, 4096)
report(the_rest(val, 0), val)


# case: more_tokens_learned_than_passed_over
# expect: C3 fail
def first_part(tokens, amount):
    for start in range(0, amount - SEQ_LEN, SEQ_LEN):
        learn(tokens[start : start + SEQ_LEN][None].cuda(), tokens[start + 1 : start + SEQ_LEN + 1][None].cuda())
    return amount


def the_rest(tokens, place):
    places = []
    while place + SEQ_LEN < tokens.numel():
        places.append(place)
        place += SEQ_LEN
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in places:
            x, y = window(tokens, start)
            loss_sum += model(x, y).item() * y.numel()
            count += y.numel()
    return loss_sum / count


known = first_part(val, 65536)
report(the_rest(val, 4096), val)


# case: all_learned_and_the_rest_scored
# expect: C3 fail
def first_part(tokens, amount):
    for start in range(0, amount - SEQ_LEN, SEQ_LEN):
        learn(tokens[start : start + SEQ_LEN][None].cuda(), tokens[start + 1 : start + SEQ_LEN + 1][None].cuda())
    return amount


def the_rest(tokens, place):
    places = []
    while place + SEQ_LEN < tokens.numel():
        places.append(place)
        place += SEQ_LEN
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in places:
            x, y = window(tokens, start)
            loss_sum += model(x, y).item() * y.numel()
            count += y.numel()
    return loss_sum / count


known = first_part(val, val.numel() - 1)
report(the_rest(val, 4096), val)
