"""Which runs are meant: conditions on status, scores and config keys, and the runs of a sweep or of a study.

Flow: run_index → **selection** → listing, tables. A condition is written as on the command line: `model.depth=2,4`,
`optimizer=adam`, `accuracy/validation>0.9`, `sweep=1a2b3c4d`, `name=tanh-*`.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mlpexp.refusals import ConfigError, nearest
from mlpexp.run_index import Row

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
SYNTAX = re.compile(r"(?P<key>[^=<>!]+)(?P<sign>!=|<=|>=|==|=|<|>)(?P<value>.*)", re.DOTALL)
MEMBERSHIPS = ("sweep", "study")


@dataclass(frozen=True)
class Condition:
    """`key sign value`: = and != compare with each of several values, < and the like with one number."""

    key: str
    sign: str
    value: str

    @classmethod
    def read(cls, word: str) -> "Condition":
        """Of one word; raises ConfigError where it is none."""
        found = SYNTAX.fullmatch(word.strip())
        if found is None:
            raise ConfigError([f"{word!r} is no condition; write KEY=VALUE, as model.depth=8 or 'loss/test<0.5'"])
        sign = "=" if found["sign"] == "==" else found["sign"]
        one = cls(found["key"].strip(), sign, found["value"].strip())
        if one.sign in ORDERS and not isinstance(_value(one.value), int | float):
            raise ConfigError([f"{word!r} compares with {one.value!r}, which is no number"])
        return one

    def holds(self, row: Row) -> bool:
        """Of a run; a key that the run does not have is null, and no number compares with it."""
        value = row.get(self.key)
        if self.sign in ORDERS:
            return isinstance(value, int | float) and ORDERS[self.sign](value, _value(self.value))
        return any(_is(value, text) for text in alternatives(self.value)) is (self.sign == "=")


def alternatives(text: str) -> list[str]:
    """`2,4` → 2 and 4; commas within brackets separate nothing: `[64,32]` is one value."""
    return re.split(r",(?![^\[]*\])", text)


def _is(value: object, text: str) -> bool:
    """Whether a recorded value is what a text says: numbers by their value, lists item by item, words with * and ?."""
    if isinstance(value, list):
        items = text.strip("[]").split(",") if text.startswith("[") else []
        return len(items) == len(value) and all(_is(*pair) for pair in zip(value, items, strict=True))
    said = _value(text.strip())
    if isinstance(value, bool) or isinstance(said, bool) or value is None or said is None:
        return value is said
    if isinstance(value, int | float):
        return value == said
    return fnmatchcase(str(value), text.strip())


def _value(text: str) -> object:
    """null, true, false and numbers as what they are; the rest is text."""
    words = {"null": None, "none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def words_of(where: str | Iterable[str] | Mapping[str, object] | None) -> list[str]:
    """Conditions as words, however a notebook gives them: one text, several, or {key: value or values}."""
    if where is None:
        return []
    if isinstance(where, str):
        return [where]
    if isinstance(where, Mapping):
        return [f"{key}={_said(value)}" for key, value in where.items()]
    return list(where)


def _said(value: object) -> str:
    if isinstance(value, list | tuple | set | range):
        return ",".join(_said(one) for one in value)
    return "null" if value is None else str(value)


def select(rows: Sequence[Row], words: Sequence[str], outputs: Path) -> list[Row]:
    """The rows for which all conditions hold; raises ConfigError for a key, sweep or study that nobody knows."""
    if not rows:
        return []
    conditions = [Condition.read(word) for word in words]
    known = keys(rows)
    for condition in conditions:
        if condition.key in MEMBERSHIPS:
            if condition.sign not in ("=", "!="):
                raise ConfigError([f"{condition.key} is compared with = or != only"])
            names = members(outputs, condition.key, condition.value)
            rows = [row for row in rows if (row["fingerprint"] in names) is (condition.sign == "=")]
        else:
            own = Condition(key_named(condition.key, known), condition.sign, condition.value)
            rows = [row for row in rows if own.holds(row)]
    return list(rows)


def keys(rows: Iterable[Row]) -> list[str]:
    """Every key that some run has, in the order of a row."""
    found: dict[str, None] = {}
    shapes = {tuple(row) for row in rows}
    for shape in sorted(shapes, key=len, reverse=True):
        found |= dict.fromkeys(shape)
    return list(found)


def key_named(name: str, known: Sequence[str]) -> str:
    """The key that a word means: itself, or `optimizer.name` by `optimizer`; raises ConfigError with the nearest."""
    for key in (name, f"{name}.name"):
        if key in known:
            return key
    raise ConfigError([f"no run has a {name}{nearest(name, [*known, *MEMBERSHIPS])}"])


def sort(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """By one key after the other, ascending, or descending with a minus; runs without a value come last."""
    known, rows = keys(rows), list(rows)
    for word in reversed(words if rows else ()):
        key, descending = key_named(word.lstrip("-+"), known), word.startswith("-")
        there = [row for row in rows if _has(row.get(key))]
        there.sort(key=lambda row: _rank(row[key]), reverse=descending)
        rows = there + [row for row in rows if not _has(row.get(key))]
    return rows


def _has(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _rank(value: object) -> tuple[bool, float, str]:
    """Numbers before words, whatever a key has in different runs."""
    number = isinstance(value, int | float)
    return (not number, float(value) if isinstance(value, int | float) else 0.0, "" if number else str(value))


def varying(rows: Sequence[Row]) -> list[str]:
    """The config keys that are not the same in all runs, the seed last; none that the name of its group tells."""
    if not rows:
        return []
    config = [key for key in keys(rows) if "." in key and not key.startswith("spent.")]
    values = {key: [str(row.get(key)) for row in rows if row["status"] != "damaged"] for key in config}
    found = [key for key in config if len(set(values[key])) > 1]

    def told(key: str) -> bool:
        name = f"{key.partition('.')[0]}.name"
        if name not in found or key == name:
            return False
        return len(set(zip(values[name], values[key], strict=True))) == len(set(values[name]))

    seeds = ["seed"] if len({row.get("seed") for row in rows}) > 1 else []
    return [key for key in found if not told(key)] + seeds


# --- sweeps and studies ---


def members(outputs: Path, kind: str, name: str) -> set[str]:
    """Fingerprints of all runs of a sweep or study (`vanishing_gradients`, or one of its sizes with `/quick`)."""
    found: set[str] = set()
    for one in alternatives(name):
        files = memberships(outputs, kind)
        chosen = [file for label, file in files.items() if label == one or label.startswith(f"{one}/")]
        if not chosen:
            close = nearest(one, files)
            there = close or (f"; there are {', '.join(sorted(files)[:8])}" if files else f"; {outputs} has none")
            raise ConfigError([f"no {kind} is called {one!r}{there}"])
        found |= {run for file in chosen for run in runs_in(file)}
    return found


def memberships(outputs: Path, kind: str) -> dict[str, Path]:
    """Sweeps by their name, studies by `slug/size`: the files that say which runs are theirs."""
    if kind == "sweep":
        return {file.stem: file for file in sorted((outputs / "sweeps").glob("*.json"))}
    files = sorted((outputs / "studies").glob("*/**/runs.json"))
    return {file.parent.relative_to(outputs / "studies").as_posix(): file for file in files}


def runs_in(file: Path) -> list[str]:
    """The fingerprints that such a file names; those of a study's search are among them."""
    content = json.loads(file.read_text())
    if "rows" in content:
        return [*(run for row in content["rows"] for run in row["runs"]), *content.get("searched", [])]
    return list(content["runs"])
