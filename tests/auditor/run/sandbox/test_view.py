"""What a run can see: prefixes of interpreters, binds that would uncover something."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.run.model import MIB, Bind, NoConfinementError
from auditor.run.sandbox.view import Mount, view_of


def mounts_for(command: Path, scaffold: Path, *binds: Bind) -> list[Mount]:
    return view_of((str(command), "-V"), binds, MIB, scaffold)


def an_interpreter(prefix: Path) -> Path:
    """A prefix with the parts of an interpreter; the path of its executable."""
    for part in ("bin", "lib/python3.12", "include"):
        (prefix / part).mkdir(parents=True)
    (prefix / "bin" / "python3.12").write_text("")
    return prefix / "bin" / "python3.12"


def test_virtual_environment_brings_its_base_and_the_links_between(tmp_path: Path) -> None:
    base = an_interpreter(tmp_path / "home" / ".pyenv" / "versions" / "3.12.1")
    (tmp_path / "home" / "shim").mkdir()
    venv = tmp_path / "project" / ".venv"
    an_interpreter(venv).unlink()
    (venv / "bin" / "python3.12").symlink_to(base)
    (venv / "bin" / "python").symlink_to("python3.12")
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    targets = {mount.target for mount in mounts_for(venv / "bin" / "python", tmp_path)}
    assert {f"{venv}/lib", f"{venv}/pyvenv.cfg", f"{base.parent}", f"{base.parent.parent}/lib"} <= targets


def test_prefix_that_is_a_home_shows_only_the_interpreter(tmp_path: Path) -> None:
    """Forbidden: ~/bin/python makes the whole home visible."""
    home = tmp_path / "home"
    executable = an_interpreter(home)
    (home / ".ssh").mkdir()
    (home / "notes.txt").write_text("")
    targets = {mount.target for mount in mounts_for(executable, tmp_path)}
    assert f"{home}/lib" in targets
    assert not {str(home), f"{home}/.ssh", f"{home}/notes.txt"} & targets


@pytest.mark.parametrize(
    "target", ["/", "/proc", "/proc/1", "/etc/passwd", "/dev/shm", "/usr/lib", "/x/../etc", "data"]
)
def test_binds_cannot_uncover(target: str, tmp_path: Path) -> None:
    with pytest.raises(NoConfinementError):
        mounts_for(an_interpreter(tmp_path / "p"), tmp_path, Bind(tmp_path, target))


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoConfinementError, match=r"nowhere.*does not exist"):
        mounts_for(an_interpreter(tmp_path / "p"), tmp_path, Bind(tmp_path / "nowhere", "/audit/data"))


def test_only_scratch_and_writable_binds_can_be_written(tmp_path: Path) -> None:
    binds = (Bind(tmp_path, "/audit/data"), Bind(tmp_path, "/work/repo/records/track/submission", writable=True))
    writable = {
        mount.target for mount in mounts_for(an_interpreter(tmp_path / "p"), tmp_path, *binds) if mount.writable
    }
    assert writable == {"/tmp", "/dev/shm", "/work/repo/records/track/submission"}
