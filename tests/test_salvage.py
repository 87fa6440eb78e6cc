"""Interrupted runs go on, finished ones can be made longer: with the bits of a run that was never interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from runs_fixtures import command, composed, everything
from safetensors.numpy import load_file, save_file

from mlpexp.results import Result
from mlpexp.runner import run
from mlpexp.salvage import is_owned, own, salvage

EVERY_STATE = (
    (),
    ("optimizer=momentum", "seed=3"),
    ("optimizer.epsilon_placement=inside", "training.l2=0.01"),
    ("model.dropout=0.3", "data.label_noise=0.2"),
    ("training.patience=3", "training.tolerance=10"),  # stops in its third epoch
    ("training.restore=final",),
)


def longer(outputs: Path, epochs: int, *overrides: str) -> list[Result]:
    points = [(*point, f"training.epochs={epochs}", f"outputs={outputs}", *overrides) for point in EVERY_STATE]
    return run([composed(*point) for point in points], quiet=True)


@pytest.mark.parametrize(
    "common",
    [
        (),
        ("training.sampler=fresh", "measurements.every=5"),
        ("training.evaluate_every=2",),
        ("training.evaluate_train_every=3",),
        ("model.batch_norm=after", "model.depth=3", "model.skip=true", "training.batch_size=65"),
    ],
)
def test_a_run_made_longer_has_the_bits_of_one_trained_at_once(tmp_path: Path, common: tuple[str, ...]) -> None:
    short = longer(tmp_path / "two", 2, *common)
    kept = [everything(result) for result in short]
    extended = longer(tmp_path / "two", 4, *common)
    at_once = longer(tmp_path / "four", 4, *common)
    assert [result.facts["went_on_from_step"] for result in extended] == [34] * len(EVERY_STATE)
    assert [result.facts["went_on_from_step"] for result in at_once] == [0] * len(EVERY_STATE)
    assert [everything(result) for result in extended] == [everything(result) for result in at_once]
    assert [everything(result) for result in short] == kept


BUDGET = ("training.epochs=null",)


@pytest.mark.parametrize(
    "common", [(), ("training.sampler=fresh",), ("training.evaluate_every=2",), ("training.evaluate_train_every=null",)]
)
@pytest.mark.parametrize("unit", ["updates", "examples", "flops"])
def test_a_run_that_ended_within_an_epoch_goes_on_too(tmp_path: Path, unit: str, common: tuple[str, ...]) -> None:
    """Its last evaluation, which found its best weights, is no evaluation of the longer run."""
    of_an_update = {"updates": 1, "examples": 64, "flops": 64 * (6 * (64 * 8 + 8 * 10) - 2 * 64 * 8)}[unit]
    points = [(*point, *BUDGET, *common) for point in EVERY_STATE]

    def all_of(place: str, updates: int) -> list[Result]:
        budget = (f"training.{unit}={updates * of_an_update}", f"outputs={tmp_path / place}")
        return run([composed(*point, *budget) for point in points], quiet=True)

    short = all_of("twice", 20)
    kept = [everything(result) for result in short]
    extended, at_once = (all_of(place, 45) for place in ("twice", "once"))
    begun = [result.facts["last_step"] if result.status == "finished" else 0 for result in short]
    assert [result.facts["went_on_from_step"] for result in extended] == begun
    assert sum(step % 17 != 0 for step in begun) >= 5
    assert [everything(result) for result in extended] == [everything(result) for result in at_once]
    assert [everything(result) for result in short] == kept


def test_a_budget_in_another_unit_goes_on_as_well(tmp_path: Path) -> None:
    def result(place: str, *budget: str) -> Result:
        return run(composed(*budget, f"outputs={tmp_path / place}"), quiet=True)[0]

    result("a", *BUDGET, "training.updates=20")
    longer, at_once = (result(place, "training.epochs=3") for place in "ab")
    assert longer.facts["went_on_from_step"] == 20
    assert everything(longer) == everything(at_once)
    assert result("a", *BUDGET, "training.updates=55").facts["went_on_from_step"] == 51


def test_a_record_without_its_earlier_best_weights_is_not_gone_on_from(tmp_path: Path) -> None:
    """As they were written before budgets ended within epochs: with the best weights of the last evaluation alone."""
    place = f"outputs={tmp_path}"
    (first,) = run(composed(*BUDGET, "training.updates=20", place), quiet=True)
    file = first.folder / "checkpoint.safetensors"
    kept = load_file(file)
    assert first.facts["best_step"] == 20
    save_file({name: array for name, array in kept.items() if name != "best"}, file)
    (result,) = run(composed(*BUDGET, "training.updates=25", place), quiet=True)
    assert result.facts["went_on_from_step"] == 0


def test_a_run_that_reached_its_loss_is_not_gone_on_from(tmp_path: Path) -> None:
    place = f"outputs={tmp_path}"
    (first,) = run(composed("training.until_loss=2.6", place), quiet=True)
    (longer,) = run(composed("training.until_loss=2.6", "training.epochs=4", place), quiet=True)
    assert (first.status, longer.status) == ("reached_loss", "reached_loss")
    assert longer.facts["went_on_from_step"] == 0
    assert everything(longer) == everything(first)


def test_runs_of_other_lengths_go_on_side_by_side(tmp_path: Path) -> None:
    for epochs in (1, 2):
        run(composed(f"seed={epochs}", f"training.epochs={epochs}", f"outputs={tmp_path / 'a'}"), quiet=True)
    points = [(f"seed={seed}", "training.epochs=3") for seed in (0, 1, 2)]
    extended, at_once = (
        run([composed(*point, f"outputs={tmp_path / place}") for point in points], quiet=True) for place in "ab"
    )
    assert [result.facts["went_on_from_step"] for result in extended] == [0, 17, 34]
    assert [everything(result) for result in extended] == [everything(result) for result in at_once]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (("measurements=none",), ()),
        (("seed=1",), ()),
        (("data.split.seed=1",), ()),
        (("optimizer.learning_rate=0.5",), ()),
        (("training.patience=1", "training.tolerance=100"), ("training.patience=1", "training.tolerance=100")),
        (
            ("optimizer=momentum", "optimizer.learning_rate=1e20"),
            ("optimizer=momentum", "optimizer.learning_rate=1e20"),
        ),
    ],
    ids=["other measurements", "other seed", "other split", "other rate", "stopped early", "diverged"],
)
def test_a_run_goes_on_from_nothing_but_itself(first: tuple[str, ...], then: tuple[str, ...], tmp_path: Path) -> None:
    place = f"outputs={tmp_path / 'a'}"
    run(composed(*first, place), quiet=True)
    (result,) = run(composed(*then, "training.epochs=4", place), quiet=True)
    (alone,) = run(composed(*then, "training.epochs=4", f"outputs={tmp_path / 'b'}"), quiet=True)
    assert result.facts["went_on_from_step"] == 0
    assert everything(result) == everything(alone)


def test_a_shorter_run_does_not_go_on_from_a_longer_one(tmp_path: Path) -> None:
    run(composed("training.epochs=3", f"outputs={tmp_path}"), quiet=True)
    (short,) = run(composed("training.epochs=2", f"outputs={tmp_path}"), quiet=True)
    assert short.facts["went_on_from_step"] == 0
    assert short.record.steps[-1] == 34


DRIVER = """
import sys
from mlpexp import compose, run
run(compose(sys.argv[1:]), quiet=True)
"""


@pytest.fixture(scope="module")
def killed_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder whose command was killed, and its workers with it, after a checkpoint."""
    outputs = tmp_path_factory.mktemp("left")
    words = [*LONG, "executor=serial", "executor.checkpoint_seconds=0", f"outputs={outputs}"]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *words])
    while not list(outputs.glob("cohorts/*/checkpoint.safetensors")):
        assert driver.poll() is None, "it ended before it could be killed: make it longer"
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    return outputs


LONG = ("tracking=none", "model.depth=2", "model.width=8", "training.epochs=150", "replicates=2", "model.dropout=0.1")


@pytest.fixture
def left_behind(killed_command: Path, tmp_path: Path) -> Path:
    """A copy of it, to be used up."""
    return Path(shutil.copytree(killed_command, tmp_path / "left"))


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "headers.json"])
def test_a_damaged_remnant_of_a_killed_command_stops_nothing(file: str, left_behind: Path) -> None:
    (cohort,) = (left_behind / "cohorts").iterdir()
    (cohort / file).write_bytes(b"damaged")
    assert salvage(left_behind) == 0
    assert list((left_behind / "cohorts").iterdir()) == []


def test_the_same_command_goes_on_after_it_was_killed(left_behind: Path, tmp_path: Path) -> None:
    assert not (left_behind / "runs").exists()
    went_on, whole = (
        run(composed(*LONG[3:], f"outputs={outputs}"), quiet=True) for outputs in (left_behind, tmp_path / "whole")
    )
    assert all(0 < result.facts["went_on_from_step"] < 150 * 17 for result in went_on)
    assert [everything(result) for result in went_on] == [everything(result) for result in whole]
    assert list((left_behind / "cohorts").iterdir()) == []
    assert list((left_behind / "interrupted").glob("*")) == []


def test_what_a_living_process_trains_is_left_alone(tmp_path: Path) -> None:
    mine, dead = tmp_path / "cohorts" / "mine", tmp_path / "cohorts" / "dead"
    own(mine)
    own(dead)
    (dead / "owner.json").write_text(
        (dead / "owner.json").read_text().replace(str(os.getpid()), str(no_such_process()))
    )
    assert is_owned(mine)
    assert not is_owned(dead)
    assert salvage(tmp_path) == 0
    assert [folder.name for folder in (tmp_path / "cohorts").iterdir()] == ["mine"]


def no_such_process() -> int:
    return next(pid for pid in range(2**22 - 1, 0, -1) if not psutil.pid_exists(pid))


def test_a_damaged_checkpoint_costs_time_and_no_run(tmp_path: Path) -> None:
    place = f"outputs={tmp_path / 'a'}"
    (first,) = run(composed(place), quiet=True)
    (first.folder / "checkpoint.safetensors").write_bytes(b"damaged")
    (result,) = run(composed("training.epochs=3", place), quiet=True)
    (alone,) = run(composed("training.epochs=3", f"outputs={tmp_path / 'b'}"), quiet=True)
    assert everything(result) == everything(alone)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_says_so_and_leaves_no_process_and_goes_on(
    sign: signal.Signals, code: int, tmp_path: Path
) -> None:
    words = ["train", "tracking=none", "model.width=8", "training.epochs=200", f"outputs={tmp_path}"]
    often = [sys.executable, "-m", "mlpexp", *words, "executor.checkpoint_seconds=0"]
    process = subprocess.Popen(often, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and not list(tmp_path.glob("cohorts/*/checkpoint.safetensors")):
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sign)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert told.splitlines()[-1].startswith("mlpexp: interrupted; finished runs are recorded")
    assert "Traceback" not in told
    assert "Warning" not in told
    assert psutil.wait_procs(family, timeout=10)[1] == []
    again = command(*words, cwd=tmp_path, timeout=180)
    assert "going on from an interrupted or a shorter run: 1 run" in again.stderr
