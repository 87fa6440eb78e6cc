"""Shows runs in the tracking store while others train: whole points, in a thread of its own.

Flow: runner → **tracker** → illustration, gradient_flow, tracking.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil

from mlpexp.cohorts import worker_count
from mlpexp.config import Config
from mlpexp.display import Display
from mlpexp.gradient_flow import Flows
from mlpexp.planning import Order
from mlpexp.projection import version_of
from mlpexp.results import Result
from mlpexp.run_note import edition
from mlpexp.shown import Shown
from mlpexp.tracking_database import place_of

Track = Callable[[list[Result]], None]

RUNS_AT_ONCE, RECORD_BYTES = 64, 256 << 20
"""Of one transaction: with five runs, writing pages of the database took three times as long. Bytes of all records that
are in memory for it."""


class WholePoints:
    """Holds runs back until all replicates of their point are there: a point gets one picture, of all its seeds."""

    def __init__(self, order: Order) -> None:
        self.missing: Counter[str] = Counter()
        self.held: dict[str, list[Result]] = {}
        self.known: set[str] = set()
        self.expect(order.fingerprints, order.configs)

    def expect(self, names: Sequence[str], configs: Sequence[Config]) -> None:
        """More runs will come; those that are known already count once."""
        for name, config in zip(names, configs, strict=True):
            if name not in self.known:
                self.known.add(name)
                self.missing[config.point()] += 1

    def after(self, results: list[Result]) -> list[list[Result]]:
        """Points that are whole now that these runs are recorded too."""
        whole = []
        for result in results:
            point = result.config.point()
            waiting = Result(result.folder).asked_for(result.config)  # what was read of it is let go meanwhile
            self.held.setdefault(point, []).append(waiting)
            self.missing[point] -= 1
            if not self.missing[point]:
                whole.append(self.held.pop(point))
        return whole

    def rest(self) -> list[list[Result]]:
        """Points of which some runs failed; they are held no longer."""
        held, self.held = self.held, {}
        return list(held.values())


def together(points: Iterable[list[Result]]) -> Iterator[list[list[Result]]]:
    """Points of a few dozen runs, which a store writes in one transaction, and whose records fit into memory.

    A point is never parted, however large. The next point is taken before a batch is given, and none after it.
    """
    some: list[list[Result]] = []
    count = size = 0
    for runs in points:
        more = sum(run.record.bytes_read for run in runs)
        if some and (count + len(runs) > RUNS_AT_ONCE or size + more > RECORD_BYTES):
            yield some
            some, count, size = [], 0, 0
        some.append(runs)
        count, size = count + len(runs), size + more
    if some:
        yield some


class Writer:
    """Pictures, and runs in a tracking store, one call after the other; what is wrong with one point stops no other."""

    def __init__(self, order: Order, sweep: str | None) -> None:
        self.order, self.sweep = order, sweep
        self.store: Any = None
        self.away: Exception | None = None  # it was tried: a locked store costs one wait, not one a batch
        self.flows = Flows(order.outputs, sweep) if sweep else None

    def open(self) -> None:
        """Make the store ready, once; to load MLflow takes seconds."""
        if self.store:
            return
        from mlpexp.tracking import Store

        self.store = Store(self.order.configs[0].tracking, self.order.outputs)
        try:
            self.store.open()
        except RuntimeError as error:
            self.away = error

    def show(self, points: list[list[Result]]) -> None:
        """Draw all points and write them into the store; then raises the first of what went wrong. Empties the list.

        Where all of them are shown already, neither the store is opened nor a record read.
        """
        errors: list[Exception] = []
        place = self.store.place if self.store else place_of(self.order.configs[0].tracking, self.order.outputs)
        points[:] = [runs for runs in points if not self._is_shown(runs, place)]
        if points:
            self.open()
        for some in together(self._drawn(points, errors)):
            self._write(some, errors)
            some.clear()  # before the next records are read
        if errors:
            raise errors[0]

    def keep_flows(self) -> None:
        """The page of all points of a sweep."""
        page = self.flows.write() if self.flows else None
        if page is not None and self.store and self.away is None:
            self.store.keep_pictures(self.sweep, page)

    def _is_shown(self, runs: list[Result], place: str) -> bool:
        """Whether the store has all of a point, as this sweep's, and the sweep's page as well."""
        if self.flows and not self.flows.has(runs[0].config.point()):
            return False
        for run in runs:
            shown = Shown.read(run)
            if shown is None or not shown.is_of(place, version_of(run)) or shown.edition != edition():
                return False
            if self.sweep and self.sweep not in shown.sweeps:
                return False
        return True

    def _drawn(self, points: list[list[Result]], errors: list[Exception]) -> Iterator[list[Result]]:
        """Points with their pictures; they leave the list, so that their records go with their batch."""
        from mlpexp.illustration import illustrate

        points.reverse()
        while points:
            runs = points.pop()
            try:
                for run in runs:
                    run.whole()  # read once, for the picture and for the store
                illustrate(runs)
                if self.flows:
                    self.flows.add(runs)
            except Exception as error:
                keep(error, errors)
            else:
                yield runs

    def _write(self, points: list[list[Result]], errors: list[Exception]) -> None:
        """All in one transaction, or each point by itself where something about one of them is wrong."""
        if self.away:
            keep(self.away, errors)
            return
        try:
            self.store.show([run for runs in points for run in runs], self.sweep)
        except RuntimeError as error:
            self.away = error
            keep(error, errors)
        except Exception as error:
            if len(points) == 1:
                keep(error, errors)
                return
            for runs in points:
                self._write([runs], errors)


def has_time(order: Order) -> bool:
    """Whether a core has nothing to train while others do: to load MLflow takes seconds, which new workers need."""
    return bool(order.to_train) and worker_count(order.configs[0], len(order.to_train)) < (psutil.cpu_count() or 1)


def keep(error: Exception, errors: list[Exception]) -> None:
    """The error alone: its traceback would hold the records of a batch."""
    errors.append(error.with_traceback(None))


@contextmanager
def tracker(
    order: Order, display: Display, sweep: str | None = None, complete: WholePoints | None = None
) -> Iterator[Track]:
    """A function that shows runs in the tracking store, one batch after the other in a thread of its own.

    `complete` is the caller's where more runs will come than the order has now.

    A store that is away stops nothing: the run folders are the record, and the same command shows them later.
    """
    tracking = order.configs[0].tracking
    if tracking.name == "none":
        yield lambda results: None
        return

    writer = Writer(order, sweep)
    with ThreadPoolExecutor(1, "tracking") as thread:
        calls: list[Future[None]] = []
        complete = complete or WholePoints(order)

        def submit(function: Callable[..., None], *arguments: object) -> None:
            calls.append(thread.submit(function, *arguments))

        def show(points: list[list[Result]]) -> None:
            if points:
                submit(writer.show, points)

        if has_time(order):
            calls.append(thread.submit(writer.open))
        yield lambda results: show(complete.after(results))
        show(complete.rest())
        submit(writer.keep_flows)
        display.waiting("writing to MLflow")
        errors = [error for call in calls if (error := call.exception())]
    if writer.store and writer.store.notice:
        display.note(writer.store.notice)
    if errors:
        display.note(
            f"MLflow was not reached ({(str(errors[0]).splitlines() or ['?'])[0]}); the runs are recorded under "
            f"{order.outputs}/runs, and the same command shows them once the store is back"
        )
