"""Recorded runs → MLflow, one flat run for each: a run folder is the record, this its projection.

Flow: run folder → **tracking** → MLflow; the only import of mlflow. Writing a run twice writes it once: timestamps come
from the record, and the tag `mlpexp.tracked` is set last.
"""

import json
import logging
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mlpexp.config import Tracking, digest
from mlpexp.journal import write_atomically
from mlpexp.records import PARTS, evenly_spaced, layer_metric, log_spaced, profile_metric
from mlpexp.refusals import redact
from mlpexp.results import Result
from mlpexp.verdicts import signal_profile, signal_sentence

MOST_POINTS, CURVE_POINTS, LAYER_STEPS = 600, 100, 20
PROFILE_POINTS, LAYER_CURVE_POINTS = 200, 160
LAYER_CURVES = ("delta_norm", "gradient_norm")
PARAMETER_CHARACTERS = 6000
SHOWN = ".shown"
ARTIFACTS = ("config.yaml", "environment.json", "result.json", "gradient_profile.png")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient  # noqa: E402  (telemetry is switched off before the import)
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

for _talker in ("mlflow", "alembic", "urllib3"):
    logging.getLogger(_talker).setLevel(logging.ERROR)


def store_uri(tracking: Tracking, outputs: Path) -> str:
    """The tracking store's URI; an SQLite database below outputs unless the config names one."""
    return tracking.uri or f"sqlite:///{outputs / 'mlflow.db'}"


class Store:
    """One experiment of a tracking store, opened when it is first needed.

    `show` brings recorded runs there; those that are there stay as they are. Raises RuntimeError, without passwords,
    where the store is away.
    """

    def __init__(self, tracking: Tracking, outputs: Path) -> None:
        self.tracking, self.outputs = tracking, outputs
        self.client: MlflowClient | None = None
        self.experiment, self.place = "", ""
        self.known: dict[str, list[str]] | None = None

    def open(self) -> None:
        """Make the store ready; the first time this takes seconds, so it is done while cohorts train."""
        with _named_errors():
            self._open()

    def show(self, results: Sequence[Result], sweep: str | None = None) -> None:
        """Write what is not there yet; `sweep` is added to the tag that names the sweeps that a run belongs to."""
        with _named_errors():
            client = self._open()
            for result in results:
                shown = Shown.read(result)
                if shown is None or (shown.place, shown.version) != (self.place, _version(result)):
                    run_id = self._show(client, result, sweep)
                    shown = Shown(self.place, _version(result), run_id, [sweep] if sweep else [])
                elif sweep and sweep not in shown.sweeps:
                    shown.sweeps.append(sweep)
                    client.set_tag(shown.run_id, "mlpexp.sweep", " ".join(shown.sweeps))
                else:
                    continue
                shown.write(result)

    def _open(self) -> MlflowClient:
        if self.client is None:
            uri = store_uri(self.tracking, self.outputs)
            client, experiment = _open(uri, self.tracking.experiment, str(self.outputs))
            self.experiment = experiment.experiment_id
            self.place = f"{redact(uri)} {experiment.experiment_id} {experiment.creation_time}"
            self.known = _known(uri, self.experiment)
            self.client = client
        return self.client

    def _show(self, client: MlflowClient, result: Result, sweep: str | None) -> str:
        """One run, written so that the tag `mlpexp.tracked` is there only once everything else is."""
        version = _version(result)
        for run_id in self._runs_of(client, result.fingerprint):
            if client.get_run(run_id).data.tags.get("mlpexp.tracked") == version:
                return run_id
            client.delete_run(run_id)  # half written, or of a record that was trained again since
        start, seconds = int(result.facts["started"] * 1000), result.facts["seconds"]
        tags = _tags(result) | ({"mlpexp.sweep": sweep} if sweep else {})
        run = client.create_run(self.experiment, start_time=start, tags=tags, run_name=result.name)
        run_id = str(run.info.run_id)
        artifacts = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
        for name in ARTIFACTS:
            if (result.folder / name).exists():
                artifacts.log_artifact(str(result.folder / name))
        client.log_inputs(run_id, [_dataset(result)])
        client.set_terminated(run_id, "FINISHED", end_time=start + int(seconds * 1000))
        parameters = [
            Param(key, str(value)[:PARAMETER_CHARACTERS])
            for key, value in result.config.flat().items()
            if value is not None
        ]
        tracked = [RunTag("mlpexp.tracked", version)]  # below 1000 entries: one transaction
        client.log_batch(run_id, metrics=_metrics(result), params=parameters, tags=tracked)
        return run_id

    def _runs_of(self, client: MlflowClient, fingerprint: str) -> list[str]:
        """Runs of that fingerprint that the store holds already."""
        if self.known is not None:
            return self.known.pop(fingerprint, [])
        found = client.search_runs([self.experiment], f"tags.`mlpexp.fingerprint` = '{fingerprint}'")
        return [run.info.run_id for run in found]


@dataclass
class Shown:
    """What a run folder says of its place in a store; saves asking the store. `place` names store and experiment."""

    place: str
    version: str
    run_id: str
    sweeps: list[str]

    @classmethod
    def read(cls, result: Result) -> "Shown | None":
        """None where the run was never shown."""
        try:
            return cls(**json.loads((result.folder / SHOWN).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, result: Result) -> None:
        """Keep it beside the record."""
        write_atomically(result.folder / SHOWN, json.dumps(asdict(self)).encode())


def show_runs(results: Sequence[Result], tracking: Tracking, outputs: Path) -> None:
    """Bring recorded runs into the tracking store; those that are there stay as they are."""
    Store(tracking, outputs).show(results)


@contextmanager
def _named_errors() -> Iterator[None]:
    """What a store may raise, as one kind of error that names no password."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise RuntimeError(redact(str(error)) or type(error).__name__) from None


def _known(uri: str, experiment: str) -> dict[str, list[str]] | None:
    """Fingerprint → run ids of all that an SQLite store holds, read at once; None where the store must be asked."""
    if not uri.startswith("sqlite:///"):
        return None
    query = (
        "SELECT tags.value, tags.run_uuid FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid "
        "WHERE tags.key = 'mlpexp.fingerprint' AND runs.experiment_id = ? AND runs.lifecycle_stage = 'active'"
    )
    try:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=60)) as connection:
            found: dict[str, list[str]] = {}
            for fingerprint, run_id in connection.execute(query, (experiment,)):
                found.setdefault(fingerprint, []).append(run_id)
            return found
    except sqlite3.Error:  # another layout of the tables: ask MLflow run by run
        return None


def _version(result: Result) -> str:
    """Tells a record from another of the same run that was trained again."""
    return str(int(result.facts["started"] * 1000))


def _open(uri: str, experiment: str, outputs: str) -> tuple[MlflowClient, Experiment]:
    """A client, and the experiment; database and experiment are made where they are missing."""
    from filelock import FileLock

    os.makedirs(outputs, exist_ok=True)
    with FileLock(f"{outputs}/.tracking.lock"):  # two processes that create one database destroy it
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if uri.startswith("sqlite:///"):
            _let_readers_in(uri.removeprefix("sqlite:///"))
        if found is None:
            place = None if uri.startswith("http") else f"{outputs}/artifacts/{experiment}"  # a server has its own
            return client, client.get_experiment(client.create_experiment(experiment, artifact_location=place))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return client, found


def _let_readers_in(database: str) -> None:
    """Write-ahead log: the dashboard reads while runs are written."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _tags(result: Result) -> dict[str, str]:
    facts = result.facts
    environment = json.loads((result.folder / "environment.json").read_text())
    sentence = signal_sentence(signal_profile([result]))
    tags = {
        "mlpexp.fingerprint": result.fingerprint,
        "mlpexp.point": result.config.point(),
        "mlpexp.condition": result.condition,
        "mlpexp.status": result.status,
        "mlpexp.numerics": digest(result.numerics)[:8],
        "mlpexp.signal": sentence,
        "mlpexp.folder": str(result.folder),
        "mlflow.source.name": "mlpexp",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": _note(result, sentence),
    }
    if result.status == "diverged":
        tags["mlpexp.diverged_at_step"] = str(facts["diverged_at_step"])
    if environment["commit"]:
        tags |= {"mlpexp.commit": environment["commit"], "mlflow.source.git.commit": environment["commit"].rstrip("+")}
    return tags


def _note(result: Result, sentence: str) -> str:
    """What the run's page says first."""
    ended = f"diverged at step {result.facts['diverged_at_step']}" if result.status == "diverged" else result.status
    rows = [f"| {name} | {value:.4g} |" for name, value in result.scores.items()]
    table = "\n".join(["| score | value |", "|---|---|", *rows]) if rows else "no scores"
    return f"**{ended.replace('_', ' ')}**: {sentence}.\n\n{table}\n\nThe full record is `{result.folder}`.\n"


def _dataset(result: Result) -> DatasetInput:
    data = result.facts["data"]
    profile = {f"{part}_examples": count for part, count in data["examples"].items()}
    dataset = Dataset(
        name=data["name"],
        digest=data["digest"][:36],
        source_type="local",
        source=json.dumps({"source": data["source"]}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _metrics(result: Result) -> list[Metric]:
    """At most 600 points: scores, profiles over depth, δ and gradient norms of layers at log-spaced steps, curves."""
    record, facts = result.record.whole(), result.facts
    last = int(record.steps[-1])
    start, span = facts["started"] * 1000, facts["seconds"] * 1000 / max(1, last)
    found: list[Metric] = []

    def add(name: str, value: float, step: int, at: int | None = None) -> None:
        if np.isfinite(value):  # infinity would be stored as 1.8e308, for good
            found.append(Metric(name, float(value), int(start + span * (step if at is None else at)), step))

    for name, value in result.scores.items():
        kind, _, part = name.partition("/")
        add(name if kind == "gap" or part == PARTS[-1] else f"restored/{kind}_{part}", value, last)
    if result.signal:
        add("signal/layer_1_over_last_log10", math.log10(result.signal), 0)
    measured = {quantity: record.measured(quantity) for quantity in record.quantities}
    depth = result.config.model.depth
    shown = (
        list(measured) if 2 * depth * len(measured) <= PROFILE_POINTS else [q for q in LAYER_CURVES if q in measured]
    )
    for quantity in shown:
        steps, values = measured[quantity]
        finite = np.flatnonzero(np.isfinite(values).all(axis=1))
        for moment, row in (("start", finite[:1]), ("end", finite[-1:])):
            for layer in evenly_spaced(depth, PROFILE_POINTS // 4) if len(row) else ():
                name = profile_metric(quantity, moment)
                add(name, values[row[0], layer], layer + 1, at=int(steps[row[0]]))
    for quantity in (q for q in LAYER_CURVES if q in measured):
        steps, values = measured[quantity]
        layers = evenly_spaced(depth, LAYER_CURVE_POINTS // 4)
        most = min(LAYER_STEPS, LAYER_CURVE_POINTS // (2 * len(layers)))
        for i in log_spaced(len(steps), most):
            for layer in layers:
                add(layer_metric(quantity, layer + 1, depth), values[i, layer], int(steps[i]))
    most = min(CURVE_POINTS, (MOST_POINTS - len(found)) // max(1, len(record.metrics)))
    for name in record.metrics:
        values = record[name]
        rows = np.flatnonzero(~np.isnan(values))
        for i in evenly_spaced(len(rows), most):
            add(name, values[rows[i]], int(record.steps[rows[i]]))
    return found
