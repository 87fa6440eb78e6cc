"""Whatever changes the numbers of a run changes its name: each key of each option, seeds, data, semantics, budgets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from fingerprints import RICH, name
from pydantic import BaseModel
from runs_fixtures import compose, composed

from mlpexp.activation_schema import ACTIVATION_NAMES, ParameterOf
from mlpexp.config import HASHED, SEMANTICS, Config, Seeds, validate
from mlpexp.places import config_folder
from mlpexp.planning import plan
from mlpexp.refusals import ConfigError
from mlpexp.section import Filled, OnlyWith, Unhashed

GIVEN = {
    "idx": ["data.path=x"],
    "table": ["data.path=x", "data.target=y", "data.separator=semicolon"],
    "gradient_descent": ["optimizer.momentum=0.5"],
    "sine": ["data.outliers=0.1"],
    "critical": ["model.activation=tanh", "model.negative_slope=null"],
}
"""What an option, or a key of it, cannot do without."""
BELONGING = {
    "training.decay_every": ("training.schedule=step", "training.decay_every=5"),
    "training.decay_factor": ("training.schedule=step", "training.decay_every=5"),
    "training.updates": ("training.epochs=null", "training.updates=50"),
    "training.examples": ("training.epochs=null", "training.examples=500"),
    "training.flops": ("training.epochs=null", "training.flops=1000000000"),
    "training.huber_delta": ("data=diabetes", "training.loss=huber"),
    **{f"model.batch_norm_{key}": ("model.batch_norm=after",) for key in ("affine", "epsilon", "momentum")},
}
"""What switches on the keys that belong to another key's value."""


def leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, field) of every key below a section."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", field


def other_values(value: Any, field: Any) -> list[Any]:
    """Values of the key's type that are not its own; which of them the schema takes is for the schema to say."""
    literals = [x for part in (field.annotation, *get_args(field.annotation)) for x in get_args(part)]
    literals = [x for x in literals if isinstance(x, str | int | float) and x != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 0.05, value / 2, 0.25]
    if isinstance(value, list):
        return [[*value, "another"]]
    if value is None:
        return [2, 4, 0.5, "another", *literals]
    return literals or [f"{value}_", 0.25]


def changed(config: Config, key: str, field: Any) -> Config:
    """The config with another value of one key."""
    *groups, leaf = key.split(".")
    for value in other_values(_at(config.model_dump(), key), field):
        whole = config.model_dump()
        section = whole
        for group in groups:
            section = section[group]
        section[leaf] = value
        try:
            return validate(whole)
        except ConfigError:
            continue
    raise AssertionError(f"found no other value for {key}: teach other_values one")


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content[part]
    return content


def _options() -> Iterator[tuple[str, str]]:
    for group in HASHED:
        for file in sorted((Path(config_folder()) / group).glob("*.yaml")):
            yield group, file.stem


@pytest.mark.parametrize(("group", "option"), list(_options()))
def test_every_key_that_changes_numbers_changes_the_name(group: str, option: str) -> None:
    given_keys = GIVEN.get(option, [])
    regression = option in ("diabetes", "sine", "teacher")
    rich = [key for key in RICH if not (regression and "noise" in key)]
    config = compose(*rich, f"{group}={option}", *given_keys)
    seen = {name(config): "itself"}
    for key, field in leaves(getattr(config, group), f"{group}."):
        if key in (f"{group}.name", "model.activation"):
            continue  # other keys go with another name; they are compared below
        if any(isinstance(mark, Filled | ParameterOf | OnlyWith) for mark in field.metadata):
            continue  # below, and in tests/test_own_activations.py, tests/test_activation_parameters.py
        if any(isinstance(mark, Unhashed) for mark in field.metadata):
            assert name(changed(config, key, field)) == name(config), key
            continue
        found = name(changed(config, key, field))
        assert found not in seen, f"{key} and {seen[found]} give the same name"
        seen[found] = key


@pytest.mark.parametrize("group", ["training", "model"])
def test_a_key_that_belongs_to_another_changes_the_name_beside_it(group: str) -> None:
    for key, field in leaves(getattr(compose(), group), f"{group}."):
        if any(isinstance(mark, OnlyWith) for mark in field.metadata):
            config = compose(*BELONGING[key])
            assert name(changed(config, key, field)) != name(config), key


def test_a_list_of_equals_is_what_it_lists() -> None:
    """Another spelling may be another run, but never the same name for another network."""
    names = [name(compose(key)) for key in ("model.width=[64,64,32]", "model.width=[64,32,64]", "model.width=32")]
    names += [name(compose(key)) for key in ("model.activation=[relu,tanh,relu]", "model.activation=[tanh,relu,relu]")]
    assert len({*names, name(compose())}) == 6


def test_every_option_has_a_name_of_its_own() -> None:
    for group in HASHED:
        options = [option for where, option in _options() if where == group]
        names = [name(compose(f"{group}={option}", *GIVEN.get(option, []))) for option in options]
        assert len(set(names)) == len(options), group


def test_every_activation_has_a_name_of_its_own() -> None:
    names = {name(compose(f"model.activation={which}")) for which in ACTIVATION_NAMES}
    assert len(names) == len(ACTIVATION_NAMES)


@pytest.mark.parametrize("stream", Seeds.model_fields)
def test_every_stream_that_is_drawn_from_changes_the_name(stream: str) -> None:
    config = compose(*RICH)
    assert name(compose(*RICH, f"seeds.{stream}=5")) != name(config)
    assert name(compose(*RICH, f"seeds.{stream}={config.seed}")) == name(config)


def test_seed_data_and_semantics_change_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed()
    names = {name(config), name(composed("seed=1")), name(config, "1" * 64)}
    monkeypatch.setattr("mlpexp.config.SEMANTICS", SEMANTICS + 1)
    assert len({*names, name(config)}) == 4


def test_a_file_that_has_changed_is_another_run_and_one_that_has_moved_is_not(tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},{i * i % 11},{'ab'[i % 2]}\n" for i in range(40))
    names = []
    for place, text in (("one.csv", rows), ("two.csv", rows), ("one.csv", rows.replace("3,", "4,", 1))):
        (tmp_path / place).write_text("x,y,kind\n" + text)
        overrides = ["data=table", f"data.path={tmp_path / place}", "data.target=kind", "training.batch_size=4"]
        names += plan([composed(*overrides)]).fingerprints
    assert names[0] == names[1] != names[2]


BUDGETS = [
    ("training.epochs=0",),
    *(
        ("training.epochs=null", f"training.{unit}={value}")
        for unit in ("updates", "examples", "flops")
        for value in (2, 9)
    ),
]


def test_every_budget_has_a_name_of_its_own_and_all_lengths_share_a_stem() -> None:
    for common, stems in (((), 1), (("training.schedule=cosine",), len(BUDGETS))):
        configs = [composed(*budget, *common) for budget in BUDGETS]
        assert len({name(config) for config in configs}) == len(BUDGETS)
        assert len({config.stem() for config in configs}) == stems


def test_a_count_of_examples_is_no_share_and_may_be_spelt_as_any_number() -> None:
    names = {name(composed(f"data.split.{part}={value}")) for part in ("validation", "test") for value in (0.1, 1, 10)}
    assert len(names) == 6
    assert name(composed("data.split.test=200.0")) == name(composed("data.split.test=2e2"))


def test_hubers_bend_changes_the_name_of_hubers_loss() -> None:
    names = [name(composed("training.loss=huber", f"training.huber_delta={bend}")) for bend in (1, 1.0, 2)]
    assert names[0] == names[1] == name(composed("training.loss=huber")) != names[2]
