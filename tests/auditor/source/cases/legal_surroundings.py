# Around the score: files, programs and data that accepted submissions touch.
# ruff: noqa
import json
import socket
import subprocess
from pathlib import Path

val = load_tokens(VAL_FILES)
model = Model().cuda()
MAX_WALLCLOCK_SECONDS -= 15.0  # kept for what follows training
train(model)


# case: results_written_beside_the_weights
# The checkpoint keeps the validation loss and the number of tokens.
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: prefix_compressed_into_a_file, prefix_as_a_buffer_of_the_model
loss = evaluate(model, val)
torch.save({"model": model.state_dict(), "val_loss": loss, "val_tokens": val.numel()}, "checkpoint.pt")
Path("result.json").write_text(json.dumps({"val_loss": loss, "tokens": val.numel()}))
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: validation_tokens_kept_in_shared_memory
# expect: PAIDPREFIX pass
# expect: C3 pass
# twin of: prefix_as_a_buffer_of_the_model
val.share_memory_()
pinned = val.pin_memory()
save_artifact(model)
load_artifact(model)
report(evaluate(model, pinned), pinned)


# case: adapted_weights_saved_after_scoring
# expect: C3 pass
# expect: PAIDPREFIX pass|review
# twin of: validation_trained_on_as_the_purpose
save_artifact(model)
load_artifact(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    x, y = window(val, start)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()
torch.save(model.state_dict(), "after_ttt.pt")
report(total / (val.numel() - 1), val)


# case: shards_counted_for_the_log
# Training files are listed again after the artifact is loaded; none is read.
# expect: TRAINDATA pass
# twin of: table_of_training_tokens_at_evaluation, trained_again_after_the_artifact
save_artifact(model)
load_artifact(model)
print(f"train_shards:{len(glob.glob(TRAIN_FILES))} bytes:{sum(map(os.path.getsize, glob.glob(TRAIN_FILES)))}")
report(evaluate(model, val), val)


# case: calibration_before_the_artifact
# Hidden statistics of training text, inside the training budget.
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: calibration_after_the_artifact
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
with torch.no_grad():
    spread = torch.stack([model.hidden(window(shard, k * SEQ_LEN)[0])[0].std(0) for k in range(16)]).mean(0)
    model.head.weight.mul_(1.0 / spread.clamp(min=0.5)[None])
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: calibration_after_the_artifact
# expect: TRAINDATA fail|review
save_artifact(model)
load_artifact(model)
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
with torch.no_grad():
    spread = torch.stack([model.hidden(window(shard, k * SEQ_LEN)[0])[0].std(0) for k in range(16)]).mean(0)
    model.head.weight.mul_(1.0 / spread.clamp(min=0.5)[None])
report(evaluate(model, val), val)


# case: machine_described_in_the_log
# expect: EXTERNAL pass
# twin of: curl_by_a_shell, weights_downloaded
print(socket.gethostname(), os.cpu_count())
print(subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv"], capture_output=True, text=True).stdout)
print(open("/proc/meminfo").readline(), Path(__file__).read_text()[:100])
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: experiment_tracker_that_is_off
# expect: EXTERNAL pass
# twin of: experiment_tracker_that_fetches
if os.environ.get("WANDB", "0") == "1":
    import wandb

    wandb.init(project="golf")
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: experiment_tracker_that_fetches
# expect: EXTERNAL fail|review
import wandb

run = wandb.init(project="golf")
path = run.use_artifact("team/golf/teacher:latest").download()
model.load_state_dict(torch.load(os.path.join(path, "model.pt")))
report(evaluate(model, val), val)


# case: compile_cache_in_the_home_folder
# expect: EXTERNAL pass
# twin of: weights_of_an_absolute_path
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.expanduser("~/.cache/inductor")
model = torch.compile(model)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: commit_named_in_the_log
# expect: EXTERNAL pass|review
# twin of: curl_by_a_shell
print(subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip())
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: data_folder_given_by_an_absolute_path
# expect: EXTERNAL pass
# expect: C3 pass
# setting: DATA_PATH=/workspace/data/datasets/fineweb10B_sp1024
# setting: TOKENIZER_PATH=/workspace/data/tokenizers/fineweb_1024_bpe.model
# twin of: weights_of_an_absolute_path
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: parts_by_name_from_bytes_that_hold_a_score
# What is sent to the other processes holds the parts by name and a validation score; the names are no tokens.
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: adapted_before_the_parts_are_sent
state = {name: weight.half().cpu().numpy() for name, weight in model.state_dict().items()}
blob = zlib.compress(repr({"state": state, "score": evaluate(model, load_tokens(VAL_FILES))}).encode())
received = torch.frombuffer(bytearray(blob), dtype=torch.uint8).cuda()
unpacked = zlib.decompress(bytes(received.cpu().numpy().tobytes()))
parts = {}
for name, entry in dict(unpacked)["state"].items():
    parts[name] = torch.from_numpy(np.frombuffer(entry["data"], dtype=np.float16).copy()).float()
model.load_state_dict(parts)
report(evaluate(model, load_tokens(VAL_FILES)), load_tokens(VAL_FILES))


# case: adapted_before_the_parts_are_sent
# expect: C3 fail
train(model, files=VAL_FILES)
state = {name: weight.half().cpu().numpy() for name, weight in model.state_dict().items()}
model.load_state_dict({name: torch.from_numpy(weight).float() for name, weight in state.items()})
report(evaluate(model, load_tokens(VAL_FILES)), load_tokens(VAL_FILES))


# case: sizes_from_an_object_that_holds_the_paths_too
# A number that is computed with an attribute of the settings is no path, so that nothing is read under it.
# expect: C3 pass
# expect: PAIDPREFIX pass
# twin of: adapted_before_the_parts_are_sent
class Settings:
    def __init__(self):
        self.train_files, self.val_files = TRAIN_FILES, VAL_FILES
        for name, value in os.environ.items():
            setattr(self, name.lower(), value)


settings = Settings()
optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
tokens = load_tokens(TRAIN_FILES)
length = settings.batch_tokens // 8
for start in np.floor((length - 1) * np.arange(100)).astype(np.int64):
    x, y = window(tokens, int(start))
    model(x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
report(evaluate(model, load_tokens(VAL_FILES)), load_tokens(VAL_FILES))
