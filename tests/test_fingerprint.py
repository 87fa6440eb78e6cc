"""The name of a run: the same for whatever does not change its numbers, another for whatever does."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from runs_fixtures import SMALL, compose, composed

from mlpexp.activation_schema import ACTIVATION_NAMES, ParameterOf
from mlpexp.composition import config_folder
from mlpexp.config import HASHED, SEMANTICS, Config, Seeds, fingerprint, flatten, validate
from mlpexp.planning import plan
from mlpexp.refusals import ConfigError
from mlpexp.section import Filled, Neutral, OnlyWith, Section, Unhashed

DIGEST = "0" * 64

RECORDED = {
    1: {
        (): "905d3f625abab66e",
        ("model.activation=tanh", "initialisation=normal", "optimizer=momentum", "seed=3"): "d11868eb15a33bbf",
        ("data=clusters", "model.dropout=0.1", "training.patience=3", "seeds.batches=9"): "e80278a144c4376b",
        ("data=mnist1d", "training.loss=mse", "training.epochs=0", "model.output=identity"): "299e99854296ead0",
        (
            "data=table",
            "data.path=x",
            "data.target=y",
            "data.split.test=0.3",
            "training.restore=final",
            "data.split.validation=0",
        ): "70cfd957f1369dcf",
    },
}
"""Fingerprints that runs were recorded under, by semantics. A key at its neutral value must not change them."""

RICH = (
    "model.activation=leaky_relu", "model.negative_slope=0.1", "model.dropout=0.1", "data.label_noise=0.1",
    "training.patience=3", "training.tolerance=0.1", "training.l2=0.01",
)  # fmt: skip
"""A point at which every key has an effect."""


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


def name(config: Config, digest: str = DIGEST) -> str:
    return fingerprint(config, digest)


@pytest.mark.parametrize("overrides", RECORDED[SEMANTICS])
def test_recorded_runs_keep_their_names(overrides: tuple[str, ...]) -> None:
    assert name(compose(*overrides)) == RECORDED[SEMANTICS][overrides], (
        "recorded runs would be orphaned: give a new key a Neutral value; where numbers changed, raise SEMANTICS"
    )


# --- what must not matter ---


@pytest.mark.parametrize(
    "overrides",
    [
        ["tracking=none"],
        ["tracking.experiment=other", "tracking.uri=sqlite:////nowhere/x.db"],
        ["executor=serial"],
        ["executor.workers=3", "executor.lanes=2"],
        ["outputs=/elsewhere"],
        ["rerun=true"],
        ["measurements=none"],
        ["measurements.every=7"],
        ["replicates=9"],
        ["model.width=64.0"],
        ["model.width=6.4e1"],
        ["optimizer.learning_rate=1e-3"],
        ["optimizer.learning_rate=0.0010"],
        ["training.l2=-0.0"],
        ["training.l2=0"],
        ["optimizer=adam"],
        ["model.depth=7", "model.depth=4"],
    ],
)
def test_what_changes_no_number_changes_no_name(overrides: list[str]) -> None:
    assert name(compose(*overrides)) == name(compose())


@pytest.mark.parametrize(
    "key", ["data.noise", "training.l2", "initialisation.sigma_b", "data.split.validation", "model.dropout"]
)
def test_minus_zero_is_zero(key: str) -> None:
    point = ("data=moons", "initialisation=normal", "training.restore=final")
    assert (
        name(compose(*point, f"{key}=-0.0")) == name(compose(*point, f"{key}=0.0")) == name(compose(*point, f"{key}=0"))
    )


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(random: Any) -> None:
    def shuffled(content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        keys = list(content)
        random.shuffle(keys)
        return {key: shuffled(content[key]) for key in keys}

    whole = composed(*RICH).model_dump()
    assert name(validate(shuffled(whole))) == name(validate(whole))


@given(st.floats(min_value=1e-12, max_value=1e6))
def test_the_spelling_of_a_number_does_not_matter(rate: float) -> None:
    spellings = {repr(rate), f"{rate:.17e}", f"{rate:.17E}"}
    whole = composed().model_dump()
    names = set()
    for spelling in spellings:
        whole["optimizer"]["learning_rate"] = float(spelling)
        names.add(name(validate(whole)))
    assert len(names) == 1


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_gives_the_same_name(hash_seed: str, tmp_path: Path) -> None:
    program = (
        "import sys; from mlpexp.composition import compose; from mlpexp.config import fingerprint;"
        f"print(fingerprint(compose(sys.argv[1:]), {DIGEST!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *RICH],
        env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == name(compose(*RICH))


def test_a_config_read_back_from_its_run_has_its_name() -> None:
    for config in (composed(*RICH), composed("seeds.initialisation=4"), composed("data=moons", "optimizer=momentum")):
        assert name(validate(config.record())) == name(config)


# --- what must matter ---


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
            continue  # below, and in tests/test_own_activations.py, tests/test_activations.py
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


# --- neutral values ---


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for section in kind.__subclasses__():
        yield section
        yield from sections(section)


def test_paths_alone_have_no_part_in_the_name() -> None:
    marked = {
        key
        for section in sections()
        for key, field in section.model_fields.items()
        if any(isinstance(mark, Unhashed) for mark in field.metadata)
    }
    assert marked == {"path"}  # what a path leads to is hashed instead


NEUTRAL = [
    (section, key, mark)
    for section in sections()
    for key, field in section.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, Neutral)
]


@pytest.mark.parametrize(("section", "key", "mark"), NEUTRAL, ids=lambda x: getattr(x, "__name__", str(x)))
def test_a_key_is_at_its_neutral_value_by_default_and_then_left_out(
    section: type[Section], key: str, mark: Neutral
) -> None:
    assert section.model_fields[key].default == mark.value
    keys = {"name": "any", "path": "any", "target": "any"}
    known: dict[str, Any] = {name: value for name, value in keys.items() if name in section.model_fields}
    assert key not in section.model_construct(None, **known).identity()
    assert key in section.model_construct(None, **known, **{key: 0.125}).identity()


def test_neutral_keys_are_left_out_of_the_identity_of_a_run() -> None:
    default = dict(flatten(compose().identity()))
    rich = dict(flatten(compose(*RICH).identity()))
    assert {"model.negative_slope", "model.dropout", "training.patience", "data.label_noise"}.isdisjoint(default)
    assert {"model.negative_slope", "model.dropout", "training.patience", "data.label_noise"} <= set(rich)


# --- replicates ---


def test_replicate_i_has_seed_plus_i() -> None:
    runs = composed("seed=10", "replicates=3").runs()
    assert [run.seed for run in runs] == [10, 11, 12]
    assert [name(run) for run in runs] == [name(composed(f"seed={seed}")) for seed in (10, 11, 12)]


def test_a_stream_that_is_set_alone_stays_the_same_in_all_replicates() -> None:
    runs = compose(*SMALL, *RICH, "seeds.initialisation=5", "replicates=3").runs()
    assert [run.stream_seeds()["initialisation"] for run in runs] == [5, 5, 5]
    for stream in ("batches", "dropout", "noise"):
        assert [run.stream_seeds()[stream] for run in runs] == [0, 1, 2]


def test_streams_that_are_not_drawn_from_have_no_part_in_the_name() -> None:
    full = ["training.sampler=full"]
    assert name(composed(*full)) == name(composed(*full, "training.batch_size=64"))
    assert set(composed(*full).stream_seeds()) == {"initialisation"}
    assert set(composed().stream_seeds()) == {"initialisation", "batches"}
