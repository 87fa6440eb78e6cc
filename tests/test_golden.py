"""Runs whose numbers are written down here: whoever changes them has to say so, by raising SEMANTICS."""

import math

import numpy as np
import pytest
from runs_fixtures import trained
from safetensors.numpy import load_file

from mlpexp.config import SEMANTICS
from mlpexp.results import Result

PLAIN = ("training.dtype=float64",)
RICH = (
    "training.dtype=float64", "model.depth=3", "model.activation=tanh", "model.dropout=0.2", "data.label_noise=0.1",
    "training.sampler=fresh", "training.l2=0.001", "initialisation=normal", "initialisation.sigma_b=0.1",
    "optimizer=momentum", "seed=5", "seeds.batches=7",
)  # fmt: skip
SMOOTH = (
    "training.dtype=float64", "data=sine", "data.examples=200", "model.activation=sigmoid", "model.depth=3",
    "initialisation=torch_default", "optimizer.epsilon_placement=inside", "training.loss=mae",
)  # fmt: skip

GOLDEN: dict[int, dict[tuple[str, ...], dict[str, float]]] = {
    2: {
        PLAIN: {
            "loss of step 0": 2.733220024022412,
            "loss of step 1": 2.8992756422384733,
            "loss of step 34": 2.617781442462617,
            "gradient_norm of layer 1, step 1": 1.7963333279848888,
            "delta_norm of layer 1, step 1": 1.134396671871349,
            "activation_std of layer 1, step 1": 0.8568919372100032,
            "update_ratio of layer 1, step 1": 0.004630542676834343,
            "norm of best": 5.722560950090092,
            "norm of final": 5.722560950090092,
            "loss/train": 2.439326007219472,
            "accuracy/train": 0.12163416898792943,
            "loss/validation": 2.50322999572936,
            "accuracy/validation": 0.10277777777777777,
            "loss/test": 2.567561266364216,
            "accuracy/test": 0.08333333333333333,
            "brier/train": 0.9299409499824504,
            "calibration_error/train": 0.14947982810345647,
            "brier/validation": 0.9392393460757158,
            "calibration_error/validation": 0.16611998403659323,
            "brier/test": 0.9653508283523144,
            "calibration_error/test": 0.19852512078724438,
            "gap/loss": -0.12823525914474398,
            "gap/accuracy": 0.038300835654596105,
        },
        RICH: {
            "loss of step 0": 2.2931855116126867,
            "loss of step 1": 2.4338023831852045,
            "loss of step 34": 1.8505356101779462,
            "gradient_norm of layer 1, step 1": 0.7225490559814505,
            "delta_norm of layer 1, step 1": 0.6215512168350271,
            "activation_std of layer 1, step 1": 0.5831316595145695,
            "update_ratio of layer 1, step 1": 0.004777054004342575,
            "norm of best": 5.108003861354508,
            "norm of final": 5.108003861354508,
            "loss/train": 1.8214641359977648,
            "accuracy/train": 0.5116063138347261,
            "loss/validation": 1.8669037908195998,
            "accuracy/validation": 0.48055555555555557,
            "loss/test": 1.7796285090172477,
            "accuracy/test": 0.5361111111111111,
            "brier/train": 0.7714877269174439,
            "calibration_error/train": 0.2900939565360471,
            "brier/validation": 0.7853205703743266,
            "calibration_error/validation": 0.27080009766658286,
            "brier/test": 0.7580958926765945,
            "calibration_error/test": 0.3338471299535955,
            "gap/loss": 0.04183562698051713,
            "gap/accuracy": -0.024504797276384993,
        },
        SMOOTH: {
            "loss of step 0": 0.6309723908012868,
            "loss of step 1": 0.6828312736389003,
            "loss of step 4": 0.6863945301642822,
            "gradient_norm of layer 1, step 1": 0.0077256541594434534,
            "delta_norm of layer 1, step 1": 0.01643851302712823,
            "activation_std of layer 1, step 1": 0.17182388802149468,
            "update_ratio of layer 1, step 1": 0.0021465338826121365,
            "norm of best": 2.7913359131176163,
            "norm of final": 2.7913359131176163,
            "loss/train": 0.6481482638088887,
            "loss/validation": 0.6692686770927196,
            "loss/test": 0.6080933716543029,
            "gap/loss": 0.0400548921545858,
        },
    },
}
MESSAGE = "numbers have changed: raise SEMANTICS in mlpexp/config.py and renew these"
TOLERANCE = 1e-9
"""Relative: far above what another processor changes in 34 updates in double precision, far below any repair."""


def numbers(result: Result) -> dict[str, float]:
    """A few numbers that between them depend on everything."""
    record, layers = result.record, ("gradient_norm", "delta_norm", "activation_std", "update_ratio")
    found = {f"loss of step {step}": float(record["loss/batch"][step]) for step in (0, 1, record.steps.size - 1)}
    found |= {f"{name} of layer 1, step 1": float(record[name][1, 0]) for name in layers}
    for which in ("best", "final"):
        weights = load_file(result.folder / f"{which}.safetensors")
        found[f"norm of {which}"] = math.sqrt(sum(float(np.sum(w.astype(float) ** 2)) for w in weights.values()))
    return found | result.scores


def changes(found: dict[str, float], expected: dict[str, float]) -> dict[str, tuple[float | None, float | None]]:
    """What is not as it was: name → (now, then)."""
    names = [*expected, *(name for name in found if name not in expected)]
    pairs = {name: (found.get(name), expected.get(name)) for name in names}
    return {
        name: (now, then)
        for name, (now, then) in pairs.items()
        if now is None or then is None or not math.isclose(now, then, rel_tol=TOLERANCE, abs_tol=1e-15)
    }


def test_the_golden_runs_are_those_of_these_semantics() -> None:
    assert SEMANTICS in GOLDEN, "SEMANTICS was raised: renew the numbers here"


@pytest.mark.parametrize("overrides", GOLDEN[max(GOLDEN)], ids=["plain", "rich", "smooth"])
def test_numbers_are_what_they_were(overrides: tuple[str, ...]) -> None:
    found = numbers(trained(*overrides)[0])
    assert changes(found, GOLDEN[max(GOLDEN)][overrides]) == {}, f"{MESSAGE}\n{found}"


def test_a_change_in_the_eighth_digit_is_noticed_and_one_in_the_twelfth_is_not() -> None:
    expected = GOLDEN[max(GOLDEN)][PLAIN]
    for name, value in expected.items():
        assert set(changes(expected | {name: value * (1 + 1e-8)}, expected)) == ({name} if value else set())
        assert changes(expected | {name: value * (1 + 1e-12)}, expected) == {}
    assert set(changes({}, expected)) == set(expected)
