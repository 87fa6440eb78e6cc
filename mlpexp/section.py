"""What every group of the schema is made of: closed, immutable sections with typed, ranged keys.

Flow: **section** → data_schema → config.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag


def _whole(value: object) -> object:
    """Whole numbers may be spelt 8, 8.0 or 8e0; truth values and text are no numbers."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _real(value: object) -> object:
    """Truth values are no numbers, and minus zero is zero: one number, one fingerprint."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return 0.0 if value == 0 else value


Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_real)]
One = TypeVar("One")
OneOrEach = Annotated[
    Annotated[One, Tag("one")] | Annotated[list[One], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "one"),
]
"""A value for all layers, or a list with one for each; told apart first, so that a mistake is told once."""
Seed = Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Neutral:
    """The value at which a key has no effect: there the fingerprint leaves it out, so a new key orphans no run."""

    value: object


class OnlyWith:
    """A key that has an effect only where another key of its section has one of these values."""

    def __init__(self, key: str, *values: object) -> None:
        self.key, self.values = key, values


@dataclass(frozen=True)
class Unhashed:
    """A key that does not change a run's numbers by itself (a path: what it leads to is hashed instead)."""


@dataclass(frozen=True)
class Filled:
    """A key that is filled in by itself and kept in records; no table shows it, and another key's digest hashes it."""


class Section(BaseModel):
    """One group of keys; immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """What of this section enters the fingerprint."""
        content: dict[str, Any] = {}
        for name, neutral in _hashed(type(self)):
            value = getattr(self, name)
            if value not in neutral:
                content[name] = value.identity() if isinstance(value, Section) else value
        return content

    def shown(self) -> dict[str, Any]:
        """Its keys as one writes them: without those that are filled in."""
        fields = type(self).model_fields.items()
        filled = {name for name, field in fields if any(isinstance(mark, Filled) for mark in field.metadata)}
        return self.model_dump(exclude=filled)


@lru_cache(maxsize=256)  # asked for every run of a sweep, several times
def _hashed(section: type[Section]) -> list[tuple[str, list[object]]]:
    """The keys of a section that enter fingerprints, and at which values they do not."""
    return [
        (name, [mark.value for mark in field.metadata if isinstance(mark, Neutral)])
        for name, field in section.model_fields.items()
        if not any(isinstance(mark, Unhashed | Filled) for mark in field.metadata)
    ]
