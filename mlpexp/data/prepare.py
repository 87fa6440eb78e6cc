"""Load by name, split by the split's own seed, impute and normalise by the training part."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlpexp.data import biology, generators, idx, mnist_1d, packaged, splice_sites, table
from mlpexp.data.dataset import DataError, Dataset, Part, Parts, array_digest
from mlpexp.data.splits import Rows, part_rows

if TYPE_CHECKING:
    from mlpexp.data_schema import DataBase

Floats = NDArray[np.float64]

SOURCES: dict[str, Callable[..., Dataset]] = {
    "digits": packaged.load_digits,
    "breast_cancer": packaged.load_breast_cancer,
    "wine": packaged.load_wine,
    "iris": packaged.load_iris,
    "diabetes": packaged.load_diabetes,
    "fashion_mnist": idx.load_fashion_mnist,
    "fashion_small": idx.load_fashion_small,
    "mnist1d": mnist_1d.load,
    "splice": biology.load_splice,
    "golub": biology.load_golub,
    "table": table.load,
    "idx": idx.load,
    "clusters": generators.clusters,
    "moons": generators.moons,
    "spirals": generators.spirals,
    "xor": generators.xor,
    "parity": generators.parity,
    "sine": generators.sine,
    "teacher": generators.teacher,
    "splice_sites": splice_sites.load,
}
"""A source takes its own keys of the config (all but name, split, normalisation and label noise)."""

SHARED_KEYS = {"name", "normalisation", "label_noise", "split"}
JUST_NOW = 2.0  # seconds; within them a second change may leave a file's time stamp as it is


def load(config: "DataBase") -> Dataset:
    """The data set that a config names; kept in memory until its file changes."""
    keys = {key: value for key, value in config.model_dump().items() if key not in SHARED_KEYS}
    hashable = {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()}
    dataset = _load(str(config.name), tuple(sorted(hashable.items())), _stamp(keys.get("path")))  # type: ignore[attr-defined]  # each set of the union has a name
    if config.label_noise > 0 and dataset.task == "regression":
        raise DataError(
            f"data.label_noise={config.label_noise:g} replaces labels by other classes, but {dataset.name} is a "
            "regression and has none; set data.label_noise=0"
        )
    return dataset


def prepare(config: "DataBase") -> Parts:
    """The training, validation and test part, imputed and normalised."""
    dataset = load(config)
    rows = part_rows(dataset, config.split)
    raw = [dataset.features[part].astype(np.float64) for part in rows]
    fill = None
    if dataset.imputation != "none":
        fill = _fill(dataset, raw[0])
        raw = [np.where(np.isnan(features), fill, features) for features in raw]
    centre, scale = _normalisation(raw[0], config.normalisation)
    training, validation, test = (
        Part((features - centre) / scale, dataset.targets[part]) for features, part in zip(raw, rows, strict=True)
    )
    return Parts(dataset, training, validation, test, centre, scale, _digest(dataset, rows), fill)


def data_digest(config: "DataBase") -> str:
    """SHA-256 of the loaded arrays and of the rows in each part."""
    dataset = load(config)
    return _digest(dataset, part_rows(dataset, config.split))


@lru_cache(maxsize=4)
def _load(name: str, keys: tuple[tuple[str, object], ...], stamp: object) -> Dataset:
    with _undisturbed():
        return SOURCES[name](**dict(keys))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put the global generators back as they were: some packages reseed them."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (theirs, not ours)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 (theirs, as above)


def _stamp(path: str | None) -> object:
    """Changes when a file, or a file of a folder, does.

    A time stamp ticks every few milliseconds: two changes within a tick look like one. So a file that changed
    just now is also known by its content.
    """
    if path is None:
        return None
    place = Path(path).expanduser()
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    return tuple(_file_stamp(file) for file in files if file.is_file())


def _file_stamp(file: Path) -> tuple[object, ...]:
    status = file.stat()
    known = (str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    if time.time() - max(status.st_mtime, status.st_ctime) > JUST_NOW or status.st_size > 1e8:
        return known
    return (*known, hashlib.sha256(file.read_bytes()).digest())


def _digest(dataset: Dataset, rows: tuple[Rows, Rows, Rows]) -> str:
    return array_digest(rows, dataset.digest)


def _fill(dataset: Dataset, training: Floats) -> Floats:
    """What replaces a missing value in each column, [q]; a missing category becomes the most frequent one."""
    present = ~np.isnan(training)
    empty = np.flatnonzero(~present.any(axis=0))
    if len(empty):
        raise DataError(
            f"{dataset.name}: no training row has a value of {dataset.feature_name(int(empty[0]))}, so none can be "
            "imputed; leave the column out with data.drop"
        )
    if dataset.imputation == "mean":
        fill: Floats = np.nanmean(training, axis=0)
    elif dataset.imputation == "median":
        fill = np.nanmedian(training, axis=0)
    else:
        fill = np.array([_most_frequent(training[present[:, j], j]) for j in range(dataset.inputs)])
    for first, past in dataset.blocks:
        fill[first:past] = np.arange(past - first) == np.nansum(training[:, first:past], axis=0).argmax()
    return fill


def _most_frequent(values: Floats) -> float:
    """The commonest value; of several the least."""
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])


def _normalisation(training: Floats, kind: str) -> tuple[Floats, Floats]:
    """Centre and scale of each feature, [q]; a constant feature is centred and left at that."""
    columns = training.shape[1]
    if kind == "standard":
        centre, scale = training.mean(axis=0), training.std(axis=0)
    elif kind == "minmax":
        centre = training.min(axis=0)
        scale = training.max(axis=0) - centre
    else:
        centre, scale = np.zeros(columns), np.ones(columns)
    return centre, np.where(scale > 1e-12 * np.abs(training).max(axis=0), scale, 1.0)
