"""One small SQLite file that knows every run folder: rows of flat values, read in a fraction of a second.

Flow: runner, run folders → **run_index** → browse. It is a view, never a record: it catches up with the
folders whenever it is asked, remembers what a command has just trained, and is made again where it is damaged or was
made by another version of the schema.
"""

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One run: `fingerprint`, `name`, `status`, …, scores, `spent.*`, flat config keys, `folder`."""

FILE = ".index.sqlite"
PLACES = ("runs", "interrupted")
MANY = 500
"""New runs from which on reading them is worth a word."""


def rows(outputs: Path) -> list[Row]:
    """Every run below an outputs folder, newest first; a damaged folder has the status `damaged` and its `problem`."""
    if not outputs.is_dir():
        return []
    with closing(_open(outputs / FILE)) as index:
        _catch_up(index, outputs)
        contents = [content for (content,) in index.execute("SELECT content FROM runs ORDER BY started DESC, place")]
    try:
        found: list[Row] = json.loads(f"[{','.join(contents)}]")
    except ValueError:  # damaged in a way that SQLite does not see
        (outputs / FILE).unlink()
        return rows(outputs)
    for row in found:
        row["folder"] = str(outputs / row["folder"])
    return found


def remember(outputs: Path, fingerprints: Iterable[str]) -> None:
    """Read runs that have just ended, so that whoever lists ten thousand of them first need not wait.

    What cannot be written now, because the index is locked or away, is read when it is asked for.
    """
    places = {f"runs/{name}" for name in fingerprints}
    try:
        with closing(_prepared(outputs / FILE)) as index:
            there = {place: version for place in places if (version := _version(outputs / place))}
            _read(index, outputs, there)
    except (sqlite3.Error, OSError):
        return


def _open(file: Path) -> sqlite3.Connection:
    """The index, empty where it was damaged or of another make; in memory where the folder cannot be written."""
    try:
        return _prepared(file)
    except sqlite3.OperationalError:  # a read-only folder, or one that is locked for long
        return _prepared(":memory:")
    except sqlite3.DatabaseError:
        file.unlink(missing_ok=True)
        return _prepared(file)


def _prepared(file: Path | str) -> sqlite3.Connection:
    index = sqlite3.connect(file, timeout=10)
    try:
        index.execute("CREATE TABLE IF NOT EXISTS make (of TEXT)")
        if index.execute("SELECT of FROM make").fetchall() != [(make(),)]:
            with index:
                index.execute("DROP TABLE IF EXISTS runs")
                index.execute("CREATE TABLE runs (place TEXT PRIMARY KEY, version TEXT, started REAL, content TEXT)")
                index.execute("DELETE FROM make")
                index.execute("INSERT INTO make VALUES (?)", (make(),))
        if index.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("damaged")
    except sqlite3.Error:
        index.close()
        raise
    return index


@lru_cache(maxsize=1)
def make() -> str:
    """What a row follows from beside the run's folder: the schema's text. A new key has its default in old runs."""
    package = Path(__file__).resolve().parent
    own = (package / "config.py", package / "results.py", Path(__file__).resolve())
    files = [*package.glob("*_schema.py"), *own]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


def _catch_up(index: sqlite3.Connection, outputs: Path) -> None:
    """Read the folders that are new or were trained again, and forget those that are gone."""
    known = dict(index.execute("SELECT place, version FROM runs"))
    there = dict(_there(outputs))
    new = [place for place, version in there.items() if known.get(place) != version]
    if len(new) >= MANY:
        print(f"reading {len(new)} runs that are new here, once", file=sys.stderr)
    with index:
        index.executemany("DELETE FROM runs WHERE place = ?", [(place,) for place in known if place not in there])
    _read(index, outputs, {place: there[place] for place in new})


def _read(index: sqlite3.Connection, outputs: Path, versions: Mapping[str, str]) -> None:
    """Put these run folders into the index; an interrupted reading keeps what it has read."""
    places = list(versions)
    try:
        for first in range(0, len(places), MANY):
            read = [(place, versions[place], *_entry(outputs, place)) for place in places[first : first + MANY]]
            with index:
                index.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", read)
    finally:
        _of_point.cache_clear()


def _there(outputs: Path) -> Iterator[tuple[str, str]]:
    """Run folders as (`runs/<fingerprint>`, what changes when it is written again)."""
    for place in PLACES:
        try:
            folders = os.scandir(outputs / place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with folders:
            for folder in folders:
                if not folder.name.startswith(".") and (version := _version(folder.path)):
                    yield f"{place}/{folder.name}", version


def _version(folder: Path | str) -> str:
    """What changes when a run folder is written again; empty where there is none."""
    try:
        facts = os.stat(f"{folder}/result.json")
    except OSError:
        return ""
    return f"{facts.st_mtime_ns} {facts.st_ino} {facts.st_size}"


def _entry(outputs: Path, place: str) -> tuple[float, str]:
    """When a run began, and its row as JSON."""
    from mlpexp.refusals import ConfigError

    try:
        row = row_of(outputs / place)
    except (ConfigError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        row = {"fingerprint": place.rpartition("/")[2], "status": "damaged", "problem": what, "started": 0.0}
    return float(row["started"]), json.dumps(row | {"folder": place}, ensure_ascii=False)


def row_of(folder: Path) -> Row:
    """The row of one run folder, read in full."""
    from mlpexp.config import digest
    from mlpexp.results import Result

    run = Result(folder)
    head, mark, seed = (folder / "config.yaml").read_text().rpartition("\nseed: ")
    of_point = _of_point(f"{head}{mark}0")
    return {
        "fingerprint": run.fingerprint,
        "name": f"{of_point['condition']}-s{int(seed)}",
        "status": run.status,
        "point": of_point["point"],
        "numerics": digest(run.numerics)[:8],
        "started": run.facts["started"],
        "seconds": run.facts["seconds"],
        **run.scores,
        **{f"spent.{unit}": number for unit, number in run.spent.items()},
        **of_point["flat"],
        "seed": int(seed),
    }


@lru_cache(maxsize=4096)
def _of_point(text: str) -> Row:
    """What replicates have in common: their config is checked and flattened once."""
    from mlpexp import yaml_text
    from mlpexp.config import validate
    from mlpexp.results import condition_of

    config = validate(yaml_text.load(text))
    return {"condition": condition_of(config), "point": config.point(), "flat": config.flat()}
