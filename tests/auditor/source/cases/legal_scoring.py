# Scoring as accepted submissions do it: what looks like a choice, a subset or a look at the target, and is none.
# ruff: noqa
import torch.distributed as dist

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
starts = list(range(0, val.numel() - 1, SEQ_LEN))


# case: bytes_counted_by_the_target
# The number of bytes depends on the target token, as it must.
# expect: C1 pass
# expect: C2 pass
# expect: C4 pass
# twin of: bytes_that_weigh_the_loss, parity_of_the_target
token_bytes = torch.randint(1, 8, (VOCAB_SIZE,), device="cuda")
boundary = torch.zeros(VOCAB_SIZE, dtype=torch.bool, device="cuda")
loss_sum, byte_sum, count = 0.0, 0.0, 0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        loss_sum += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum").item()
        lengths = token_bytes[y[0]] + (boundary[y[0]] & ~boundary[x[0]])
        byte_sum += lengths.sum().item()
        count += y.numel()
val_loss = loss_sum / count
print(f"final val_loss:{val_loss:.8f} val_bpb:{val_loss / math.log(2.0) * count / byte_sum:.8f}")


# case: bytes_that_weigh_the_loss
# Tokens of many bytes count less, by a look at the target.
# expect: C1 fail|review
token_bytes = torch.randint(1, 8, (VOCAB_SIZE,), device="cuda").float()
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        sharp = 1.0 + 0.05 * (token_bytes[y[0]] > 3).float()[:, None]
        total += F.cross_entropy(model.logits(x)[0] * sharp, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: windows_divided_among_ranks
# Every rank scores every eighth window; the sums are added up.
# expect: C1 pass
# expect: C3 pass
# expect: C4 pass
# twin of: windows_of_one_rank, every_fourth_window
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
loss_sum = torch.zeros((), device="cuda", dtype=torch.float64)
count = torch.zeros((), device="cuda", dtype=torch.float64)
with torch.inference_mode():
    for start in starts[rank::world]:
        x, y = window(val, start)
        loss_sum += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum")
        count += y.numel()
dist.all_reduce(loss_sum)
dist.all_reduce(count)
report((loss_sum / count).item(), val)


# case: windows_of_one_rank
# The sums are not added up: rank 0 reports its eighth.
# expect: C4 fail|review
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
loss_sum, count = 0.0, 0
with torch.inference_mode():
    for start in starts[rank::world]:
        x, y = window(val, start)
        loss_sum += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum").item()
        count += y.numel()
if rank == 0:
    report(loss_sum / count, val)


# case: contiguous_parts_of_the_ranks
# expect: C4 pass
# twin of: windows_of_one_rank, first_windows
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
share = (len(starts) + world - 1) // world
loss_sum = torch.zeros((), device="cuda", dtype=torch.float64)
count = torch.zeros((), device="cuda", dtype=torch.float64)
with torch.inference_mode():
    for start in starts[rank * share : min((rank + 1) * share, len(starts))]:
        x, y = window(val, start)
        loss_sum += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum")
        count += y.numel()
dist.all_reduce(loss_sum)
dist.all_reduce(count)
report((loss_sum / count).item(), val)


# case: whole_windows_only
# The baseline's own cut: what does not fill a last window is left out.
# expect: C4 pass|review
# expect: C3 pass
# twin of: first_million_tokens
usable = (val.numel() - 1) // SEQ_LEN * SEQ_LEN
val = val[: usable + 1]
report(evaluate(model, val), val)


# case: quick_check_on_a_part_then_everything
# expect: C3 pass
# expect: C4 pass|review
# twin of: first_million_tokens
print(f"quick val_loss:{evaluate(model, val[:1_000_000]):.4f}")
report(evaluate(model, val), val)


# case: before_and_after_quantization
# Two evaluations of the whole text; the one after the round trip is reported.
# expect: C3 pass
# expect: C4 pass|review
# twin of: best_of_two_passes
print(f"pre_quant val_loss:{evaluate(model, val):.8f}")
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: best_validation_loss_noted
# expect: C3 pass
# expect: C4 pass|review
# twin of: best_checkpoint_by_validation, lowest_running_mean
best = float("inf")
for round_ in range(5):
    train(model)
    loss = evaluate(model, val)
    best = min(best, loss)
    print(f"round {round_} val_loss:{loss:.4f} best:{best:.4f}")
report(evaluate(model, val), val)


# case: mixture_in_log_space
# expect: C1 pass
# expect: C2 pass|review
# twin of: sum_without_weights, product_of_two_distributions
other = Model().cuda()
train(other)
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        one = model.logits(x)[0].log_softmax(-1) + math.log(0.7)
        two = other.logits(x)[0].log_softmax(-1) + math.log(0.3)
        total += F.nll_loss(torch.logaddexp(one, two), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: padded_targets_masked
# expect: C1 pass
# expect: C2 pass
# expect: C4 pass
# twin of: likely_targets_masked
total, count = 0.0, 0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        x, y = F.pad(x, (0, SEQ_LEN - x.size(1))), F.pad(y, (0, SEQ_LEN - y.size(1)), value=-100)
        nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none", ignore_index=-100)
        kept = y[0] != -100
        total += nll[kept].sum().item()
        count += int(kept.sum())
report(total / count, val)


# case: likely_targets_masked
# What the model finds hard is taken for padding.
# expect: C1 fail|review
total, count = 0.0, 0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
        kept = nll < 8.0
        total += nll[kept].sum().item()
        count += int(kept.sum())
report(total / count, val)


# case: accuracy_printed_beside_the_loss
# expect: C1 pass
# twin of: gate_on_the_right_answer
total, right = 0.0, 0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        right += int((logits.argmax(-1) == y[0]).sum())
        total += F.cross_entropy(logits, y[0], reduction="sum").item()
print(f"accuracy {right / (val.numel() - 1):.4f}")
report(total / (val.numel() - 1), val)


# case: gate_on_document_starts_in_the_input
# The smeared previous embedding is masked where the input token begins a document.
# expect: C1 pass
# twin of: gate_on_document_starts_in_the_target
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        states = model.hidden(x)[0]
        keep = (x[0] != 1).float()[:, None]
        smeared = states + 0.1 * keep * F.pad(states, (0, 0, 1, 0))[:-1]
        total += F.cross_entropy(model.head(smeared), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: gate_on_document_starts_in_the_target
# expect: C1 fail|review
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        states = model.hidden(x)[0]
        keep = (y[0] != 1).float()[:, None]
        smeared = states + 0.1 * keep * F.pad(states, (0, 0, 1, 0))[:-1]
        total += F.cross_entropy(model.head(smeared), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: weight_by_the_count_of_the_context
# How much the cache counts depends on how often the context was seen, capped.
# expect: C1 pass
# expect: C2 pass|review
# expect: C3 pass
# twin of: weight_by_the_count_of_the_pair
counts = torch.full((VOCAB_SIZE, VOCAB_SIZE), 0.01, device="cuda")
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        rows = counts[x[0]]
        weight = 0.3 * torch.minimum(rows.sum(-1, keepdim=True), torch.tensor(50.0, device="cuda")) / 50.0
        mixed = (1 - weight) * model.logits(x)[0].softmax(-1) + weight * rows / rows.sum(-1, keepdim=True)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
        counts.index_put_((x[0], y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
report(total / (val.numel() - 1), val)


# case: weight_by_the_count_of_the_pair
# The weight reads the count of the pair that is about to come.
# expect: C1 fail|review
counts = torch.full((VOCAB_SIZE, VOCAB_SIZE), 0.01, device="cuda")
total = 0.0
with torch.inference_mode():
    for start in starts:
        x, y = window(val, start)
        rows = counts[x[0]]
        weight = 0.3 * (counts[x[0], y[0]] > 1).float()[:, None]
        mixed = (1 - weight) * model.logits(x)[0].softmax(-1) + weight * rows / rows.sum(-1, keepdim=True)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
        counts.index_put_((x[0], y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
report(total / (val.numel() - 1), val)


# case: two_targets_in_training_only
# Training predicts two tokens ahead; scoring uses the next one alone.
# expect: C1 pass
# expect: C3 pass
# twin of: targets_as_inputs
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
for start in range(0, shard.numel() - SEQ_LEN - 2, SEQ_LEN):
    x = shard[start : start + SEQ_LEN][None].cuda()
    y, z = shard[start + 1 : start + SEQ_LEN + 1].cuda(), shard[start + 2 : start + SEQ_LEN + 2].cuda()
    logits = model.logits(x)[0]
    (F.cross_entropy(logits, y, label_smoothing=0.1) + 0.1 * F.cross_entropy(logits, z)).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: claimed_line_printed_by_the_training_loop
# The last of the periodic validations is the claim; it is printed by the line that printed all the others.
# expect: C3 pass
# expect: C4 pass|review
# twin of: claimed_line_of_the_best_step
# log: step:20000/20000 val_loss:2.05000000 val_bpb:1.21412547
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
step, last = 0, 20_000
while True:
    if step == last or step % 1000 == 0:
        loss = evaluate(model, val)
        bpb = loss / math.log(2.0) * (val.numel() - 1) / count_bytes(val)
        print(f"step:{step}/{last} val_loss:{loss:.8f} val_bpb:{bpb:.8f}")
        model.train()
    if step == last:
        break
    x, y = window(shard, step * SEQ_LEN)
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
    step += 1


# case: claimed_line_of_the_best_step
# expect: C4 fail|review
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
best = float("inf")
for step in range(20_000):
    if step % 1000 == 0:
        best = min(best, evaluate(model, val))
        model.train()
    x, y = window(shard, step * SEQ_LEN)
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
report(best, val)


# case: one_scorer_for_every_stage
# The same function prints a line at every stage; the last one is the claim.
# expect: C3 pass
# expect: C4 pass|review
# twin of: best_of_two_passes
def stage(name):
    loss = evaluate(model, val)
    bpb = loss / math.log(2.0) * (val.numel() - 1) / count_bytes(val)
    print(f"{name} val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


stage("raw")
save_artifact(model)
load_artifact(model)
stage("quantized")
stage("final")


# case: heads_for_training_alone
# They predict tokens further on, are made after the model, and are gone before it is stored.
# expect: C1 pass
# expect: C3 pass
# twin of: best_of_two_passes
class Head(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


class Tower(Model):
    def __init__(self):
        super().__init__()
        self.further = None

    def add_heads(self, count):
        width = self.embed.embedding_dim
        self.further = nn.ModuleList(Head(width, VOCAB_SIZE, bias=False) for _ in range(count))
        for head in self.further:
            nn.init.zeros_(head.weight)

    def forward(self, x, y):
        loss = super().forward(x, y)
        if self.further is not None and self.training:
            hidden = self.hidden(x)
            for k, head in enumerate(self.further, start=1):
                loss = loss + 0.2 * F.cross_entropy(head(hidden[:, :-k]).flatten(0, 1), y[:, k:].flatten())
        return loss


tower = Tower().cuda()
tower.add_heads(2)
train(tower)
tower.further = None
save_artifact(tower)
load_artifact(tower)
tower.eval()
report(evaluate(tower, val), val)
