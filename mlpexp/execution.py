"""Where cohorts train: `submit(task) → Future`, as concurrent.futures has it. Nothing else knows where that is.

Flow: run → **execution** → training → journal. Worker processes are started with the environment that the promise to
the bit needs, before torch is loaded in them; no torch is loaded here until a cohort trains.
"""

import os
import struct
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlpexp.config import Config, output_and_loss, validate
from mlpexp.numerics import STABLE_PRODUCTS, environment, numerics

ENVIRONMENT = {"MKL_CBWR": STABLE_PRODUCTS, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What stands in a training process's environment before torch is loaded."""


@dataclass(frozen=True)
class Task:
    """One cohort to train: run configs and their fingerprints, and the folder for the journal and the runs."""

    configs: list[dict[str, Any]]
    fingerprints: list[str]
    data_digest: str
    outputs: str

    @property
    def folder(self) -> Path:
        """The cohort's journal, named after its first run."""
        return Path(self.outputs) / "cohorts" / self.fingerprints[0]


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
    """Worker processes of one thread each. They import torch once, and need no `if __name__ == "__main__"`."""

    def __init__(self, workers: int) -> None:
        from loky.process_executor import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(max_workers=workers, env=ENVIRONMENT)

    def submit(self, task: Task) -> "Future[list[str]]":
        """Hand the cohort to the next free worker."""
        future: Future[list[str]] = self.pool.submit(train_cohort, task)
        return future

    def shutdown(self) -> None:
        """End the workers."""
        self.pool.shutdown(wait=True, kill_workers=True)


def executor(name: str, workers: int) -> Executor:
    """`serial` or `local`."""
    return Serial() if name == "serial" else Local(workers)


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
    from mlpexp.data import data_digest
    from mlpexp.journal import Journal, write_runs
    from mlpexp.lanes import build
    from mlpexp.records import Ending
    from mlpexp.training import train

    configs = [validate(content) for content in task.configs]
    if data_digest(configs[0].data) != task.data_digest:
        raise RuntimeError(f"data {configs[0].data.name} has changed since this command began; start it again")
    started = time.time()
    journal, endings = Journal(task.folder), list[Ending]()
    progress = Progress(task.folder)
    plan, lanes = build(configs)
    for event in train(plan, lanes):
        if isinstance(event, Ending):
            endings.append(event)
            continue
        journal.append(event)
        progress.add(len(event.steps) * len(event.lanes))
    headers = _headers(task, configs, started)
    write_runs(Path(task.outputs) / "runs", journal.pieces(), endings, headers)
    journal.discard()
    return task.fingerprints


def _headers(task: Task, configs: list[Config], started: float) -> list[Mapping[str, Any]]:
    """What each run folder says beside what training found."""
    from mlpexp.data import prepare
    from mlpexp.lanes import layout_of

    parts = prepare(configs[0].data)
    layout = layout_of(configs[0], parts.dataset.inputs, parts.dataset.outputs)
    output, loss = output_and_loss(configs[0], parts.dataset.task)
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
        "measurements": configs[0].measurements.model_dump(),
        "numerics": numerics(configs[0].executor.device, os.environ.get("MKL_CBWR", "unset")),
        "lanes": len(configs),
        "started": started,
        "seconds": time.time() - started,
    }
    return [
        {
            "fingerprint": fingerprint,
            "config": config.record(),
            "result": result | {"point": config.point()},
            "widths": layout.widths,
            "bias": layout.bias,
            "environment": environment(),
        }
        for fingerprint, config in zip(task.fingerprints, configs, strict=True)
    ]


class Progress:
    """How many run-steps a cohort has done: eight bytes in its folder, that anyone may read."""

    def __init__(self, folder: Path) -> None:
        self.file, self.done = folder / "progress", 0
        self.add(0)

    def add(self, run_steps: int) -> None:
        """Count more; a reader sees the old or the new number."""
        self.done += run_steps
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
