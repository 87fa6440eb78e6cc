"""All points that a search may try; a key is proposed only where the point has it.

Flow: dimensions → **space** → drive.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import get_args

from mlpexp.activation_schema import ParameterOf, names_in
from mlpexp.composition import Composer
from mlpexp.config import Config
from mlpexp.overrides import parse_all
from mlpexp.refusals import ConfigError
from mlpexp.search.dimensions import Dimension, Value, dimension
from mlpexp.section import OnlyWith

ATTEMPTS = 50
"""So many points are tried before a value counts as refused wherever it stands."""

Pick = Callable[[Dimension], Value]


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
                found.append(dimension(one, composer.options(one.key_or_group, composer.searched)))
            except ConfigError as error:
                mistakes += error.mistakes
        if mistakes:
            raise ConfigError(mistakes)
        groups = [one for one in found if composer.is_group(one.key)]
        keys = [one for one in found if one not in groups]
        self.dimensions = [*groups, *sorted(keys, key=lambda one: condition(one.key) is not None)]
        self.groups = groups

    def overrides(self, pick: Pick) -> tuple[list[str], dict[str, Value]]:
        """The overrides of one point and the values of its searched keys: those that its groups and names have."""
        words, values = list(self.fixed), dict[str, Value]()
        known: list[str] | None = None
        for one in self.dimensions:
            if one not in self.groups:
                known = self.composer.names(words) if known is None else known
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
        return any(one in names_in(value) for one in wanted) if other == "model.activation" else value in wanted

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

    def is_conditional(self) -> bool:
        """Whether some points have keys that others do not have."""
        owned = any(condition(one.key) is not None for one in self.dimensions)
        choices = [f"{one.word}={text}" for one in self.groups for text in one.texts.values()]
        have = {frozenset(self.composer.names([*self.fixed, word])) for word in choices}
        searched = frozenset(one.key for one in self.dimensions)
        return owned or len({searched & keys for keys in have}) > 1

    def described(self) -> dict[str, str]:
        """Each searched key with its distribution, as text."""
        return {one.key: repr(one.distribution) for one in self.dimensions}


def condition(key: str) -> tuple[str, tuple[object, ...]] | None:
    """The key and those of its values with which alone this key has an effect, as the schema marks it."""
    section, _, leaf = key.partition(".")
    annotation = Config.model_fields[section].annotation if section in Config.model_fields else None
    for part in (annotation, *get_args(annotation)):
        schema = getattr(part, "model_fields", {}).get(leaf)
        for mark in schema.metadata if schema else ():
            if isinstance(mark, ParameterOf):
                return "model.activation", (mark.activation,)
            if isinstance(mark, OnlyWith):
                return f"{section}.{mark.key}", mark.values
    return None
