"""The four studies: each composes at every size, draws any table, and decides what its runs decide."""

from typing import Any

import numpy as np
import pytest
from studies_fixtures import World, made_up, points_of

from mlpexp.config import Config
from mlpexp.gallery import PICTURE, page, result_of, stale
from mlpexp.paper import FORMATS, plotted, rendered, style
from mlpexp.study import composed
from mlpexp.study_definition import Point, all_studies, open_study
from mlpexp.study_options import SIZES

SLUGS = ("boolean_functions", "early_stopping", "optimizers", "vanishing_gradients")


def test_these_are_all_studies() -> None:
    assert sorted(folder.name for folder in all_studies()) == sorted(SLUGS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("slug", SLUGS)
def test_a_study_composes_at_every_size(slug: str, size: str) -> None:
    with composed(open_study(slug, size)) as needed:
        assert len(needed.points) == len(needed.configs)
        assert {config.tracking.experiment for config in needed.configs} == {slug}
        assert all(config.data.split.seed == 0 for config in needed.configs)
        tuned = [point for point in needed.points if needed.study.picked_from(point)]
        assert tuned, "the learning rate is picked for every condition"


def signal(run: Config, tilt: float, draw: np.random.Generator) -> dict[str, Any]:
    """δ as theory has it, but for a slope of `tilt` and a little noise."""
    figure = points_of("vanishing_gradients")[0].figure
    depth, width = run.model.depth, run.model.width
    widths = (64, *[width] * (depth - 1), 10)
    theory = figure.predicted(run.model.activation, run.initialisation.name, widths) if depth > 1 else np.zeros(1)
    tilted = theory + tilt * np.arange(depth)[::-1] + draw.normal(0, 0.01, depth)
    return {"delta_norm": np.exp(tilted / 2), "widths": widths}


def vanishing(sigmoid_loses: float, relu_loses: float, tilt: float, spread: float = 0.01) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        lost = sigmoid_loses if "sigmoid" in point.condition else relu_loses
        accuracy = 0.95 - lost * (run.model.depth - 1) / 15 + draw.normal(0, spread)
        return {"accuracy/test": accuracy} | signal(run, tilt, draw)

    return world


def stopping(noisy_gain: float, clean_gain: float, anew_gain: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        gain = noisy_gain if run.data.label_noise else clean_gain
        better = {"stop": gain, "": gain + anew_gain}.get(point.condition, 0.0)
        own: dict[str, Any] = {"accuracy/test": 0.9 + better + draw.normal(0, spread)}
        if point.part != "retraining":
            own |= {"validation": tuple(np.linspace(0.1, 0.9, 30)), "best_epoch": 9.0 + run.seed % 3}
        return own

    return world


def rules(equal: float, floor: float, rprop: float, spread: float = 0.01) -> World:
    costs = {"inside, 1e-16": equal, "outside, 1e-4": floor, "inside, 1e-8": floor, "Rprop, m = 64": rprop}

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        accuracy = 0.9 - costs.get(point.condition, 0.0) + draw.normal(0, spread)
        return {"accuracy/test": accuracy, "course": tuple(np.exp(-np.arange(31) / 10) + 0.01 * draw.random(31))}

    return world


def xor(single: float, narrow: float, wide: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        share = narrow if max(run.model.widths, default=0) <= 2 else wide
        solved = draw.random() < share
        accuracy = single + draw.normal(0, spread) if point.part == "single" else 1.0 if solved else 0.75
        return {"accuracy/test": accuracy, "plane": draw.random((41, 41)) if run.seed < 15 else None}

    return world


WORLDS = {
    "vanishing_gradients": (
        vanishing(0.8, 0.01, 0.0),
        vanishing(0.01, 0.3, 0.5),
        vanishing(0.06, 0.05, 0.1, spread=0.2),
    ),
    "early_stopping": (stopping(0.05, 0.0, 0.03), stopping(0.0, 0.05, 0.0), stopping(0.01, 0.01, 0.01)),
    "optimizers": (rules(0.0, 0.3, 0.1), rules(0.3, 0.0, -0.05), rules(0.05, 0.05, 0.02)),
    "boolean_functions": (xor(0.74, 0.3, 0.9), xor(0.9, 0.5, 0.4), xor(0.76, 0.5, 0.6)),
}
"""By study: where its claims are true, where they are false, and where the runs cannot tell."""

CASES = [
    (slug, world, verdict)
    for slug, worlds in WORLDS.items()
    for world, verdict in zip(worlds, ("supported", "refuted", "undecided"), strict=True)
]


@pytest.mark.parametrize(("slug", "world", "verdict"), CASES, ids=[f"{slug}-{verdict}" for slug, _, verdict in CASES])
def test_claims_follow_the_runs_and_any_table_is_drawn(slug: str, world: World, verdict: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, world)
    claims = study.figure.claims(table)
    estimated = [claim for claim in claims if claim.region != "exact"]
    assert {claim.name: claim.verdict for claim in estimated} == {claim.name: verdict for claim in estimated}
    with style("column"):
        figure = study.figure.draw(table)
    data = plotted(figure)
    assert {"line"} < set(data["kind"]), "uncertainty is shown"
    if hasattr(study.figure, "tabular"):
        assert len(study.figure.tabular(table)) > 2


@pytest.mark.parametrize("slug", SLUGS)
def test_the_same_table_gives_the_same_bytes_in_every_format(slug: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, WORLDS[slug][0])
    for name in FORMATS if slug == "optimizers" else ("column",):
        with style(name):
            one, again = (rendered(study.figure.draw(table.copy()), "key") for _ in range(2))
        assert one == again
        assert one["pdf"].startswith(b"%PDF")


@pytest.mark.parametrize("slug", SLUGS)
def test_a_diverged_run_is_no_gap_in_the_figure(slug: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, WORLDS[slug][0])
    table.loc[table.index[:: len(table) // 3], "accuracy/test"] = np.nan
    with style("column"):
        assert rendered(study.figure.draw(table), "key")
    assert study.figure.claims(table)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_gallery_shows_the_study_as_it_stands(slug: str) -> None:
    study = open_study(slug)
    assert not stale(study), f"mlpexp study {slug}; mlpexp study --gallery"
    assert (study.folder / PICTURE).stat().st_size > 10_000
    result = result_of(study)
    assert result is not None
    readme = (study.folder / "README.md").read_text()
    assert f"]({PICTURE})" in readme
    for claim in result["claims"]:
        assert claim["verdict"] in readme


def test_the_gallery_is_what_the_command_writes() -> None:
    studies = [open_study(slug) for slug in sorted(SLUGS)]
    assert (studies[0].folder.parent / "README.md").read_text() == page(studies)
