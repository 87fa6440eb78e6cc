"""What study.yaml may say: question, caption, parts with conditions and grids, and what differs at each size.

Flow: study.yaml → **study_schema** → study_parts → study_definition.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from mlpexp import yaml_text
from mlpexp.refusals import ConfigError, describe, nearest
from mlpexp.section import Section, Whole
from mlpexp.study_options import SIZES

Keys = dict[str, Any]


class Part(Section):
    """One table of runs: every condition at every point of the grid, with so many seeds."""

    keys: Keys = Field(default_factory=dict, description="overrides of all its runs")
    conditions: dict[str, Keys] = Field({"": {}}, min_length=1, description="name → overrides")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="key → values; all combinations")
    tune: dict[str, list[Any]] = Field(default_factory=dict, description="key → values, picked at every point")
    picks_of: str | None = Field(
        None, description="PART/CONDITION whose picks, at the same place of its grid, are used"
    )
    replicates: Whole = Field(5, ge=1, description="seeds of every point")
    search_replicates: Whole = Field(2, ge=1, description="seeds of every candidate of `tune`")

    @model_validator(mode="after")
    def _is_no_empty_grid(self) -> Self:
        for key, values in (*self.grid.items(), *self.tune.items()):
            if not values:
                raise ValueError(f"{key} names no values; give it some, [a, b, …]")
        if self.tune and self.picks_of:
            raise ValueError(f"tune and picks_of={self.picks_of} exclude each other; leave one")
        return self


class Definition(Section):
    """All of study.yaml."""

    question: str = Field(min_length=1)
    caption: str = Field(min_length=1, description="what the figure shows; what its intervals are is added")
    keys: Keys = Field(default_factory=dict, description="overrides of all runs")
    parts: dict[str, Part] = Field(default_factory=dict)
    computation: Keys | None = Field(
        None, description="arguments of figure.py's compute(…) → table, of a study that trains nothing"
    )
    intervals: str | None = Field(None, min_length=1, description="what intervals are over, where not training seeds")
    sizes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="size → part, or `computation` → what differs there"
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.parts) == (self.computation is not None):
            raise ValueError("a study has either parts, whose runs are trained, or a computation; give one of them")
        return self

    @model_validator(mode="after")
    def _picks_are_made(self) -> Self:
        for name, part in self.parts.items():
            source, _, condition = (part.picks_of or "").partition("/")
            of = self.parts.get(source)
            if part.picks_of is None:
                continue
            if not (of and of.tune and condition in of.conditions and set(of.grid) <= set(part.grid)):
                raise ValueError(
                    f"parts.{name}.picks_of={part.picks_of} must be PART/CONDITION of a part that tunes, and whose "
                    f"grid has no key that {name} has not"
                )
        return self

    @field_validator("sizes")
    @classmethod
    def _are_sizes(cls, sizes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in sizes:
            if name not in SIZES:
                raise ValueError(f"may have {', '.join(SIZES)}; got {name!r}{nearest(name, SIZES)}")
        return sizes


def read_definition(file: Path) -> Definition:
    """study.yaml, typed; raises ConfigError with every mistake."""
    try:
        content = yaml_text.load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigError([f"{file} cannot be read: {' '.join(str(error).split())}"]) from None
    if not isinstance(content, Mapping):
        raise ConfigError([f"{file} has no keys; it needs question, caption and parts"])
    try:
        return Definition.model_validate(content)
    except ValidationError as error:
        raise ConfigError([f"{file}: {line}" for line in describe(error, content)]) from None
