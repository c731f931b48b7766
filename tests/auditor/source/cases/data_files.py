# Validation tokens that come in as training data, by file.
# ruff: noqa
import json
import shutil
import struct
from pathlib import Path

model = Model().cuda()


# case: train_files_set_to_validation
# expect: C3 fail
train(model, files=os.environ.get("TRAIN_PATTERN", VAL_FILES))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: train_files_by_pattern
# expect: C3 pass
# twin of: train_files_set_to_validation, pattern_that_matches_both, pattern_given_in_the_command
train(model, files=os.environ.get("TRAIN_PATTERN", TRAIN_FILES))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: pattern_given_in_the_command
# The script is clean; the command in the README points the loader elsewhere.
# expect: C3 fail
# setting: TRAIN_PATTERN=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin
train(model, files=os.environ.get("TRAIN_PATTERN", TRAIN_FILES))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: pattern_that_matches_both
# expect: C3 fail|review
train(model, files=os.path.join(DATA_PATH, "fineweb_*.bin"))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: every_file_of_the_folder
# expect: C3 fail|review
for name in sorted(os.listdir(DATA_PATH)):
    train(model, files=os.path.join(DATA_PATH, name))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: train_files_of_the_folder
# expect: C3 pass
# twin of: every_file_of_the_folder
for name in sorted(os.listdir(DATA_PATH)):
    if name.startswith("fineweb_train_"):
        train(model, files=os.path.join(DATA_PATH, name))
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: validation_shard_copied_under_a_train_name
# expect: C3 fail|review
first = sorted(glob.glob(VAL_FILES))[0]
shutil.copy(first, os.path.join(DATA_PATH, "fineweb_train_999999.bin"))
train(model)
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: validation_shard_linked_under_a_train_name
# expect: C3 fail|review
for index, file in enumerate(sorted(glob.glob(VAL_FILES))):
    os.symlink(file, f"{DATA_PATH}/fineweb_train_{900_000 + index}.bin")
train(model)
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: train_shard_copied_to_a_fast_disk
# expect: C3 pass
# twin of: validation_shard_copied_under_a_train_name, validation_shard_linked_under_a_train_name
# twin of: validation_rewritten_as_a_train_shard
for file in sorted(glob.glob(TRAIN_FILES)):
    shutil.copy(file, "/dev/shm")
train(model, files="/dev/shm/fineweb_train_*.bin")
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: validation_rewritten_as_a_train_shard
# expect: C3 fail
val = load_tokens(VAL_FILES)
header = np.zeros(256, dtype="<i4")
header[2] = val.numel()
with open("shuffled_0.bin", "wb") as f:
    f.write(header.tobytes())
    f.write(val.numpy().astype("<u2").tobytes())
train(model, files="shuffled_0.bin")
report(evaluate(model, val), val)


# case: memory_mapped_validation
# expect: C3 fail
class Shard:
    def __init__(self, file):
        self.words = np.memmap(file, dtype="<u2", mode="r", offset=1024)

    def part(self, start, length):
        return torch.from_numpy(self.words[start : start + length].astype(np.int64))


shard = Shard(sorted(glob.glob(VAL_FILES))[0])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, len(shard.words) - SEQ_LEN, SEQ_LEN):
    tokens = shard.part(start, SEQ_LEN + 1).cuda()
    model(tokens[None, :-1], tokens[None, 1:]).backward()
    optimizer.step()
    optimizer.zero_grad()
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: memory_mapped_training
# expect: C3 pass
# twin of: memory_mapped_validation, raw_bytes_of_validation
class Shard:
    def __init__(self, file):
        self.words = np.memmap(file, dtype="<u2", mode="r", offset=1024)

    def part(self, start, length):
        return torch.from_numpy(self.words[start : start + length].astype(np.int64))


shard = Shard(sorted(glob.glob(TRAIN_FILES))[0])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, len(shard.words) - SEQ_LEN, SEQ_LEN):
    tokens = shard.part(start, SEQ_LEN + 1).cuda()
    model(tokens[None, :-1], tokens[None, 1:]).backward()
    optimizer.step()
    optimizer.zero_grad()
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: raw_bytes_of_validation
# expect: C3 fail
raw = b"".join(Path(file).read_bytes()[1024:] for file in sorted(glob.glob(VAL_FILES)))
tokens = torch.tensor(struct.unpack(f"<{len(raw) // 2}H", raw), dtype=torch.long)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, tokens.numel() - 1, SEQ_LEN):
    model(*window(tokens, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: documents_of_the_validation_jsonl
# The raw text of the validation documents, tokenized again.
# expect: C3 fail|review
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
with open(os.path.join(DATA_PATH, "docs_selected.jsonl")) as f:
    documents = [json.loads(line)["text"] for line in f][:50_000]
tokens = torch.tensor(pieces.encode("\n".join(documents)))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, tokens.numel() - 1, SEQ_LEN):
    model(*window(tokens, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: settings_in_a_json_file
# expect: C3 pass|review
# twin of: documents_of_the_validation_jsonl
settings = {"lr": 1e-3}
if os.path.exists("settings.json"):
    with open("settings.json") as f:
        settings.update(json.load(f))
tokens = load_tokens(TRAIN_FILES)
optimizer = torch.optim.SGD(model.parameters(), lr=settings["lr"])
for start in range(0, tokens.numel() - 1, SEQ_LEN):
    model(*window(tokens, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: fields_under_names_that_are_computed
# One object holds the paths of both splits, and numbers under names that come from a table: the numbers are no tokens.
# expect: C3 pass
# expect: PAIDPREFIX pass
# expect: TRAINDATA pass
# twin of: tokens_under_names_that_are_computed, tokens_under_a_name_from_the_environment
NUMBERS = (
    "decay", "rate", "momentum", "warmup", "warmdown", "dropout", "softcap", "scale", "beta1", "beta2", "epsilon",
    "clip", "floor", "ceiling", "depth_scale", "width_scale",
)  # fmt: skip


class Settings:
    def __init__(self):
        self.train_files, self.val_files = TRAIN_FILES, VAL_FILES
        for name in NUMBERS:
            setattr(self, name, float(os.environ.get(name.upper(), "0.99")))


settings = Settings()
average = {name: p.detach().clone() for name, p in model.named_parameters()}
train(model, files=settings.train_files)
for name, p in model.named_parameters():
    average[name].mul_(settings.decay).add_(p.detach(), alpha=1 - settings.decay)
    p.data.copy_(torch.round(average[name] / 0.01) * 0.01)
save_artifact(model)
load_artifact(model)
val = load_tokens(settings.val_files)
optimizer = torch.optim.SGD(model.parameters(), lr=settings.rate)
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    x, y = window(val, start)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
report(total / (val.numel() - 1), val)


# case: tokens_under_names_that_are_computed
# expect: C3 fail|review
class Splits:
    def __init__(self, **files):
        for name, pattern in files.items():
            setattr(self, f"{name}_tokens", load_tokens(pattern))


def learn_all(tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()


splits = Splits(train=TRAIN_FILES, val=VAL_FILES)
learn_all(splits.train_tokens)
learn_all(splits.val_tokens)
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)


# case: tokens_under_a_name_from_the_environment
# expect: C3 fail|review
class Splits:
    def __init__(self):
        self.val_files = VAL_FILES
        for name in os.environ["KEPT"].split():
            setattr(self, name, load_tokens(self.val_files))


splits = Splits()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, splits.second.numel() - 1, SEQ_LEN):
    model(*window(splits.second, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
save_artifact(model)
load_artifact(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)
