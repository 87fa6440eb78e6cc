"""Which rows train, validate and test: by the split's own seed, class by class, whole groups together."""

import math
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
        rest, test = _cut(dataset, everything, split.test, split.seed)
        part = _of_the_rest(split, len(everything), len(rest))
    _must_leave_some(dataset, split, part, len(rest))
    training, validation = _cut(dataset, rest, part, split.seed + 1)
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


def _cut(dataset: Dataset, rows: Rows, part: float | int, seed: int) -> tuple[Rows, Rows]:
    """Rows in two, in their own order: the second has `part` of them, a share below 1 or a count."""
    if part == 0:
        return rows, rows[:0]
    state = np.random.RandomState(seed % 2**32)
    if dataset.groups is not None:
        return _cut_groups(dataset, rows, part / len(rows) if isinstance(part, int) else part, state)
    count = part if isinstance(part, int) else math.ceil(part * len(rows))
    if dataset.task == "regression":
        chosen = state.permutation(len(rows))[:count]
    else:
        if reason := _why_not(dataset, rows, count):
            raise DataError(
                f"{dataset.name}: {len(rows)} rows cannot be split {_spelt(part)}, class by class: {reason}"
            )
        chosen = _of_each_class(dataset.targets[rows], count, state)
    second = np.zeros(len(rows), dtype=bool)
    second[chosen] = True
    return rows[~second], rows[second]


def _of_each_class(labels: NDArray[np.generic], count: int, state: np.random.RandomState) -> Rows:
    """Positions of `count` rows in which classes have the shares that they have among all; drawn from `state`.

    The same rows as scikit-learn's train_test_split with stratify draws from it, so it draws in the same order; loading
    scikit-learn takes longer than a small run.
    """
    numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    kept = _shared_out(sizes, len(labels) - count, state)
    taken = _shared_out(sizes - kept, count, state)
    chosen = []
    for label, size in enumerate(sizes):
        shuffled = np.flatnonzero(numbers == label)[state.permutation(size)]
        chosen.append(shuffled[kept[label] : kept[label] + taken[label]])
    return np.concatenate(chosen)


def _shared_out(sizes: NDArray[np.int64], count: int, state: np.random.RandomState) -> NDArray[np.int64]:
    """`count` places for classes of these sizes in proportion, by largest remainders; equal ones draw lots."""
    shares = sizes / sizes.sum() * count
    places = np.floor(shares)
    remainders = shares - places
    left = int(count - places.sum())
    for remainder in np.unique(remainders)[::-1]:
        if left <= 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        lucky = state.choice(equal, size=min(left, len(equal)), replace=False)
        places[lucky] += 1
        left -= len(lucky)
    counts: NDArray[np.int64] = places.astype(np.int64)
    return counts


def _spelt(part: float | int) -> str:
    return str(part) if isinstance(part, int) else f"{part:.3g}"


def _why_not(dataset: Dataset, rows: Rows, count: int) -> str:
    """Why `count` of these rows cannot be taken with every class on both sides; empty where they can."""
    sizes = np.bincount(dataset.targets[rows].astype(np.int64), minlength=len(dataset.classes))
    lonely, classes = np.flatnonzero(sizes == 1), int((sizes > 0).sum())
    if len(lonely):
        return f"class {dataset.classes[lonely[0]]} has a single row"
    if min(count, len(rows) - count) < classes:
        return f"parts of {len(rows) - count} and {count} rows cannot both hold {classes} classes"
    return ""


def _cut_groups(
    dataset: Dataset,
    rows: Rows,
    share: float,
    state: np.random.RandomState,
) -> tuple[Rows, Rows]:
    """As _cut, with no group on both sides and classes shared out as evenly as the groups allow.

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
