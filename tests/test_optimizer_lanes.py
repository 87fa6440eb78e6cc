"""A lane's update is its own: to the bit alone, selected, beside others; gradients of any size give numbers."""

import pytest
import torch
from update_rules import FLOORS, RULES, P, R, T, adam, gradients, rmsprop, stepped, updates


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lane_equals_itself_alone_to_the_bit(name: str, dtype: torch.dtype) -> None:
    given = gradients().to(dtype)
    together = updates(RULES[name](), given)
    for lane in range(R):
        own = slice(lane, lane + 1)
        assert torch.equal(updates(RULES[name](own), given[:, own])[:, 0], together[:, lane])


@pytest.mark.parametrize("name", RULES)
def test_lanes_that_are_selected_keep_their_state(name: str) -> None:
    whole, part = RULES[name](), RULES[name]()
    given, kept = gradients(), torch.tensor([1, 3])
    expected = updates(whole, given)[T // 2 :, kept]
    updates(part, given[: T // 2])
    part = part.select(kept)
    found = torch.stack([stepped(part, g[kept]) for g in given[T // 2 :]])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", RULES)
def test_a_step_leaves_the_gradient_alone_and_keeps_no_hold_of_its_update(name: str) -> None:
    rule, given = RULES[name](), gradients()
    rule.start(torch.zeros(R, P, dtype=torch.float64))
    for g in given[:3]:
        before = g.clone()
        update = stepped(rule, g)
        state = {n: v.clone() for n, v in rule.tensors().items()}
        update.fill_(torch.nan)
        assert torch.equal(g, before)
        assert all(torch.equal(v, state[n]) for n, v in rule.tensors().items())


# --- gradients of any size ---


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_of_zero_moves_nothing(inside: bool, dtype: torch.dtype) -> None:
    found = updates(adam(inside), torch.zeros(3, R, P, dtype=dtype))
    assert found.dtype == dtype
    assert torch.equal(found, torch.zeros(3, R, P, dtype=dtype))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e-37, 1e30])
@pytest.mark.parametrize("flushed", [False, True])
def test_zero_tiny_and_huge_gradients_give_numbers(name: str, scale: float, flushed: bool) -> None:
    torch.set_flush_denormal(flushed)
    for dtype in (torch.float32, torch.float64):
        given = (torch.sign(gradients()) * scale).to(dtype)
        given[::3] = 0
        if scale > 1 and name.startswith("adam") and dtype == torch.float32:
            continue  # g² is infinite in float32, so the update is 0: torch's Adam does the same
        assert bool(torch.isfinite(updates(RULES[name](), given)).all())


def test_rmsprop_does_not_lose_what_float32_cannot_square() -> None:
    small, large = (updates(rmsprop(), (gradients() * scale).float()) for scale in (1e-25, 1.0))
    lanes = [i for i, floor in enumerate(FLOORS) if floor == 0]
    torch.testing.assert_close(small[:, lanes], large[:, lanes], rtol=1e-5, atol=0)
