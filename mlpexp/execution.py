"""Where cohorts train: `submit(task) → Future`, as concurrent.futures has it. Nothing else knows where that is.

Flow: run → **execution** → cohort_training. Worker processes are started with the environment that the promise to
the bit needs, before torch is loaded in them; no torch is loaded here until a cohort trains.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from loky.process_executor import ProcessPoolExecutor

from mlpexp.numerics import ENVIRONMENT, STABLE_PRODUCTS
from mlpexp.task import Task


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

    Each has a pool of its own: where several share one, the death of a worker takes the others with it. What starts
    them is imported with this module: two threads that import at once find modules half initialised.
    """

    def __init__(self, workers: int) -> None:
        self.new_pool: Callable[[], Any] = partial(
            ProcessPoolExecutor, max_workers=1, env=ENVIRONMENT, initializer=end_with_parent
        )
        self.threads = ThreadPoolExecutor(workers, "worker")
        self.own = threading.local()
        self.pools: list[Any] = []
        self.ended, self.starting = False, threading.Lock()  # one at a time, and none while they are shut down
        for _ in range(workers):  # they load torch while the caller still prepares what they will train
            self.pools.append(self.new_pool())
            self.pools[-1].submit(prepare_process)
        self.begun = list(self.pools)

    def submit(self, task: Task) -> "Future[list[str]]":
        """Hand the cohort to the next free worker."""
        return self.threads.submit(self.in_worker, train_cohort, task)

    def in_worker(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function in the worker of this thread; after a death the next call gets a new one."""
        try:
            if getattr(self.own, "pool", None) is None:
                with self.starting:
                    if self.ended:
                        raise RuntimeError("no worker is started after shutdown")
                    if not self.begun:
                        self.pools.append(self.new_pool())
                        self.begun.append(self.pools[-1])
                    self.own.pool = self.begun.pop()
                    first = self.own.pool.submit(function, *arguments)  # starts the process of a new one
                return first.result()
            return self.own.pool.submit(function, *arguments).result()
        except BrokenExecutor:
            self.own.pool.shutdown(wait=True, kill_workers=True)
            self.own.pool = None
            raise

    def shutdown(self) -> None:
        """End the workers, and what they train; a worker that a thread is about to start is not started."""
        self.ended = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self.starting:
            for pool in self.pools:
                pool.shutdown(wait=True, kill_workers=True)
        self.threads.shutdown(wait=True)


_AHEAD: list[tuple[int, Executor]] = []
"""Who was begun before it was known what is to be trained, with how many workers, and is not taken yet."""


@contextmanager
def ahead(name: str, workers: int) -> Iterator[None]:
    """Within this, the first `place` is one whose processes load torch from now on, while data are looked at."""
    _AHEAD.append((workers, executor(name, workers)))
    try:
        yield
    finally:
        while _AHEAD:
            _AHEAD.pop()[1].shutdown()


@contextmanager
def place(name: str, workers: int) -> Iterator[Executor]:
    """Where cohorts train, let go of in any case; its processes load torch from now on, or did so `ahead`."""
    begun, where = _AHEAD.pop() if _AHEAD else (workers, executor(name, workers))
    if begun < workers:
        where.shutdown()
        where = executor(name, workers)
    try:
        yield where
    finally:
        where.shutdown()


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

    import mlpexp.cohort_training  # noqa: F401  (loaded now, not by the first cohort)
    from mlpexp.kernel.arithmetic import require_stable_products

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    require_stable_products()


def train_cohort(task: Task) -> list[str]:
    """Train one cohort to its end and write the folder of each run; in the process that this is called in."""
    prepare_process()
    from mlpexp import cohort_training

    return cohort_training.train_cohort(task)
