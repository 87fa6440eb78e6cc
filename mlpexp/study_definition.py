"""What a study asks for: `study.yaml` of its folder, at one size, with the overrides of the command line → points.

Flow: study_schema → study_parts → **study_definition** → study. Nothing here trains or draws.
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
from typing import Any

from mlpexp.config import digest
from mlpexp.places import study_folders
from mlpexp.refusals import ConfigError, nearest
from mlpexp.study_options import DEFAULT_SIZE, SIZES
from mlpexp.study_parts import chosen, overridden, sized, spelt
from mlpexp.study_schema import Definition, Keys, Part, read_definition
from mlpexp.tuning import Grid

COMPUTATION = "computation"
ELSEWHERE = ("outputs", "tracking", "executor", "rerun")
"""Where and how runs are trained and shown, not which: overrides of these make no other figure."""


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
    parts = {part: sized(definition, part, size) for part in definition.parts}
    definition = definition.model_copy(update={"keys": chosen(definition.keys, ())})
    elsewhere = tuple(word for word in words if re.split("[.=]", word)[0] in ELSEWHERE)
    own = tuple(word for word in words if word not in elsewhere)
    computation = definition.computation
    if computation is not None:
        if own:
            raise ConfigError([f"{own[0]}: {folder.name} trains nothing, so there is no run to override; leave it"])
        computation = {**computation, **definition.sizes.get(size, {}).get(COMPUTATION, {})}
    return Study(folder, size, own, elsewhere, definition, overridden(parts, own), computation)


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


def _refuse_unknown(definition: Definition, size: str) -> None:
    """Raises ConfigError for a size that there is not, and for one that changes a part that there is not."""
    if size not in SIZES:
        raise ConfigError([f"--size must be one of {', '.join(SIZES)}; got {size!r}{nearest(size, SIZES)}"])
    known = definition.parts if definition.computation is None else (COMPUTATION,)
    unknown = [part for part in definition.sizes.get(size, {}) if part not in known]
    if unknown:
        raise ConfigError([f"sizes.{size}.{unknown[0]} is no part{nearest(unknown[0], known)}"])


def _combinations(grid: Mapping[str, Sequence[Any]]) -> int:
    """How many candidates a grid has; none where nothing is tuned."""
    return prod(map(len, grid.values())) if grid else 0


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
