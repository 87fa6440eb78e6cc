"""Predictions against networks at initialisation: every activation under every scheme, batch norm, skips, spread.

ln ‖δ_l‖² at every layer, the mean over S seeds at k = 256, L = 20, agrees within ±0.3 where σ is smooth and within
±(5L/2k + 3√(5L/kS)) for the ReLU family (2 in place of 5 where σ is linear): the first term is what a logarithm's mean
lies below the logarithm of a mean, the second the spread over seeds (Hanin 2018).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import pytest
import torch
from test_fashion_mnist import pytestmark as needs_fashion_mnist
from torch import Tensor

from mlpexp import theory
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.data.idx import load_fashion_mnist
from mlpexp.kernel.activations import activation as kernel_activation
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.initialisation import SCHEMES, Scheme, initial_parameters
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.measurements import Probe, Step, measure
from mlpexp.kernel.network import Network, Trace, forward
from mlpexp.theory import Architecture, BatchNorm, Profile, activation, predict
from mlpexp.theory.integrals import Numbers

Placement: TypeAlias = Literal["before", "after"]

K, L, S, B = 256, 20, 8, 24
KEYS: dict[str, dict[str, float]] = {"normal": {"sigma_w": 1.2, "sigma_b": 0.3}}
NOT_WIDE_ENOUGH = {(name, "he") for name in ("softplus", "gelu", "silu")}
NOT_CRITICAL = {(name, "critical") for name in ("softplus", "gelu", "silu")}
CONSTANTS = {"relu": 5.0, "leaky_relu": 5.0, "identity": 2.0, "linear": 2.0}
"""c of the variance c/k a layer; all others are smooth."""


def tolerance(name: str) -> float:
    c = CONSTANTS.get(name)
    return 0.3 if c is None else c * L / (2 * K) + 3 * math.sqrt(c * L / (K * S))


@dataclass(frozen=True)
class Measured:
    """Means over seeds, [L]."""

    log_delta2: Numbers
    mean: Numbers
    std: Numbers


@lru_cache(maxsize=1)
def drawn(layout: Layout, scheme: Scheme, seeds: int) -> Tensor:
    """Θ of so many seeds; kept for the next activation under the same scheme."""
    return initial_parameters(layout, [scheme] * seeds, range(seeds))


def at_start(name: str, scheme: Scheme, layout: Layout, inputs: Tensor, targets: Tensor, seeds: int = S) -> Step:
    """The first forward and backward pass of networks side by side."""
    rows = drawn(layout, scheme, seeds)
    network = Network(layout, [kernel_activation(name)] * (layout.depth - 1), rows)
    trace = Trace(network, len(inputs))
    z = forward(network, inputs.expand(seeds, -1, -1), trace)
    loss = Loss("cross_entropy", "softmax")
    _, delta = loss(z, targets.expand(seeds, -1, -1))
    gradient = backward(network, trace, delta, torch.empty_like(rows))
    return Step(network, trace, gradient, None, rows, Probe(inputs, targets.expand(seeds, -1, -1), loss))


def measured(name: str, scheme: Scheme, inputs: Tensor, targets: Tensor) -> tuple[Measured, Profile]:
    """What networks show and what theory predicts."""
    layout = Layout((inputs.shape[1], *[K] * (L - 1), targets.shape[1]))
    found = measure(
        ["delta_norm", "activation_mean", "activation_std"], at_start(name, scheme, layout, inputs, targets)
    )
    log_delta2 = 2 * torch.log(found["delta_norm"])
    means = [log_delta2 - log_delta2[:, -1:], found["activation_mean"], found["activation_std"]]
    architecture = Architecture([activation(name)] * (L - 1), *scheme.variances(layout))
    predicted = predict(architecture, inputs.double().square().mean(dim=1).numpy())
    return Measured(*(one.mean(dim=0).double().numpy() for one in means)), predicted


@lru_cache
def gaussian_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(B, K, generator=generator)
    return inputs, torch.eye(10)[torch.randint(10, (B,), generator=generator)]


@lru_cache
def pictures() -> tuple[Tensor, Tensor]:
    """Fashion-MNIST, standardised pixel by pixel: mean squares of the examples between 0.1 and 5."""
    dataset = load_fashion_mnist()
    features = torch.from_numpy(dataset.features[:10_000].astype(np.float32))
    spread = features.std(dim=0).clamp(min=1e-3)
    inputs = (features[:B] - features.mean(dim=0)) / spread
    return inputs, torch.eye(10)[torch.from_numpy(dataset.targets[:B].astype(np.int64))]


PLAIN = {name: scheme(**KEYS.get(name, {})) for name, scheme in SCHEMES.items() if name not in ("critical", "lsuv")}
"""Without those that ask theory or the data."""


def scheme_of(name: str, scheme: str) -> Scheme:
    if scheme == "critical":
        return SCHEMES[scheme](sigma_w=[math.sqrt(theory.critical(activation(name)).sigma_w2)] * L, sigma_b=0.0)
    return PLAIN[scheme]


def check_agreement(name: str, scheme: str, inputs: Tensor, targets: Tensor) -> None:
    found, predicted = measured(name, scheme_of(name, scheme), inputs, targets)
    assert float(np.abs(found.log_delta2 - predicted.log_delta2).max()) < tolerance(name)
    assert float(np.abs(found.mean - predicted.mean).max() / predicted.std.max()) < 0.3
    np.testing.assert_allclose(found.std, predicted.std, rtol=0.3)


CASES = [
    (name, scheme)
    for scheme in (*PLAIN, "critical")
    for name in ACTIVATION_NAMES
    if (name, scheme) not in NOT_WIDE_ENOUGH | NOT_CRITICAL
]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_theory_holds_on_gaussian_inputs(name: str, scheme: str) -> None:
    check_agreement(name, scheme, *gaussian_inputs())


@needs_fashion_mnist
@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_theory_holds_on_pictures(name: str, scheme: str) -> None:
    check_agreement(name, scheme, *pictures())


def test_each_example_starts_at_its_own_length() -> None:
    """‖δ_l‖² is averaged over examples as it is; their mean length would say little where σ bends (here, GELU)."""
    lengths = np.array([0.1, 0.3, 0.5, 3.1])
    architecture = Architecture([activation("gelu")] * (L - 1), [2.0] * L, [0.0] * L)
    together, pooled = (predict(architecture, p).log_delta2 for p in (lengths, lengths.mean()))
    alone = [np.exp(predict(architecture, p).log_delta2) for p in lengths]
    np.testing.assert_allclose(together, np.log(np.mean(alone, axis=0)), atol=1e-12)
    assert abs(together[0] - pooled[0]) > 0.3


@pytest.mark.parametrize("name", ["relu", "identity", "leaky_relu"])
def test_the_variance_over_seeds_is_hanins(name: str) -> None:
    """One input, 600 seeds: the variance of ln ‖δ_1‖² is c Σ1/k, and its mean lies half of that below theory's."""
    seeds, hidden = 600, [96, 64, 128, 96, 64, 96]
    layout = Layout((32, *hidden, 10))
    inputs = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    step = at_start(name, SCHEMES["he"](), layout, inputs, torch.eye(10)[:1], seeds)
    logarithms = 2 * torch.log(measure(["delta_norm"], step)["delta_norm"]).double()
    ratio = (logarithms[:, 0] - logarithms[:, -1]).numpy()
    one = activation(name)
    variance = float(theory.log_delta2_variance([one] * 6, [1.0] * 6, hidden)[0])
    assert float(ratio.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / seeds))
    predicted = predict(Architecture([one] * 6, *SCHEMES["he"]().variances(layout)), 1.0).log_delta2[0]
    assert float(ratio.mean()) == pytest.approx(predicted - variance / 2, abs=4 * math.sqrt(variance / seeds))


def test_shares_of_dead_units_follow_from_the_correlation_map() -> None:
    """ReLU, 12 inputs of one correlation: units that are off for all of them, layer by layer, of 60 wide networks."""
    examples, width, seeds, start = 12, 400, 60, 0.3
    common, *own = math.sqrt(width) * torch.eye(examples + 1, width)
    inputs = math.sqrt(start) * common + math.sqrt(1 - start) * torch.stack(own)
    layout = Layout((width, *[width] * 4, 2), bias=False)
    step = at_start("relu", SCHEMES["he"](), layout, inputs, torch.eye(2)[[0] * examples], seeds)
    c = np.array(start)
    for z in step.trace.z[:-1]:
        drawn = float((z <= 0).all(dim=1).double().mean())
        assert drawn == pytest.approx(float(theory.dead_unit_share(c, examples)), rel=0.15)
        c = theory.MeanField(activation("relu"), 2.0).correlation(c, 1.0)


# --- batch norm and skips, in networks written here ---

WIDE, DEEP, BATCH = 256, 8, 400


def by_autograd(name: str, w2: float, b2: float, placement: str | None, skip: bool, seed: int) -> list[list[float]]:
    """ln ‖δ_l‖² over the last layer's, and the standard deviation of the outputs, by autograd in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normals(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def normalised(values: Tensor) -> Tensor:
        return (values - values.mean(dim=0)) / torch.sqrt(values.var(dim=0, correction=0) + 1e-5)

    sigma: Callable[[Tensor], Tensor] = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[name]
    x, zs, scales = normals(BATCH, WIDE), [], []
    for l in range(DEEP):
        z = x @ normals(WIDE, WIDE) * math.sqrt(w2 / WIDE) + normals(WIDE) * math.sqrt(b2)
        zs.append(z.requires_grad_())
        if l == DEEP - 1:
            break
        out = sigma(normalised(z) if placement == "before" else z)
        out = normalised(out) if placement == "after" else out
        x = out + x if skip and l > 0 else out
        scales.append(float(x.detach().std()))
    deltas = torch.autograd.grad((zs[-1] * normals(BATCH, WIDE)).sum(), zs)
    logarithms = [math.log(float(delta.square().sum())) for delta in deltas]
    return [[one - logarithms[-1] for one in logarithms], [*scales, float(zs[-1].detach().std())]]


def compared(name: str, w2: float, b2: float, placement: Placement | None, skip: bool) -> tuple[Numbers, Profile]:
    """The deviation of ln ‖δ_l‖² from theory, [L]; also checks the outputs' scales."""
    found = np.mean([by_autograd(name, w2, b2, placement, skip, seed) for seed in range(4)], axis=0)
    norm = None if placement is None else BatchNorm(placement)
    skips = theory.skips_of([WIDE] * (DEEP + 1)) if skip else None
    predicted = predict(Architecture([activation(name)] * (DEEP - 1), [w2] * DEEP, [b2] * DEEP, norm, skips), 1.0)
    np.testing.assert_allclose(found[1], predicted.std, rtol=0.12)
    return found[0] - predicted.log_delta2, predicted


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize(("name", "w2", "b2"), [("tanh", 1.0, 0.0), ("sigmoid", 1.0, 0.2), ("relu", 2.0, 0.1)])
def test_batch_norm_makes_gradients_grow_as_predicted(
    name: str, w2: float, b2: float, placement: Placement, skip: bool
) -> None:
    deviation, _ = compared(name, w2, b2, placement, skip)
    assert float(np.abs(deviation).max()) < 0.3


def test_the_growth_of_batch_norm_is_that_of_yang_et_al() -> None:
    """E σ′²/Var σ a layer, whatever σ_w²: for ReLU π/(π − 1), ×1.211 of the norm."""
    cases: list[tuple[Placement, float]] = [("before", 0.3), ("before", 2.0), ("after", 2.0)]
    for placement, w2 in cases:
        norm = BatchNorm(placement, epsilon=0.0)
        profile = predict(Architecture([activation("relu")] * 7, [w2] * 8, [0.0] * 8, norm), 1.0)
        np.testing.assert_allclose(profile.factors[1:] ** 2, math.pi / (math.pi - 1), rtol=1e-10)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_skips_carry_the_gradient_as_predicted(name: str) -> None:
    deviation, _ = compared(name, 1.0, 0.0, None, skip=True)
    assert float(np.abs(deviation).max()) < 0.2


def test_for_relu_with_skips_theory_is_a_lower_bound() -> None:
    deviation, predicted = compared("relu", 1.0, 0.0, None, skip=True)
    assert float(deviation.min()) > -0.1
    np.testing.assert_allclose(np.exp(-np.diff(predicted.log_delta2[1:-1])), 1 + 1.0 / 2, rtol=1e-10)


def test_skips_go_around_inner_layers_of_equal_width() -> None:
    assert theory.skips_of([8, 8, 8, 4, 4, 4, 4]) == (False, True, False, True, True, False)
    assert theory.skips_of([4, 4]) == (False,)


def test_an_architecture_needs_one_number_a_layer() -> None:
    with pytest.raises(ValueError, match="1 hidden activations need 2 layers, but there are 3 sigma_w2, 2 sigma_b2"):
        Architecture([activation("relu")], [1.0] * 3, [0.0] * 2)


def test_a_thousand_vanishing_layers_do_not_underflow() -> None:
    profile = predict(Architecture([activation("sigmoid")] * 999, [1.0] * 1000, [0.0] * 1000), 1.0)
    assert float(profile.log_delta2[0]) == pytest.approx(999 * math.log(0.0557207), rel=1e-3)
