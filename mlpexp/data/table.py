"""Your own table: a CSV or Parquet file with a target column becomes a Dataset.

Numbers stay numbers, truth values become 0 and 1, text becomes one column per category. Which categories there are
is read off the whole file: one that no training row has is a column that stays constant in training.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.data import table_files
from mlpexp.data.dataset import DataError, Dataset, Imputation, refuse_if_too_large, repeated_rows
from mlpexp.data.table_files import Sheet, is_text

Floats = NDArray[np.float64]

MOST_CATEGORIES = 100
MOST_CLASSES_GUESSED = 20


def load(
    path: str,
    target: str,
    task: str = "auto",
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    group: str | None = None,
    repeats: str = "together",
    imputation: Imputation = "none",
    separator: str = "comma",
    decimal: str = "point",
) -> Dataset:
    """Features [n, q] and targets of a table; a group column, else equal rows, keep rows in one part."""
    sheet = table_files.read(path, separator, decimal)
    named = {"target": [target], "categorical": categorical, "drop": drop, "group": [group] if group else []}
    for key, columns in named.items():
        for column in columns:
            _refuse_unknown(sheet, key, column)
    targets, classes = _targets(sheet, target, task, decimal)
    features = [name for name in sheet.columns if name != target and name not in {*drop, group}]
    if not features:
        raise DataError(f"{sheet.file} has no column left beside the target {target}; a network needs features")
    names: list[str] = []
    values, blocks = [], []
    for name in features:
        refuse_if_too_large(f"{sheet.file}, column {name} and those before it,", 16.0 * sheet.rows * (len(names) + 1))
        matrix, categories = _feature(sheet, name, name in categorical, decimal)
        if np.isnan(matrix).any() and imputation == "none":
            missing = np.isnan(matrix[:, 0])
            raise DataError(
                f"{sheet.place(int(missing.argmax()), name)} is missing (with {missing.sum() - 1} more below it); "
                "choose data.imputation=median, mean or most_frequent, or leave the column out with data.drop"
            )
        if categories:
            blocks.append((len(names), len(names) + len(categories)))
        names += [f"{name}={category}" for category in categories] or [name]
        values.append(matrix)
    stacked = np.concatenate(values, axis=1)
    groups = _groups(sheet, group) if group else repeated_rows(stacked) if repeats == "together" else None
    return Dataset(
        name="table",
        task="regression" if not classes else "binary" if len(classes) == 2 else "multiclass",
        features=stacked,
        targets=targets,
        classes=classes,
        feature_names=tuple(names),
        groups=groups,
        licence="as its authors say",
        source=str(sheet.file),
        imputation=imputation,
        blocks=tuple(blocks),
    )


def _refuse_unknown(sheet: Sheet, key: str, column: str) -> None:
    if column not in sheet.columns:
        close = difflib.get_close_matches(column, sheet.columns, n=1, cutoff=0.5)
        names = list(sheet.columns)
        listed = f"; it has {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
        raise DataError(
            f"{sheet.file} has no column {column!r} (data.{key})" + (f"; did you mean {close[0]}?" if close else listed)
        )


def _targets(sheet: Sheet, name: str, task: str, decimal: str) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    """Class numbers [n] and class names, or reals [n, 1] and no names."""
    missing = np.asarray(sheet.columns[name].is_null(nan_is_null=True))
    if missing.any():
        raise DataError(
            f"{sheet.place(int(missing.argmax()), name)}: the target is missing (with {missing.sum() - 1} more); "
            "targets are never imputed, remove such rows"
        )
    numbers = _numbers(sheet, name, decimal)
    if task == "auto":
        task = "classification" if numbers is None or _looks_like_classes(numbers) else "regression"
    if task == "regression":
        if numbers is None:
            raise DataError(f"{sheet.place(0, name)} is text, so data.task=regression cannot be; choose classification")
        return numbers[:, None], ()
    codes, classes = _codes(sheet, name)
    if len(classes) < 2:
        raise DataError(f"{sheet.file}, column {name}: all {sheet.rows} rows are {classes[0]}; two classes are needed")
    if len(classes) > sheet.rows / 2:
        raise DataError(
            f"{sheet.file}, column {name}: {len(classes)} classes in {sheet.rows} rows; is it a name, or does "
            "data.task=regression fit better?"
        )
    return codes, classes


def _looks_like_classes(numbers: Floats) -> bool:
    """Few whole numbers, each of them several times."""
    distinct = len(np.unique(numbers))
    return bool((numbers == np.floor(numbers)).all()) and distinct <= min(MOST_CLASSES_GUESSED, len(numbers) / 3)


def _feature(sheet: Sheet, name: str, categorical: bool, decimal: str) -> tuple[Floats, tuple[str, ...]]:
    """One column as numbers [n, 1], or one column per category [n, k] and their names; NaN where missing."""
    numbers = None if categorical else _numbers(sheet, name, decimal)
    if numbers is not None:
        if np.isnan(numbers).all():
            raise DataError(f"{sheet.file}, column {name}: every value is missing; leave it out with data.drop")
        return numbers[:, None], ()
    codes, categories = _codes(sheet, name)
    if not categories:
        raise DataError(f"{sheet.file}, column {name}: every value is missing; leave it out with data.drop")
    if len(categories) > min(MOST_CATEGORIES, max(2, sheet.rows / 2)):
        raise DataError(
            f"{sheet.file}, column {name}: {len(categories)} different texts in {sheet.rows} rows, such as "
            f"{categories[0]!r}; a name or a number of its own tells nothing, leave it out with data.drop"
        )
    matrix = (codes[:, None] == np.arange(len(categories))).astype(np.float64)
    return np.where(codes[:, None] < 0, np.nan, matrix), categories


def _numbers(sheet: Sheet, name: str, decimal: str) -> Floats | None:
    """A column as float64 [n] with NaN where missing; None where it is text. Infinities and strays are refused."""
    import pyarrow as pa

    column = sheet.columns[name]
    kind = column.type
    if is_text(kind):
        numbers = _numbers_in_text(sheet, name, decimal)
    elif pa.types.is_boolean(kind):
        numbers = column.cast(pa.int8()).cast(pa.float64()).to_numpy()
    elif any(is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)):
        numbers = column.cast(pa.float64(), safe=False).to_numpy()
    elif pa.types.is_null(kind):
        numbers = np.full(sheet.rows, np.nan)
    else:
        raise DataError(
            f"{sheet.place(0, name)}: {kind} is neither number nor text; turn it into numbers, or leave the column out "
            "with data.drop"
        )
    if numbers is not None and np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        raise DataError(f"{sheet.place(row, name)} is {numbers[row]}; every value must be finite")
    return numbers


def _numbers_in_text(sheet: Sheet, name: str, decimal: str) -> Floats | None:
    """What a column of text says in numbers; None where most of it is none, a refusal where some is none."""
    import pandas as pd

    text = pd.Series(sheet.columns[name].to_pylist(), dtype=object)
    spelt = text if decimal == "point" else text.str.replace(",", ".")
    numbers = pd.to_numeric(spelt, errors="coerce").to_numpy(dtype=np.float64)
    strays = np.isnan(numbers) & text.notna().to_numpy()
    if strays.sum() * 2 > text.notna().sum():
        return None
    if strays.any():
        row = int(strays.argmax())
        raise DataError(
            f"{sheet.place(row, name)} is {text[row]!r} where other values are numbers; mend it, or list the column in "
            "data.categorical"
        )
    return numbers


def _codes(sheet: Sheet, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A column as numbers of its sorted different values [n], −1 where missing, and those values as text."""
    values: list[Any] = sheet.columns[name].to_pylist()
    present = [None if value != value else value for value in values]  # nan is unlike itself
    try:
        distinct = sorted({value for value in present if value is not None})
    except TypeError:  # lists, structures
        raise DataError(f"{sheet.file}, column {name}: {sheet.columns[name].type} names no category") from None
    number: dict[Any, int] = {value: place for place, value in enumerate(distinct)}
    codes = np.array([-1 if value is None else number[value] for value in present], dtype=np.int64)
    return codes, tuple(_spelt(value) for value in distinct)


def _groups(sheet: Sheet, name: str) -> NDArray[np.int64]:
    """The group of each row, [n]; every row must name one."""
    codes, _ = _codes(sheet, name)
    if (codes < 0).any():
        raise DataError(f"{sheet.place(int((codes < 0).argmax()), name)}: the group is missing; every row needs one")
    return codes


def _spelt(value: object) -> str:
    """Whole numbers without a point, truth values small."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
