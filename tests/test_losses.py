"""Losses and δ at the output against torch and autograd, in float64; and their edges."""

import pytest
import reference
import torch
from torch import Tensor

from mlpexp.kernel.losses import LOSSES, OUTPUTS, correct

R, B = 2, 6


def draw(loss: str, output: str, outputs: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(outputs)
    z = 3 * torch.randn(R, B, outputs, generator=generator, dtype=torch.float64)
    return z, reference.draw_targets(loss, output, (R, B, outputs), generator)


def cases() -> list[tuple[str, str, int]]:
    return [(l, o, k) for k in (1, 2, 3, 10) for l, o in reference.combinations(k)]


def test_the_schema_offers_what_exists() -> None:
    assert sorted(reference.OUTPUT_NAMES) == sorted(OUTPUTS)


@pytest.mark.parametrize(("loss", "output", "outputs"), cases())
def test_losses_and_delta_equal_torchs_and_autograds(loss: str, output: str, outputs: int) -> None:
    z, targets = draw(loss, output, outputs)
    losses, delta = LOSSES[loss](z, targets, output)
    assert losses.shape == (R, B)
    for lane in range(R):
        leaf = z[lane].clone().requires_grad_()
        expected = reference.example_losses(loss, output, leaf, targets[lane])
        torch.testing.assert_close(losses[lane], expected.detach(), rtol=1e-12, atol=1e-14)
        (slope,) = torch.autograd.grad(expected.sum(), leaf)
        torch.testing.assert_close(delta[lane], slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("output", "outputs"), [("softmax", 4), ("sigmoid", 1), ("sigmoid", 4)])
def test_cross_entropys_delta_is_probability_minus_target(output: str, outputs: int) -> None:
    z, targets = draw("cross_entropy", output, outputs)
    _, delta = LOSSES["cross_entropy"](z, targets, output)
    torch.testing.assert_close(delta, OUTPUTS[output].value(z) - targets, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_equal_torchs(output: str) -> None:
    z, _ = draw("mse", output, 3)
    expected = torch.stack([reference.output(output, lane) for lane in z])
    torch.testing.assert_close(OUTPUTS[output].value(z), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(("loss", "output", "outputs"), cases())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_outputs_give_finite_losses(loss: str, output: str, outputs: int, dtype: torch.dtype) -> None:
    _, targets = draw(loss, output, outputs)
    for size in (1e-30, 90.0, 1e4):
        signs = torch.randn(R, B, outputs, generator=torch.Generator().manual_seed(0)).sign()
        losses, delta = LOSSES[loss]((size * signs).to(dtype), targets.to(dtype), output)
        assert bool(torch.isfinite(losses).all())
        assert bool(torch.isfinite(delta).all())
        assert bool((losses >= 0).all())


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_hopelessly_wrong_class_costs_its_margin(output: str) -> None:
    z, targets = torch.tensor([[[500.0, -500.0]]]), torch.tensor([[[0.0, 1.0]]])
    losses, _ = LOSSES["cross_entropy"](z, targets, output)
    assert losses.item() == 1000.0  # torch.nn.BCELoss would say 200: it cuts logarithms at −100


def test_squares_and_absolutes_are_summed_over_outputs_not_averaged() -> None:
    z, targets = torch.full((1, 1, 5), 3.0), torch.ones(1, 1, 5)
    assert LOSSES["mse"](z, targets, "identity")[0].item() == 5 * 4.0
    assert LOSSES["mae"](z, targets, "identity")[0].item() == 5 * 2.0


def test_a_perfect_prediction_has_no_loss_and_no_delta() -> None:
    z = torch.tensor([[[1.5, -2.0]]])
    for loss in ("mse", "mae"):
        losses, delta = LOSSES[loss](z, z, "identity")
        assert losses.item() == 0
        assert delta.tolist() == [[[0.0, 0.0]]]


def test_an_examples_loss_does_not_depend_on_the_others() -> None:
    for loss, output, outputs in cases():
        z, targets = draw(loss, output, outputs)
        losses, delta = LOSSES[loss](z, targets, output)
        alone, alone_delta = LOSSES[loss](z[:, 2:3], targets[:, 2:3], output)
        assert torch.equal(losses[:, 2:3], alone)
        assert torch.equal(delta[:, 2:3], alone_delta)


@pytest.mark.parametrize(
    ("output", "z", "label", "right"),
    [
        ("softmax", [1.0, 3.0, 2.0], 1, True),
        ("softmax", [1.0, 3.0, 2.0], 2, False),
        ("softmax", [3.0, 3.0, 2.0], 0, True),  # the first of equals
        ("softmax", [3.0, 3.0, 2.0], 1, False),
        ("sigmoid", [0.1], 1, True),
        ("sigmoid", [-0.1], 0, True),
        ("sigmoid", [0.0], 0, True),  # f = 1/2 is class 0
        ("identity", [0.4], 0, True),
        ("identity", [0.6], 1, True),
        ("identity", [0.4], 1, False),
    ],
)
def test_a_class_is_chosen_by_its_output(output: str, z: list[float], label: int, right: bool) -> None:
    assert correct(torch.tensor([[z]]), torch.tensor([[label]]), output).tolist() == [[right]]
