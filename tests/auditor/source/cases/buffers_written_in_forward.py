# Buffers that the forward pass writes while validation text is scored, before the pass that is reported.
# ruff: noqa
val = load_tokens(VAL_FILES)


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)
        self.register_buffer("last_norm", torch.zeros(()), persistent=False)
        self.register_buffer("share", torch.zeros(VOCAB_SIZE))

    def logits(self, x):
        hidden = self.mix(self.embed(x))[0]
        with torch.no_grad():
            self.last_norm.copy_(hidden.norm())
        return self.head(hidden)

    def forward(self, x, y):
        logits = self.logits(x)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Counting(Watched):
    def forward(self, x, y):
        logits = self.logits(x) + self.share
        with torch.no_grad():
            self.share.add_(torch.bincount(y.reshape(-1), minlength=VOCAB_SIZE).float() * 0.01)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Scratch(Watched):
    def forward(self, x, y):
        hidden = self.mix(self.embed(x))[0]
        with torch.no_grad():
            self.last_norm.copy_(hidden[0, 0].norm())
        logits = self.head(hidden / (1.0 + self.last_norm))
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Scaled(Watched):
    def forward(self, x, y):
        scale = 1.0 + self.last_norm
        logits = self.logits(x) * scale
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


# case: norm_measured_in_forward
# The norm is written at every forward pass and printed; no prediction reads it.
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: counts_kept_by_forward, measured_norm_scales_the_logits, measured_norm_read_from_outside
model = Watched().cuda()
train(model)
evaluate(model, val)
print("norm", model.last_norm.item())
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: buffer_read_in_the_pass_that_writes_it
# Each pass overwrites the buffer before it reads it: an intermediate value with a name.
# expect: C1 pass|review
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: counts_kept_by_forward, measured_norm_scales_the_logits
model = Scratch().cuda()
train(model)
evaluate(model, val)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: counts_kept_by_forward
# expect: C3 fail|review
model = Counting().cuda()
train(model)
evaluate(model, val)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)


# case: measured_norm_scales_the_logits
# expect: C3 fail|review
model = Scaled().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: measured_norm_read_from_outside
# expect: C3 fail|review
model = Watched().cuda()
train(model)
evaluate(model, val)
scale = 1.0 + 0.01 * model.last_norm
total = 0.0
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        logits = model.logits(x) * scale
        total += F.cross_entropy(logits.reshape(-1, VOCAB_SIZE), y.reshape(-1), reduction="sum").item()
report(total / (val.numel() - 1), val)
