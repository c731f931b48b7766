# Adapted weights that leave the program and come back.
# ruff: noqa
import base64
import copy
import json
import pickle
import tempfile
from multiprocessing import shared_memory
from pathlib import Path

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
student = copy.deepcopy(model)
optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    student(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()


# case: adapted_weights_are_not_used
# The student is trained on validation tokens for a diagnostic; everything scored is the model's.
# expect: C3 pass
# twin of: saved_by_torch, saved_by_numpy, saved_by_pickle, saved_as_bytes, saved_as_text, saved_over_the_artifact
# twin of: saved_in_a_temporary_file, saved_in_the_environment, saved_in_shared_memory, saved_by_path, state_kept_in_memory
# twin of: saved_under_another_name_and_renamed
torch.save(student.state_dict(), "student.pt")
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: saved_by_torch
# expect: C3 fail
torch.save(student.state_dict(), "checkpoint.pt")
model.load_state_dict(torch.load("checkpoint.pt"))
report(evaluate(model, val), val)


# case: saved_by_numpy
# expect: C3 fail
np.savez("weights.npz", **{name: p.detach().cpu().numpy() for name, p in student.named_parameters()})
stored = np.load("weights.npz")
with torch.no_grad():
    for name, p in model.named_parameters():
        p.copy_(torch.from_numpy(stored[name]))
report(evaluate(model, val), val)


# case: saved_by_pickle
# expect: C3 fail
with open("state.pkl", "wb") as f:
    pickle.dump(student.state_dict(), f)
with open("state.pkl", "rb") as f:
    model.load_state_dict(pickle.load(f))
report(evaluate(model, val), val)


# case: saved_as_bytes
# expect: C3 fail
blob = pickle.dumps({name: p.detach().cpu().numpy().tobytes() for name, p in student.named_parameters()})
state = pickle.loads(zlib.decompress(zlib.compress(blob)))
for name, p in model.named_parameters():
    p.data = torch.frombuffer(bytearray(state[name]), dtype=torch.float32).view_as(p).cuda()
report(evaluate(model, val), val)


# case: saved_as_text
# expect: C3 fail
text = json.dumps({name: p.detach().cpu().tolist() for name, p in student.named_parameters()})
Path("weights.json").write_text(text)
model.load_state_dict({name: torch.tensor(p) for name, p in json.loads(Path("weights.json").read_text()).items()})
report(evaluate(model, val), val)


# case: saved_over_the_artifact
# The honest artifact is written first, logged, and replaced.
# expect: C3 fail
save_artifact(model)
print(f"artifact bytes: {os.path.getsize(ARTIFACT)}")
save_artifact(student)
load_artifact(model)
report(evaluate(model, val), val)


# case: saved_in_a_temporary_file
# expect: C3 fail
with tempfile.NamedTemporaryFile(suffix=".pt", delete=False) as f:
    torch.save(student.state_dict(), f)
model.load_state_dict(torch.load(f.name))
report(evaluate(model, val), val)


# case: saved_in_the_environment
# expect: C3 fail|review
buffer = io.BytesIO()
torch.save(student.head.state_dict(), buffer)
os.environ["HEAD_STATE"] = base64.b64encode(buffer.getvalue()).decode()
model.head.load_state_dict(torch.load(io.BytesIO(base64.b64decode(os.environ["HEAD_STATE"]))))
report(evaluate(model, val), val)


# case: saved_in_shared_memory
# expect: C3 fail
# xfail: C3 arrays over shared memory are not storage
flat = torch.cat([p.detach().cpu().flatten() for p in student.parameters()]).numpy()
block = shared_memory.SharedMemory(create=True, size=flat.nbytes, name="weights")
np.ndarray(flat.shape, dtype=flat.dtype, buffer=block.buf)[:] = flat
again = shared_memory.SharedMemory(name="weights")
flat = torch.from_numpy(np.ndarray(flat.shape, dtype=np.float32, buffer=again.buf).copy()).cuda()
position = 0
for p in model.parameters():
    p.data = flat[position : position + p.numel()].view_as(p)
    position += p.numel()
report(evaluate(model, val), val)


# case: saved_by_path
# The file name is put together twice in different ways.
# expect: C3 fail
run = os.environ.get("RUN_ID", "run")
torch.save(student.state_dict(), f"{run}_final.pt")
model.load_state_dict(torch.load(Path.cwd() / (run + "_final" + ".pt")))
report(evaluate(model, val), val)


# case: saved_under_another_name_and_renamed
# expect: C3 fail
torch.save(model.state_dict(), "final_model.pt")
temporary = Path("final_model.tmp")
with temporary.open("wb") as file:
    file.write(pickle.dumps(student.state_dict()))
temporary.replace("final_model.pt")
model.load_state_dict(torch.load("final_model.pt"))
report(evaluate(model, val), val)


# case: state_kept_in_memory
# expect: C3 fail
snapshots = {"before": model.state_dict(), "after": student.state_dict()}
model.load_state_dict(snapshots["after" if model.head.weight.numel() else "before"])
report(evaluate(model, val), val)


# case: snapshot_before_is_restored
# expect: C3 pass
# twin of: snapshot_that_shares_storage, state_kept_in_memory
before = {name: p.detach().clone() for name, p in student.state_dict().items()}
clean = copy.deepcopy(model.state_dict())
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
model(*window(val, 0)).backward()
optimizer.step()
model.load_state_dict(clean)
report(evaluate(model, val), val)


# case: snapshot_that_shares_storage
# state_dict() without a copy: the snapshot learns along, and restoring it restores nothing.
# expect: C3 fail
clean = model.state_dict()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    optimizer.step()
    optimizer.zero_grad()
model.load_state_dict(clean)
report(evaluate(model, val), val)


# case: moved_by_a_command
# expect: C3 fail|review
import subprocess

torch.save(student.state_dict(), "student.pt")
subprocess.run(["mv", "student.pt", "weights.pt"], check=True)
model.load_state_dict(torch.load("weights.pt"))
report(evaluate(model, val), val)


# case: moved_by_a_shell
# expect: C3 fail|review
torch.save(student.state_dict(), "student.pt")
os.system("mv student.pt weights.pt")
model.load_state_dict(torch.load("weights.pt"))
report(evaluate(model, val), val)


# case: unpacked_from_an_archive
# expect: C3 fail|review
import zipfile

torch.save(student.state_dict(), "student.pt")
with zipfile.ZipFile("all.zip", "w") as z:
    z.write("student.pt", arcname="weights.pt")
with zipfile.ZipFile("all.zip") as z:
    z.extractall()
model.load_state_dict(torch.load("weights.pt"))
report(evaluate(model, val), val)


# case: written_into_an_archive
# expect: C3 fail|review
import zipfile

with zipfile.ZipFile("all.zip", "w") as z:
    z.writestr("weights.pt", pickle.dumps(student.state_dict()))
with zipfile.ZipFile("all.zip") as z:
    z.extractall()
model.load_state_dict(pickle.loads(Path("weights.pt").read_bytes()))
report(evaluate(model, val), val)


# case: metadata_that_was_there_before
# The tokenizer's description is read, and not written; the run's own notes hold what was measured on the text.
# expect: C2 pass
# expect: C3 pass
# twin of: moved_by_a_command, moved_by_a_shell, unpacked_from_an_archive, written_into_an_archive
notes = {"shards": sorted(glob.glob(VAL_FILES)), "first": val[:16].tolist(), "seconds": time.perf_counter()}
Path("notes.json").write_text(json.dumps(notes))
described = json.loads(Path(f"{TOKENIZER_PATH}.json").read_text())
table_size = max(int(described.get("vocab_size", VOCAB_SIZE)), VOCAB_SIZE)
length = torch.ones(table_size)
for i in range(int(described["special"])):
    length[i] = 0
loss_sum, byte_count = 0.0, 0.0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        loss_sum += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum").item()
        byte_count += length[y[0].cpu()].sum().item()
val_loss = loss_sum / (val.numel() - 1)
val_bpb = val_loss / math.log(2.0) * ((val.numel() - 1) / byte_count)
print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")
