"""What fails, fails alone: data that change under way, workers that are killed, a run without room for it."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from runs_fixtures import composed, everything

from mlpexp.config import Config
from mlpexp.results import Result
from mlpexp.runner import RunError, run
from mlpexp.task import Task


def test_data_that_change_under_way_fail_their_cohort_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.csv"
    table.write_text("x,y,kind\n" + "".join(f"{i % 7},{i * i % 11},{'ab'[i % 2]}\n" for i in range(60)))
    place = f"outputs={tmp_path}"
    mine = composed("data=table", f"data.path={table}", "data.target=kind", "training.batch_size=8", place)
    from mlpexp import runner

    train_all = runner.train_all

    def after_the_file_went(*arguments: Any) -> list[str]:
        table.unlink()
        return train_all(*arguments)

    monkeypatch.setattr(runner, "train_all", after_the_file_went)
    monkeypatch.setattr("mlpexp.feasibility.KEPT_BYTES", 0)  # small data go with their task: these are loaded there
    with pytest.raises(RunError, match=r"failed: .*table\.csv") as failed:
        run([mine, composed(place)], quiet=True)
    assert len(str(failed.value).splitlines()) == 1
    assert [Result(folder).config.data.name for folder in (tmp_path / "runs").iterdir()] == ["digits"]


class Killer(threading.Thread):
    """Kills the worker that trains, once all other runs are recorded; and its successors, so often."""

    def __init__(self, outputs: Path, others: int, times: int) -> None:
        super().__init__(daemon=True)
        self.outputs, self.others, self.times, self.killed = outputs, others, times, set[int]()

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(self.killed) < self.times:
            time.sleep(0.005)
            if len(list(self.outputs.glob("runs/*/result.json"))) < self.others:
                continue
            for checkpoint in self.outputs.glob("cohorts/*/checkpoint.safetensors"):
                self.kill(checkpoint.with_name("owner.json"))

    def kill(self, owner: Path) -> None:
        try:
            worker = int(json.loads(owner.read_text())["pid"])
        except (OSError, ValueError):
            return
        if worker not in self.killed and len(self.killed) < self.times:
            self.killed.add(worker)
            os.kill(worker, signal.SIGKILL)


EPOCHS = 120


def long_and_short(outputs: Path) -> list[Config]:
    common = ("executor=local", "executor.workers=2", "executor.checkpoint_seconds=0", f"outputs={outputs}")
    return [composed(f"training.epochs={EPOCHS}", "model.dropout=0.1", *common), composed("training.epochs=1", *common)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The long run, as it is when nobody is killed."""
    place = f"outputs={tmp_path_factory.mktemp('whole')}"
    return everything(run(composed(f"training.epochs={EPOCHS}", "model.dropout=0.1", place), quiet=True)[0])


def test_a_worker_that_is_killed_once_costs_no_run_and_no_bit(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    killer = Killer(tmp_path, others=1, times=1)
    killer.start()
    long, short = run(long_and_short(tmp_path), quiet=True)
    killer.join()
    assert killer.killed.isdisjoint({0, os.getpid()})
    assert 0 < long.facts["went_on_from_step"] < EPOCHS * 17
    assert short.facts["went_on_from_step"] == 0
    assert everything(long) == uninterrupted


def test_a_workers_death_disturbs_no_other_cohort(tmp_path: Path) -> None:
    """Two long runs beside one another: one worker is killed, the other one's run knows nothing of it."""
    words = (f"training.epochs={EPOCHS}", "executor.workers=2", "executor.checkpoint_seconds=0", f"outputs={tmp_path}")
    killer = Killer(tmp_path, others=0, times=1)
    killer.start()
    results = run([composed("executor=local", *words, f"model.depth={depth}") for depth in (2, 3)], quiet=True)
    killer.join()
    assert sorted(result.facts["went_on_from_step"] > 0 for result in results) == [False, True]


def test_workers_that_are_killed_again_fail_their_run_alone_and_the_same_command_finishes_it(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    killer = Killer(tmp_path, others=1, times=2)
    killer.start()
    with pytest.raises(RunError) as failed:
        run(long_and_short(tmp_path), quiet=True)
    killer.join()
    (recorded,) = (tmp_path / "runs").glob("[!.]*")
    assert Result(recorded).config.training.epochs == 1
    (line,) = str(failed.value).splitlines()
    assert " failed: a worker process died (killed, or out of memory) (" in line
    assert "; alone: mlpexp train " in line
    assert recorded.name not in line
    long, _ = run(long_and_short(tmp_path), quiet=True)
    assert 0 < long.facts["went_on_from_step"] < EPOCHS * 17
    assert everything(long) == uninterrupted
    assert list((tmp_path / "cohorts").iterdir()) == []


def test_a_poisonous_run_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpexp import execution

    train_cohort = execution.train_cohort

    def poisoned(task: Task) -> list[str]:
        if any(content["seed"] == 3 for content in task.configs):
            raise MemoryError("no room for seed 3")
        return train_cohort(task)

    monkeypatch.setattr(execution, "train_cohort", poisoned)
    with pytest.raises(
        RunError, match=r"failed: MemoryError: no room for seed 3 \(.*\.txt\); alone: mlpexp train .*seed=3"
    ):
        run(composed("replicates=6", f"outputs={tmp_path}"), quiet=True)
    seeds = {Result(folder).config.seed for folder in (tmp_path / "runs").glob("[!.]*")}
    assert seeds == {0, 1, 2, 4, 5}
