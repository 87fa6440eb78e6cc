"""`mlpexp runs`: a table that fits the terminal, CSV, or JSON.

Flow: run_index → selection → **listing** → standard output. Loads neither NumPy nor pandas: the answer comes at once.
"""

import argparse
import csv
import json
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mlpexp.browse.selection import key_named, keys, select, sort, varying
from mlpexp.letters import in_width
from mlpexp.run_index import Row, rows

SHOWN = 30
MOST_VARYING = 6
"""Columns for what varies, at most: the first ones, in the order of the config."""
MOST_TOLD = 8
"""Names of columns for which there was no room."""
CHARACTERS = 8
"""Of a fingerprint: enough to tell ten thousand runs apart, nearly always."""


def command(options: argparse.Namespace) -> int:
    """Print what is asked for; raises ConfigError for an unknown key, sweep or study."""
    outputs = Path(options.outputs).expanduser().absolute()
    everything = rows(outputs)
    if not everything:
        print(f"nothing is recorded in {outputs}; train something: mlpexp train", file=sys.stderr)
    found = sort(select(everything, options.where, outputs), (options.sort or "").split(",") if options.sort else [])
    for_people = not (options.csv or options.json)
    limit = options.limit if options.limit is not None else SHOWN * for_people
    shown = found[:limit] if limit else found
    columns = _columns(options.columns, everything, found, for_people)
    if options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(key, row.get(key)) for key in columns] for row in shown)
    elif options.json:
        print(json.dumps([{key: _json(key, row.get(key)) for key in columns} for row in shown], indent=1))
    elif everything:
        _print_table(columns, shown, len(found), len(everything), bool(options.columns))
    return 0


def _columns(asked: str | None, everything: Sequence[Row], found: Sequence[Row], for_people: bool) -> list[str]:
    """As asked; else everything in a file, and in a table what tells the runs apart, how they ended, how well, when."""
    known = keys(everything)
    if asked and asked != "all":
        return [key_named(name.strip(), known) for name in asked.split(",")] if known else asked.split(",")
    if asked or not for_people:
        return known
    score = "accuracy" if any("accuracy/validation" in row for row in found) else "loss"
    scores = [f"{score}/{part}" for part in ("train", "validation")]
    varied = varying(found)
    chosen = [*varied[: MOST_VARYING - ("seed" in varied)], *["seed"] * ("seed" in varied[MOST_VARYING - 1 :])]
    return ["fingerprint", *(chosen or ["name"]), "status", *scores, "started"]


def _print_table(columns: Sequence[str], shown: Sequence[Row], found: int, known: int, asked: bool) -> None:
    """In as many columns as fit: what varies makes room from its end, then what was asked for beside it."""
    heads = [[_head(key)] for key in columns]
    cells = [[_cell(key, row.get(key)) for key in columns] for row in shown]
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else _piped_width()

    def widths_of() -> list[int]:
        return [max(map(len, (*head, *column))) for head, *column in zip(heads, *cells, strict=True)]

    widths = widths_of()
    if sum(widths) + 2 * len(widths) - 2 > width:  # `accuracy/` above `validation` makes room for what varies
        heads = [re.findall(r".+?[/_](?=.)|.+", head) for (head,) in heads]
        widths = widths_of()
    kept = list(range(len(columns)))
    varies = ["." in key and not key.startswith("spent.") for key in columns]
    optional = [i for i in range(1, len(columns)) if not varies[i]] * asked + [i for i, one in enumerate(varies) if one]
    left_out: list[str] = []
    while sum(widths[i] + 2 for i in kept) - 2 > width and optional:
        last = optional.pop()
        kept.remove(last)
        left_out.insert(0, columns[last])
    numbers = [
        key != "started" and all(isinstance(row.get(key), int | float | None) for row in shown) for key in columns
    ]

    def line(texts: Sequence[str]) -> str:
        pieces = [texts[i].rjust(widths[i]) if numbers[i] else texts[i].ljust(widths[i]) for i in kept]
        return "  ".join(pieces).rstrip()

    tall = max(len(heads[i]) for i in kept)
    for texts in zip(*([""] * (tall - len(head)) + head[-tall:] for head in heads), strict=True):
        print(line(texts))
    for row in cells:
        print(line(row))
    rest = [f"{len(left_out) - MOST_TOLD} more"] if len(left_out) > MOST_TOLD else []
    hidden = f"; not shown for want of room: {', '.join([*left_out[:MOST_TOLD], *rest])}" if left_out else ""
    count = f"{found} of {known} runs" if found < known else f"{known} {'run' if known == 1 else 'runs'}"
    more = f", {len(shown)} shown (--limit 0 for all)" if len(shown) < found else ""
    print(in_width(f"{count}{more}{hidden}", stream=sys.stderr), file=sys.stderr)


def _piped_width() -> int:
    """A pipe has room for everything, unless COLUMNS says otherwise."""
    return shutil.get_terminal_size((10_000, 24)).columns


def _head(key: str) -> str:
    """`depth` for model.depth, `optimizer` for its name; scores, what was spent and seeds keep theirs."""
    if key == "started":
        return "when"
    if key == "fingerprint":
        return "run"
    group, _, leaf = key.rpartition(".")
    return group if leaf == "name" and group else key if group in ("spent", "seeds") or "/" in key else leaf


def _cell(key: str, value: Any) -> str:
    """A value in a table: short, and the same for equal ones."""
    if value is None:
        return "–"
    if key == "fingerprint":
        return str(value)[:CHARACTERS]
    if key == "started":
        return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("_", " ") if key == "status" else str(value)


def _plain(key: str, value: Any) -> Any:
    """A value in CSV: every digit, times as ISO 8601, nothing where there is nothing."""
    if key == "started" and value is not None:
        return datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
    return str(value).lower() if isinstance(value, bool) else value


def _json(key: str, value: Any) -> Any:
    """A value in JSON, which knows no NaN."""
    return None if isinstance(value, float) and value != value else _plain(key, value) if key == "started" else value
