"""`tracking.uri`: the same runs arrive, once, in an MLflow server and in PostgreSQL as in SQLite."""

from pathlib import Path

from mlflow import MlflowClient
from runs_fixtures import command
from servers import mlflow_server, postgres

from mlpexp.config import Tracking
from mlpexp.gradient_verdict import gradient_verdict
from mlpexp.projection import artifacts, points_of
from mlpexp.results import recorded
from mlpexp.shown import SHOWN
from mlpexp.tracking import show_runs

WORDS = ("executor=serial", "model.depth=2,3", "model.width=4", "training.epochs=2", "replicates=2")


def check_runs_arrive_once(uri: str, folder: Path) -> None:
    """A sweep shows all its runs, whole; asked again, and shown again without what the folders remember, once."""
    words = (*WORDS, f"tracking.uri={uri}", "tracking.experiment=away")
    done = command("sweep", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "MLflow was not reached" not in done.stderr
    assert command("sweep", *words, cwd=folder).returncode == 0
    runs = list(recorded(folder / "outputs"))
    for run in runs[:2]:
        (run.folder / SHOWN).unlink()
    show_runs(runs, Tracking(uri=uri, experiment="away"), folder / "outputs")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("away")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id])
    assert sum("mlpexp.pictures" in s.data.tags for s in everything) == 1
    shown = {f: s for s in everything if (f := s.data.tags.get("mlpexp.fingerprint"))}
    assert len(everything) - 1 == len(shown) == len(runs) == 4
    for run in runs:
        found = shown[run.fingerprint]
        assert found.info.status == "FINISHED"
        assert found.data.params["model.depth"] == str(run.config.model.depth)
        assert found.data.metrics["accuracy/test"] == run.scores["accuracy/test"]
        expected = sorted((m.step, m.value) for m in points_of(run, gradient_verdict([run])) if m.key == "loss/batch")
        history = client.get_metric_history(found.info.run_id, "loss/batch")
        assert sorted((m.step, m.value) for m in history) == expected
        files = {file.path for file in client.list_artifacts(found.info.run_id)}
        assert files == {name.partition("/")[0] for name in artifacts(run)}
    assert not (folder / "mlruns").exists()


def test_an_mlflow_server_is_a_store(tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as address:
        check_runs_arrive_once(address, tmp_path)


def test_postgresql_is_a_store(tmp_path: Path) -> None:
    with postgres() as uri:
        check_runs_arrive_once(uri, tmp_path)
