"""Servers that are started together: what is told where one gives up, and that nothing of them is left."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlpexp import serving
from mlpexp.serving import Server, end, until_ctrl_c

NOWHERE = "http://127.0.0.1:9/"
"""Where nothing answers: servers are waited for until one of them ends."""


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """As they were before servers took some over."""
    kept = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for name, handler in kept.items():
        signal.signal(name, handler)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go meanwhile."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def server(name: str, *lines: str) -> Server:
    """A program of Python, which is no server at all."""
    return Server(
        name, [sys.executable, "-c", "\n".join(("import os, signal, subprocess, sys, time", *lines))], NOWHERE
    )


def test_who_gave_up_is_told_with_its_own_last_words_while_another_chatters(
    logs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chatting = server("runs", "while True: print('GET /', flush=True); time.sleep(0.01)")
    failing = server("studies", "time.sleep(0.5)", r"os.write(2, b'the caf\xe9 is closed\n')", "sys.exit(3)")
    assert until_ctrl_c([chatting, failing], os.environ) == 1
    told = capfd.readouterr()
    (log,) = logs.iterdir()  # the other's went with it
    assert re.fullmatch(rf"mlpexp-studies-{os.getpid()}-\w+\.log", log.name)
    lines = ["mlpexp: studies has ended by itself, with code 3:", "the caf\ufffd is closed", f"more in {log}"]
    assert told.err.splitlines() == lines
    assert told.out == ""


def test_only_the_end_of_a_long_log_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    failing = server("runs", "for i in range(20000): print('line', i)", "sys.exit('no more')")
    assert until_ctrl_c([failing], os.environ) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[1:-1] == [*(f"line {i}" for i in range(19996, 20000)), "no more"]


def test_no_password_of_a_storage_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    until_ctrl_c([server("studies", "sys.exit('no postgresql://ann:s3cret@host/studies')")], os.environ)
    said = capfd.readouterr().err
    assert "postgresql://ann:***@host/studies" in said
    assert "s3cret" not in said


READY = "open({file!r}, 'w').write(str({who}))"
"""A program says which process is to be looked at."""


def gone(file: Path) -> bool:
    """Whether the process that a file names has ended."""
    process = int(file.read_text())
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def test_the_child_of_a_leader_that_has_ended_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "child"
    sleeper = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
    leader = server("runs", sleeper, READY.format(file=str(file), who="child.pid"))
    began = time.monotonic()
    assert until_ctrl_c([leader], os.environ) == 1
    assert gone(file)
    assert time.monotonic() - began < serving.PATIENCE / 2, "it was waited for although it was gone"


def test_a_server_that_heeds_no_signal_is_killed_and_the_others_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0.5)
    files = [tmp_path / "deaf", tmp_path / "patient"]
    ready = [READY.format(file=str(file), who="os.getpid()") for file in files]
    deaf = server("deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", ready[0], "time.sleep(300)")
    patient = server("patient", ready[1], "time.sleep(300)")
    wait = f"while not all(map(os.path.exists, {[str(file) for file in files]})): time.sleep(0.05)"
    failing = server("failing", wait, "time.sleep(0.5)")
    assert until_ctrl_c([deaf, patient, failing], os.environ) == 1
    assert [gone(file) for file in files] == [True, True]


def test_a_second_ctrl_c_ends_the_patience(tmp_path: Path) -> None:
    deaf = server("deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "print(flush=True)", "time.sleep(300)")
    with subprocess.Popen(deaf.words, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began = time.monotonic()
        try:
            end([process])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        assert time.monotonic() - began < serving.PATIENCE / 2
        assert process.returncode == -signal.SIGKILL


def test_what_nobody_buries_is_not_waited_for() -> None:
    """In a container whose first process reaps no children, an orphan stays a zombie for good."""
    words = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, process_group=0) as leader,
        subprocess.Popen(words, stdin=subprocess.PIPE, process_group=leader.pid, stderr=subprocess.DEVNULL) as orphan,
    ):
        leader.communicate(b"\n")
        orphan.kill()
        began = time.monotonic()
        end([leader])
        assert time.monotonic() - began < serving.PATIENCE / 2
