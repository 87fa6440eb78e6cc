"""Where a browser finds what was trained, as far as that can be known: at a tracking server, or at an `mlpexp ui` that
serves these outputs now. Nothing of MLflow.

Flow: dashboard → outputs/.dashboard → **addresses** → score_tables.
"""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from mlpexp import views
from mlpexp.config import Tracking
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.refusals import redact
from mlpexp.results import Result
from mlpexp.shown import Shown

DASHBOARD = ".dashboard"
"""The file in an outputs folder that says where `mlpexp ui` listens, or did."""


def keep(outputs: Path, port: int, page: str) -> None:
    """This process serves these outputs at that port; `page` is what stands before the `#` of its addresses."""
    content = {"port": port, "page": page, "process": os.getpid()}
    write_atomically(outputs / DASHBOARD, json_bytes(content), durably=False)


def last_port(outputs: Path) -> int:
    """The port of the last `mlpexp ui`, where nobody listens now; else 0. A browser keeps its settings by port."""
    port = int(_said(outputs).get("port", 0))
    return port if port and not _answers(port) else 0


def dashboard(outputs: Path) -> str | None:
    """What stands before the `#` in addresses of an `mlpexp ui` that serves these outputs now."""
    said = _said(outputs)
    here = said and psutil.pid_exists(int(said["process"])) and _answers(int(said["port"]))
    return str(said["page"]) if here else None


def address(results: Sequence[Result], tracking: Tracking, outputs: Path, sweep: str | None = None) -> str | None:
    """The page that shows these runs: the curves of a sweep, a run's own page, or those of its point.

    None where no server is known, or the runs are in no store.
    """
    remote = tracking.uri is not None and tracking.uri.startswith("http")
    base = redact(str(tracking.uri)).rstrip("/") + "/" if remote else None if tracking.uri else dashboard(outputs)
    shown = Shown.read(results[0]) if base and results else None
    if base is None or shown is None:
        return None
    if sweep:
        page = views.page(shown.experiment, "curves", sweep)
    elif len(results) == 1:
        page = f"experiments/{shown.experiment}/runs/{shown.run_id}?{views.LINKED}"
    else:
        point = quote(f"tags.`mlpexp.point` = '{results[0].config.point()}'")
        page = f"experiments/{shown.experiment}/runs?searchFilter={point}&{views.LINKED}"
    return f"{base}#/{page}"


def _said(outputs: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((outputs / DASHBOARD).read_text())
    except (OSError, ValueError):
        return {}
    return content if {"port", "page", "process"} <= set(content) else {}


def _answers(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
