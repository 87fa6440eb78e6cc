"""From overrides to typed configs, through Hydra; every mistake is found before anything is written.

Flow: conf/*.yaml + overrides → **composition** → config. A point costs milliseconds: what Hydra composes from the
choices of groups is kept, and each point's values are put into a copy of it.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from mlpexp.config import Config, flatten, validate
from mlpexp.config_files import loader
from mlpexp.overrides import first_lines, group_mistake, is_unknown, opened, parse_all, plain, refusing
from mlpexp.refusals import ConfigError, nearest

CONFIG_NAME = "train"


def compose(overrides: Sequence[str] = (), config_dir: str | None = None, config_name: str = CONFIG_NAME) -> Config:
    """The typed config of one point.

    `overrides` are written as on the command line. `config_dir` is a folder of your own YAML files, searched
    beside ours. Raises ConfigError with one line for each mistake.

    >>> from mlpexp import compose
    >>> compose(["model.depth=8", "optimizer=momentum"]).optimizer.momentum
    0.9
    """
    with loader(config_dir) as files:
        point = compose_point(overrides, files, config_name)
    if point.config is None:
        raise ConfigError(point.mistakes)
    return point.config


@dataclass
class Point:
    """One point of a multirun: its overrides, and its config or what is wrong with it."""

    overrides: list[str]
    config: Config | None = None
    mistakes: list[str] = field(default_factory=list)


def compose_point(overrides: Sequence[str], files: ConfigLoader, config_name: str = CONFIG_NAME) -> Point:
    """One point, with its config or its mistakes."""
    overrides = [opened(word) for word in overrides]
    several = [override.input_line for override in parse_all(overrides) if override.is_sweep_override()]
    hint = "names several values; train takes one point, `mlpexp sweep …` takes the grid"
    if several:
        return Point(list(overrides), mistakes=[f"{text} {hint}" for text in several])
    return Composer(files, config_name).points([overrides])[0]


def compose_grid(overrides: Sequence[str], files: ConfigLoader, config_name: str = CONFIG_NAME) -> list[Point]:
    """Every point of a grid, in Hydra's order, each with its config or its mistakes."""
    try:
        grid = BasicSweeper.split_arguments(parse_all([opened(word) for word in overrides]), None)[0]
    except HydraException as error:
        raise ConfigError([first_lines(error)]) from None
    return Composer(files, config_name).points(grid)


_FROZEN: dict[tuple[str, ...], Config] = {}


@contextmanager
def frozen(points: Sequence[Point]) -> Iterator[None]:
    """Within this, points with these overrides are what was composed, whatever becomes of the YAML files meanwhile."""
    for point in points:
        if point.config is not None:
            own = (word for word in point.overrides if not word.lstrip("+~").startswith(("hydra.", "hydra/")))
            _FROZEN[tuple(own)] = point.config
    try:
        yield
    finally:
        _FROZEN.clear()


ASKS_HYDRA = ("${hydra:", "${hydra.")
"""How a value asks for one of Hydra's own, such as the number of its job."""


def _asks_hydra(text: str) -> bool:
    return any(sign in text for sign in ASKS_HYDRA)


@dataclass(frozen=True)
class Base:
    """What a choice of groups composes to, unresolved (pickled: read back it is a copy, in half of deepcopy's time)."""

    composed: bytes
    names: list[str]
    asks_hydra: bool


def frozen_config(overrides: Sequence[str]) -> Config | None:
    """What was composed of these overrides, if it was frozen."""
    return _FROZEN.get(tuple(overrides))


class Composer:
    """Composes points of one primary config; what their choices of groups give is composed once for each choice.

    `searched` are overrides of hydra.searchpath, which Hydra's launchers leave out of what they hand on.
    """

    def __init__(self, files: ConfigLoader, config_name: str, searched: Sequence[str] = ()) -> None:
        self.files, self.config_name, self.searched = files, config_name, tuple(searched)
        self.options = lru_cache(maxsize=None)(self._options)
        self.bases: dict[tuple[str, ...], Base] = {}

    def points(self, overrides: Sequence[Sequence[str]], first: int = 0) -> list[Point]:
        """Points with their configs or mistakes; `first` is the number of the first job."""
        points = [Point(list(words)) for words in overrides]
        for number, point in enumerate(points, first):
            try:
                point.config = self.config(point.overrides, number)
            except ConfigError as error:
                point.mistakes = error.mistakes
        return points

    def config(self, overrides: Sequence[str], number: int = 0) -> Config:
        """One point, typed and checked; `number` is that of its job, for who asks for `${hydra:job.num}`."""
        if (kept := frozen_config(overrides)) is not None:
            return kept
        parsed = parse_all(overrides)
        searched = self._searched(parsed)
        groups = [override for override in parsed if self.options(override.key_or_group, searched)]
        mistakes = [line for one in groups if (line := group_mistake(one, self.options(one.key_or_group, searched)))]
        if mistakes:
            raise ConfigError(mistakes)
        base = self._base_of(parsed)
        unknown = [override for override in self._values(parsed) if is_unknown(override, base.names)]
        known = [*base.names, *{name.partition(".")[0] for name in base.names}]
        mistakes = [f"{o.key_or_group} is no known key{nearest(o.key_or_group, known)}" for o in unknown]
        content = self._content(base, [override for override in parsed if override not in unknown], number)
        _require_values(content)
        try:
            config = validate(content)
        except ConfigError as error:
            raise ConfigError([*mistakes, *error.mistakes]) from None
        if mistakes:
            raise ConfigError(mistakes)
        return config

    def names(self, overrides: Sequence[str]) -> list[str]:
        """Every key that the groups of these overrides give a point."""
        return self._base_of(parse_all(overrides)).names

    def keys(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Every key of a point with its value, unchecked; overrides of keys that it does not have are left out."""
        parsed = parse_all(overrides)
        base = self._base_of(parsed)
        unknown = [one for one in self._values(parsed) if is_unknown(one, base.names)]
        known = [one for one in parsed if one not in unknown]
        return {str(key): value for key, value in flatten(self._content(base, known, 0))}

    def is_group(self, name: str) -> bool:
        """Whether this names a group of YAML files."""
        return bool(self.options(name, self.searched))

    def _searched(self, parsed: Sequence[Override]) -> tuple[str, ...]:
        """Where groups are searched."""
        paths = [override for override in parsed if override.key_or_group == "hydra.searchpath"]
        return tuple(str(override.input_line) for override in paths) or self.searched

    def _base_of(self, parsed: Sequence[Override]) -> Base:
        """What Hydra composes of the groups that these overrides choose, once for each choice."""
        searched = self._searched(parsed)
        groups = [str(one.input_line) for one in parsed if self.options(one.key_or_group, searched)]
        return self._base((*searched, *groups))

    def _values(self, parsed: Sequence[Override]) -> list[Override]:
        """The overrides that put a value, and choose no group."""
        searched = self._searched(parsed)
        return [
            one
            for one in parsed
            if not one.key_or_group.startswith("hydra.") and not self.options(one.key_or_group, searched)
        ]

    def _content(self, base: Base, parsed: Sequence[Override], number: int) -> dict[str, Any]:
        """A point as plain values, resolved; all of its overrides must be known."""
        if base.asks_hydra or any(_asks_hydra(str(override.value())) for override in parsed):
            return self._whole([str(override.input_line) for override in parsed], number)
        composed = pickle.loads(base.composed)
        with refusing():
            ConfigLoaderImpl._apply_overrides_to_config(self._values(parsed), composed)
        return _container(composed)

    def _base(self, groups: tuple[str, ...]) -> Base:
        """What a choice of groups composes to."""
        if groups not in self.bases:
            with refusing():
                composed = self.files.load_configuration(self.config_name, list(groups), RunMode.RUN, from_shell=False)
            with open_dict(composed):
                del composed["hydra"]
            flat = list(flatten(plain(composed)))
            asks = any(_asks_hydra(str(value)) for _, value in flat)
            self.bases[groups] = Base(pickle.dumps(composed), [str(name) for name, _ in flat], asks)
        return self.bases[groups]

    def _whole(self, overrides: list[str], number: int) -> dict[str, Any]:
        """A point that asks for values of Hydra's own, composed as Hydra's launcher composes a job: slowly."""
        with refusing():
            composed = self.files.load_configuration(self.config_name, overrides, RunMode.RUN, from_shell=False)
        with open_dict(composed):
            composed.hydra.job.num, composed.hydra.job.id = number, str(number)
        state: Any = HydraConfig.instance()
        before, state.cfg = state.cfg, composed
        try:
            return _container(composed)
        finally:
            state.cfg = before

    def _options(self, name: str, searched: tuple[str, ...]) -> list[str]:
        if not name or name.startswith("hydra."):
            return []
        with refusing():
            found = self.files.get_group_options(name, config_name=self.config_name, overrides=list(searched))
        return sorted(set(found))


def _container(composed: DictConfig) -> dict[str, Any]:
    with refusing():
        return {
            str(key): OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node := composed[key]) else node
            for key in composed
            if key != "hydra"
        }


def _require_values(content: dict[str, Any]) -> None:
    missing = sorted(str(key) for key, value in flatten(content) if value == MISSING)
    if missing:
        raise ConfigError([f"{key} is missing; give it a value, {key}=VALUE" for key in missing])
