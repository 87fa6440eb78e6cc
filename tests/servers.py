"""Real servers for tests, on loopback: PostgreSQL from the system's packages, MLflow's own."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlpexp.dashboard import command, environment, free_port


def _binaries() -> Path | None:
    """Where the newest PostgreSQL has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(p) for p in [shutil.which("initdb")] if p]
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URI of an empty database `test` of a server of its own; skips where PostgreSQL is not installed."""
    programs = _binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg2", reason="pip install 'mlpexp[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))  # a socket's path must be short
    user = pwd.getpwnam("postgres").pw_name if os.getuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)

    def call(program: str, *words: str) -> None:
        done = subprocess.run(
            [programs / program, *words], user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    port = str(free_port())
    call("initdb", "-D", "data", "-U", "test", "-A", "trust", "-N", "-E", "UTF8")
    call(
        "pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1", "start"
    )
    try:
        call("createdb", "-h", "127.0.0.1", "-p", port, "-U", "test", "test")
        yield f"postgresql+psycopg2://test@127.0.0.1:{port}/test"
    finally:
        call("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow_server(folder: Path, database: Path | None = None) -> Iterator[str]:
    """The address of an MLflow server, with a database of its own in this folder unless one is given."""
    port = free_port()
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            command(database or folder / "server.db", port), env=environment(), cwd=folder, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=5).close()
                    break
                except OSError:
                    log.flush()
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError((folder / "server.log").read_text()) from None
                    time.sleep(0.2)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=20)
