"""A tracking store that is new, busy, away or elsewhere loses no run, and shows them all once it is back."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from runs_fixtures import SMALL, command, composed, trained
from tracked_runs import shown_in

from mlpexp.config import Config, Tracking
from mlpexp.illustration import illustrate
from mlpexp.runner import run
from mlpexp.tracking import Store, show_runs
from mlpexp.tracking_database import store_uri


def test_two_processes_may_open_one_new_store_at_the_same_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mlpexp.config import Tracking;"
        "from mlpexp.tracking import Store;"
        "Store(Tracking(experiment=sys.argv[2]), Path(sys.argv[1])).open()"
    )
    words = [sys.executable, "-W", "error::UserWarning", "-c", program, str(tmp_path)]
    processes = [
        subprocess.Popen([*words, experiment], stderr=subprocess.PIPE, text=True) for experiment in ("one", "two")
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    names = {e.name for e in MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}").search_experiments()}
    assert names >= {"one", "two"}


def away(outputs: Path, uri: str) -> Config:
    return composed("tracking=mlflow", f"tracking.uri={uri}", f"outputs={outputs}", "measurements=none")


def test_a_store_that_is_away_loses_nothing_and_tells_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (result,) = run(away(tmp_path, "http://ann:s3cret@127.0.0.1:9"))
    assert result.status == "finished"
    said = capsys.readouterr().err
    assert "MLflow was not reached" in said
    assert "the same command shows them once the store is back" in said
    assert "s3cret" not in said


def test_the_same_command_shows_the_runs_once_the_store_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "not yet a folder"
    place.write_text("in the way")
    uri = f"sqlite:///{place / 'mlflow.db'}"
    (first,) = run(away(tmp_path, uri))
    assert "MLflow was not reached" in capsys.readouterr().err
    place.unlink()
    place.mkdir()
    trained_at = (first.folder / "final.safetensors").stat().st_mtime_ns
    run(away(tmp_path, uri), quiet=True)
    assert [shown.data.tags["mlpexp.fingerprint"] for shown in shown_in(place).values()] == [first.fingerprint]
    assert (first.folder / "final.safetensors").stat().st_mtime_ns == trained_at


def test_a_locked_store_is_waited_for_once_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlpexp.bulk_tracking.LOCK_SECONDS", 1.0)
    Store(Tracking(), tmp_path).open()
    points = [composed("tracking=mlflow", f"outputs={tmp_path}", "measurements=none", f"seed={i}") for i in range(6)]
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert len(run(points)) == 6
        assert time.monotonic() - began < 6
        other.execute("ROLLBACK")
    assert "the same command shows them once the store is back" in capsys.readouterr().err
    run(points, quiet=True)
    assert len(shown_in(tmp_path)) == 6


def test_a_deleted_experiment_comes_back(tmp_path: Path) -> None:
    tracking = Tracking(experiment="deleted")
    Store(tracking, tmp_path).open()
    client = MlflowClient(tracking_uri=store_uri(tracking, tmp_path))
    found = client.get_experiment_by_name("deleted")
    assert found is not None
    client.delete_experiment(found.experiment_id)
    (result,) = trained()
    illustrate([result])
    show_runs([result], tracking, tmp_path)
    assert len(shown_in(tmp_path, "deleted")) == 1


def test_a_new_experiment_needs_no_default_one(tmp_path: Path) -> None:
    """MLflow's own experiment, which stays empty, may have been deleted before mlpexp came."""
    client = MlflowClient(tracking_uri=store_uri(Tracking(), tmp_path))
    client.delete_experiment("0")
    Store(Tracking(), tmp_path).open()
    assert [found.name for found in client.search_experiments()] == ["mlpexp"]


def test_the_store_is_below_outputs_wherever_the_command_runs(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = command("train", *SMALL, "tracking=mlflow", "outputs=../there", "measurements=none", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert len(shown_in(tmp_path / "there")) == 1
    assert list((tmp_path / "here").iterdir()) == []
