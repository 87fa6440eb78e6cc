"""Initial weights: variances as the schemes say, the same normals under all of them, each lane from its own streams."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from mlpexp.config import Initialisation
from mlpexp.kernel.initialisation import (
    SCHEMES,
    Scheme,
    critical,
    glorot,
    he,
    initial_parameters,
    lecun,
    normal,
    orthogonal,
    orthonormal,
    torch_default,
)
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.streams import stream

K_IN, K_OUT = 300, 200
LARGE = Layout((K_IN, K_OUT, 100))
KEYS: dict[str, dict[str, Any]] = {
    "normal": {"sigma_w": 1.3, "sigma_b": 0.4},
    "critical": {"sigma_w": (1.3, 0.7), "sigma_b": 0.4},
}
NORMAL = [name for name in SCHEMES if SCHEMES[name](**KEYS.get(name, {})).distribution == "normal"]


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
        (critical([1.3, 0.7], 0.4), 1.69 / K_IN, 0.16),
        (glorot(distribution="uniform"), 2 / (K_IN + K_OUT), 0),
        (he(gain=3.0, distribution="uniform"), 18 / K_IN, 0),
        (lecun(distribution="uniform"), 1 / K_IN, 0),
        (orthogonal(), 1 / K_IN, 0),
        (orthogonal(gain=3.0), 9 / K_IN, 0),
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


# --- each scheme's own ---


@pytest.mark.parametrize("name", ["glorot", "he", "lecun"])
def test_uniform_weights_end_at_root_three_of_their_standard_deviation(name: str) -> None:
    weight, _ = first_layer(scheme(name, distribution="uniform"))
    bound = math.sqrt(3) * scheme(name).weights(K_IN, K_OUT)
    assert 0.999 * bound < float(weight.abs().max()) <= bound
    assert not torch.equal(weight, first_layer(scheme(name))[0])


def test_schemes_tell_theory_the_variances_that_they_draw() -> None:
    layout = Layout((150, 300, 300, 100))
    for name in SCHEMES:
        one = critical([1.3, 0.7, 0.9], 0.4) if name == "critical" else scheme(name)
        if one.unit_variance:
            with pytest.raises(ValueError, match="come from the data"):
                one.variances(layout)
            continue
        rows = initial_parameters(layout, [one], [1], torch.float64)
        for l, (w2, b2) in enumerate(zip(*one.variances(layout), strict=True)):
            weight = layout.weight(rows, l)
            assert float(weight.square().mean()) * layout.layers[l].inputs == pytest.approx(w2, rel=0.05)
            assert float(layout.biases(rows, l).square().mean()) == pytest.approx(b2, rel=0.5)
    assert he().variances(Layout((5, 4), bias=False))[1] == normal(1.0, 1.0).variances(Layout((5, 4), bias=False))[1]


@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (20, 60), (7, 1), (1, 7), (1, 1)])
def test_orthogonal_weights_have_one_singular_value(shape: tuple[int, int]) -> None:
    weight, _ = first_layer(orthogonal(gain=1.7), layout=Layout((*shape, 3)))
    found = torch.linalg.svdvals(weight)
    torch.testing.assert_close(found, torch.full_like(found, 1.7), rtol=1e-13, atol=0)


def test_orthogonal_weights_come_from_the_same_normals_by_qr_with_a_positive_diagonal() -> None:
    """WᵀN is upper triangular with a positive diagonal, which fixes W: another route than the sign correction."""
    layout = Layout((12, 8, 3))
    weight, _ = first_layer(orthogonal(), 5, layout)
    normals = torch.from_numpy(stream(5, "initialisation").standard_normal((12, 8)))
    r = weight.T @ normals
    torch.testing.assert_close(r.tril(-1), torch.zeros_like(r), rtol=0, atol=1e-13)
    assert bool((r.diagonal() > 0).all())


@pytest.mark.parametrize("shape", [(33, 17), (128, 128), (300, 100)])
def test_the_bits_of_orthogonal_weights_do_not_depend_on_where_they_lie(shape: tuple[int, int]) -> None:
    normals = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = orthonormal(normals)
    for offset in (1, 3, 5, 7):
        moved = torch.empty(normals.numel() + 8, dtype=torch.float64)[offset : offset + normals.numel()].view(shape)
        assert torch.equal(orthonormal(moved.copy_(normals)), expected)


def test_orthogonal_weights_are_rotations_without_a_preferred_direction() -> None:
    """Without the sign correction, the first entry of a QR factor is never positive."""
    rows = initial_parameters(Layout((3, 3), bias=False), [orthogonal()] * 2000, range(2000), torch.float64)
    assert float(rows.mean(dim=0).abs().max()) < 5 / math.sqrt(3 * 2000)
    signs = torch.linalg.det(rows.view(-1, 3, 3)).sign()
    assert abs(float(signs.mean())) < 5 / math.sqrt(2000)
