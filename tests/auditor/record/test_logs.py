"""Logs: both families, and everything that real ones carry beside their numbers."""

from __future__ import annotations

import pytest

from auditor.record.logs import read_log, seed_in_name
from auditor.record.model import RunLog

BASELINE = """\
val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021632
train_loader:dataset:fineweb10B_sp1024 train_shards:80
model_params:17059912
world_size:8 grad_accum_steps:1
train_batch_tokens:524288 train_seq_len:1024 iterations:20000 warmup_steps:20 max_wallclock_seconds:600.000
seed:1337
step:0/20000 val_loss:6.9622 val_bpb:4.1234 train_time:0ms step_avg:0.01ms
step:1/20000 train_loss:6.9640 train_time:44ms step_avg:44.10ms
step:200/20000 train_loss:3.1640 train_time:8820ms step_avg:44.10ms
stopping_early: wallclock_cap train_time:600038ms step:13605/20000
step:13605/20000 val_loss:2.0606 val_bpb:1.2204 train_time:600038ms step_avg:44.10ms
Serialized model: 67224983 bytes
Code size: 47686 bytes
Total submission size: 67272669 bytes
Serialized model int8+zlib: 15815847 bytes (payload:17178912 raw_torch:17224025 payload_ratio:3.91x)
Total submission size int8+zlib: 15863533 bytes
final_int8_zlib_roundtrip val_loss:2.0727 val_bpb:1.2276 eval_time:1401ms
final_int8_zlib_roundtrip_exact val_loss:2.07269931 val_bpb:1.22757938
"""

MODULAR = """\
Hyperparameters:
  eval_stride: 64
  prequant_ttt_enabled: True
  seed: 314
  ttt_enabled: False
  ttt_lr: 0.005
  world_size: 8
train_shards: 80
val_tokens: 40540160
gptq:reserving 12s, effective=588000ms
0/20000 val_loss: 9.0090 val_bpb: 3.4877
1/20000 train_loss: 9.0104 train_time: 0.0m tok/s: 8245460
500/20000 train_loss: 3.3828 train_time: 0.8m tok/s: 7789525
stopping_early: wallclock_cap train_time: 588122ms step: 4542/20000
prequant_ttt:epoch 1/2 loss=2.840203 lr=0.000497 time=77.3s
prequant_ttt:epoch 2/2 loss=2.753812 lr=0.000490 time=85.2s
prequant_ttt:done void=0.5804 total_time=85.2s
Code: 52734 raw → 14308 lzma → 17947 bootstrap
Code size: 17947 bytes
GPTQ:collected 67 Hessians in 12.7s
Total submission size quantized+brotli: 15995184 bytes
quantized val_loss:2.65249046 val_bpb:1.02686172 eval_time:18632ms
quantized_sliding_window val_loss:2.63897817 val_bpb:1.02163069 eval_time:112084ms
total_eval_time:131.0s
"""


def one(text: str, path: str = "train.log") -> RunLog:
    runs = read_log(path, text.encode())
    assert len(runs) == 1
    return runs[0]


def scores(log: RunLog) -> list[tuple[str, float | None]]:
    return [(line.label, line.val_bpb) for line in log.final_metrics]


def test_the_baseline_family() -> None:
    log = one(BASELINE)
    assert (log.seed, log.world_size, log.val_tokens, log.train_shards) == (1337, 8, 62_021_632, 80)
    assert log.train_seconds == pytest.approx(600.038)
    assert [(step.step, step.train_seconds) for step in log.steps] == [(1, 0.044), (200, 8.82)]
    assert scores(log) == [("final_int8_zlib_roundtrip", 1.2276), ("final_int8_zlib_roundtrip_exact", 1.22757938)]
    assert log.metrics[-1].bpb_text == "1.22757938"
    assert log.metrics[-2].eval_ms == 1401
    assert log.hyperparameters["max_wallclock_seconds"] == "600.000"


def test_the_modular_family() -> None:
    log = one(MODULAR)
    assert (log.seed, log.world_size, log.val_tokens, log.train_shards) == (314, 8, 40_540_160, 80)
    assert log.hyperparameters["prequant_ttt_enabled"] == "True"
    assert "ttt_lr" not in log.inline_hyperparameters
    assert log.steps[-1].train_seconds == pytest.approx(48.0)
    assert log.train_seconds == pytest.approx(588.122)
    assert (log.gptq_reserved_seconds, log.total_eval_seconds) == (12.0, 131.0)
    assert scores(log)[-1] == ("quantized_sliding_window", 1.02163069)


def test_a_bracket_that_closes_a_remark_is_not_part_of_the_setting() -> None:
    log = one("export_bits:5 (train qat_bits:6)\nrecur_layers:[3,4] ema_decay:0.99\n")
    assert (log.hyperparameters["qat_bits"], log.hyperparameters["recur_layers"]) == ("6", "[3,4]")


def test_the_unlabelled_total_counts_the_uncompressed_model() -> None:
    sizes = {(size.kind, size.label): size.size_bytes for size in one(BASELINE).sizes}
    assert sizes["total", "int8+zlib"] == 15_863_533
    assert sizes["total_raw", ""] == 67_272_669
    assert sizes["model", "int8+zlib"] == 15_815_847
    assert sizes["model_raw", ""] == 67_224_983
    assert sizes["code", ""] == 47_686


def test_an_unlabelled_total_of_something_compressed_is_the_total() -> None:
    log = one(
        "Serialized model int6+lzma: 15000000 bytes\nCode size: 50000 bytes\nTotal submission size: 15050000 bytes\n"
    )
    assert [size.size_bytes for size in log.sizes if size.kind == "total"] == [15_050_000]


def test_raw_and_compressed_code_are_told_apart() -> None:
    sizes = [(size.kind, size.label, size.size_bytes) for size in one(MODULAR).sizes if size.kind.startswith("code")]
    assert sizes == [("code", "raw", 52_734), ("code_compressed", "lzma", 14_308), ("code", "", 17_947)]


@pytest.mark.parametrize(
    ("line", "kind", "size"),
    [
        ("Total submission size mixed_int5_int6+brotli: 16026102 bytes", "total", 16_026_102),
        ("Artifact: 15,143,381 bytes (14.44 MB)", "total", 15_143_381),
        ("Total submission size int6+zlib(level=9): 14202629 bytes", "total", 14_202_629),
        ("FITS: 15988916 <= 16,000,000", "total", 15_988_916),
        ("Saved compressed model: 13225782 bytes (12.61 MB)", "model", 13_225_782),
        ("  Compressed: 8,832,241 bytes", "model", 8_832_241),
        ("FINAL_SUBMISSION_BYTES:15429019", "total", 15_429_019),
        ("budget:15995705/16000000 (16.00/16.00MB) FITS", "total", 15_995_705),
        ("model:15590845 code:91705 total:15682550 (15.68 MB)", "total", 15_682_550),
        ("artifact: 15567435B model + 51283B code = 15618718B (compression:1.75x)", "total", 15_618_718),
        ("compressed_blob_bytes:13802175 code_bytes:59488 total:13861663", "total", 13_861_663),
        ("Code size (uncompressed): 121884 bytes", "code", 121_884),
        ("Code size (compressed): 27310 bytes", "code_compressed", 27_310),
    ],
)
def test_spellings_of_sizes(line: str, kind: str, size: int) -> None:
    assert size in [item.size_bytes for item in one(line + "\n").sizes if item.kind == kind]


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("Total submission size quantized+brotli: 15995184 bytes", ["total"]),
        ("Code size (compressed): 27310 bytes", ["code_compressed"]),
        ("Serialized model quantized+brotli: 15977237 bytes", ["model"]),
        ("Serialized model int8+zlib: 15507603 bytes (payload:18118784 raw_torch:18146818)", ["model"]),
        ("Serialized model: 106449565 bytes Code: 81709 bytes", ["model_raw", "code"]),
        ("quantized val_loss:2.0 val_bpb:1.0", []),
    ],
)
def test_a_line_states_each_size_once(line: str, kinds: list[str]) -> None:
    assert [size.kind for size in one(line + "\n").sizes] == kinds


def run_of(text: str) -> RunLog:
    (run,) = read_log("train.log", text.encode())
    return run


def test_sizes_on_lines_of_their_own() -> None:
    run = run_of("model:106181533B\ncode:94053B\nq:15822128B\ntotal:15916181B\nttt vl:0.7279 bpb:0.4311 t:477652ms\n")
    assert [(size.kind, size.size_bytes) for size in run.sizes] == [
        ("code", 94053),
        ("model", 15822128),
        ("total", 15916181),
    ]


@pytest.mark.parametrize(
    ("line", "sizes"),
    [
        (
            "quant_int8+zstd22: artifact=12046467 code=63971 total=12110438 ratio=3.80x",
            {"model": 12046467, "code": 63971, "total": 12110438},
        ),
        ("quant: artifact=12110438 code=63971", {}),  # with or without the code? the line does not say
        ("serialized_model_int8_zlib:12339367 bytes (payload:17551040 raw_pickle:17564141)", {"model": 12339367}),
        (
            "final_roundtrip model_bytes:11125178 code_bytes:64664 total_bytes:11189842 val_bpb:1.2271",
            {"model": 11125178, "code": 64664, "total": 11189842},
        ),
        ("mix progress tokens:6657024 bytes:24298727 mix_bpb:0.8308", {}),
    ],
)
def test_sizes_on_one_line(line: str, sizes: dict[str, int]) -> None:
    assert {size.kind: size.size_bytes for size in run_of(f"seed:1\n{line}\n").sizes} == sizes


def test_a_training_clock_called_t_and_one_that_only_validations_print() -> None:
    short = run_of("step:4450/6000 loss:3.3663 t:3599800ms step:911ms\n")
    assert short.train_seconds == 3599.8
    validated = run_of("step:10/20 train_loss:3.3\nstep:20/20 val_loss:2.9 val_bpb:1.14 train_time:7763355ms\n")
    assert validated.train_seconds == 7763.355
    evaluated = run_of("step:10/20 train_loss:3.3\nsliding val_loss:2.9 val_bpb:1.14 t:900000ms\n")
    assert evaluated.train_seconds is None


@pytest.mark.parametrize(
    ("line", "seed"),
    [
        ("seed:2884431328", 2884431328),
        ("train.seed                = 42", 42),
        ("=== RUN 1 (seed=1337) ===", 1337),
        ("test.seed = 42", None),
    ],
)
def test_spellings_of_seeds(line: str, seed: int | None) -> None:
    assert run_of(f"{line}\nfinal val_loss:2.0 val_bpb:1.2\n").seed == seed


def test_phases_are_sheeted_once() -> None:
    phases = [(phase.kind, phase.seconds) for phase in one(MODULAR).phases]
    assert phases == [("adapt", 85.2), ("hessians", 12.7), ("eval", 18.632), ("eval", 112.084)]


def test_a_pass_that_is_printed_twice_is_one_phase() -> None:
    log = one(
        "ttt_sliding:done val_loss=1.89064359 val_bpb=1.11900566 elapsed=419.3s\n"
        "legal_ttt val_loss:1.8906 val_bpb:1.1190 eval_time:419271ms\n"
        "legal_ttt_exact val_loss:1.89064359 val_bpb:1.11900566\n"
        "final val_loss:1.9106 val_bpb:1.1320 eval_time:419271ms\n"
    )
    assert [phase.seconds for phase in log.phases if phase.kind == "eval"] == [419.3, 419.271]


@pytest.mark.parametrize(
    ("line", "label", "loss", "bpb"),
    [
        (
            "legal_ttt_exact val_loss:2.79517119 val_bpb:1.08209788 eval_time:293430ms",
            "legal_ttt_exact",
            2.79517119,
            1.08209788,
        ),
        ("final_int8_zlib_roundtrip_exact val_bpb:1.19492542", "final_int8_zlib_roundtrip_exact", None, 1.19492542),
        ("q_sw vl:1.9226 bpb:1.1387 s:64 t:94699ms", "q_sw", 1.9226, 1.1387),
        ("val_loss: 2.773728  val_bpb: 1.073801  time: 410.7s", "", 2.773728, 1.073801),
        ("  Quantized BPB (no XSA): 1.007202", "Quantized (no XSA)", None, 1.007202),
        (
            "ppm_full_native tokens=40540160 mix_bpb=1.00425333 gate=0.15",
            "ppm_full_native tokens=40540160 mix_bpb",
            None,
            1.00425333,
        ),
        ("Submission:   val_bpb = 1.09650932", "Submission", None, 1.09650932),
    ],
)
def test_spellings_of_scores(line: str, label: str, loss: float | None, bpb: float) -> None:
    (metric,) = one(line + "\n").final_metrics
    assert (metric.label, metric.val_loss, metric.val_bpb) == (label, loss, bpb)


@pytest.mark.parametrize(
    "line",
    [
        "  ttt_chunk [1/1893] bpb=1.158340 time=0.5s",
        "sliding_eval [ 10.6%] 12832/121136 windows running_bpb=1.162498",
        "prequant_ttt:epoch 1/21 val_bpb=1.084913 lr=0.000500 time=60.3s",
        "tc[1861/1893]bpb=0.433449 t=469.3s",
    ],
)
def test_running_values_are_no_final_scores(line: str) -> None:
    log = one(line + "\n")
    assert log.final_metrics == ()
    assert [metric.running for metric in log.metrics] == [True]


@pytest.mark.parametrize(
    "word", ["delta_bpb=-0.00165387", "gain_bpb=0.0031", "val_bpb:enabled tokenizer_kind=x", "bpb:inf"]
)
def test_what_is_no_score(word: str) -> None:
    assert [line for line in one(f"note {word}\n").metrics if line.val_bpb is not None] == []


def test_only_the_last_running_value_of_a_kind_stays() -> None:
    log = one("".join(f"ttt_chunk [{chunk}/900] bpb=1.1{chunk:03d} time=1s\n" for chunk in range(1, 900)))
    assert [metric.bpb_text for metric in log.metrics] == ["1.1899"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: f"[rank0]: {line}",
        lambda line: f"[default0]:{line}",
        lambda line: f"2026-04-01 12:00:00,123 {line}",
        lambda line: f"[2026-04-01T12:00:00Z] INFO: {line}",
        lambda line: f"\x1b[32m{line}\x1b[0m",
        lambda line: f"eval 10%\reval 90%\r{line}",
        lambda line: line + "\r",
        lambda line: f"[modal] {line}",
    ],
)
def test_prefixes_escapes_and_carriage_returns(wrap: object) -> None:
    line = "final val_loss:2.07269931 val_bpb:1.22757938 eval_time:1401ms"
    assert scores(one(wrap(line) + "\n")) == [("final", 1.22757938)]  # type: ignore[operator]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(encoding: str) -> None:
    (log,) = read_log("train.log", BASELINE.encode(encoding))
    assert log.seed == 1337 and scores(log)[-1][1] == 1.22757938


SOURCE = 'import torch\n\n\ndef main():\n    log(f"final val_loss:9.9 val_bpb:0.5")\n    seed = 7\n'


@pytest.mark.parametrize(
    "head",
    [
        SOURCE + "=" * 100 + "\nRunning Python 3.12.3\n" + "=" * 100 + "\n",
        "=" * 100 + "\nSource code:\n" + "=" * 100 + "\n" + SOURCE + "=" * 100 + "\nRunning Python 3.12.3\n",
    ],
)
def test_embedded_source_is_taken_out_before_numbers_are_read(head: str) -> None:
    log = one(head + BASELINE)
    assert log.embedded_source is not None
    assert log.embedded_source.strip() == SOURCE.strip()
    assert (log.seed, scores(log)[-1][1]) == (1337, 1.22757938)
    assert not log.embedded_source_damaged


def test_a_source_whose_beginning_two_writers_overwrote() -> None:
    damaged = "import torseed:1337\ntrain_loader:dataset:x train_shards:80\nch\n" + SOURCE.partition("\n")[2]
    log = one(damaged + "=" * 100 + "\nRunning Python 3.12.3\n" + BASELINE.replace("seed:1337\n", ""))
    assert log.embedded_source_damaged
    assert log.embedded_source is not None and "def main" in log.embedded_source
    assert log.train_shards == 80


def test_two_runs_appended_to_one_file() -> None:
    other = BASELINE.replace("seed:1337", "seed:42").replace("1.22757938", "1.22800000")
    first, second = read_log("train.log", (BASELINE + other).encode())
    assert (first.seed, second.seed) == (1337, 42)
    assert (scores(first)[-1][1], scores(second)[-1][1]) == (1.22757938, 1.228)


def test_a_log_that_stands_twice_in_one_file_is_one_run() -> None:
    assert len(read_log("train.log", (BASELINE + BASELINE).encode())) == 1


def test_copies_printed_by_several_ranks_are_one_line() -> None:
    line = "final val_loss:2.07269931 val_bpb:1.22757938"
    assert len(one("".join(f"[rank{rank}]: {line}\n" for rank in range(8))).metrics) == 1


@pytest.mark.parametrize(
    ("path", "seed"),
    [
        ("a/train_seed42.log", 42),
        ("logs/run_s2025.txt", 2025),
        ("seed1337/train.log", 1337),
        ("train_1337.log", 1337),
        ("2026-04-01_step5000/train.log", None),
        ("train_v3.txt", None),
    ],
)
def test_seeds_in_names(path: str, seed: int | None) -> None:
    assert seed_in_name(path) == seed


def test_the_step_count_of_a_stop_line_is_no_seed() -> None:
    assert one("stop tt:600028ms s:4648/20000\n").seed is None
