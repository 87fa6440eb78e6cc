"""Sweeps: a whole multirun as one order, with Hydra's folders, one table, and nothing trained twice."""

import csv
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from runs_fixtures import command, composed, files_below, trained

from mlpexp.browse.tables import load
from mlpexp.composition import CONFIG_NAME, Composer, compose, compose_grid, loader
from mlpexp.config import validate
from mlpexp.places import config_folder
from mlpexp.refusals import ConfigError
from mlpexp.sweep import Returned, job_folder
from mlpexp.tracking import Store
from mlpexp.verdicts import mean, paired_difference, ranked

GRID = (
    "tracking=none", "executor=serial", "training.epochs=1", "model.width=4", "model.depth=1,3",
    "model.activation=tanh,relu", "replicates=2",
)  # fmt: skip

OVERRIDES = st.lists(
    st.sampled_from(
        [
            "model.depth=7",
            "model.width=${model.depth}",
            "optimizer=momentum",
            "optimizer=adam",
            "optimizer.learning_rate=0.5",
            "model.activation=leaky_relu",
            "model.negative_slope=0.2",
            "seeds.batches=3",
            "data=moons",
            "data.noise=0.3",
            "training.patience=2",
            "training.patience=null",
            "+model.extra=1",
            "measurements.quantities=[delta_norm]",
            "initialisation=normal",
            "initialisation.sigma_w=2",
            "~tracking",
            "++model.width=9",
            "tracking.experiment='a b'",
            "tracking.uri='http://127.0.0.1:1/a?b=c'",
            "outputs='a, b=c'",
            "training.epochs=${model.width}",
            "model.bias=false",
        ]
    ),
    max_size=6,
    unique_by=lambda word: word.partition("=")[0].lstrip("+"),
)


@given(OVERRIDES)
def test_a_composed_point_is_what_hydra_composes(overrides: list[str]) -> None:
    with loader() as files:
        try:
            ours = Composer(files, CONFIG_NAME).config(overrides)
        except ConfigError:
            ours = None
    with initialize_config_dir(config_folder(), version_base="1.3"):
        try:
            whole = OmegaConf.to_container(hydra_compose(CONFIG_NAME, overrides), resolve=True)
            theirs = validate(whole)  # type: ignore[arg-type]
        except Exception:
            theirs = None
    assert ours == theirs


def test_points_of_one_choice_of_groups_are_composed_by_hydra_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with loader() as files:
        calls: list[object] = []
        load_configuration = files.load_configuration

        def counting(*words: Any, **options: Any) -> DictConfig:
            calls.append(words)
            return load_configuration(*words, **options)

        monkeypatch.setattr(files, "load_configuration", counting)
        points = [[f"model.depth={d}", f"optimizer={o}"] for d in range(1, 51) for o in ("adam", "momentum")]
        composed = Composer(files, CONFIG_NAME).points(points)
    assert [point.config.model.depth for point in composed[::2] if point.config] == list(range(1, 51))
    assert len(calls) == 2


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with a sweep of four points of two seeds; its standard output and error."""
    folder = tmp_path_factory.mktemp("swept")
    done = command("sweep", *GRID, "hydra.sweep.dir=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


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
    assert "4 runs are to be trained, in 4 cohorts on 1 process" in done.stdout
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--test"], "--test belongs to mlpexp sweep (train -m)"),
        (["sweep", "hydra/launcher=basic", "--test"], "--test needs hydra/launcher=cohorts"),
        (["sweep", "hydra/launcher=basic", "tune.seed=[1,2]"], "tune.seed needs hydra/launcher=cohorts"),
        (["sweep", "+hydra.sweeper.params.model.depth=1"], "mlpexp: "),
        (["sweep", "--config-dir", ".", "--config-path", "."], "both name your folder"),
    ],
)
def test_what_hydra_is_asked_in_vain_is_refused_in_a_line(words: list[str], told: str, tmp_path: Path) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, files_below(tmp_path)) == (2, [])
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@given(OVERRIDES)
def test_the_command_of_a_run_composes_to_the_same_run(overrides: list[str]) -> None:
    try:
        (config,) = compose(overrides).runs()
    except ConfigError:
        return
    again = compose(shlex.split(config.command())[2:])
    assert again.identity() == config.identity()
    assert (again.outputs, again.tracking) == (config.outputs, config.tracking)


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


OWN = """\
defaults:
  - train
  - _self_
hydra:
  sweeper:
    params:
      model.activation: tanh,relu
      seed: range(2)
model: {depth: 3, width: 4}
training: {epochs: 1}
"""

HABITS = {
    "an experiment file": (["--config-dir", "own", "+experiment=deep", "model.activation=tanh,relu", "seed=0,1"]),
    "flags between the overrides": (
        ["seed=0,1", "--config-dir", "own", "model.activation=tanh,relu", "+experiment=deep"]
    ),
    "a search path": (["hydra.searchpath=[file://own]", "+experiment=deep", "model.activation=tanh,relu", "seed=0,1"]),
    "params of a primary config beside ours": (["--config-dir", "own", "--config-name", "mine"]),
    "a primary config of one's own": (["--config-path", "own", "--config-name", "mine"]),
    "a config package": (["--config-path", "pkg://own", "--config-name", "mine"]),
    "params on the command line": (
        ["--config-dir", "own", "+experiment=deep", "+hydra.sweeper.params={seed:'0,1',model.activation:'tanh,relu'}"]
    ),
}


@pytest.mark.parametrize("words", HABITS.values(), ids=HABITS)
def test_hydras_habits_give_the_points_that_hydra_gives(words: list[str], tmp_path: Path) -> None:
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "deep.yaml").write_text("# @package _global_\nmodel: {depth: 3, width: 4}\ntraining: {epochs: 1}\n")
    (own.parent / "mine.yaml").write_text(OWN)
    (own.parent / "__init__.py").touch()  # without it Hydra takes it for no config package
    done = command("sweep", *words, "tracking=none", "executor=serial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = load(tmp_path / "outputs")
    found = table[["model.depth", "model.activation", "seed"]].to_numpy().tolist()
    assert sorted(found) == [[3, "relu", 0], [3, "relu", 1], [3, "tanh", 0], [3, "tanh", 1]]


@pytest.mark.parametrize(
    ("subdir", "expected"),
    [
        ("${hydra.job.override_dirname}", ["model.depth=1", "model.depth=2"]),
        ("depth_${model.depth}_${hydra.job.num}", ["depth_1_0", "depth_2_1"]),
    ],
)
def test_a_jobs_folder_is_named_by_its_own_values(subdir: str, expected: list[str], tmp_path: Path) -> None:
    with loader() as files:
        config = files.load_configuration(CONFIG_NAME, [f"hydra.sweep.subdir={subdir}"], RunMode.MULTIRUN)
    points = [[f"model.depth={depth}"] for depth in (1, 2)]
    found = [job_folder(config, words, compose(words), i).name for i, words in enumerate(points)]
    assert found == expected


def test_a_point_may_ask_for_the_number_of_its_job() -> None:
    with loader() as files:
        points = compose_grid(["model.depth=3,4", "seed=${hydra:job.num}"], files)
    assert [(point.config.model.depth, point.config.seed) for point in points if point.config] == [(3, 0), (4, 1)]


def test_a_sweep_is_composed_before_it_trains_whatever_becomes_of_the_files(tmp_path: Path) -> None:
    """Another process writes the file anew as soon as the first cohort trains."""
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    file = own / "deep.yaml"
    file.write_text("# @package _global_\nmodel: {width: 4}\ntraining: {epochs: 150}\n")
    words = ("--config-dir", "own", "+experiment=deep", "model.depth=1,2,3", "tracking=none", "executor.workers=1")
    process = subprocess.Popen([sys.executable, "-m", "mlpexp", "sweep", *words, "outputs=outputs"], cwd=tmp_path)
    while process.poll() is None and not list(tmp_path.glob("outputs/cohorts/*/progress")):
        time.sleep(0.02)
    assert process.poll() is None, "it ended before the file was changed: the test shows nothing"
    file.write_text("# @package _global_\nmodel: {width: 5}\ntraining: {epochs: 1}\n")
    assert process.wait() == 0
    table = load(tmp_path / "outputs")
    assert sorted(table["model.depth"]) == [1, 2, 3]
    assert set(table["model.width"]) == {4}


SWEEPER = """
from dataclasses import dataclass
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

@dataclass
class Conf:
    _target_: str = "hydra_plugins.other.sweeper.Other"

class Other(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        fixed = [word for word in arguments if "interval" not in word]
        first = self.launcher.launch([[*fixed, f"model.depth={depth}"] for depth in (1, 2)], 0)
        scores = [job.return_value for job in first]
        self.launcher.launch([[*fixed, f"model.depth={1 + scores.index(max(scores))}", "seed=1"]], 2)
        print("SCORES", *scores)

ConfigStore.instance().store(group="hydra/sweeper", name="other", node=Conf)
"""


@pytest.mark.parametrize("launcher", ["cohorts", "basic"])
def test_another_sweeper_asks_as_it_goes_and_is_told_the_validation_scores(launcher: str, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "hydra_plugins" / "other"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").touch()
    (plugin / "sweeper.py").write_text(SWEEPER)
    words = ("hydra/sweeper=other", f"hydra/launcher={launcher}", "model.depth=interval(1,2)", *GRID[:4])
    done = command("sweep", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path / "plugins"))
    assert done.returncode == 0, done.stderr
    (told,) = re.findall(r"^SCORES (\S+) (\S+)$", done.stdout, re.MULTILINE)
    table = load(tmp_path / "outputs").sort_values("model.depth")
    first = table[table["seed"] == 0]["accuracy/validation"]
    assert list(map(float, told)) == first.tolist()
    (last,) = table[table["seed"] == 1]["model.depth"]
    assert last == 1 + first.argmax()


def test_what_a_job_returns_has_its_config_when_it_is_asked_for(tmp_path: Path) -> None:
    point = composed("model.depth=3", f"outputs={tmp_path}")
    returned = Returned(point, ["model.depth=3"], tmp_path, trained("model.depth=3"))
    assert returned.cfg == OmegaConf.create(point.shown())
    assert returned.cfg is returned.cfg
    assert (returned.overrides, returned.working_dir) == (["model.depth=3"], str(tmp_path))
    assert returned.return_value == trained("model.depth=3")[0].scores["accuracy/validation"]
