"""Which rows train, validate and test: by the split's own seed, class by class, whole groups together."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import DataError, Dataset

if TYPE_CHECKING:
    from mlpexp.data_schema import Split

Rows = NDArray[np.int64]


def part_rows(dataset: Dataset, split: "Split") -> tuple[Rows, Rows, Rows]:
    """Row numbers of the training, validation and test part, each in the order of the data."""
    everything = np.arange(len(dataset.targets), dtype=np.int64)
    if split.test == "official":
        if not dataset.official_test:
            raise DataError(f"{dataset.name} has no test rows set aside by its authors; give data.split.test a share")
        rest, test = np.split(everything, [len(everything) - dataset.official_test])
        part = split.validation
    else:
        _must_leave_some(dataset, split, split.test, len(everything))
        rest, test = cut(dataset, everything, split.test, split.seed)
        part = _of_the_rest(split, len(everything), len(rest))
    _must_leave_some(dataset, split, part, len(rest))
    training, validation = cut(dataset, rest, part, split.seed + 1)
    if not len(training):
        raise DataError(f"{dataset.name}: no rows are left to train on; make data.split.validation or test smaller")
    return training, validation, test


def _of_the_rest(split: "Split", rows: int, rest: int) -> float | int:
    """What of the rows that are no test rows makes the validation part: a count as it is, a share of all rows anew."""
    if isinstance(split.validation, int):
        return split.validation
    return split.validation / (1 - split.test) if isinstance(split.test, float) else split.validation * rows / rest


def _must_leave_some(dataset: Dataset, split: "Split", part: float | int, rows: int) -> None:
    if part >= (rows if isinstance(part, int) else 1):
        raise DataError(
            f"{dataset.name} has {len(dataset.targets)} rows: data.split.validation={split.validation} and "
            f"data.split.test={split.test} leave none to train on; make one smaller"
        )


def cut(dataset: Dataset, rows: Rows, part: float | int, seed: int) -> tuple[Rows, Rows]:
    """Rows in two, in their own order: the second has `part` of them, a share below 1 or a count."""
    if part == 0:
        return rows, rows[:0]
    state = np.random.RandomState(seed % 2**32)
    if dataset.groups is not None:
        return _cut_groups(dataset, rows, part / len(rows) if isinstance(part, int) else part, state)
    from sklearn.model_selection import train_test_split

    labels = None if dataset.task == "regression" else dataset.targets[rows]
    try:
        first, second = train_test_split(rows, test_size=part, stratify=labels, random_state=state)
    except ValueError as error:
        reason = _lonely_class(dataset, rows) or str(error)
        raise DataError(
            f"{dataset.name}: {len(rows)} rows cannot be split {_spelt(part)}, class by class: {reason}"
        ) from None
    return np.sort(first), np.sort(second)


def _spelt(part: float | int) -> str:
    return str(part) if isinstance(part, int) else f"{part:.3g}"


def _lonely_class(dataset: Dataset, rows: Rows) -> str:
    """The class that has a single row, which cannot be in two parts; empty where there is none."""
    if dataset.task == "regression":
        return ""
    counts = np.bincount(dataset.targets[rows].astype(np.int64), minlength=len(dataset.classes))
    lonely = np.flatnonzero(counts == 1)
    return f"class {dataset.classes[lonely[0]]} has a single row" if len(lonely) else ""


def _cut_groups(
    dataset: Dataset,
    rows: Rows,
    share: float,
    state: np.random.RandomState,
) -> tuple[Rows, Rows]:
    """As cut, with no group on both sides and classes shared out as evenly as the groups allow.

    Groups of several rows come first, large before small, each to the side that is emptier in its classes; then the
    single rows of each class fill up what is wanting.
    """
    assert dataset.groups is not None
    regression = dataset.task == "regression"
    labels = np.zeros(len(rows), dtype=np.int64) if regression else dataset.targets[rows].astype(np.int64)
    numbers, sizes = np.unique(dataset.groups[rows], return_inverse=True, return_counts=True)[1:]
    table = np.zeros((len(sizes), 1 if regression else len(dataset.classes)))
    np.add.at(table, (numbers, labels), 1.0)  # rows of each group in each class
    wanted = np.outer([1 - share, share], table.sum(axis=0))
    filled = np.zeros_like(wanted)
    second = np.zeros(len(sizes), dtype=bool)
    order = state.permutation(len(sizes))
    several = order[sizes[order] > 1]
    for group in several[np.argsort(-sizes[several], kind="stable")]:
        counts = table[group]
        crowding = ((filled + counts / 2) / np.maximum(wanted, 1e-9) * counts).sum(axis=1)
        side = int(crowding[1] < crowding[0])
        second[group] = bool(side)
        filled[side] += counts
    single = order[sizes[order] == 1]
    for label in range(table.shape[1]):
        candidates = single[table[single, label] > 0]
        wanting = round(wanted[1, label] - filled[1, label])
        second[candidates[: max(wanting, 0)]] = True
    chosen = second[numbers]
    first_rows, second_rows = rows[~chosen], rows[chosen]
    if not len(second_rows) or len(np.unique(labels[~chosen])) < len(np.unique(labels)):
        raise DataError(
            f"{dataset.name}: {len(rows)} rows in {len(sizes)} groups of rows that stay together cannot be split "
            f"{share:.3g} with every class in the larger part; take other shares, another data.group, or "
            "data.repeats=apart"
        )
    return first_rows, second_rows
