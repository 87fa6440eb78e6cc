"""What a source of data hands over, and what training receives."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Imputation = Literal["none", "mean", "median", "most_frequent"]

LARGEST = 1e150
"""Larger values are refused: their squares, and so their spread, overflow float64."""


class DataError(ValueError):
    """Data that cannot be used: names the file and the place, and the way out."""


@dataclass(frozen=True)
class Dataset:
    """Examples as they were loaded: not yet split, not yet normalised.

    `features` [n, q] of any real type; NaN only where an imputation is chosen.
    `targets` [n] whole numbers 0…classes−1, or [n, k] reals for regression.
    `official_test`: how many of the last rows the authors set aside for testing; 0 where they named none.
    `groups` [n]: rows of one group never fall into two parts; None where each row stands for itself.
    `blocks`: (first, past the last) of the columns that one categorical feature became.
    `bayes_accuracy`, `bayes_mse`: what the best possible predictor reaches on clean targets; None where unknown.
    """

    name: str
    task: Task
    features: NDArray[np.generic]
    targets: NDArray[np.generic]
    classes: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    official_test: int = 0
    groups: NDArray[np.generic] | None = None
    licence: str = ""
    source: str = ""
    imputation: Imputation = "none"
    blocks: tuple[tuple[int, int], ...] = ()
    bayes_accuracy: float | None = None
    bayes_mse: float | None = None

    def __post_init__(self) -> None:
        if len(self.features) != len(self.targets):
            raise DataError(f"{self.name}: {len(self.features)} rows of features but {len(self.targets)} targets")
        if not self.features.size:
            raise DataError(f"{self.name}: {len(self.features)} rows of {self.features.shape[1]} features; both needed")
        if self.task != "regression" and len(self.classes) < 2:
            raise DataError(
                f"{self.name}: the targets name {len(self.classes)} class ({', '.join(self.classes)}); "
                "classification needs two or more"
            )
        self._refuse_what_is_not_finite()

    @property
    def inputs(self) -> int:
        """Number of features, q."""
        return int(self.features.shape[1])

    @property
    def outputs(self) -> int:
        """Columns of the network's last layer: one per class, one for two classes, one per regression target."""
        if self.task == "regression":
            return int(self.targets.shape[1])
        return 1 if self.task == "binary" else len(self.classes)

    def feature_name(self, column: int) -> str:
        """What a column is called; its number where the source names none."""
        return self.feature_names[column] if self.feature_names else f"x{column + 1}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the loaded arrays: a changed file is another data set."""
        return array_digest([self.features, self.targets], self.task, *self.classes)

    def _refuse_what_is_not_finite(self) -> None:
        for what, values in (("features", self.features), ("targets", self.targets)):
            if values.dtype.kind != "f":
                continue
            good = np.abs(values.astype(np.float64, copy=False)) < LARGEST  # false for nan
            if what == "features" and self.imputation != "none":
                good |= np.isnan(values)
            if not good.all():
                row, column = (int(place) for place in np.argwhere(~good)[0])
                where = f"feature {self.feature_name(column)}" if what == "features" else f"target {column + 1}"
                raise DataError(
                    f"{self.name}: row {row + 1}, {where} is {values[row, column]}; every value must be a number "
                    f"within ±{LARGEST:g}"
                )


@dataclass(frozen=True)
class Part:
    """Normalised examples, [n, q], and their targets: class numbers [n], or reals [n, k]."""

    features: NDArray[np.float64]
    targets: NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Parts:
    """A data set, split, imputed and normalised by what its training part says."""

    dataset: Dataset
    training: Part
    validation: Part
    test: Part
    centre: NDArray[np.float64]  # [q]; x ↦ (x − centre) / scale
    scale: NDArray[np.float64]  # [q]
    digest: str = field(default="")
    fill: NDArray[np.float64] | None = None  # [q]; takes the place of missing values before centre and scale

    @property
    def nbytes(self) -> int:
        """Bytes of the examples, as they were loaded and normalised."""
        return sum(
            x.features.nbytes + x.targets.nbytes for x in (self.dataset, self.training, self.validation, self.test)
        )


def array_digest(arrays: Iterable[NDArray[np.generic]], *words: str) -> str:
    """SHA-256 of arrays with their types and shapes, and of words."""
    state = hashlib.sha256("\x1f".join(words).encode())
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def repeated_rows(features: NDArray[np.generic]) -> NDArray[np.int64] | None:
    """A number for each row [n], equal where the rows are equal; None where no two are."""
    rows = np.ascontiguousarray(features + 0)  # −0 becomes 0: equal values get equal bytes
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    distinct, numbers = np.unique(whole, return_inverse=True)
    return None if len(distinct) == len(rows) else numbers.astype(np.int64)


def refuse_if_too_large(what: str, size: float) -> None:
    """Raise DataError where `size` bytes are more than half of the free memory."""
    free = psutil.virtual_memory().available
    if size > free / 2:
        raise DataError(
            f"{what} needs about {size / 1e9:.1f} GB of memory, more than half of the {free / 1e9:.1f} GB that are "
            "free; use fewer rows or columns"
        )
