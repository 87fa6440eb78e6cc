"""Recorded runs → MLflow, one flat run for each: a run folder is the record, this its projection.

Flow: run folder → **tracking** → MLflow; the only import of mlflow. Writing a run twice writes it once: timestamps come
from the record, and the tag `mlpexp.tracked` is set last.
"""

import logging
import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlpexp.bulk_tracking import BulkWriter
from mlpexp.config import Tracking
from mlpexp.gradient_verdict import gradient_verdict
from mlpexp.projection import Projection, artifacts, group_of, metric_names, project, version_of
from mlpexp.refusals import redact
from mlpexp.results import Result
from mlpexp.run_note import FLOW_PAGE, NOTE, edition, filled, is_ours, note_of, pictures_note, search_note
from mlpexp.shown import Shown
from mlpexp.tracking_database import known_runs, let_readers_in, place_name, store_uri
from mlpexp.views import POINT, known, metrics_in, note, tags, unknown

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
warnings.filterwarnings("ignore", "IProgress not found", module="tqdm")  # in a notebook, of bars that nobody asked for

# E402 five times: MLflow reads the environment while it is imported, so its imports stand below what is set there
from mlflow import MlflowClient, __version__  # noqa: E402  (telemetry is switched off before the import)
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repo import ArtifactRepository  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

for _talker in ("mlflow", "alembic", "urllib3"):
    logging.getLogger(_talker).setLevel(logging.ERROR)


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
        self.metrics: set[str] = set()
        self.kinds: set[tuple[object, ...]] = set()
        self.viewed: set[str | None] = set()
        self.bulk: BulkWriter | None = None

    @property
    def notice(self) -> str | None:
        """What is to be said of the installed MLflow; None for the version that the views are made for."""
        return unknown(__version__)

    def open(self) -> None:
        """Make the store ready; the first time this takes seconds, so it is done while cohorts train."""
        with _named_errors():
            self._open()

    def show(self, results: Sequence[Result], sweep: str | None = None) -> None:
        """Write what is not there yet; `sweep` is added to the tag that names the sweeps that a run belongs to."""
        with _named_errors():
            client = self._open()
            missing = []
            for result in results:
                shown = Shown.read(result)
                if shown is None or not shown.is_of(self.place, version_of(result)):
                    missing.append(result)
                elif sweep and sweep not in shown.sweeps:
                    shown.sweeps.append(sweep)
                    shown.edition = edition()
                    text = filled(
                        note_of(result, str(gradient_verdict([result])), shown.sweeps), self.experiment, shown.run_id
                    )
                    told = {"mlpexp.sweep": " ".join(shown.sweeps), NOTE: text}
                    client.log_batch(shown.run_id, tags=[RunTag(*tag) for tag in told.items()])
                    shown.write(result)
            found = {one.fingerprint: self._found(client, one.fingerprint, version_of(one)) for one in missing}
            new = [result for result in missing if found[result.fingerprint] is None]
            written = self.bulk.write(new, sweep) if self.bulk else [self._write(client, one, sweep) for one in new]
            for result, new_id in zip(new, written, strict=True):
                found[result.fingerprint] = new_id
                self._know(result.fingerprint, new_id)
            self._show_views(client, results, sweep)
            for result in missing:
                run_id = found[result.fingerprint]
                sweeps = [sweep] if sweep else []
                Shown(self.place, version_of(result), str(run_id), sweeps, edition()).write(result)

    def renew_notes(self, results: Sequence[Result]) -> int:
        """Write the notes that an earlier mlpexp wrote in this store as they are written now; how many there were.

        A note that somebody has changed stays, and so does a run that has been deleted.
        """
        renewed = 0
        with _named_errors():
            client = self._open()
            store = self.place.rsplit(maxsplit=2)[0]
            for result in results:
                shown = Shown.read(result)
                if shown is None or shown.edition == edition() or shown.place.rsplit(maxsplit=2)[0] != store:
                    continue
                there = _active(client, shown.run_id)
                if there is not None and is_ours(there.data.tags.get(NOTE, "")):
                    place = {"experiment": client.get_experiment(shown.experiment).name}  # which is a study's name
                    tracking = result.config.tracking.model_copy(update=place)
                    own = Result(result.folder).asked_for(result.config.model_copy(update={"tracking": tracking}))
                    text = note_of(own, str(gradient_verdict([own])), shown.sweeps)
                    told = {NOTE: filled(text, shown.experiment, shown.run_id), POINT: group_of(own)}
                    client.log_batch(shown.run_id, tags=[RunTag(*tag) for tag in told.items()])
                    renewed += 1
                shown.edition = edition()
                shown.write(result)
        return renewed

    def show_study(self, name: str, content: str, files: Sequence[Path], tags: dict[str, str]) -> None:
        """A study's figure and verdicts, as a run that holds them as files; one of another content makes room.

        `content` is the hash of all files: a figure that is there already stays.
        """
        with _named_errors():
            client = self._open()
            for run in client.search_runs([self.experiment], f"tags.`mlpexp.study` = '{name}'"):
                if run.data.tags.get("mlpexp.content") == content:
                    return
                client.delete_run(run.info.run_id)
            run = client.create_run(self.experiment, tags=tags | {"mlpexp.study": name}, run_name=f"figure of {name}")
            for file in files:
                client.log_artifact(run.info.run_id, str(file))
            client.set_tag(run.info.run_id, NOTE, filled(tags.get(NOTE, ""), self.experiment, run.info.run_id))
            client.set_tag(run.info.run_id, "mlpexp.content", content)
            client.set_terminated(run.info.run_id)

    def tag(self, results: Sequence[Result], tags: Mapping[str, Mapping[str, str]]) -> None:
        """Put tags, by fingerprint, on runs that are shown here."""
        with _named_errors():
            client = self._open()
            for result in results:
                shown = Shown.read(result)
                if shown is not None and shown.place == self.place:
                    new = [RunTag(key, value) for key, value in tags[result.fingerprint].items()]
                    client.log_batch(shown.run_id, tags=new)

    def keep_files(self, search: str, files: Sequence[Path], told: str) -> None:
        """A run that stands for a search and holds its report; one for each search, with the latest files.

        `told` is what came out, in words.
        """
        with _named_errors():
            client = self._open()
            found = client.search_runs([self.experiment], f"tags.`mlpexp.search` = '{search}'")
            tags = {"mlpexp.search": search, "mlpexp.sweep": search, "mlflow.source.name": "mlpexp"}
            run = found[0] if found else client.create_run(self.experiment, tags=tags, run_name=f"search {search}")
            for file in files:
                client.log_artifact(run.info.run_id, str(file))
            text = search_note(search, [file.name for file in files], told)
            client.set_tag(run.info.run_id, NOTE, filled(text, self.experiment, run.info.run_id))
            client.set_terminated(run.info.run_id, "FINISHED")

    def keep_pictures(self, sweep: str, page: Path) -> None:
        """A run that holds the pictures of a sweep which can be moved about in; one for each, with the latest page."""
        with _named_errors():
            client = self._open()
            found = client.search_runs([self.experiment], f"tags.`mlpexp.pictures` = '{sweep}'")
            tags = {"mlpexp.pictures": sweep, "mlflow.source.name": "mlpexp"}
            run = found[0] if found else client.create_run(self.experiment, tags=tags, run_name=f"pictures of {sweep}")
            place = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
            _log_as(place, page, FLOW_PAGE)
            client.set_tag(run.info.run_id, NOTE, filled(pictures_note(sweep), self.experiment, run.info.run_id))
            client.set_terminated(run.info.run_id, "FINISHED")

    def keep_sweep_file(self, sweep: str, file: Path) -> None:
        """Add a file to the run that holds a sweep's pictures; nothing where there is none."""
        with _named_errors():
            client = self._open()
            for run in client.search_runs([self.experiment], f"tags.`mlpexp.pictures` = '{sweep}'"):
                client.log_artifact(run.info.run_id, str(file))

    def _open(self) -> MlflowClient:
        if self.client is None:
            uri = store_uri(self.tracking, self.outputs)
            client, experiment = _open(uri, self.tracking.experiment, str(self.outputs))
            self.experiment = experiment.experiment_id
            self.place = place_name(uri, self.experiment, experiment.creation_time)
            self.known = known_runs(uri, self.experiment)
            self.bulk = BulkWriter.of(uri, experiment.experiment_id, experiment.artifact_location)
            self.client = client
        return self.client

    def log(self, shown: Projection, files: Sequence[Path]) -> str:
        """A run that no run folder records, with its files, once for each fingerprint; its id in the store."""
        with _named_errors():
            client = self._open()
            fingerprint = shown.tags["mlpexp.fingerprint"]
            return self._found(client, fingerprint, fingerprint) or self._create(
                client, shown, {file.name: file for file in files if file.exists()}, fingerprint
            )

    def _show_views(self, client: MlflowClient, results: Sequence[Result], sweep: str | None) -> None:
        """Saved views of the experiment and of the sweep; none in an MLflow with another page."""
        if not known(__version__):
            return
        kinds = {(one.config.model.depth, *one.record.columns, *one.scores): one for one in results}  # seeds are alike
        metrics = {name for kind in kinds.keys() - self.kinds for name in metric_names(kinds[kind])}
        self.kinds |= kinds.keys()
        if metrics <= self.metrics and sweep in self.viewed:
            return
        found = client.get_experiment(self.experiment).tags
        self.metrics |= metrics | metrics_in(found)
        self.viewed.add(sweep)
        wanted = tags(self.metrics) | (tags(self.metrics, sweep) if sweep else {})
        if NOTE not in found:  # a note of one's own stays
            wanted[NOTE] = note(self.experiment)
        for key, value in wanted.items():
            if found.get(key) != value:
                client.set_experiment_tag(self.experiment, key, value)

    def _found(self, client: MlflowClient, fingerprint: str, version: str) -> str | None:
        """The run that shows this record already; what is half written, or of an earlier training, is removed."""
        runs = self._runs_of(client, fingerprint)
        while runs:
            if client.get_run(runs[0]).data.tags.get("mlpexp.tracked") == version:
                return runs[0]
            client.delete_run(runs.pop(0))  # nor is it known any longer
        return None

    def _know(self, fingerprint: str, run_id: str) -> None:
        """A run has been written: whoever tries again after an error finds it."""
        if self.known is not None and run_id not in self.known.setdefault(fingerprint, []):
            self.known[fingerprint].append(run_id)

    def _write(self, client: MlflowClient, result: Result, sweep: str | None) -> str:
        """One recorded run by MLflow's own calls."""
        return self._create(client, project(result, sweep), artifacts(result), version_of(result))

    def _create(self, client: MlflowClient, shown: Projection, files: Mapping[str, Path], version: str) -> str:
        """A run, its files that exist, and the tag `mlpexp.tracked`, which is there only once everything else is."""
        run = client.create_run(self.experiment, start_time=shown.start, tags=shown.tags, run_name=shown.name)
        run_id = str(run.info.run_id)
        repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
        for place, file in files.items():
            _log_as(repository, file, place)
        if shown.dataset:
            dataset = DatasetInput(Dataset(**shown.dataset), [InputTag("mlflow.data.context", "training")])
            client.log_inputs(run_id, [dataset])
        client.set_terminated(run_id, "FINISHED", end_time=shown.end)
        metrics = [Metric(*point) for point in shown.points]
        parameters = [Param(key, value) for key, value in shown.params.items()]
        last = {NOTE: filled(shown.tags.get(NOTE, ""), self.experiment, run_id), "mlpexp.tracked": version}
        tracked = [RunTag(*tag) for tag in last.items() if tag[1]]  # below 1000 entries: one transaction
        client.log_batch(run_id, metrics=metrics, params=parameters, tags=tracked)
        self._know(shown.tags["mlpexp.fingerprint"], run_id)
        return run_id

    def _runs_of(self, client: MlflowClient, fingerprint: str) -> list[str]:
        """Runs of that fingerprint that the store holds already."""
        if self.known is not None:
            return self.known.get(fingerprint, [])
        found = client.search_runs([self.experiment], f"tags.`mlpexp.fingerprint` = '{fingerprint}'")
        return [run.info.run_id for run in found]


def show_runs(results: Sequence[Result], tracking: Tracking, outputs: Path) -> None:
    """Bring recorded runs into the tracking store; those that are there stay as they are."""
    Store(tracking, outputs).show(results)


def renew_notes(results: Sequence[Result], tracking: Tracking, outputs: Path) -> int:
    """Write the notes of an earlier mlpexp as they are written now; how many there were."""
    return Store(tracking, outputs).renew_notes(results)


def attach(result: Result, files: Sequence[Path], outputs: Path, tracking: Tracking | None = None) -> bool:
    """Add files to a run's artifacts; False where that store does not show it."""
    store, shown = Store(tracking or Tracking(), outputs), Shown.read(result)
    if shown is None:
        return False
    store.open()
    if shown.place != store.place or store.client is None:
        return False
    with _named_errors():
        for file in files:
            store.client.log_artifact(shown.run_id, str(file))
    return True


def _log_as(repository: ArtifactRepository, file: Path, place: str) -> None:
    """Put a file where `place` says, which may have another name."""
    folder, _, name = place.rpartition("/")
    if file.name == name:
        repository.log_artifact(str(file), folder or None)
        return
    with tempfile.TemporaryDirectory() as beside:
        repository.log_artifact(shutil.copyfile(file, Path(beside) / name), folder or None)


def _active(client: MlflowClient, run_id: str) -> Run | None:
    """A run of the store; None where it has been deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return None
    return run if run.info.lifecycle_stage == "active" else None


@contextmanager
def _named_errors() -> Iterator[None]:
    """What a store may raise, as one kind of error that names no password."""
    try:
        yield
    except (MlflowException, OSError, sqlite3.Error) as error:
        raise RuntimeError(redact(str(error)) or type(error).__name__) from None


def _open(uri: str, experiment: str, outputs: str) -> tuple[MlflowClient, Experiment]:
    """A client, and the experiment; database and experiment are made where they are missing."""
    from filelock import FileLock

    os.makedirs(outputs, exist_ok=True)
    with FileLock(f"{outputs}/.tracking.lock"):  # two processes that create one database destroy it
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        let_readers_in(uri)
        if found is None:
            if uri == store_uri(Tracking(), Path(outputs)):
                _explain_default(client)
            place = None if uri.startswith("http") else f"{outputs}/artifacts/{experiment}"  # a server has its own
            return client, client.get_experiment(client.create_experiment(experiment, artifact_location=place))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return client, found


def _explain_default(client: MlflowClient) -> None:
    """MLflow makes an experiment by itself, which stays empty: its page tells where the runs are.

    Somebody may have deleted it, and then it takes no tags.
    """
    default = client.get_experiment_by_name("Default")
    if default is not None and default.lifecycle_stage == "active" and NOTE not in default.tags:
        told = "MLflow makes this experiment by itself, and mlpexp leaves it empty: [its runs](#/experiments)."
        client.set_experiment_tag(default.experiment_id, NOTE, told)
