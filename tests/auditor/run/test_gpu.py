"""A run on a graphics card: what is asked of the machine, what the sandbox shows, which stand-ins stay away.

No card is needed here, and none is used: that CUDA itself works in the sandbox, these tests do not show.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from auditor.cli import main
from auditor.configuration import RunConfiguration
from auditor.record.model import Record, Statement
from auditor.run.gpu import REPLACED_BY_CARD, NoCardError, card_devices, with_card
from auditor.run.model import MIB, Confinement, Size
from auditor.run.sandbox.view import view_of
from auditor.run.sources import Uniform
from auditor.run.stage import Prepared, prepare
from tests.auditor.run.stage.submissions import submission

SCRIPT = 'import torch\nx = torch.zeros(2, device="cuda")\n'


def staged(work: Path, *devices: str) -> Prepared:
    size = Size(validation_tokens=1024, training_tokens=2048)
    settings, record = RunConfiguration(), Record(Statement(), ())
    return prepare(
        submission(SCRIPT), settings, record, source=Uniform(), size=size, seed=7, work=work, devices=devices
    )


def test_a_machine_without_the_drivers_files_has_no_card(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").write_text("a file, not a device")
    with pytest.raises(NoCardError, match="no NVIDIA card"):
        card_devices(tmp_path)


def test_the_first_card_and_what_the_driver_needs_are_found(tmp_path: Path) -> None:
    for name in ("nvidiactl", "nvidia0", "nvidia1", "nvidia-uvm"):
        (tmp_path / name).symlink_to("/dev/null")
    assert [Path(path).name for path in card_devices(tmp_path)] == ["nvidiactl", "nvidia-uvm", "nvidia0"]


def test_the_sandbox_shows_the_devices_of_the_job_and_no_other(tmp_path: Path) -> None:
    shown = view_of(("/usr/bin/python3", "-V"), (), MIB, tmp_path, ("/dev/nvidia0",))
    hidden = view_of(("/usr/bin/python3", "-V"), (), MIB, tmp_path)
    assert [mount.target for mount in shown if mount.kind == "device" and mount not in hidden] == ["/dev/nvidia0"]


def test_cuda_is_left_to_the_card_and_nothing_else_is(tmp_path: Path) -> None:
    with_devices = staged(tmp_path, "/dev/nvidia0").stage
    spec = json.loads((tmp_path / "spec.json").read_text())
    assert set(spec["left_out"]) == REPLACED_BY_CARD
    assert with_devices.job.devices == ("/dev/nvidia0",)
    assert with_devices.job.limits.address_space_bytes == 0
    assert any("graphics card" in note for note in with_devices.notes)


def test_without_a_card_every_stand_in_is_there(tmp_path: Path) -> None:
    job = staged(tmp_path).stage.job
    assert json.loads((tmp_path / "spec.json").read_text())["left_out"] == []
    assert job.devices == ()
    assert job.limits.address_space_bytes > 0
    assert "CUDA_VISIBLE_DEVICES" not in job.environment


def test_the_report_says_that_the_driver_is_not_covered() -> None:
    assert "driver" in with_card(Confinement("bubblewrap", (), ())).not_covered[-1]


def test_asking_for_a_card_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--device", "cuda"]) == 2
    assert "--device needs --run" in capsys.readouterr().err


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a card")  # noqa: PTH110
def test_without_a_card_the_run_is_not_heard_and_the_rest_of_the_audit_is(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    main(["examples/legal_sliding_window", "--run", "--device", "cuda"])
    assert "not heard: run: --device cuda: this machine has no NVIDIA card" in capsys.readouterr().out
