"""Fair comparison: the same grid within every point, picked on validation, scored on fresh seeds."""

import csv
from pathlib import Path

import pytest
from runs_fixtures import SMALL, command

from mlpexp import tuning
from mlpexp.composition import CONFIG_NAME, Composer
from mlpexp.config_files import loader
from mlpexp.planning import Order
from mlpexp.refusals import ConfigError
from mlpexp.tuning import Pick, edges, split_words, tune

RATES = "tune.optimizer.learning_rate=[1e-6,1e-2,1e30]"


def picks(tmp_path: Path, overrides: list[list[str]], word: str = RATES) -> list[Pick]:
    """The picks of some points."""
    _, grid = split_words([word])
    base = [*SMALL, "replicates=2", f"outputs={tmp_path}"]
    with loader() as files:
        return tune(Composer(files, CONFIG_NAME), [[*base, *point] for point in overrides], grid)


def test_the_rate_that_learns_is_picked_and_scored_on_seeds_that_were_not_searched(tmp_path: Path) -> None:
    for pick in picks(tmp_path, [["model.depth=2"], ["model.depth=3"]]):
        assert float(pick.chosen["optimizer.learning_rate"]) == pick.fresh.optimizer.learning_rate == 1e-2
        assert [run.seed for run in pick.fresh.runs()] == [2, 3]
        assert pick.warning() is None


def test_a_pick_on_the_edge_of_its_grid_is_warned_of(tmp_path: Path) -> None:
    (pick,) = picks(tmp_path, [["model.depth=2"]], "tune.optimizer.learning_rate=[1e-6,1e-5,1e-2]")
    assert "optimizer.learning_rate=0.01 lies on the edge of its grid" in str(pick.warning())


@pytest.mark.parametrize(
    ("values", "chosen", "expected"),
    [(["1", "2", "3"], "3", ["k"]), (["3", "1", "2"], "1", ["k"]), (["1", "2", "3"], "2", []), (["1", "2"], "2", []),
     (["adam", "momentum", "x"], "x", [])],
)  # fmt: skip
def test_an_edge_is_the_least_or_largest_of_three_or_more_numbers(
    values: list[str], chosen: str, expected: list[str]
) -> None:
    assert edges({"k": chosen}, {"k": values}) == expected


def test_where_every_candidate_diverges_it_is_said(tmp_path: Path) -> None:
    (pick,) = picks(tmp_path, [["optimizer=gradient_descent"]], "tune.optimizer.learning_rate=[1e30,1e31]")
    assert "every candidate diverged" in pick.line()


def test_without_a_validation_part_there_is_nothing_to_pick_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(order: Order) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(tuning, "execute", nothing)
    with pytest.raises(ConfigError, match=r"picks on the validation part, but data\.split\.validation=0"):
        picks(tmp_path, [["data.split.validation=0", "training.restore=final"]])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep", "tune.optimizer.learning_rate=3"], "names no grid; write tune.optimizer.learning_rate=[a,b,…]"),
        (["sweep", "tune.optimizer.learning_rat=[1,2]"], "did you mean optimizer.learning_rate?"),
        (["sweep", "tune.model.depth=[0,2]"], "model.depth must be at least 1, got 0"),
        (["train", "tune.seed=[1,2]"], "belongs to mlpexp sweep"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(words: list[str], told: str, tmp_path: Path) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert told in done.stderr


def test_the_grid_and_its_picks_are_kept(tmp_path: Path) -> None:
    base = (*SMALL, "replicates=2", "seed=0,1", RATES, "hydra.sweep.dir=sweep")
    assert command("sweep", *base, cwd=tmp_path).returncode == 0
    with open(tmp_path / "sweep" / "tuning.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["optimizer.learning_rate"] for row in rows if row["picked"] == "True"] == ["0.01", "0.01"]
    assert [row["score"] == "diverged" for row in rows] == [False, False, True] * 2
    assert "optimizer.learning_rate=[1e-06,0.01,1e+30]" in (tmp_path / "sweep" / "hydra.yaml").read_text()
    searched = {name for row in rows for name in row["fingerprints"].split()}
    with open(tmp_path / "sweep" / "points.csv", newline="") as stream:
        scored = {name for row in csv.DictReader(stream) for name in row["fingerprints"].split()}
    assert not searched & scored
