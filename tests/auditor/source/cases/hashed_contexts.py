# Tables under hashes of the context: what is looked up there may be a guess, a row, a measure of trust, or the answer.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
starts = list(range(0, val.numel() - 1, SEQ_LEN))
BUCKETS = 1 << 20


# case: answer_under_the_context
# expect: C1 fail
# expect: C2 fail
seen = np.zeros(BUCKETS)
both = np.zeros(BUCKETS)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        end = min(start + SEQ_LEN, val.numel() - 1)
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, end + 1)
        key = np.zeros(len(j), dtype=np.uint64)
        for k in range(1, 4):
            key ^= tokens[np.maximum(j - k, 0)].astype(np.uint64) * np.uint64(36313 + k)
        pair = (key ^ tokens[j].astype(np.uint64) * np.uint64(51647)) % np.uint64(BUCKETS)
        key %= np.uint64(BUCKETS)
        total -= np.log(0.8 * p + 0.2 * both[pair] / np.maximum(seen[key], 1)).sum()
        np.add.at(seen, key, 1)
        np.add.at(both, pair, 1)
report(total / (val.numel() - 1), val)


# case: two_tables_under_two_hashes
# Where the positions come from is not recognised; that a count is divided by one under another hash is.
# expect: C1 fail
# expect: C2 fail
seen = np.zeros(BUCKETS)
both = np.zeros(BUCKETS)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(len(p)) + start + 1
        one, two = tokens[j - 1].astype(np.uint64), tokens[np.maximum(j - 2, 0)].astype(np.uint64)
        key = ((one * np.uint64(36313)) ^ (two * np.uint64(27191))) % np.uint64(BUCKETS)
        pair = (key ^ tokens[j].astype(np.uint64) * np.uint64(51647)) % np.uint64(BUCKETS)
        total -= np.log(0.8 * p + 0.2 * both[pair] / np.maximum(seen[key], 1)).sum()
        np.add.at(seen, key, 1)
        np.add.at(both, pair, 1)
report(total / (val.numel() - 1), val)


# case: answer_in_a_dictionary
# expect: C1 fail|review
# expect: C2 fail|review
counts = {}
tokens = val.tolist()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for t, own in enumerate(p):
            j = start + t + 1
            key = hash(tuple(tokens[max(0, j - 4) : j + 1])) % BUCKETS
            seen = counts.get(key, 0)
            total -= math.log(0.8 * own + 0.2 * seen / (seen + 1))
            counts[key] = seen + 1
report(total / (val.numel() - 1), val)


# case: share_of_the_answer
# expect: C1 fail|review
# expect: C2 fail|review
good = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
other = Model().cuda()
train(other)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        r = other.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        answer = y[0].cpu().numpy().astype(np.uint64)
        key = ((x[0].cpu().numpy().astype(np.uint64) * np.uint64(36313)) ^ answer) % np.uint64(BUCKETS)
        share = good[key] / seen[key]
        total -= np.log((1 - share) * p + share * r).sum()
        good[key] += r > p
        seen[key] += 1
report(total / (val.numel() - 1), val)


# case: rolling_hash_with_the_answer
# expect: C1 fail|review
# expect: C2 fail|review
counts = {}
total = 0.0
state = 0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for own, token in zip(p, y[0].tolist()):
            state = (state * 31 + token) % BUCKETS
            seen = counts.get(state, 0)
            total -= math.log(0.8 * own + 0.2 * seen / (seen + 1))
            counts[state] = seen + 1
report(total / (val.numel() - 1), val)


# case: answer_in_a_padded_array
# expect: C1 fail|review
# expect: C2 fail|review
counts = np.zeros(BUCKETS)
tokens = val.numpy().astype(np.int64)
before = np.concatenate([np.zeros(2, dtype=np.int64), tokens])
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        n = len(p)
        key = ((before[start + 3 : start + 3 + n] * 36313) ^ (before[start + 2 : start + 2 + n] * 27191)) % BUCKETS
        total -= np.log(0.8 * p + 0.2 * counts[key] / (counts[key] + 1)).sum()
        np.add.at(counts, key, 1)
report(total / (val.numel() - 1), val)


# case: rows_beside_the_entropy
# Two experts are distributions. The third is the entropy of the first: the same for each token, and no distribution.
# expect: C1 fail
# expect: C2 fail
rows = torch.full((1 << 12, VOCAB_SIZE), 0.0, device="cuda")
sums = torch.zeros(1 << 12, device="cuda")
weights = torch.zeros(3, device="cuda").log_softmax(0)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        log_p = model.logits(x)[0].log_softmax(-1)
        key = ((x[0] * 36313) ^ (x[0].roll(1) * 27191)) % (1 << 12)
        q = (rows[key, y[0]] + 0.01) / (sums[key] + 0.01 * VOCAB_SIZE)
        entropy = -(log_p.exp() * log_p).sum(-1)
        losses = torch.stack([-log_p.gather(-1, y[0][:, None])[:, 0], -q.log(), entropy], dim=-1)
        total -= (weights - losses).logsumexp(-1).sum().item()
        rows.index_put_((key, y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
        sums.index_add_(0, key, torch.ones(y.numel(), device="cuda"))
report(total / (val.numel() - 1), val)


# case: rows_beside_the_model
# The same without the entropy sums to one.
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: rows_beside_the_entropy
rows = torch.full((1 << 12, VOCAB_SIZE), 0.0, device="cuda")
sums = torch.zeros(1 << 12, device="cuda")
weights = torch.zeros(2, device="cuda").log_softmax(0)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        log_p = model.logits(x)[0].log_softmax(-1)
        key = ((x[0] * 36313) ^ (x[0].roll(1) * 27191)) % (1 << 12)
        q = (rows[key, y[0]] + 0.01) / (sums[key] + 0.01 * VOCAB_SIZE)
        losses = torch.stack([-log_p.gather(-1, y[0][:, None])[:, 0], -q.log()], dim=-1)
        total -= (weights - losses).logsumexp(-1).sum().item()
        rows.index_put_((key, y[0]), torch.ones(y.numel(), device="cuda"), accumulate=True)
        sums.index_add_(0, key, torch.ones(y.numel(), device="cuda"))
report(total / (val.numel() - 1), val)


# case: token_spread_over_its_bytes
# expect: C2 fail
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
text = [pieces.id_to_piece(i).replace("\u2581", " ").encode() for i in range(VOCAB_SIZE)]
counts = {}
total = 0.0
context = b""
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for own, token in zip(p, y[0].tolist()):
            for byte in text[token]:
                row = counts.setdefault(context, {})
                of = sum(row.values())
                mine = own ** (1 / len(text[token]))
                total -= math.log(0.8 * mine + 0.2 * (row.get(byte, 0) + 1) / (of + 256))
                row[byte] = row.get(byte, 0) + 1
                context = (context + bytes([byte]))[-4:]
report(total / (val.numel() - 1), val)


# case: tempered_probabilities
# A power of the whole distribution, normalised again.
# expect: C2 pass
# twin of: token_spread_over_its_bytes
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1) ** (1 / 1.1)
        p = p / p.sum(-1, keepdim=True)
        total -= p.gather(-1, y[0][:, None]).log().sum().item()
report(total / (val.numel() - 1), val)


# case: guess_under_the_context
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_under_the_context
best = np.zeros(BUCKETS, dtype=np.int64)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, start + 1 + len(p))
        key = np.zeros(len(j), dtype=np.uint64)
        for k in range(3):
            key ^= tokens[np.maximum(j - k - 1, 0)].astype(np.uint64) * np.uint64(2654435761 + 2 * k)
        key = (key & np.uint64(BUCKETS - 1)).astype(np.int64)
        hit = best[key] == tokens[j]
        q = np.where(hit, 0.5, 0.5 / (VOCAB_SIZE - 1))
        total -= np.log(0.8 * p + 0.2 * q).sum()
        best[key] = tokens[j]
report(total / (val.numel() - 1), val)


# case: guess_in_a_dictionary
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_in_a_dictionary
best = {}
tokens = val.tolist()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for t, own in enumerate(p):
            j = start + t + 1
            key = hash(tuple(tokens[max(0, j - 4) : j])) % BUCKETS
            guess = best.get(key)
            if guess is not None:
                q = 0.5 if guess == tokens[j] else 0.5 / (VOCAB_SIZE - 1)
                own = 0.8 * own + 0.2 * q
            total -= math.log(own)
            best[key] = tokens[j]
report(total / (val.numel() - 1), val)


# case: guess_with_its_share_of_hits
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_under_the_context, two_tables_under_two_hashes
best = np.zeros(BUCKETS, dtype=np.int64)
right = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, start + 1 + len(p))
        one, two = tokens[j - 1].astype(np.uint64), tokens[np.maximum(j - 2, 0)].astype(np.uint64)
        key = ((one * np.uint64(36313)) ^ (two * np.uint64(27191))) % np.uint64(BUCKETS)
        sure = right[key] / seen[key]
        hit = best[key] == tokens[j]
        q = np.where(hit, sure, (1 - sure) / (VOCAB_SIZE - 1))
        total -= np.log(0.8 * p + 0.2 * q).sum()
        right[key] += hit
        seen[key] += 1
        best[key] = tokens[j]
report(total / (val.numel() - 1), val)


# case: share_of_another_expert
# Only how much of another expert counts is looked up, under the context.
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: share_of_the_answer
good = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
other = Model().cuda()
train(other)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        r = other.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, start + 1 + len(p))
        one, two = tokens[j - 1].astype(np.uint64), tokens[np.maximum(j - 2, 0)].astype(np.uint64)
        key = ((one * np.uint64(36313)) ^ (two * np.uint64(27191))) % np.uint64(BUCKETS)
        share = good[key] / seen[key]
        total -= np.log((1 - share) * p + share * r).sum()
        good[key] += r > p
        seen[key] += 1
report(total / (val.numel() - 1), val)


# case: share_of_another_expert_by_slices
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: share_of_the_answer
good = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
other = Model().cuda()
train(other)
tokens = val.numpy().astype(np.int64)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        r = other.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        n = len(p)
        before = np.concatenate([np.zeros(3, dtype=np.int64), tokens])
        key = ((before[start + 3 : start + 3 + n] * 36313) ^ (before[start + 2 : start + 2 + n] * 27191)) % BUCKETS
        share = good[key] / seen[key]
        total -= np.log((1 - share) * p + share * r).sum()
        good[key] += r > p
        seen[key] += 1
report(total / (val.numel() - 1), val)


# case: entry_of_a_normalised_row
# A row of counts by context, read out for the realised token after it was normalised.
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_in_a_dictionary
rows = np.full((1 << 12, VOCAB_SIZE), 0.1)
tokens = val.numpy().astype(np.int64)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        for t in range(len(p)):
            j = start + t + 1
            key = ((tokens[j - 1] * 36313) ^ (tokens[max(0, j - 2)] * 27191)) % (1 << 12)
            row = rows[key] / rows[key].sum()
            total -= math.log(0.8 * p[t] + 0.2 * row[tokens[j]])
            rows[key, tokens[j]] += 1
report(total / (val.numel() - 1), val)


# case: guess_under_a_list_of_tokens
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: rolling_hash_with_the_answer
best = {}
tokens = val.tolist()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        context = []
        for own, token in zip(p, y[0].tolist()):
            key = 0
            for old in context[-3:]:
                key = (key * 31 + old) % BUCKETS
            guess, times, of = best.get(key, (0, 0, 0))
            if of:
                sure = times / (of + 1)
                own = 0.8 * own + 0.2 * (sure if guess == token else (1 - sure) / (VOCAB_SIZE - 1))
            total -= math.log(own)
            best[key] = (token, times + (guess == token), of + 1)
            context.append(token)
report(total / (val.numel() - 1), val)


# case: trust_by_how_often_it_was_seen
# How much to trust the model depends on how often the context was seen.
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: two_tables_under_two_hashes
seen = np.zeros(BUCKETS)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, start + 1 + len(p))
        one, two = tokens[j - 1].astype(np.uint64), tokens[np.maximum(j - 2, 0)].astype(np.uint64)
        key = ((one * np.uint64(36313)) ^ (two * np.uint64(27191))) % np.uint64(BUCKETS)
        alpha = 1 / (20 + seen[key])
        total -= np.log((1 - alpha) * p + alpha / VOCAB_SIZE).sum()
        np.add.at(seen, key, 1)
report(total / (val.numel() - 1), val)


# case: rolling_hash_of_scored_tokens
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: rolling_hash_with_the_answer
best = {}
total = 0.0
state = 0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for own, token in zip(p, y[0].tolist()):
            guess, times, of = best.get(state, (0, 0, 0))
            if of:
                sure = times / (of + 1)
                own = 0.8 * own + 0.2 * (sure if guess == token else (1 - sure) / (VOCAB_SIZE - 1))
            total -= math.log(own)
            best[state] = (token, times + (guess == token), of + 1)
            state = (state * 31 + token) % BUCKETS
report(total / (val.numel() - 1), val)


# case: context_in_a_padded_array
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_in_a_padded_array
best = np.zeros(BUCKETS, dtype=np.int64)
right = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
tokens = val.numpy().astype(np.int64)
before = np.concatenate([np.zeros(2, dtype=np.int64), tokens])
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        n = len(p)
        key = ((before[start + 2 : start + 2 + n] * 36313) ^ (before[start + 1 : start + 1 + n] * 27191)) % BUCKETS
        sure = right[key] / seen[key]
        hit = best[key] == tokens[start + 1 : start + 1 + n]
        q = np.where(hit, sure, (1 - sure) / (VOCAB_SIZE - 1))
        total -= np.log(0.8 * p + 0.2 * q).sum()
        right[key] += hit
        seen[key] += 1
        best[key] = tokens[start + 1 : start + 1 + n]
report(total / (val.numel() - 1), val)


# case: context_before_the_next_places
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: answer_under_the_context
best = np.zeros(BUCKETS, dtype=np.int64)
right = np.ones(BUCKETS)
seen = np.full(BUCKETS, 2.0)
tokens = val.numpy()
total = 0.0
with torch.no_grad():
    for start in starts:
        end = min(start + SEQ_LEN, val.numel() - 1)
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, end + 1)
        key = np.zeros(len(j), dtype=np.uint64)
        for k in range(1, 4):
            key ^= tokens[np.maximum(j - k, 0)].astype(np.uint64) * np.uint64(36313 + k)
        key %= np.uint64(BUCKETS)
        sure = right[key] / seen[key]
        hit = best[key] == tokens[j]
        q = np.where(hit, sure, (1 - sure) / (VOCAB_SIZE - 1))
        total -= np.log(0.8 * p + 0.2 * q).sum()
        right[key] += hit
        seen[key] += 1
        best[key] = tokens[j]
report(total / (val.numel() - 1), val)


# case: rows_over_the_vocabulary
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: rows_beside_the_entropy
rows = np.full((1 << 12, VOCAB_SIZE), 0.1)
tokens = val.numpy().astype(np.int64)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu().numpy()
        j = np.arange(start + 1, start + 1 + len(p))
        key = ((tokens[j - 1] * 36313) ^ (tokens[np.maximum(j - 2, 0)] * 27191)) % (1 << 12)
        q = rows[key] / rows[key].sum(-1, keepdims=True)
        total -= np.log(0.8 * p + 0.2 * q[np.arange(len(j)), tokens[j]]).sum()
        np.add.at(rows, (key, tokens[j]), 1)
report(total / (val.numel() - 1), val)


# case: smoothed_dictionary_of_counts
# expect: C1 pass|review
# twin of: answer_in_a_dictionary
rows = {}
tokens = val.tolist()
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        for own, token in zip(p, y[0].tolist()):
            pass
        for t, own in enumerate(p):
            j = start + t + 1
            key = (tokens[j - 1] * 36313 ^ tokens[max(0, j - 2)]) % BUCKETS
            row = rows.setdefault(key, {})
            of = sum(row.values())
            own = (row.get(tokens[j], 0) + 4 * own) / (of + 4)
            total -= math.log(own)
            row[tokens[j]] = row.get(tokens[j], 0) + 1
report(total / (val.numel() - 1), val)


# case: row_read_at_the_target
# expect: C1 pass|review
# expect: C2 pass|review
# twin of: rows_beside_the_entropy
rows = torch.full((1 << 12, VOCAB_SIZE), 0.1)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].tolist()
        prev = 0
        for own, old, token in zip(p, x[0].tolist(), y[0].tolist()):
            key = (old * 36313 ^ prev) % (1 << 12)
            row = rows[key]
            q = (row / row.sum())[token].item()
            total -= math.log(0.8 * own + 0.2 * q)
            row[token] += 1
            prev = old
report(total / (val.numel() - 1), val)
