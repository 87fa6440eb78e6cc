"""`mlpexp ui`: MLflow's server on loopback, until Ctrl-C, and nothing of it left behind."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from runs_fixtures import command as run_command
from search_fixtures import asked, driven

from mlpexp import dashboard, views
from mlpexp.cli import main
from mlpexp.config import Tracking
from mlpexp.dashboard import STUDIES, command, comparison, environment, free_port, ready_views, starts_well
from mlpexp.refusals import ConfigError
from mlpexp.tracking import Store

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own


class Server:
    """The command, and where it listens."""

    def __init__(self, outputs: Path) -> None:
        self.port = free_port()
        words = [sys.executable, "-m", "mlpexp", "ui", "--outputs", str(outputs), "--port", str(self.port)]
        quiet = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
        self.process = subprocess.Popen(words, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.address = f"http://127.0.0.1:{self.port}"
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/health")
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise AssertionError(f"the dashboard did not start: {self.process.poll()}")

    def get(self, path: str, host: str | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()

    def family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    outputs = tmp_path_factory.mktemp("dashboard")
    Store(Tracking(), outputs).open()
    server = Server(outputs)
    yield server
    if server.process.poll() is None:
        for process in server.family()[::-1]:
            process.kill()
        server.process.wait()
    assert server.process.stdout is not None
    server.process.stdout.close()


def test_it_answers_on_loopback_alone(server: Server) -> None:
    assert server.get("/health") == (200, "OK")
    status, page = server.get("/")
    assert status == 200
    assert "<html" in page.lower()
    listening = [
        connection.laddr.ip
        for process in server.family()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_it_knows_the_experiments(server: Server) -> None:
    request = urllib.request.Request(
        f"{server.address}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 10}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert '"mlpexp"' in answer.read().decode()


@pytest.mark.parametrize("host", ["evil.com", "10.evil.com", "127.0.0.1.evil.com"])
def test_another_hosts_name_is_refused(server: Server, host: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.get("/api/2.0/mlflow/experiments/search?max_results=1", host=host)
    with refused.value:
        assert refused.value.code == 403


def test_ctrl_c_ends_it_with_zero_and_leaves_no_process(server: Server) -> None:
    family = server.family()
    assert len(family) >= 2
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
    assert server.process.stdout is not None
    said = server.process.stdout.read()
    start = "start" if starts_well() else ""
    assert f"dashboard: {server.address}/{start}#/experiments?workflowType=machine_learning" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_it_opens_at_the_comparison_of_a_sweep_and_refuses_an_unknown_one(tmp_path: Path) -> None:
    words = ("model.depth=1,2", "model.width=4", "training.epochs=1", "executor=serial")
    done = run_command("sweep", *words, cwd=tmp_path)
    (name,) = re.findall(r"compare them in the dashboard: mlpexp ui --sweep (\w+)$", done.stdout, re.MULTILINE)
    database = tmp_path / "outputs" / "mlflow.db"
    page, query = comparison(database, name).split("?")
    experiment = page.split("/")[1]
    asked = urllib.parse.parse_qs(query)
    assert asked["compareRunsMode"] == ["CHART"]
    store = MlflowClient(tracking_uri=f"sqlite:///{database}")
    tags = store.get_experiment(experiment).tags
    view = views.unpacked(json.loads(tags[views.TAG + asked["viewStateShareKey"][0]])["state"])
    assert len(store.search_runs([experiment], view["searchFilter"])) == 2
    assert ready_views(database) == [(experiment, name) for name in views.NAMES]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM experiment_tags")  # as a store from before the views has it
    _, query = comparison(database, name).split("?")
    assert len(store.search_runs([experiment], urllib.parse.parse_qs(query)["searchFilter"][0])) == 2
    assert ready_views(database) == []
    with pytest.raises(ConfigError, match=f"has no sweep 'none'; it has {name}"):
        comparison(database, "none")


def test_the_server_is_private_and_quiet() -> None:
    words = command(Path("/somewhere/mlflow.db"), 5000)
    assert words[words.index("--allowed-hosts") + 1] == "127.0.0.1:5000,localhost:5000"
    assert words[words.index("--workers") + 1] == "1"
    assert environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"


def ended(process: "subprocess.Popen[str]") -> int:
    """Its exit code, as soon as it ends; it is killed where it does not."""
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def opened(folder: Path, *words: str) -> Iterator[tuple[dict[str, str], psutil.Process]]:
    """What `mlpexp ui` tells once it is ready, and its process, with temporary files in a folder; then Ctrl-C."""
    folder.mkdir()
    quiet = {key: value for key, value in os.environ.items() if key != "DISPLAY"} | {"TMPDIR": str(folder)}
    job = ["sh", "-c", """trap '' INT; exec "$@" """, "job"]  # as a script starts one beside others
    started = [*job, sys.executable, "-m", "mlpexp", "ui", *words]
    with subprocess.Popen(started, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        family: list[psutil.Process] = []
        try:
            said = list(iter(process.stdout.readline, "Ctrl-C ends it\n"))
            assert process.poll() is None, said
            yield dict(line.strip().split(": ", 1) for line in said), psutil.Process(process.pid)
            family = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.send_signal(signal.SIGINT)
            code = ended(process)
        assert code == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_studies_of_searches_open_beside_the_runs(tmp_path: Path) -> None:
    """Both on loopback alone, the studies from the journal in the outputs folder; ended together."""
    pytest.importorskip("optuna_dashboard", reason="pip install 'mlpexp[dashboard]'")
    driven(asked("random", 3), tmp_path)
    Store(Tracking(), tmp_path).open()
    port, logs = free_port(), tmp_path / "logs"
    with opened(logs, "--optuna", "--outputs", str(tmp_path), "--port", str(port)) as (told, process):
        assert told["dashboard"].startswith(f"http://127.0.0.1:{port}/")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.read() == b"OK"
        place = told["studies"].removesuffix("/dashboard")
        with urllib.request.urlopen(f"{place}/api/studies", timeout=10) as answer:
            assert [one["study_name"] for one in json.loads(answer.read())["study_summaries"]] == ["study"]
        listening = {
            connection.laddr.ip
            for one in process.children(recursive=True)
            for connection in one.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        said = {log.name.split("-")[1]: log.read_text() for log in logs.glob("mlpexp-*.log")}
        assert set(said) == {"dashboard", "studies"}
        assert "GET" not in said["studies"], "a page that is open asks every few seconds: the log would grow"
    assert list(logs.glob("mlpexp-*.log")) == []


def test_studies_of_a_database_open_where_there_are_no_outputs(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="pip install 'mlpexp[dashboard]'")
    driven(asked("random", 3), tmp_path / "elsewhere")
    journal, outputs, port = str(tmp_path / "elsewhere" / STUDIES), tmp_path / "none", str(free_port())
    words = ("--optuna", "--storage", journal, "--outputs", str(outputs), "--port", port)
    with opened(tmp_path / "logs", *words) as (told, _):
        assert told == {"studies": f"http://127.0.0.1:{port}/dashboard"}
    assert not outputs.exists()


def test_outputs_that_cannot_be_written_to_open_all_the_same(
    tmp_path: Path, started: list[dashboard.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(Tracking(), tmp_path).open()

    def read_only(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("mlpexp.addresses.keep", read_only)
    main(["ui", "--outputs", str(tmp_path)])
    assert [one.name for one in started] == ["dashboard"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dashboard.Server]:
    """What would be started."""
    servers: list[dashboard.Server] = []
    monkeypatch.setattr(dashboard, "until_ctrl_c", lambda some, environment: servers.extend(some))
    return servers


def test_studies_open_alone_where_nothing_is_tracked_at_the_port_that_was_given(
    tmp_path: Path, started: list[dashboard.Server]
) -> None:
    pytest.importorskip("optuna_dashboard", reason="pip install 'mlpexp[dashboard]'")
    (tmp_path / "optuna.journal").touch()
    main(["ui", "--optuna", "--outputs", str(tmp_path), "--port", "5151"])
    (studies,) = started
    assert (studies.name, studies.address) == ("studies", "http://127.0.0.1:5151/dashboard")
    assert studies.words[studies.words.index("--port") + 1] == "5151"
    assert studies.words[studies.words.index("--host") + 1] == "127.0.0.1"


def test_beside_mlflow_the_given_port_is_mlflows(tmp_path: Path, started: list[dashboard.Server]) -> None:
    pytest.importorskip("optuna_dashboard", reason="pip install 'mlpexp[dashboard]'")
    (tmp_path / "optuna.journal").touch()
    Store(Tracking(), tmp_path).open()
    main(["ui", "--optuna", "--outputs", str(tmp_path), "--port", "5151"])
    runs, studies = started
    assert runs.words[runs.words.index("--port") + 1] == "5151"
    assert studies.words[studies.words.index("--port") + 1] != "5151"


def test_no_sweep_opens_where_nothing_is_tracked(
    tmp_path: Path, started: list[dashboard.Server], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "optuna.journal").touch()
    assert main(["ui", "--optuna", "--outputs", str(tmp_path), "--sweep", "1a2b3c4d"]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'mlflow.db'} does not exist, and it is what --sweep 1a2b3c4d opens" in said
    assert "without --sweep the studies open alone" in said
    assert not started


def test_a_server_that_ends_by_itself_says_why(tmp_path: Path) -> None:
    Store(Tracking(), tmp_path).open()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_command("ui", "--outputs", str(tmp_path), "--port", port, cwd=tmp_path)
    assert done.returncode == 1
    assert "mlpexp: dashboard has ended by itself, with code" in done.stderr
    assert "address already in use" in done.stderr
    log = Path(done.stderr.rpartition("more in ")[2].strip())
    assert "address already in use" in log.read_text()
    log.unlink()


def test_without_a_search_there_is_no_study_to_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--optuna", "--outputs", str(tmp_path)]) == 2
    assert "optuna.journal does not exist; search something first: mlpexp sweep search=tpe" in capfd.readouterr().err
