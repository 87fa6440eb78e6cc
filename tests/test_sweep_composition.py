"""A sweep's points are what Hydra composes of the same overrides; the command of a run composes to that run."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from mlpexp.browse.tables import load
from mlpexp.composition import CONFIG_NAME, Composer, compose, compose_grid
from mlpexp.config import validate
from mlpexp.config_files import loader
from mlpexp.overrides import plain
from mlpexp.places import config_folder
from mlpexp.refusals import ConfigError
from mlpexp.sweep import job_folder

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


@settings(max_examples=20)
@given(OVERRIDES)
def test_a_composed_point_is_what_hydra_composes(overrides: list[str]) -> None:
    with loader() as files:
        try:
            ours = Composer(files, CONFIG_NAME).config(overrides)
        except ConfigError:
            ours = None
    with initialize_config_dir(config_folder(), version_base="1.3"):
        try:
            theirs = validate(plain(hydra_compose(CONFIG_NAME, overrides), resolve=True))
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


@settings(max_examples=20)
@given(OVERRIDES)
def test_the_command_of_a_run_composes_to_the_same_run(overrides: list[str]) -> None:
    try:
        (config,) = compose(overrides).runs()
    except ConfigError:
        return
    again = compose(shlex.split(config.command())[2:])
    assert again.identity() == config.identity()
    assert (again.outputs, again.tracking) == (config.outputs, config.tracking)


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
