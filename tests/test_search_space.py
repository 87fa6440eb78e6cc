"""What is searched: Hydra's grammar of several values → Optuna's distributions → overrides of one point."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from runs_fixtures import composed

from mlpexp.composition import CONFIG_NAME, Composer
from mlpexp.config import fingerprint
from mlpexp.config_files import loader
from mlpexp.overrides import parse
from mlpexp.refusals import ConfigError
from mlpexp.search.dimensions import Dimension, Value, dimension
from mlpexp.search.space import Space


@pytest.fixture(scope="module")
def composer() -> Composer:
    with loader() as files:
        return Composer(files, CONFIG_NAME)


def of(text: str, options: Sequence[str] = ()) -> Dimension:
    return dimension(parse(text), options)


def drawn(found: Dimension, times: int = 20) -> list[Value]:
    """Values that Optuna proposes for a dimension."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [found.suggest(study.ask()) for _ in range(times)]


def hydras(text: str) -> list[Any]:
    """The values that Hydra's own grid gives the key."""
    points = BasicSweeper.split_arguments([parse(text)], None)[0]
    return [parse(word).value() for (word,) in points]


WHOLE = st.integers(-50, 50)
TENTHS = st.integers(-50, 50).map(lambda n: n / 10)


@given(WHOLE, WHOLE, st.integers(-9, 9).filter(bool))
def test_a_range_has_the_values_that_hydra_gives_it(start: int, stop: int, step: int) -> None:
    assume((stop - start) * step > 0)
    found = of(f"model.depth=range({start},{stop},{step})")
    assert isinstance(found.distribution, IntDistribution)
    assert found.values() == sorted(hydras(f"model.depth=range({start},{stop},{step})"))
    assert all(parse(found.override(value)).value() in found.values() for value in drawn(found))


@given(TENTHS, st.integers(1, 30), st.sampled_from([0.1, 0.25, 0.3, 2.5]))
def test_a_range_of_real_numbers_too_to_the_last_digit(start: float, count: int, step: float) -> None:
    text = f"model.dropout=range({start},{start + step * count},{step})"
    found, expected = of(text), hydras(text)
    assert found.values() == sorted(expected)
    assert {parse(found.override(value)).value() for value in drawn(found)} <= set(expected)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_an_interval_has_its_lower_end_and_not_its_upper_one(low: float, width: float, log: bool) -> None:
    assume(low + width > low)
    assume(low > 1e-9 or not log)
    text = f"interval({low!r},{low + width!r})"
    found = of(f"optimizer.learning_rate={f'tag(log,{text})' if log else text}")
    assert isinstance(found.distribution, FloatDistribution)
    assert found.distribution.log is log
    assert found.ends()[0] == low
    assert low + width == math.nextafter(float(found.ends()[-1] or 0), math.inf)
    for value in drawn(found, 5):
        assert low <= float(value or 0) < low + width
        assert parse(found.override(value)).value() == value


@given(st.lists(
    st.one_of(st.integers(-99, 99), st.floats(-1e9, 1e9).filter(lambda x: x != int(x)),
              st.sampled_from(["relu", "'a b'", "true", "[1,2]", "{a:1}"])),
    min_size=1, max_size=6, unique_by=str,
))  # fmt: skip
def test_choices_keep_their_types_there_and_back(values: list[object]) -> None:
    assume(len({str(value).lower() for value in values} & {"true", "1"}) < 2)  # equal in Python, and refused
    words = [value if isinstance(value, str) else repr(value) for value in values]
    text = f"model.activation=choice({','.join(words)})"
    found = of(text)
    assert isinstance(found.distribution, CategoricalDistribution)
    assert [parse(found.override(label)).value() for label in found.values()] == hydras(text)
    for label, value in zip(found.values(), hydras(text), strict=True):
        if not isinstance(value, list | dict):
            assert (type(label), label) == (type(value), value)


def test_simple_lists_are_choices_and_whole_intervals_are_whole() -> None:
    assert of("model.width=16,32").values() == [16, 32]
    clip = of("training.clip_norm=1,null")
    assert (clip.values(), clip.override(None)) == ([1, None], "training.clip_norm=null")
    assert of("model.depth=int(interval(2,17))").distribution == IntDistribution(2, 16)
    assert of("model.width=tag(log,int(interval(8,129)))").distribution == IntDistribution(8, 128, log=True)
    assert of("model.depth=tag(log,range(1,65))").distribution == IntDistribution(1, 64, log=True)


def test_a_dimension_reads_as_a_person_would_write_it() -> None:
    assert of("model.depth=range(2,17,2)").told() == "2 to 16 in steps of 2"
    assert of("optimizer.learning_rate=tag(log,interval(1e-4,1e-1))").told() == "0.0001 ≤ … < 0.1 on a log scale"
    assert of("model.dropout=range(0,0.3,0.1)").told() == "0, 0.1, 0.2"
    assert of("model.activation=relu,'a b'").told() == "relu, 'a b'"


def test_a_glob_takes_options_of_its_group() -> None:
    options = ["adam", "adamw", "momentum", "rprop"]
    assert of("optimizer=glob(ada*)", options).values() == ["adam", "adamw"]
    assert of("optimizer=glob(*,exclude=r*)", options).values() == ["adam", "adamw", "momentum"]


def points(composer: Composer, *words: str) -> list[dict[str, Value]]:
    return list(Space(composer, words).points())


def test_a_key_is_proposed_only_where_the_chosen_option_has_it(composer: Composer) -> None:
    found = points(composer, "optimizer.momentum=0.5,0.9", "optimizer=momentum,adam", "optimizer.beta1=0.8,0.9")
    assert found == [
        {"optimizer": "momentum", "optimizer.momentum": 0.5},
        {"optimizer": "momentum", "optimizer.momentum": 0.9},
        {"optimizer": "adam", "optimizer.beta1": 0.8},
        {"optimizer": "adam", "optimizer.beta1": 0.9},
    ]


def test_a_key_of_one_value_is_proposed_only_beside_that_value(composer: Composer) -> None:
    found = points(composer, "model.alpha=1,2", "model.activation=elu,relu")
    assert [point for point in found if point["model.activation"] == "relu"] == [{"model.activation": "relu"}]
    assert len(found) == 3
    steps = points(composer, "training.schedule=step,cosine", "training.decay_every=5,10")
    assert len(steps) == 3
    losses = points(composer, "data=diabetes", "training.loss=mse,huber,huber_mean", "training.huber_delta=1,2")
    assert [point.get("training.huber_delta") for point in losses] == [None, 1, 2, 1, 2]
    assert points(composer, "model.activation=elu", "model.alpha=1,2") == [{"model.alpha": 1}, {"model.alpha": 2}]


def test_the_ends_of_every_dimension_are_checked_before_anything_trains(composer: Composer) -> None:
    configs = Space(composer, ["optimizer=adam,momentum", "model.depth=range(1,9)"]).samples()
    assert {config.optimizer.name for config in configs} == {"adam", "gradient_descent"}
    assert {1, 8} <= {config.model.depth for config in configs}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.depth=3"], "has nothing to search: give a key several values"),
        (["model.depth=range(0,4)"], "model.depth must be at least 1, got 0"),
        (["model.depht=range(1,4)"], "model.depht is no known key; did you mean model.depth?"),
        (["optimizer=adam,momntum"], "did you mean momentum?"),
        (["optimizer=adam,rmsprop", "optimizer.momentum=0.1,0.2"], "optimizer.momentum is no known key"),
        (["model.activation=relu,rleu"], "did you mean relu?"),
        (["seed=0,1"], "seed is not searched: replicates=N trains N seeds of every point"),
        (["executor.lanes=1,2"], "executor.lanes is not searched: no number of a run depends on it"),
        (["model.depth=tag(fine,range(1,4))"], "the tag fine has no meaning here; log has"),
        (["model.width=tag(log,choice(8,16))"], "choices have no scale; use tag(log, interval(low,high))"),
        (["model.dropout=tag(log,interval(0,1))"], "a log scale has no 0.0; begin the interval above 0"),
        (["model.dropout=interval(0.5,0.5)"], "interval(0.5,0.5) is empty"),
        (["model.depth=range(4,4)"], "range(4,4,1) is empty"),
        (["model.depth=tag(log,range(2,20,3))"], "a log scale is for whole numbers from 1 on in steps of 1"),
        (["model.width=choice(8,8)"], "names 8 twice; leave one"),
        (["optimizer=glob(x*)"], "matches nothing; optimizer has adam"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(composer: Composer, words: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Space(composer, [*words, "tracking=none"]).samples()
    assert told in str(refused.value)


def test_a_grid_needs_an_end(composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate is an interval; write"):
        Space(composer, ["optimizer.learning_rate=interval(0.1,0.2)"]).count(10)
    assert Space(composer, ["model.depth=range(1,11)", "model.width=8,16"]).count(1000) == 20


def test_a_run_of_a_search_is_the_run_that_it_is_elsewhere() -> None:
    searched, plain = composed("search=gp", "search.n_trials=3"), composed()
    assert searched.search is not None
    assert fingerprint(searched, "d") == fingerprint(plain, "d")
    assert searched.point() == plain.point()
