"""What data there is, what of it is installed, and what one set looks like. Gives text and numbers, prints nothing."""

from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mlpexp.data import biology, idx, mnist_1d
from mlpexp.data.dataset import DataError, Dataset
from mlpexp.data.pictures import picture
from mlpexp.data.prepare import load
from mlpexp.data.splits import part_rows
from mlpexp.data_schema import Data, DataBase


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue; sizes of generators and of your own files depend on their keys."""

    name: str
    task: str
    rows: str
    features: str
    classes: str
    licence: str
    source: str
    install: str = ""  # the command that installs it, empty where nothing is wanting

    @property
    def installed(self) -> bool:
        """Whether it can be loaded now."""
        return not self.install


@dataclass(frozen=True)
class Description:
    """One set: facts as (name, value), `counts` of each class in each part, and a picture as lines of text."""

    name: str
    facts: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, int, int, int], ...] = ()  # class, training, validation, test
    picture: tuple[str, ...] = field(default=(), repr=False)

    def lines(self) -> list[str]:
        """All of it as plain text."""
        wide = max(len(name) for name, _ in self.facts)
        text = [self.name, *(f"  {name.ljust(wide)}  {value}" for name, value in self.facts)]
        if self.counts:
            width = max(len("class"), *(len(row[0]) for row in self.counts))
            text += ["", f"  {'class'.ljust(width)}  training  validation    test"]
            text += [f"  {row[0].ljust(width)}  {row[1]:>8}  {row[2]:>10}  {row[3]:>6}" for row in self.counts]
        return [*text, "", *(f"  {line}".rstrip() for line in self.picture)]


FASHION = ("fashion_mnist", "fashion_small")

_skl = partial(Entry, licence="CC BY 4.0", source="scikit-learn")
_made = partial(Entry, features="2", classes="2", rows="1000 *", licence="generated", source="mlpexp")

ENTRIES = (
    _skl("digits", "multiclass", "1797", "64", "10"),
    _skl("breast_cancer", "binary", "569", "30", "2"),
    _skl("wine", "multiclass", "178", "13", "3"),
    _skl("iris", "multiclass", "150", "4", "3"),
    Entry("diabetes", "regression", "442", "10", "–", "none stated", "scikit-learn"),
    Entry("fashion_mnist", "multiclass", "60000 + 10000", "784", "10", "MIT", "Xiao et al. 2017"),
    Entry("fashion_small", "multiclass", "3000 + 10000", "196", "10", "MIT", "Xiao et al. 2017, made smaller"),
    Entry("mnist1d", "multiclass", "4000 + 1000", "40", "10", "Apache-2.0", "Greydanus & Kobak 2020"),
    Entry("splice", "multiclass", "3186", "180", "3", "GPL-2 (package)", "R mlbench, UCI"),
    Entry("golub", "binary", "38", "3051", "2", "LGPL-3+ (package)", "R multtest, Golub et al. 1999"),
    Entry("table", "any", "yours", "yours", "yours", "yours", "a CSV or Parquet file: data.path, data.target"),
    Entry("idx", "classes", "yours", "yours", "yours", "yours", "a folder of IDX files: data.path"),
    _made("clusters", "multiclass", classes="3 *", features="2 *"),
    _made("moons", "binary"),
    _made("spirals", "binary", classes="2 *"),
    _made("xor", "binary"),
    _made("parity", "binary", rows="1024 *", features="10 *"),
    _made("sine", "regression", features="1", classes="–"),
    _made("teacher", "regression *", features="10 *", classes="– *"),
    _made("splice_sites", "multiclass", features="240 *", classes="3"),
)
"""In the order in which they are listed; * marks what a key of the generator changes."""


def catalogue_rows() -> list[Entry]:
    """Every source by name, with the command that installs it where it is missing; loads none."""
    return [Entry(**{**vars(entry), "install": install_command(entry.name)}) for entry in ENTRIES]


def install_command(name: str) -> str:
    """What to type before a set can be loaded; empty where nothing is wanting."""
    if name in FASHION and not any(Path(folder).is_dir() for folder in idx.FASHION_FOLDERS):
        return idx.FASHION_INSTALL
    if name == "mnist1d" and find_spec("mnist1d") is None:
        return mnist_1d.INSTALL
    if name in biology.PACKAGES:
        wanting = (biology.find(name) is None, find_spec("rdata") is None)
        return " && ".join(c for c, missing in zip(biology.INSTALL[name], wanting, strict=True) if missing)
    return ""


def default_config(name: str, **keys: Any) -> DataBase:
    """A source with its keys at their defaults, but for those given."""
    try:
        config: DataBase = TypeAdapter(Data).validate_python({"name": name, **keys})
    except ValidationError as error:
        if name not in {entry.name for entry in ENTRIES}:
            names = ", ".join(entry.name for entry in ENTRIES)
            raise DataError(f"there is no data set {name!r}; there are {names}") from None
        mistakes = "; ".join(f"data.{mistake['loc'][-1]}: {mistake['msg'].lower()}" for mistake in error.errors())
        raise DataError(f"data={name}: {mistakes}") from None
    return config


def spoken(name: str) -> str:
    """What text and figures call a set, whose name is a word of commands: Fashion-MNIST whatever its size."""
    names = {**dict.fromkeys(FASHION, "Fashion-MNIST"), "mnist1d": "MNIST-1D", "xor": "XOR"}
    return names.get(name, name.replace("_", " "))


def title(config: DataBase) -> str:
    """What a caption calls a set: Fashion-MNIST with the pixels of its pictures, of which there are several sizes."""
    name: str = config.name  # type: ignore[attr-defined]  # each set of the union has one
    if name not in FASHION:
        return spoken(name)
    side = idx.FASHION_SIDE // config.pooling  # type: ignore[attr-defined]  # and these have that key
    return f"{spoken(name)}, {side} × {side}"


def describe(data: str | DataBase) -> Description:
    """One set, by name or by its section of a config: loads it, splits it, and tells what is in it."""
    config = default_config(data) if isinstance(data, str) else data
    dataset = load(config)
    rows = part_rows(dataset, config.split)
    counts: list[tuple[str, int, int, int]] = []
    if dataset.task != "regression":
        per_part = [
            np.bincount(dataset.targets[part].astype(np.int64), minlength=len(dataset.classes)) for part in rows
        ]
        counts = [
            (name, int(first), int(second), int(third))
            for name, first, second, third in zip(dataset.classes, *per_part, strict=True)
        ]
    facts = _facts(dataset, [len(part) for part in rows])
    return Description(dataset.name, tuple(facts), tuple(counts), tuple(picture(dataset, rows[0])))


def _facts(dataset: Dataset, sizes: list[int]) -> list[tuple[str, str]]:
    shape = f" ({' × '.join(map(str, dataset.image_shape or ()))})" if len(dataset.image_shape or ()) > 1 else ""
    facts = [
        ("task", dataset.task),
        ("rows", f"{sum(sizes)}: {sizes[0]} training, {sizes[1]} validation, {sizes[2]} test"),
        ("features", f"{dataset.inputs}{shape}, {dataset.features.dtype}"),
    ]
    if dataset.groups is not None:
        facts.append(("groups", f"{len(np.unique(dataset.groups))} of rows that stay in one part"))
    if dataset.task == "regression":
        for column in range(dataset.targets.shape[1]):
            values = dataset.targets[:, column].astype(np.float64)
            facts.append(("target", f"{values.min():.4g} … {values.max():.4g}, mean {values.mean():.4g}"))
    if dataset.bayes_accuracy is not None:
        facts.append(("best accuracy possible", f"{dataset.bayes_accuracy:.4f}"))
    if dataset.bayes_mse is not None:
        facts.append(("least squared error possible", f"{dataset.bayes_mse:.4g}"))
    return [*facts, ("licence", dataset.licence), ("source", dataset.source), ("digest", dataset.digest[:16])]
