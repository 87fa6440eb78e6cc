"""From a list of run configs to a list of results: skip what is recorded, group, dispatch, track.

Flow: planning → **run** → cohorts → execution → run folders → (tracking) → results. The command line and notebooks both
come through here.
"""

import errno
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import nullcontext, suppress
from pathlib import Path

from mlpexp.cohorts import group, usable_memory, worker_count
from mlpexp.config import Config
from mlpexp.display import Display, counted
from mlpexp.execution import Executor, place
from mlpexp.leases import Leases, holds
from mlpexp.planning import Order, plan, warnings
from mlpexp.results import Result
from mlpexp.run_index import remember
from mlpexp.salvage import salvage
from mlpexp.signals import Progress
from mlpexp.task import Task
from mlpexp.tracker import Track, tracker

POLL_SECONDS, WAIT_SECONDS = 0.1, 0.5

FULL = (errno.ENOSPC, errno.EDQUOT)


class RunError(RuntimeError):
    """Some runs failed; the message names them and why. The others are recorded.

    >>> from mlpexp import RunError
    >>> issubclass(RunError, RuntimeError)
    True
    """


class DiskFull(RunError):
    """Nothing can be written any more; what was checkpointed is kept, and the same command goes on from there."""

    def __init__(self, outputs: Path) -> None:
        super().__init__(
            f"the disk that holds {outputs} is full; everything up to the last checkpoints is kept: "
            "free some space, and the same command goes on"
        )


def run(configs: Config | Sequence[Config], rerun: bool | None = None, quiet: bool = False) -> list[Result]:
    """Train what is not recorded yet, and return every run in the given order, replicates one after the other.

    All configs must agree on outputs, tracking and executor. `rerun=True` trains also what is recorded; None does as
    the configs say. Raises ConfigError before anything trains, RunError after all others are done if a run failed.

    >>> from mlpexp import compose, run
    >>> results = run(compose(["training.epochs=1", "tracking=none"]), quiet=True)
    >>> results[0].status
    'finished'
    """
    points = [configs] if isinstance(configs, Config) else list(configs)
    return execute(order_of(points, rerun), quiet) if points else []


def order_of(points: Sequence[Config], rerun: bool | None = None) -> Order:
    """All replicates of these points, checked and looked up; raises ConfigError before anything is written."""
    again = any(point.rerun for point in points) if rerun is None else rerun
    return plan([one for point in points for one in point.runs()], again)


def execute(
    order: Order,
    quiet: bool = False,
    sweep: str | None = None,
    told: bool = False,
    within: str = "",
    where: Executor | None = None,
) -> list[Result]:
    """Train what an order says is open, show it, and return all its runs; raises RunError if some failed.

    `sweep` names the sweep that asks, in the tracking store; `told`: what is odd about its runs was said before;
    `within` stands before the counts where progress is shown; `where` trains, where the caller has begun to start it.
    """
    wanted = list(dict.fromkeys(order.fingerprints))
    failures: list[str] = []
    with Display(len(wanted), len(order.to_train), quiet, within) as display, tracker(order, display, sweep) as track:
        if order.elsewhere:
            display.note(
                f"trained with another torch, processor or device: {counted(len(order.elsewhere), 'run')}; their bits "
                "may differ (rerun=true trains them here)"
            )
        if order.bases:
            display.note(f"going on from an interrupted or a shorter run: {counted(len(order.bases), 'run')}")
        planned = order.warnings()
        for line in () if told else planned:
            display.warning(line)
        fresh = {order.fingerprints[i] for i in order.to_train}
        if order.to_train:
            try:
                failures = train_with_leases(order, display, track, where)
            except OSError as error:
                if error.errno in FULL:
                    raise DiskFull(order.outputs) from None
                raise
        track([order.result(name) for name in wanted if name not in fresh])
        if failures:
            raise RunError("\n".join(failures))
        results = order.results()
        remember(order.outputs, fresh)
        found = Counter(line for run in results if run.fingerprint in fresh for line in run.warnings)
        for line in (line for line in found if line not in planned):  # what training found
            display.warning(f"{line} ({found[line]} of {counted(len(wanted), 'run')})")
    return results


def train_with_leases(order: Order, display: Display, track: Track, started: Executor | None = None) -> list[str]:
    """Train the open runs that no other process trains, then wait for the others. Returns what failed."""
    failures: list[str] = []
    position = {order.fingerprints[i]: i for i in order.to_train}
    waited = False
    own = nullcontext(started) if started else place(order.configs[0].executor.name, workers_of(order))
    with Leases(order.outputs) as leases, own as where:
        while position:
            taken = leases.take(position)
            recorded = [name for name in position if order.is_recorded_since(name)]
            mine = [name for name in taken if name not in recorded]
            if recorded:
                display.finished(len(recorded))
                track([order.result(name) for name in recorded])
            if mine:
                order.to_train, order.leases = [position[name] for name in mine], leases.held
                if waited:  # another process may have left something to go on from
                    salvage(order.outputs)
                    for i in order.to_train:
                        order.look_for_base(i)
                failures += train_all(order, where, display, track)
                lost = [name for name in mine if not holds(order.outputs, name, leases.held[name])]
                mine = [name for name in mine if name not in lost]  # others took them over: wait for those
            elif not recorded:
                display.waiting(f"another process trains {counted(len(position), 'run')}: waiting")
                time.sleep(WAIT_SECONDS)
                waited = True
            leases.release([*taken, *recorded])
            position = {name: i for name, i in position.items() if name not in {*mine, *recorded}}
    return failures


def train_all(order: Order, where: Executor, display: Display, track: Track) -> list[str]:
    """Train the open runs, cohort by cohort, and hand each finished cohort to the tracker. Returns what failed."""
    configs = [order.configs[i] for i in order.to_train]
    cohorts = cohorts_of(order)
    display.start(sum(map(order.updates, configs)), len(cohorts), workers_of(order))
    attempts = Attempts(order, where)
    for cohort in cohorts:
        attempts.start([order.to_train[i] for i in cohort])
    while attempts.open:
        look(attempts, display, track)
    return list(attempts.failed.values())


def workers_of(order: Order) -> int:
    """How many processes train what is open; `cohorts_of` has at least one cohort for each."""
    return worker_count(order.configs[0], len(order.to_train))


def cohorts_of(order: Order) -> list[list[int]]:
    """How the open runs are grouped, as positions in `order.to_train`."""
    configs = [order.configs[i] for i in order.to_train]
    steps = [order.step(i) for i in order.to_train]
    return group(configs, order.size, workers_of(order), usable_memory(), configs[0].executor.lanes, steps)


class Attempts:
    """The cohorts under way. One that fails is tried again in halves, so that a poisonous run fails alone.

    `failed` has a line for each run that failed for good, by its fingerprint; `watched` is what cohorts tell meanwhile.
    """

    def __init__(self, order: Order, where: Executor, watched: str | None = None) -> None:
        self.order, self.where, self.watched = order, where, watched
        self.open: dict[Future[list[str]], tuple[Task, list[int], bool]] = {}
        self.failed: dict[str, str] = {}
        self.run_steps = 0

    def start(self, positions: list[int], again: bool = False) -> None:
        """Submit a cohort of the order's runs."""
        task = _task(self.order, positions, self.watched)
        self.open[self.where.submit(task)] = task, positions, again

    def retry(self, positions: list[int], error: BaseException, again: bool) -> bool:
        """Start a failed cohort again; False where it was a single run that has had its chance.

        A run alone gets a second one where a process died: it may have been another run's fault.
        """
        died = isinstance(error, BrokenExecutor)
        if len(positions) == 1 and (again or not died):
            return False
        salvage(self.order.outputs)
        alike: dict[int, list[int]] = {}
        for i in positions:
            self.order.look_for_base(i)
            alike.setdefault(self.order.step(i), []).append(i)
        for same in alike.values():
            middle = (len(same) + 1) // 2
            for half in (same[:middle], same[middle:]):
                if half:
                    self.start(half, again=len(positions) == 1)
        return True


def look(attempts: Attempts, display: Display, track: Track) -> None:
    """Take what has ended since the last look: track what is recorded, try again or give up what failed."""
    order = attempts.order
    ended, under_way = wait(attempts.open, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
    for future in ended:
        _, positions, again = attempts.open.pop(future)
        error = future.exception()
        if isinstance(error, OSError) and error.errno in FULL:
            raise error  # every other cohort would fail as well
        # of a failed cohort, runs that ended before its last checkpoint are recorded all the same; of a finished
        # one those are not whose lease another process took over meanwhile
        whole = [i for i in positions if order.is_recorded_since(order.fingerprints[i])]
        positions = [i for i in positions if i not in whole]
        if whole:
            attempts.run_steps += sum(order.updates(order.configs[i]) for i in whole)
            results = [order.result(order.fingerprints[i]) for i in whole]
            display.finished(len(whole))
            display.scored(results)
            track(results)
        if error is None or not positions:
            continue
        if attempts.retry(positions, error, again):
            display.note(f"trying {counted(len(positions), 'run')} again: {_reason(error)}")
        else:
            name = order.fingerprints[positions[0]]
            told = _keep_traceback(order, name, error)
            command = order.configs[positions[0]].command()
            attempts.failed[name] = f"{name} failed: {_reason(error)} ({told}); alone: {command}"
            display.failed(attempts.failed[name])
    begun = [attempts.open[future] for future in under_way if future in attempts.open]
    begun = [attempt for attempt in begun if attempt[0].folder.exists()]
    display.progress(
        attempts.run_steps + sum(Progress.read(task.folder) for task, *_ in begun),
        running=sum(len(positions) for _, positions, _ in begun),
    )


def _keep_traceback(order: Order, name: str, error: BaseException) -> str:
    """Write the whole story of a failure beside the runs; where it stands."""
    file = order.outputs / "failures" / f"{name}.txt"
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(traceback.format_exception(error)))
    return str(file)


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "a worker process died (killed, or out of memory)"
    return (f"{type(error).__name__}: {error}".strip().splitlines() or ["?"])[0]


def _task(order: Order, positions: Sequence[int], watched: str | None = None) -> Task:
    configs = [order.configs[i] for i in positions]
    names = [order.fingerprints[i] for i in positions]
    contents = [config.record() | {"executor": config.executor.model_dump()} for config in configs]
    return Task(
        contents,
        names,
        order.of(configs[0]).digest,
        str(order.outputs),
        bases=[str(order.bases[i].folder) if i in order.bases else None for i in positions],
        step=order.step(positions[0]),
        leases=[order.leases[name] for name in names],
        warnings=[warnings(config, order.of(config)) for config in configs],
        watched=watched,
        parts=order.of(configs[0]).parts,
    )
