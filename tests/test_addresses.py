"""Where a browser finds what was trained."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs_fixtures import trained

from mlpexp import addresses
from mlpexp.config import Tracking
from mlpexp.results import Result
from mlpexp.shown import Shown

STORE = Tracking()
REMOTE = Tracking(uri="http://me:secret@mlflow.lab:5000/")


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


@pytest.fixture(scope="module")
def runs() -> list[Result]:
    found = trained("replicates=2")
    for one in found:
        Shown("sqlite:///somewhere.db 7 170000", "1", f"id-{one.config.seed}", ["3fa2"]).write(one)
    return found


def test_a_dashboard_that_serves_these_outputs_now_is_linked(tmp_path: Path, listener: int, runs: list[Result]) -> None:
    addresses.keep(tmp_path, listener, f"http://127.0.0.1:{listener}/start")
    begin = f"http://127.0.0.1:{listener}/start#/experiments/7/runs"
    assert addresses.address(runs[:1], STORE, tmp_path) == f"{begin}/id-0?workflowType=machine_learning"
    assert (addresses.address(runs, STORE, tmp_path, "3fa2") or "").startswith(
        f"{begin}?viewStateShareKey=curves-3fa2&"
    )
    point = addresses.address(runs, STORE, tmp_path) or ""
    assert runs[0].config.point() in point
    assert addresses.last_port(tmp_path) == 0, "somebody listens there"


def test_a_dashboard_that_has_ended_is_not_linked_and_its_port_is_taken_again(
    tmp_path: Path, listener: int, runs: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses.keep(tmp_path, listener, "http://127.0.0.1/start")
    monkeypatch.setattr("psutil.pid_exists", lambda process: process != os.getpid())
    assert addresses.address(runs, STORE, tmp_path) is None
    monkeypatch.undo()
    with socket.socket() as ended:
        ended.bind(("127.0.0.1", 0))
        free = int(ended.getsockname()[1])
    addresses.keep(tmp_path, free, "http://127.0.0.1/start")
    assert addresses.address(runs, STORE, tmp_path) is None
    assert addresses.last_port(tmp_path) == free


def test_a_tracking_server_is_linked_without_its_password(tmp_path: Path, runs: list[Result]) -> None:
    found = addresses.address(runs, REMOTE, tmp_path, "3fa2") or ""
    assert found.startswith("http://")
    assert "secret" not in found
    assert "mlflow.lab:5000/#/experiments/7/runs?viewStateShareKey=curves-3fa2&" in found


def test_where_nothing_is_known_nothing_is_said(tmp_path: Path, runs: list[Result]) -> None:
    assert addresses.address(runs, STORE, tmp_path) is None
    (tmp_path / addresses.DASHBOARD).write_text("{")
    assert addresses.address(runs, STORE, tmp_path) is None
    assert addresses.address(runs, Tracking(uri="sqlite:////elsewhere.db"), tmp_path) is None
    assert addresses.address(trained("seed=5"), REMOTE, tmp_path) is None
