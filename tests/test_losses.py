"""Losses and δ at the output against torch and autograd, in float64; and their edges."""

import pytest
import reference
import torch
from torch import Tensor

from mlpexp.kernel.losses import LOSSES, OUTPUTS, Loss, correct, smoothed

R, B = 2, 6


def draw(loss: str, output: str, outputs: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(outputs)
    z = 3 * torch.randn(R, B, outputs, generator=generator, dtype=torch.float64)
    return z, reference.draw_targets(loss, output, (R, B, outputs), generator)


def cases() -> list[tuple[str, str, int]]:
    return [(l, o, k) for k in (1, 2, 3, 10) for l, o in reference.combinations(k)]


def test_the_schema_offers_what_exists() -> None:
    assert sorted(reference.OUTPUT_NAMES) == sorted(OUTPUTS)
    assert sorted(reference.LOSS_NAMES) == sorted(LOSSES)


@pytest.mark.parametrize(("loss", "output", "outputs"), cases())
def test_losses_and_delta_equal_torchs_and_autograds(loss: str, output: str, outputs: int) -> None:
    z, targets = draw(loss, output, outputs)
    losses, delta = Loss(loss, output)(z, targets)
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
    _, delta = Loss("cross_entropy", output)(z, targets)
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
    for size in (1e-30, 90.0, 100.0, 1e4):
        signs = torch.randn(R, B, outputs, generator=torch.Generator().manual_seed(0)).sign()
        losses, delta = Loss(loss, output)((size * signs).to(dtype), targets.to(dtype))
        assert bool(torch.isfinite(losses).all())
        assert bool(torch.isfinite(delta).all())
        assert bool((losses >= 0).all())


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_hopelessly_wrong_class_costs_its_margin(output: str) -> None:
    z, targets = torch.tensor([[[500.0, -500.0]]]), torch.tensor([[[0.0, 1.0]]])
    losses, _ = Loss("cross_entropy", output)(z, targets)
    assert losses.item() == 1000.0  # torch.nn.BCELoss would say 200: it cuts logarithms at −100


HUBER = [(0.01, "identity"), (0.5, "relu"), (1.0, "sigmoid"), (2.0, "softmax"), (1e6, "identity")]


@pytest.mark.parametrize(("huber_delta", "output"), HUBER)
@pytest.mark.parametrize("loss", ["huber", "huber_mean"])
def test_hubers_loss_bends_where_it_is_told(loss: str, huber_delta: float, output: str) -> None:
    z, targets = draw(loss, output, 4)
    z[0, 0, 0] = targets[0, 0, 0] + huber_delta if output == "identity" else z[0, 0, 0]  # exactly at the bend
    losses, delta = Loss(loss, output, huber_delta)(z, targets)
    for lane in range(R):
        leaf = z[lane].clone().requires_grad_()
        expected = reference.example_losses(loss, output, leaf, targets[lane], huber_delta)
        torch.testing.assert_close(losses[lane], expected.detach(), rtol=1e-12, atol=1e-14)
        (slope,) = torch.autograd.grad(expected.sum(), leaf)
        torch.testing.assert_close(delta[lane], slope, rtol=1e-12, atol=1e-14)


def test_hubers_loss_lies_between_half_the_squares_and_the_absolutes() -> None:
    z, targets = draw("huber", "identity", 3)
    squares, absolutes = (Loss(name, "identity")(z, targets)[0] for name in ("mse", "mae"))
    torch.testing.assert_close(Loss("huber", "identity", 1e3)(z, targets)[0], squares / 2)
    torch.testing.assert_close(Loss("huber", "identity", 1e-9)(z, targets)[0] / 1e-9, absolutes, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", [name for name in LOSSES if not name.endswith("_mean")])
def test_losses_are_sums_over_outputs_and_with_mean_their_means(loss: str) -> None:
    output = "sigmoid" if loss == "cross_entropy" else "identity"
    z, targets = draw(loss, output, 5)
    losses, delta = Loss(loss, output)(z, targets)
    means, mean_delta = Loss(f"{loss}_mean", output)(z, targets)
    assert torch.equal(means, losses / 5)
    assert torch.equal(mean_delta, delta / 5)
    alone = [Loss(loss, output)(z[:, :, j : j + 1], targets[:, :, j : j + 1])[0] for j in range(5)]
    torch.testing.assert_close(losses, torch.stack(alone).sum(0), rtol=1e-12, atol=1e-14)


TORCH = {
    "mse_mean": torch.nn.MSELoss(), "mae_mean": torch.nn.L1Loss(), "huber_mean": torch.nn.HuberLoss(),
    "cross_entropy_mean": torch.nn.BCEWithLogitsLoss(),
}  # fmt: skip


@pytest.mark.parametrize("loss", TORCH)
def test_a_batchs_mean_of_means_is_torchs_default(loss: str) -> None:
    output = "sigmoid" if loss == "cross_entropy_mean" else "identity"
    z, targets = draw(loss, output, 5)
    losses, _ = Loss(loss, output)(z, targets)
    for lane in range(R):
        torch.testing.assert_close(losses[lane].mean(), TORCH[loss](z[lane], targets[lane]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("size", [3.0, 100.0])
def test_label_smoothing_is_torchs(share: float, size: float) -> None:
    z, targets = draw("cross_entropy", "softmax", 4)
    z = z * size / 3
    shares = torch.tensor([[share], [0.3]], dtype=torch.float64)
    losses, delta = Loss("cross_entropy", "softmax")(z, smoothed(targets, shares, "softmax"))
    for lane, own in enumerate([share, 0.3]):
        leaf = z[lane].clone().requires_grad_()
        theirs = torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=own)
        expected = theirs(leaf, targets[lane].argmax(1))
        torch.testing.assert_close(losses[lane], expected.detach(), rtol=1e-12, atol=1e-13)
        (slope,) = torch.autograd.grad(expected.sum(), leaf)
        torch.testing.assert_close(delta[lane], slope, rtol=1e-12, atol=1e-13)


def test_a_sigmoid_smooths_between_its_two_classes_as_a_softmax_of_two_would() -> None:
    z, targets = draw("cross_entropy", "sigmoid", 1)
    shares = torch.full((R, 1), 0.2, dtype=torch.float64)
    binary = smoothed(targets, shares, "sigmoid")
    two = smoothed(torch.cat([1 - targets, targets], dim=2), shares, "softmax")
    torch.testing.assert_close(binary, two[:, :, 1:])
    expected, _ = Loss("cross_entropy", "softmax")(torch.cat([torch.zeros_like(z), z], dim=2), two)
    torch.testing.assert_close(Loss("cross_entropy", "sigmoid")(z, binary)[0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_lane_that_does_not_smooth_keeps_its_bits_beside_one_that_does(output: str) -> None:
    _, targets = draw("cross_entropy", output, 3)
    mixed = smoothed(targets.float(), torch.tensor([[0.0], [0.3]], dtype=torch.float64), output)
    assert mixed[0].numpy().tobytes() == targets[0].float().numpy().tobytes()
    assert not torch.equal(mixed[1], targets[1].float())


def test_a_relu_output_that_is_off_has_no_delta() -> None:
    z, targets = torch.tensor([[[-1.0, 0.0, 2.0]]]), torch.ones(1, 1, 3)
    for loss, slope in (("mse", 2.0), ("mae", 1.0), ("huber", 1.0)):
        losses, delta = Loss(loss, "relu")(z, targets)
        assert delta.tolist() == [[[0.0, 0.0, slope]]]
        assert losses.item() > 0


def test_a_perfect_prediction_has_no_loss_and_no_delta() -> None:
    z = torch.tensor([[[1.5, -2.0]]])
    for loss in ("mse", "mae", "huber"):
        losses, delta = Loss(loss, "identity")(z, z)
        assert losses.item() == 0
        assert delta.tolist() == [[[0.0, 0.0]]]


def test_an_examples_loss_does_not_depend_on_the_others() -> None:
    for loss, output, outputs in cases():
        z, targets = draw(loss, output, outputs)
        losses, delta = Loss(loss, output)(z, targets)
        alone, alone_delta = Loss(loss, output)(z[:, 2:3], targets[:, 2:3])
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
        ("relu", [0.4], 0, True),
        ("relu", [0.6], 1, True),
        ("relu", [-3.0, -1.0, -2.0], 0, True),  # all off: equal
        ("relu", [-3.0, 0.1, 0.2], 2, True),
    ],
)
def test_a_class_is_chosen_by_its_output(output: str, z: list[float], label: int, right: bool) -> None:
    assert correct(torch.tensor([[z]]), torch.tensor([[label]]), output).tolist() == [[right]]
