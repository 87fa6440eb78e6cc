"""Sweeps: a whole multirun as one order, with Hydra's folders, one table, and nothing trained twice."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console
from runs_fixtures import GRID, command, files_below

from mlpexp.browse.tables import load
from mlpexp.composition import compose
from mlpexp.results import recorded
from mlpexp.score_tables import show_points
from mlpexp.tracking import Store
from mlpexp.verdicts import mean, paired_difference, ranked


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with a sweep of four points of two seeds; its standard output and error."""
    folder = tmp_path_factory.mktemp("swept")
    done = command("sweep", *GRID, "hydra.sweep.dir=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


# --- folders and tables ---


def test_every_job_has_hydras_folder_and_they_share_one_hydra_yaml(swept: tuple[Path, str, str]) -> None:
    sweep = swept[0] / "sweep"
    assert (sweep / "multirun.yaml").exists()
    for number, (depth, activation) in enumerate([(1, "tanh"), (1, "relu"), (3, "tanh"), (3, "relu")]):
        own = sweep / str(number) / ".hydra"
        config = OmegaConf.load(own / "config.yaml")
        assert (config.model.depth, config.model.activation) == (depth, activation)
        assert f"model.depth={depth}" in (own / "overrides.yaml").read_text()
        assert (own / "hydra.yaml").samefile(sweep / "hydra.yaml")


def test_the_table_of_points_has_the_means_of_their_runs(swept: tuple[Path, str, str]) -> None:
    with open(swept[0] / "sweep" / "points.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = load(swept[0] / "outputs")
    assert len(rows) == 4
    for row in rows:
        runs = table[table["point"] == row["point"]]
        assert len(runs) == int(row["runs"]) == 2
        assert float(row["accuracy/validation"]) == pytest.approx(runs["accuracy/validation"].mean())


def test_test_scores_are_shown_only_where_asked_for(swept: tuple[Path, str, str]) -> None:
    assert "test scores are kept for the end" in swept[1]
    again = command("sweep", *GRID, "--test", cwd=swept[0])
    assert again.returncode == 0
    assert "test scores are kept" not in again.stdout
    assert "recorded before, taken as they are: 8 of 8 runs" in again.stderr
    assert "training" not in again.stderr


def test_a_plan_tells_what_would_be_trained_and_writes_nothing(swept: tuple[Path, str, str]) -> None:
    before = files_below(swept[0])
    done = command("sweep", *GRID[:-1], "replicates=3", "--plan", cwd=swept[0])
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["4 points, 12 runs", "8 runs are recorded already"]
    assert "4 runs are to be trained, in 2 cohorts on 1 process" in done.stdout
    assert re.search(r"training will take under 10 s \(from 8 recorded runs\)", done.stdout)
    assert files_below(swept[0]) == before


def test_all_refused_points_come_in_one_table_and_nothing_is_written(tmp_path: Path) -> None:
    """By config, by data, and those that two keys spoil; the point that is right is not named."""
    grid = ("model.depth=0,2", "model.activation=relu,rleu", "training.batch_size=64,5000", "tracking=none")
    done = command("sweep", *grid, cwd=tmp_path)
    assert done.returncode == 2
    head, *rest = done.stderr.splitlines()
    assert head == "mlpexp: 7 of 8 points are refused, nothing was trained"
    listed = [line for line in rest if line.startswith("  [")]
    number = {line.split()[1]: line.split()[0] for line in listed}
    assert "did you mean relu?" in listed[1]
    assert "is more than the 1077 training examples of digits" in listed[2]
    deep, activation, batch = (number[key] for key in ("model.depth", "model.activation", "training.batch_size=5000"))
    rows = [re.split(r"  +", line) for line in rest[len(listed) :]]
    assert rows == [
        ["point", "refused for"],
        ["model.depth=0 model.activation=relu training.batch_size=64", deep],
        ["model.depth=0 model.activation=relu training.batch_size=5000", deep],
        ["model.depth=0 model.activation=rleu training.batch_size=64", f"{deep} {activation}"],
        ["model.depth=0 model.activation=rleu training.batch_size=5000", f"{deep} {activation}"],
        ["model.depth=2 model.activation=relu training.batch_size=5000", batch],
        ["model.depth=2 model.activation=rleu training.batch_size=64", activation],
        ["model.depth=2 model.activation=rleu training.batch_size=5000", activation],
    ]
    assert files_below(tmp_path) == []


def test_what_all_points_do_wrong_is_said_once(tmp_path: Path) -> None:
    done = command("sweep", "model.depth=1,2", "seed=-1", cwd=tmp_path)
    assert done.stderr == "mlpexp: seed must be at least 0, got -1\n"


def test_a_sweep_keeps_what_was_asked_and_is_the_same_sweep_when_asked_again(swept: tuple[Path, str, str]) -> None:
    kept = json.loads((swept[0] / "sweep" / "sweep.json").read_text())
    assert len(kept["points"]) == 4
    assert set(kept["runs"]) == set(load(swept[0] / "outputs")["fingerprint"])
    (own,) = (swept[0] / "outputs" / "sweeps").glob("*.json")
    assert own.stem == kept["sweep"]
    assert f'LIKE "%{kept["sweep"]}%"' not in swept[1]  # tracking=none: there is no dashboard to search


def test_a_run_in_mlflow_names_every_sweep_that_it_belongs_to(tmp_path: Path) -> None:
    grid = ("executor=serial", "model.width=4", "training.epochs=1")
    for depths in ("1,2", "2,3", "2,3"):
        assert command("sweep", *grid, f"model.depth={depths}", cwd=tmp_path).returncode == 0
    names = [json.loads(f.read_text()) for f in (tmp_path / "outputs" / "sweeps").glob("*.json")]
    store = Store(compose([]).tracking, tmp_path / "outputs")
    store.open()
    assert store.client is not None
    assert len(names) == 2
    for sweep in names:
        found = store.client.search_runs([store.experiment], f"tags.`mlpexp.sweep` LIKE '%{sweep['sweep']}%'")
        assert {run.data.tags["mlpexp.fingerprint"] for run in found} == set(sweep["runs"])


# --- comparisons ---


def test_points_are_compared_to_the_best_seed_by_seed(swept: tuple[Path, str, str]) -> None:
    with open(swept[0] / "sweep" / "points.csv", newline="") as stream:
        rows = {row["point"]: row for row in csv.DictReader(stream)}
    table = load(swept[0] / "outputs")
    means = table.groupby("point")["accuracy/validation"].mean()
    best = means.idxmax()
    for point, row in rows.items():
        both = table[table["point"].isin([point, best])].pivot_table(
            index="seed", columns="point", values="accuracy/validation"
        )
        difference = (both[point] - both[best]).mean()
        assert float(row["accuracy/validation/difference_to_best"]) == pytest.approx(difference)
    assert "Δ best" in swept[1]


def test_bootstrap_intervals_are_percentiles_of_resampled_means() -> None:
    values = [0.1, 0.4, 0.35, 0.8, 0.2, 0.5, 0.45]
    found, student = mean(values, bootstrap=True), mean(values)
    assert found.value == student.value
    from scipy.stats import bootstrap
    from scipy.stats._resampling import BootstrapResult

    other = bootstrap((values,), lambda x, axis: x.mean(axis=axis), method="percentile", rng=1)
    assert isinstance(other, BootstrapResult)
    assert [found.low, found.high] == pytest.approx(list(other.confidence_interval), abs=0.01)
    assert found.half_width < student.half_width


def test_a_paired_difference_loses_what_the_seeds_share(swept: tuple[Path, str, str]) -> None:
    from mlpexp.results import recorded
    from mlpexp.verdicts import points

    groups = points(list(recorded(swept[0] / "outputs")))
    first, second = ranked(groups)[:2]
    both = [{run.config.seed: run.scores["loss/train"] for run in groups[point]} for point in (first, second)]
    found = paired_difference(groups[second], groups[first], "loss/train")
    assert found is not None
    assert found.value == pytest.approx(sum(both[1][seed] - both[0][seed] for seed in both[0]) / 2)
    assert paired_difference(groups[second][:1], groups[first][1:], "loss/train") is None


# --- asked for in Hydra's words ---


@pytest.mark.parametrize(
    "words",
    [["hydra/launcher=basic"], ["hydra/sweeper=basic"], ["-m"], ["hydra.mode=MULTIRUN"]],
    ids=["launcher", "sweeper", "-m", "mode"],
)
def test_hydras_own_launcher_and_sweeper_and_m_do_the_same(words: list[str], swept: tuple[Path, str, str]) -> None:
    multirun = [] if "hydra.mode=MULTIRUN" in words else ["-m"]
    done = command("train", *multirun, *GRID, *words, cwd=swept[0])
    assert done.returncode == 0, done.stderr
    assert "training" not in done.stderr


def test_m_takes_the_flags_of_sweep(swept: tuple[Path, str, str]) -> None:
    plan = command("train", "-m", *GRID, "--plan", cwd=swept[0])
    assert plan.stdout.splitlines()[-1] == "nothing is left to train"
    assert "test scores are kept" not in command("train", "-m", *GRID, "--test", cwd=swept[0]).stdout


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("show_test", [False, True])
def test_a_table_of_points_breaks_no_value_however_narrow_the_terminal(
    swept: tuple[Path, str, str], width: int, show_test: bool
) -> None:
    runs = list(recorded(swept[0] / "outputs"))
    console = Console(width=width, file=io.StringIO(), record=True)
    show_points(runs, console, show_test)
    lines = console.export_text().splitlines()
    rows = [line for line in lines if re.match(r"[13] +(tanh|relu) ", line)]
    assert len(rows) == 4
    assert all(len(re.findall("±", row)) >= 2 for row in rows)
    assert ("test" in "".join(lines[:3])) == show_test
    if width == 140:  # where there is room, a word stands beside the factor
        assert any(re.search(r"×[\d.]+ [a-z]+", row) for row in rows)
