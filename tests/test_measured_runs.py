"""Runs with all measurements: what is in the record, and that it is the same however the run came about."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from runs_fixtures import composed, everything, trained

from mlpexp.config import Config
from mlpexp.measurement_catalogue import CATALOGUE, of_kind
from mlpexp.record_files import bin_edges, is_distribution, read_distributions, tidy
from mlpexp.results import Result
from mlpexp.runner import run
from mlpexp.score_tables import show_places

FULL = ("measurements=full", "model.depth=4", "model.activation=tanh", "model.skip=true", "data=wine")
UPDATES = 2
"""⌈106/64⌉ an epoch."""


@pytest.fixture(scope="module")
def result() -> Result:
    """Everything that can be measured, of a network that defines all of it."""
    return trained(*FULL, "seed=500", "training.epochs=6")[0]


def shape_of(name: str, result: Result) -> tuple[int, ...]:
    """The shape of one measurement."""
    widths = result.facts["widths"]
    depth = len(widths) - 1
    return {"[R, L]": (depth,), "[R, L, 2 + 32]": (depth, 32), "[R, K]": (min(widths[0], widths[-2]),), "[R]": ()}[
        CATALOGUE[name].shape
    ]


def test_everything_is_in_the_record_at_its_steps_and_in_its_shape(result: Result) -> None:
    last, due = 6 * UPDATES, {"scalars": list(range(13)), "probes": [0, 2, 4, 6, 8, 10, 12], "spectra": [0, 12]}
    due["histograms"] = [0, 1, 2, 3, 4, 6, 7, 10, 12]
    assert result.measurements.left_out == {}
    for name in result.measurements.names:
        if name in of_kind("scores"):
            assert np.isfinite(result.record[f"{name}/validation"][::UPDATES]).all()
            assert np.isfinite([result.scores[f"{name}/{part}"] for part in ("train", "validation", "test")]).all()
            continue
        steps, values = result.record.measured(name)
        expected = due[CATALOGUE[name].kind]
        assert steps.tolist() == (expected if name != "update_ratio" else [s for s in expected if s != last]), name
        assert values.shape == (len(steps), *shape_of(name, result)), name
        hidden = values if is_distribution(name) or values.ndim == 1 else values[:, :-1]
        assert np.isfinite(hidden).all(), name


def test_what_was_not_measured_at_a_step_is_null(result: Result) -> None:
    table = pd.read_parquet(result.folder / "record.parquet", columns=["step", "sharpness", "dead_units/layer_01"])
    assert table.loc[table["sharpness"].notna(), "step"].tolist() == [0, 12]
    assert table.loc[table["dead_units/layer_01"].notna(), "step"].tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_histograms_and_spectra_read_well_in_pandas(result: Result) -> None:
    table = pd.read_parquet(result.folder / "distributions.parquet")
    own = table[(table["quantity"] == "activation_histogram") & (table["layer"] == 2)]
    counts = own.pivot(index="step", columns="bin", values="value").to_numpy()
    assert np.array_equal(counts, result.record["activation_histogram"][:, 1])
    widths, outputs = result.facts["widths"], 64
    assert counts[0].sum() == outputs * widths[2]
    edges = result.record.edges("activation_histogram")
    assert np.array_equal(own["left"].to_numpy().reshape(-1, 32), edges[:, 1, :-1])
    spectrum = table[(table["quantity"] == "jacobian_singular_values") & (table["step"] == 0)]
    assert np.array_equal(spectrum["value"], result.record["jacobian_singular_values"][0])
    assert spectrum["left"].isna().all()
    assert (np.diff(spectrum["value"]) <= 0).all()


def test_a_distribution_survives_its_file(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    values = np.random.default_rng(0).random((3, 2, 34))
    pq.write_table(tidy("delta_histogram", np.array([0, 5, 9]), values), tmp_path / "one.parquet")
    back = read_distributions(tmp_path / "one.parquet")["delta_histogram"]
    assert back.steps.tolist() == [0, 5, 9]
    assert np.array_equal(back.values, values[..., 2:])
    assert np.array_equal(back.edges, bin_edges(values[..., 0], values[..., 1], 32))
    assert np.array_equal(back.edges[..., [0, -1]], values[..., :2])


def test_the_noise_scale_is_a_ratio_of_averages(result: Result) -> None:
    record = result.record
    variance, square = (record[name][2:9].sum(axis=1) for name in ("gradient_variance", "gradient_square"))
    assert record.noise_scale(2, 9) == pytest.approx(np.mean(variance) / np.mean(square))
    assert record.noise_scale(2, 9) != pytest.approx(np.mean(variance / square))


def test_a_run_starts_where_it_starts_and_moves_away(result: Result) -> None:
    distance = result.record["weight_distance"]
    assert (distance[0] == 0).all()
    assert (distance[1:] > 0).all()
    first = result.record["update_ratio"][0] * result.record["weight_norm"][0]
    np.testing.assert_allclose(distance[1], first, rtol=1e-4)


# --- the same however it came about ---


def full(outputs: Path, *overrides: str) -> Config:
    return composed(*FULL, f"outputs={outputs}", *overrides)


def test_a_longer_run_goes_on_from_a_shorter_one_with_all_measurements(tmp_path: Path) -> None:
    (shorter,) = run(full(tmp_path / "two", "training.epochs=3"), quiet=True)
    (longer,) = run(full(tmp_path / "two", "training.epochs=6"), quiet=True)
    assert longer.facts["went_on_from_step"] == shorter.facts["last_step"] > 0
    (whole,) = run(full(tmp_path / "one", "training.epochs=6"), quiet=True)
    assert everything(longer) == everything(whole)


def test_company_and_divergence_leave_all_measurements_as_they_are(tmp_path: Path) -> None:
    rates = ["optimizer=gradient_descent", "training.epochs=4", "model.activation=relu"]
    calm, wild = (full(tmp_path / "both", *rates, f"optimizer.learning_rate={rate}") for rate in (0.1, 1e30))
    together, diverged = run([calm, wild], quiet=True)
    (alone,) = run(full(tmp_path / "alone", *rates, "optimizer.learning_rate=0.1"), quiet=True)
    assert everything(together) == everything(alone)
    assert diverged.status == "diverged"
    last = diverged.facts["diverged_at_step"]
    for name in diverged.record.distributions:
        assert diverged.record.measured(name)[0].max() <= last


def test_asking_for_more_trains_again_with_both_and_the_weights_come_out_equal(tmp_path: Path) -> None:
    (first,) = run(composed(f"outputs={tmp_path}", "measurements.quantities=[dead_units,delta_norm]"), quiet=True)
    weights = (first.folder / "final.safetensors").read_bytes()
    more = ("measurements.quantities=[dead_units,activation_histogram]", "measurements.schedule.dead_units=10")
    (second,) = run(composed(f"outputs={tmp_path}", *more), quiet=True)
    assert second.measurements.quantities == ["delta_norm", "dead_units", "activation_histogram"]
    assert second.record.measured("dead_units")[0].tolist() == [0, 10, 17, 20, 30, 34]
    assert (second.folder / "final.safetensors").read_bytes() == weights


def test_what_is_left_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = composed("measurements=full", f"outputs={tmp_path}", "model.batch_norm=after")
    (result,) = run(config, quiet=True)
    left_out = result.facts["measurements"]["left_out"]
    assert set(left_out) == {
        "saturation", "signal_norm", "sharpness", "gradient_second_moment", "gradient_variance", "gradient_square",
    }  # fmt: skip
    show_places([result], config, Console())
    told = capsys.readouterr().out
    assert all(f"not measured: {name}; {why}" in told for name, why in left_out.items())
