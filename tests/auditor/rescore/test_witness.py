"""An example's artifact is really evaluated again: confined, by its own switch, cut out, and by the reference."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentencepiece")

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
    for name, content in example_folder().items():
        (tmp_path / name).write_text(content)
    report = rescored(tmp_path, RescoreOptions(retrain=True, seed=1))
    (training,) = report.training
    assert (training.scale, training.failure) == (Scale.TOY, "")
    assert training.compared > 0
    assert training.repeated == training.compared  # from its artifact alone
    assert any("torchrun" in reason for reason in report.reasons)
