"""Small files by which a cohort in training tells how far it is and what lanes score, and learns which are to leave."""

from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import composed, everything

from mlpexp import cohort_training
from mlpexp.execution import train_cohort
from mlpexp.planning import plan
from mlpexp.records import Array
from mlpexp.results import Result, recorded
from mlpexp.runner import run
from mlpexp.signals import Progress, ask_to_leave, asked_to_leave, evaluations, tell_evaluation
from mlpexp.task import Task


def test_progress_counts_up_a_few_times_a_second_and_is_zero_before_a_cohort_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("mlpexp.signals.time.monotonic", lambda: now)
    assert Progress.read(tmp_path) == 0
    progress = Progress(tmp_path)
    seen = []
    for now, more in ((100.0, 5), (100.01, 1), (100.2, 2**40)):  # noqa: B007 (the clock)
        progress.add(more)
        seen.append(Progress.read(tmp_path))
    assert seen == [5, 5, 6 + 2**40]
    (tmp_path / "progress").write_bytes(b"half")
    assert Progress.read(tmp_path) == 0


def test_evaluations_are_read_from_where_one_left_off_and_half_a_line_waits(tmp_path: Path) -> None:
    assert evaluations(tmp_path) == ([], 0)
    tell_evaluation(tmp_path, 0, [0, 2], np.array([0.5, np.nan]))
    found, place = evaluations(tmp_path)
    assert found == [(0, {0: 0.5, 2: None})]
    tell_evaluation(tmp_path, 1, [0], np.array([0.1]))
    with open(tmp_path / "evaluations.jsonl", "a") as stream:
        stream.write('{"epoch": 2, "la')
    again, place = evaluations(tmp_path, place)
    assert again == [(1, {0: 0.1})]
    assert evaluations(tmp_path, place) == ([], place)


def test_who_was_asked_to_leave_stays_asked(tmp_path: Path) -> None:
    ask_to_leave(tmp_path, [3])
    ask_to_leave(tmp_path, [1])
    assert asked_to_leave(tmp_path) == {1, 3}
    ask_to_leave(tmp_path / "not begun", [1])
    assert asked_to_leave(tmp_path / "not begun") == set()


def watched(outputs: Path, *seeds: int) -> tuple[Task, list[str]]:
    """A cohort of these seeds that tells its validation losses."""
    order = plan([composed(f"seed={s}", "training.epochs=5", f"outputs={outputs}") for s in seeds])
    contents = [config.record() for config in order.configs]
    digest = order.of(order.configs[0]).digest
    return Task(
        contents, order.fingerprints, digest, str(outputs), [None] * len(seeds), watched="loss/validation"
    ), order.fingerprints


def test_a_lane_that_is_asked_to_leave_does_and_its_neighbours_keep_their_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, list[int]]] = []

    def tell(folder: Path, epoch: int, lanes: list[int], values: Array) -> None:
        told.append((epoch, lanes))
        tell_evaluation(folder, epoch, lanes, values)
        if epoch == 1:
            ask_to_leave(folder, [1])

    task, names = watched(tmp_path / "a", 0, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(cohort_training, "tell_evaluation", tell)
        train_cohort(task)
    assert [lanes for _, lanes in told] == [[0, 1, 2]] * 2 + [[0, 2]] * 4
    alone = {one.fingerprint: everything(one) for one in run(
        composed("replicates=3", "training.epochs=5", f"outputs={tmp_path / 'b'}"), quiet=True
    )}  # fmt: skip
    kept = {one.fingerprint: everything(one) for one in recorded(tmp_path / "a")}
    assert kept == {name: content for name, content in alone.items() if name != names[1]}

    left = Result(tmp_path / "a" / "interrupted" / names[1])
    assert (left.status, left.next_step, left.facts["last_step"], left.scores) == ("pruned", 34, 33, {})
    (again,) = run(composed("seed=1", "training.epochs=5", f"outputs={tmp_path / 'a'}"), quiet=True)
    assert again.facts["went_on_from_step"] == 34
    assert everything(again) == alone[names[1]]
    assert not left.exists()


def test_a_cohort_that_is_not_watched_tells_nothing_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it told, or asked")

    monkeypatch.setattr(cohort_training, "tell_evaluation", never)
    monkeypatch.setattr(cohort_training, "asked_to_leave", never)
    (result,) = run(composed(f"outputs={tmp_path}"), quiet=True)
    assert result.status == "finished"
