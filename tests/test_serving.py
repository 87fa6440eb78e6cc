"""Servers that are started together: what is told where one gives up, and that nothing of them is left."""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpexp.serving import Server, until_ctrl_c

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
    return Server(name, [sys.executable, "-c", "\n".join(("import os, subprocess, sys, time", *lines))], NOWHERE)


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
