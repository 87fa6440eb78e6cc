"""initialisation=critical: the σ_w of theory, of the σ that feeds a layer; refused before anything trains."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from runs_fixtures import command, compose, files_below

from mlpexp.config import Config
from mlpexp.critical_weights import of_torch, refusals, sigma_w
from mlpexp.lanes import build
from mlpexp.model_schema import Model
from mlpexp.refusals import ConfigError
from mlpexp.theory import Activation, activation, critical

OWN_TANH = """
import torch


def value(z):
    return torch.tanh(torch.clamp(z, -20, 20))


def derivative(z, x):
    return 1 - x * x
"""
OWN_SOFTPLUS = """
import torch


def value(z):
    return torch.clamp(z, min=0) + torch.log1p(torch.exp(-z.abs()))


def derivative(z, x):
    return 1 - torch.exp(-x)
"""
POINT = ("initialisation=critical", "training.dtype=float64")


def no_files(name: str) -> Activation:
    raise AssertionError(name)


def stds(config: Config) -> list[float]:
    """√(k_l·mean W_l²) of each layer, as built."""
    network = build([config])[1].network
    return [math.sqrt(float(weight.square().mean()) * weight.shape[1]) for weight in network.weights]


def test_weights_have_the_critical_variance() -> None:
    for name, b, expected in [("tanh", 0.0, 1.0), ("relu", 0.0, math.sqrt(2)), ("tanh", math.sqrt(0.05), 1.327)]:
        config = compose(*POINT, f"model.activation={name}", f"initialisation.sigma_b={b}", "model.width=200")
        assert stds(config)[:-1] == pytest.approx([expected] * 3, rel=0.02)


def test_parameters_of_the_activation_count() -> None:
    steep = compose(*POINT, "model.activation=leaky_relu", "model.negative_slope=0.5", "model.width=200")
    assert stds(steep)[1] == pytest.approx(math.sqrt(2 / 1.25), rel=0.02)


def test_a_layer_takes_the_variance_of_the_activation_that_feeds_it() -> None:
    """And the first, fed by data, that of the first hidden layer."""
    listed = Model(depth=4, activation=["relu", "tanh", "sigmoid"])
    expected = [math.sqrt(critical(activation(name)).sigma_w2) for name in ("relu", "relu", "tanh", "sigmoid")]
    assert sigma_w(listed, 0.0, no_files) == pytest.approx(expected, rel=1e-11)
    assert sigma_w(Model(depth=1, activation="tanh"), 0.0, no_files) == [1.0]
    assert len(sigma_w(Model(depth=7, activation="tanh"), 0.0, no_files)) == 7


@pytest.mark.parametrize("name", ["softplus", "gelu", "silu"])
def test_an_activation_without_a_stable_point_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(*POINT, f"model.activation={name}")
    (line,) = error.value.mistakes
    assert line.startswith(f"initialisation=critical: {name} has no stable critical point at σ_b² = 0: ")
    assert "initialisation=normal" in line
    assert refusals(Model(activation="tanh"), 0.0) == []


def test_a_derivative_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="linear has no critical point: its derivative is 0"):
        compose(*POINT, "model.activation=linear", "model.slope=0")


def test_the_refusal_comes_before_anything_is_written(tmp_path: Path) -> None:
    done = command("train", *POINT, "model.activation=softplus", "tracking=none", cwd=tmp_path)
    assert done.returncode == 2
    assert "softplus has no stable critical point" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_below(tmp_path) == []  # outputs/ of the working directory among them


def test_a_file_of_ones_own_is_solved_by_its_functions(tmp_path: Path) -> None:
    file = tmp_path / "own_tanh.py"
    file.write_text(OWN_TANH)
    own, ours = (compose(*POINT, f"model.activation={name}", "initialisation.sigma_b=0.3") for name in (file, "tanh"))
    theirs, expected = (build([config])[1].network.parameters for config in (own, ours))
    torch.testing.assert_close(theirs, expected, rtol=1e-11, atol=0)


def test_a_file_of_ones_own_without_a_point_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own_softplus.py"
    file.write_text(OWN_SOFTPLUS)
    outputs = tmp_path / "outputs"
    done = command("train", *POINT, f"model.activation={file}", "tracking=none", f"outputs={outputs}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"model.activation={file}: initialisation=critical: own_softplus has no stable critical point" in done.stderr
    assert not (outputs / "runs").exists()


def test_kinks_of_a_file_of_ones_own_are_found() -> None:
    hard = of_torch("hard", lambda z: torch.clamp(z, -1, 0.5), lambda z, x: ((z > -1) & (z < 0.5)).to(z.dtype))
    np.testing.assert_allclose(hard.kinks, [-1, 0.5], atol=1e-9)
    assert critical(hard, 0.1).q > 0
