"""MLflow's SQLite database, read and set up without MLflow.

Flow: config → **tracking_database** → tracker, tracking.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from mlpexp.config import Tracking
from mlpexp.refusals import redact

SQLITE = "sqlite:///"


def store_uri(tracking: Tracking, outputs: Path) -> str:
    """The tracking store's URI; an SQLite database below outputs unless the config names one."""
    return tracking.uri or f"{SQLITE}{outputs / 'mlflow.db'}"


def place_name(uri: str, experiment: object, created: object) -> str:
    """One experiment of a store, as run folders name it: an experiment that was made anew is another place."""
    return f"{redact(uri)} {experiment} {created}"


def place_of(tracking: Tracking, outputs: Path) -> str:
    """The name of the config's experiment where it is in an SQLite store already; empty where MLflow must be asked."""
    uri = store_uri(tracking, outputs)
    file = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or not file.exists():
        return ""
    query = "SELECT experiment_id, creation_time FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            found = connection.execute(query, (tracking.experiment,)).fetchone()
    except sqlite3.Error:  # another layout of the tables, or locked
        return ""
    return place_name(uri, *found) if found else ""


def known_runs(uri: str, experiment: str) -> dict[str, list[str]] | None:
    """Fingerprint → run ids of all that an SQLite store holds, read at once; None where the store must be asked."""
    if not uri.startswith(SQLITE):
        return None
    query = (
        "SELECT tags.value, tags.run_uuid FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid "
        "WHERE tags.key = 'mlpexp.fingerprint' AND runs.experiment_id = ? AND runs.lifecycle_stage = 'active'"
    )
    try:
        with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=60)) as connection:
            found: dict[str, list[str]] = {}
            for fingerprint, run_id in connection.execute(query, (experiment,)):
                found.setdefault(fingerprint, []).append(run_id)
            return found
    except sqlite3.Error:  # another layout of the tables: ask MLflow run by run
        return None


def let_readers_in(uri: str) -> None:
    """Write-ahead log: the dashboard reads while runs are written."""
    if uri.startswith(SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
