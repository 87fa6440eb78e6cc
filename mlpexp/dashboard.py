"""MLflow's server and optuna-dashboard, started so that they are quick, private, and open where the runs are."""

import os
import socket
import sqlite3
import sys
from contextlib import closing, suppress
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from mlpexp import addresses, views
from mlpexp.config import absolute_outputs
from mlpexp.refusals import ConfigError
from mlpexp.serving import Server, until_ctrl_c

APPLICATION = "mlpexp"
"""The name of dashboard_app.py among MLflow's applications."""

STUDIES = "optuna.journal"
"""The file in an outputs folder that keeps the studies of searches."""

QUIET_STUDIES = """
from wsgiref.simple_server import WSGIRequestHandler
WSGIRequestHandler.log_request = lambda *_: None  # a line a request, and an open page asks every few seconds
from optuna_dashboard._cli import main
main()
"""
"""optuna-dashboard, whose own --quiet wsgiref does not heed; what goes wrong is said."""


def serve(outputs: str, port: int = 0, sweep: str | None = None) -> int:
    """Serve the tracking database of an outputs folder on loopback until Ctrl-C: 0, or 1 where the server gave up.

    It opens at the list of experiments, or at the charts of one sweep.
    """
    return until_ctrl_c([_runs(outputs, port, sweep)], environment())


def serve_studies(outputs: str, storage: str | None = None, port: int = 0, sweep: str | None = None) -> int:
    """The same, and beside it the studies of searches in optuna-dashboard: alone where nothing is tracked.

    The port is then optuna-dashboard's; raises ConfigError for a sweep that nothing can show.
    """
    database = Path(absolute_outputs(outputs)) / "mlflow.db"
    tracked = database.exists()
    if sweep and not tracked:
        told = (
            f"{database} does not exist, and it is what --sweep {sweep} opens; without --sweep the studies open alone"
        )
        raise ConfigError([told])
    studies = _studies(outputs, storage, 0 if tracked else port)
    return until_ctrl_c([*([_runs(outputs, port, sweep)] if tracked else []), studies], environment())


def _runs(outputs: str, port: int, sweep: str | None) -> Server:
    """MLflow's server."""
    database = Path(absolute_outputs(outputs)) / "mlflow.db"
    if not database.exists():
        raise ConfigError([f"{database} does not exist; train something first: mlpexp train"])
    page = comparison(database, sweep) if sweep else f"experiments?{views.LINKED}"
    port = port or addresses.last_port(database.parent) or free_port()
    begin = f"http://127.0.0.1:{port}/{'start' if starts_well() else ''}"
    address = f"{begin}#/"
    with suppress(OSError):  # read-only outputs: other commands give no link
        addresses.keep(database.parent, port, begin)
    ready = [f"{name}: {address}{views.page(experiment, name)}" for experiment, name in ready_views(database)]
    notice = views.unknown(version("mlflow"))
    return Server("dashboard", command(database, port), address + page, (*ready, *([notice] if notice else [])))


def _studies(outputs: str, storage: str | None, port: int) -> Server:
    """optuna-dashboard, at a free port for 0."""
    journal = Path(absolute_outputs(outputs)) / STUDIES
    if storage is None and not journal.exists():
        raise ConfigError([f"{journal} does not exist; search something first: mlpexp sweep search=tpe …"])
    if find_spec("optuna_dashboard") is None:
        raise ConfigError(["optuna-dashboard is not installed: pip install 'mlpexp[dashboard]'"])
    port = port or free_port()
    words = [sys.executable, "-c", QUIET_STUDIES, storage or str(journal)]
    listening = ["--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref"]
    return Server("studies", [*words, *listening], f"http://127.0.0.1:{port}/dashboard")


def comparison(database: Path, sweep: str) -> str:
    """The page on which MLflow compares the runs of a sweep, as charts; raises ConfigError for an unknown one."""
    query = (
        "SELECT runs.experiment_id, tags.value FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid "
        "WHERE tags.key = 'mlpexp.sweep' AND runs.lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(database)) as connection:
        found = {name: experiment for experiment, names in connection.execute(query) for name in names.split()}
    if sweep not in found:
        known = f"; it has {', '.join(sorted(found))}" if found else ""
        raise ConfigError([f"{database} has no sweep {sweep!r}{known}"])
    experiment = str(found[sweep])
    if has_views(database, experiment, views.TAG + views.key("curves", sweep)):
        return views.page(experiment, "curves", sweep)
    chosen = quote(views.sweep_filter(sweep))  # shown before there were views
    return f"experiments/{experiment}/runs?searchFilter={chosen}&compareRunsMode=CHART&{views.LINKED}"


def ready_views(database: Path) -> list[tuple[str, str]]:
    """(experiment, view) of the experiment that was written to last; none where it has no views."""
    query = (
        "SELECT experiment_id FROM experiment_tags WHERE key = ? AND experiment_id = "
        "(SELECT experiment_id FROM runs ORDER BY start_time DESC LIMIT 1)"
    )
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute(query, (views.TAG + views.NAMES[0],)).fetchone()
    return [(str(found[0]), name) for name in views.NAMES] if found else []


def has_views(database: Path, experiment: str, key: str) -> bool:
    """Whether an experiment keeps that view."""
    query = "SELECT count(*) FROM experiment_tags WHERE experiment_id = ? AND key = ?"
    with closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute(query, (experiment, key)).fetchone()[0])


def command(database: Path, port: int) -> list[str]:
    """One worker (four make every request wait), and no host but this one."""
    hosts = f"127.0.0.1:{port},localhost:{port}"
    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--allowed-hosts", hosts,
        "--uvicorn-opts", "--log-level warning", *(["--app-name", APPLICATION] if starts_well() else []),
    ]  # fmt: skip


def starts_well() -> bool:
    """Whether MLflow finds our start page: it is announced by the installed package, not by a mere folder of code."""
    return any(one.name == APPLICATION for one in entry_points(group="mlflow.app"))


def environment() -> dict[str, str]:
    """Telemetry and job execution off, and no chatter."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return {**os.environ, **quiet, "PYTHONWARNINGS": "ignore", "MLFLOW_LOGGING_LEVEL": "WARNING"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
