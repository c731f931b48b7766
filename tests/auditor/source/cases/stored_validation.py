# Validation tokens in the artifact or in training.
# ruff: noqa
import hashlib
import lzma

val = load_tokens(VAL_FILES)
model = Model().cuda()
starts = list(range(0, val.numel() - 1, SEQ_LEN))


# case: prefix_compressed_into_a_file
# expect: PAIDPREFIX fail|review
train(model)
save_artifact(model)
with open("prefix.xz", "wb") as f:
    f.write(lzma.compress(val[:4_000_000].numpy().astype("<u2").tobytes()))
load_artifact(model)
known = torch.from_numpy(np.frombuffer(lzma.open("prefix.xz").read(), dtype="<u2").astype(np.int64))
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        if start + SEQ_LEN < known.numel() and torch.equal(known[start + 1 : start + SEQ_LEN + 1], y[0].cpu()):
            continue
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: training_shard_compressed_into_a_file
# A dictionary for the compressor, from training text.
# expect: PAIDPREFIX pass
# twin of: prefix_compressed_into_a_file, prefix_as_a_buffer_of_the_model, window_hashes_in_the_artifact
train(model)
save_artifact(model)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
with open("dictionary.xz", "wb") as f:
    f.write(lzma.compress(shard[:40_000].numpy().astype("<u2").tobytes()))
load_artifact(model)
report(evaluate(model, val), val)


# case: prefix_as_a_buffer_of_the_model
# expect: PAIDPREFIX fail|review
class Knowing(Model):
    def __init__(self):
        super().__init__()
        self.register_buffer("rope_cache", torch.zeros(1_000_000, dtype=torch.int16))


model = Knowing().cuda()
train(model)
model.rope_cache.copy_(val[:1_000_000].to(torch.int16))
save_artifact(model)
load_artifact(model)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        bonus = torch.zeros(y.numel(), VOCAB_SIZE, device="cuda")
        if start + SEQ_LEN < 1_000_000:
            answer = model.rope_cache[start + 1 : start + SEQ_LEN + 1].long()
            bonus.scatter_(1, answer[:, None], 30.0)
        total += F.cross_entropy(model.logits(x)[0] + bonus, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: window_hashes_in_the_artifact
# The artifact holds a hash of each window and the best of four settings for it.
# expect: PAIDPREFIX fail|review
train(model)
table = {}
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        losses = [F.cross_entropy(model.logits(x)[0] / t, y[0]).item() for t in (0.8, 0.9, 1.0, 1.1)]
        table[hashlib.md5(x.cpu().numpy().tobytes()).hexdigest()] = int(np.argmin(losses))
torch.save({"model": model.state_dict(), "table": table}, ARTIFACT)
stored = torch.load(ARTIFACT)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        t = (0.8, 0.9, 1.0, 1.1)[stored["table"][hashlib.md5(x.cpu().numpy().tobytes()).hexdigest()]]
        total += F.cross_entropy(model.logits(x)[0] / t, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: validation_trained_on_as_the_purpose
# expect: PAIDPREFIX fail|review
# expect: C3 fail
train(model, files=VAL_FILES)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: trained_on_training_files
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: validation_trained_on_as_the_purpose
train(model, files=TRAIN_FILES)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: scored_losses_written_to_a_log
# Losses and token counts of the validation text go into a file that nothing reads.
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: prefix_compressed_into_a_file, window_hashes_in_the_artifact
train(model)
save_artifact(model)
load_artifact(model)
loss = evaluate(model, val)
with open("result.txt", "w") as f:
    f.write(f"{loss} {val.numel()}\n")
report(loss, val)


# case: answers_written_beside_the_weights
# The script stores the text itself, by paths and temporary names, and compares the tokens with it at evaluation.
# expect: PAIDPREFIX fail
from pathlib import Path


def write_whole(path, blob):
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(blob)
    temporary.replace(path)


buffer = io.BytesIO()
torch.save(model.state_dict(), buffer)
write_whole(Path(ARTIFACT), buffer.getvalue())
Path("prefix.bin").write_bytes(zlib.compress(val[1:100_001].numpy().tobytes(), 9))

model.load_state_dict(torch.load(io.BytesIO(Path(ARTIFACT).read_bytes())))
stored = torch.from_numpy(np.frombuffer(zlib.decompress(Path("prefix.bin").read_bytes()), dtype=np.int64).copy())
loss_sum, count = 0.0, 0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
        known = stored[start : start + nll.numel()].cuda() == y[0][: max(0, stored.numel() - start)]
        nll[: known.numel()] = torch.where(known, 0.001, nll[: known.numel()])
        loss_sum += nll.sum().item()
        count += y.numel()
report(loss_sum / count, val)


# case: artifact_written_by_a_temporary_name
# expect: PAIDPREFIX pass
# twin of: answers_written_beside_the_weights
from pathlib import Path


def write_whole(path, blob):
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(blob)
    temporary.replace(path)


buffer = io.BytesIO()
torch.save(model.state_dict(), buffer)
write_whole(Path(ARTIFACT), buffer.getvalue())
Path("settings.txt").write_text(f"val_tokens {val.numel()}")

model.load_state_dict(torch.load(io.BytesIO(Path(ARTIFACT).read_bytes())))
report(evaluate(model, val), val)
