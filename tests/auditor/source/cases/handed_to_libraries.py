# Functions that learn from what a library hands to them, classes built by calls, names that hide an order.
# ruff: noqa
import asyncio
import contextlib
import functools
import itertools
import types
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def learn(x, y):
    optimizer.zero_grad()
    model(x, y).backward()
    optimizer.step()


def score(x, y):
    with torch.no_grad():
        return model(x, y).item() * y.numel()


# case: score_first_and_then_hand_over
# The same library calls, each after the window has been scored.
# expect: C3 pass
# twin of: exit_stack_that_is_handed_windows, executor_of_an_event_loop_that_learns, global_hook_that_learns
# twin of: pool_that_is_handed_windows, tree_map_that_learns, vectorized_learning
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: exit_stack_that_is_handed_windows
# The stack calls back with the window when the block ends: before the window is scored.
# expect: C3 fail|review
total = 0.0
for start in starts:
    x, y = window(val, start)
    with contextlib.ExitStack() as stack:
        stack.callback(learn, x, y)
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: exit_stack_that_closes_files
# expect: C3 pass
# twin of: exit_stack_that_is_handed_windows
log = open("eval.log", "w")
total = 0.0
with contextlib.ExitStack() as stack:
    stack.callback(log.close)
    for start in starts:
        x, y = window(val, start)
        total += score(x, y)
        learn(x, y)
report(total / (val.numel() - 1), val)


# case: executor_of_an_event_loop_that_learns
# expect: C3 fail|review
async def run():
    total = 0.0
    loop = asyncio.get_running_loop()
    for start in starts:
        x, y = window(val, start)
        await loop.run_in_executor(None, learn, x, y)
        total += score(x, y)
    return total


report(asyncio.run(run()) / (val.numel() - 1), val)


# case: pool_that_is_handed_windows
# expect: C3 fail|review
pool = ThreadPool(1)
total = 0.0
for start in starts:
    x, y = window(val, start)
    pool.apply(learn, (x, y))
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: pool_that_scores
# The scores come from the pool; learning follows in this thread.
# expect: C3 pass|review
# twin of: pool_that_is_handed_windows
pool = ThreadPool(1)
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += pool.apply(score, (x, y))
    learn(x, y)
report(total / (val.numel() - 1), val)


# case: tree_map_that_learns
# expect: C3 fail|review
total = 0.0
for start in starts:
    x, y = window(val, start)
    pytree.tree_map(lambda pair: learn(*pair), [(x, y)], is_leaf=lambda item: isinstance(item, tuple))
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: vectorized_learning
# numpy calls the function once for each start.
# expect: C3 fail|review
def learn_at(start):
    learn(*window(val, int(start)))
    return 0


np.vectorize(learn_at)(np.array(starts))
report(evaluate(model, val), val)


# case: global_hook_that_learns
# Every module's forward pass is preceded by a hook that gets its inputs.
# expect: C3 fail|review
def before_forward(module, inputs):
    if module is model and not busy and torch.is_inference_mode_enabled():
        busy.append(True)
        with torch.inference_mode(False), torch.enable_grad():
            learn(*inputs)
        busy.clear()


busy = []
torch.nn.modules.module.register_module_forward_pre_hook(before_forward)
total = 0.0
for start in starts:
    x, y = window(val, start)
    with torch.inference_mode():
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: global_hook_that_counts
# expect: C3 pass
# twin of: global_hook_that_learns
def before_forward(module, inputs):
    calls[type(module).__name__] = calls.get(type(module).__name__, 0) + 1


calls = {}
torch.nn.modules.module.register_module_forward_pre_hook(before_forward)
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: class_made_by_type
# The class has no ``class`` statement.
# expect: C3 fail|review
Learner = type("Learner", (), {"__call__": lambda self, x, y: learn(x, y)})
learner = Learner()
total = 0.0
for start in starts:
    x, y = window(val, start)
    learner(x, y)
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: class_made_by_type_that_scores
# expect: C3 pass|review
# twin of: class_made_by_type, namespace_made_by_types
Scorer = type("Scorer", (), {"__call__": lambda self, x, y: score(x, y)})
scorer = Scorer()
total = 0.0
for start in starts:
    x, y = window(val, start)
    total += scorer(x, y)
report(total / (val.numel() - 1), val)


# case: namespace_made_by_types
# expect: C3 fail|review
def fill(namespace):
    namespace["adapt"] = lambda self, x, y: learn(x, y)


Learner = types.new_class("Learner", (), {}, fill)
learner = Learner()
total = 0.0
for start in starts:
    x, y = window(val, start)
    learner.adapt(x, y)
    total += score(x, y)
report(total / (val.numel() - 1), val)


# case: torch_function_mode_that_learns
# A mode sees every function of torch; at the loss it learns first.
# expect: C3 fail|review
class Adapting(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.cross_entropy:
            loss = func(*args, **(kwargs or {}))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return func(*args, **(kwargs or {}))


total = 0.0
for start in starts:
    x, y = window(val, start)
    with Adapting():
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: torch_function_mode_that_counts
# expect: C3 pass|review
# twin of: torch_function_mode_that_learns
class Counting(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        calls.append(func.__name__)
        return func(*args, **(kwargs or {}))


calls = []
total = 0.0
for start in starts:
    x, y = window(val, start)
    with Counting():
        total += score(x, y)
report(total / (val.numel() - 1), val)


# case: zip_of_learning_and_scoring
# zip asks its first iterator first.
# expect: C3 fail|review
learning = (learn(*window(val, start)) for start in starts)
scoring = (score(*window(val, start)) for start in starts)
total = sum(loss for _, loss in zip(learning, scoring))
report(total / (val.numel() - 1), val)


# case: zip_of_scoring_and_learning
# expect: C3 pass|review
# twin of: zip_of_learning_and_scoring
scoring = (score(*window(val, start)) for start in starts)
learning = (learn(*window(val, start)) for start in starts)
total = sum(loss for loss, _ in zip(scoring, learning))
report(total / (val.numel() - 1), val)


# case: reduction_that_learns_first
# expect: C3 fail|review
def step(total, start):
    x, y = window(val, start)
    learn(x, y)
    return total + score(x, y)


report(functools.reduce(step, starts, 0.0) / (val.numel() - 1), val)


# case: reduction_that_scores_first
# expect: C3 pass|review
# twin of: reduction_that_learns_first, accumulation_that_learns_first
def step(total, start):
    x, y = window(val, start)
    total += score(x, y)
    learn(x, y)
    return total


report(functools.reduce(step, starts, 0.0) / (val.numel() - 1), val)


# case: accumulation_that_learns_first
# expect: C3 fail|review
def step(total, start):
    x, y = window(val, start)
    learn(x, y)
    return total + score(x, y)


*_, total = itertools.accumulate(starts, step, initial=0.0)
report(total / (val.numel() - 1), val)


# case: bias_through_a_strided_view
# Frequencies of the text are written into the head through a view of its storage.
# expect: C3 fail|review
view = torch.as_strided(model.head.bias.data, (VOCAB_SIZE,), (1,))
view += torch.log(torch.bincount(val, minlength=VOCAB_SIZE).float().cuda() + 1.0)
report(evaluate(model, val), val)


# case: bias_through_the_dictionary_of_the_module
# expect: C3 fail|review
frequencies = torch.log(torch.bincount(val, minlength=VOCAB_SIZE).float().cuda() + 1.0)
vars(model.head)["_parameters"]["bias"].data.copy_(frequencies)
report(evaluate(model, val), val)


# case: bias_of_training_frequencies
# expect: C3 pass
# twin of: bias_through_a_strided_view, bias_through_the_dictionary_of_the_module
tokens = load_tokens(TRAIN_FILES)
view = torch.as_strided(model.head.bias.data, (VOCAB_SIZE,), (1,))
view += torch.log(torch.bincount(tokens, minlength=VOCAB_SIZE).float().cuda() + 1.0)
save_artifact(model)
load_artifact(model)
report(evaluate(model, val), val)
