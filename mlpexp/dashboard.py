"""MLflow's server and optuna-dashboard, started so that they are quick, private, and open where the runs are."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import webbrowser
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

from mlpexp import addresses, views
from mlpexp.config import absolute_outputs
from mlpexp.refusals import ConfigError

APPLICATION = "mlpexp"
"""The name of dashboard_app.py among MLflow's applications."""

LOG = ".dashboard.log"
"""The file in an outputs folder in which servers say what they do and what goes wrong."""

STUDIES = "optuna.journal"
"""The file in an outputs folder that keeps the studies of searches."""


@dataclass(frozen=True)
class Server:
    """What is started, where it opens, and what is told of it."""

    name: str
    words: list[str]
    address: str
    more: tuple[str, ...] = ()


def serve(outputs: str, port: int = 0, sweep: str | None = None) -> int:
    """Serve the tracking database of an outputs folder on loopback until Ctrl-C: 0, or 1 where the server gave up.

    It opens at the list of experiments, or at the charts of one sweep.
    """
    return _until_ctrl_c([_runs(outputs, port, sweep)], Path(absolute_outputs(outputs)) / LOG)


def serve_studies(outputs: str, storage: str | None = None, port: int = 0, sweep: str | None = None) -> int:
    """The same, and beside it the studies of searches in optuna-dashboard: alone where nothing is tracked.

    The port is then optuna-dashboard's; raises ConfigError for a sweep that nothing can show.
    """
    folder = Path(absolute_outputs(outputs))
    database = folder / "mlflow.db"
    tracked = database.exists()
    if sweep and not tracked:
        told = (
            f"{database} does not exist, and it is what --sweep {sweep} opens; without --sweep the studies open alone"
        )
        raise ConfigError([told])
    studies = _studies(outputs, storage, 0 if tracked else port)
    return _until_ctrl_c([*([_runs(outputs, port, sweep)] if tracked else []), studies], folder / LOG)


def _runs(outputs: str, port: int, sweep: str | None) -> Server:
    """MLflow's server."""
    database = Path(absolute_outputs(outputs)) / "mlflow.db"
    if not database.exists():
        raise ConfigError([f"{database} does not exist; train something first: mlpexp train"])
    page = comparison(database, sweep) if sweep else f"experiments?{views.LINKED}"
    port = port or addresses.last_port(database.parent) or free_port()
    begin = f"http://127.0.0.1:{port}/{'start' if starts_well() else ''}"
    address = f"{begin}#/"
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
    words = [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", storage or str(journal)]
    listening = ["--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref"]
    return Server("studies", [*words, *listening], f"http://127.0.0.1:{port}/dashboard")


def _until_ctrl_c(servers: Sequence[Server], log: Path) -> int:
    """Run servers in process groups of their own, so that nothing of them is left behind; what they say goes into a
    file. Where one ends, all do. Addresses are told, and opened, once they answer: a browser that came earlier would
    show an error, and stay with it.
    """
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(0))
    started: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("w") as said:
            for one in servers:
                started.append(
                    subprocess.Popen(one.words, env=environment(), start_new_session=True, stdout=said, stderr=said)
                )
        while not _ended(started) and not all(_answers(one.address) for one in servers):
            time.sleep(0.1)
        if not _ended(started):
            told = [line for one in servers for line in (f"{one.name}: {one.address}", *one.more)]
            print("\n".join([*told, "Ctrl-C ends it"]), flush=True)
            if os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32"):
                for one in servers:
                    webbrowser.open(one.address)
        while not _ended(started):
            time.sleep(0.2)
        print("\n".join(["a server has ended by itself:", *log.read_text().splitlines()[-5:], f"more in {log}"]))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait(timeout=20)


def _ended(started: Sequence[subprocess.Popen[bytes]]) -> bool:
    return any(process.poll() is not None for process in started)


def _answers(address: str) -> bool:
    """Whether a server listens at an address of ours."""
    place = urlsplit(address)
    with closing(HTTPConnection(str(place.hostname), place.port, timeout=5)) as connection:
        try:
            connection.request("GET", place.path or "/")
            return connection.getresponse().status < 500
        except (OSError, HTTPException):
            return False


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
