"""All studies: each composes at every size, draws any table, and decides what its runs decide."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies_fixtures import at_corners, made_up, points_of
from studies_worlds import WORLDS

from mlpexp.figures import FigureCanvasAgg
from mlpexp.gallery import PICTURE, page, result_of, stale
from mlpexp.paper import FORMATS, plotted, rendered, style
from mlpexp.refusals import ConfigError
from mlpexp.study import composed
from mlpexp.study_definition import all_studies, open_study
from mlpexp.study_options import SIZES
from mlpexp.theory import Architecture, activation, predict, skips_of

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
def test_a_study_composes_at_every_size(slug: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpexp.data.idx.FASHION_FOLDERS", ())  # digits stand for it, in a tenth of the time
    with composed(at_corners(open_study(slug, size))) as needed:
        assert len(needed.points) == len(needed.configs)
        assert {config.tracking.experiment for config in needed.configs} == {slug}
        splits = {config.data.split.seed for config in needed.configs}
        assert splits == {0} or slug in NESTED
        tuned = [point for point in needed.points if needed.study.picked_from(point)]
        assert tuned or slug in GIVEN or slug in COMPUTED, "the learning rate is picked for every condition"


def test_of_several_data_sets_the_first_that_is_installed_is_taken_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}
    for folders in ((str(tmp_path),), ()):
        monkeypatch.setattr("mlpexp.data.idx.FASHION_FOLDERS", folders)
        study = open_study("sparse_rectifiers", "paper")
        told[study.data_sets[0]] = study.key
        other = open_study("sparse_rectifiers", "paper", ["data=iris"])
        assert other.data_sets == ["iris"]
    assert list(told) == ["fashion_mnist", "digits"]
    assert len(set(told.values())) == 2, "other data are another figure"


def test_a_value_for_each_of_several_data_sets_goes_with_the_one_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = """
      grid: {data.label_noise: [0, 0.1]}
      conditions: {one: {model.width: 48|133}, "a|b": {model.depth: 3, initialisation: he}}"""
    sets = "\n  sets: {grid: {data: [fashion_small|digits, moons], model.width: [8, 16]}}"
    text = f"question: '?'\ncaption: '.'\nkeys: {{data: fashion_small|digits}}\nparts:\n  part:{part}{sets}\n"
    (tmp_path / "study.yaml").write_text(text)
    for folders, name, width in (((str(tmp_path),), "fashion_small", 48), ((), "digits", 133)):
        monkeypatch.setattr("mlpexp.data.idx.FASHION_FOLDERS", folders)
        study = open_study(str(tmp_path))
        assert study.parts["part"].conditions == {
            "one": {"model.width": width},
            "a|b": {"model.depth": 3, "initialisation": "he"},
        }
        assert study.parts["sets"].grid == {"data": [name, "moons"], "model.width": [8, 16]}
        assert study.data_sets == [name, "moons"]


@pytest.mark.parametrize("slug", SLUGS)
def test_claims_follow_the_runs_and_any_table_is_drawn(slug: str) -> None:
    """All of a study's made-up worlds in one test: its points are composed once."""
    study, _ = points_of(slug)
    verdicts = ("supported", "refuted", "undecided")
    for world, verdict in zip(WORLDS[slug], verdicts, strict=slug not in COMPUTED):
        table = made_up(slug, world)
        claims = study.figure.claims(table)
        judged = claims if slug in COMPUTED else [claim for claim in claims if claim.region != "exact"]
        assert {claim.name: claim.verdict for claim in judged} == {claim.name: verdict for claim in judged}
        with style("column"):
            one, again = (plotted(study.figure.draw(table.copy())) for _ in range(2))
        pd.testing.assert_frame_equal(one, again)
        assert {"line"} < set(one["kind"]), "uncertainty is shown"
        if hasattr(study.figure, "tabular"):
            assert len(study.figure.tabular(table)) > 2
    if slug in TRAINED:
        check_a_diverged_run_is_no_gap_in_the_figure(slug)


def check_a_diverged_run_is_no_gap_in_the_figure(slug: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, WORLDS[slug][0])
    scores = [name for name in ("accuracy/test", "error") if name in table]
    table.loc[table.index[:: len(table) // 3], scores] = np.nan
    with style("column"):
        FigureCanvasAgg(study.figure.draw(table)).draw()
    assert study.figure.claims(table)


RENDERED = {"outliers": FORMATS, "boolean_functions": ("column",)}
"""Every format once; curves, bands, images."""


@pytest.mark.parametrize(("slug", "name"), [(slug, name) for slug, names in RENDERED.items() for name in names])
def test_the_same_table_gives_the_same_bytes_in_every_format(slug: str, name: str) -> None:
    study, _ = points_of(slug)
    table = made_up(slug, WORLDS[slug][0])
    with style(name):
        one, again = (rendered(study.figure.draw(table.copy()), "key") for _ in range(2))
    assert one == again
    assert one["pdf"].startswith(b"%PDF")


def test_the_sigma_w_that_countermeasures_fits_to_skip_is_that_of_theory() -> None:
    study = open_study("countermeasures")
    deepest = study.parts["depths"].grid["model.depth"][-1]
    fitted = study.figure.fitted_sigma_w(deepest)
    assert study.parts["depths"].conditions["skip + fitted"]["initialisation.sigma_w"] == round(fitted, 2)
    layers, widths = [fitted**2] * deepest, [16] * (deepest + 1)
    wide = Architecture([activation("relu")] * (deepest - 1), layers, [0.0] * deepest, skips=skips_of(widths))
    growth = -np.diff(predict(wide, 1.0).log_delta2[1:-1])  # between the layers with skip
    np.testing.assert_allclose(growth * (deepest - 2), study.figure.GROWTH)


@pytest.fixture
def everything_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gallery was run with Fashion-MNIST; a folder of its kind is enough to compare designs."""
    monkeypatch.setattr("mlpexp.data.idx.FASHION_FOLDERS", (str(tmp_path),))


@pytest.mark.parametrize("slug", SLUGS)
def test_the_gallery_shows_the_study_as_it_stands(slug: str, everything_installed: None) -> None:
    study = open_study(slug)
    assert not stale(study), f"mlpexp study {slug}; mlpexp study --gallery"
    assert (study.folder / PICTURE).stat().st_size > 10_000
    result = result_of(study)
    assert result is not None
    readme = (study.folder / "README.md").read_text()
    assert f"]({PICTURE})" in readme
    for claim in result["claims"]:
        assert claim["verdict"] in readme


def test_the_gallery_is_what_the_command_writes(everything_installed: None) -> None:
    studies = [open_study(slug) for slug in sorted(SLUGS)]
    assert (studies[0].folder.parent / "README.md").read_text() == page(studies)
