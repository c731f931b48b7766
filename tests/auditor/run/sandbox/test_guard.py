"""What the guard says of single audit events, without a sandbox and without a hook in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from auditor.run.inside import guard as guard_module
from auditor.run.inside.guard import MAX_DIFFERENT, Guard


def heard(folder: Path, event: str, *arguments: object) -> list[tuple[object, object]]:
    """Kind and words of the records that one event makes."""
    records: list[Mapping[str, object]] = []
    Guard(records.append, str(folder), ("/audit/data/",), report_fd=9)._actions()[event](*arguments)
    return [(record["kind"], record["what"]) for record in records]


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/audit/data/val.bin", "rb", os.O_RDONLY)),
        ("open", ("new.log", "w", os.O_WRONLY | os.O_CREAT)),
        ("open", (os.__file__, "r", os.O_RDONLY)),
        ("open", ("/proc/cpuinfo", "r", os.O_RDONLY)),
        ("open", ("/proc/self/status", "r", os.O_RDONLY)),
        ("open", (3, "r", os.O_RDONLY)),
        ("os.listdir", (".",)),
        ("socket.connect", (None, ("127.0.0.1", 29500))),
        ("socket.connect", (None, ("localhost", 29500))),
        ("socket.bind", (None, ("0.0.0.0", 0))),
        ("socket.getaddrinfo", ("localhost", 80)),
        ("socket.getaddrinfo", (None, 80)),
        ("socket.gethostbyname", (os.uname().nodename,)),
        ("os.remove", ("checkpoint.pt",)),
        ("pickle.find_class", ("collections", "OrderedDict")),
        ("pickle.find_class", ("torch._utils", "_rebuild_tensor_v2")),
        ("pickle.find_class", ("builtins", "abs")),
        ("pickle.find_class", ("posixpath", "getsize")),
        ("ctypes.dlsym", (None, "strlen")),
        ("os.putenv", (b"OMP_NUM_THREADS", b"1")),
        ("fcntl.ioctl", (1, 0x5413)),
        ("object.__setattr__", (len, "__name__", 1)),
        ("gc.get_referrers", (([],),)),
    ],
)
def test_honest_events_make_no_record(
    event: str, arguments: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert heard(tmp_path, event, *arguments) == []


@pytest.mark.parametrize(
    ("event", "arguments", "kind", "words"),
    [
        ("open", ("/data/other.bin", "rb", os.O_RDONLY), "file", "read /data/other.bin"),
        ("open", ("../outside", "w", os.O_WRONLY | os.O_CREAT), "file", "write "),
        ("open", ("/proc/1/mem", "rb", os.O_RDONLY), "guard", "looks into a process"),
        ("open", ("/proc/self/environ", "rb", os.O_RDONLY), "guard", "looks into a process"),
        ("open", (9, "w", os.O_WRONLY), "guard", "opens the report channel"),
        ("socket.connect", (None, ("192.0.2.1", 443)), "network", "network: connects to 192.0.2.1:443"),
        ("socket.connect", (None, "\0abstract"), "guard", "connects to the socket"),
        ("socket.getaddrinfo", (b"huggingface.co", 443), "network", "network: looks up huggingface.co"),
        ("os.kill", (1, 9), "guard", "SIGKILL to process 1"),
        ("os.kill", (4242, 15), "process", "SIGTERM to another process"),
        ("subprocess.Popen", ("gcc", ["gcc", "-O2"]), "process", "gcc -O2"),
        ("os.system", ("curl example.com",), "process", "curl example.com"),
        ("pickle.find_class", ("posix", "system"), "guard", "unpickles posix.system"),
        ("pickle.find_class", ("builtins", "eval"), "guard", "unpickles builtins.eval"),
        ("ctypes.dlsym", (None, "ptrace"), "guard", "looks up ptrace"),
        ("os.putenv", (b"PGOLF_REPORT_FD", b"1"), "guard", "PGOLF_REPORT_FD"),
        (
            "object.__setattr__",
            (Guard.check, "__code__", None),
            "guard",
            "changes __code__ of the auditor's Guard.check",
        ),
        ("cpython._PySys_ClearAuditHooks", (), "guard", "clears Python's audit hooks"),
    ],
)
def test_telling_events_make_one(
    event: str, arguments: tuple[object, ...], kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Guard, "_by_library", lambda self: False)
    ((said_kind, said),) = heard(tmp_path, event, *arguments)
    assert said_kind == kind
    assert words in str(said)


def test_the_library_may_do_what_a_script_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "_by_library", lambda self: True)
    for event, arguments in (("sys.settrace", ()), ("gc.get_objects", (0,)), ("sys._current_frames", ())):
        assert heard(tmp_path, event, *arguments) == []


def test_programs_say_whether_they_run_without_stand_ins(tmp_path: Path) -> None:
    records: list[Mapping[str, object]] = []
    started = Guard(records.append, str(tmp_path))._actions()["subprocess.Popen"]
    started(sys.executable, [sys.executable, "other.py"])
    started(sys.executable, [sys.executable, os.path.dirname(guard_module.__file__) + "/bin/nvidia-smi.py"])  # noqa: PTH120
    started("/usr/bin/nvidia-smi", ["nvidia-smi"])
    assert [(record["python"], record["benign"]) for record in records] == [(True, False), (False, True), (False, True)]


def test_counts_come_at_the_end_and_kinds_are_bounded(tmp_path: Path) -> None:
    records: list[Mapping[str, object]] = []
    guard = Guard(records.append, str(tmp_path))
    attempt = guard._actions()["open"]
    for number in range(3 * MAX_DIFFERENT):
        attempt(f"/nowhere/{number}", "r", 0)
        attempt("/nowhere/0", "r", 0)
    assert len(records) == MAX_DIFFERENT
    guard.finish()
    counts = {str(record["what"]): record["count"] for record in records if record["count"] != 1}
    assert counts["read /nowhere/0"] == 3 * MAX_DIFFERENT + 1
    assert counts[f"more than {MAX_DIFFERENT} different ones"] == 2 * MAX_DIFFERENT


def test_replaced_stand_ins_and_changed_sources_show_at_the_end(tmp_path: Path) -> None:
    class Owner:
        kept = staticmethod(len)
        changed = staticmethod(len)

    script, module = tmp_path / "train_gpt.py", tmp_path / "model.py"
    script.write_text("x = 1")
    module.write_text("x = 1")
    (tmp_path / "train.log").write_text("")
    records: list[Mapping[str, object]] = []
    guard = Guard(records.append, str(tmp_path))
    guard.watch(Owner, "kept")
    guard.watch(Owner, "changed")
    Owner.changed = staticmethod(abs)
    script.write_text("x = 22")
    module.unlink()
    (tmp_path / "train.log").write_text("new")
    guard.finish()
    said = sorted(str(record["what"]) for record in records)
    assert len(said) == 3
    assert "changed is no longer the auditor's" in said[0]
    assert said[1:] == [
        "the submitted model.py was removed during the run",
        "the submitted train_gpt.py was changed during the run",
    ]
    kinds = {str(record["what"]).split()[2]: record["kind"] for record in records if "submitted" in str(record["what"])}
    assert kinds == {"model.py": "guard", "train_gpt.py": "file"}  # the running script's own text has been read


def test_sources_that_are_written_as_they_were_have_not_changed(tmp_path: Path) -> None:
    module, other = tmp_path / "model.py", tmp_path / "other.py"
    module.write_text("x = 1")
    other.write_text("x = 1")
    records: list[Mapping[str, object]] = []
    guard = Guard(records.append, str(tmp_path))
    for path, text in ((module, "x = 1"), (other, "x = 2")):
        path.unlink()
        path.write_text(text)
    guard.finish()
    assert [record["what"] for record in records] == ["the submitted other.py was changed during the run"]


def test_source_replaced_by_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    module = tmp_path / "model.py"
    module.write_text("x = 1")
    records: list[Mapping[str, object]] = []
    guard = Guard(records.append, str(tmp_path))
    module.unlink()
    os.mkfifo(module)
    guard.finish()
    assert [record["what"] for record in records] == ["the submitted model.py was removed during the run"]


def test_wrappers_of_torch_around_a_stand_in_are_no_replacement(tmp_path: Path) -> None:
    import functools
    import types

    module = types.ModuleType("torch")
    module.__dict__["manual_seed"] = len
    records: list[Mapping[str, object]] = []
    guard = Guard(records.append, str(tmp_path))
    guard.watch(module, "manual_seed")

    @functools.wraps(len)
    def wrapper(value: list[int]) -> int:
        return len(value)

    module.__dict__["manual_seed"] = wrapper
    guard.check()
    assert records == []
    module.__dict__["manual_seed"] = abs
    guard.check()
    guard.check()
    assert [record["kind"] for record in records] == ["replaced"]
