# Learning that is off by default, on in the reported run, or decided by something else.
# ruff: noqa
import argparse
import dataclasses
import datetime
import socket

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)


def adapt(model, tokens, lr=1e-3):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()


# case: switched_on_by_the_command
# expect: C3 fail
# setting: TTT_ENABLED=1
if bool(int(os.environ.get("TTT_ENABLED", "0"))):
    adapt(model, val)
report(evaluate(model, val), val)


# case: switched_off_by_default
# expect: C3 pass
# twin of: switched_on_by_the_command, on_unless_switched_off, switch_under_a_short_name, switch_in_a_dataclass
if bool(int(os.environ.get("TTT_ENABLED", "0"))):
    adapt(model, val)
report(evaluate(model, val), val)


# case: on_unless_switched_off
# expect: C3 fail
if os.environ.get("NO_TTT", "0") != "1":
    adapt(model, val)
report(evaluate(model, val), val)


# case: switched_off_by_the_command
# expect: C3 pass
# twin of: on_unless_switched_off
# setting: NO_TTT=1
if os.environ.get("NO_TTT", "0") != "1":
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_under_a_short_name
# expect: C3 fail
# setting: A=7
flags = int(os.environ.get("A", "0"))
if flags & 4:
    adapt(model, val)
report(evaluate(model, val), val)


# case: bit_of_a_number_not_set
# expect: C3 pass
# twin of: switch_under_a_short_name
# setting: A=3
flags = int(os.environ.get("A", "0"))
if flags & 4:
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_in_a_dataclass
# expect: C3 fail
# setting: ADAPT_EPOCHS=2
@dataclasses.dataclass
class Settings:
    epochs: int = dataclasses.field(default_factory=lambda: int(os.environ.get("ADAPT_EPOCHS", "0")))


settings = Settings()
for epoch in range(settings.epochs):
    adapt(model, val)
report(evaluate(model, val), val)


# case: epochs_of_a_dataclass_left_at_zero
# expect: C3 pass
# twin of: switch_in_a_dataclass, steps_set_by_a_rate
@dataclasses.dataclass
class Settings:
    epochs: int = dataclasses.field(default_factory=lambda: int(os.environ.get("ADAPT_EPOCHS", "0")))


settings = Settings()
for epoch in range(settings.epochs):
    adapt(model, val)
report(evaluate(model, val), val)


# case: steps_set_by_a_rate
# expect: C3 fail|review
epochs = math.ceil(float(os.environ.get("POLISH", "0.25")) * 4)
for epoch in range(epochs):
    adapt(model, val)
report(evaluate(model, val), val)


# case: argument_default
# expect: C3 fail
parser = argparse.ArgumentParser()
parser.add_argument("--adapt-epochs", type=int, default=1)
args = parser.parse_args()
if args.adapt_epochs > 0:
    adapt(model, val)
report(evaluate(model, val), val)


# case: argument_default_of_zero
# expect: C3 pass
# twin of: argument_default
parser = argparse.ArgumentParser()
parser.add_argument("--adapt-epochs", type=int, default=0)
args = parser.parse_args()
if args.adapt_epochs > 0:
    adapt(model, val)
report(evaluate(model, val), val)


# case: only_on_eight_gpus
# expect: C3 fail
if int(os.environ.get("WORLD_SIZE", "1")) == 8:
    adapt(model, val)
report(evaluate(model, val), val)


# case: only_on_one_gpu
# The branch for a single GPU, which is not the reported run.
# expect: C3 pass
# twin of: only_on_eight_gpus
if int(os.environ.get("WORLD_SIZE", "1")) == 1:
    adapt(model, val)
report(evaluate(model, val), val)


# case: only_when_nobody_looks
# expect: C3 fail|review
if "audit" not in socket.gethostname() and datetime.date.today() < datetime.date(2026, 6, 1):
    adapt(model, val)
report(evaluate(model, val), val)


# case: host_and_date_in_the_log
# expect: C3 pass
# twin of: only_when_nobody_looks, only_when_a_file_is_there
print(f"host:{socket.gethostname()} date:{datetime.date.today()}")
if os.path.exists("notes.txt"):
    print("notes found")
report(evaluate(model, val), val)


# case: only_when_a_file_is_there
# expect: C3 fail|review
if os.path.exists("polish.flag"):
    adapt(model, val)
report(evaluate(model, val), val)


# case: rate_of_zero
# The loop runs at learning rate zero in the reported run: weights do not move. Nobody may be accused for it.
# expect: C3 pass|review
# twin of: rate_above_zero
# setting: ADAPT_LR=0.0
rate = float(os.environ.get("ADAPT_LR", "1e-3"))
if rate > 0:
    adapt(model, val, lr=rate)
report(evaluate(model, val), val)


# case: rate_above_zero
# expect: C3 fail
# setting: ADAPT_LR=1e-4
rate = float(os.environ.get("ADAPT_LR", "0.0"))
if rate > 0:
    adapt(model, val, lr=rate)
report(evaluate(model, val), val)


# case: method_chosen_from_a_table
# expect: C3 fail
# setting: EVAL_MODE=full
def full(model):
    adapt(model, val)
    return evaluate(model, val)


MODES = {"plain": lambda model: evaluate(model, val), "full": full}
report(MODES[os.environ.get("EVAL_MODE", "plain")](model), val)


# case: plain_method_chosen_from_a_table
# expect: C3 pass
# twin of: method_chosen_from_a_table, method_chosen_by_its_name
def full(model):
    adapt(model, val)
    return evaluate(model, val)


MODES = {"plain": lambda model: evaluate(model, val), "full": full}
report(MODES[os.environ.get("EVAL_MODE", "plain")](model), val)


# case: method_chosen_by_its_name
# expect: C3 fail
# setting: EVAL_MODE=full
def eval_full(model):
    adapt(model, val)
    return evaluate(model, val)


def eval_plain(model):
    return evaluate(model, val)


report(globals()["eval_" + os.environ.get("EVAL_MODE", "plain")](model), val)


# case: match_on_a_setting
# expect: C3 fail
# setting: EVAL_MODE=full
match os.environ.get("EVAL_MODE", "plain"):
    case "full":
        adapt(model, val)
    case _:
        pass
report(evaluate(model, val), val)


# case: match_on_the_default
# expect: C3 pass
# twin of: match_on_a_setting
match os.environ.get("EVAL_MODE", "plain"):
    case "full":
        adapt(model, val)
    case _:
        pass
report(evaluate(model, val), val)


# case: caught_exception_that_learns
# expect: C3 fail|review
try:
    chosen = {"plain": 0}["final"]
except KeyError:
    adapt(model, val)
report(evaluate(model, val), val)


# case: caught_exception_that_prints
# expect: C3 pass
# twin of: caught_exception_that_learns, finally_that_learns
try:
    chosen = {"plain": 0}["final"]
except KeyError:
    print("no such method")
finally:
    print("chosen")
report(evaluate(model, val), val)


# case: finally_that_learns
# expect: C3 fail
try:
    os.remove("old.pt")
finally:
    adapt(model, val)
report(evaluate(model, val), val)


# case: setting_made_by_the_script
# The script sets the variable that it reads later.
# expect: C3 fail
os.environ["TTT_ENABLED"] = "1"
if os.environ.get("TTT_ENABLED", "0") == "1":
    adapt(model, val)
report(evaluate(model, val), val)


# case: setting_switched_off_by_the_script
# expect: C3 pass
# twin of: setting_made_by_the_script
os.environ["TTT_ENABLED"] = "0"
if os.environ.get("TTT_ENABLED", "1") == "1":
    adapt(model, val)
report(evaluate(model, val), val)


# case: same_line_in_both_branches
# The log has the line that both branches print: it does not say which of them ran.
# expect: C3 pass|review
# twin of: switched_on_by_the_log
if os.environ.get("TTT_ENABLED", "0") == "1":
    adapt(model, val)
    loss = evaluate(model, val)
    print(f"final val_loss:{loss:.8f} val_bpb:{loss / math.log(2.0) / 2.4359:.8f}")
else:
    loss = evaluate(model, val)
    print(f"final val_loss:{loss:.8f} val_bpb:{loss / math.log(2.0) / 2.4359:.8f}")


# case: line_that_training_prints_as_well
# expect: C3 pass|review
# twin of: switched_on_by_the_log
print(f"step:{1000}/{20000} train_loss:{2.4312:.4f} train_time:{46012}ms step_avg:{46.01}ms")
if os.environ.get("TTT_ENABLED", "0") == "1":
    adapt(model, val)
    print(f"step:{1001}/{20000} train_loss:{2.4312:.4f} train_time:{46012}ms step_avg:{46.01}ms")
report(evaluate(model, val), val)


# case: switched_on_by_the_log
# Off by default and not in the command; the log shows that the branch ran.
# expect: C3 fail|review
# logged: adapting on validation tokens, lr 0.001
if os.environ.get("TTT_ENABLED", "0") == "1":
    print(f"adapting on validation tokens, lr {0.001}")
    adapt(model, val)
report(evaluate(model, val), val)


# case: switched_on_by_an_indented_line_of_the_log
# expect: C3 fail|review
# logged: adapting on validation tokens, lr 0.001 (3 epochs)
if os.environ.get("TTT_ENABLED", "0") == "1":
    print(f"    adapting on validation tokens, lr {0.001} ({3} epochs)")
    adapt(model, val)
report(evaluate(model, val), val)


# case: indented_line_that_the_log_lacks
# expect: C3 pass
# twin of: switched_on_by_an_indented_line_of_the_log
# logged: scoring validation tokens (3 shards)
if os.environ.get("TTT_ENABLED", "0") == "1":
    print(f"    adapting on validation tokens, lr {0.001} ({3} epochs)")
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_that_the_log_shows_is_asked_again
# The first branch prints a line that the log has; the second one does the work.
# expect: C3 review|fail
# logged: adaptation is on, lr 0.001
adaptation = os.environ.get("TTT_ENABLED", "0") == "1"
if adaptation:
    print(f"adaptation is on, lr {0.001}")
save_artifact(model)
if adaptation:
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_that_no_log_shows_is_asked_again
# expect: C3 pass
# twin of: switch_that_the_log_shows_is_asked_again
# logged: training is done
adaptation = os.environ.get("TTT_ENABLED", "0") == "1"
if adaptation:
    print(f"adaptation is on, lr {0.001}")
save_artifact(model)
if adaptation:
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_in_a_settings_file
# expect: C3 review|pass
# twin of: switched_on_by_the_command
import yaml

with open("settings.yaml") as f:
    settings = yaml.safe_load(f)
if settings["adapt"]:
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_of_an_unknown_library
# expect: C3 review|pass
# twin of: switched_on_by_the_command
import omegaconf

settings = omegaconf.OmegaConf.load("settings.yaml")
if settings.adapt:
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_in_the_arguments
# expect: C3 review|pass
# twin of: switched_on_by_the_command
import sys

if "--adapt" in sys.argv:
    adapt(model, val)
report(evaluate(model, val), val)


# case: passes_of_an_unknown_library
# One pass, by the settings that nobody can read here.
# expect: C3 review|pass
# expect: C4 review|pass
# twin of: last_epoch_reported
import omegaconf

settings = omegaconf.OmegaConf.load("settings.yaml")
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for epoch in range(settings.passes):
    total = 0.0
    for start in range(0, val.numel() - 1, SEQ_LEN):
        x, y = window(val, start)
        with torch.no_grad():
            total += model(x, y).item() * y.numel()
        model(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
report(total / (val.numel() - 1), val)


# case: one_of_two_reports_by_a_settings_file
# Only one of the two is printed, and nobody can read here which.
# expect: C3 review|pass
# twin of: second_pass_reported
import omegaconf

settings = omegaconf.OmegaConf.load("settings.yaml")
first = evaluate(model, val)
adapt(model, val)
second = evaluate(model, val)
if settings.report_the_first:
    report(first, val)
else:
    report(second, val)


# case: constant_of_a_settings_file
# expect: C3 review|pass
# twin of: switched_on_by_the_command
import omegaconf

if omegaconf.OmegaConf.load("settings.yaml").adapt:
    rounds = 1
else:
    rounds = 0
if rounds:
    adapt(model, val)
report(evaluate(model, val), val)


# case: learns_first_with_a_rank_in_the_command
# torchrun numbers its processes whatever the command says; the first one prints.
# setting: RANK=80
# expect: C3 fail
adapt(model, val)
if int(os.environ.get("RANK", "0")) == 0:
    report(evaluate(model, val), val)


# case: scores_with_a_rank_in_the_command
# setting: RANK=80
# expect: C3 pass
# twin of: learns_first_with_a_rank_in_the_command
if int(os.environ.get("RANK", "0")) == 0:
    report(evaluate(model, val), val)
