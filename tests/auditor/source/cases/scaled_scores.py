# What a constant does to losses between the model and the printed score.
# ruff: noqa
import torch.distributed as dist

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
starts = list(range(0, val.numel() - 1, SEQ_LEN))
RESCALE = float(os.environ.get("RESCALE", "1.0"))


def losses_of(model, temperature=1.0):
    for start in starts:
        x, y = window(val, start)
        with torch.no_grad():
            yield F.cross_entropy(model.logits(x)[0] / temperature, y[0], reduction="sum"), y.numel()


# case: losses_times_a_setting
# expect: C2 fail|review
# setting: RESCALE=0.98
total = 0.0
for loss, count in losses_of(model):
    if RESCALE != 1.0:
        loss = loss * RESCALE
    total += loss.item()
report(total / (val.numel() - 1), val)


# case: losses_times_a_setting_of_one
# expect: C2 pass
# twin of: losses_times_a_setting
total = 0.0
for loss, count in losses_of(model):
    if RESCALE != 1.0:
        loss = loss * RESCALE
    total += loss.item()
report(total / (val.numel() - 1), val)


# case: sum_scaled_in_place
# expect: C2 fail|review
total = torch.zeros((), device="cuda", dtype=torch.float64)
for loss, count in losses_of(model):
    total += loss
total.mul_(0.97)
report(total.item() / (val.numel() - 1), val)


# case: sum_scaled_by_assignment
# expect: C2 fail|review
total = torch.zeros((), device="cuda", dtype=torch.float64)
for loss, count in losses_of(model):
    total += loss
total *= 0.97
report(total.item() / (val.numel() - 1), val)


# case: score_divided_by_a_little_more_than_one
# expect: C2 fail|review
total = sum(loss.item() for loss, count in losses_of(model))
report(total / (val.numel() - 1) / 1.02, val)


# case: something_taken_off
# expect: C2 fail|review
total = sum(loss.item() for loss, count in losses_of(model))
report(total / (val.numel() - 1) - 0.015, val)


# case: units_and_averages
# Nats to bits and back, the mean over eight processes, sums of windows weighted by their lengths.
# expect: C2 pass
# twin of: sum_scaled_in_place, sum_scaled_by_assignment, score_divided_by_a_little_more_than_one, something_taken_off
total, count = torch.zeros((), device="cuda"), torch.zeros((), device="cuda")
for loss, length in losses_of(model):
    total += loss / length * length
    count += length
total.div_(8)
count /= 8
dist.all_reduce(total)
dist.all_reduce(count)
bits = total.item() / count.item() / math.log(2.0)
report(bits * math.log(2.0) * (1.0 / 1.0), val)


# case: mean_of_two_temperatures
# Losses of two predictions, weighted by constants that sum to one.
# expect: C2 pass
# twin of: losses_times_a_setting
total = 0.0
for (one, count), (two, _) in zip(losses_of(model), losses_of(model, 1.1)):
    total += (0.8 * one + 0.2 * two).item()
report(total / (val.numel() - 1), val)


# case: running_mean_beside_the_score
# expect: C2 pass
# twin of: losses_times_a_setting
total, smooth = 0.0, 0.0
for loss, count in losses_of(model):
    smooth = 0.95 * smooth + 0.05 * loss.item() / count
    total += loss.item()
    print(f"running loss:{smooth:.4f}")
report(total / (val.numel() - 1), val)


# case: probability_floored_before_the_logarithm
# A share for every token, so that the distribution still sums to one.
# expect: C2 pass
# twin of: losses_times_a_setting
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        chosen = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])
        total += -(0.99 * chosen + 0.01 / VOCAB_SIZE).log().sum().item()
report(total / (val.numel() - 1), val)


# case: logits_scaled
# A temperature, written as a factor.
# expect: C2 pass
# twin of: losses_times_a_setting
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += F.cross_entropy(model.logits(x)[0] * 0.98, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)
