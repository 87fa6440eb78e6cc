"""From configs to results: trained once, in any company, by any executor, with the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs_fixtures import SMALL, composed, everything, trained

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
    configs = [" ".join([*SMALL, *point, f"outputs={tmp_path}"]) for point in MIXED]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MKL", "OMP"))}
    subprocess.run([sys.executable, "-c", program, *configs], env=clean, check=True)
    assert bits(run(mixed(tmp_path), quiet=True)) == alone


# --- processes and memory ---


def test_there_are_no_more_workers_than_runs() -> None:
    assert worker_count(composed("executor.workers=8"), runs=8) == 1  # serial
    assert worker_count(composed("executor=local", "executor.workers=8"), runs=3) == 3
    assert worker_count(composed("executor=local"), runs=1) == 1


PEAK = """
import resource, sys
from mlpexp import compose, run
run(compose(sys.argv[1:]), quiet=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_does_not_grow_with_steps(tmp_path: Path) -> None:
    point = (*SMALL, "model.width=64", "replicates=4", "measurements.every=50", "training.evaluate_every=1000")

    def peak(epochs: int) -> float:
        words = [*point, f"training.epochs={epochs}", f"outputs={tmp_path / str(epochs)}"]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
        return float(done.stdout)

    kept_traces = 4 * 64 * 64 * 4 * 17 * 140 / 2**20  # MB, if one array of each further step stayed
    assert peak(160) - peak(20) < kept_traces / 4
