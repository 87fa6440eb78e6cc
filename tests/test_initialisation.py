"""Initial weights: variances as the schemes say, the same normals under all of them, each lane from its own streams."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from mlpexp.config import Initialisation
from mlpexp.kernel.initialisation import SCHEMES, Scheme, glorot, he, initial_parameters, lecun, normal, torch_default
from mlpexp.kernel.layout import Layout

K_IN, K_OUT = 300, 200
LARGE = Layout((K_IN, K_OUT, 100))
NORMAL = [name for name in SCHEMES if name != "torch_default"]
KEYS: dict[str, dict[str, float]] = {"normal": {"sigma_w": 1.3, "sigma_b": 0.4}}


def scheme(name: str, **keys: Any) -> Scheme:
    return SCHEMES[name](**{**KEYS.get(name, {}), **keys})


def first_layer(one: Scheme, seed: int = 0, layout: Layout = LARGE) -> tuple[Tensor, Tensor]:
    rows = initial_parameters(layout, [one], [seed], torch.float64)
    return layout.weight(rows, 0)[0], layout.biases(rows, 0)[0]


def test_the_schema_offers_what_exists() -> None:
    union = get_args(get_args(Initialisation)[0])
    names = [name for section in union for name in get_args(section.model_fields["name"].annotation)]
    assert sorted(names) == sorted(SCHEMES)


@pytest.mark.parametrize(
    ("one", "variance", "bias_variance"),
    [
        (glorot(), 2 / (K_IN + K_OUT), 0),
        (he(), 2 / K_IN, 0),
        (lecun(), 1 / K_IN, 0),
        (he(gain=3.0), 18 / K_IN, 0),
        (normal(1.3, 0.4), 1.69 / K_IN, 0.16),
        (torch_default(), 1 / (3 * K_IN), 1 / (3 * K_IN)),
    ],
)
def test_variances_are_the_schemes(one: Scheme, variance: float, bias_variance: float) -> None:
    weight, bias = first_layer(one)
    count = weight.numel()
    assert float(weight.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / count))
    assert abs(float(weight.mean())) < 5 * math.sqrt(variance / count)
    assert float(bias.var()) == pytest.approx(bias_variance, rel=0.5)


def test_torch_default_is_what_a_linear_layer_has() -> None:
    weight, bias = first_layer(torch_default())
    theirs = nn.Linear(K_IN, K_OUT)
    bound = 1 / math.sqrt(K_IN)
    assert theirs.bias is not None
    for ours, other in ((weight, theirs.weight), (bias, theirs.bias)):
        assert 0.95 * bound < float(ours.abs().max()) <= bound
        assert float(other.detach().abs().max()) <= bound * 1.0001


@pytest.mark.parametrize("names", list(itertools.combinations(NORMAL, 2)), ids="-".join)
def test_normal_schemes_scale_the_same_normals(names: tuple[str, str]) -> None:
    """Conditions are paired: only the scale differs between them."""
    (a, _), (b, _) = (first_layer(scheme(name)) for name in names)
    ratio = a / b
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", SCHEMES)
def test_leaving_biases_out_moves_no_weight(name: str) -> None:
    bare = Layout(LARGE.widths, bias=False)
    ours = initial_parameters(LARGE, [scheme(name)], [3])
    without = initial_parameters(bare, [scheme(name)], [3])
    for l in range(LARGE.depth):
        assert torch.equal(LARGE.weight(ours, l), bare.weight(without, l))


def test_a_seed_decides_a_lane_and_company_does_not() -> None:
    layout = Layout((5, 4, 3))
    names = list(SCHEMES)
    together = initial_parameters(layout, [scheme(n) for n in names], range(7, 7 + len(names)))
    for lane, name in enumerate(names):
        assert torch.equal(initial_parameters(layout, [scheme(name)], [7 + lane])[0], together[lane])
    assert not torch.equal(*(initial_parameters(layout, [he()], [seed]) for seed in (0, 1)))


def test_float32_is_float64_rounded() -> None:
    layout = Layout((5, 4, 3))
    exact = initial_parameters(layout, [he(), lecun()], [0, 1], torch.float64)
    assert torch.equal(initial_parameters(layout, [he(), lecun()], [0, 1]), exact.float())


def test_a_deeper_network_begins_like_the_shallower() -> None:
    shallow, deep = Layout((5, 4, 4, 4)), Layout((5, 4, 4, 4, 4, 4))
    a, b = (initial_parameters(layout, [he()], [0]) for layout in (shallow, deep))
    assert torch.equal(b[:, : shallow.size], a)


def test_layers_and_biases_are_not_copies_of_one_another() -> None:
    layout = Layout((6, 6, 6))
    rows = initial_parameters(layout, [normal(1.0, 1.0)], [0], torch.float64)
    first, second = layout.weight(rows, 0)[0], layout.weight(rows, 1)[0]
    assert not torch.equal(first, second)
    assert not torch.allclose(first[0] * math.sqrt(6), layout.biases(rows, 0)[0])


def test_zero_scales_are_allowed() -> None:
    assert not initial_parameters(Layout((5, 4, 3)), [normal(0.0, 0.0)], [0]).any()
