"""Overrides as they are written: read in Hydra's grammar, judged by themselves, their mistakes told as refusals.

Flow: command line → **overrides** → composition. Also OmegaConf's containers as dictionaries, its errors in a line.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlpexp.refusals import ConfigError, nearest


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


def opened(word: str) -> str:
    """`measurements.schedule.sharpness=100` as Hydra takes a new key of a mapping, with ++; the schema judges it."""
    return f"++{word}" if word.startswith("measurements.schedule.") else word


def group_mistake(override: Override, options: Sequence[str]) -> str | None:
    """Whether a group is given a choice that it does not have."""
    name, choice = override.key_or_group, override.value()
    if choice is None or override.is_delete() or str(choice) in options:
        return None
    if isinstance(choice, list) and set(map(str, choice)) <= set(options):
        return None
    return f"{name} must be one of {', '.join(sorted(options))}; got {choice!r}{nearest(str(choice), options)}"


def is_unknown(override: Override, names: Sequence[str]) -> bool:
    """Whether it puts a value to a key that is not among these."""
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or override.is_delete():
        return False  # Hydra or the schema judges these
    return key not in names and not any(name.startswith(f"{key}.") for name in names)


@contextmanager
def refusing() -> Iterator[None]:
    """Hydra's and YAML's errors become refusals."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([first_lines(error)]) from None
    except AssertionError as error:  # OmegaConf's, for a value put below one that is null
        raise ConfigError([f"a key below one that has no value cannot be set ({error})"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"a YAML file cannot be read: {' '.join(str(error).split())}"]) from None


def plain(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """A config as dictionaries and lists; unresolved interpolations stay as they are written."""
    content = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def first_lines(error: Exception) -> str:
    """Hydra's message without its advice for programmers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "Set the env"))]
    return " ".join(kept[:2]).rstrip(".")
