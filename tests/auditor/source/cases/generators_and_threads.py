# Learning in generators, threads, processes, coroutines, other ranks.
# ruff: noqa
import asyncio
import multiprocessing
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch.distributed as dist

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


def learn(start):
    optimizer.zero_grad()
    model(*window(val, start)).backward()
    optimizer.step()


def score(start):
    with torch.no_grad():
        x, y = window(val, start)
        return model(x, y).item() * y.numel()


# case: generator_that_learns_before_it_yields
# expect: C3 fail
def windows():
    for start in starts:
        learn(start)
        yield window(val, start)


total = 0.0
with torch.no_grad():
    for x, y in windows():
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: generator_that_learns_after_it_yields
# expect: C3 pass
# twin of: generator_that_learns_before_it_yields, generator_read_to_its_end_first, generator_that_is_sent_to
def windows():
    for start in starts:
        yield window(val, start)
        learn(start)


total = 0.0
for x, y in windows():
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: generator_read_to_its_end_first
# The legal generator, wrapped in list(): all learning comes before all scoring.
# expect: C3 fail
def windows():
    for start in starts:
        yield window(val, start)
        learn(start)


total = 0.0
with torch.no_grad():
    for x, y in list(windows()):
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: generator_that_is_sent_to
# expect: C3 fail|review
def learner():
    while True:
        start = yield
        learn(start)


sink = learner()
next(sink)
for start in starts:
    sink.send(start)
report(evaluate(model, val), val)


# case: thread_that_learns
# expect: C3 fail
def work():
    for start in starts:
        learn(start)


thread = threading.Thread(target=work)
thread.start()
thread.join()
report(evaluate(model, val), val)


# case: thread_that_loads
# expect: C3 pass
# twin of: thread_that_learns, thread_class_that_learns, pool_that_learns, timer_that_learns
ready = queue.Queue(maxsize=8)


def work():
    for start in starts:
        ready.put(window(val, start))
    ready.put(None)


threading.Thread(target=work, daemon=True).start()
total = 0.0
with torch.no_grad():
    while (item := ready.get()) is not None:
        x, y = item
        total += model(x, y).item() * y.numel()
report(total / (val.numel() - 1), val)


# case: thread_class_that_learns
# expect: C3 fail
# xfail: C3 start() of a thread class, Process and spawn do not run their target with its arguments
class Worker(threading.Thread):
    def run(self):
        for start in starts:
            learn(start)


worker = Worker()
worker.start()
worker.join()
report(evaluate(model, val), val)


# case: timer_that_learns
# expect: C3 fail|review
timer = threading.Timer(0.0, lambda: [learn(start) for start in starts])
timer.start()
timer.join()
report(evaluate(model, val), val)


# case: pool_that_learns
# expect: C3 fail
with ThreadPoolExecutor(1) as pool:
    for start in starts:
        pool.submit(learn, start)
report(evaluate(model, val), val)


# case: process_that_learns
# The weights live in shared memory; a child process adapts them.
# expect: C3 fail
def work(shared):
    steps = torch.optim.SGD(shared.parameters(), lr=1e-3)
    for start in starts:
        shared(*window(val, start)).backward()
        steps.step()
        steps.zero_grad()


model.share_memory()
process = multiprocessing.Process(target=work, args=(model,))
process.start()
process.join()
report(evaluate(model, val), val)


# case: process_that_compresses
# expect: C3 pass
# twin of: process_that_learns, spawned_processes_that_learn
def work(data, name):
    with open(name, "wb") as f:
        f.write(zlib.compress(data, 9))


process = multiprocessing.Process(target=work, args=(b"log", "log.z"))
process.start()
process.join()
report(evaluate(model, val), val)


# case: spawned_processes_that_learn
# expect: C3 fail|review
def work(rank, shared):
    steps = torch.optim.SGD(shared.parameters(), lr=1e-3)
    for start in starts[rank::8]:
        shared(*window(val, start)).backward()
        steps.step()
        steps.zero_grad()


torch.multiprocessing.spawn(work, args=(model.share_memory(),), nprocs=8)
report(evaluate(model, val), val)


# case: second_program_that_learns
# A child runs another script on the saved weights; its result is loaded.
# expect: C3 fail|review
torch.save(model.state_dict(), "weights.pt")
subprocess.run([sys.executable, "polish.py", "weights.pt"], check=True)
model.load_state_dict(torch.load("weights.pt"))
report(evaluate(model, val), val)


# case: second_program_that_reports
# expect: C3 pass
# twin of: second_program_that_learns
torch.save(model.state_dict(), "weights.pt")
print(subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout)
model.load_state_dict(torch.load("weights.pt"))
report(evaluate(model, val), val)


# case: coroutine_that_learns
# expect: C3 fail
async def adapt():
    for start in starts:
        learn(start)
        await asyncio.sleep(0)


asyncio.run(adapt())
report(evaluate(model, val), val)


# case: coroutine_that_scores_first
# expect: C3 pass
# twin of: coroutine_that_learns
async def score_first():
    total = 0.0
    for start in starts:
        total += score(start)
        learn(start)
        await asyncio.sleep(0)
    return total


report(asyncio.run(score_first()) / (val.numel() - 1), val)


# case: gradients_of_all_ranks_before_their_scores
# Each rank scores its own chunk after the step that all ranks' chunks went into.
# expect: C3 fail
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
total = torch.zeros(1, device="cuda")
for k in range(0, len(starts) - world, world):
    x, y = window(val, starts[k + rank])
    optimizer.zero_grad()
    model(x, y).backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
    optimizer.step()
    with torch.no_grad():
        total += model(x, y) * y.numel()
dist.all_reduce(total)
report(total.item() / (val.numel() - 1), val)


# case: gradients_of_all_ranks_after_their_scores
# expect: C3 pass
# twin of: gradients_of_all_ranks_before_their_scores, other_ranks_learn_first
dist.init_process_group("nccl")
rank, world = dist.get_rank(), dist.get_world_size()
total = torch.zeros(1, device="cuda")
for k in range(0, len(starts) - world, world):
    x, y = window(val, starts[k + rank])
    with torch.no_grad():
        total += model(x, y) * y.numel()
    optimizer.zero_grad()
    model(x, y).backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
    optimizer.step()
dist.all_reduce(total)
report(total.item() / (val.numel() - 1), val)


# case: other_ranks_learn_first
# Rank 0, whose program is read, only waits; the others adapt and broadcast.
# expect: C3 fail|review
dist.init_process_group("nccl")
if dist.get_rank() == 1:
    for start in starts:
        learn(start)
for p in model.parameters():
    dist.broadcast(p.data, src=1)
if dist.get_rank() == 0:
    report(evaluate(model, val), val)


# case: rank_zero_prints
# expect: C3 pass
# twin of: other_ranks_learn_first
dist.init_process_group("nccl")
for p in model.parameters():
    dist.broadcast(p.data, src=0)
loss = evaluate(model, val)
if dist.get_rank() == 0:
    report(loss, val)


# case: streams_that_overlap
# A side stream adapts while the main stream scores: which comes first is left to chance.
# expect: C3 fail|review
side = torch.cuda.Stream()
total = 0.0
for start in starts:
    with torch.cuda.stream(side):
        learn(start)
    total += score(start)
report(total / (val.numel() - 1), val)


# case: stream_that_copies
# expect: C3 pass
# twin of: streams_that_overlap
side = torch.cuda.Stream()
total = 0.0
for start in starts:
    with torch.cuda.stream(side):
        x, y = window(val, start)
    torch.cuda.current_stream().wait_stream(side)
    with torch.no_grad():
        total += model(x, y).item() * y.numel()
    learn(start)
report(total / (val.numel() - 1), val)
