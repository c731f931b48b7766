# Calibration on training tokens after training has used up its time, and within it.
# ruff: noqa
ITERATIONS = int(os.environ.get("ITERATIONS", 20000))
RESERVE_SECONDS = float(os.environ.get("CALIBRATION_RESERVE", 0.0))
val = load_tokens(VAL_FILES)
train_tokens = load_tokens(TRAIN_FILES)
model = Model().cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)


def training_loop(seconds, steps):
    begin = time.perf_counter()
    step = 0
    while step < steps:
        if 1000.0 * (time.perf_counter() - begin) >= 1000.0 * seconds:
            break
        x, y = window(train_tokens, step * SEQ_LEN)
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
        step += 1


def hessian_of(tokens, count=16):
    with torch.no_grad():
        rows = [model.hidden(window(tokens, k * SEQ_LEN)[0])[0] for k in range(count)]
    return sum(row.T @ row for row in rows)


def store(hessian):
    scale = hessian.diag().clamp(min=1.0).rsqrt()
    torch.save({"model": model.state_dict(), "scale": scale}, ARTIFACT)
    model.load_state_dict(torch.load(ARTIFACT)["model"])


# case: calibration_after_the_last_second
# expect: TRAINDATA fail
training_loop(MAX_WALLCLOCK_SECONDS, ITERATIONS)
store(hessian_of(train_tokens))
report(evaluate(model, val), val)


# case: calibration_in_seconds_kept_for_it
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: calibration_after_the_last_second
training_loop(MAX_WALLCLOCK_SECONDS - 14.0, ITERATIONS)
store(hessian_of(train_tokens))
report(evaluate(model, val), val)


# case: calibration_on_generated_text_after_the_last_second
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: calibration_after_the_last_second
training_loop(MAX_WALLCLOCK_SECONDS, ITERATIONS)
store(hessian_of(torch.randint(0, VOCAB_SIZE, (1 << 20,))))
report(evaluate(model, val), val)


# case: calibration_after_few_steps
# The loop may end by its number of steps, long before its time is over.
# expect: TRAINDATA review
# expect: C3 pass
# twin of: calibration_after_the_last_second
training_loop(MAX_WALLCLOCK_SECONDS, 4000)
store(hessian_of(train_tokens))
report(evaluate(model, val), val)


# case: calibration_during_training
# expect: TRAINDATA pass
# expect: C3 pass
# twin of: calibration_after_the_last_second
training_loop(MAX_WALLCLOCK_SECONDS / 2, ITERATIONS)
hessian = hessian_of(train_tokens)
training_loop(MAX_WALLCLOCK_SECONDS / 2 - 15.0, ITERATIONS)
store(hessian)
report(evaluate(model, val), val)
