"""Where each weight and bias lies in a row of Θ, and which neighbouring layers look alike. Read without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BatchNorm:
    """How hidden layers are normalised over the batch (Ioffe & Szegedy 2015).

    `placement`: `after` σ, the lecture's (the outputs X_2 … X_L are normalised), or `before` it. `epsilon` is added to
    the variance, `momentum` the share of a new batch in the running statistics.
    """

    placement: Literal["before", "after"]
    affine: bool = True
    epsilon: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class Layer:
    """One weight matrix [inputs, outputs] in a row of Θ; bias, gain γ and shift β (of batch norm) right behind."""

    inputs: int
    outputs: int
    start: int
    bias: bool
    affine: bool = False
    skip: bool = False

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.inputs * self.outputs

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.weights + (self.bias + 2 * self.affine) * self.outputs


@dataclass(frozen=True)
class Layout:
    """The shape of a network: `widths` are k_1 … k_{L+1}, from inputs to outputs.

    `skip`: X_{l+1} = σ(X_l W_l) + X_l around the layers 2 … L−1 whose input and output are equally wide. A row that is
    kept has P parameters, and with batch norm S running statistics behind them: mean and variance, layer by layer.
    """

    widths: tuple[int, ...]
    bias: bool = True
    batch_norm: BatchNorm | None = None
    skip: bool = False

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The L layers, in order."""
        layers: list[Layer] = []
        for l, (inputs, outputs) in enumerate(pairwise(self.widths)):
            start = layers[-1].start + layers[-1].size if layers else 0
            hidden = l < self.depth - 1
            affine = hidden and self.batch_norm is not None and self.batch_norm.affine
            layers.append(
                Layer(inputs, outputs, start, self.bias, affine, self.skip and hidden and l > 0 and inputs == outputs)
            )
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
    def statistics(self) -> int:
        """S, the number of running statistics of one network; 0 without batch norm."""
        return 2 * sum(self.widths[1:-1]) if self.batch_norm else 0

    @cached_property
    def weight_blocks(self) -> list[range]:
        """Runs of neighbouring layers with weight matrices of one shape: they are measured in one operation."""
        return _runs(self.depth, lambda l: (self.layers[l].inputs, self.layers[l].outputs, self.layers[l].size))

    @cached_property
    def unit_blocks(self) -> list[range]:
        """Runs of neighbouring layers with equally many units."""
        return _runs(self.depth, lambda l: self.layers[l].outputs)

    def weight(self, rows: Tensor, l: int) -> Tensor:
        """W_l of every lane, a view [R, k_l, k_{l+1}] into rows [R, P …]."""
        layer = self.layers[l]
        flat = rows[:, layer.start : layer.start + layer.weights]
        return flat.view(len(rows), layer.inputs, layer.outputs)

    def biases(self, rows: Tensor, l: int) -> Tensor:
        """b_l of every lane, a view [R, k_{l+1}] into rows [R, P …]; the layout must have biases."""
        return self._behind_weights(rows, l, 0)

    def gain(self, rows: Tensor, l: int) -> Tensor:
        """γ_l of every lane, a view [R, k_{l+1}] into rows [R, P …]; the layer must be affine."""
        return self._behind_weights(rows, l, int(self.bias))

    def shift(self, rows: Tensor, l: int) -> Tensor:
        """β_l of every lane, a view [R, k_{l+1}] into rows [R, P …]; the layer must be affine."""
        return self._behind_weights(rows, l, int(self.bias) + 1)

    def running(self, rows: Tensor, l: int) -> tuple[Tensor, Tensor]:
        """Running mean and variance of hidden layer l, views [R, k_{l+1}] into rows [R, P + S]."""
        start, units = self.size + 2 * sum(self.widths[1 : l + 1]), self.layers[l].outputs
        return rows[:, start : start + units], rows[:, start + units : start + 2 * units]

    def _behind_weights(self, rows: Tensor, l: int, place: int) -> Tensor:
        layer = self.layers[l]
        start = layer.start + layer.weights + place * layer.outputs
        return rows[:, start : start + layer.outputs]

    def weight_block(self, rows: Tensor, block: range) -> Tensor:
        """The weights of a block's layers, a view [R, layers, k_in·k_out] into rows [R, P …]."""
        layer = self.layers[block.start]
        return self._same_of_layers(rows, block, layer.start, layer.weights)

    def bias_block(self, rows: Tensor, block: range) -> Tensor:
        """The biases of a block's layers, a view [R, layers, k_out] into rows [R, P …]; the layout must have biases."""
        layer = self.layers[block.start]
        return self._same_of_layers(rows, block, layer.start + layer.weights, layer.outputs)

    def _same_of_layers(self, rows: Tensor, block: range, start: int, numbers: int) -> Tensor:
        """As many numbers of each layer of a block, [R, layers, numbers]; `start` is where the first layer has them.

        A view in one call: three, by slices, take three times as long, and measurements ask often.
        """
        lane, one = rows.stride()
        shape, strides = (len(rows), len(block), numbers), (lane, self.layers[block.start].size * one, one)
        return rows.as_strided(shape, strides, rows.storage_offset() + start * one)

    def named(self) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        """Name, start and shape of each tensor in a row [P + S], in its order.

        Names are those of torch.nn.Linear in `layers` and torch.nn.BatchNorm1d in `norms`; torch's weights are ours
        transposed.
        """
        start = self.size
        for l, layer in enumerate(self.layers):
            yield f"layers.{l}.weight", layer.start, (layer.inputs, layer.outputs)
            place = layer.start + layer.weights
            vectors = [f"layers.{l}.bias"] * layer.bias + [f"norms.{l}.weight", f"norms.{l}.bias"] * layer.affine
            for name in vectors:
                yield name, place, (layer.outputs,)
                place += layer.outputs
            if self.batch_norm and l < self.depth - 1:
                yield f"norms.{l}.running_mean", start, (layer.outputs,)
                yield f"norms.{l}.running_var", start + layer.outputs, (layer.outputs,)
                start += 2 * layer.outputs


def _runs(depth: int, key: Callable[[int], object]) -> list[range]:
    runs: list[Sequence[int]] = [list(run) for _, run in groupby(range(depth), key)]
    return [range(run[0], run[-1] + 1) for run in runs]
