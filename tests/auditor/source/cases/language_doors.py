# Learning behind statements and expressions that a reader, or an analysis, passes over.
# ruff: noqa
import asyncio
import contextvars
import dataclasses
import functools
import operator
import struct
import types

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def learn(start):
    optimizer.zero_grad()
    loss = model(*window(val, start))
    loss.backward()
    optimizer.step()
    return 0


def learn_all():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        learn(start)
    return 0


def score(start):
    with torch.no_grad():
        x, y = window(val, start)
        return model(x, y).item() * y.numel()


# case: score_first_behind_an_assertion
# The same helpers in the right order.
# expect: C3 pass
# twin of: assertion_that_learns, deletion_that_learns, annotation_that_learns, format_layout_that_learns
# twin of: case_guard_that_learns, cause_of_an_error_that_learns, class_decorator_that_learns, loop_else_that_learns
# twin of: while_else_that_learns, class_keyword_that_learns, set_name_that_learns, single_dispatch_that_learns
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    total += score(start)
    assert learn(start) == 0
report(total / (val.numel() - 1), val)


# case: assertion_that_learns
# expect: C3 fail
assert learn_all() == 0
report(evaluate(model, val), val)


# case: deletion_that_learns
# expect: C3 fail
remembered = [1, 2, 3]
del remembered[learn_all()]
report(evaluate(model, val), val)


# case: annotation_that_learns
# expect: C3 fail
passes: learn_all() = 1
report(evaluate(model, val), val)


# case: signature_annotation_that_learns
# expect: C3 fail
def summary(total: learn_all()) -> float:
    return total / (val.numel() - 1)


report(evaluate(model, val), val)


# case: signature_annotations
# expect: C3 pass
# twin of: signature_annotation_that_learns
def summary(total: float, count: int | None = None) -> float:
    return total / (count or val.numel() - 1)


total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    total += score(start)
    learn(start)
report(summary(total), val)


# case: format_layout_that_learns
# expect: C3 fail
print(f"starting {0.5:.{learn_all()}f}")
report(evaluate(model, val), val)


# case: case_guard_that_learns
# expect: C3 fail|review
match os.environ.get("MODE", "score"):
    case mode if learn_all() == 0:
        print(mode)
    case _:
        pass
report(evaluate(model, val), val)


# case: cause_of_an_error_that_learns
# expect: C3 fail|review
try:
    raise ValueError("no adapter") from RuntimeError(learn_all())
except ValueError:
    pass
report(evaluate(model, val), val)


# case: class_decorator_that_learns
# expect: C3 fail
def registered(class_):
    learn_all()
    return class_


@registered
class Settings:
    stride = 64


report(evaluate(model, val), val)


# case: class_keyword_that_learns
# expect: C3 fail|review
class Base:
    def __init_subclass__(cls, order=0, **kwargs):
        super().__init_subclass__(**kwargs)


class Settings(Base, order=learn_all()):
    stride = 64


report(evaluate(model, val), val)


# case: set_name_that_learns
# expect: C3 fail|review
class Field:
    def __set_name__(self, owner, name):
        learn_all()


class Settings:
    stride = Field()


report(evaluate(model, val), val)


# case: loop_else_that_learns
# expect: C3 fail
for start in starts:
    if start < 0:
        break
else:
    learn_all()
report(evaluate(model, val), val)


# case: while_else_that_learns
# expect: C3 fail
start = 0
while start < val.numel() - 1:
    start += SEQ_LEN
else:
    learn_all()
report(evaluate(model, val), val)


# case: post_init_that_learns
# expect: C3 fail
@dataclasses.dataclass
class Settings:
    stride: int = 64

    def __post_init__(self):
        learn_all()


settings = Settings()
report(evaluate(model, val), val)


# case: post_init_that_checks
# expect: C3 pass
# twin of: post_init_that_learns
@dataclasses.dataclass
class Settings:
    stride: int = 64

    def __post_init__(self):
        if self.stride > SEQ_LEN:
            raise ValueError(self.stride)


settings = Settings()
report(evaluate(model, val), val)


# case: single_dispatch_that_learns
# expect: C3 fail|review
@functools.singledispatch
def prepare(model):
    return model


@prepare.register(nn.Module)
def prepared(model):
    learn_all()
    return model


report(evaluate(prepare(model), val), val)


# case: context_variable_of_adapted_model
# expect: C3 fail|review
scorer = contextvars.ContextVar("scorer")
learn_all()
scorer.set(model)
report(evaluate(scorer.get(), val), val)


# case: context_variable_of_a_model
# expect: C3 pass|review
# twin of: context_variable_of_adapted_model
scorer = contextvars.ContextVar("scorer")
scorer.set(model)
report(evaluate(scorer.get(), val), val)


# case: custom_operator_that_learns
# expect: C3 fail|review
@torch.library.custom_op("pg::prepare", mutates_args=())
def prepare(tokens: torch.Tensor) -> torch.Tensor:
    learn_all()
    return tokens.clone()


torch.ops.pg.prepare(val)
report(evaluate(model, val), val)


# case: custom_operator_that_computes
# expect: C3 pass|review
# twin of: custom_operator_that_learns
@torch.library.custom_op("pg::relu2", mutates_args=())
def relu2(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x).square()


activated = torch.ops.pg.relu2(torch.zeros(4))
report(evaluate(model, val), val)


# case: import_hook_that_learns
# expect: C3 fail|review
class Finder:
    def find_spec(self, name, path, target=None):
        learn_all()
        return None


import sys

sys.meta_path.insert(0, Finder())
try:
    import adapter_of_nothing
except ImportError:
    pass
report(evaluate(model, val), val)


# case: optional_import
# expect: C3 pass
# twin of: import_hook_that_learns
try:
    import flash_attn_interface
except ImportError:
    flash_attn_interface = None
report(evaluate(model, val), val)


# case: generator_expression_read_after_learning
# The losses are computed when they are summed, which is after the learning.
# expect: C3 fail|review
losses = (score(start) for start in range(0, val.numel() - 1, SEQ_LEN))
learn_all()
report(sum(losses) / (val.numel() - 1), val)


# case: generator_expression_read_at_once
# expect: C3 pass
# twin of: generator_expression_read_after_learning, lazy_map_read_after_learning, lazy_filter_read_after_learning
losses = (score(start) for start in range(0, val.numel() - 1, SEQ_LEN))
total = sum(losses)
learn_all()
report(total / (val.numel() - 1), val)


# case: lazy_map_read_after_learning
# expect: C3 fail|review
losses = map(score, starts)
learn_all()
report(sum(losses) / (val.numel() - 1), val)


# case: lazy_filter_read_after_learning
# expect: C3 fail|review
losses = filter(None, (score(start) for start in starts))
learn_all()
report(sum(losses) / (val.numel() - 1), val)


# case: worker_that_is_sent_windows
# expect: C3 fail|review
def worker():
    while True:
        start = yield
        learn(start)


adapter = worker()
next(adapter)
for start in range(0, val.numel() - 1, SEQ_LEN):
    adapter.send(start)
report(evaluate(model, val), val)


# case: worker_that_is_sent_scored_windows
# expect: C3 pass|review
# twin of: worker_that_is_sent_windows
def worker():
    while True:
        start = yield
        learn(start)


adapter = worker()
next(adapter)
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    total += score(start)
    adapter.send(start)
report(total / (val.numel() - 1), val)


# case: weights_packed_by_struct
# expect: C3 fail|review
learn_all()
flat = torch.nn.utils.parameters_to_vector(model.parameters())
packed = struct.pack(f"{flat.numel()}f", *flat.tolist())
scorer = Model().cuda()
numbers = torch.tensor(struct.unpack(f"{flat.numel()}f", packed))
torch.nn.utils.vector_to_parameters(numbers.cuda(), scorer.parameters())
report(evaluate(scorer, val), val)


# case: trained_weights_packed_by_struct
# expect: C3 pass
# twin of: weights_packed_by_struct
flat = torch.nn.utils.parameters_to_vector(model.parameters())
packed = struct.pack(f"{flat.numel()}f", *flat.tolist())
scorer = Model().cuda()
numbers = torch.tensor(struct.unpack(f"{flat.numel()}f", packed))
torch.nn.utils.vector_to_parameters(numbers.cuda(), scorer.parameters())
report(evaluate(scorer, val), val)


# case: storage_shared_with_another_model
# expect: C3 fail|review
other = Model().cuda()
for own, theirs in zip(other.parameters(), model.parameters()):
    own.data = theirs.data
adapting = torch.optim.SGD(other.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    loss = other(*window(val, start))
    loss.backward()
    adapting.step()
    adapting.zero_grad()
report(evaluate(model, val), val)


# case: storage_copied_to_another_model
# expect: C3 pass|review
# twin of: storage_shared_with_another_model
other = Model().cuda()
for own, theirs in zip(other.parameters(), model.parameters()):
    own.data.copy_(theirs.data)
adapting = torch.optim.SGD(other.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    loss = other(*window(val, start))
    loss.backward()
    adapting.step()
    adapting.zero_grad()
report(evaluate(model, val), val)


# case: rate_raised_after_construction
# expect: C3 fail|review
still = torch.optim.SGD(model.parameters(), lr=0.0)
for group in still.param_groups:
    group["lr"] = 1e-3
for start in range(0, val.numel() - 1, SEQ_LEN):
    loss = model(*window(val, start))
    loss.backward()
    still.step()
    still.zero_grad()
report(evaluate(model, val), val)


# case: rate_left_at_nothing
# A rehearsal of the adaptation that changes no weight, as scripts do to compile it.
# expect: C3 pass|review
# twin of: rate_raised_after_construction
still = torch.optim.SGD(model.parameters(), lr=0.0)
loss = model(*window(val, 0))
loss.backward()
still.step()
still.zero_grad()
report(evaluate(model, val), val)


# case: method_caller_that_steps
# expect: C3 fail|review
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    operator.methodcaller("step")(optimizer)
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: method_caller_after_scoring
# expect: C3 pass|review
# twin of: method_caller_that_steps, step_of_the_type
total = 0.0
for start in range(0, val.numel() - 1, SEQ_LEN):
    total += score(start)
    model(*window(val, start)).backward()
    operator.methodcaller("step")(optimizer)
    optimizer.zero_grad()
report(total / (val.numel() - 1), val)


# case: step_of_the_type
# expect: C3 fail|review
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    type(optimizer).step(optimizer)
    optimizer.zero_grad()
report(evaluate(model, val), val)


# case: forward_bound_by_types
# expect: C3 fail|review
def forward(self, x, y):
    loss = F.cross_entropy(self.logits(x).reshape(-1, VOCAB_SIZE), y.reshape(-1))
    with torch.enable_grad():
        again = F.cross_entropy(self.logits(x).reshape(-1, VOCAB_SIZE), y.reshape(-1))
        again.backward()
        optimizer.step()
        optimizer.zero_grad()
    return F.cross_entropy(self.logits(x).reshape(-1, VOCAB_SIZE), y.reshape(-1))


model.forward = types.MethodType(forward, model)
report(evaluate(model, val), val)


# case: forward_bound_by_types_that_computes
# expect: C3 pass|review
# twin of: forward_bound_by_types
def forward(self, x, y):
    return F.cross_entropy(self.logits(x).float().reshape(-1, VOCAB_SIZE), y.reshape(-1))


model.forward = types.MethodType(forward, model)
report(evaluate(model, val), val)


# case: averaged_model_of_the_library
# expect: C3 fail|review
averaged = torch.optim.swa_utils.AveragedModel(model)
for start in range(0, val.numel() - 1, SEQ_LEN):
    learn(start)
    averaged.update_parameters(model)
report(evaluate(averaged, val), val)


# case: averaged_model_of_training
# expect: C3 pass|review
# twin of: averaged_model_of_the_library
averaged = torch.optim.swa_utils.AveragedModel(model)
train(model)
averaged.update_parameters(model)
report(evaluate(averaged, val), val)


# case: property_setter_that_learns
# expect: C3 fail|review
class Run:
    @property
    def stage(self):
        return "score"

    @stage.setter
    def stage(self, value):
        learn_all()


run = Run()
run.stage = "score"
report(evaluate(model, val), val)


# case: property_setter_that_notes
# expect: C3 pass
# twin of: property_setter_that_learns
class Run:
    @property
    def stage(self):
        return self._stage

    @stage.setter
    def stage(self, value):
        self._stage = value


run = Run()
run.stage = "score"
report(evaluate(model, val), val)


# case: seed_chosen_on_validation
# expect: C4 fail|review
def evaluate_with(seed):
    torch.manual_seed(seed)
    noisy = Model().cuda()
    noisy.load_state_dict({name: w + 0.001 * torch.randn_like(w) for name, w in model.state_dict().items()})
    return evaluate(noisy, val)


best = min(range(20), key=evaluate_with)
report(evaluate_with(best), val)


# case: seed_given
# expect: C4 pass
# twin of: seed_chosen_on_validation
def evaluate_with(seed):
    torch.manual_seed(seed)
    noisy = Model().cuda()
    noisy.load_state_dict({name: w + 0.001 * torch.randn_like(w) for name, w in model.state_dict().items()})
    return evaluate(noisy, val)


report(evaluate_with(7), val)


# case: async_iteration_that_learns
# expect: C3 fail|review
class Windows:
    def __aiter__(self):
        self.left = list(starts)
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        learn(self.left.pop(0))
        return 0


async def adapt():
    async for _ in Windows():
        pass


asyncio.run(adapt())
report(evaluate(model, val), val)


# case: async_iteration_over_windows
# expect: C3 pass|review
# twin of: async_iteration_that_learns
async def windows():
    for start in range(0, val.numel() - 1, SEQ_LEN):
        yield start


async def run():
    total = 0.0
    async for start in windows():
        total += score(start)
        learn(start)
    return total


report(asyncio.run(run()) / (val.numel() - 1), val)


# case: coroutine_awaited_after_learning
# The coroutine is made before the learning and runs after it.
# expect: C3 fail|review
async def score_all():
    return sum(score(start) for start in starts)


async def run():
    scoring = score_all()
    learn_all()
    return await scoring


report(asyncio.run(run()) / (val.numel() - 1), val)


# case: coroutine_run_after_learning
# expect: C3 fail|review
async def score_all():
    return sum(score(start) for start in starts)


scoring = score_all()
learn_all()
report(asyncio.run(scoring) / (val.numel() - 1), val)


# case: coroutine_awaited_at_once
# expect: C3 pass
# twin of: coroutine_awaited_after_learning, coroutine_run_after_learning
async def score_all():
    return sum(score(start) for start in starts)


async def run():
    scoring = score_all()
    total = await scoring
    learn_all()
    return total


report(asyncio.run(run()) / (val.numel() - 1), val)


# case: enumerated_map_read_after_learning
# expect: C3 fail|review
losses = enumerate(map(score, starts))
learn_all()
report(sum(loss for _, loss in losses) / (val.numel() - 1), val)


# case: enumerated_map_read_at_once
# expect: C3 pass
# twin of: enumerated_map_read_after_learning
losses = list(enumerate(map(score, starts)))
learn_all()
report(sum(loss for _, loss in losses) / (val.numel() - 1), val)


# case: caught_error_after_learning
# expect: C3 fail|review
class Done(Exception):
    pass


try:
    if val.numel() > 0:
        learn_all()
        raise Done
except Done:
    print("ready")
report(evaluate(model, val), val)


# case: caught_error_before_learning
# expect: C3 pass
# twin of: caught_error_after_learning
class Missing(Exception):
    pass


try:
    if val.numel() <= 1:
        raise Missing
except Missing:
    print("no text")
report(evaluate(model, val), val)


# case: helper_in_a_package
# expect: C3 fail|review
from tools.preparing import prepare

prepare(model, val, optimizer)
report(evaluate(model, val), val)
# file: preparing.py
import torch.nn.functional as F


def prepare(model, tokens, optimizer):
    for start in range(0, tokens.numel() - 1024, 1024):
        x, y = tokens[start : start + 1024][None].cuda(), tokens[start + 1 : start + 1025][None].cuda()
        model(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()


# case: helper_in_a_package_that_measures
# expect: C3 pass
# twin of: helper_in_a_package
from tools.measuring import length

print(length(val))
report(evaluate(model, val), val)


# file: measuring.py
def length(tokens):
    return tokens.numel()


# case: weights_through_a_memory_map
# expect: C3 fail|review
learn_all()
flat = torch.nn.utils.parameters_to_vector(model.parameters())
stored = np.memmap("weights.bin", dtype="<f4", mode="w+", shape=(flat.numel(),))
stored[:] = flat.detach().cpu().numpy()
scorer = Model().cuda()
again = np.memmap("weights.bin", dtype="<f4", mode="r")
torch.nn.utils.vector_to_parameters(torch.from_numpy(np.array(again)).cuda(), scorer.parameters())
report(evaluate(scorer, val), val)


# case: trained_weights_through_a_memory_map
# expect: C3 pass
# twin of: weights_through_a_memory_map
flat = torch.nn.utils.parameters_to_vector(model.parameters())
stored = np.memmap("weights.bin", dtype="<f4", mode="w+", shape=(flat.numel(),))
stored[:] = flat.detach().cpu().numpy()
scorer = Model().cuda()
again = np.memmap("weights.bin", dtype="<f4", mode="r")
torch.nn.utils.vector_to_parameters(torch.from_numpy(np.array(again)).cuda(), scorer.parameters())
report(evaluate(scorer, val), val)
