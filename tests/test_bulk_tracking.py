"""The quick way into SQLite: MLflow reads the same as of its own calls, and a batch arrives whole or not at all."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from runs_fixtures import trained
from tracked_runs import DIVERGED, shown_in

from mlpexp.bulk_tracking import BulkWriter
from mlpexp.config import Tracking
from mlpexp.projection import Projection, project
from mlpexp.results import Result
from mlpexp.shown import SHOWN
from mlpexp.tracking import Store


def told(client: MlflowClient, experiment: str) -> dict[str, dict[str, object]]:
    """All that MLflow says of each run of an experiment, without ids and places, by name."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    content = {}
    for one in client.search_runs([found.experiment_id]):
        info, data = one.info, one.data
        history = {
            key: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(info.run_id, key))
            for key in data.metrics
        }
        assert one.inputs is not None
        inputs = [(d.dataset.to_dictionary(), [(t.key, t.value) for t in d.tags]) for d in one.inputs.dataset_inputs]
        files = sorted(file.path for file in client.list_artifacts(info.run_id))
        facts = (info.status, info.start_time, info.end_time, info.lifecycle_stage, info.user_id, info.run_name)
        tags = {key: value.replace(info.run_id, "its id") for key, value in data.tags.items()}  # it is in its note
        known = {"facts": facts, "tags": tags, "params": data.params, "latest": data.metrics}
        content[str(info.run_name)] = known | {"history": history, "inputs": inputs, "files": files}
    return content


def test_mlflow_reads_the_same_of_runs_written_at_once_and_by_its_own_calls(tmp_path: Path) -> None:
    outputs = [tmp_path / "bulk", tmp_path / "calls"]
    results = [*trained("replicates=2", "model.depth=3"), *trained(*DIVERGED)]
    stores = [Store(Tracking(), folder) for folder in outputs]
    for store in stores:
        store.open()
    assert stores[0].bulk is not None
    stores[1].bulk = None
    clients = []
    for store in stores:
        for result in results:
            (result.folder / SHOWN).unlink(missing_ok=True)
        store.show(results, "a-sweep")
        assert store.client is not None
        clients.append(store.client)
    bulk, calls = (told(client, "mlpexp") for client in clients)
    assert len(bulk) == 3
    assert bulk == calls


def test_tables_of_another_layout_are_written_by_mlflows_own_calls(tmp_path: Path) -> None:
    Store(Tracking(), tmp_path).open()
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'another'")
    assert BulkWriter.of(f"sqlite:///{database}", "0", str(tmp_path)) is None
    assert BulkWriter.of("postgresql+psycopg2://somewhere/x", "0", str(tmp_path)) is None
    assert BulkWriter.of(f"sqlite:///{tmp_path / 'none.db'}", "0", str(tmp_path)) is None


def test_a_batch_that_fails_under_way_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Tracking(), tmp_path)
    store.open()
    assert store.bulk is not None
    first, second = trained("replicates=2")

    def one_is_refused(result: Result, sweep: str | None) -> Projection:
        shown = project(result, sweep)
        return shown if result is first else replace(shown, points=shown.points[:1] * 2)

    monkeypatch.setattr("mlpexp.bulk_tracking.project", one_is_refused)
    with pytest.raises(sqlite3.IntegrityError):
        store.bulk.write([first, second])
    assert shown_in(tmp_path) == {}
