"""Where each weight and bias lies in a row of Θ, and which neighbouring layers look alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One weight matrix [inputs, outputs] in a row of Θ, its bias [outputs] right behind."""

    inputs: int
    outputs: int
    start: int
    bias: bool

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.inputs * self.outputs

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.weights + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Layout:
    """The shape of a network: `widths` are k_1 … k_{L+1}, from inputs to outputs."""

    widths: tuple[int, ...]
    bias: bool = True

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The L layers, in order."""
        layers: list[Layer] = []
        for inputs, outputs in pairwise(self.widths):
            start = layers[-1].start + layers[-1].size if layers else 0
            layers.append(Layer(inputs, outputs, start, self.bias))
        return tuple(layers)

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.widths) - 1

    @cached_property
    def size(self) -> int:
        """P, the number of parameters of one network."""
        return sum(layer.size for layer in self.layers)

    @cached_property
    def weight_blocks(self) -> list[range]:
        """Runs of neighbouring layers with weight matrices of one shape: they are measured in one operation."""
        return _runs(self.depth, lambda l: (self.layers[l].inputs, self.layers[l].outputs))

    @cached_property
    def unit_blocks(self) -> list[range]:
        """Runs of neighbouring layers with equally many units."""
        return _runs(self.depth, lambda l: self.layers[l].outputs)

    def weight(self, rows: Tensor, l: int) -> Tensor:
        """W_l of every lane, a view [R, k_l, k_{l+1}] into rows [R, P]."""
        layer = self.layers[l]
        flat = rows[:, layer.start : layer.start + layer.weights]
        return flat.view(len(rows), layer.inputs, layer.outputs)

    def biases(self, rows: Tensor, l: int) -> Tensor:
        """b_l of every lane, a view [R, k_{l+1}] into rows [R, P]; the layout must have biases."""
        layer = self.layers[l]
        return rows[:, layer.start + layer.weights : layer.start + layer.size]

    def weight_block(self, rows: Tensor, block: range) -> Tensor:
        """The weights of a block's layers, a view [R, layers, k_in·k_out] into rows [R, P]."""
        layer = self.layers[block.start]
        flat = rows[:, layer.start : layer.start + len(block) * layer.size]
        return flat.view(len(rows), len(block), layer.size)[:, :, : layer.weights]


def _runs(depth: int, key: Callable[[int], object]) -> list[range]:
    runs: list[Sequence[int]] = [list(run) for _, run in groupby(range(depth), key)]
    return [range(run[0], run[-1] + 1) for run in runs]
