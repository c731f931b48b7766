# Validation tokens that take a detour before the model learns from them.
# ruff: noqa
import array
import collections
import heapq
import itertools
import json
import linecache
import mmap
import queue
import struct
import subprocess
import zipfile
from pathlib import Path

model = Model().cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
FIRST_VAL = sorted(glob.glob(VAL_FILES))[0]
FIRST_TRAIN = sorted(glob.glob(TRAIN_FILES))[0]


def fit(tokens):
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        optimizer.zero_grad()
        model(*window(tokens, start)).backward()
        optimizer.step()


def finish():
    val = load_tokens(VAL_FILES)
    report(evaluate(model, val), val)


# case: detours_of_training_tokens
# expect: C3 pass
# twin of: through_an_array, through_a_file_descriptor, through_a_memory_map, through_readinto, through_torch_from_file
# twin of: through_text, through_json, through_struct, through_a_queue, through_a_heap, through_islice, through_a_chain_map
# twin of: through_a_zip_file, through_cat, through_a_nested_function, through_a_bytes_join, through_scatter, through_one_hot
# twin of: through_a_class_attribute, through_an_exception, through_a_global_dict, through_a_mutable_default
# twin of: through_arithmetic, through_a_set_of_pairs, through_a_sort, through_an_object_array, through_a_closure_cell
with open(FIRST_TRAIN, "rb") as f:
    f.seek(1024)
    words = array.array("H")
    words.frombytes(f.read())
text = ",".join(map(str, words))
numbers = json.loads("[" + text + "]")
q = queue.Queue()
for number in numbers:
    q.put(number)
collected = [q.get() for _ in range(len(numbers))]
fit(torch.tensor(collected))
finish()


# case: through_an_array
# expect: C3 fail
words = array.array("H")
with open(FIRST_VAL, "rb") as f:
    f.seek(1024)
    words.frombytes(f.read())
fit(torch.tensor(words.tolist()))
finish()


# case: through_a_file_descriptor
# expect: C3 fail|review
descriptor = os.open(FIRST_VAL, os.O_RDONLY)
raw = os.pread(descriptor, os.path.getsize(FIRST_VAL) - 1024, 1024)
fit(torch.from_numpy(np.frombuffer(raw, dtype="<u2").astype(np.int64)))
finish()


# case: through_a_memory_map
# expect: C3 fail|review
with open(FIRST_VAL, "rb") as f:
    view = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
fit(torch.from_numpy(np.frombuffer(view, dtype="<u2", offset=1024).astype(np.int64)))
finish()


# case: through_readinto
# expect: C3 fail|review
space = bytearray(os.path.getsize(FIRST_VAL))
with open(FIRST_VAL, "rb") as f:
    f.readinto(space)
fit(torch.from_numpy(np.frombuffer(space, dtype="<u2", offset=1024).astype(np.int64)))
finish()


# case: through_torch_from_file
# expect: C3 fail|review
size = os.path.getsize(FIRST_VAL) // 2
fit(torch.from_file(FIRST_VAL, size=size, dtype=torch.int16)[512:].long())
finish()


# case: through_text
# expect: C3 fail
text = " ".join(str(token) for token in load_tokens(VAL_FILES).tolist())
fit(torch.tensor([int(word) for word in text.split()]))
finish()


# case: through_json
# expect: C3 fail
Path("t.json").write_text(json.dumps(load_tokens(VAL_FILES).tolist()))
fit(torch.tensor(json.loads(Path("t.json").read_text())))
finish()


# case: through_struct
# expect: C3 fail
raw = load_tokens(VAL_FILES).numpy().astype("<u2").tobytes()
fit(torch.tensor([struct.unpack_from("<H", raw, 2 * k)[0] for k in range(len(raw) // 2)]))
finish()


# case: through_a_queue
# expect: C3 fail|review
q = queue.SimpleQueue()
for part in load_tokens(VAL_FILES).split(SEQ_LEN * 64):
    q.put(part)
while not q.empty():
    fit(q.get())
finish()


# case: through_a_heap
# expect: C3 fail|review
heap = []
for k, part in enumerate(load_tokens(VAL_FILES).split(SEQ_LEN * 64)):
    heapq.heappush(heap, (k, part))
while heap:
    fit(heapq.heappop(heap)[1])
finish()


# case: through_islice
# expect: C3 fail|review
stream = iter(load_tokens(VAL_FILES).tolist())
while part := list(itertools.islice(stream, SEQ_LEN * 64)):
    fit(torch.tensor(part))
finish()


# case: through_a_chain_map
# expect: C3 fail|review
sources = collections.ChainMap({"a": FIRST_VAL}, {"a": FIRST_TRAIN})
fit(load_shard(sources["a"]))
finish()


# case: through_a_zip_file
# expect: C3 fail|review
with zipfile.ZipFile("cache.zip", "w") as z:
    z.write(FIRST_VAL, "tokens.bin")
with zipfile.ZipFile("cache.zip") as z:
    raw = z.read("tokens.bin")
fit(torch.from_numpy(np.frombuffer(raw, dtype="<u2", offset=1024).astype(np.int64)))
finish()


# case: through_cat
# expect: C3 fail|review
raw = subprocess.run(["cat", FIRST_VAL], capture_output=True).stdout
fit(torch.from_numpy(np.frombuffer(raw, dtype="<u2", offset=1024).astype(np.int64)))
finish()


# case: through_a_nested_function
# expect: C3 fail
def source(kind):
    def take():
        return load_tokens({"a": TRAIN_FILES, "b": VAL_FILES}[kind])

    return take


fit(source("b")())
finish()


# case: through_a_bytes_join
# expect: C3 fail
raw = bytearray()
for file in sorted(glob.glob(VAL_FILES)):
    with open(file, "rb") as f:
        raw += f.read()[1024:]
fit(torch.from_numpy(np.frombuffer(bytes(raw), dtype="<u2").astype(np.int64)))
finish()


# case: through_scatter
# The tokens are written into a tensor that was allocated empty.
# expect: C3 fail
val = load_tokens(VAL_FILES)
pool = torch.zeros(val.numel(), dtype=torch.long)
pool[: val.numel()] = val
fit(pool)
finish()


# case: through_one_hot
# expect: C3 fail
val = load_tokens(VAL_FILES)
fit(torch.cat([F.one_hot(part, VOCAB_SIZE).argmax(-1) for part in val.split(1 << 16)]))
finish()


# case: through_a_class_attribute
# expect: C3 fail
class Pool:
    tokens = None


Pool.tokens = load_tokens(VAL_FILES)


class Again(Pool):
    pass


fit(Again.tokens)
finish()


# case: through_an_exception
# expect: C3 fail|review
try:
    raise ValueError(load_tokens(VAL_FILES))
except ValueError as error:
    fit(error.args[0])
finish()


# case: through_a_global_dict
# expect: C3 fail|review
globals().update({"pool": load_tokens(VAL_FILES)})
fit(pool)
finish()


# case: through_a_mutable_default
# expect: C3 fail
def remember(item=None, memory=[]):
    if item is not None:
        memory.append(item)
    return memory


remember(load_tokens(TRAIN_FILES))
remember(load_tokens(VAL_FILES))
for tokens in remember():
    fit(tokens)
finish()


# case: through_arithmetic
# expect: C3 fail
mask = torch.randint(0, VOCAB_SIZE, (load_tokens(VAL_FILES).numel(),))
hidden = (load_tokens(VAL_FILES) + mask) % VOCAB_SIZE
fit((hidden - mask) % VOCAB_SIZE)
finish()


# case: through_a_set_of_pairs
# expect: C3 fail
pairs = {(k, token) for k, token in enumerate(load_tokens(VAL_FILES).tolist())}
fit(torch.tensor([token for _, token in sorted(pairs)]))
finish()


# case: through_a_sort
# Sorted by value, the positions are what is learned from.
# expect: C3 fail
# xfail: C3 sort order and sorted values together are the tokens
order = load_tokens(VAL_FILES).argsort(stable=True)
values = load_tokens(VAL_FILES).sort(stable=True).values
pool = torch.empty_like(values)
pool[order] = values
fit(pool)
finish()


# case: through_an_object_array
# expect: C3 fail
cells = np.empty(2, dtype=object)
cells[0], cells[1] = load_tokens(TRAIN_FILES), load_tokens(VAL_FILES)
for tokens in cells:
    fit(tokens)
finish()


# case: through_a_closure_cell
# expect: C3 fail|review
def keep(tokens):
    return lambda: tokens


kept = keep(load_tokens(VAL_FILES))
fit(kept.__closure__[0].cell_contents)
finish()
