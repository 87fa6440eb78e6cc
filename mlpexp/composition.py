"""From command-line overrides to a typed config, through Hydra; every mistake is found before anything is written.

Flow: conf/*.yaml + overrides → **composition** → config. The only import of Hydra outside the command line.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlpexp.config import Config, flatten, validate
from mlpexp.refusals import ConfigError, nearest

CONFIG_NAME = "train"


def config_folder() -> str:
    """The folder of our YAML files: `conf/` beside the package, or inside it when installed from a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return str(inside if inside.is_dir() else package.parent / "conf")


def compose(overrides: Sequence[str] = (), config_dir: str | None = None, config_name: str = CONFIG_NAME) -> Config:
    """The typed config of one point.

    `overrides` are written as on the command line. `config_dir` is a folder of your own YAML files, searched
    beside ours. Raises ConfigError with one line for each mistake.

    >>> from mlpexp import compose
    >>> compose(["model.depth=8", "optimizer=momentum"]).optimizer.momentum
    0.9
    """
    parsed = _parse(overrides)
    with _groups(config_dir) as options_of:
        groups = [override for override in parsed if options_of(override.key_or_group)]
        mistakes = [line for o in groups if (line := _group_mistake(o, options_of(o.key_or_group))) is not None]
        if mistakes:
            raise ConfigError(mistakes)
        base = _compose(config_name, _lines(groups))
        names = [str(name) for name, _ in flatten(OmegaConf.to_container(base))]  # type: ignore[arg-type]
        unknown = [override for override in parsed if override not in groups and _is_unknown(override, names)]
        composed = _compose(config_name, _lines([override for override in parsed if override not in unknown]))
    known = [*names, *{name.partition(".")[0] for name in names}]
    mistakes = [f"{o.key_or_group} is no known key{nearest(o.key_or_group, known)}" for o in unknown]
    try:
        config = validate(_container(composed))
    except ConfigError as error:
        raise ConfigError([*mistakes, *error.mistakes]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return config


def compose_grid(
    overrides: Sequence[str], config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> list[Config]:
    """The typed config of every point of a multirun, in Hydra's order; raises ConfigError with every mistake."""
    parsed = _parse(overrides, grid=True)
    points = BasicSweeper.split_arguments(parsed, None)[0]
    configs, mistakes = [], []
    for point in points:
        try:
            configs.append(compose(point, config_dir, config_name))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    return configs


def _group_mistake(override: Override, options: Sequence[str]) -> str | None:
    """Whether a group is given a choice that it does not have."""
    name, choice = override.key_or_group, override.value()
    if choice is None or override.is_delete() or str(choice) in options:
        return None
    if isinstance(choice, list) and set(map(str, choice)) <= set(options):
        return None
    return f"{name} must be one of {', '.join(sorted(options))}; got {choice!r}{nearest(str(choice), options)}"


@contextmanager
def _groups(config_dir: str | None) -> Iterator[Callable[[str], list[str]]]:
    """Hydra made ready for our folder and a user's own; gives the function that lists a group's options.

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
        loader = state.config_loader()

        def options(name: str) -> list[str]:
            return [] if name.startswith("hydra") or not name else sorted(set(loader.get_group_options(name)))

        yield options
    finally:
        state.clear()
        if before is not None:
            state.initialize(before)


def _parse(overrides: Sequence[str], grid: bool = False) -> list[Override]:
    parser = OverridesParser.create()
    parsed, mistakes = [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            mistakes.append(f"{text!r} cannot be read; write KEY=VALUE, and quote a value with special characters")
            continue
        if not override.key_or_group:
            mistakes.append(f"{text!r} names no key; write KEY=VALUE")
            continue
        if override.is_sweep_override() and not grid:
            mistakes.append(f"{text} names several values; train takes one point, `mlpexp train -m …` takes the grid")
        parsed.append(override)
    if mistakes:
        raise ConfigError(mistakes)
    return parsed


def _lines(overrides: Sequence[Override]) -> list[str]:
    return [override.input_line for override in overrides if override.input_line is not None]


def _is_unknown(override: Override, names: Sequence[str]) -> bool:
    key = override.key_or_group
    if override.is_add() or override.is_delete() or key.startswith("hydra."):
        return False  # Hydra or the schema judges these
    return key not in names and not any(name.startswith(f"{key}.") for name in names)


def _compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    try:
        return hydra_compose(config_name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([_first_lines(error)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"a YAML file cannot be read: {' '.join(str(error).split())}"]) from None


def _container(composed: DictConfig) -> dict[str, Any]:
    try:
        missing = sorted(OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigError([f"{key} is missing; give it a value, {key}=VALUE" for key in missing])
        return OmegaConf.to_container(composed, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError([_first_lines(error)]) from None


def _first_lines(error: Exception) -> str:
    """Hydra's message without its advice for programmers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "Set the env"))]
    return " ".join(kept[:2]).rstrip(".")
