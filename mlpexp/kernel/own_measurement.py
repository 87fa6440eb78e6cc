"""A measurement from the text of a user's own file, which defines

    def measure(step): …  # [R, L] of each layer, or [R] of the run

from what `Seen` holds of a step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mlpexp.kernel.measurements import Step
from mlpexp.kernel.own_code import functions_in


@dataclass(frozen=True)
class Seen:
    """One step as a measurement of the user's own sees it: what forward and backward hold before the update is added.

    Every property is a list with an entry a layer (l = 0 is next to the input), and every tensor has the R lanes first.
    The tensors are those that training goes on with: read them, never change them.
    """

    whole: Step

    @property
    def inputs(self) -> list[Tensor]:
        """X_l, [R, B, k_l]: what enters each layer, after dropout."""
        return self.whole.trace.inputs

    @property
    def z(self) -> list[Tensor]:
        """Z_l = X_l W_l + b_l, [R, B, k_{l+1}]."""
        return self.whole.trace.z

    @property
    def outputs(self) -> list[Tensor]:
        """X_{l+1}, [R, B, k_{l+1}], before dropout; of the last layer z_L."""
        return self.whole.trace.outputs

    @property
    def deltas(self) -> list[Tensor]:
        """δ_l, [R, B, k_{l+1}]: derivative of each example's own loss by its z_l, never divided by B."""
        return self.whole.trace.deltas

    @property
    def weights(self) -> list[Tensor]:
        """W_l, [R, k_l, k_{l+1}]."""
        return self.whole.network.weights

    @property
    def biases(self) -> list[Tensor]:
        """b_l, [R, k_{l+1}]; empty with model.bias=false."""
        return self.whole.network.biases

    @cached_property
    def first_weights(self) -> list[Tensor]:
        """W_l before training, [R, k_l, k_{l+1}]."""
        return self._weights(self.whole.initial)

    @cached_property
    def gradients(self) -> list[Tensor]:
        """Gradient of the batch's mean loss by W_l, [R, k_l, k_{l+1}]; before penalties, clipping and weight decay."""
        return self._weights(self.whole.gradient)

    @cached_property
    def bias_gradients(self) -> list[Tensor]:
        """The same by b_l, [R, k_{l+1}]; empty with model.bias=false."""
        layout = self.whole.layout
        return [layout.biases(self.whole.gradient, l) for l in range(layout.depth)] if layout.bias else []

    @cached_property
    def updates(self) -> list[Tensor]:
        """ΔW_l of the update that follows, [R, k_l, k_{l+1}]; NaN after the last one."""
        update = self.whole.update
        return self._weights(torch.full_like(self.whole.gradient, torch.nan) if update is None else update)

    def _weights(self, rows: Tensor) -> list[Tensor]:
        return [self.whole.layout.weight(rows, l) for l in range(self.whole.layout.depth)]


def own_measurement(source: str, file: str) -> Callable[[Step], Tensor]:
    """The measurement that a text defines; `file` names it in tracebacks.

    Raises ValueError with the file's name for a result that is neither [R, L] nor [R], and for whatever it raises.
    """
    (own,) = functions_in(source, file, "measure(step)")

    def measure(step: Step) -> Tensor:
        try:
            found = own(Seen(step))
        except Exception as error:
            raise ValueError(f"{file} fails: {type(error).__name__}: {error}") from error
        if wrong := wrong_shape(found, step):
            raise ValueError(f"{file}: {wrong}")
        values: Tensor = found.detach().to(torch.float64)
        return values

    return measure


def wrong_shape(found: object, step: Step) -> str:
    """What is wrong with what measure(step) gave; empty where it is [R, L] or [R]."""
    if not isinstance(found, Tensor):
        return f"measure(step) must give a tensor, got {type(found).__name__}"
    lanes, depth = step.network.lanes, step.layout.depth
    if found.shape not in ((lanes, depth), (lanes,)):
        return f"measure(step) must give [R, L] or [R], here [{lanes}, {depth}] or [{lanes}]; got {list(found.shape)}"
    return "" if not found.is_complex() else "measure(step) must give real numbers"
