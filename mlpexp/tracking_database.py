"""MLflow's SQLite database, read and set up without MLflow.

Flow: config → **tracking_database** → tracking.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from mlpexp.config import Tracking

SQLITE = "sqlite:///"


def store_uri(tracking: Tracking, outputs: Path) -> str:
    """The tracking store's URI; an SQLite database below outputs unless the config names one."""
    return tracking.uri or f"{SQLITE}{outputs / 'mlflow.db'}"


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
