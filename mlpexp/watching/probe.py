"""Units that pass nothing back for any example of a fixed probe.

Flow: layers, following → **probe** → watch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mlpexp.watching.following import Chain, Following
from mlpexp.watching.layers import CONVOLUTIONS, Layer
from mlpexp.watching.passes import CopiedAsNothing


def dead_units(module: nn.Module, layers: Sequence[Layer], probe: Any) -> dict[int, Tensor]:
    """Which units of each layer have σ′ = 0 for every example of the probe, [k]; of layers whose σ was seen.

    The module looks at the probe as in evaluation, and is left as it was; no generator is advanced. A unit of a
    convolution is a channel, at all of its places.
    """
    found: dict[int, Tensor] = {}

    def activated(chain: Chain, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        with torch.enable_grad():  # torch's own derivative of its function, whichever it is
            z = (args[0] if args else kwargs["input"]).detach().requires_grad_()
            rest = {key: value for key, value in kwargs.items() if key != "input"}
            (slope,) = torch.autograd.grad(function(z.clone(), *args[1:], **rest).sum(), z)
        units = 1 if isinstance(chain.layer.module, CONVOLUTIONS) else slope.dim() - 1
        found[chain.layer.number] = slope.abs().amax(dim=[d for d in range(slope.dim()) if d != units]) == 0

    def track(layer: Layer, following: Following, _: nn.Module, inputs: Any, z: Tensor) -> None:
        following.track(layer, z)

    following = Following(ended=lambda chain: None, activated=activated)
    hooks = [one.module.register_forward_hook(CopiedAsNothing(partial(track, one, following))) for one in layers]
    try:
        with evaluated(module), torch.no_grad(), torch.random.fork_rng(_devices(module)), following:
            module(*probe) if isinstance(probe, tuple | list) else module(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def evaluated(module: nn.Module) -> Iterator[None]:
    """Every part of a module as in evaluation, and afterwards as each of them was."""
    before = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in before:
            one.training = training


def _devices(module: nn.Module) -> list[torch.device]:
    """The devices whose generators a pass may advance, but for the processor."""
    return list({one.device for one in module.parameters() if one.device.type != "cpu"})
