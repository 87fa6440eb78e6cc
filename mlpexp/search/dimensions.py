"""One searched key: an override with several values → Optuna's distribution → an override with one.

Flow: command line → **dimensions** → space. The grammar is Hydra's, with exclusive upper ends; values keep their types.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatch
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, QuotedString, RangeSweep, Transformer
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mlpexp.config import HASHED, Config
from mlpexp.refusals import ConfigError

Value = None | bool | int | float | str


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

    def told(self) -> str:
        """As a person reads it: `2 to 16`, `1e-04 ≤ … < 0.1 on a log scale`."""
        scale = " on a log scale" if getattr(self.distribution, "log", False) else ""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return ", ".join(self.texts[choice] for choice in choices)
            case IntDistribution(low=low, high=high, step=step):
                return f"{low} to {high}{f' in steps of {step}' if step > 1 else ''}{scale}"
            case FloatDistribution(low=low, high=high) if not self.steps:
                return f"{low:g} ≤ … < {math.nextafter(high, math.inf):g}{scale}"
        return ", ".join(f"{step:g}" for step in self.steps)

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
