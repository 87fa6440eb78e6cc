"""Hydra's habits at a sweep: experiment files, params, search paths, configs and sweepers of one's own."""

import re
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import pytest
from omegaconf import OmegaConf
from runs_fixtures import GRID, command, composed, files_below, trained

from mlpexp import hydra_app
from mlpexp.browse.tables import load
from mlpexp.composition import Point
from mlpexp.sweep import Returned


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


def test_a_sweep_that_its_data_refuse_lets_go_of_workers_that_had_begun(tmp_path: Path) -> None:
    done = command("sweep", "training.batch_size=64,5000", "model.depth=1", "tracking=none", cwd=tmp_path)
    assert (done.returncode, files_below(tmp_path)) == (2, []), done.stderr
    assert "training.batch_size=5000 is more than the 1077 training examples" in done.stderr
    deadline = time.monotonic() + 20
    while left := [one.info for one in psutil.process_iter(["cwd", "cmdline"]) if one.info["cwd"] == str(tmp_path)]:
        assert time.monotonic() < deadline, left  # loky's resource tracker ends soon after its process
        time.sleep(0.05)


def test_workers_begin_for_all_that_is_asked_where_some_of_it_must_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, int]] = []

    def noted(name: str, workers: int) -> AbstractContextManager[None]:
        begun.append((name, workers))
        return nullcontext()

    monkeypatch.setattr("mlpexp.execution.ahead", noted)
    place = f"outputs={tmp_path}"
    trained(place, "replicates=2")
    many = Point([], composed(place, "replicates=3", "executor=local", "executor.workers=8"))
    refused = Point([], mistakes=["no such key"])
    for points in ([Point([], composed(place, "replicates=2"))], [many, refused], []):
        hydra_app._workers_ahead(points)
    assert begun == []
    hydra_app._workers_ahead([many])
    assert begun == [("local", 3)]
