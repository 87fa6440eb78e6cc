"""Runs on their way into a tracking store: in whole points, so many at once, and each for itself where one is bad."""

import json
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runs_fixtures import composed
from tracked_runs import shown_in

from mlpexp import tracker
from mlpexp.bulk_tracking import BulkWriter
from mlpexp.config import Tracking
from mlpexp.display import Display
from mlpexp.planning import Order, plan
from mlpexp.results import Result
from mlpexp.runner import run
from mlpexp.shown import SHOWN
from mlpexp.tracker import RUNS_AT_ONCE, Writer, together
from mlpexp.tracking import Store

Points = list[list[Result]]


def point(name: str, seeds: int, size: int = 0) -> list[Result]:
    """Runs of which so many bytes were read each."""
    runs = [Result(Path(f"{name}-{seed}")) for seed in range(seeds)]
    for one in runs:
        one.__dict__["record"] = SimpleNamespace(bytes_read=size)
    return runs


def test_batches_are_of_whole_points_in_their_order() -> None:
    points = [point(str(i), seeds) for i, seeds in enumerate((1, 40, 24, 23, 1, 64, 63, 1, 2, 5))]
    batches = list(together(points))
    assert [runs for some in batches for runs in some] == points
    sizes = [sum(map(len, some)) for some in batches]
    assert sizes == [41, 48, 64, 64, 7]
    assert max(sizes) <= RUNS_AT_ONCE


def test_a_point_of_more_runs_is_a_batch_of_its_own() -> None:
    points = [point("a", 2), point("b", RUNS_AT_ONCE + 36), point("c", 2), point("d", 2)]
    assert list(together(points)) == [points[:1], points[1:2], points[2:]]
    assert list(together([])) == []


def test_a_batch_is_bound_by_the_bytes_of_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "RECORD_BYTES", 100)
    points = [point("a", 2, 25), point("b", 2, 25), point("c", 2, 25), point("d", 1, 1000), point("e", 1, 1)]
    assert list(together(points)) == [points[:2], points[2:3], points[3:4], points[4:]]


def test_only_one_point_is_taken_beyond_a_batch() -> None:
    taken: Points = []

    def some() -> Iterator[list[Result]]:
        for i in range(10):
            taken.append(point(str(i), RUNS_AT_ONCE // 2))
            yield taken[-1]

    batches = together(some())
    assert len(next(batches)) == 2
    assert len(taken) == 3


def recorded(outputs: Path, count: int) -> Points:
    """So many points of two seeds, trained and shown nowhere."""
    place = (f"outputs={outputs}", "replicates=2", "training.epochs=1")
    points = [composed(*place, f"model.width={width}") for width in range(2, 2 + count)]
    results = iter(run(points, quiet=True))
    return [[next(results), next(results)] for _ in points]


def tracked(points: Points) -> list[Any]:
    """The configs that ask for the same runs in MLflow."""
    first = [runs[0].config for runs in points]
    return [config.model_copy(update={"tracking": Tracking(), "replicates": 2}) for config in first]


class Ledger:
    """A store that keeps what it is shown, and sees whether records are let go."""

    place = "nowhere"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.records: list[weakref.ref[object]] = []

    def check(self, *_: object) -> None:
        assert [one() for one in self.records] == [None] * len(self.records), "records of earlier batches are held"

    def show(self, results: Sequence[Result], sweep: str | None) -> None:
        self.check()
        self.records += [weakref.ref(result.record) for result in results]
        self.batches.append([result.fingerprint for result in results])


def test_records_are_let_go_before_those_of_the_next_batch_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = recorded(tmp_path, 3)
    monkeypatch.setattr(tracker, "RECORD_BYTES", 1)
    writer = Writer(plan([config for one in tracked(points) for config in one.runs()], False), None)
    writer.store = ledger = Ledger()
    monkeypatch.setattr("mlpexp.illustration.illustrate", ledger.check)
    queue = [[Result(one.folder).asked_for(one.config) for one in runs] for runs in points]
    writer.show(queue)
    assert ledger.batches == [[one.fingerprint for one in runs] for runs in points]
    assert queue == []


def damage_record(result: Result) -> None:
    (result.folder / "record.parquet").write_bytes(b"PAR1, not really")


def lose_environment(result: Result) -> None:
    (result.folder / "environment.json").unlink()


def lose_a_fact(result: Result) -> None:
    """Found only while the store is written."""
    file = result.folder / "result.json"
    file.write_text(json.dumps({key: value for key, value in result.facts.items() if key != "seconds"}))


@pytest.mark.parametrize("spoil", [damage_record, lose_environment, lose_a_fact])
@pytest.mark.parametrize("bulk", [True, False], ids=["at once", "by calls"])
def test_a_bad_point_among_good_ones_is_told_and_they_are_shown(
    spoil: Any, bulk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = recorded(tmp_path, 3)
    spoil(points[1][1])
    if not bulk:
        monkeypatch.setattr(BulkWriter, "of", lambda *_: None)
    run(tracked(points))
    good = {one.fingerprint for runs in (points[0], points[2]) for one in runs}
    shown = [one.data.tags["mlpexp.fingerprint"] for one in shown_in(tmp_path).values()]
    assert sorted(name for name in shown if name in good) == sorted(good)
    assert points[1][1].fingerprint not in shown
    assert "MLflow was not reached (" in capsys.readouterr().err


def test_what_an_error_came_after_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [one for runs in recorded(tmp_path, 1) for one in runs]
    store = Store(Tracking(), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("mlpexp.tracking.known", {}.__getitem__)
        with pytest.raises(KeyError, match="3"):
            store.show(results)
    assert not any((one.folder / SHOWN).exists() for one in results)
    store.show(results)
    assert len(shown_in(tmp_path)) == 2  # which also refuses two of a name


def show(order: Order, sweep: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs that are recorded, as a sweep's, in MLflow; whether the store was opened for it."""
    opened: list[str] = []

    def counted(store: Store) -> None:
        opened.append(store.tracking.name)
        original(store)

    original = Store.open
    with monkeypatch.context() as patch, Display(4, 0, quiet=True) as display:
        patch.setattr(Store, "open", counted)
        with tracker.tracker(order, display, sweep) as track:
            track(order.results())
    return bool(opened)


def test_no_store_is_opened_where_all_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = tracked(recorded(tmp_path, 2))
    order = plan([config for point in points for config in point.runs()])
    page = tmp_path / "pictures" / "3fa2.html"
    assert show(order, "3fa2", monkeypatch)
    first = {name: one.data.tags for name, one in shown_in(tmp_path).items()}
    assert page.exists()

    def not_read(result: Result) -> Result:
        raise AssertionError(f"the record of {result.name} is read")

    with monkeypatch.context() as patch:
        patch.setattr(Result, "whole", not_read)
        assert not show(order, "3fa2", monkeypatch)
    assert {name: one.data.tags for name, one in shown_in(tmp_path).items()} == first
    page.unlink()  # as if the sweep had been killed before it was written
    assert show(order, "3fa2", monkeypatch)
    assert page.exists()
    assert show(order, "another", monkeypatch)
    assert all("3fa2 another" in one.data.tags["mlpexp.sweep"] for one in shown_in(tmp_path).values() if seeded(one))
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    assert show(order, "3fa2", monkeypatch)
    assert len([one for one in shown_in(tmp_path).values() if seeded(one)]) == 4


def seeded(run: Any) -> bool:
    """A trained run, not the one that holds pictures."""
    return "mlpexp.fingerprint" in run.data.tags


@pytest.mark.parametrize(("cores", "at_once"), [(64, True), (1, False)])
def test_the_store_is_opened_at_once_where_a_core_has_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, at_once: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(tracker.psutil, "cpu_count", lambda: cores)
    monkeypatch.setattr(Writer, "open", lambda writer: opened.append("store"))
    order = plan(composed(f"outputs={tmp_path}", "tracking=mlflow", "replicates=3").runs())
    with Display(3, 3, quiet=True) as display, tracker.tracker(order, display):
        time.sleep(0.1)
        assert (opened == ["store"]) is at_once
    assert opened == (["store"] if at_once else [])  # nothing came
