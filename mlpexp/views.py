"""Ready views of an experiment in MLflow's dashboard: plain values, nothing of MLflow.

Flow: metrics' names → **views** → tags of an experiment → the "Views" menu of MLflow's run page.

MLflow keeps a saved view as a tag of the experiment, `mlflow.sharedViewState.<id>`: JSON with a name and the page's
state, deflated. The state's fields are those of ExperimentPageUIState and RunsChartsCardConfig in MLflow 3.17's own
sources; they are no public interface, so another version gets no views (`known`), and tests/test_browser.py opens
ours in a real browser.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlpexp.measurement_catalogue import CATALOGUE
from mlpexp.records import SIGNAL, evenly_spaced, layer_of, metric, profile_metric

VERSION = "3.17."
"""The MLflow whose page this describes."""

TAG = "mlflow.sharedViewState."
NAMES = ("curves", "layers", "compare", "pictures")
TITLES = dict(
    zip(
        NAMES,
        (
            "loss, accuracy and gap; a line a point, with its range over seeds",
            "δ and gradient norms of every layer, and their profiles over depth",
            "depth, width, activation, optimizer and learning rate beside scores",
            "a picture of the gradient flow of every point",
        ),
        strict=True,
    )
)
POINT = "mlpexp.group"
"""The tag that all seeds of a point share and no other point has, readable in a legend."""

IMAGE = "gradient_flow"
MOST_LAYERS = 24
MOST_GROUPS = 12
"""Lines a chart; a thirteenth colour is not told apart."""

COMPARED = ("model.depth", "model.width", "model.activation", "optimizer.name", "optimizer.learning_rate")
SCORES = (metric("accuracy", "validation"), metric("loss", "validation"), SIGNAL)
COLUMNS = (
    "attributes.`Dataset`",
    *(f"params.`{key}`" for key in (*COMPARED, "initialisation.name", "seed")),
    *(f"metrics.`{key}`" for key in (*SCORES[:2], metric("accuracy", "test"), metric("gap", "accuracy"), SIGNAL)),
    *(f"tags.`mlpexp.{key}`" for key in ("verdict", "status", "sweep")),
)
"""Of the table of runs: what was asked, what came out, how it ended."""

QUANTITIES = ("delta_norm", "gradient_norm")
HEIGHTS = {0: 900, 1: 520, 2: 360, 3: 320}
"""Pixels of a chart, by how many stand side by side; 0 is one that scrolls."""

LINKED = "workflowType=machine_learning"
"""What every address ends with: without it MLflow shows its page for language models."""

State = dict[str, Any]
Chart = dict[str, Any]
Section = tuple[str, int, list[Chart]]
"""Title, charts side by side, charts."""


def known(version: str) -> bool:
    """Whether the page of this MLflow is the one described here."""
    return version.startswith(VERSION)


def unknown(version: str) -> str | None:
    """What is said of an MLflow whose page is another one."""
    if known(version):
        return None
    return (
        f"MLflow {version} shows the runs without ready views, which are made for {VERSION}x; "
        f"pip install 'mlflow=={VERSION}*' brings them"
    )


def tags(metrics: Iterable[str], sweep: str | None = None) -> dict[str, str]:
    """The tags that hold the four views, of one sweep where it is named; `metrics` are all that the experiment has."""
    found = {}
    for name, content in states(sorted(set(metrics))).items():
        asked = [sweep_filter(sweep)] if sweep else []
        asked += ['tags."mlflow.loggedImages" = "True"'] if name == "pictures" else []
        title = f"{name} of sweep {sweep}" if sweep else f"{NAMES.index(name) + 1} {name}"
        whole = packed(content | {"searchFilter": " and ".join(asked)})
        view = {"name": title, "createdAt": 0, "updatedAt": 0, "state": whole}
        found[TAG + key(name, sweep)] = json.dumps(view)
    return found


def metrics_in(found: Mapping[str, str]) -> set[str]:
    """The inverse of `tags`: the metrics of which the views in an experiment's tags know already."""
    try:
        state = unpacked(json.loads(found[TAG + "layers"])["state"])
        return {chart["metricKey"] for chart in state["compareRunCharts"]}
    except (KeyError, ValueError, TypeError, zlib.error):  # none yet, or one that somebody else wrote
        return set()


def key(name: str, sweep: str | None = None) -> str:
    """A view's name in addresses and tags."""
    return f"{name}-{sweep}" if sweep else name


def page(experiment: str, name: str, sweep: str | None = None) -> str:
    """The part of the address after `/#/` that opens a view; an address that searches itself would hide the view."""
    return f"experiments/{experiment}/runs?viewStateShareKey={key(name, sweep)}&compareRunsMode=CHART&{LINKED}"


def sweep_filter(sweep: str) -> str:
    """MLflow's search for the runs of a sweep."""
    return f'tags."mlpexp.sweep" LIKE "%{sweep}%"'


def note(experiment: str) -> str:
    """The experiment's description: links to its views, which hold on whatever port the server has."""
    links = " · ".join(f"[{name}](#/{page(experiment, name)})" for name in NAMES)
    told = "\n".join(f"- *{name}*: {TITLES[name]}" for name in NAMES)
    return f"Ready views: {links}\n\n{told}\n"


def states(metrics: Sequence[str]) -> dict[str, State]:
    """View → state of the page."""
    by_point: list[Section] = [
        (
            "Profiles over depth: step = layer",
            2,
            [line(profile_metric(quantity, when), log=True) for quantity in QUANTITIES for when in ("start", "end")],
        )
    ]
    for quantity in QUANTITIES:
        names = [name for name in metrics if (layer_of(name) or ("",))[0] == quantity]
        kept = [line(names[i], log=True) for i in evenly_spaced(len(names), MOST_LAYERS)]
        by_point.append((f"{quantity} of each layer while it trains", 3, kept))
    for quantity, names in _own(metrics).items():
        profiles = [line(profile_metric(quantity, when)) for when in ("start", "end")] if layer_of(names[0]) else []
        kept = [line(names[i]) for i in evenly_spaced(len(names), MOST_LAYERS)]
        by_point.append((f"{quantity}, of your own: over depth, and while it trains", 3, [*profiles, *kept]))
    sections: dict[str, list[Section]] = {
        "curves": [
            ("Loss, on a log scale", 2, [line(metric("loss", part), log=True) for part in ("train", "validation")]),
            ("Accuracy", 2, [line(metric("accuracy", part)) for part in ("train", "validation")]),
            ("Gap: train − test, of the restored weights", 2, [bar(metric("gap", of)) for of in ("accuracy", "loss")]),
            ("Loss of each batch", 1, [line(metric("loss", "batch"), log=True)]),
        ],
        "layers": by_point,
        "compare": [("Asked, and came of it", 1, [parallel([score, SIGNAL]) for score in SCORES[:2]])],
        "pictures": [("Gradient flow: before and after training", 0, [images()])],
    }
    found = {name: state(charts, metrics, grouped=name in ("curves", "layers")) for name, charts in sections.items()}
    found["pictures"]["runListHidden"] = True  # beside it there is room for one picture in a row
    return found


def _own(metrics: Sequence[str]) -> dict[str, list[str]]:
    """Quantities of the user's own → their metrics, a layer each, or one of the run."""
    found: dict[str, list[str]] = {}
    for name in metrics:
        quantity = (layer_of(name) or (name,))[0]
        if "/" not in quantity and quantity not in CATALOGUE:
            found.setdefault(quantity, []).append(name)
    return found


def state(sections: Sequence[Section], metrics: Sequence[str], grouped: bool) -> State:
    """The page: sections of charts, our columns, and runs by point where `grouped`.

    Metrics without a chart get a deleted one, or the page would add a chart for each.
    """
    charts: list[Chart] = []
    for number, (_, _, found) in enumerate(sections):
        place = {"metricSectionId": f"section-{number}", "deleted": False, "isGenerated": False}
        charts += [place | {"uuid": f"chart-{number}-{i}"} | chart for i, chart in enumerate(found)]
    shown = {chart.get("metricKey") for chart in charts}
    charts += [
        line(name) | {"uuid": f"none-{name}", "metricSectionId": "none", "deleted": True, "isGenerated": True}
        for name in metrics
        if name not in shown
    ]
    heads = [
        {"uuid": f"section-{number}", "name": title, "display": True, "isReordered": True, "deleted": False}
        | {"isGenerated": False, "columns": max(1, columns), "cardHeight": HEIGHTS[columns]}
        for number, (title, columns, _) in enumerate(sections)
    ]
    by_point = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": POINT}]}
    return {
        "selectedColumns": list(COLUMNS),
        "runsHiddenMode": "FIRST_10_RUNS" if grouped else "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": heads,
        "isAccordionReordered": True,
        "groupBy": by_point if grouped else None,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
        "viewMaximized": False,
        "runListHidden": False,
        "runsPinned": [],
        "runsHidden": [],
    } | {key: {} for key in ("columnWidths", "runsExpanded", "runsVisibilityMap", "groupsExpanded")}


def line(name: str, log: bool = False) -> Chart:
    """A metric over steps."""
    return {
        "type": "LINE",
        "runsCountToCompare": MOST_GROUPS,
        "metricKey": name,
        "selectedMetricKeys": [name],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "log" if log else "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def bar(name: str) -> Chart:
    """A metric's last value, a bar a point."""
    return {"type": "BAR", "runsCountToCompare": MOST_GROUPS, "metricKey": name}


def parallel(scores: Sequence[str]) -> Chart:
    """Parallel coordinates from what was asked to scores; the last one colours the lines."""
    return {
        "type": "PARALLEL",
        "selectedParams": list(COMPARED),
        "selectedMetrics": list(scores),
        "showAllRuns": True,
        "runsCountToCompare": 100,
    }


def images() -> Chart:
    """A grid of pictures, one a run; its parameters above it would make each as wide as the page."""
    return {"type": "IMAGE", "imageKeys": [IMAGE], "step": 0, "runsCountToCompare": 20, "showRunParams": False}


def packed(content: State) -> str:
    """As MLflow's page writes its state: JSON, zlib, base64."""
    compressed = zlib.compress(json.dumps(content, ensure_ascii=False).encode())
    return "deflate;" + base64.b64encode(compressed).decode()


def unpacked(text: str) -> State:
    """The inverse of `packed`."""
    content: State = json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))))
    return content
