"""From command-line overrides to a typed config, through Hydra; every mistake is found before anything is written.

Flow: conf/*.yaml + overrides → **composition** → config. The only import of Hydra outside the command line.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
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

    >>> compose(["model.depth=8", "optimizer=momentum"]).optimizer.momentum
    0.9
    """
    parsed = _parse(overrides)
    with _hydra() as known:
        search = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
        groups = [o for o in parsed if known.is_group(o, config_dir)]
        mistakes = [line for o in groups if (line := known.group_mistake(o, config_dir)) is not None]
        if mistakes:
            raise ConfigError(mistakes)
        base = _compose(config_name, [*search, *_lines(groups)])
        names = [name for name, _ in flatten(OmegaConf.to_container(base))]  # type: ignore[arg-type]
        unknown = [o for o in parsed if o not in groups and _is_unknown(o, names)]
        composed = _compose(config_name, [*search, *_lines([o for o in parsed if o not in unknown])])
    mistakes = [f"{o.key_or_group} is no known key{nearest(o.key_or_group, [*names, *known.names])}" for o in unknown]
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
    """The typed config of every point of a multirun, in the order of Hydra's basic sweeper; raises with every mistake."""
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


class _Groups:
    """The config groups that Hydra can see."""

    def __init__(self) -> None:
        self.loader = GlobalHydra.instance().config_loader()
        self.names = [name for name in self.loader.list_groups("") if name != "hydra"]

    def is_group(self, override: Override, config_dir: str | None) -> bool:
        name = override.key_or_group
        folders = (Path(config_dir) / name,) if config_dir else ()
        return not name.startswith("hydra.") and (
            name in self.names or bool(self.loader.get_group_options(name)) or any(f.is_dir() for f in folders)
        )

    def group_mistake(self, override: Override, config_dir: str | None) -> str | None:
        name, choice = override.key_or_group, override.value()
        options = self.loader.get_group_options(name)
        if config_dir:
            options += [path.stem for path in (Path(config_dir) / name).glob("*.yaml")]
        if choice is None or override.is_delete() or (isinstance(choice, list) and set(choice) <= set(options)):
            return None
        if str(choice) in options:
            return None
        return f"{name} must be one of {', '.join(sorted(set(options)))}; got {choice!r}{nearest(str(choice), options)}"


@contextmanager
def _hydra() -> Iterator[_Groups]:
    with initialize_config_dir(config_folder(), job_name="mlpexp", version_base="1.3"):
        yield _Groups()


def _parse(overrides: Sequence[str], grid: bool = False) -> list[Override]:
    parser = OverridesParser.create()
    parsed, mistakes = [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except OverrideParseException:
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
