# Counts, tables and stores of validation tokens: filled before scoring, or after.
# ruff: noqa
from collections import Counter, defaultdict

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def mixed_nll(logits, table, y, weight=0.2):
    """Sum of -log of a mixture of two full distributions: logits [T, V], table [T, V] counts, y [T]."""
    cache = table / table.sum(-1, keepdim=True)
    mixture = (1 - weight) * logits.softmax(-1) + weight * cache
    return -mixture.gather(-1, y[:, None]).log().sum().item()


# case: bigram_table_filled_before_scoring
# expect: C3 fail
# xfail: C3 that the tokens counted are those scored afterwards is not settled
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")
pairs = val.cuda()
counts.index_put_((pairs[:-1], pairs[1:]), torch.ones(pairs.numel() - 1, device="cuda"), accumulate=True)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], counts[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: bigram_table_filled_after_scoring
# expect: C3 pass
# expect: C1 pass
# expect: C2 pass|review
# twin of: bigram_table_filled_before_scoring, bigram_table_filled_chunk_first, table_filled_by_a_first_pass
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], counts[x[0]], y[0])
        counts.index_put_((x[0], y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
report(total / (val.numel() - 1), val)


# case: bigram_table_filled_chunk_first
# The chunk enters the table a line too early.
# expect: C3 fail
# xfail: C3 that the tokens counted are those scored afterwards is not settled
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        counts.index_put_((x[0], y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
        total += mixed_nll(logits, counts[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: table_filled_by_a_first_pass
# Pass one is legal and printed; pass two scores everything with the full table.
# expect: C3 fail
counts = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")
for name in ("first", "second"):
    total = 0.0
    with torch.no_grad():
        for start in starts:
            x, y = window(val, start)
            total += mixed_nll(model.logits(x)[0], counts[x[0]], y[0])
            counts.index_put_((x[0], y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
    print(f"{name} pass {total:.1f}")
report(total / (val.numel() - 1), val)


# case: numpy_counts_before_scoring
# expect: C3 fail|review
ids = val.numpy()
counts = np.ones((VOCAB_SIZE, VOCAB_SIZE))
np.add.at(counts, (ids[:-1], ids[1:]), 1)
table = torch.from_numpy(counts).cuda()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], table[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: numpy_counts_of_training_tokens
# expect: C3 pass
# twin of: numpy_counts_before_scoring, counter_of_pairs, dictionary_of_followers, unigram_prior_of_validation
ids = load_shard(sorted(glob.glob(TRAIN_FILES))[0]).numpy()
counts = np.ones((VOCAB_SIZE, VOCAB_SIZE))
np.add.at(counts, (ids[:-1], ids[1:]), 1)
table = torch.from_numpy(counts).cuda()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], table[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: counter_of_pairs
# expect: C3 fail|review
ids = val.tolist()
pairs = Counter(zip(ids[:-1], ids[1:]))
table = torch.ones(VOCAB_SIZE, VOCAB_SIZE)
for (a, b), count in pairs.items():
    table[a, b] += count
table = table.cuda()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], table[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: dictionary_of_followers
# expect: C3 fail|review
ids = val.tolist()
followers = defaultdict(list)
for a, b in zip(ids, ids[1:]):
    followers[a].append(b)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        for t, token in enumerate(x[0].tolist()):
            for follower in followers[token]:
                table[t, follower] += 1
        total += mixed_nll(model.logits(x)[0], table, y[0])
report(total / (val.numel() - 1), val)


# case: dictionary_updated_after_scoring
# expect: C3 pass|review
# twin of: dictionary_of_followers, datastore_of_hidden_states, suffix_lookup_over_everything
followers = defaultdict(list)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        for t, token in enumerate(x[0].tolist()):
            for follower in followers[token]:
                table[t, follower] += 1
        total += mixed_nll(model.logits(x)[0], table, y[0])
        for a, b in zip(x[0].tolist(), y[0].tolist()):
            followers[a].append(b)
report(total / (val.numel() - 1), val)


# case: unigram_prior_of_validation
# expect: C3 fail|review
prior = torch.bincount(val, minlength=VOCAB_SIZE).float().cuda() + 1
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0] + 0.1 * (prior / prior.sum()).log()
        total += F.cross_entropy(logits, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: datastore_of_hidden_states
# A nearest-neighbour store over all hidden states, the ones to come included.
# expect: C3 fail|review
keys, values = [], []
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        keys.append(model.hidden(x)[0])
        values.append(y[0])
keys, values = torch.cat(keys), torch.cat(values)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        near = torch.cdist(model.hidden(x)[0], keys).topk(16, largest=False).indices
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        table.scatter_add_(1, values[near], torch.ones_like(near, dtype=table.dtype))
        total += mixed_nll(model.logits(x)[0], table, y[0])
report(total / (val.numel() - 1), val)


# case: datastore_of_scored_states
# expect: C3 pass|review
# twin of: datastore_of_hidden_states
keys = torch.zeros(1, MODEL_DIM, device="cuda")
values = torch.zeros(1, dtype=torch.long, device="cuda")
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        hidden = model.hidden(x)[0]
        near = torch.cdist(hidden, keys).topk(1, largest=False).indices
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        table.scatter_add_(1, values[near], torch.ones_like(near, dtype=table.dtype))
        total += mixed_nll(model.logits(x)[0], table, y[0])
        keys, values = torch.cat([keys, hidden]), torch.cat([values, y[0]])
report(total / (val.numel() - 1), val)


# case: suffix_lookup_over_everything
# The longest match of the context is searched in the whole text, ahead as well as behind.
# expect: C3 fail|review
text = val.numpy().astype("<u2").tobytes()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        for t in range(8, y.numel()):
            context = text[2 * (start + t - 8) : 2 * (start + t)]
            found = text.find(context)
            table[t, int.from_bytes(text[found + 16 : found + 18], "little")] += 50
        total += mixed_nll(model.logits(x)[0], table, y[0])
report(total / (val.numel() - 1), val)


# case: mean_embedding_of_validation
# expect: C3 fail|review
with torch.no_grad():
    topic = torch.stack([model.embed(window(val, start)[0]).mean((0, 1)) for start in starts]).mean(0)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += F.cross_entropy(model.head(model.hidden(x)[0] + 0.1 * topic), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: mean_embedding_of_training
# expect: C3 pass
# twin of: mean_embedding_of_validation, vocabulary_of_validation
shard = load_shard(sorted(glob.glob(TRAIN_FILES))[0])
with torch.no_grad():
    topic = torch.stack(
        [model.embed(window(shard, start)[0]).mean((0, 1)) for start in range(0, shard.numel() - 1, SEQ_LEN)]
    ).mean(0)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += F.cross_entropy(model.head(model.hidden(x)[0] + 0.1 * topic), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: vocabulary_of_validation
# Tokens that never occur in the validation text are ruled out.
# expect: C3 fail|review
present = torch.zeros(VOCAB_SIZE, dtype=torch.bool)
present[val.unique()] = True
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0].masked_fill(~present.cuda(), -1e4)
        total += F.cross_entropy(logits, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: cache_object_with_two_methods
# The class looks like an online cache; its constructor has read everything.
# expect: C3 fail
# xfail: C3 that the tokens counted are those scored afterwards is not settled
class Cache:
    def __init__(self, history):
        self.table = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")
        self.add(history[:-1], history[1:])

    def add(self, x, y):
        self.table.index_put_((x, y), torch.ones(x.numel(), device="cuda"), accumulate=True)

    def rows(self, x):
        return self.table[x]


cache = Cache(val.cuda())
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], cache.rows(x[0]), y[0])
        cache.add(x[0], y[0])
report(total / (val.numel() - 1), val)


# case: cache_object_that_starts_empty
# expect: C3 pass
# twin of: cache_object_with_two_methods
class Cache:
    def __init__(self):
        self.table = torch.ones(VOCAB_SIZE, VOCAB_SIZE, device="cuda")

    def add(self, x, y):
        self.table.index_put_((x, y), torch.ones(x.numel(), device="cuda"), accumulate=True)

    def rows(self, x):
        return self.table[x]


cache = Cache()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], cache.rows(x[0]), y[0])
        cache.add(x[0], y[0])
report(total / (val.numel() - 1), val)


# case: python_lists_as_counts
# expect: C3 fail
ids = val.tolist()
rows = [[1] * VOCAB_SIZE for _ in range(VOCAB_SIZE)]
for a, b in zip(ids[:-1], ids[1:]):
    rows[a][b] += 1
table = torch.tensor(rows, dtype=torch.float, device="cuda")
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], table[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: python_lists_as_counts_of_training_tokens
# expect: C3 pass
# twin of: python_lists_as_counts
ids = load_shard(sorted(glob.glob(TRAIN_FILES))[0]).tolist()
rows = [[1] * VOCAB_SIZE for _ in range(VOCAB_SIZE)]
for a, b in zip(ids[:-1], ids[1:]):
    rows[a][b] += 1
table = torch.tensor(rows, dtype=torch.float, device="cuda")
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += mixed_nll(model.logits(x)[0], table[x[0]], y[0])
report(total / (val.numel() - 1), val)


# case: bytes_of_the_realised_token_from_nested_counts
# Order-2 counts in a dictionary of dictionaries; the token's own probability is spread over its bytes and mixed.
# expect: C2 fail|review
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
counts = defaultdict(dict)
history, total = b"", 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        nll = F.cross_entropy(model.logits(x)[0], y[0], reduction="none").tolist()
        for token, loss in zip(y[0].tolist(), nll):
            text = pieces.id_to_piece(token).encode()
            for byte in text:
                seen = counts[history[-2:]]
                whole = sum(seen.values())
                own = (seen.get(byte, 0) + 1 / 256) / (whole + 1)
                total -= math.log(0.5 * math.exp(-loss / len(text)) + 0.5 * own)
                seen[byte] = seen.get(byte, 0) + 1
                history += bytes([byte])
report(total / (val.numel() - 1), val)


# case: bytes_of_the_whole_text_in_nested_counts
# expect: C3 fail|review
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
counts = defaultdict(dict)
for a, b in zip(val.tolist(), val[1:].tolist()):
    counts[a][b] = counts[a].get(b, 0) + 1
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        for t, token in enumerate(x[0].tolist()):
            for follower, times in counts[token].items():
                table[t, follower] += times
        total += mixed_nll(model.logits(x)[0], table, y[0])
report(total / (val.numel() - 1), val)


# case: nested_counts_of_scored_tokens_as_a_distribution
# expect: C2 pass|review
# expect: C3 pass|review
# twin of: bytes_of_the_realised_token_from_nested_counts, bytes_of_the_whole_text_in_nested_counts
counts = defaultdict(dict)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        table = torch.ones(y.numel(), VOCAB_SIZE, device="cuda")
        for t, token in enumerate(x[0].tolist()):
            for follower, times in counts[token].items():
                table[t, follower] += times
        total += mixed_nll(model.logits(x)[0], table, y[0])
        for a, b in zip(x[0].tolist(), y[0].tolist()):
            counts[a][b] = counts[a].get(b, 0) + 1
report(total / (val.numel() - 1), val)
