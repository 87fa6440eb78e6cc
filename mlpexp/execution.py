"""Where cohorts train: `submit(task) → Future`, as concurrent.futures has it. Nothing else knows where that is.

Flow: run → **execution** → training → journal. Worker processes are started with the environment that the promise to
the bit needs, before torch is loaded in them; no torch is loaded here until a cohort trains.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mlpexp.cohorts import Size, pace_of
from mlpexp.config import Config, output_and_loss, validate
from mlpexp.numerics import ENVIRONMENT, STABLE_PRODUCTS, environment, of_this_process

OUTPUTS_OFF = (
    "model.output=relu starts at 0 for every training example: its gradient is 0, and nothing is learnt; "
    "take another seed, initialisation or output"
)
T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One cohort to train: run configs and their fingerprints, and where the journal and the runs go.

    `bases` are folders of the runs that these go on from, all of them at the pause before `step`; None for a new run.
    `warnings` are what planning found odd about each run.
    A run whose lease has another content by the time it ends belongs to another process, and is not written.
    Where `watched` names an evaluation, the cohort tells it after every epoch, and its lanes leave when asked to
    (signals.py): such a run is kept as an interrupted one, to go on from.
    """

    configs: list[dict[str, Any]]
    fingerprints: list[str]
    data_digest: str
    outputs: str
    bases: list[str | None]
    step: int = 0
    leases: list[str] = field(default_factory=list)
    warnings: list[list[str]] = field(default_factory=list)
    watched: str | None = None
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def folder(self) -> Path:
        """The cohort's journal, named after its first run, and told apart from another attempt at it."""
        return Path(self.outputs) / "cohorts" / f"{self.fingerprints[0]}-{self.number}"


class Executor(Protocol):
    """What run.py needs of a place where cohorts train."""

    def submit(self, task: Task) -> "Future[list[str]]":
        """Train the cohort; the future holds the fingerprints of its finished runs."""
        ...

    def shutdown(self) -> None:
        """Let go of the processes."""
        ...


class Serial:
    """One cohort after the other in this process."""

    def __init__(self) -> None:
        if os.environ.get("MKL_CBWR") != STABLE_PRODUCTS:
            import sys

            if "torch" in sys.modules:
                raise RuntimeError(
                    "executor=serial trains in this process, where torch was loaded without MKL_CBWR=AUTO,STRICT; "
                    "set it in the environment before Python starts, or use executor=local"
                )
            os.environ.update(ENVIRONMENT)

    def submit(self, task: Task) -> "Future[list[str]]":
        """Train now; the future is done when this returns."""
        future: Future[list[str]] = Future()
        try:
            future.set_result(train_cohort(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        """Nothing to let go of."""


class Local:
    """Worker processes of one thread each. They import torch once, and need no `if __name__ == "__main__"`.

    Each has a pool of its own: where several share one, the death of a worker takes the others with it.
    """

    def __init__(self, workers: int) -> None:
        self.threads = ThreadPoolExecutor(workers, "worker")
        self.own = threading.local()
        self.pools: list[Any] = []
        for _ in range(workers):  # they load torch while the caller still prepares what they will train
            self.threads.submit(self.in_worker, prepare_process)

    def submit(self, task: Task) -> "Future[list[str]]":
        """Hand the cohort to the next free worker."""
        return self.threads.submit(self.in_worker, train_cohort, task)

    def in_worker(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function in the worker of this thread; after a death the next call gets a new one."""
        from loky.process_executor import ProcessPoolExecutor

        if getattr(self.own, "pool", None) is None:
            self.own.pool = ProcessPoolExecutor(max_workers=1, env=ENVIRONMENT, initializer=end_with_parent)
            self.pools.append(self.own.pool)
        try:
            return self.own.pool.submit(function, *arguments).result()
        except BrokenExecutor:
            self.own.pool.shutdown(wait=True, kill_workers=True)
            self.own.pool = None
            raise

    def shutdown(self) -> None:
        """End the workers, and what they train."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for pool in self.pools:
            pool.shutdown(wait=True, kill_workers=True)
        self.threads.shutdown(wait=True)


def executor(name: str, workers: int) -> Executor:
    """`serial` or `local`."""
    return Serial() if name == "serial" else Local(workers)


def end_with_parent() -> None:
    """End this process soon after its parent, however that died: its cohort goes on from the last checkpoint."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def prepare_process() -> None:
    """One thread, denormals flushed, products tested: before a process's first cohort."""
    import torch

    import mlpexp.lanes  # noqa: F401  (loaded now, not by the first cohort)
    from mlpexp.kernel.arithmetic import require_stable_products

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    require_stable_products()


def train_cohort(task: Task) -> list[str]:
    """Train one cohort to its end and write the folder of each run; in the process that this is called in."""
    prepare_process()
    from mlpexp.salvage import disowned_on_error, own

    configs = [validate(content) for content in task.configs]
    own(task.folder)
    with disowned_on_error(task.folder):
        return _train_cohort(task, configs)


def _train_cohort(task: Task, configs: list[Config]) -> list[str]:
    from mlpexp.checkpoints import capture, restore
    from mlpexp.journal import Journal
    from mlpexp.lane_state import Pause
    from mlpexp.lanes import build
    from mlpexp.leases import holds
    from mlpexp.records import Ending, Piece
    from mlpexp.run_folder import read_state, write_runs
    from mlpexp.salvage import keep_interrupted, settle, write_headers
    from mlpexp.scoring import outputs_are_off
    from mlpexp.signals import Progress, asked_to_leave, tell_evaluation
    from mlpexp.training import train

    started = time.time()
    headers = _headers(task, configs)
    plan, lanes = build(configs)
    for lane, off in zip(lanes.numbers, outputs_are_off(plan, lanes).tolist(), strict=True):
        headers[lane]["result"]["warnings"] += [OUTPUTS_OFF] if off else []
    write_headers(task.folder, headers)
    if task.step:
        lanes = restore(lanes, {i: read_state(Path(base)) for i, base in enumerate(task.bases) if base})
    journal, progress, endings = Journal(task.folder), Progress(task.folder), list[Ending]()
    states, kept_at, trained = dict[int, Any](), time.monotonic(), Stopwatch()
    pause, leaving, left = Pause(task.step, lanes), set[int](), dict[int, Any]()
    progress.add(task.step * len(configs))

    def record(ended: list[Ending], states: dict[int, Any]) -> None:
        """Write the folders of runs that have ended."""
        if task.leases:
            outputs, names, leases = Path(task.outputs), task.fingerprints, task.leases
            ended = [one for one in ended if holds(outputs, names[one.lane], leases[one.lane])]
        for header in headers:
            now = time.time()
            header["result"] |= {"started": started, "seconds": now - started, "training_seconds": trained.seconds}
        if ended:
            write_runs(Path(task.outputs) / "runs", journal.pieces, ended, headers, states)
            settle(Path(task.outputs), [task.fingerprints[ending.lane] for ending in ended])

    for event in trained.timing(train(plan, lanes, task.step, leaving)):
        if isinstance(event, Piece):
            journal.append(event)
            progress.add(len(event.steps) * len(event.lanes))
            if task.watched in event.evaluation:
                epoch = pause.step // plan.updates_per_epoch
                tell_evaluation(task.folder, epoch, event.lanes, event.evaluation[task.watched])
        elif isinstance(event, Ending) and event.status == "pruned":
            keep_interrupted(Path(task.outputs), journal, [event], headers, {event.lane: left[event.lane]})
        elif isinstance(event, Ending):
            endings.append(event)
        else:
            pause = event
            if task.watched and task.step < pause.step < plan.updates:
                leaving |= asked_to_leave(task.folder)
                left = capture(pause.lanes) if leaving.intersection(pause.lanes.numbers) else {}
            if pause.step == plan.updates > 0:
                states = capture(pause.lanes)  # a longer run goes on from here
                # on the schedule, the evaluation that finds the best weights is the longer run's, too
                if plan.is_evaluation(pause.step):
                    states = {lane: {k: v for k, v in state.items() if k != "best"} for lane, state in states.items()}
            elif pause.step > task.step and time.monotonic() - kept_at >= configs[0].executor.checkpoint_seconds:
                record(endings, {})  # lanes that ended are in no checkpoint
                endings = []
                journal.checkpoint(capture(pause.lanes), pause.step)
                kept_at = time.monotonic()
    finished = {ending.lane for ending in endings if ending.status == "finished"}
    record(endings, {lane: state for lane, state in states.items() if lane in finished})
    journal.discard()
    return task.fingerprints


def _headers(task: Task, configs: list[Config]) -> list[dict[str, Any]]:
    """What each run folder says beside what training finds."""
    from mlpexp.data import prepare
    from mlpexp.measurement_catalogue import of_kind
    from mlpexp.predictions import input_lengths, theory_of
    from mlpexp.records import metric
    from mlpexp.shapes import layout_of

    parts = prepare(configs[0].data)
    if parts.digest != task.data_digest:
        raise RuntimeError(f"data {configs[0].data.name} has changed since this command began; start it again")
    layout = layout_of(configs[0].model, parts.dataset.inputs, parts.dataset.outputs)
    pace = pace_of(configs[0], Size(parts.dataset.inputs, parts.dataset.outputs, len(parts.training)))
    output, loss = output_and_loss(configs[0], parts.dataset.task)
    normalisation = {"centre": parts.centre, "scale": parts.scale}
    if parts.fill is not None:
        normalisation["fill"] = parts.fill
    parts_evaluated = [
        name for name, part in (("train", parts.training), ("validation", parts.validation)) if len(part)
    ]
    kinds = ["loss"] if parts.dataset.task == "regression" else ["loss", "accuracy"]
    measurements = configs[0].measurements
    kinds += [name for name in of_kind("scores") if name in measurements.names]
    evaluations = [metric(kind, part) for part in parts_evaluated for kind in kinds]
    result = {
        "data": {
            "name": parts.dataset.name,
            "digest": task.data_digest,
            "task": parts.dataset.task,
            "classes": list(parts.dataset.classes),
            "examples": {"train": len(parts.training), "validation": len(parts.validation), "test": len(parts.test)},
            "source": parts.dataset.source,
        },
        "widths": list(layout.widths),
        "parameters": layout.size,
        "output": output,
        "loss": loss,
        "measurements": measurements.model_dump(),
        "numerics": of_this_process(configs[0].executor.device),
        "lanes": len(configs),
        "started": time.time(),
        "seconds": 0.0,
        "training_seconds": 0.0,
        "went_on_from_step": task.step,
    }
    told = task.warnings or [[]] * len(configs)
    lengths = input_lengths(parts.training.features)
    return [
        {
            "fingerprint": fingerprint,
            "config": config.record(),
            "result": result
            | {"stem": config.stem(), "warnings": list(warnings), "theory": theory_of(config, layout, lengths)},
            "pace": asdict(pace),
            "normalisation": normalisation,
            "environment": environment(),
            "evaluations": evaluations,
            "base": base,
        }
        for fingerprint, config, base, warnings in zip(task.fingerprints, configs, task.bases, told, strict=True)
    ]


class Stopwatch:
    """Seconds spent in training itself: steps, measurements and evaluations, without what is done about them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timing(self, events: Iterator[T]) -> Iterator[T]:
        """The same events."""
        while True:
            began = time.perf_counter()
            event = next(events, None)
            self.seconds += time.perf_counter() - began
            if event is None:
                return
            yield event
