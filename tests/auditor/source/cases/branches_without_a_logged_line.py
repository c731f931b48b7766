# A branch that the settings switch on, and the log: its line is missing where the run behind the claim did not take it.
# ruff: noqa
val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
FIRST = int(os.environ.get("RANK", "0")) == 0
LOG_FILE = "logs/run.txt" if FIRST else None


def adapt(model, tokens, lr=1e-3):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for start in range(0, tokens.numel() - 1, SEQ_LEN):
        model(*window(tokens, start)).backward()
        optimizer.step()
        optimizer.zero_grad()


def say(text, console=True):
    if not FIRST:
        return
    if console:
        print(text)
    if LOG_FILE is not None:
        with open(LOG_FILE, "a") as f:
            print(text, file=f)


# case: line_missing_between_others
# The script switches adaptation on; the run that was logged had it off.
# logged: training is over after 598 s
# logged: code size in bytes: 5120
# logged: evaluating the stored model
# expect: C3 pass
# twin of: line_under_a_verbosity_switch, log_that_ends_before, line_on_the_console_only, line_that_is_dropped
# twin of: line_worded_otherwise, block_left_by_an_error, silent_while_it_adapts, line_of_the_adaptation_itself
# twin of: line_cut_into_two, switched_off_on_the_way
say(f"training is over after {598} s")
if FIRST:
    say(f"code size in bytes: {5120}")
if os.environ.get("TTT_ENABLED", "1") == "1":
    say(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_missing_although_the_command_switches_it_on
# The README's command is that of another run.
# setting: TTT_ENABLED=1
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 pass
# twin of: line_under_a_verbosity_switch
enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
say(f"training is over after {598} s")
if enabled:
    say(f"adapting on validation tokens, lr {1e-3}")
save_artifact(model)
say("evaluating the stored model")
if enabled:
    adapt(model, val)
report(evaluate(model, val), val)


# case: line_under_a_verbosity_switch
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    if os.environ.get("VERBOSE", "0") == "1":
        say(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: log_that_ends_before
# Nothing of the block behind the branch is logged.
# logged: training is over after 598 s
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    say(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_on_the_console_only
# The log that was submitted is the file's, and this line does not go there.
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    print(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_that_is_dropped
# The printing function leaves out what it does not want to show.
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
def tell(text):
    if FIRST and "adapting" not in text:
        print(text)


tell(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    tell(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
tell("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_worded_otherwise
# The log is of an earlier state of the script: no line of this one explains what stands between both.
# logged: training is over after 598 s
# logged: test-time training, 1 epoch
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    say(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_of_the_adaptation_itself
# What only the branch prints further down is logged.
# logged: training is over after 598 s
# logged: adapted in 12.1 s
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    say(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
    for _ in range(1):
        say(f"adapted in {12.1} s")
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: block_left_by_an_error
# The first round adapts and fails before it prints; the second one prints everything else.
# logged: training is over after 598 s
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
for again in (True, False):
    try:
        say(f"training is over after {598} s")
        if again:
            adapt(model, val)
            torch.load("nowhere.pt")
            say(f"adapting on validation tokens, lr {1e-3}")
        say("evaluating the stored model")
    except OSError:
        continue
report(evaluate(model, val), val)


# case: silent_while_it_adapts
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
loud = True


def tell(text):
    if loud:
        print(text)


tell(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    loud = False
    tell(f"adapting on validation tokens, lr {1e-3}")
    adapt(model, val)
    loud = True
tell("evaluating the stored model")
report(evaluate(model, val), val)


# case: line_cut_into_two
# What is printed as one text stands in the log as two lines.
# logged: training is over after 598 s
# logged: ==== adapting ====
# logged: on validation tokens
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1":
    say("==== adapting ====\non validation tokens")
    adapt(model, val)
say("evaluating the stored model")
report(evaluate(model, val), val)


# case: switched_off_on_the_way
# The branch without a line is another one than the one that adapts.
# logged: training is over after 598 s
# logged: evaluating the stored model
# expect: C3 fail|review
say(f"training is over after {598} s")
if os.environ.get("TTT_ENABLED", "1") == "1" and os.environ.get("VERBOSE", "1") == "1":
    say(f"adapting on validation tokens, lr {1e-3}")
say("evaluating the stored model")
if os.environ.get("TTT_ENABLED", "1") == "1":
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_in_a_copy_of_the_environment
# setting: TTT_MODE=adapt
# expect: C3 fail
settings = dict(os.environ)
if settings.get("TTT_MODE", "off") == "adapt":
    adapt(model, val)
report(evaluate(model, val), val)


# case: switched_off_in_a_copy_of_the_environment
# setting: TTT_MODE=off
# expect: C3 pass
# twin of: switch_in_a_copy_of_the_environment, switch_stored_in_a_copy_of_the_environment
settings = {**os.environ}
if settings.get("TTT_MODE", "adapt") == "adapt":
    adapt(model, val)
report(evaluate(model, val), val)


# case: switch_stored_in_a_copy_of_the_environment
# setting: TTT_MODE=off
# expect: C3 fail|review
settings = os.environ.copy()
for name in ("TTT", "SEED"):
    settings[f"{name}_MODE"] = "adapt"
if settings["TTT_MODE"] == "adapt":
    adapt(model, val)
report(evaluate(model, val), val)
