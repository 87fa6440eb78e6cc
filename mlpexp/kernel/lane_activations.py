"""σ of a hidden layer where it differs between lanes: neighbours that share one are taken together.

Every operation is elementwise, so a lane's numbers do not depend on which lanes stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

from torch import Tensor

from mlpexp.kernel.activations import Activation

Sigma: TypeAlias = "Activation | LaneActivations"
"""σ of a hidden layer of all lanes."""


@dataclass(frozen=True)
class LaneActivations:
    """One activation for each of R lanes; tensors have lanes first, otherwise as in `Activation`."""

    lanes: tuple[Activation, ...]

    @cached_property
    def spans(self) -> tuple[tuple[slice, Activation], ...]:
        """Neighbouring lanes that share an activation, and which one it is."""
        found, start = [], 0
        for one, alike in groupby(self.lanes):
            end = start + len(list(alike))
            found.append((slice(start, end), one))
            start = end
        return tuple(found)

    def value(self, z: Tensor, out: Tensor) -> Tensor:
        """σ(z) into `out`."""
        for span, one in self.spans:
            one.value(z[span], out[span])
        return out

    def derivative(self, z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        """σ′(z) into `out`, given x = σ(z)."""
        for span, one in self.spans:
            one.derivative(z[span], x[span], out[span])
        return out

    def second_derivative(self, z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        """σ″(z) into `out`, given x = σ(z); every lane's must be known."""
        for span, one in self.spans:
            assert one.second_derivative is not None
            one.second_derivative(z[span], x[span], out[span])
        return out

    def select(self, lanes: Sequence[int]) -> Sigma:
        """Those of these lanes."""
        return of_lanes([self.lanes[lane] for lane in lanes])


def of_lanes(lanes: Sequence[Activation]) -> Sigma:
    """σ of one layer for these lanes: a plain activation where all have the same."""
    return lanes[0] if lanes and all(one == lanes[0] for one in lanes) else LaneActivations(tuple(lanes))
