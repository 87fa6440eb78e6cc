"""The dashboard's views in a real browser: lines, bands, pictures, and nothing fetched from elsewhere."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from runs_fixtures import command as run_command
from servers import mlflow_server

from mlpexp import views
from mlpexp.dashboard import starts_well

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'mlpexp[dev]'")

from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402 (after the skip)

BINARY, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BINARY and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's own
]
MLFLOWS_OWN = ("ResizeObserver loop", *(() if starts_well() else ("users/current",)))
"""What MLflow's page says for itself: charts grow with their cards; our application alone answers who is logged in."""

SWEEP = (
    "model.depth=2,4,8", "model.activation=sigmoid,tanh,relu", "optimizer.learning_rate=0.003,0.01,0.03",
    "model.width=4", "training.epochs=1", "training.batch_size=256", "replicates=8", "executor=serial",
)  # fmt: skip
"""216 runs of five updates."""


class Dashboard:
    """A browser on a server that shows the sweep."""

    def __init__(self, address: str, outputs: Path, shots: Path) -> None:
        self.address, self.shots = address, shots
        client = MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")
        (self.experiment,) = client.search_experiments(filter_string="name = 'mlpexp'")
        shown = client.search_runs([self.experiment.experiment_id], max_results=1000)
        self.runs = [run for run in shown if "mlpexp.fingerprint" in run.data.tags]
        (self.pictures,) = (run for run in shown if "mlpexp.pictures" in run.data.tags)
        options = webdriver.ChromeOptions()
        options.binary_location = str(BINARY)
        for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-background-networking"):
            options.add_argument(f"--{word}")
        options.add_argument("--window-size=1700,1300")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))

    def count(self, selector: str) -> int:
        return int(self.browser.execute_script(f"return document.querySelectorAll({selector!r}).length"))

    def open(self, page: str, selector: str, least: int, name: str) -> None:
        """Open a page, wait until it shows that much, keep a picture of it, and check what was said and fetched."""
        self.browser.get("about:blank")
        self.browser.get_log("browser")  # what an earlier page said
        self.browser.get(f"{self.address}/{'start' if starts_well() else ''}#/{page}")
        deadline = time.monotonic() + 20
        while self.count(selector) < least and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        self.browser.save_screenshot(str(self.shots / f"{name}.png"))
        found = self.count(selector)
        assert found >= least, f"{found} of {selector}: {self.shots / name}.png"
        said = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert [line for line in said if not any(word in line for word in MLFLOWS_OWN)] == []
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        assert any(url.startswith(self.address) for url in asked)
        own = (self.address, "data:", "blob:", "about:", "chrome:")
        assert [url for url in asked if not url.startswith(own)] == []


@pytest.fixture(scope="session")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("browser")
    done = run_command("sweep", *SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    with mlflow_server(folder, folder / "outputs" / "mlflow.db") as address:
        shown = Dashboard(address, folder / "outputs", folder)
        yield shown
        shown.browser.quit()


def sweep_of(dashboard: Dashboard) -> str:
    return str(dashboard.runs[0].data.tags["mlpexp.sweep"])


def test_the_curves_of_a_sweep_are_lines_with_bands_over_seeds(dashboard: Dashboard) -> None:
    assert len(dashboard.runs) == 216
    page = views.page(dashboard.experiment.experiment_id, "curves", sweep_of(dashboard))
    dashboard.open(page, ".scatterlayer path.js-line", 20, "curves")
    assert "curves of sweep" in dashboard.browser.page_source
    assert dashboard.count(".scatterlayer .js-fill") >= 10, "no band"
    assert "mlpexp.group" in dashboard.browser.page_source


def test_layers_have_profiles(dashboard: Dashboard) -> None:
    page = views.page(dashboard.experiment.experiment_id, "layers")
    dashboard.open(page, ".scatterlayer path.js-line", 20, "layers")
    assert "profile/delta_norm_start" in dashboard.browser.page_source


def test_points_are_compared_on_parallel_axes(dashboard: Dashboard) -> None:
    dashboard.open(views.page(dashboard.experiment.experiment_id, "compare"), "canvas", 3, "compare")
    assert "model.depth" in dashboard.browser.page_source


def test_there_is_a_picture_of_every_point(dashboard: Dashboard) -> None:
    shown = [run for run in dashboard.runs if run.data.tags.get("mlflow.loggedImages")]
    assert len({run.data.tags["mlpexp.point"] for run in shown}) == len(shown) == 27
    images = "img[src*='gradient_flow'], img[src^='blob:']"
    dashboard.open(views.page(dashboard.experiment.experiment_id, "pictures"), images, 5, "pictures")
    tops = "return [...document.querySelectorAll(arguments[0])].map(one => Math.round(one.getBoundingClientRect().top))"
    places = dashboard.browser.execute_script(tops, images)
    assert len(set(places)) < len(places), f"one to a row: {dashboard.shots / 'pictures.png'}"


def test_a_runs_page_has_its_note_its_data_and_its_picture(dashboard: Dashboard) -> None:
    run = dashboard.runs[0]
    page = f"experiments/{dashboard.experiment.experiment_id}/runs/{run.info.run_id}"
    dashboard.open(f"{page}?workflowType=machine_learning", "table", 1, "run")
    text = dashboard.browser.page_source
    assert run.data.tags["mlpexp.fingerprint"] in text
    assert "digits" in text
    dashboard.open(f"{page}/artifacts/gradient_flow.png?workflowType=machine_learning", "img", 2, "picture")


def test_gradient_flow_is_moved_about_in_the_pane_of_artifacts(dashboard: Dashboard) -> None:
    place = f"experiments/{dashboard.experiment.experiment_id}/runs/{dashboard.pictures.info.run_id}"
    dashboard.open(f"{place}/artifacts/gradient_flow.html?{views.LINKED}", "iframe", 1, "gradient_flow")
    browser = dashboard.browser
    browser.switch_to.frame(browser.find_element("tag name", "iframe"))
    try:
        WebDriverWait(browser, 20).until(lambda _: dashboard.count("#map .hm, #map .heatmaplayer image"))
        assert dashboard.count("#point option") == 27
        assert dashboard.count("#profile .scatterlayer path.js-line") == 3  # before, after, theory
        browser.find_element("css selector", "#map .nsewdrag").click()
        WebDriverWait(browser, 5).until(lambda _: dashboard.count("#profile .scatterlayer path.js-line") == 4)
        deepest = "return [...document.querySelectorAll('#point option')].findIndex(o => o.text.startsWith('tanh-d8'))"
        number = browser.execute_script(deepest)
        browser.find_elements("css selector", "#point option")[number].click()
        WebDriverWait(browser, 5).until(lambda _: "of layer 8" in browser.find_element("id", "told").text)
        assert "(theory ×" in browser.find_element("id", "told").text
    finally:
        browser.switch_to.default_content()
    browser.save_screenshot(str(dashboard.shots / "gradient_flow.png"))


@pytest.mark.skipif(not starts_well(), reason="the installed package announces no start page: make setup")
def test_the_start_page_opens_the_side_for_training_without_a_chat(dashboard: Dashboard) -> None:
    run = f"experiments/{dashboard.experiment.experiment_id}/runs/{dashboard.runs[0].info.run_id}"
    browser = dashboard.browser
    browser.get(f"{dashboard.address}/health")
    browser.execute_script("localStorage.clear()")  # as one who comes for the first time
    browser.get(f"{dashboard.address}/start#/{run}")  # says nothing of a workflow
    WebDriverWait(browser, 20).until(lambda _: dashboard.count("table"))
    browser.save_screenshot(str(dashboard.shots / "start.png"))
    assert browser.current_url == f"{dashboard.address}/#/{run}"
    text = browser.find_element("tag name", "body").text
    assert "Model registry" in text
    assert "Ask a question" not in browser.page_source


def test_mlflows_own_experiment_tells_where_the_runs_are(dashboard: Dashboard) -> None:
    dashboard.open(f"experiments/0?{views.LINKED}", "a[href='#/experiments']", 1, "default")
    assert "mlpexp leaves it empty" in dashboard.browser.find_element("tag name", "body").text
