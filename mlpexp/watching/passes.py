"""Forward passes of a watched module: what each layer puts out, and the hooks that will see its δ.

Flow: layers → **passes** → gathering. A pass counts for nothing until a backward pass goes through it: evaluation
between two steps leaves no trace.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.utils.hooks import RemovableHandle

from mlpexp.kernel.measurements.units import SATURATED_BEYOND
from mlpexp.watching.following import Chain, Following
from mlpexp.watching.layers import CONVOLUTIONS, OF_EXAMPLES, OF_OUTPUTS, Layer

Hook = Callable[..., None]
MANY = 2**16
"""From so many numbers on a sum in double precision costs seven times one in single precision."""


@dataclass(eq=False)
class Pass:
    """One call of the module. `examples` is B; `sums` has what was added up of a layer's numbers, by (what, layer).

    `counts` are the numbers of each layer, `repeated` the layers that were called more than once: what is of one call
    (δ, outputs) they do not define.
    """

    examples: int
    sums: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)
    gates: set[int] = field(default_factory=set)


class Passes:
    """Hooks on a module, its layers and the modules around them.

    `wanted` says what is to be measured in a pass that begins now; `saw_delta` is called in backward passes with the
    layer, its pass, ‖x_i‖² of each example where that is needed, and ∂loss/∂z.
    """

    def __init__(
        self, wanted: Callable[[], frozenset[str]], saw_delta: Callable[[Layer, Pass, Tensor | None, Tensor], None]
    ) -> None:
        self.wanted, self.saw_delta = wanted, saw_delta
        self.depth = 0
        self.current: Pass | None = None
        self.now = frozenset[str]()
        self.following: Following | None = None

    def attach(self, module: nn.Module, layers: Sequence[Layer]) -> Iterator[RemovableHandle]:
        """Register every hook."""
        prefixes = {name[:end] for name in (f"{one.name}." for one in layers) for end in _ends(name)}
        for name, one in module.named_modules():
            if name in prefixes or not name:
                yield one.register_forward_pre_hook(CopiedAsNothing(self._enter), with_kwargs=True)
        for layer in layers:
            yield layer.module.register_forward_hook(CopiedAsNothing(partial(self._layer, layer)))
        for name, one in module.named_modules():
            if name in prefixes or not name:
                yield one.register_forward_hook(CopiedAsNothing(self._leave), always_call=True)

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.depth += 1
        if self.depth > 1:
            return
        self.now = self.wanted()
        if self.now and torch.is_grad_enabled():
            self.current = Pass(examples_of(args, kwargs))
            if self.now & set(OF_OUTPUTS):
                self.following = Following(self._measure)
                self.following.__enter__()

    def _leave(self, _: nn.Module, args: tuple[Any, ...], output: object) -> None:
        self.depth -= 1
        if self.depth or self.current is None:
            return
        following, self.following = self.following, None
        if following is not None:
            following.__exit__(None, None, None)
            for chain in following.chains.values():
                self._measure(chain)
        self.current = None

    def _layer(self, layer: Layer, _: nn.Module, inputs: tuple[Any, ...], z: object) -> None:
        seen = self.current
        if seen is None or not isinstance(z, Tensor):
            return
        if layer.number in seen.called:
            seen.repeated.add(layer.number)
            return
        seen.called.add(layer.number)
        if isinstance(layer.module, CONVOLUTIONS) and z.dim() == layer.module.weight.dim() - 1:
            seen.examples = 1  # no dimension of examples
        squares = input_squares(inputs[0], layer) if self.now & set(OF_EXAMPLES) and inputs else None
        if z.requires_grad:  # a hook on the tensor: those on modules make a view of z, which breaks σ in place
            z.register_hook(partial(self.saw_delta, layer, seen, squares))
        if "preactivation_square" in self.now:
            seen.sums["z", layer.number] = vector_norm(z.detach(), dtype=torch.float64)
            seen.counts[layer.number] = z.numel()
        if self.following is not None:
            self.following.track(layer, z)

    def _measure(self, chain: Chain) -> None:
        """Sums over what a layer puts out, X_{l+1}; centred before they are squared."""
        seen, number, x = self.current, chain.layer.number, chain.x.detach()
        if seen is None or not x.numel():
            return
        if chain.is_gate:
            seen.gates.add(number)
            return
        seen.counts[number] = x.numel()
        if "activation_mean" in self.now or "activation_std" in self.now:
            total = seen.sums["sum", number] = x.sum(dtype=torch.float64)
            if "activation_std" in self.now:
                seen.sums["spread", number] = vector_norm(x - total / x.numel(), dtype=torch.float64)
        if "activation_zeros" in self.now:
            seen.sums["zeros", number] = count(torch.eq(x, 0, out=torch.empty_like(x)))
        if "saturation" in self.now and chain.sigma in SATURATED_BEYOND:
            centre, distance = SATURATED_BEYOND[chain.sigma]
            size = (x - centre).abs_()
            seen.sums["saturated", number] = count(torch.gt(size, distance, out=size))


class CopiedAsNothing:
    """A hook that a copy of the module does not have: averages of weights are made by `copy.deepcopy`."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, *args: Any) -> None:
        """As the hook."""
        self.hook(*args)

    def __deepcopy__(self, _: dict[int, Any]) -> Hook:
        return nothing

    def __reduce__(self) -> tuple[Callable[[], Hook], tuple[()]]:
        return _no_hook, ()


def nothing(*_: Any) -> None:
    """What is left of a hook in a copied or saved module."""


def _no_hook() -> Hook:
    return nothing


def examples_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """B: the length of the first tensor that a module is called with; 1 for a single example [q]."""
    for one in (*args, *kwargs.values()):
        for tensor in one.values() if isinstance(one, Mapping) else one if isinstance(one, list | tuple) else (one,):
            if isinstance(tensor, Tensor) and tensor.dim():
                return 1 if tensor.dim() == 1 and tensor.is_floating_point() else len(tensor)
    return 1


def count(ones: Tensor) -> Tensor:
    """How many numbers are 1, all others being 0; as numbers, for booleans are slow, and exact in any precision."""
    if ones.numel() < MANY:
        return ones.sum(dtype=torch.float64)
    rows = ones.flatten(1) if ones.dim() > 1 else ones[None]
    return rows.sum(dim=1, dtype=torch.promote_types(ones.dtype, torch.float32)).sum(dtype=torch.float64)


def input_squares(inputs: Any, layer: Layer) -> Tensor | None:
    """‖x_i‖² (+ 1 for the bias) of each example of what enters a dense layer, [B]; None where rows are no examples."""
    if layer.weight is None or layer.is_shared or not isinstance(layer.module, nn.Linear):
        return None
    if not isinstance(inputs, Tensor) or inputs.dim() != 2:
        return None
    squares: Tensor = vector_norm(inputs.detach(), dim=1, dtype=torch.float64).square_()
    return squares + 1 if layer.bias is not None else squares


def _ends(name: str) -> list[int]:
    """Where the names of the modules around one end, and its own, in a.b.c."""
    return [place for place, letter in enumerate(name) if letter == "."]
