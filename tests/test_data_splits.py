"""Splits by group and class; statistics of the training part alone; digests that follow the files."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlpexp.data import DataError, Dataset, data_digest, load, prepare
from mlpexp.data.catalogue import default_config
from mlpexp.data.dataset import repeated_rows
from mlpexp.data.prepare import SOURCES, _normalisation
from mlpexp.data.splits import part_rows
from mlpexp.data_schema import DataBase, Split

Rows = list[list[str]]

MODULE = importlib.import_module("mlpexp.data.prepare")  # the package shows its function of the same name


def dataset_of(features: NDArray[Any], targets: NDArray[Any], **keys: Any) -> Dataset:
    classes = tuple(str(label) for label in range(int(targets.max()) + 1))
    return Dataset("made", "multiclass", features, targets, classes, **keys)


def grouped(n: int = 600, groups: int = 150, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    return dataset_of(
        generator.standard_normal((n, 2)),
        generator.choice(3, n, p=[0.6, 0.3, 0.1]),
        groups=generator.integers(0, groups, n),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("groups", [40, 150, 5000])
def test_groups_stay_whole_and_classes_in_proportion(seed: int, groups: int) -> None:
    dataset = grouped(groups=groups, seed=seed)
    parts = part_rows(dataset, Split(seed=seed, validation=0.2, test=0.2))
    assert sorted(np.concatenate(parts)) == list(range(600))
    assert dataset.groups is not None
    owners = [set(dataset.groups[rows]) for rows in parts]
    assert not owners[0] & owners[1] | owners[0] & owners[2] | owners[1] & owners[2]
    for rows, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(dataset.targets[rows], minlength=3)
        assert np.abs(counts - share * np.bincount(dataset.targets)).max() <= (3 if groups == 5000 else 12)


ASKED: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"validation": 100, "test": 50}, (450, 100, 50)),
    ({"validation": 100, "test": 0.25}, (350, 100, 150)),
    ({"validation": 0.25, "test": 100}, (350, 150, 100)),
    ({"validation": 0, "test": 100}, (500, 0, 100)),
    ({"validation": 3, "test": 3}, (594, 3, 3)),
]
ONE_ROW: tuple[dict[str, Any], tuple[int, ...]] = ({"validation": 1, "test": 0.5}, (299, 1, 300))
"""Three classes cannot be in a part of one row."""


@pytest.mark.parametrize(
    ("task", "keys", "sizes"),
    [
        *(("classes", *asked) for asked in ASKED),
        *((task, *asked) for task in ("regression", "groups") for asked in (*ASKED, ONE_ROW)),
    ],
)
def test_parts_have_the_numbers_of_examples_asked_for(task: str, keys: dict[str, Any], sizes: tuple[int, ...]) -> None:
    """Whole groups come as near to it as they can; classes stay in proportion."""
    dataset = grouped(groups=5000) if task == "groups" else without_groups(task)
    parts = part_rows(dataset, Split(**keys))
    assert sorted(np.concatenate(parts)) == list(range(600))
    assert np.abs(np.array([len(rows) for rows in parts]) - sizes).max() <= (4 if task == "groups" else 0)
    for rows in parts:
        if task == "classes" and len(rows):
            shares = np.bincount(dataset.targets[rows].astype(int), minlength=3) / len(rows)
            assert np.abs(shares - np.bincount(dataset.targets.astype(int)) / 600).max() <= 1 / len(rows)


def without_groups(task: str) -> Dataset:
    made = grouped()
    if task == "classes":
        return dataset_of(made.features, made.targets)
    return Dataset("made", "regression", made.features, made.features[:, :1].copy(), ())


def test_a_count_is_the_share_that_it_amounts_to() -> None:
    dataset = without_groups("classes")
    counts, shares = (
        part_rows(dataset, Split(**keys))
        for keys in ({"validation": 90, "test": 120}, {"validation": 0.15, "test": 0.2})
    )
    assert all(np.array_equal(a, b) for a, b in zip(counts, shares, strict=True))


def test_a_count_of_the_authors_training_rows() -> None:
    made = grouped()
    dataset = dataset_of(made.features, made.targets, official_test=100)
    training, validation, test = part_rows(dataset, Split(validation=80, test="official"))
    assert (len(training), len(validation)) == (420, 80)
    assert test.tolist() == list(range(500, 600))
    with pytest.raises(DataError, match=r"made has 600 rows: data.split.validation=500 and .*=official leave none"):
        part_rows(dataset, Split(validation=500, test="official"))


def test_large_groups_do_not_all_go_to_training() -> None:
    dataset = dataset_of(np.zeros((400, 1)), np.arange(400) % 2, groups=np.repeat(np.arange(100), 4))
    sizes = [len(rows) for rows in part_rows(dataset, Split(validation=0.2, test=0.2))]
    assert np.abs(np.array(sizes) - [240, 80, 80]).max() <= 4


def test_the_split_follows_its_seed_alone() -> None:
    one, again, other = (part_rows(grouped(), Split(seed=seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[2], other[2])


def test_groups_too_few_to_share_out_are_refused() -> None:
    dataset = dataset_of(np.zeros((40, 1)), np.repeat([0, 1], 20), groups=np.repeat([0, 1], 20))
    with pytest.raises(DataError, match="40 rows in 2 groups"):
        part_rows(dataset, Split())


def test_a_class_of_one_row_is_named() -> None:
    with pytest.raises(DataError, match="class 2 has a single row"):
        part_rows(dataset_of(np.zeros((41, 1)), np.array([0, 1] * 20 + [2])), Split())


def test_repeated_rows_are_numbered_alike() -> None:
    assert repeated_rows(np.array([[0.0, 1], [1, 1]])) is None
    numbers = repeated_rows(np.array([[0.0, 1], [1, 1], [-0.0, 1]]))
    assert numbers is not None
    assert numbers[0] == numbers[2] != numbers[1]


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_the_test_part_teaches_nothing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    original = load(default_config("wine"))
    config = default_config("wine", normalisation=kind)
    before = prepare(config)
    _, validation, test = part_rows(original, config.split)
    changed = original.features.copy()
    changed[np.concatenate([validation, test])] *= 1000
    monkeypatch.setattr(MODULE, "load", lambda _: Dataset(**{**fields(original), "features": changed}))
    after = prepare(config)
    assert np.array_equal(before.centre, after.centre)
    assert np.array_equal(before.scale, after.scale)
    assert np.array_equal(before.training.features, after.training.features)
    assert not np.array_equal(before.test.features, after.test.features)


def fields(dataset: Dataset) -> dict[str, Any]:
    return {name: getattr(dataset, name) for name in Dataset.__dataclass_fields__}


def test_constant_columns_are_centred_and_small_ones_scaled() -> None:
    x = np.stack([np.full(50, 0.1), np.arange(50) * 1e-15, 1e9 + np.arange(50.0)], axis=1)
    for kind in ("standard", "minmax"):
        centre, scale = _normalisation(x, kind)
        y = (x - centre) / scale
        assert scale[0] == 1.0
        assert np.abs(y[:, 0]).max() < 1e-12
        assert np.ptp(y[:, 1]) > 0.9
        assert np.ptp(y[:, 2]) > 0.9
    assert [values.tolist() for values in _normalisation(x, "none")] == [[0.0] * 3, [1.0] * 3]


CSV = "a,b,y\n" + "".join(f"{i / 7},{i % 5},{'yes' if i % 2 else 'no'}\n" for i in range(40))


def table(path: Path, **keys: Any) -> DataBase:
    return default_config("table", path=str(path), target="y", **keys)


def test_the_digest_follows_a_file_within_one_process(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(CSV)
    first = data_digest(table(file))
    stamp = file.stat()
    file.write_text(CSV.replace("39", "38", 1).replace("3,yes", "4,yes", 1))  # as many bytes …
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # … and the same time
    assert file.stat().st_size == stamp.st_size
    second = data_digest(table(file))
    assert second != first
    file.write_text(CSV)
    assert data_digest(table(file)) == first


def test_line_endings_a_byte_order_mark_and_the_place_of_a_file_change_nothing(tmp_path: Path) -> None:
    digests = set()
    for number, text in enumerate(
        [CSV, CSV.replace("\n", "\r\n"), "\ufeff" + CSV, CSV + "\n\n", CSV.replace("\n", "\r")]
    ):
        file = tmp_path / f"{number}.csv"
        file.write_bytes(text.encode())
        digests.add(data_digest(table(file)))
    assert len(digests) == 1


def test_another_order_of_columns_is_another_data_set_of_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(30)))
    (tmp_path / "b.csv").write_text("y,b,a\n" + "".join(f"{i % 2},{i * i % 7},{i}\n" for i in range(30)))
    one, other = load(table(tmp_path / "a.csv")), load(table(tmp_path / "b.csv"))
    assert other.feature_names == ("b", "a")
    assert np.array_equal(one.features, other.features[:, ::-1])


def with_gaps(tmp_path: Path, edit: Callable[[Rows], Rows] = lambda rows: rows) -> Path:
    generator = np.random.default_rng(0)
    rows = [[f"{generator.normal():.6f}", "uvw"[i % 3], str(i % 2)] for i in range(90)]
    for i in range(0, 90, 10):
        rows[i][0] = ""
        rows[i + 1][1] = "NA"
    file = tmp_path / "gaps.csv"
    file.write_text("a,b,y\n" + "".join(",".join(row) + "\n" for row in edit(rows)))
    return file


@pytest.mark.parametrize("imputation", ["mean", "median", "most_frequent"])
def test_imputation_is_fitted_on_the_training_part(tmp_path: Path, imputation: str) -> None:
    keys = {"imputation": imputation, "normalisation": "none", "repeats": "apart"}
    config = table(with_gaps(tmp_path), **keys)
    before = prepare(config)
    raw = before.dataset.features
    train, _, test = part_rows(before.dataset, config.split)
    present = raw[train, 0][~np.isnan(raw[train, 0])]
    expected = {"mean": present.mean(), "median": np.median(present), "most_frequent": np.sort(present)[0]}
    assert before.fill is not None
    assert before.fill[0] == pytest.approx(expected[imputation])
    assert before.fill[1:].sum() == 1  # a missing category becomes the most frequent one
    assert np.isfinite(before.training.features).all()
    assert np.isfinite(before.test.features).all()

    def edit(rows: Rows) -> Rows:
        for i in test:
            rows[i][0] = "1000"
        return rows

    after = prepare(table(with_gaps(tmp_path, edit), **keys))
    assert np.array_equal(after.training.features, before.training.features)
    assert after.fill is not None
    assert np.array_equal(after.fill, before.fill)


def test_without_imputation_the_first_gap_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gaps.csv, row 2, the header is row 1, column a is missing \(with 8 more"):
        load(table(with_gaps(tmp_path)))


def test_a_column_with_no_training_value_cannot_be_imputed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.full((40, 2), np.nan)
    x[:, 0] = np.arange(40)
    made = dataset_of(x, np.arange(40) % 2, imputation="mean")
    monkeypatch.setattr(MODULE, "load", lambda _: made)
    with pytest.raises(DataError, match="no training row has a value of x2"):
        prepare(default_config("wine"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_no_source_may_hand_over_what_is_not_finite(value: float) -> None:
    x = np.zeros((4, 3))
    x[2, 1] = value
    with pytest.raises(DataError, match="made: row 3, feature x2 is"):
        dataset_of(x, np.array([0, 1, 0, 1]))
    if not np.isnan(value):  # an imputation fills gaps, nothing else
        with pytest.raises(DataError, match="made: row 3, feature x2 is"):
            dataset_of(x, np.array([0, 1, 0, 1]), imputation="mean")


def test_official_needs_official_rows() -> None:
    with pytest.raises(DataError, match="wine has no test rows set aside"):
        prepare(default_config("wine", split={"test": "official"}))
    assert "wine" in SOURCES
