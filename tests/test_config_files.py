"""YAML files are read once by a command; what is composed of them leaves no trace in what comes after."""

from pathlib import Path

from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mlpexp.composition import CONFIG_NAME, Composer, compose
from mlpexp.config_files import loader

WORDS = st.lists(
    st.sampled_from([
        "optimizer=rmsprop", "data=moons", "initialisation=he", "measurements=none", "executor=serial",
        "model.depth=3", "seeds.batches=7", "tracking=none", "search=tpe",
    ]),
    max_size=4, unique_by=lambda word: word.partition("=")[0],
)  # fmt: skip


@settings(max_examples=15)
@given(st.lists(WORDS, min_size=2, max_size=4))
def test_points_of_one_loader_are_those_of_loaders_of_their_own(points: list[list[str]]) -> None:
    with loader() as files:
        together = [Composer(files, CONFIG_NAME).config(words) for words in points]
    assert together == [compose(words) for words in points]


def test_a_file_that_changes_meanwhile_is_what_it_was_and_another_command_reads_it_anew(tmp_path: Path) -> None:
    own = tmp_path / "experiment" / "mine.yaml"
    own.parent.mkdir()
    found = []
    for written in (5, 6):
        own.write_text(f"# @package _global_\nmodel: {{width: {written}}}\n")
        with loader(str(tmp_path)) as files:
            for _ in range(2):
                found.append(Composer(files, CONFIG_NAME).config(["+experiment=mine"]).model.width)
                own.write_text("# @package _global_\nmodel: {width: 7}\n")
    assert found == [5, 5, 6, 6]


def test_a_search_path_of_one_point_is_not_that_of_the_next(tmp_path: Path) -> None:
    own = tmp_path / "optimizer" / "mine.yaml"
    own.parent.mkdir()
    own.write_text("name: adam\nlearning_rate: 0.5\n")
    path = f"hydra.searchpath=[file://{tmp_path}]"
    with loader() as files:
        for _ in range(2):
            assert "mine" not in files.get_group_options("optimizer", config_name=CONFIG_NAME)
            assert "mine" in files.get_group_options("optimizer", config_name=CONFIG_NAME, overrides=[path])
            found = files.load_configuration(CONFIG_NAME, [path, "optimizer=mine"], RunMode.RUN)
            assert OmegaConf.select(found, "optimizer.learning_rate") == 0.5
