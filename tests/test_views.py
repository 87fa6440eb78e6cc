"""Saved views: there and back again, small enough for a tag, every metric known, only for the page they describe."""

import json

from mlpexp import views

METRICS = {"loss/train", "signal/other", *(f"delta_norm/layer_{layer:02d}" for layer in range(1, 61))}


def test_a_state_comes_back_as_it_went() -> None:
    for state in views.states(sorted(METRICS)).values():
        assert views.unpacked(views.packed(state)) == state


def test_views_tell_which_metrics_they_know() -> None:
    assert views.metrics_in(views.tags(METRICS)) >= METRICS
    assert views.metrics_in({views.TAG + "layers": "somebody's own"}) == set()


def test_every_metric_has_a_chart_or_a_deleted_one_and_every_chart_a_name_of_its_own() -> None:
    for state in views.states(sorted(METRICS)).values():
        charts = state["compareRunCharts"]
        assert {chart.get("metricKey") for chart in charts} >= METRICS
        assert len({chart["uuid"] for chart in charts}) == len(charts)
        shown = [chart for chart in charts if not chart["deleted"]]
        assert "signal/other" not in {chart.get("metricKey") for chart in shown}
        assert {chart["metricSectionId"] for chart in shown} <= {one["uuid"] for one in state["compareRunSections"]}


def test_views_of_a_sweep_search_for_it_and_fit_into_a_tag() -> None:
    found = views.tags(METRICS, "4bf94484")
    assert set(found) == {f"{views.TAG}{name}-4bf94484" for name in views.NAMES}
    for value in found.values():
        assert len(value) < 20_000  # MLflow's longest tag of an experiment
        assert 'LIKE "%4bf94484%"' in views.unpacked(json.loads(value)["state"])["searchFilter"]


def test_a_page_is_opened_by_the_key_of_its_tag() -> None:
    assert "viewStateShareKey=curves-4bf94484&" in views.page("1", "curves", "4bf94484")
    assert all(f"#/{views.page('7', name)})" in views.note("7") for name in views.NAMES)


def test_another_mlflow_gets_no_views() -> None:
    assert views.known("3.17.2")
    assert not views.known("3.18.0")
    assert not views.known("3.170.0")


def test_another_mlflow_is_told_that_it_has_no_views() -> None:
    assert views.unknown("3.17.2") is None
    assert "MLflow 3.20.0 shows the runs without ready views" in str(views.unknown("3.20.0"))
