# Learning where a reader does not expect code to run.
# ruff: noqa
import atexit
import contextlib
import functools
import signal
import weakref

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def learn(start):
    optimizer.zero_grad()
    model(*window(val, start)).backward()
    optimizer.step()
    return 0


def score(start):
    with torch.no_grad():
        x, y = window(val, start)
        return model(x, y).item() * y.numel()


# case: honest_score_first_with_helpers
# The same helpers in the right order.
# expect: C3 pass
# twin of: sort_key_that_learns, context_manager_that_learns, hook_on_the_model_that_learns
# twin of: lazy_map_that_learns, comprehension_that_learns, walrus_that_learns, reduce_that_learns
# twin of: length_that_learns, iteration_that_learns, property_that_learns, missing_attribute_that_learns
# twin of: decorated_evaluation, number_format_that_learns, default_argument_that_learns
# twin of: class_body_that_learns, metaclass_that_learns, finalizer_that_learns, signal_handler_that_learns
# twin of: call_operator_that_learns, conversion_that_learns, subscript_that_learns, hash_that_learns
total = 0.0
for start in starts:
    total += score(start)
    learn(start)
report(total / (val.numel() - 1), val)


# case: sort_key_that_learns
# expect: C3 fail
# xfail: C3 elements of a long list lose the loop they come from, so the overlap is only possible
starts.sort(key=learn)
report(evaluate(model, val), val)


# case: sort_key_of_lengths
# expect: C3 pass
# twin of: sort_key_that_learns
bounds = [0, *(val == 1).nonzero().flatten().tolist(), val.numel() - 1]
documents = sorted(zip(bounds[:-1], bounds[1:]), key=lambda pair: pair[1] - pair[0])
total = 0.0
with torch.no_grad():
    for begin, end in documents:
        x, y = val[begin:end][None].cuda(), val[begin + 1 : end + 1][None].cuda()
        total += model(x, y).item() * (end - begin)
report(total / (val.numel() - 1), val)


# case: context_manager_that_learns
# expect: C3 fail
# xfail: C3 __exit__ is not run
class Timer:
    def __enter__(self):
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *error):
        for start in starts:
            learn(start)
        return False


with Timer():
    print("evaluation begins")
report(evaluate(model, val), val)


# case: generator_context_that_learns
# expect: C3 fail
@contextlib.contextmanager
def timed(name):
    begin = time.perf_counter()
    for start in starts:
        learn(start)
    yield begin
    print(f"{name}: {time.perf_counter() - begin:.1f} s")


with timed("evaluation"):
    loss = evaluate(model, val)
report(loss, val)


# case: context_managers_that_time
# expect: C3 pass
# twin of: context_manager_that_learns, generator_context_that_learns, stack_callback_that_learns
class Timer:
    def __enter__(self):
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *error):
        print(f"{time.perf_counter() - self.begin:.1f} s")
        return False


@contextlib.contextmanager
def evaluating(model):
    model.eval()
    yield model
    model.train()


with Timer(), evaluating(model) as frozen:
    loss = evaluate(frozen, val)
report(loss, val)


# case: stack_callback_that_learns
# expect: C3 fail|review
with contextlib.ExitStack() as stack:
    for start in starts:
        stack.callback(learn, start)
report(evaluate(model, val), val)


# case: hook_on_the_model_that_learns
# expect: C3 fail|review
busy = []


def hook(module, inputs, output):
    if not busy:
        busy.append(True)
        optimizer.zero_grad()
        with torch.enable_grad():
            module(*inputs).backward()
        optimizer.step()
        busy.clear()
        return module(*inputs)


model.register_forward_hook(hook)
report(evaluate(model, val), val)


# case: hook_on_the_model_that_counts
# expect: C3 pass
# twin of: hook_on_the_model_that_learns, forward_that_learns
seen = []


def hook(module, inputs, output):
    seen.append(inputs[0].numel())


model.register_forward_hook(hook)
report(evaluate(model, val), val)
print(sum(seen))


# case: lazy_map_that_learns
# expect: C3 fail|review
for _ in map(learn, starts):
    pass
report(evaluate(model, val), val)


# case: comprehension_that_learns
# expect: C3 fail
zeros = [learn(start) for start in starts]
report(evaluate(model, val) + sum(zeros), val)


# case: walrus_that_learns
# expect: C3 fail
ready = [start for start in starts if (done := learn(start)) == 0]
report(evaluate(model, val), val)


# case: reduce_that_learns
# expect: C3 fail|review
functools.reduce(lambda total, start: total + learn(start), starts, 0)
report(evaluate(model, val), val)


# case: length_that_learns
# expect: C3 fail|review
class Chunks:
    def __len__(self):
        for start in starts:
            learn(start)
        return len(starts)


print(f"chunks:{len(Chunks())}")
report(evaluate(model, val), val)


# case: iteration_that_learns
# expect: C3 fail
class Chunks:
    def __iter__(self):
        for start in starts:
            learn(start)
            yield start


total = 0.0
for start in Chunks():
    total += score(start)
report(total / (val.numel() - 1), val)


# case: iteration_over_chunks
# expect: C3 pass
# twin of: iteration_that_learns, length_that_learns
class Chunks:
    def __len__(self):
        return len(starts)

    def __iter__(self):
        yield from starts


total = 0.0
for start in Chunks():
    total += score(start)
    learn(start)
report(total / (val.numel() - 1), val)


# case: property_that_learns
# expect: C3 fail
class Run:
    @property
    def device(self):
        for start in starts:
            learn(start)
        return "cuda"


print(f"device:{Run().device}")
report(evaluate(model, val), val)


# case: missing_attribute_that_learns
# expect: C3 fail|review
class Run:
    def __getattr__(self, name):
        for start in starts:
            learn(start)
        return name


print(f"device:{Run().device}")
report(evaluate(model, val), val)


# case: properties_of_a_run
# expect: C3 pass
# twin of: property_that_learns, missing_attribute_that_learns, descriptor_that_learns
class Run:
    @property
    def device(self):
        return "cuda"

    def __getattr__(self, name):
        return os.environ.get(name.upper(), "")


print(f"device:{Run().device} host:{Run().hostname}")
report(evaluate(model, val), val)


# case: descriptor_that_learns
# expect: C3 fail|review
class Setting:
    def __get__(self, instance, owner):
        for start in starts:
            learn(start)
        return 1.0


class Run:
    temperature = Setting()


print(f"temperature:{Run().temperature}")
report(evaluate(model, val), val)


# case: decorated_evaluation
# expect: C3 fail
def timed(function):
    @functools.wraps(function)
    def wrapper(*args):
        for start in starts:
            learn(start)
        return function(*args)

    return wrapper


@timed
def final_score(model, tokens):
    return evaluate(model, tokens)


report(final_score(model, val), val)


# case: decorator_with_an_argument_that_learns
# expect: C3 fail
def stage(name):
    def decorate(function):
        for start in starts:
            learn(start)
        return function

    return decorate


@stage("final")
def final_score(model, tokens):
    return evaluate(model, tokens)


report(final_score(model, val), val)


# case: decorators_that_time
# expect: C3 pass
# twin of: decorated_evaluation, decorator_with_an_argument_that_learns
def stage(name):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            begin = time.perf_counter()
            result = function(*args)
            print(f"{name}: {time.perf_counter() - begin:.1f} s")
            return result

        return wrapper

    return decorate


@stage("final")
@torch.no_grad()
def final_score(model, tokens):
    return evaluate(model, tokens)


report(final_score(model, val), val)


# case: number_format_that_learns
# expect: C3 fail|review
class Seconds(float):
    def __format__(self, spec):
        for start in starts:
            learn(start)
        return "0.0"


print(f"train_time:{Seconds(1.0):.1f}s")
report(evaluate(model, val), val)


# case: conversion_that_learns
# expect: C3 fail|review
class Seconds:
    def __str__(self):
        for start in starts:
            learn(start)
        return "0.0"

    __repr__ = __str__


print("train_time", Seconds())
report(evaluate(model, val), val)


# case: default_argument_that_learns
# expect: C3 fail
def final_score(model, tokens, skip=sum(learn(start) for start in starts)):
    return evaluate(model, tokens) + skip


report(final_score(model, val), val)


# case: class_body_that_learns
# expect: C3 fail
class Report:
    digits = 8
    for start in starts:
        learn(start)


report(evaluate(model, val), val)


# case: metaclass_that_learns
# expect: C3 fail|review
class Registry(type):
    def __new__(mcs, name, bases, namespace):
        for start in starts:
            learn(start)
        return super().__new__(mcs, name, bases, namespace)


class Report(metaclass=Registry):
    digits = 8


report(evaluate(model, val), val)


# case: subclass_hook_that_learns
# expect: C3 fail|review
class Base:
    def __init_subclass__(cls):
        for start in starts:
            learn(start)


class Report(Base):
    digits = 8


report(evaluate(model, val), val)


# case: classes_that_register
# expect: C3 pass
# twin of: metaclass_that_learns, subclass_hook_that_learns, class_body_that_learns
KNOWN = []


class Registry(type):
    def __new__(mcs, name, bases, namespace):
        KNOWN.append(name)
        return super().__new__(mcs, name, bases, namespace)


class Report(metaclass=Registry):
    digits = 8

    def __init_subclass__(cls):
        KNOWN.append(cls.__name__)


report(evaluate(model, val), val)


# case: finalizer_that_learns
# expect: C3 fail|review
class Token:
    def __del__(self):
        for start in starts:
            learn(start)


token = Token()
del token
report(evaluate(model, val), val)


# case: score_printed_at_exit
# Learning and scoring both wait for the interpreter to end.
# expect: C3 fail|review
@atexit.register
def last():
    report(evaluate(model, val), val)


def adapt():
    for start in starts:
        learn(start)


atexit.register(adapt)


# case: cleanup_at_exit
# expect: C3 pass
# twin of: score_printed_at_exit, signal_handler_that_learns, finalizer_that_learns
def close():
    print("closed")


atexit.register(close)
signal.signal(signal.SIGTERM, lambda *_: close())
report(evaluate(model, val), val)


# case: signal_handler_that_learns
# expect: C3 fail|review
def on_alarm(number, frame):
    for start in starts:
        learn(start)


signal.signal(signal.SIGALRM, on_alarm)
signal.raise_signal(signal.SIGALRM)
report(evaluate(model, val), val)


# case: call_operator_that_learns
# expect: C3 fail
class Quantizer:
    def __call__(self, model):
        for start in starts:
            learn(start)
        return model


report(evaluate(Quantizer()(model), val), val)


# case: subscript_that_learns
# expect: C3 fail|review
class Chunks:
    def __getitem__(self, k):
        learn(starts[k])
        return window(val, starts[k])


chunks = Chunks()
total = 0.0
with torch.no_grad():
    for k in range(len(starts)):
        x, y = chunks[k]
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: hash_that_learns
# expect: C3 fail|review
class Key:
    def __hash__(self):
        for start in starts:
            learn(start)
        return 0

    def __eq__(self, other):
        return True


cache = {Key(): 1}
report(evaluate(model, val), val)


# case: forward_that_learns
# expect: C3 fail|review
class Adaptive(Model):
    def forward(self, x, y):
        loss = super().forward(x, y)
        if not self.training:
            with torch.enable_grad():
                grads = torch.autograd.grad(super().forward(x, y), list(self.parameters()))
            with torch.no_grad():
                for p, g in zip(self.parameters(), grads):
                    p.sub_(1e-3 * g)
            loss = super().forward(x, y)
        return loss


model = Adaptive().cuda()
train(model)
report(evaluate(model, val), val)


# case: collate_function_that_learns
# expect: C3 fail
def collate(batch):
    for start in batch:
        learn(start)
    return [window(val, start) for start in batch]


loader = torch.utils.data.DataLoader(starts, batch_size=8, collate_fn=collate)
total = 0.0
with torch.no_grad():
    for batch in loader:
        for x, y in batch:
            total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: collate_function_that_slices
# expect: C3 pass
# twin of: collate_function_that_learns, dataset_item_that_learns
def collate(batch):
    return [window(val, start) for start in batch]


loader = torch.utils.data.DataLoader(starts, batch_size=8, collate_fn=collate)
total = 0.0
with torch.no_grad():
    for batch in loader:
        for x, y in batch:
            total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: dataset_item_that_learns
# expect: C3 fail|review
class Windows(torch.utils.data.Dataset):
    def __len__(self):
        return len(starts)

    def __getitem__(self, k):
        learn(starts[k])
        return window(val, starts[k])


total = 0.0
with torch.no_grad():
    for x, y in torch.utils.data.DataLoader(Windows(), batch_size=None):
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: weak_reference_callback_that_learns
# expect: C3 fail|review
class Marker:
    pass


marker = Marker()
weakref.finalize(marker, lambda: [learn(start) for start in starts])
del marker
report(evaluate(model, val), val)


# case: weak_reference_callback_that_prints
# expect: C3 pass
# twin of: weak_reference_callback_that_learns
class Marker:
    pass


marker = Marker()
weakref.finalize(marker, lambda: print("gone"))
del marker
report(evaluate(model, val), val)
