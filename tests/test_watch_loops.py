"""Loops as people write them: micro-batches, evaluation in between, clipping, gradients by hand, mixed precision."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from watched_loops import EVERYTHING, batch, check_same, network, one_step, plainly

import mlpexp
from mlpexp.watching.watched import Watched

# --- one step, however its gradient comes about ---


def test_micro_batches_are_one_batch() -> None:
    def in_parts(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(3):
            (functional.cross_entropy(net(x[own::3]), y[own::3]) / 3).backward()

    check_same(one_step(in_parts), one_step(plainly))


def test_a_sum_over_examples_is_brought_to_their_mean() -> None:
    def summed(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(2):
            functional.cross_entropy(net(x[own::2]), y[own::2], reduction="sum").backward()

    check_same(one_step(summed, reduction="sum"), one_step(plainly), "update_ratio")


def test_means_that_are_added_up_have_the_delta_of_each_own_mean() -> None:
    def added(net: nn.Module, x: Tensor, y: Tensor) -> None:
        for own in range(2):
            functional.cross_entropy(net(x[own::2]), y[own::2]).backward()

    watched = one_step(added, quantities="full", reduction="added")
    whole = one_step(plainly)
    np.testing.assert_allclose(watched["delta_norm"], whole["delta_norm"], rtol=1e-9)
    np.testing.assert_allclose(watched["gradient_norm"], 2 * whole["gradient_norm"], rtol=1e-9)
    assert "added up" in watched.left_out["gradient_variance"]


def test_what_leads_to_no_update_is_not_counted() -> None:
    def with_evaluation(net: nn.Module, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            net(x * 3)
        net.eval()
        net(x * 5)
        net.train()
        inputs = x.clone().requires_grad_()
        torch.autograd.grad(net(inputs).sum(), inputs)
        plainly(net, x, y)

    check_same(one_step(with_evaluation), one_step(plainly))


def test_a_batch_that_was_dropped_is_not_counted() -> None:
    def after_a_bad_one(clear: Callable[[nn.Module], None]) -> Callable[[nn.Module, Tensor, Tensor], None]:
        def backward(net: nn.Module, x: Tensor, y: Tensor) -> None:
            plainly(net, x * 100, y)
            clear(net)
            plainly(net, x, y)

        return backward

    for clear in (lambda net: net.zero_grad(), lambda net: net.zero_grad(set_to_none=False)):
        check_same(one_step(after_a_bad_one(clear)), one_step(plainly))


def test_the_outer_half_of_a_double_backward_pass_is_the_one_that_counts() -> None:
    def penalised(net: nn.Module, x: Tensor, y: Tensor) -> None:
        inputs = x.clone().requires_grad_()
        loss = functional.cross_entropy(net(inputs), y)
        (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
        (loss + 0 * slope.square().sum()).backward()

    check_same(one_step(penalised), one_step(plainly))


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")  # of the circle that is undone here
def test_a_backward_pass_that_can_be_derived_again_counts_as_any_other() -> None:
    def with_graph(net: nn.Module, x: Tensor, y: Tensor) -> None:
        functional.cross_entropy(net(x), y).backward(create_graph=True)
        for own in net.parameters():
            assert own.grad is not None
            own.grad = own.grad.detach()  # else it and its graph keep each other

    check_same(one_step(with_graph), one_step(plainly))


def test_several_backward_passes_through_one_forward_pass_leave_delta_out() -> None:
    def twice(net: nn.Module, x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(net(x), y)
        loss.backward(retain_graph=True)
        loss.backward()

    watched, whole = one_step(twice, quantities="basic"), one_step(plainly)
    assert np.isnan(watched["delta_norm"]).all()
    assert "several backward passes" in watched.left_out["delta_norm/layer_01"]
    np.testing.assert_allclose(watched["gradient_norm"], 2 * whole["gradient_norm"], rtol=1e-9)
    np.testing.assert_allclose(watched["activation_mean"], whole["activation_mean"], rtol=1e-9)


def test_gradients_are_told_as_they_were_before_clipping() -> None:
    def clipped(net: nn.Module, x: Tensor, y: Tensor) -> None:
        plainly(net, x, y)
        nn.utils.clip_grad_norm_(net.parameters(), 1e-3)

    check_same(one_step(clipped), one_step(plainly), "update_ratio")


def test_gradients_that_no_backward_pass_left_are_taken_as_they_are() -> None:
    def by_hand(net: nn.Module, x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(net(x), y)
        for own, gradient in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            own.grad = gradient

    watched = one_step(by_hand, quantities="basic")
    np.testing.assert_allclose(watched["gradient_norm"], one_step(plainly)["gradient_norm"], rtol=1e-9)
    assert np.isnan(watched["delta_norm"]).all()


def test_a_closure_is_part_of_its_step() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = batch()

    def closure() -> float:
        plainly(net, x, y)
        return 0.0

    with mlpexp.watch(net, optimizer, quantities=EVERYTHING) as watched:
        optimizer.step(closure)
    check_same(watched, one_step(plainly), "update_ratio")


# --- mixed precision ---


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_scales_nothing_that_is_told_and_what_it_skips_is_not_there(fused: bool) -> None:
    def train(scaler: torch.amp.GradScaler | None) -> Watched:
        net = network().float()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
        with mlpexp.watch(net, optimizer, quantities="full", scaler=scaler) as watched:
            for step in range(4):
                x, y = batch(seed=step)
                if step == 1:
                    if scaler is None:
                        continue
                    x = x * math.inf
                loss = functional.cross_entropy(net(x.float()), y)
                if scaler is None:
                    loss.backward()
                    optimizer.step()
                else:
                    scaler.scale(loss).backward()
                    if step == 2 and not fused:
                        scaler.unscale_(optimizer)
                    scaler.step(optimizer)
                    scaler.update()
                optimizer.zero_grad()
        return watched

    scaled, plain = train(torch.amp.GradScaler("cpu", init_scale=2.0**10)), train(None)
    assert plain.steps("delta_norm").tolist() == [0, 1, 2]
    assert scaled.steps("delta_norm").tolist() == ([0, 2, 3] if fused else [0, 1, 2])
    for name in scaled.names - {"gradient_histogram"}:
        np.testing.assert_allclose(scaled[name], plain[name], rtol=2e-4, atol=1e-5, err_msg=name)
    edges = (slice(None), slice(None), slice(0, 2))
    np.testing.assert_allclose(scaled["gradient_histogram"][edges], plain["gradient_histogram"][edges], atol=1e-3)


def test_autocast_to_bfloat16_is_measured_about_as_well_as_it_computes() -> None:
    def mixed(net: nn.Module, x: Tensor, y: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(net(x.float()), y)
        loss.backward()

    watched, whole = one_step(mixed, network().float()), one_step(plainly)
    np.testing.assert_allclose(watched["delta_norm"], whole["delta_norm"], rtol=0.05)
    np.testing.assert_allclose(watched["activation_std"], whole["activation_std"], rtol=0.05)
    np.testing.assert_allclose(watched["gradient_norm"], whole["gradient_norm"], rtol=0.05)
