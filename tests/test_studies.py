"""All studies: each composes at every size, draws any table, and decides what its runs decide."""

import numpy as np
import pytest
from studies_fixtures import World, made_up, points_of
from studies_worlds import WORLDS

from mlpexp.gallery import PICTURE, page, result_of, stale
from mlpexp.paper import FORMATS, plotted, rendered, style
from mlpexp.refusals import ConfigError
from mlpexp.study import composed
from mlpexp.study_definition import all_studies, open_study
from mlpexp.study_options import SIZES

SLUGS = sorted(folder.name for folder in all_studies())
COMPUTED = [slug for slug in SLUGS if open_study(slug).computation is not None]
TRAINED = [slug for slug in SLUGS if slug not in COMPUTED]

GIVEN = {
    "data_normalisation": "of the linear part every rate is run, and the fastest counts",
    "implicit_regularisation": "the path is compared at γt, whatever γ is",
    "linear_dynamics": "theory holds for small γ; two are compared",
    "width_fluctuations": "nothing is trained",
}
"""Studies whose learning rate is not picked, and why."""


NESTED = {"splice_sites"}
"""Studies that judge over several outer splits; elsewhere the split is fixed, and intervals are over seeds."""


def test_every_study_has_its_worlds() -> None:
    assert sorted(WORLDS) == SLUGS


@pytest.mark.parametrize("slug", COMPUTED)
def test_a_computation_gives_what_is_drawn_and_judged_without_a_run(slug: str) -> None:
    study = open_study(slug, "smoke")
    table = study.figure.compute(**(study.computation or {}))
    with style("column"):
        assert len(plotted(study.figure.draw(table))) > 10
    assert study.figure.claims(table)
    with composed(study) as needed:
        assert (needed.points, needed.base.tracking.experiment) == ([], slug)
    with pytest.raises(ConfigError, match=f"model.depth=3: {slug} trains nothing"):
        open_study(slug, words=["model.depth=3"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("slug", TRAINED)
def test_a_study_composes_at_every_size(slug: str, size: str) -> None:
    with composed(open_study(slug, size)) as needed:
        assert len(needed.points) == len(needed.configs)
        assert {config.tracking.experiment for config in needed.configs} == {slug}
        splits = {config.data.split.seed for config in needed.configs}
        assert splits == {0} or slug in NESTED
        tuned = [point for point in needed.points if needed.study.picked_from(point)]
        assert tuned or slug in GIVEN or slug in COMPUTED, "the learning rate is picked for every condition"


CASES = [
    (slug, world, verdict)
    for slug, worlds in WORLDS.items()
    for world, verdict in zip(worlds, ("supported", "refuted", "undecided"), strict=slug not in COMPUTED)
]


@pytest.mark.parametrize(("slug", "world", "verdict"), CASES, ids=[f"{slug}-{verdict}" for slug, _, verdict in CASES])
def test_claims_follow_the_runs_and_any_table_is_drawn(slug: str, world: World, verdict: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, world)
    claims = study.figure.claims(table)
    judged = claims if slug in COMPUTED else [claim for claim in claims if claim.region != "exact"]
    assert {claim.name: claim.verdict for claim in judged} == {claim.name: verdict for claim in judged}
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


@pytest.mark.parametrize("slug", TRAINED)
def test_a_diverged_run_is_no_gap_in_the_figure(slug: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, WORLDS[slug][0])
    scores = [name for name in ("accuracy/test", "error") if name in table]
    table.loc[table.index[:: len(table) // 3], scores] = np.nan
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
