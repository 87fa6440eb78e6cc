"""Shows runs in the tracking store while others train: whole points, in a thread of its own.

Flow: runner → **tracker** → illustration, gradient_flow, tracking.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from mlpexp.config import Config
from mlpexp.display import Display
from mlpexp.planning import Order
from mlpexp.results import Result

Track = Callable[[list[Result]], None]

RUNS_AT_ONCE = 64
"""Of one transaction: with five, writing pages of the database took three times as long."""


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
        """Points of which some runs failed."""
        return list(self.held.values())


def together(points: Sequence[list[Result]]) -> Iterator[list[list[Result]]]:
    """Points of a few dozen runs: a store writes them in one transaction, and their records fit into memory."""
    some: list[list[Result]] = []
    for runs in points:
        if some and sum(map(len, some)) + len(runs) > RUNS_AT_ONCE:
            yield some
            some = []
        some.append(runs)
    if some:
        yield some


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

    opened: list[Any] = []
    away: list[Exception] = []
    flows: list[Any] = []

    def prepare() -> None:
        from mlpexp.tracking import Store

        opened.append(Store(tracking, order.outputs))
        try:
            opened[0].open()
        except RuntimeError as error:
            away.append(error)
            raise

    def show(points: list[list[Result]]) -> None:
        from mlpexp.gradient_flow import Flows
        from mlpexp.illustration import illustrate

        for runs in points:
            for run in runs:
                run.record.whole()  # read once, for the picture and for the store
            illustrate(runs)
            if sweep:
                flows[:] = flows or [Flows(order.outputs, sweep)]
                flows[0].add(runs)
        if away:
            raise away[0]  # it was tried: a locked store costs one wait, not one a batch
        try:
            opened[0].show([run for runs in points for run in runs], sweep)
        except RuntimeError as error:
            away.append(error)
            raise

    def keep_flows() -> None:
        page = flows[0].write() if flows else None
        if page is not None and not away:
            opened[0].keep_pictures(sweep, page)

    with ThreadPoolExecutor(1, "tracking") as writer:
        batches = [writer.submit(prepare)]
        complete = complete or WholePoints(order)
        yield lambda results: batches.extend(writer.submit(show, some) for some in together(complete.after(results)))
        batches += [writer.submit(show, some) for some in together(complete.rest())]
        batches.append(writer.submit(keep_flows))
        display.waiting("writing to MLflow")
        errors = [error for batch in batches if (error := batch.exception())]
    if opened and opened[0].notice:
        display.note(opened[0].notice)
    if errors:
        display.note(
            f"MLflow was not reached ({(str(errors[0]).splitlines() or ['?'])[0]}); the runs are recorded under "
            f"{order.outputs}/runs, and the same command shows them once the store is back"
        )
