"""Finished runs straight into MLflow's SQLite tables: a batch of runs is one transaction.

Flow: projection → **bulk_tracking** → the tracking database. Only for the layout of tables that `LAYOUT` names; any
other store is written by MLflow's own calls, and tests/test_bulk_tracking.py compares what MLflow reads back of both.
"""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

from mlpexp.projection import Point, Projection, artifacts, project, version_of
from mlpexp.results import Result
from mlpexp.run_note import NOTE, filled

LAYOUT = "dc11669786a5"
"""The revision of MLflow 3.17's tables, as alembic names it."""

LOCK_SECONDS = 60.0
"""How long a store that another process has locked is waited for."""

INSERT = {
    "runs": (
        "run_uuid name source_type source_name entry_point_name user_id status start_time end_time source_version "
        "lifecycle_stage artifact_uri experiment_id"
    ),
    "tags": "key value run_uuid",
    "params": "key value run_uuid",
    "metrics": "key value timestamp step is_nan run_uuid",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
    "inputs": "input_uuid source_type source_id destination_type destination_id",
    "input_tags": "input_uuid name value",
}
"""Columns of each table, in the order in which rows are made."""

Rows = dict[str, list[tuple[object, ...]]]


class BulkWriter:
    """Writes runs into one experiment of an SQLite store."""

    def __init__(self, database: str, experiment: str, artifacts: Path) -> None:
        self.database, self.experiment, self.artifacts = database, int(experiment), artifacts
        self.datasets: dict[tuple[str, str], str] = {}

    @classmethod
    def of(cls, uri: str, experiment: str, artifacts: str) -> Self | None:
        """None where the store is no SQLite database of the known layout."""
        if not uri.startswith("sqlite:///") or "://" in artifacts.removeprefix("file://"):
            return None
        database = uri.removeprefix("sqlite:///")
        try:
            with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
                found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.Error:
            return None
        return cls(database, experiment, Path(artifacts.removeprefix("file://"))) if found == [(LAYOUT,)] else None

    def write(self, results: Sequence[Result], sweep: str | None = None) -> list[str]:
        """All runs or none; their ids. Files are copied first, so a run that is there is whole."""
        ids = [uuid.uuid4().hex for _ in results]
        rows: Rows = {table: [] for table in INSERT}
        with closing(sqlite3.connect(self.database, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
            projections = [project(result, sweep) for result in results]
            for run_id, result, shown in zip(ids, results, projections, strict=True):
                place = self.artifacts / run_id / "artifacts"
                for name, file in artifacts(result).items():
                    (place / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, place / name)
                self._add(rows, run_id, shown, str(place), version_of(result))
            connection.execute("BEGIN IMMEDIATE")
            for run_id, shown in zip(ids, projections, strict=True):
                dataset, used = self._dataset(connection, shown.dataset), uuid.uuid4().hex
                rows["inputs"].append((used, "DATASET", dataset, "RUN", run_id))
                rows["input_tags"].append((used, "mlflow.data.context", "training"))
            for table, names in INSERT.items():
                columns = names.split()
                marks = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows[table])
            connection.execute("COMMIT")
        return ids

    def _add(self, rows: Rows, run_id: str, shown: Projection, place: str, version: str) -> None:
        head = (run_id, shown.name, "UNKNOWN", "", "", "unknown", "FINISHED", shown.start, shown.end, "", "active")
        rows["runs"].append((*head, place, self.experiment))
        tags = shown.tags | {"mlflow.runName": shown.name, "mlpexp.tracked": version}
        tags[NOTE] = filled(tags[NOTE], str(self.experiment), run_id)
        rows["tags"] += [(key, value, run_id) for key, value in tags.items()]
        rows["params"] += [(key, value, run_id) for key, value in shown.params.items()]
        rows["metrics"] += [(*one, False, run_id) for one in shown.points]
        rows["latest_metrics"] += [(*one, False, run_id) for one in latest(shown.points)]

    def _dataset(self, connection: sqlite3.Connection, dataset: dict[str, str]) -> str:
        """The id of a data set in this experiment, which gets a row where it has none."""
        key = dataset["name"], dataset["digest"]
        if key not in self.datasets:
            where = "experiment_id = ? AND name = ? AND digest = ?"
            query = f"SELECT dataset_uuid FROM datasets WHERE {where}"
            found = connection.execute(query, (self.experiment, *key)).fetchone()
            if found is None:
                found = (uuid.uuid4().hex,)
                connection.execute(
                    "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, "
                    "dataset_source, dataset_profile) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*found, self.experiment, *key, dataset["source_type"], dataset["source"], dataset["profile"]),
                )
            self.datasets[key] = str(found[0])
        return self.datasets[key]


def latest(points: Sequence[Point]) -> Iterator[Point]:
    """Of each metric the point that MLflow calls its latest: by step, then timestamp, then value."""
    found: dict[str, Point] = {}
    for point in points:
        known = found.get(point.key)
        if known is None or (point.step, point.timestamp, point.value) > (known.step, known.timestamp, known.value):
            found[point.key] = point
    yield from found.values()
