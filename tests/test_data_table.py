"""Your own table: what becomes of its columns, and every bad file refused with file, row, column and reason."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlpexp.data import DataError, load, prepare
from mlpexp.data.catalogue import default_config
from mlpexp.data_schema import DataBase

Writer = Callable[[pd.DataFrame], Path]


def table(path: Path, target: str = "y", **keys: Any) -> DataBase:
    return default_config("table", path=str(path), target=target, **keys)


def frame(n: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "length": np.arange(n) / 7,
            "count": np.arange(n) % 11,
            "colour": [("red", "green", "blue")[i % 3] for i in range(n)],
            "wet": [i % 4 == 0 for i in range(n)],
            "y": [("yes", "no")[i % 2] for i in range(n)],
        }
    )


@pytest.fixture(params=["csv", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Writer:
    def write(content: pd.DataFrame) -> Path:
        file = tmp_path / f"t.{request.param}"
        content.to_csv(file, index=False) if request.param == "csv" else content.to_parquet(file)
        return file

    return write


def test_numbers_text_and_truth_values_become_columns(write: Writer) -> None:
    dataset = load(table(write(frame())))
    assert dataset.feature_names == ("length", "count", "colour=blue", "colour=green", "colour=red", "wet")
    assert (dataset.task, dataset.classes) == ("binary", ("no", "yes"))
    assert dataset.features[0].tolist() == [0, 0, 0, 0, 1, 1]
    assert dataset.features[1].tolist() == [1 / 7, 1, 0, 1, 0, 0]
    assert dataset.targets[:3].tolist() == [1, 0, 1]
    assert dataset.blocks == ((2, 5),)


def test_csv_and_parquet_of_one_table_are_one_data_set(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    frame().astype({"colour": "category"}).to_parquet(tmp_path / "t.parquet")
    assert load(table(tmp_path / "t.csv")).digest == load(table(tmp_path / "t.parquet")).digest


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["a", "b", "c", "c"] * 10, "multiclass", ("a", "b", "c")),
        ([True, False] * 20, "binary", ("false", "true")),
        ([0, 1] * 20, "binary", ("0", "1")),
        ([2.0, 10.0, 3.0, 2.0] * 10, "multiclass", ("2", "3", "10")),
        ([0.5, 1.0] * 20, "regression", ()),
        (list(range(40)), "regression", ()),
    ],
)
def test_the_task_is_inferred(write: Writer, values: list[Any], task: str, classes: tuple[str, ...]) -> None:
    dataset = load(table(write(frame().assign(y=values))))
    assert (dataset.task, dataset.classes) == (task, classes)
    assert dataset.targets.shape == ((40, 1) if task == "regression" else (40,))


def test_the_task_can_be_chosen(write: Writer) -> None:
    file = write(frame().assign(y=[0, 1] * 20))
    assert load(table(file, task="regression")).targets[:2].tolist() == [[0.0], [1.0]]
    assert load(table(write(frame().assign(y=[0.5, 1.5] * 20)), task="classification")).classes == ("0.5", "1.5")
    with pytest.raises(DataError, match=r"column y is text, so data.task=regression cannot be"):
        load(table(write(frame()), task="regression"))


def test_codes_are_categories_where_listed_and_columns_can_be_left_out(write: Writer) -> None:
    dataset = load(table(write(frame().assign(count=np.arange(40) % 3)), categorical=["count"], drop=["colour", "wet"]))
    assert dataset.feature_names == ("length", "count=0", "count=1", "count=2")


def test_a_group_column_keeps_its_rows_in_one_part(write: Writer) -> None:
    config = table(write(frame(60).assign(patient=np.arange(60) // 3)), group="patient")
    dataset = load(config)
    assert "patient" not in dataset.feature_names
    parts = prepare(config)
    lengths = [set((part.features[:, 0] * parts.scale[0] * 7 + parts.centre[0] * 7).round() // 3)
               for part in (parts.training, parts.validation, parts.test)]  # fmt: skip
    assert not lengths[0] & lengths[1] | lengths[0] & lengths[2] | lengths[1] & lengths[2]


def test_repeated_rows_stay_together_unless_told_apart(write: Writer) -> None:
    file = write(pd.concat([frame(30), frame(30)]))
    together = load(table(file)).groups
    assert together is not None
    assert np.array_equal(together[:30], together[30:])
    assert load(table(file, repeats="apart")).groups is None
    assert load(table(write(frame()))).groups is None


def test_other_separators_and_decimal_signs(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    frame().to_csv(file, index=False, sep=";", decimal=",")
    assert load(table(file, separator="semicolon", decimal="comma")).features[1, 0] == pytest.approx(1 / 7)
    with pytest.raises(DataError, match=r"single column.*is data.separator=semicolon meant"):
        load(table(file))


ROWS = [f"{i},{i * 3 % 7}.5,{'pq'[i % 2]}" for i in range(12)]
HEADER = "a,b,y"


def bad(row: int | None = None, text: str = "", header: str = HEADER) -> bytes:
    rows = list(ROWS)
    if row is not None:
        rows[row] = text
    return "\n".join([header, *rows]).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,y\n", r"has a single line \(a,b,y\)"),
        (bad(3, "1,2"), "row 5, the header is row 1: 2 values where the header names 3 columns"),
        (bad(3, "1,2,p,4"), "row 5, the header is row 1: 4 values where the header names 3 columns"),
        (bad(3, ""), "row 5, the header is row 1, column y: the target is missing"),
        (bad(4, "1,oops,p"), "row 6, the header is row 1, column b is 'oops' where other values are numbers"),
        (bad(4, "1,,p"), r"row 6, the header is row 1, column b is missing \(with 0 more"),
        (bad(4, "1,nan,p"), "row 6, the header is row 1, column b is missing"),
        (bad(4, "1, ,p"), "row 6, the header is row 1, column b is missing"),
        (bad(4, "1,-inf,p"), "row 6, the header is row 1, column b is -inf; every value must be finite"),
        (bad(4, "1,1e200,p"), "row 5, feature b is 1e[+]200"),
        (bad(4, "1,2,"), "row 6, the header is row 1, column y: the target is missing"),
        (bad(4, "1,2,é").decode().encode("latin-1"), "row 6, the header is row 1: byte 0xe9 at place 5 of the line"),
        (bad().decode().encode("utf-16"), "is no UTF-8"),
        (bad().decode().encode("utf-16-le"), "zero bytes"),
        (bad(4, '1,"2,p'), "odd number of quotes"),
        (bad(header="a,a,y"), "2 columns named 'a'"),
        (bad(header="a,,y"), "column 2 has no name"),
        (bad(header="1.5,2,3"), "begins with numbers"),
        (bad(header="a,b,why"), r"has no column 'y' \(data.target\)"),
        (b"\x1f\x8b\x08rest", "is compressed"),
        (b"PK\x03\x04rest", "is compressed or a spreadsheet"),
        (b"PAR1rest", "is a damaged Parquet file"),
        (bad().replace(b"q", b"p"), "all 12 rows are p; two classes are needed"),
        (b"b,y\n" + b"".join(b"2020-01-%02d,p\n2020-01-%02d,q\n" % (i, i) for i in range(10, 20)), "column b: date32"),
        (b"b,y\n" + b"".join(b"name%d,%d\n" % (i, i % 2) for i in range(20)), "20 different texts in 20 rows"),
        (b"b,y\n" + b"".join(b"%d,name%d\n" % (i, i) for i in range(20)), "20 classes in 20 rows"),
        (b"b,y\n" + b"".join(b",%d\n" % (i % 2) for i in range(20)), "column b: every value is missing"),
        (b"y,z\n" + b"".join(b"%d,1\n" % (i % 2) for i in range(20)), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_are_refused_with_their_place_and_reason(tmp_path: Path, content: bytes, words: str | None) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    if words is None:
        assert load(table(file)).inputs == 1
        return
    with pytest.raises(DataError, match=words) as refusal:
        load(table(file))
    assert str(refusal.value).count("\n") <= 1
    assert "bad.csv" in str(refusal.value) or "feature b" in words


def test_a_misspelt_column_gets_the_nearest_name(write: Writer) -> None:
    file = write(frame())
    with pytest.raises(DataError, match=r"no column 'colours' \(data.target\); did you mean colour"):
        load(table(file, target="colours"))
    with pytest.raises(DataError, match=r"no column 'lenght' \(data.drop\); did you mean length"):
        load(table(file, drop=["lenght"]))
    with pytest.raises(DataError, match="it has length, count, colour, wet, y"):
        load(table(file, group="zzz"))
    with pytest.raises(DataError, match="no column left beside the target"):
        load(table(file, drop=["length", "count", "colour", "wet"]))


@pytest.mark.parametrize("content", [b"", b"PAR", b"a,b\n1,2\n"])
def test_a_parquet_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"t.parquet is no Parquet file"):
        load(table(tmp_path / "t.parquet"))


def test_a_parquet_with_a_hole_in_it(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.random.default_rng(0).random(5000), "y": [0, 1] * 2500}).to_parquet(file)
    content = bytearray(file.read_bytes())
    file.write_bytes(content[:-40])
    with pytest.raises(DataError, match="damaged Parquet"):
        load(table(file))


def test_a_parquet_without_rows(tmp_path: Path) -> None:
    frame().head(0).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has no rows below its column names"):
        load(table(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([np.inf, *range(19)], "t.parquet, row 1, column a is inf"),
        ([0.5, np.nan, *range(18)], "t.parquet, row 2, column a is missing"),
        ([[1, 2]] * 20, "column a: list<.*> is neither number nor text"),
        ([date(2020, 1, 1)] * 20, "column a: date32.day. is neither number nor text"),
    ],
)
def test_bad_values_in_parquet(tmp_path: Path, values: list[Any], words: str | None) -> None:
    pd.DataFrame({"a": values, "y": [0, 1] * 10}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=words):
        load(table(tmp_path / "t.parquet"))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not a file"):
        load(table(tmp_path))
    with pytest.raises(DataError, match=r"nowhere.csv is no file"):
        load(table(tmp_path / "nowhere.csv"))


def test_a_file_too_large_for_memory_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large.csv"
    with file.open("wb") as stream:
        stream.write(b"a,y\n1,2\n")
        stream.truncate(10**12)  # a terabyte that takes no room
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(DataError, match=r"large.csv, 1000.0 GB, needs about 4000.0 GB of memory"):
        load(table(file))


def test_a_parquet_too_large_is_refused_by_its_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.parquet"
    frame().to_parquet(file)
    monkeypatch.setattr("mlpexp.data.dataset.psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda _: pytest.fail("it was read"))
    with pytest.raises(DataError, match="40 rows × 5 columns, needs about"):
        load(table(file))
