"""From overrides to typed configs, through Hydra; every mistake is found before anything is written.

Flow: conf/*.yaml + overrides → **composition** → config. A point costs milliseconds: what Hydra composes from the
choices of groups is kept, and each point's values are put into a copy of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mlpexp.config import Config, flatten, validate
from mlpexp.places import config_folder
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
    overrides = [opened(word) for word in overrides]
    several = [override.input_line for override in parse_all(overrides) if override.is_sweep_override()]
    if several:
        hint = "names several values; train takes one point, `mlpexp sweep …` takes the grid"
        raise ConfigError([f"{text} {hint}" for text in several])
    with loader(config_dir) as files:
        return Composer(files, config_name).config(overrides)


def compose_grid(
    overrides: Sequence[str], config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> list[tuple[list[str], Config]]:
    """Every point of a multirun with its overrides, in Hydra's order.

    Raises ConfigError with a line for each refused point and mistake.
    """
    parsed = parse_all([opened(word) for word in overrides])
    try:
        points = BasicSweeper.split_arguments(parsed, None)[0]
    except HydraException as error:
        raise ConfigError([_first_lines(error)]) from None
    with loader(config_dir) as files:
        composer = Composer(files, config_name)
        return list(zip(points, composer.configs(points), strict=True))


def opened(word: str) -> str:
    """`measurements.schedule.sharpness=100` as Hydra takes a new key of a mapping, with ++; the schema judges it."""
    return f"++{word}" if word.startswith("measurements.schedule.") else word


_FROZEN: dict[tuple[str, ...], Config] = {}


@contextmanager
def frozen(points: Sequence[tuple[Sequence[str], Config]]) -> Iterator[None]:
    """Within this, points with these overrides are what was composed, whatever becomes of the YAML files meanwhile."""
    _FROZEN.update({tuple(o for o in overrides if not o.startswith("hydra.")): config for overrides, config in points})
    try:
        yield
    finally:
        _FROZEN.clear()


class Composer:
    """Composes points of one primary config; what their choices of groups give is composed once for each choice."""

    def __init__(self, files: ConfigLoader, config_name: str) -> None:
        self.files, self.config_name = files, config_name
        self.options = lru_cache(maxsize=None)(self._options)
        self.bases: dict[tuple[str, ...], tuple[DictConfig, list[str]]] = {}

    def configs(self, points: Sequence[Sequence[str]]) -> list[Config]:
        """All points; raises ConfigError with the mistakes of every point, each once."""
        configs: list[Config] = []
        mistakes: dict[str, list[str]] = {}
        for point in points:
            try:
                configs.append(self.config(point))
            except ConfigError as error:
                for line in error.mistakes:
                    mistakes.setdefault(line, []).append(" ".join(point))
        if mistakes:
            raise ConfigError([_at_points(line, where, len(points)) for line, where in mistakes.items()])
        return configs

    def config(self, overrides: Sequence[str]) -> Config:
        """One point, typed and checked."""
        if tuple(overrides) in _FROZEN:
            return _FROZEN[tuple(overrides)]
        parsed = parse_all(overrides)
        groups = [override for override in parsed if self.options(override.key_or_group)]
        mistakes = [line for one in groups if (line := _group_mistake(one, self.options(one.key_or_group)))]
        if mistakes:
            raise ConfigError(mistakes)
        base, names = self._base(tuple(str(override.input_line) for override in groups))
        values = [o for o in parsed if o not in groups and not o.key_or_group.startswith("hydra.")]
        unknown = [override for override in values if _is_unknown(override, names)]
        known = [*names, *{name.partition(".")[0] for name in names}]
        mistakes = [f"{o.key_or_group} is no known key{nearest(o.key_or_group, known)}" for o in unknown]
        composed = deepcopy(base)
        with _refusing():
            ConfigLoaderImpl._apply_overrides_to_config([o for o in values if o not in unknown], composed)
        try:
            config = validate(_container(composed))
        except ConfigError as error:
            raise ConfigError([*mistakes, *error.mistakes]) from None
        if mistakes:
            raise ConfigError(mistakes)
        return config

    def _base(self, groups: tuple[str, ...]) -> tuple[DictConfig, list[str]]:
        """What a choice of groups composes to, unresolved, and the names of its keys."""
        if groups not in self.bases:
            with _refusing():
                base = self.files.load_configuration(self.config_name, list(groups), RunMode.RUN, from_shell=False)
            with open_dict(base):
                del base["hydra"]
            content = OmegaConf.to_container(base)
            self.bases[groups] = base, [str(name) for name, _ in flatten(content)]  # type: ignore[arg-type]
        return self.bases[groups]

    def _options(self, name: str) -> list[str]:
        if not name or name.startswith("hydra."):
            return []
        return sorted(set(self.files.get_group_options(name)))


@contextmanager
def loader(config_dir: str | None = None) -> Iterator[ConfigLoader]:
    """Hydra's reader of our folder and of a user's own.

    Hydra keeps one global state: what was there before (a notebook's, or a Hydra application's around us) comes back.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError([f"--config-dir {config_dir} is no folder"])
    setbase("1.3")
    search = create_config_search_path(config_folder())
    if config_dir is not None:
        search.prepend("command-line", f"file://{Path(config_dir).resolve()}", anchor="schema")
    state = GlobalHydra.instance()
    before = state.hydra
    state.clear()
    try:
        Hydra.create_main_hydra2(task_name="train", config_search_path=search)
        yield state.config_loader()
    finally:
        state.clear()
        if before is not None:
            state.initialize(before)


@lru_cache(maxsize=4096)
def parse(text: str) -> Override:
    """One override in Hydra's grammar; raises ConfigError where it cannot be read."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        hint = "cannot be read; write KEY=VALUE, and quote a value with special characters"
        raise ConfigError([f"{text!r} {hint}"]) from None
    if not override.key_or_group:
        raise ConfigError([f"{text!r} names no key; write KEY=VALUE"])
    return override


def parse_all(overrides: Sequence[str]) -> list[Override]:
    """Every override; raises ConfigError with all that cannot be read."""
    parsed: list[Override] = []
    mistakes: list[str] = []
    for text in overrides:
        try:
            parsed.append(parse(text))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return parsed


def _group_mistake(override: Override, options: Sequence[str]) -> str | None:
    """Whether a group is given a choice that it does not have."""
    name, choice = override.key_or_group, override.value()
    if choice is None or override.is_delete() or str(choice) in options:
        return None
    if isinstance(choice, list) and set(map(str, choice)) <= set(options):
        return None
    return f"{name} must be one of {', '.join(sorted(options))}; got {choice!r}{nearest(str(choice), options)}"


def _is_unknown(override: Override, names: Sequence[str]) -> bool:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or override.is_delete():
        return False  # Hydra or the schema judges these
    return key not in names and not any(name.startswith(f"{key}.") for name in names)


def _at_points(line: str, where: Sequence[str], points: int) -> str:
    """A mistake, and the points that make it."""
    if points == 1 or len(where) == points:
        return line
    return f"{line} ({where[0]}{f' and {len(where) - 1} more points' if len(where) > 1 else ''})"


@contextmanager
def _refusing() -> Iterator[None]:
    """Hydra's and YAML's errors become refusals."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([_first_lines(error)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"a YAML file cannot be read: {' '.join(str(error).split())}"]) from None


def _container(composed: DictConfig) -> dict[str, Any]:
    with _refusing():
        missing = sorted(OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigError([f"{key} is missing; give it a value, {key}=VALUE" for key in missing])
        return OmegaConf.to_container(composed, resolve=True)  # type: ignore[return-value]


def _first_lines(error: Exception) -> str:
    """Hydra's message without its advice for programmers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "Set the env"))]
    return " ".join(kept[:2]).rstrip(".")
