"""CSV and Parquet files as they stand: columns with types, or a refusal with row, column and reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpexp.data.dataset import DataError, refuse_if_too_large

MISSING = ["", "NA", "N/A", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>"]
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
CSV_GROWTH = 4.0  # memory per byte of text: the text, its columns, and their numbers in float64


@dataclass(frozen=True)
class Sheet:
    """A file's columns by name (pyarrow), and how its rows are counted: the row of a CSV file's header is 1."""

    file: Path
    columns: dict[str, Any]
    rows: int
    first_row: int

    def place(self, row: int, column: str) -> str:
        """Where a value stands, for a message; `row` counts from 0."""
        note = ", the header is row 1" if self.first_row == 2 else ""
        return f"{self.file}, row {row + self.first_row}{note}, column {column}"


def read(path: str, separator: str, decimal: str) -> Sheet:
    """The columns of a file: Parquet by its name or its first bytes, else CSV."""
    file = Path(path).expanduser()
    if not file.is_file():
        kind = "a folder, not a file" if file.is_dir() else "no file"
        raise DataError(f"data.path={path} is {kind}; name a .csv or .parquet file")
    try:
        with file.open("rb") as stream:
            beginning = stream.read(4)
        if file.suffix.lower() in (".parquet", ".pq") or beginning == b"PAR1":
            return _parquet(file, beginning)
        refuse_if_too_large(f"{file}, {file.stat().st_size / 1e9:.1f} GB,", CSV_GROWTH * file.stat().st_size)
        return _csv(file, file.read_bytes(), separator, decimal)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None


def _csv(file: Path, raw: bytes, separator: str, decimal: str) -> Sheet:
    import pyarrow as pa
    from pyarrow import csv

    raw = raw.rstrip(b"\r\n")
    _refuse_other_text(file, raw)
    ragged: list[Any] = []

    def remember(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = csv.read_csv(
            pa.BufferReader(raw),
            read_options=csv.ReadOptions(use_threads=False),  # else rows have no numbers
            parse_options=csv.ParseOptions(
                delimiter=SEPARATORS[separator],
                newlines_in_values=True,
                ignore_empty_lines=False,  # else the rows below one are counted wrongly
                invalid_row_handler=remember,
            ),
            convert_options=csv.ConvertOptions(
                decimal_point="," if decimal == "comma" else ".", null_values=MISSING, strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} cannot be read as CSV: {str(error).splitlines()[0]}") from None
    names = [name.strip() for name in table.column_names]
    _refuse_bad_header(file, names, separator)
    if ragged:
        row = ragged[0]
        text = row.text if len(row.text) <= 40 else f"{row.text[:40]}…"
        raise DataError(
            f"{file}, row {row.number}, the header is row 1: {row.actual_columns} values where the header names "
            f"{row.expected_columns} columns ({text!r})"
        )
    return _sheet(file, names, table, first_row=2)


def _refuse_other_text(file: Path, raw: bytes) -> None:
    """Not UTF-8, compressed, empty, or with a quote that never ends."""
    if not raw:
        raise DataError(f"{file} is empty; it needs a line of column names, then one line an example")
    if raw.startswith(b"\x1f\x8b") or raw.startswith(b"PK\x03\x04"):
        raise DataError(f"{file} is compressed or a spreadsheet; save it as plain CSV in UTF-8")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        start = raw.rfind(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}, row {row}, the header is row 1: byte 0x{raw[error.start]:02x} at place {error.start - start + 1} "
            "of the line is no UTF-8; save the file as UTF-8 (`iconv -f LATIN1 -t UTF-8` if it is Latin-1)"
        ) from None
    if b"\n" not in raw and b"\r" not in raw:
        raise DataError(
            f"{file} has a single line ({raw[:40].decode(errors='replace')}); examples follow below the names"
        )
    if b"\0" in raw:
        raise DataError(f"{file} holds zero bytes, as UTF-16 text and binary files do; save it as CSV in UTF-8")
    if raw.count(b'"') % 2:
        raise DataError(f'{file} has an odd number of quotes (") : one is never closed, and swallows the rows below it')


def _refuse_bad_header(file: Path, names: list[str], separator: str) -> None:
    if len(names) == 1:
        other = next((name for name, sign in SEPARATORS.items() if sign in names[0]), None)
        hint = f"; is data.separator={other} meant?" if other else ""
        raise DataError(f"{file} has a single column, {names[0]!r}, with data.separator={separator}{hint}")
    if all(_is_number(name) for name in names):
        raise DataError(f"{file} begins with numbers ({', '.join(names[:3])}, …); its first row must name the columns")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(file: Path, beginning: bytes) -> Sheet:
    import pyarrow as pa
    from pyarrow import parquet

    if beginning != b"PAR1":
        raise DataError(f"{file} is no Parquet file: it begins with {beginning.hex(' ') or 'nothing'}, not PAR1")
    try:
        with parquet.ParquetFile(file) as opened:
            about = opened.metadata
            cells = about.num_rows * about.num_columns
            refuse_if_too_large(f"{file}, {about.num_rows} rows × {about.num_columns} columns,", 24.0 * cells)
            table = opened.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is a damaged Parquet file: {str(error).splitlines()[0]}") from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]  # pandas' row labels
    return _sheet(file, names, table.select(names), first_row=1)


def _sheet(file: Path, names: list[str], table: Any, first_row: int) -> Sheet:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file} has {names.count(twice)} columns named {twice!r}; each needs a name of its own")
    nameless = [place + 1 for place, name in enumerate(names) if not name]
    if nameless:
        raise DataError(f"{file}: column {nameless[0]} has no name; the first row must name every column")
    if not table.num_rows:
        raise DataError(f"{file} has no rows below its column names ({', '.join(names[:5])})")
    columns = {name: _tidy(column) for name, column in zip(names, table.columns, strict=True)}
    return Sheet(file, columns, table.num_rows, first_row)


def _tidy(column: Any) -> Any:
    """Text without blanks at its ends, missing where nothing else is left; categories of pandas as what they name."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        return column
    trimmed = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(trimmed, ""), None, trimmed)


def is_text(kind: Any) -> bool:
    """Whether a pyarrow type is text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
