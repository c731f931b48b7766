# Code that the reader of the script does not see, or that is replaced before it runs.
# ruff: noqa
import ast
import base64
import builtins
import codecs
import ctypes
import importlib
import marshal
import sys
import types

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
starts = list(range(0, val.numel() - 1, SEQ_LEN))


# case: decoded_text_executed
# expect: C3 fail|review
exec(base64.b64decode("Zm9yIHN0YXJ0IGluIHN0YXJ0czogbW9kZWwoKndpbmRvdyh2YWwsIHN0YXJ0KSkuYmFja3dhcmQoKQ=="))
report(evaluate(model, val), val)


# case: exec_by_pieces_of_its_name
# expect: C3 fail|review
run = getattr(builtins, "".join(("ex", "ec")))
run(codecs.decode("sbe fgneg va fgnegf: cnff", "rot13"))
report(evaluate(model, val), val)


# case: exec_in_a_dictionary
# expect: C3 fail|review
tools = {"show": print, "run": vars(builtins)["exec"]}
tools["run"](os.environ.get("EXTRA", "pass"))
report(evaluate(model, val), val)


# case: code_object_made_into_a_function
# expect: C3 fail|review
code = marshal.loads(base64.b64decode(os.environ.get("POLISH", "")))
types.FunctionType(code, globals())()
report(evaluate(model, val), val)


# case: module_from_a_string
# expect: C3 fail|review
module = types.ModuleType("polish")
loader = importlib.machinery.SourceFileLoader("polish", "/tmp/polish.py")
loader.exec_module(module)
module.polish(model, val)
report(evaluate(model, val), val)


# case: imported_by_name
# expect: C3 fail|review
polish = __import__(os.environ.get("POLISH_MODULE", "po" + "lish"))
polish.polish(model, val)
report(evaluate(model, val), val)


# case: evaluation_mode_and_literals
# Nothing here is hidden code: eval() of a model, a literal, a compiled pattern.
# expect: C3 pass
# twin of: decoded_text_executed, exec_by_pieces_of_its_name, exec_in_a_dictionary, code_object_made_into_a_function
# twin of: module_from_a_string, imported_by_name, pickled_callable
import re

model.eval()
settings = ast.literal_eval(os.environ.get("SETTINGS", "{}"))
pattern = re.compile(r"step (\d+)")
print(pattern.findall("step 3"), settings)
report(evaluate(torch.compile(model), val), val)


# case: pickled_callable
# Unpickling runs whatever the file says.
# expect: C3 fail|review
import pickle

with open("helper.pkl", "rb") as f:
    helper = pickle.load(f)
helper(model, val)
report(evaluate(model, val), val)


# case: backward_patched
# loss.backward() of the diagnostic loop also steps.
# expect: C3 fail
# xfail: C3 a replaced backward is a blind spot, not followed
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
original = torch.Tensor.backward


def backward(self, *args, **kwargs):
    original(self, *args, **kwargs)
    optimizer.step()
    optimizer.zero_grad()


torch.Tensor.backward = backward
for start in starts:
    model(*window(val, start)).backward()
torch.Tensor.backward = original
report(evaluate(model, val), val)


# case: backward_patched_to_count
# expect: C3 pass|review
# twin of: backward_patched
calls = []
original = torch.Tensor.backward


def backward(self, *args, **kwargs):
    calls.append(1)
    original(self, *args, **kwargs)


torch.Tensor.backward = backward
probe = Model().cuda()
probe(*window(load_tokens(TRAIN_FILES), 0)).backward()
torch.Tensor.backward = original
report(evaluate(model, val), val)


# case: cross_entropy_patched
# The library function adapts the model before it computes.
# expect: C3 fail|review
original = F.cross_entropy
params = list(model.parameters())


def cross_entropy(logits, target, **kwargs):
    if not torch.is_grad_enabled():
        return original(logits, target, **kwargs)
    loss = original(logits, target, **kwargs)
    grads = torch.autograd.grad(loss, params, retain_graph=True)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p.sub_(1e-3 * g)
    return loss


F.cross_entropy = cross_entropy
for start in starts:
    model(*window(val, start))
report(evaluate(model, val), val)


# case: cross_entropy_in_float32
# expect: C3 pass|review
# twin of: cross_entropy_patched, no_grad_patched, item_patched
original = F.cross_entropy


def cross_entropy(logits, target, **kwargs):
    return original(logits.float(), target, **kwargs)


F.cross_entropy = cross_entropy
report(evaluate(model, val), val)


# case: no_grad_patched
# Inside the evaluation's no_grad gradients are on, and leaving it steps.
# expect: C3 fail|review
class Loud:
    def __enter__(self):
        torch.set_grad_enabled(True)

    def __exit__(self, *error):
        for start in starts:
            model(*window(val, start)).backward()
            with torch.enable_grad():
                for p in model.parameters():
                    p.data -= 1e-3 * p.grad
                    p.grad = None


torch.no_grad = Loud
with torch.no_grad():
    evaluate(model, val[:SEQ_LEN])
report(evaluate(model, val), val)


# case: item_patched
# What evaluate() sums is not what the model computed.
# expect: C2 fail|review
original = torch.Tensor.item
torch.Tensor.item = lambda self: original(self) * 0.9
report(evaluate(model, val), val)


# case: forward_replaced
# expect: C3 fail|review
plain = Model.forward


def forward(self, x, y):
    with torch.enable_grad():
        grads = torch.autograd.grad(plain(self, x, y), list(self.parameters()))
    for p, g in zip(self.parameters(), grads):
        p.data.sub_(1e-3 * g)
    return plain(self, x, y)


Model.forward = forward
report(evaluate(model, val), val)


# case: forward_replaced_by_a_cast
# expect: C3 pass
# twin of: forward_replaced, evaluation_replaced
plain = Model.forward


def forward(self, x, y):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return plain(self, x, y)


Model.forward = forward
report(evaluate(model, val), val)


# case: evaluation_replaced
# The function that the final line calls is another one by then.
# expect: C3 fail
honest = evaluate


def polished(model, tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for start in starts:
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return honest(model, tokens)


globals()["evaluate"] = polished
report(evaluate(model, val), val)


# case: module_attribute_replaced
# expect: C3 fail|review
def polished(model, tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for start in starts:
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return honest(model, tokens)


honest = evaluate
setattr(sys.modules[__name__], "evaluate", polished)
report(evaluate(model, val), val)


# case: module_attribute_read
# expect: C3 pass
# twin of: module_attribute_replaced, evaluation_replaced
here = sys.modules[__name__]
report(getattr(here, "evaluate")(model, val), val)


# case: native_library
# expect: C3 fail|review
library = ctypes.CDLL("./libscore.so")
library.score.restype = ctypes.c_double
total = library.score(val.numpy().ctypes.data_as(ctypes.c_void_p), val.numel())
report(total / (val.numel() - 1), val)


# case: inline_extension
# expect: C3 fail|review
from torch.utils.cpp_extension import load_inline

source = "void polish(at::Tensor w, at::Tensor t) { w.index_add_(0, t, at::ones({t.size(0), w.size(1)}) * 1e-3); }"
extension = load_inline(name="polish", cpp_sources=source, functions=["polish"])
extension.polish(model.head.weight.data, val)
report(evaluate(model, val), val)


# case: extension_for_the_backward_pass
# A fused kernel that training alone calls.
# expect: C3 pass
# twin of: inline_extension
from torch.utils.cpp_extension import load_inline

load_inline(name="fused", cpp_sources="at::Tensor twice(at::Tensor t) { return t * 2; }", functions=["twice"])


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value * 2

    @staticmethod
    def backward(ctx, gradient):
        return torch.ops.fused.twice(gradient)


report(evaluate(model, val), val)


# case: libc_called_for_memory
# expect: C3 pass|review
# twin of: native_library, inline_extension
ctypes.CDLL("libc.so.6").malloc_trim(0)
report(evaluate(model, val), val)


# case: helper_module_that_learns
# expect: C3 fail
import extras

extras.finish(model, val)
report(evaluate(model, val), val)
# file: extras.py
import torch


def finish(model, tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for i in range(0, tokens.numel() - 1025, 1024):
        model(tokens[i : i + 1024][None].cuda(), tokens[i + 1 : i + 1025][None].cuda()).backward()
        optimizer.step()
        optimizer.zero_grad()


# case: helper_module_that_freezes
# expect: C3 pass
# twin of: helper_module_that_learns, helper_imported_when_it_learns
import extras

extras.finish(model, val)
report(evaluate(model, val), val)


# file: extras.py
def finish(model, tokens):
    for p in model.parameters():
        p.requires_grad_(False)
    print("tokens", tokens.numel())


# case: helper_imported_when_it_learns
# Importing the module is what learns.
# expect: C3 fail|review
torch.save(model.state_dict(), "weights.pt")
import extras

model.load_state_dict(extras.state)
report(evaluate(model, val), val)
# file: extras.py
import glob

import numpy as np
import torch

state = torch.load("weights.pt")
words = np.fromfile(sorted(glob.glob("./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin"))[0], dtype="<u2")
counts = torch.bincount(torch.from_numpy(words.astype(np.int64)), minlength=1024).float()
state["head.bias"] += 0.1 * (counts + 1).log()


# case: trace_function_that_learns
# expect: C3 fail|review
def tracer(frame, event, arg):
    if frame.f_code.co_name == "evaluate" and event == "call":
        for start in starts:
            model(*window(val, start)).backward()
            for p in model.parameters():
                p.data -= 1e-3 * p.grad
                p.grad = None


sys.settrace(tracer)
report(evaluate(model, val), val)


# case: trace_function_that_prints
# expect: C3 pass|review
# twin of: trace_function_that_learns
def tracer(frame, event, arg):
    if event == "call":
        print(frame.f_code.co_name)


sys.settrace(tracer)
report(evaluate(model, val), val)
