"""Where cohorts train: `submit(task) → Future`, as concurrent.futures has it. Nothing else knows where that is.

Flow: run → **execution** → training → journal. Worker processes are started with the environment that the promise to
the bit needs, before torch is loaded in them; no torch is loaded here until a cohort trains.
"""

import math
import os
import struct
import threading
import time
import uuid
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlpexp.config import Config, output_and_loss, validate
from mlpexp.numerics import ENVIRONMENT, STABLE_PRODUCTS, environment, of_this_process


@dataclass(frozen=True)
class Task:
    """One cohort to train: run configs and their fingerprints, and where the journal and the runs go.

    `bases` are folders of the runs that these go on from, all of them at the pause before `epoch`; None for a new run.
    A run whose lease has another content by the time it ends belongs to another process, and is not written.
    """

    configs: list[dict[str, Any]]
    fingerprints: list[str]
    data_digest: str
    outputs: str
    bases: list[str | None]
    epoch: int = 0
    leases: list[str] = field(default_factory=list)
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

    def recover(self, future: "Future[list[str]]") -> None:
        """Be ready again after the process of that future has died."""
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

    def recover(self, future: "Future[list[str]]") -> None:
        """Nothing died but this process."""

    def shutdown(self) -> None:
        """Nothing to let go of."""


class Local:
    """Worker processes of one thread each. They import torch once, and need no `if __name__ == "__main__"`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool_of: dict[int, Any] = {}
        self.pool = self._pool()

    def _pool(self) -> Any:
        from loky.process_executor import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers=self.workers, env=ENVIRONMENT, initializer=end_with_parent)

    def submit(self, task: Task) -> "Future[list[str]]":
        """Hand the cohort to the next free worker."""
        try:
            future: Future[list[str]] = self.pool.submit(train_cohort, task)
        except BrokenExecutor as error:  # a worker has died since: the caller sees it as it sees a failed cohort
            future = Future()
            future.set_exception(error)
        self.pool_of[id(future)] = self.pool
        return future

    def recover(self, future: "Future[list[str]]") -> None:
        """After a worker has died: wait until the others of that future's pool are gone, too, and start a new pool."""
        if self.pool_of.pop(id(future), None) is self.pool:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = self._pool()

    def shutdown(self) -> None:
        """End the workers."""
        self.pool.shutdown(wait=True, kill_workers=True)


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
    from mlpexp.lanes import build
    from mlpexp.leases import holds
    from mlpexp.records import Ending, Piece
    from mlpexp.run_folder import read_state, write_runs
    from mlpexp.salvage import settle, write_headers
    from mlpexp.training import train

    started = time.time()
    headers = _headers(task, configs)
    write_headers(task.folder, headers)
    plan, lanes = build(configs)
    if task.epoch:
        lanes = restore(lanes, {i: read_state(Path(base)) for i, base in enumerate(task.bases) if base})
    began = time.time()  # the cohort is built: from here on it trains
    first_step = task.epoch * plan.updates_per_epoch(len(lanes.parts["train"]))
    journal, progress, endings = Journal(task.folder), Progress(task.folder), list[Ending]()
    states, kept_at = dict[int, Any](), time.monotonic()
    progress.add(first_step * len(configs))

    def record(ended: list[Ending], states: dict[int, Any]) -> None:
        """Write the folders of runs that have ended."""
        if task.leases:
            outputs, names, leases = Path(task.outputs), task.fingerprints, task.leases
            ended = [one for one in ended if holds(outputs, names[one.lane], leases[one.lane])]
        for header in headers:
            now = time.time()
            header["result"] |= {"started": started, "seconds": now - started, "training_seconds": now - began}
        if ended:
            write_runs(Path(task.outputs) / "runs", journal.pieces, ended, headers, states)
            settle(Path(task.outputs), [task.fingerprints[ending.lane] for ending in ended])

    for event in train(plan, lanes, task.epoch, first_step):
        if isinstance(event, Piece):
            journal.append(event)
            progress.add(len(event.steps) * len(event.lanes))
        elif isinstance(event, Ending):
            endings.append(event)
        elif event.epoch == plan.epochs > 0:
            states = capture(event.lanes)  # a longer run goes on from here
        elif event.epoch > task.epoch and time.monotonic() - kept_at >= configs[0].executor.checkpoint_seconds:
            record(endings, {})  # lanes that ended are in no checkpoint
            endings = []
            journal.checkpoint(capture(event.lanes), event.epoch, event.step)
            kept_at = time.monotonic()
    finished = {ending.lane for ending in endings if ending.status == "finished"}
    record(endings, {lane: state for lane, state in states.items() if lane in finished})
    journal.discard()
    return task.fingerprints


def _headers(task: Task, configs: list[Config]) -> list[dict[str, Any]]:
    """What each run folder says beside what training finds."""
    from mlpexp.data import prepare
    from mlpexp.measurement_catalogue import of_kind
    from mlpexp.records import metric
    from mlpexp.shapes import layout_of

    parts = prepare(configs[0].data)
    if parts.digest != task.data_digest:
        raise RuntimeError(f"data {configs[0].data.name} has changed since this command began; start it again")
    layout = layout_of(configs[0].model, parts.dataset.inputs, parts.dataset.outputs)
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
        "went_on_from_epoch": task.epoch,
        "epoch": configs[0].training.epochs,
    }
    return [
        {
            "fingerprint": fingerprint,
            "config": config.record(),
            "result": result | {"stem": config.stem()},
            "normalisation": normalisation,
            "environment": environment(),
            "evaluations": evaluations,
            "base": base,
        }
        for fingerprint, config, base in zip(task.fingerprints, configs, task.bases, strict=True)
    ]


class Progress:
    """How many run-steps a cohort has done: eight bytes in its folder, that anyone may read."""

    EVERY_SECONDS = 0.1

    def __init__(self, folder: Path) -> None:
        self.file, self.done, self.told_at = folder / "progress", 0, -math.inf

    def add(self, run_steps: int) -> None:
        """Count more; a reader sees the old or the new number."""
        self.done += run_steps
        now = time.monotonic()
        if now - self.told_at >= self.EVERY_SECONDS:
            self.told_at = now
            with open(self.file, "wb") as stream:
                stream.write(struct.pack("<q", self.done))

    @staticmethod
    def read(folder: Path) -> int:
        """Run-steps done so far; 0 before the cohort has begun."""
        try:
            content = (folder / "progress").read_bytes()
        except OSError:
            return 0
        return int(struct.unpack("<q", content)[0]) if len(content) == 8 else 0
