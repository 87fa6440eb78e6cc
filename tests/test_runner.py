"""From configs to results: trained once, in any company, by any executor, with the same bits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from runs_fixtures import composed, everything, trained

import mlpexp
from mlpexp.config import Config
from mlpexp.results import Result
from mlpexp.runner import RunError, run, worker_count

MIXED = (
    (),
    ("seed=4",),
    ("optimizer=momentum", "optimizer.learning_rate=1e20"),
    ("optimizer=momentum", "training.l2=0.01"),
    ("initialisation=normal", "model.dropout=0.3", "data.label_noise=0.2"),
    ("optimizer.epsilon_placement=inside", "training.restore=final"),
    ("training.patience=1", "training.tolerance=10"),
)
"""One cohort of very different lanes: one diverges, one stops early."""


def mixed(outputs: Path, *overrides: str) -> list[Config]:
    return [composed(*point, *overrides, f"outputs={outputs}") for point in MIXED]


def bits(results: list[Result]) -> list[dict[str, bytes]]:
    return [everything(result) for result in results]


# --- trained once ---


@pytest.fixture
def nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr("mlpexp.runner.train_all", refuse)


def stamps(result: Result) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in result.folder.iterdir()}


def test_the_public_name_works_again_and_again() -> None:
    for _ in range(2):
        assert mlpexp.RunError is RunError
        assert mlpexp.run(composed(), quiet=True)[0].status == "finished"


@pytest.mark.usefixtures("nothing_trains")
def test_no_runs_give_no_results() -> None:
    assert run([], quiet=True) == []


def test_what_is_recorded_is_neither_trained_nor_touched(request: pytest.FixtureRequest) -> None:
    first = trained("seed=20")
    before = stamps(first[0])
    request.getfixturevalue("nothing_trains")
    assert trained("seed=20") == first
    assert stamps(first[0]) == before
    with pytest.raises(AssertionError, match="something is trained"):
        trained("seed=20", "rerun=true")


def test_rerun_trains_again_and_gives_the_same_bits(tmp_path: Path) -> None:
    config = composed(f"outputs={tmp_path}")
    (first,) = run(config, quiet=True)
    before, old = stamps(first), everything(first)
    (again,) = run(config, rerun=True, quiet=True)
    assert stamps(again)["final.safetensors"] > before["final.safetensors"]
    assert everything(again) == old


def test_more_measurements_train_again_and_leave_weights_and_numbers_as_they_were(tmp_path: Path) -> None:
    place = f"outputs={tmp_path}"
    (first,) = run(composed(place, "measurements.quantities=[delta_norm]", "measurements.every=3"), quiet=True)
    old = everything(first)
    (second,) = run(composed(place, "measurements.quantities=[update_ratio]", "measurements.every=2"), quiet=True)
    assert second.record.quantities == ["delta_norm", "update_ratio"]
    assert second.measurements.every == 1
    assert {
        name: bits for name, bits in everything(second).items() if name in ("best", "final", "end", "loss/batch")
    } == {name: old[name] for name in ("best", "final", "end", "loss/batch")}
    (third,) = run(composed(place, "measurements=none"), quiet=True)
    assert third.record.quantities == ["delta_norm", "update_ratio"]


def test_duplicates_are_trained_once_and_results_come_in_the_given_order(tmp_path: Path) -> None:
    a, b = (composed(f"outputs={tmp_path}", f"seed={seed}") for seed in (1, 0))
    results = run([a, b, composed(f"outputs={tmp_path}", "replicates=3"), a], quiet=True)
    assert [result.config.seed for result in results] == [1, 0, 0, 1, 2, 1]
    assert len(os.listdir(tmp_path / "runs")) == 3


def test_no_epochs_measure_the_start_alone() -> None:
    (result,) = trained("training.epochs=0")
    assert result.record.steps.tolist() == [0]
    assert result.record["delta_norm"].shape == (1, 2)
    assert result.status == "finished"
    assert "accuracy/test" in result.scores


def test_a_diverged_run_is_a_result_without_scores() -> None:
    (result,) = trained("optimizer=gradient_descent", "optimizer.learning_rate=1e20")
    assert (result.status, result.scores) == ("diverged", {})
    assert result.facts["diverged_at_step"] == result.record.steps[-1]
    (silent,) = trained("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4")
    assert (silent.status, silent.facts["last_step"]) == ("diverged", 0)


SILENT_RELU = (
    "data=sine", "data.examples=200", "training.batch_size=16", "model.output=relu", "model.depth=1",
    "initialisation=normal", "initialisation.sigma_b=1.5",
)  # fmt: skip


def test_outputs_that_start_off_everywhere_are_told_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those runs have no gradient at any step; the others have one from the first."""
    configs = [composed(*SILENT_RELU, f"seed={seed}", f"outputs={tmp_path}") for seed in range(6)]
    results = run(configs)
    silent = [result for result in results if not result.record["gradient_norm"].any()]
    assert 0 < len(silent) < 6
    for result in results:
        told = any("starts at 0 for every training example" in line for line in result.warnings)
        assert told is (result in silent)
        assert any("is never below 0" in line for line in result.warnings)
        assert bool(result.record["gradient_norm"][0].any()) is not told
    said = capsys.readouterr().err
    assert said.count("is never below 0") == 1
    assert said.count("starts at 0 for every training example") == 1
    assert f"({len(silent)} of 6 runs)" in said
    run(configs)
    assert "model.output" not in capsys.readouterr().err  # nothing is trained, nothing is odd anew


# --- the same bits in any company ---


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """Every run trained by itself."""
    folder = tmp_path_factory.mktemp("alone")
    return [bits(run(config, quiet=True))[0] for config in mixed(folder)]


def test_the_mixed_runs_end_in_every_way(tmp_path: Path) -> None:
    results = run(mixed(tmp_path), quiet=True)
    assert {result.status for result in results} == {"finished", "diverged", "stopped_early"}
    assert {result.facts["lanes"] for result in results} == {len(MIXED)}


@pytest.mark.parametrize(
    "overrides", [(), ("executor.lanes=1",), ("executor.lanes=3",)], ids=["all", "alone", "threes"]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_company_changes_no_bit(
    overrides: tuple[str, ...], backwards: bool, alone: list[dict[str, bytes]], tmp_path: Path
) -> None:
    step = -1 if backwards else 1
    assert bits(run(mixed(tmp_path, *overrides)[::step], quiet=True))[::step] == alone


@pytest.mark.parametrize("overrides", [("executor.workers=1",), ("executor.workers=2", "executor.lanes=3")])
def test_worker_processes_change_no_bit(
    overrides: tuple[str, ...], alone: list[dict[str, bytes]], tmp_path: Path
) -> None:
    assert bits(run(mixed(tmp_path, "executor=local", *overrides), quiet=True)) == alone


def test_a_process_that_trains_for_itself_changes_no_bit(alone: list[dict[str, bytes]], tmp_path: Path) -> None:
    program = (
        "import sys; from mlpexp import compose, run;"
        "run([compose(point.split()) for point in sys.argv[1:]], quiet=True)"
    )
    configs = [" ".join([*SERIAL, *point, f"outputs={tmp_path}"]) for point in MIXED]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MKL", "OMP"))}
    subprocess.run([sys.executable, "-c", program, *configs], env=clean, check=True)
    assert bits(run(mixed(tmp_path), quiet=True)) == alone


SERIAL = ("tracking=none", "executor=serial", "model.depth=2", "model.width=8", "training.epochs=2")


# --- failures ---


def test_there_are_no_more_workers_than_runs() -> None:
    assert worker_count(composed("executor.workers=8"), runs=8) == 1  # serial
    assert worker_count(composed("executor=local", "executor.workers=8"), runs=3) == 3
    assert worker_count(composed("executor=local"), runs=1) == 1


def test_data_that_change_under_way_fail_their_cohort_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.csv"
    table.write_text("x,y,kind\n" + "".join(f"{i % 7},{i * i % 11},{'ab'[i % 2]}\n" for i in range(60)))
    place = f"outputs={tmp_path}"
    mine = composed("data=table", f"data.path={table}", "data.target=kind", "training.batch_size=8", place)
    from mlpexp import runner

    train_all = runner.train_all

    def after_the_file_went(*arguments: object) -> list[str]:
        table.unlink()
        return train_all(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "train_all", after_the_file_went)
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

    def poisoned(task: execution.Task) -> list[str]:
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


# --- memory ---

PEAK = """
import resource, sys
from mlpexp import compose, run
run(compose(sys.argv[1:]), quiet=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_does_not_grow_with_steps(tmp_path: Path) -> None:
    point = (*SERIAL, "model.width=64", "replicates=4", "measurements.every=50", "training.evaluate_every=1000")

    def peak(epochs: int) -> float:
        words = [*point, f"training.epochs={epochs}", f"outputs={tmp_path / str(epochs)}"]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
        return float(done.stdout)

    kept_traces = 4 * 64 * 64 * 4 * 17 * 140 / 2**20  # MB, if one array of each further step stayed
    assert peak(160) - peak(20) < kept_traces / 4
