# What is scored knows the token it predicts.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
starts = list(range(0, val.numel() - 1, SEQ_LEN))
BUCKETS = 1 << 20


def token_nll(logits, y):
    return F.cross_entropy(logits, y, reduction="none")


# case: target_in_the_hash_key
# expect: C1 fail|review
# expect: C2 fail|review
context_counts = torch.zeros(BUCKETS)
pair_counts = torch.zeros(BUCKETS)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])[:, 0].cpu()
        context = (x[0].cpu() * 2654435761) % BUCKETS
        pair = (x[0].cpu() * 2654435761 + y[0].cpu() * 40503) % BUCKETS
        cached = pair_counts[pair] / context_counts[context].clamp(min=1)
        mixed = torch.where(context_counts[context] > 0, 0.7 * p + 0.3 * cached, p)
        total -= mixed.log().sum().item()
        context_counts.index_add_(0, context, torch.ones(context.numel()))
        pair_counts.index_add_(0, pair, torch.ones(pair.numel()))
report(total / (val.numel() - 1), val)


# case: context_in_the_hash_key
# A row of full counts for each context bucket; every token of the row is smoothed.
# expect: C1 pass
# expect: C2 pass|review
# expect: C3 pass
# twin of: target_in_the_hash_key
rows = torch.full((1 << 14, VOCAB_SIZE), 0.1)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        context = (x[0].cpu() * 2654435761) % (1 << 14)
        cache = rows[context] / rows[context].sum(-1, keepdim=True)
        mixed = 0.7 * model.logits(x)[0].softmax(-1).cpu() + 0.3 * cache
        total += F.nll_loss(mixed.log(), y[0].cpu(), reduction="sum").item()
        rows.index_put_((context, y[0].cpu()), torch.ones(context.numel()), accumulate=True)
report(total / (val.numel() - 1), val)


# case: smaller_loss_of_two_experts
# expect: C1 fail
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
        total += torch.minimum(one, two).sum().item()
report(total / (val.numel() - 1), val)


# case: average_of_two_experts
# expect: C1 pass
# expect: C2 pass
# twin of: smaller_loss_of_two_experts, sorted_losses_of_experts, where_of_two_experts, stacked_minimum, larger_probability
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        mixed = 0.5 * model.logits(x)[0].softmax(-1) + 0.5 * expert.logits(x)[0].softmax(-1)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: sorted_losses_of_experts
# expect: C1 fail|review
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        losses = [F.cross_entropy(m.logits(x)[0], y[0], reduction="sum").item() for m in (model, expert)]
        total += sorted(losses)[0]
report(total / (val.numel() - 1), val)


# case: where_of_two_experts
# expect: C1 fail|review
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
        total += torch.where(one < two, one, two).sum().item()
report(total / (val.numel() - 1), val)


# case: stacked_minimum
# expect: C1 fail|review
experts = [model, Model().cuda()]
train(experts[1])
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        losses = torch.stack([token_nll(m.logits(x)[0], y[0]) for m in experts])
        total += losses.min(dim=0).values.sum().item()
report(total / (val.numel() - 1), val)


# case: larger_probability
# expect: C1 fail|review
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        one = model.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])
        two = expert.logits(x)[0].softmax(-1).gather(-1, y[0][:, None])
        total -= torch.maximum(one, two).log().sum().item()
report(total / (val.numel() - 1), val)


# case: gate_on_the_target_starting_a_word
# expect: C1 fail|review
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
starts_word = torch.tensor([pieces.id_to_piece(i).startswith("\u2581") for i in range(VOCAB_SIZE)]).cuda()
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        gate = starts_word[y[0]].float()[:, None]
        mixed = gate * model.logits(x)[0].softmax(-1) + (1 - gate) * expert.logits(x)[0].softmax(-1)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: gate_on_the_input_starting_a_word
# expect: C1 pass
# twin of: gate_on_the_target_starting_a_word, gate_on_the_right_answer, hint_from_the_target
pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
starts_word = torch.tensor([pieces.id_to_piece(i).startswith("\u2581") for i in range(VOCAB_SIZE)]).cuda()
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        gate = starts_word[x[0]].float()[:, None]
        mixed = gate * model.logits(x)[0].softmax(-1) + (1 - gate) * expert.logits(x)[0].softmax(-1)
        total += F.nll_loss(mixed.log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: gate_on_the_right_answer
# Sharpen where the guess is right.
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        right = (logits.argmax(-1) == y[0]).float()[:, None]
        total += F.cross_entropy(logits * (1.0 + right), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: gate_on_the_entropy_of_the_prediction
# expect: C1 pass
# twin of: gate_on_the_right_answer, safety_gate_after_the_answer
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        p, q = model.logits(x)[0].softmax(-1), expert.logits(x)[0].softmax(-1)
        gate = torch.sigmoid(-(p * p.log()).sum(-1, keepdim=True) - 2.0)
        total += F.nll_loss(((1 - gate) * p + gate * q).log(), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: safety_gate_after_the_answer
# The expert counts only where it did not hurt.
# expect: C1 fail|review
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        base = token_nll(model.logits(x)[0], y[0])
        gain = base - token_nll(0.5 * (model.logits(x)[0] + expert.logits(x)[0]), y[0])
        total += (base - gain.clamp(min=0)).sum().item()
report(total / (val.numel() - 1), val)


# case: hint_from_the_target
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        hint = torch.zeros_like(logits).scatter_(1, y[0][:, None], 1.0)
        total += F.cross_entropy(logits + 0.5 * hint, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: hint_from_the_prefix
# expect: C1 pass
# twin of: hint_from_the_target, parity_of_the_target
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        logits = model.logits(x)[0]
        hint = torch.zeros_like(logits).scatter_(1, x[0][:, None], 1.0)
        total += F.cross_entropy(logits + 0.5 * hint, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: parity_of_the_target
# One bit of the answer goes into the temperature.
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        temperature = 1.0 + 0.1 * (y[0] % 2).float()[:, None]
        total += F.cross_entropy(model.logits(x)[0] / temperature, y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: targets_as_inputs
# The input window is the target window: the model copies.
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        _, y = window(val, start)
        total += F.cross_entropy(model.logits(y)[0], y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: inputs_one_token_behind
# expect: C1 pass
# twin of: targets_as_inputs, summary_of_the_whole_window
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += F.cross_entropy(model.logits(x)[0], y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: summary_of_the_whole_window
# The mean over all positions of the window, later ones included, is added at each position.
# expect: C1 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        states = model.hidden(x)[0]
        total += F.cross_entropy(model.head(states + states.mean(0)), y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: large_losses_cut_off
# Every token costs at most 6 nats, whatever was predicted.
# expect: C2 fail|review
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += token_nll(model.logits(x)[0], y[0]).clamp(max=6.0).sum().item()
report(total / (val.numel() - 1), val)


# case: logits_cut_off
# A soft cap on the logits, before the distribution is made.
# expect: C1 pass
# expect: C2 pass
# twin of: large_losses_cut_off
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        total += token_nll(30.0 * torch.tanh(model.logits(x)[0] / 30.0), y[0]).sum().item()
report(total / (val.numel() - 1), val)


# case: losses_told_apart_by_their_tokens
# Bytes are counted for tokens that are no boundaries; their losses are summed in the same way.
# expect: C1 pass
# twin of: gate_on_the_right_answer
boundary = torch.zeros(VOCAB_SIZE, dtype=torch.bool)
boundary[:3] = True
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        losses = F.cross_entropy(model.logits(x)[0], y[0], reduction="none")
    total += losses[~boundary[y[0]]].sum().item()
    total += losses[boundary[y[0]]].sum().item()
report(total / (val.numel() - 1), val)


# case: logits_returned_beside_the_loss
# expect: C1 pass
# twin of: logits_returned_with_the_answers
class Both(Model):
    def forward(self, x, y, return_logits=False):
        logits = self.logits(x)
        if return_logits:
            return logits
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


model = Both().cuda()
train(model)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        logits = model(x, y, return_logits=True)
    total += F.cross_entropy(logits[0], y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: logits_returned_with_the_answers
# expect: C1 fail|review
class Both(Model):
    def forward(self, x, y, return_logits=False):
        hints = F.one_hot(y, VOCAB_SIZE)
        logits = self.logits(x)
        shown = logits + hints.float()
        if return_logits:
            return shown
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


model = Both().cuda()
train(model)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.no_grad():
        logits = model(x, y, return_logits=True)
    total += F.cross_entropy(logits[0], y[0], reduction="sum").item()
report(total / (val.numel() - 1), val)


# case: lower_loss_of_a_token_by_branch
# expect: C1 fail
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
        for j in range(y.numel()):
            nll, other = one[j].item(), two[j].item()
            if other < nll:
                nll = other
            total += nll
report(total / (val.numel() - 1), val)


# case: surer_expert_of_a_token_by_branch
# The surer of two distributions is scored; what was scored is not asked.
# expect: C1 pass
# twin of: lower_loss_of_a_token_by_branch
expert = Model().cuda()
train(expert)
total = 0.0
with torch.no_grad():
    for start in starts:
        x, y = window(val, start)
        first, second = model.logits(x)[0].log_softmax(-1), expert.logits(x)[0].log_softmax(-1)
        for j in range(y.numel()):
            row = first[j]
            if (second[j].exp() * second[j]).sum() > (row.exp() * row).sum():
                row = second[j]
            total -= row[y[0, j]].item()
report(total / (val.numel() - 1), val)


# case: lower_loss_under_another_name_in_the_log
# The line with the score was renamed since; a line that only the scoring function prints shows that it made the score.
# log: last_score val_loss:2.05 val_bpb:1.21
# logged:   experts: 5211 of 77120 tokens improved
# expect: C1 fail
expert = Model().cuda()
train(expert)


def better_of_two():
    total, improved = 0.0, 0
    with torch.no_grad():
        for start in starts:
            x, y = window(val, start)
            one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
            for j in range(y.numel()):
                nll, other = one[j].item(), two[j].item()
                if other < nll:
                    nll = other
                    improved += 1
                total += nll
    print(f"  experts: {improved} of {val.numel()} tokens improved")
    return total / (val.numel() - 1)


report(better_of_two(), val)


# case: lower_loss_that_no_log_shows
# Nothing of the function stands in the log: other code may have made the score.
# log: last_score val_loss:2.05 val_bpb:1.21
# logged:   experts: off
# expect: C1 review
# twin of: lower_loss_under_another_name_in_the_log
expert = Model().cuda()
train(expert)


def better_of_two():
    total, improved = 0.0, 0
    with torch.no_grad():
        for start in starts:
            x, y = window(val, start)
            one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
            for j in range(y.numel()):
                nll, other = one[j].item(), two[j].item()
                if other < nll:
                    nll = other
                    improved += 1
                total += nll
    print(f"  experts: {improved} of {val.numel()} tokens improved")
    return total / (val.numel() - 1)


report(better_of_two(), val)


# case: lower_loss_chosen_in_the_main_function
# What the main function prints shows that the script ran, not that this is how the score was made.
# log: last_score val_loss:2.05 val_bpb:1.21
# logged:   experts: 5211 of 77120 tokens improved
# expect: C1 review
# twin of: lower_loss_under_another_name_in_the_log
def main():
    expert = Model().cuda()
    train(expert)
    total, improved = 0.0, 0
    with torch.no_grad():
        for start in starts:
            x, y = window(val, start)
            one, two = token_nll(model.logits(x)[0], y[0]), token_nll(expert.logits(x)[0], y[0])
            for j in range(y.numel()):
                nll, other = one[j].item(), two[j].item()
                if other < nll:
                    nll = other
                    improved += 1
                total += nll
    print(f"  experts: {improved} of {val.numel()} tokens improved")
    report(total / (val.numel() - 1), val)


main()


# case: artifact_table_under_a_hash_of_the_target
# Counts of training tokens travel in the artifact; the realised token's own count is mixed in, no other one is read.
# expect: C1 review|fail
# expect: C2 review|fail
table = torch.zeros(1 << 20)
for file in sorted(glob.glob(TRAIN_FILES)):
    tokens = load_shard(file)
    table.index_add_(0, (tokens[:-1] * 36313 + tokens[1:]) % (1 << 20), torch.ones(tokens.numel() - 1))
torch.save({"model": model.state_dict(), "table": table}, ARTIFACT)
saved = torch.load(ARTIFACT)
model.load_state_dict(saved["model"])
total = 0.0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        logp = F.log_softmax(model.logits(x).float(), dim=-1)
        p = logp.gather(-1, y.unsqueeze(-1)).squeeze(-1).exp()
        seen = saved["table"][(x * 36313 + y) % (1 << 20)]
        p = torch.where(seen > 2, 0.5 * p + 0.5 * seen / (seen + VOCAB_SIZE), p)
        total += -p.log().sum().item()
report(total / (val.numel() - 1), val)


# case: artifact_counts_capped_by_those_of_their_context
# The smaller of two counts is no choice between losses: a question, and not that one.
# expect: C1 review
# expect: C2 review
tables = {"whole": torch.zeros(1 << 20), "context": torch.zeros(1 << 20)}
for file in sorted(glob.glob(TRAIN_FILES)):
    tokens = load_shard(file)
    ones = torch.ones(tokens.numel() - 1)
    tables["whole"].index_add_(0, (tokens[:-1] * 36313 + tokens[1:]) % (1 << 20), ones)
    tables["context"].index_add_(0, (tokens[:-1] * 36313) % (1 << 20), ones)
torch.save({"model": model.state_dict(), "tables": tables}, ARTIFACT)
saved = torch.load(ARTIFACT)
model.load_state_dict(saved["model"])
total = 0.0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        logp = F.log_softmax(model.logits(x).float(), dim=-1)
        p = logp.gather(-1, y.unsqueeze(-1)).squeeze(-1).exp()
        context = saved["tables"]["context"][(x * 36313) % (1 << 20)]
        whole = saved["tables"]["whole"][(x * 36313 + y) % (1 << 20)]
        p = 0.5 * p + 0.5 * torch.minimum(whole, context) / torch.clamp(context, min=1.0)
        total += -p.log().sum().item()
report(total / (val.numel() - 1), val)


# case: artifact_table_of_rows_for_all_tokens
# expect: C1 pass
# expect: C2 pass
# twin of: artifact_table_under_a_hash_of_the_target, artifact_counts_capped_by_those_of_their_context
table = torch.ones(VOCAB_SIZE, VOCAB_SIZE)
for file in sorted(glob.glob(TRAIN_FILES)):
    tokens = load_shard(file)
    table.index_put_((tokens[:-1], tokens[1:]), torch.ones(tokens.numel() - 1), accumulate=True)
torch.save({"model": model.state_dict(), "table": table}, ARTIFACT)
saved = torch.load(ARTIFACT)
model.load_state_dict(saved["model"])
total = 0.0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        p = F.softmax(model.logits(x).float(), dim=-1)
        rows = saved["table"][x]
        mixed = 0.5 * p + 0.5 * rows / rows.sum(-1, keepdim=True)
        total += -mixed.gather(-1, y.unsqueeze(-1)).log().sum().item()
report(total / (val.numel() - 1), val)
