"""What is searched: overrides with several values → Optuna's distributions → overrides of one point.

Flow: command line → **space** → drive. Values keep their types; a key is proposed only where the point has it.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatch
from itertools import islice
from typing import Any, get_args

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, QuotedString, RangeSweep, Transformer
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mlpexp.activation_schema import ParameterOf, names_in
from mlpexp.composition import Composer, parse_all
from mlpexp.config import HASHED, Config
from mlpexp.refusals import ConfigError
from mlpexp.section import OnlyWith

ATTEMPTS = 50
"""So many points are tried before a value counts as refused wherever it stands."""

Value = None | bool | int | float | str
Pick = Callable[["Dimension"], Value]


@dataclass(frozen=True)
class Dimension:
    """One searched key or group: `word` is what stands before the equals sign, `texts` how each choice is written."""

    word: str
    key: str
    distribution: BaseDistribution
    texts: Mapping[Value, str] = field(default_factory=dict)
    steps: Sequence[float] = ()  # increasing

    def suggest(self, trial: Trial) -> Value:
        """The value that a trial is to have."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(self.key, choices)
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_float(self.key, low, high, step=step, log=log)
        raise AssertionError(self.distribution)

    def override(self, value: Value) -> str:
        """The word of the command line that gives the key this value."""
        if self.texts:
            return f"{self.word}={self.texts[value]}"
        if self.steps:
            value = min(self.steps, key=lambda step: abs(step - float(value or 0)))  # as Hydra counts them
        return f"{self.word}={value!r}"

    def ends(self) -> list[Value]:
        """All choices, or the two ends."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return list(dict.fromkeys([self.distribution.low, self.distribution.high]))

    def values(self) -> list[Value]:
        """All values; raises ConfigError for an interval of real numbers, which has no end of them."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        if isinstance(self.distribution, IntDistribution):
            return list(range(self.distribution.low, self.distribution.high + 1, self.distribution.step))
        if not self.steps:
            hint = f"write '{self.key}=choice(…)' or '{self.key}=range(start,stop,step)'"
            raise ConfigError([f"search=grid tries every value, but {self.key} is an interval; {hint}"])
        return list(self.steps)


class Space:
    """All points that a search may try. `fixed` are the overrides with one value."""

    def __init__(self, composer: Composer, overrides: Sequence[str]) -> None:
        self.composer = composer
        parsed = parse_all(overrides)
        self.fixed = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
        searched = [one for one in parsed if one.is_sweep_override()]
        if not searched:
            hint = "give a key several values, as 'model.depth=range(2,9)' or 'model.width=choice(16,32)'"
            raise ConfigError([f"search has nothing to search: {hint}"])
        mistakes: list[str] = []
        found: list[Dimension] = []
        for one in searched:
            try:
                found.append(dimension(one, composer.options(one.key_or_group)))
            except ConfigError as error:
                mistakes += error.mistakes
        if mistakes:
            raise ConfigError(mistakes)
        groups = [one for one in found if composer.options(one.key)]
        keys = [one for one in found if one not in groups]
        self.dimensions = [*groups, *sorted(keys, key=lambda one: condition(one.key) is not None)]
        self.groups = groups

    def overrides(self, pick: Pick) -> tuple[list[str], dict[str, Value]]:
        """The overrides of one point and the values of its searched keys: those that its groups and names have."""
        words, values = list(self.fixed), dict[str, Value]()
        known: Mapping[str, Any] | None = None
        for one in self.dimensions:
            if one not in self.groups:
                known = self.composer.keys(words) if known is None else known
                if one.key not in known or not self._applies(one.key, words):
                    continue
            values[one.key] = pick(one)
            words.append(one.override(values[one.key]))
        return words, values

    def _applies(self, key: str, words: Sequence[str]) -> bool:
        """Whether a key that belongs to one value of another (`alpha` to elu) has that value beside it."""
        owner = condition(key)
        if owner is None:
            return True
        other, wanted = owner
        value = self.composer.keys(words)[other]
        return wanted in names_in(value) if other == "model.activation" else value == wanted

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point of a space of choices and ranges; raises ConfigError where there is no end of them."""
        yield from self._below({})

    def _below(self, chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
        _, values = self.overrides(lambda one: chosen.get(one.key, one.ends()[0]))
        following = next((one for one in self.dimensions if one.key in values and one.key not in chosen), None)
        if following is None:
            yield values
            return
        for value in following.values():
            yield from self._below(chosen | {following.key: value})

    def count(self, most: int) -> int:
        """How many points there are, counted up to `most`."""
        return sum(1 for _ in islice(self.points(), most))

    def samples(self) -> list[Config]:
        """Points with the ends of every dimension; raises ConfigError with what is refused wherever it stands."""
        rng = random.Random(0)
        configs, mistakes = [], dict[str, None]()
        for one in self.dimensions:
            for value in one.ends():
                try:
                    configs.append(self._point_with(one.key, value, rng))
                except ConfigError as error:
                    mistakes |= dict.fromkeys(error.mistakes)
        if mistakes:
            raise ConfigError(list(mistakes))
        return configs

    def _point_with(self, key: str, value: Value, rng: random.Random) -> Config:
        """Some point with that value that is not refused."""
        refusals: list[list[str]] = []
        for _ in range(ATTEMPTS):
            drawn: dict[str, Value] = {one.key: rng.choice(one.ends()) for one in self.dimensions} | {key: value}
            words, values = self.overrides(lambda one: drawn[one.key])  # noqa: B023 (called at once)
            if key not in values and words:  # not there: said by whoever composes it
                words.append(next(one for one in self.dimensions if one.key == key).override(value))
            try:
                return self.composer.config(words)
            except ConfigError as error:
                refusals.append(error.mistakes)
        everywhere = [line for line in refusals[0] if all(line in refusal for refusal in refusals)]
        raise ConfigError(everywhere or refusals[0])

    def described(self) -> dict[str, str]:
        """Each searched key with its distribution, as text."""
        return {one.key: repr(one.distribution) for one in self.dimensions}


def dimension(override: Override, options: Sequence[str]) -> Dimension:
    """One override with several values as a dimension; `options` are those of its group. Raises ConfigError."""
    key, word = override.key_or_group, override.get_key_element()
    section = key.partition(".")[0]
    if section in ("seed", "seeds", "replicates"):
        raise ConfigError([f"{key} is not searched: replicates=N trains N seeds of every point"])
    if section in Config.model_fields and section not in HASHED:
        raise ConfigError([f"{key} is not searched: no number of a run depends on it; give it one value"])
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if tags - {"log"}:
        raise ConfigError([f"{override.input_line}: the tag {min(tags - {'log'})} has no meaning here; log has"])
    if isinstance(sweep, IntervalSweep):
        return Dimension(word, key, interval(key, sweep, "log" in tags))
    if isinstance(sweep, RangeSweep):
        return ranged(word, key, sweep, "log" in tags)
    if tags:
        raise ConfigError([f"{override.input_line}: choices have no scale; use tag(log, interval(low,high))"])
    return choice(word, override, options)


def interval(key: str, sweep: IntervalSweep, log: bool) -> BaseDistribution:
    """low ≤ value < high, as Hydra reads interval(low,high); whole numbers for int(interval(low,high))."""
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError([f"{key}: interval({low},{high}) is empty; its lower end must be below its upper one"])
    if log and low <= 0:
        raise ConfigError([f"{key}: a log scale has no {low}; begin the interval above 0"])
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high - 1, log=log)
    return FloatDistribution(float(low), math.nextafter(float(high), -math.inf), log=log)


def ranged(word: str, key: str, sweep: RangeSweep, log: bool) -> Dimension:
    """start, start + step, … below stop, as Hydra reads range(start,stop,step)."""
    values = sorted(sweep.range())
    if not values:
        raise ConfigError([f"{key}: range({sweep.start},{sweep.stop},{sweep.step}) is empty"])
    step = abs(sweep.step)
    whole = all(isinstance(value, int) for value in values)
    if log and (not whole or step != 1 or values[0] < 1):
        raise ConfigError([f"{key}: a log scale is for whole numbers from 1 on in steps of 1, or for an interval"])
    if whole:
        return Dimension(word, key, IntDistribution(int(values[0]), int(values[-1]), step=int(step), log=log))
    steps = [float(value) for value in values]
    if len(steps) == 1:
        return Dimension(word, key, FloatDistribution(steps[0], steps[0]), steps=steps)
    last = Decimal(str(steps[0])) + (len(steps) - 1) * Decimal(str(step))  # in decimals, as Optuna counts
    return Dimension(word, key, FloatDistribution(steps[0], float(last), step=step), steps=steps)


def choice(word: str, override: Override, options: Sequence[str]) -> Dimension:
    """choice(a,b,…), a,b,… or glob(…) of a group: values as they are typed, each with its text."""
    sweep, texts = override.value(), dict[Value, str]()
    if isinstance(sweep, Glob):
        pairs: list[tuple[Any, str]] = [(name, name) for name in matching(sweep, options)]
    else:
        pairs = [(e, Transformer.str(e)) for e in override.sweep_iterator()]
    for element, text in pairs:
        value = element.text if isinstance(element, QuotedString) else element
        label: Value = value if isinstance(value, None | bool | int | float | str) else text
        if label in texts:
            raise ConfigError([f"{override.input_line} names {text} twice; leave one"])
        texts[label] = text
    if not texts:
        has = f"{override.key_or_group} has {', '.join(options)}" if options else "glob is for groups of options"
        raise ConfigError([f"{override.input_line} matches nothing; {has}"])
    return Dimension(word, override.key_or_group, CategoricalDistribution(list(texts)), texts)


def matching(sweep: Glob, options: Sequence[str]) -> list[str]:
    """Options of a group that a glob takes in and does not leave out."""
    return [
        name
        for name in options
        if any(fnmatch(name, pattern) for pattern in sweep.include)
        and not any(fnmatch(name, pattern) for pattern in sweep.exclude)
    ]


def condition(key: str) -> tuple[str, str] | None:
    """The key and its value with which alone this key has an effect, as the schema marks it."""
    section, _, leaf = key.partition(".")
    annotation = Config.model_fields[section].annotation if section in Config.model_fields else None
    for part in (annotation, *get_args(annotation)):
        schema = getattr(part, "model_fields", {}).get(leaf)
        for mark in schema.metadata if schema else ():
            if isinstance(mark, ParameterOf):
                return "model.activation", str(mark.activation)
            if isinstance(mark, OnlyWith):
                return f"{section}.{mark.key}", str(mark.value)
    return None
