"""An example's artifact is really evaluated again: confined, by its own switch, cut out, and by the reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentencepiece")

from auditor.cli import main
from auditor.configuration import derive_configuration
from auditor.record import read_record
from auditor.rescore.model import RescoreReport, Scale, Way
from auditor.rescore.witness import NotRescoredError, RescoreOptions, rescore_witness
from auditor.run.model import NoConfinementError
from auditor.run.sandbox import find_confinement
from auditor.submission import load_folder
from rules.base import ValidationText
from rules.example import example_folder

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EXAMPLE = EXAMPLES / "legal_sliding_window"
CLAIMED = "quantized_sliding_window"
SEEDS = (42, 314, 999)  # that the made-up claim names
TEXT = ValidationText("toy", 8_180, official=False)


@pytest.fixture(scope="module")
def sandbox() -> None:
    """Skips where nothing can confine a run."""
    try:
        find_confinement()
    except NoConfinementError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def data(sandbox: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set behind the examples, drawn from its source anew."""
    from benchmarks.rescore.trials import make_data

    folder = tmp_path_factory.mktemp("data")
    make_data(folder, EXAMPLE)
    return folder


def rescored(folder: Path, options: RescoreOptions) -> RescoreReport:
    submission = load_folder(str(folder))
    record = read_record(submission)
    return rescore_witness(submission, derive_configuration(submission, record), record, TEXT, options)


@pytest.mark.parametrize("cut", [False, True])
def test_a_legal_example_repeats_to_the_last_digit(data: Path, cut: bool) -> None:
    report = rescored(EXAMPLE, RescoreOptions(data=data, cut=cut))
    replay, independent = report.replay, report.independent
    assert replay is not None and independent is not None
    assert replay.failure == ""
    assert replay.way is (Way.CUT if cut else Way.SWITCH)
    assert report.text.canonical
    assert [pair.label for pair in replay.pairs if pair.carries_claim] == [CLAIMED]
    assert all(pair.exact for pair in replay.pairs), [
        (p.logged.bpb_text, p.replayed.score.bpb_text) for p in replay.pairs
    ]
    score = independent.score("sliding window")
    assert score is not None and replay.claimed is not None
    assert f"{score.val_bpb:.8f}" == replay.claimed.replayed.score.bpb_text
    assert independent.future is not None and independent.future < 1e-3


def test_another_artifact_gives_another_score(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "doctored"
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(EXAMPLES / "illegal_prequant_ttt" / "final_model.int6.ptz", folder)
    report = rescored(folder, RescoreOptions(data=data))
    assert report.replay is not None
    difference = next(p.difference_bpb for p in report.replay.pairs if p.label == CLAIMED)
    assert difference is not None and abs(difference) > 0.5
    assert report.artifact is not None and not report.artifact.by_size


def test_a_folder_without_an_artifact_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(EXAMPLE, folder)
    (folder / "final_model.int6.ptz").unlink()
    with pytest.raises(NotRescoredError, match="no artifact"):
        rescored(folder, RescoreOptions())


def test_a_script_without_an_artifact_is_trained_at_toy_size(sandbox: None, tmp_path: Path) -> None:
    """Each claimed seed: the script trains, writes its artifact, and that alone gives its scores again."""
    folder, kept, report = tmp_path / "record", tmp_path / "kept", tmp_path / "report.json"
    folder.mkdir()
    kept.mkdir()
    for name, content in example_folder().items():
        (folder / name).write_text(content)
    arguments = ["--rescore", "--retrain", "--seed", "1", "--keep-logs", str(kept), "--format", "json"]
    assert main([str(folder), *arguments, "--output", str(report)]) in (0, 1, 3)
    rescored = json.loads(report.read_text())["rescore"]
    assert [training["scale"] for training in rescored["training"]] == [Scale.TOY.value] * len(SEEDS)
    assert [training["seed"] for training in rescored["training"]] == list(SEEDS)
    for training in rescored["training"]:
        repeated, compared = training["repeated_from_artifact"]
        assert (training["failure"], repeated) == ("", compared)
        assert compared > 0
        log = (kept / f"retrained_seed{training['seed']}.log").read_text()
        assert "val_bpb" in log
        assert log.endswith(training["log"])
    assert [launch["seed"] for launch in rescored["launches"]] == list(SEEDS)
    assert (kept / "retrain.sh").read_text().count("torchrun") == len(SEEDS)
