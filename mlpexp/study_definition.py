"""What a study asks for: `study.yaml` of its folder, at one size, with the overrides of the command line → points.

Flow: experiments/<slug>/study.yaml → **study_definition** → study. Nothing here trains or draws.
"""

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from mlpexp import yaml_text
from mlpexp.config import digest
from mlpexp.overrides import Override, parse
from mlpexp.places import study_folders
from mlpexp.refusals import ConfigError, describe, nearest
from mlpexp.section import Section, Whole
from mlpexp.study_options import DEFAULT_SIZE, SIZES
from mlpexp.tuning import Grid

Keys = dict[str, Any]

COMPUTATION = "computation"
ELSEWHERE = ("outputs", "tracking", "executor", "rerun")
"""Where and how runs are trained and shown, not which: overrides of these make no other figure."""


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


@dataclass(frozen=True)
class Point:
    """One point of a part: its condition, its place on the grid, and the overrides that compose it."""

    part: str
    condition: str
    axes: Keys
    overrides: list[str]


@dataclass(frozen=True)
class Study:
    """One study at one size. `words` are the overrides that the command line adds; `elsewhere` those of `ELSEWHERE`."""

    folder: Path
    size: str
    words: tuple[str, ...]
    elsewhere: tuple[str, ...]
    definition: Definition
    parts: dict[str, Part]
    computation: Keys | None = None

    @property
    def slug(self) -> str:
        """Its folder's name, which is its experiment's name in MLflow too."""
        return self.folder.name

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits of all that is asked for: parts, keys, replicates, at this size."""
        if self.computation is not None:
            return digest({"computation": self.computation})[:12]
        parts = {name: part.model_dump() for name, part in self.parts.items()}
        return digest({"parts": parts, "keys": self.definition.keys})[:12]

    @property
    def place(self) -> str:
        """The folder of its figure below outputs/studies: overrides make another one."""
        return f"{self.slug}/{self.size}" + (f"-{self.key[:8]}" if self.words else "")

    def points(self) -> list[Point]:
        """Every point of every part, in the order of the file."""
        return [point for name in self.parts for point in self.points_of(name)]

    def points_of(self, name: str) -> list[Point]:
        """Every point of one part: conditions outside, the grid inside."""
        part = self.parts[name]
        found = []
        for condition, own in part.conditions.items():
            for values in product(*part.grid.values()):
                axes = dict(zip(part.grid, values, strict=True))
                keys = {**self.definition.keys, **part.keys, **own, **axes, "tracking.experiment": self.slug}
                overrides = [f"{key}={spelt(value)}" for key, value in keys.items()]
                found.append(Point(name, condition, axes, [*overrides, *self.elsewhere]))
        return found

    @property
    def run_count(self) -> int:
        """Runs that it asks for, candidates included; equal ones of two points are counted twice."""
        return sum(
            len(self.points_of(name)) * (part.replicates + part.search_replicates * _combinations(part.tune))
            for name, part in self.parts.items()
        )

    @property
    def data_sets(self) -> list[str]:
        """Names of the data sets that its points train on, in the order of the file."""
        words = [word for point in self.points() for word in point.overrides if word.startswith("data=")]
        return list(dict.fromkeys(word.removeprefix("data=") for word in words))

    def tune_of(self, name: str) -> Grid:
        """The grid that is searched at every point of a part; empty where nothing is tuned."""
        return {key: [spelt(value) for value in values] for key, values in self.parts[name].tune.items()}

    def picked_from(self, point: Point) -> str | None:
        """The part whose search picks what this point trains with; None where nothing is picked."""
        part = self.parts[point.part]
        return point.part if part.tune else part.picks_of.partition("/")[0] if part.picks_of else None

    def source_of(self, point: Point) -> Point:
        """The point that is tuned for this one: itself, or that of `picks_of` with the same values of its grid."""
        part = self.parts[point.part]
        if part.picks_of is None:
            return point
        name, _, condition = part.picks_of.partition("/")
        axes = {key: point.axes[key] for key in self.parts[name].grid}
        return next(one for one in self.points_of(name) if one.condition == condition and one.axes == axes)

    @cached_property
    def figure(self) -> ModuleType:
        """figure.py, loaded: `draw(table)`, `claims(table)`, perhaps `read(run)` and `tabular(table)`.

        A study that trains nothing has `compute(…)`, which returns the table.
        """
        more = () if self.computation is None else ("compute",)
        return load_figure(self.folder / "figure.py", more)

    def analysis(self) -> str:
        """Sixteen hexadecimal digits of what decides a verdict: the design, and figure.py without its drawing."""
        tree = ast.parse((self.folder / "figure.py").read_text())
        kept = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "draw")]
        text = ast.unparse(ast.Module([node for node in kept if not _is_docstring(node)], []))
        return hashlib.sha256(f"{self.key}\n{text}".encode()).hexdigest()[:16]


def open_study(name: str, size: str = DEFAULT_SIZE, words: Sequence[str] = ()) -> Study:
    """The study of that name or folder; raises ConfigError with what is wrong with it."""
    folder = find_study(name)
    definition = read_definition(folder / "study.yaml")
    _refuse_unknown(definition, size)
    parts = {part: _sized(definition, part, size) for part in definition.parts}
    definition = definition.model_copy(update={"keys": _chosen(definition.keys, ())})
    elsewhere = tuple(word for word in words if re.split("[.=]", word)[0] in ELSEWHERE)
    own = tuple(word for word in words if word not in elsewhere)
    computation = definition.computation
    if computation is not None:
        if own:
            raise ConfigError([f"{own[0]}: {folder.name} trains nothing, so there is no run to override; leave it"])
        computation = {**computation, **definition.sizes.get(size, {}).get(COMPUTATION, {})}
    return Study(folder, size, own, elsewhere, definition, _overridden(parts, own), computation)


def find_study(name: str) -> Path:
    """Its folder: a path, or a name below `experiments` here, here itself, or among those that come with mlpexp."""
    for folder in (Path(name), *(place / name for place in study_folders())):
        if (folder / "study.yaml").is_file():
            return folder.resolve()
    known = [folder.name for folder in all_studies()]
    raise ConfigError(
        [f"there is no study {name}{nearest(name, known)}; `mlpexp study --list` names all, --new begins one"]
    )


def all_studies() -> list[Path]:
    """Folders of all studies that a name leads to."""
    found: dict[str, Path] = {}
    for place in study_folders():
        for file in sorted(place.glob("*/study.yaml")):
            found.setdefault(file.parent.name, file.parent.resolve())
    return list(found.values())


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


def load_figure(file: Path, more: Sequence[str] = ()) -> ModuleType:
    """figure.py as a module of its own; it is code, and runs with its reader's rights."""
    spec = spec_from_file_location(f"mlpexp_study_{file.parent.name}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError([f"{file} is missing; it defines draw(table) and claims(table)"])
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("draw", "claims", *more):
        if not callable(getattr(module, name, None)):
            raise ConfigError([f"{file} defines no {name}({'…' if name in more else 'table'})"])
    return module


def spelt(value: object) -> str:
    """A value as Hydra's command line takes it.

    >>> spelt([1, None, True]), spelt("relu"), spelt(0.001)
    ('[1,null,true]', 'relu', '0.001')
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelt, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _refuse_unknown(definition: Definition, size: str) -> None:
    """Raises ConfigError for a size that there is not, and for one that changes a part that there is not."""
    if size not in SIZES:
        raise ConfigError([f"--size must be one of {', '.join(SIZES)}; got {size!r}{nearest(size, SIZES)}"])
    known = definition.parts if definition.computation is None else (COMPUTATION,)
    unknown = [part for part in definition.sizes.get(size, {}) if part not in known]
    if unknown:
        raise ConfigError([f"sizes.{size}.{unknown[0]} is no part{nearest(unknown[0], known)}"])


def _sized(definition: Definition, name: str, size: str) -> Part:
    """A part as it is at that size: mappings are merged key by key, everything else is replaced."""
    content = definition.parts[name].model_dump()
    for key, value in (definition.sizes.get(size, {}).get(name) or {}).items():
        merges = isinstance(value, Mapping) and key != "conditions"
        content[key] = {**content.get(key, {}), **value} if merges else value
    try:
        part = Part.model_validate(content)
    except ValidationError as error:
        raise ConfigError([f"sizes.{size}.{name}: {line}" for line in describe(error, content)]) from None
    alternatives = str({**definition.keys, **part.keys}.get("data", "")).split("|")
    kept = {
        "keys": _chosen(part.keys, alternatives),
        "conditions": {condition: _chosen(own, alternatives) for condition, own in part.conditions.items()},
        "grid": {
            key: [_chosen({key: value}, alternatives)[key] for value in values] for key, values in part.grid.items()
        },
    }
    return part.model_copy(update=kept)


def _chosen(keys: Keys, alternatives: Sequence[str]) -> Keys:
    """The same keys, with the first data set that is installed where `data` names several: `fashion_mnist|digits`.

    Other keys may have a value for each of the part's alternatives, as `model.width: 48|133`, and get that of the set
    that is taken. It is in every config, in the study's key, and in the caption; where none is installed, the last is.
    """
    found = {}
    for key, value in keys.items():
        values = str(value).split("|")
        names = values if key == "data" else alternatives
        several = len(values) > 1 and len(values) == len(names)
        found[key] = yaml_text.load(values[_first_installed(names)]) if several else value
    return found


def _first_installed(names: Sequence[str]) -> int:
    """The place of the first data set that can be loaded now, or of the last."""
    from mlpexp.data.catalogue import install_command

    return next((place for place, name in enumerate(names) if not install_command(name)), len(names) - 1)


def _overridden(parts: Mapping[str, Part], words: Sequence[str]) -> dict[str, Part]:
    """Words of the command line: KEY=VALUE for all parts, PART.KEY=VALUE for one; several values make a grid."""
    found = dict(parts)
    mistakes: list[str] = []
    for word in words:
        first, _, rest = word.partition(".")
        chosen, text = ([first], rest) if first in parts else (list(parts), word)
        override = parse(text)
        key = override.key_or_group
        for name in chosen:
            if differing := _differing(found[name], key):
                mistakes.append(
                    f"{word} would hold for all, but conditions of {name} differ in {key} ({differing}) and would be "
                    f"drawn under names that are not theirs; leave it, or change {name} in study.yaml"
                )
            found[name] = _with(found[name], key, *_values(override))
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _differing(part: Part, key: str) -> str:
    """Two conditions that a key tells apart, with what they have; empty where it is the same in all."""
    own = {name: spelt(keys[key]) if key in keys else "as in keys" for name, keys in part.conditions.items()}
    return (
        "; ".join({value: f"{name}: {value}" for name, value in own.items()}.values())
        if len(set(own.values())) > 1
        else ""
    )


def _values(override: Override) -> tuple[list[Any], bool]:
    """The values of a word, and whether they are a grid."""
    if not override.is_sweep_override():
        return [override.value()], False
    return [yaml_text.load(text) for text in override.sweep_string_iterator()], True


def _with(part: Part, key: str, values: list[Any], several: bool) -> Part:
    """The part with a key set, wherever the key was set before."""
    content = part.model_dump()
    if key in ("replicates", "search_replicates"):
        return Part.model_validate(content | {key: values[0]})
    if key in content["tune"]:
        content["tune"][key] = values
        return Part.model_validate(content)
    content["grid"].pop(key, None)
    content["keys"].pop(key, None)
    content["conditions"] = {
        name: {own: value for own, value in keys.items() if own != key} for name, keys in content["conditions"].items()
    }
    content["grid" if several else "keys"][key] = values if several else values[0]
    return Part.model_validate(content)


def _combinations(grid: Mapping[str, Sequence[Any]]) -> int:
    """How many candidates a grid has; none where nothing is tuned."""
    return prod(map(len, grid.values())) if grid else 0


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
