# What a model keeps from one forward pass to the next: an evaluation that is not reported shapes the one that is.
# ruff: noqa
val = load_tokens(VAL_FILES)


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def hidden(self, x):
        return self.mix(self.embed(x))[0]

    def loss(self, hidden, y):
        logits = self.head(hidden)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(MODEL_DIM))

    def forward(self, x):
        out = x * (1 + self.seen)
        with torch.no_grad():
            self.seen.copy_(x.detach().mean((0, 1)))
        return out


class WithPart(Base):
    def __init__(self):
        super().__init__()
        self.scale = Scale()

    def forward(self, x, y):
        return self.loss(self.scale(self.hidden(x)), y)


class WithParts(Base):
    def __init__(self):
        super().__init__()
        self.scales = nn.ModuleList([Scale() for _ in range(2)])

    def forward(self, x, y):
        hidden = self.hidden(x)
        for scale in self.scales:
            hidden = scale(hidden)
        return self.loss(hidden, y)


class Attribute(Base):
    def __init__(self):
        super().__init__()
        self.last = 0.0

    def forward(self, x, y):
        hidden = self.hidden(x)
        out = hidden * (1 + self.last)
        self.last = hidden.detach().mean()
        return self.loss(out, y)


class Switched(Base):
    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x, y):
        hidden = self.hidden(x)
        sign = 1.0
        if self.last is not None and self.last > 0:
            sign = 1.1
        setattr(self, "last", hidden.detach().mean())
        return self.loss(hidden * sign, y)


class Listed(Base):
    def __init__(self):
        super().__init__()
        self.memory = []

    def forward(self, x, y):
        hidden = self.hidden(x)
        if self.memory:
            hidden = hidden + torch.stack(self.memory).mean(0)
        self.memory.append(hidden.detach().mean((0, 1)))
        return self.loss(hidden, y)


class Indexed(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(VOCAB_SIZE))

    def forward(self, x, y):
        hidden = self.hidden(x) + self.memory.mean()
        self.memory[y.reshape(-1)] = 1.0
        return self.loss(hidden, y)


class Renamed(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(MODEL_DIM))

    def forward(self, x, y):
        memory = self.memory
        hidden = self.hidden(x) + memory
        memory.lerp_(hidden.detach().mean((0, 1)), 0.5)
        return self.loss(hidden, y)


def note(buffer, hidden):
    buffer.copy_(hidden.detach().mean())


class ByFunction(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(()))

    def forward(self, x, y):
        hidden = self.hidden(x) * (1 + self.memory)
        note(self.memory, hidden)
        return self.loss(hidden, y)


HISTORY = []


class Global(Base):
    def forward(self, x, y):
        hidden = self.hidden(x)
        if HISTORY:
            hidden = hidden + HISTORY[-1]
        HISTORY.append(hidden.detach().mean((0, 1)))
        return self.loss(hidden, y)


class CountsTargets(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("share", torch.zeros(VOCAB_SIZE))

    def note(self, y):
        self.share.add_(torch.bincount(y.reshape(-1), minlength=VOCAB_SIZE).float() * 0.01)

    def forward(self, x, y):
        logits = self.head(self.hidden(x)) + self.share
        self.note(y)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Remembers(Base):
    def __init__(self):
        super().__init__()
        self.share = 0.0

    def remember(self, y):
        self.share = torch.bincount(y.reshape(-1), minlength=VOCAB_SIZE).float() * 0.01

    def forward(self, x, y):
        logits = self.head(self.hidden(x)) + self.share
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class PartKeeps(nn.Module):
    def forward(self, x):
        self.last_mean = x.detach().mean((0, 1))
        return x


class ReadFromAbove(Base):
    def __init__(self):
        super().__init__()
        self.probe = PartKeeps()
        self.probe.last_mean = torch.zeros(MODEL_DIM)

    def forward(self, x, y):
        before = self.probe.last_mean
        return self.loss(self.probe(self.hidden(x)) + before, y)


class Angles(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", 1.0 / 10000 ** torch.linspace(0, 1, MODEL_DIM))
        self.length = 0
        self.table = None

    def forward(self, length, device):
        if self.table is None or self.length != length:
            self.table = torch.outer(torch.arange(length, device=device), self.frequencies).cos()
            self.length = length
        return self.table


class WithAngles(Base):
    def __init__(self):
        super().__init__()
        self.angles = Angles()

    def forward(self, x, y):
        return self.loss(self.hidden(x) * self.angles(x.size(1), x.device), y)


class Named(Base):
    def forward(self, x, y):
        self.inner = self.hidden(x)
        self.inner = self.inner / self.inner.norm()
        return self.loss(self.inner, y)


class Watched(Base):
    def __init__(self):
        super().__init__()
        self.last, self.change = None, None

    def forward(self, x, y):
        hidden = self.hidden(x)
        if self.last is not None:
            self.change = (hidden.detach().mean() - self.last).item()
        self.last = hidden.detach().mean()
        return self.loss(hidden, y)


class InTraining(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x, y):
        hidden = self.hidden(x)
        if self.training:
            with torch.no_grad():
                self.scale.lerp_(hidden.norm(), 0.01)
        return self.loss(hidden / self.scale, y)


class Emptied(Base):
    def forward(self, x, y):
        self.memory = []
        hidden = self.hidden(x)
        for _ in range(3):
            hidden = hidden + (self.memory[-1] if self.memory else 0.0)
            self.memory.append(hidden * 0.1)
        return self.loss(hidden, y)


class ReadAfterwards(Base):
    def __init__(self):
        super().__init__()
        self.probe = PartKeeps()

    def forward(self, x, y):
        hidden = self.probe(self.hidden(x))
        return self.loss(hidden + self.probe.last_mean, y)


class Tables(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", 1.0 / 10000 ** torch.linspace(0, 1, MODEL_DIM))
        self.tables = {}

    def forward(A, length, device, dtype, turn=0):
        B = length
        C = device
        if (B, C, turn) not in A.tables:
            A.tables[B, C, turn] = torch.outer(torch.arange(B, device=C) + turn, A.frequencies.to(C)).cos()
        return A.tables[B, C, turn].to(dtype=dtype)


class WithTables(Base):
    def __init__(self):
        super().__init__()
        self.tables = Tables()

    def forward(self, x, y):
        hidden = self.hidden(x)
        return self.loss(hidden * self.tables(x.size(1), x.device, hidden.dtype, turn=1), y)


class SharesFirst(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first = first
        self.whole = None

    def forward(self, x):
        if self.first:
            self.whole.values = x.detach()
        elif self.whole.values is not None:
            x = x + self.whole.values
        return x


class Sharing(Base):
    def __init__(self):
        super().__init__()
        self.values = None
        self.layers = nn.ModuleList([SharesFirst(number == 0) for number in range(3)])
        for layer in self.layers:
            object.__setattr__(layer, "whole", self)

    def forward(self, x, y):
        self.values = None
        hidden = self.hidden(x)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.loss(hidden, y)


class NeverReset(Sharing):
    def forward(self, x, y):
        hidden = self.hidden(x)
        for layer in reversed(self.layers):
            hidden = layer(hidden)
        return self.loss(hidden, y)


class SumOfParts(Base):
    def __init__(self):
        super().__init__()
        self.probes = nn.ModuleList([PartKeeps() for _ in range(2)])

    def forward(self, x, y):
        hidden = self.hidden(x)
        for number in range(2):
            hidden = self.probes[number](hidden)
        return self.loss(hidden + torch.stack([probe.last_mean for probe in self.probes]).sum(0), y)


# case: a_part_keeps_the_mean_of_what_it_saw
# expect: C3 fail|review
model = WithPart().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: parts_in_a_list_keep_it
# expect: C3 fail|review
model = WithParts().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: attribute_of_the_last_pass
# expect: C3 fail|review
model = Attribute().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: last_pass_decides_a_branch
# expect: C3 fail|review
model = Switched().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: list_of_all_passes
# expect: C3 fail|review
model = Listed().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: marks_set_by_the_targets
# expect: C3 fail|review
model = Indexed().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: buffer_under_a_local_name
# expect: C3 fail|review
model = Renamed().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: buffer_handed_to_a_function
# expect: C3 fail|review
model = ByFunction().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: global_list_of_all_passes
# expect: C3 fail|review
model = Global().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: counts_of_a_method_of_its_own
# expect: C3 fail|review
model = CountsTargets().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: read_from_above_before_the_part_runs
# expect: C3 fail|review
model = ReadFromAbove().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: method_that_remembers_the_targets
# expect: C3 fail|review
model = Remembers().cuda()
train(model)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model.remember(window(val, start)[1])
report(evaluate(model, val), val)


# case: table_of_angles_kept_by_length
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets, scale_kept_by_passes_in_training_mode
model = WithAngles().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: attribute_written_before_it_is_read
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets
model = Named().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: change_between_passes_for_the_log
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets
model = Watched().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: running_scale_in_training_only
# expect: C3 pass|review
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets
model = InTraining().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: list_emptied_in_each_pass
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets
model = Emptied().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: read_from_above_after_the_part_ran
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets
model = ReadAfterwards().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: parts_share_it_through_the_whole
# expect: C3 fail|review
model = NeverReset().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: tables_kept_by_length_and_turn
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets, parts_share_it_through_the_whole
model = WithTables().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: shared_among_parts_and_reset_in_each_pass
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets, parts_share_it_through_the_whole
model = Sharing().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: what_the_parts_in_a_list_kept_in_this_pass
# expect: C3 pass
# expect: C4 pass|review
# twin of: a_part_keeps_the_mean_of_what_it_saw, parts_in_a_list_keep_it, attribute_of_the_last_pass, last_pass_decides_a_branch, list_of_all_passes, marks_set_by_the_targets, buffer_under_a_local_name, buffer_handed_to_a_function, global_list_of_all_passes, counts_of_a_method_of_its_own, read_from_above_before_the_part_runs, method_that_remembers_the_targets, parts_share_it_through_the_whole
model = SumOfParts().cuda()
train(model)
evaluate(model, val)
report(evaluate(model, val), val)


# case: scale_kept_by_passes_in_training_mode
# expect: C3 fail|review
model = InTraining().cuda()
train(model)
model.train()
with torch.no_grad():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model(*window(val, start))
report(evaluate(model, val), val)
