"""What backward passes leave between two updates: δ of each layer, and each weight's gradient before anyone clips it.

Flow: passes, backward → **gathering** → watch. Several backward passes before an update are micro-batches of one step.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.utils.hooks import RemovableHandle

from mlpexp.kernel.measurements.histograms import counted
from mlpexp.watching.layers import OF_EXAMPLES, Layer
from mlpexp.watching.passes import Pass, count

Found = dict[tuple[str, int], Tensor]
"""(what, layer) → a number, or few, still on the device."""


class Gathering:
    """The backward passes since the last update.

    A backward pass counts once it adds to the gradient of a watched weight: `torch.autograd.grad` does not, and neither
    does the first half of a double backward pass. `scale` tells what a loss was multiplied by before its backward pass.
    """

    def __init__(self, wanted: Callable[[], frozenset[str]], scale: Callable[[], Tensor | None]) -> None:
        self.wanted, self.scale = wanted, scale
        self.layers: Sequence[Layer] = ()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.deltas: dict[int, dict[Pass, Found]] = {}
        self.counted: list[int] = []
        self.gradients: Found = {}
        self.versions: dict[int, int] = {}
        self.scaled_by: Tensor | None = None

    def attach(self, layers: Sequence[Layer], biases: bool) -> Iterator[RemovableHandle]:
        """Register a hook on every weight, and bias where they are wanted, that is not frozen."""
        self.layers = layers
        for layer in layers:
            for parameter, is_bias in ((layer.weight, False), (layer.bias if biases else None, True)):
                if parameter is not None and parameter.is_leaf and parameter.requires_grad:
                    yield parameter.register_post_accumulate_grad_hook(partial(self._gradient, layer, is_bias))

    def saw_delta(self, layer: Layer, seen: Pass, squares: Tensor | None, delta: Tensor) -> None:
        """∂loss/∂z of one layer in one pass; `squares` are ‖x_i‖² of its inputs."""
        wanted, delta = self.wanted(), delta.detach()  # where derivatives are made to be derived again, it has a graph
        task = torch._C._current_graph_task_id()  # which backward pass this is; torch has no public name for it
        if task not in self.deltas:
            if self._is_stale():
                self.clear()
            self.deltas[task] = {}
            if self.scaled_by is None:
                self.scaled_by = self.scale()
        found = self.deltas[task].setdefault(seen, {})
        if wanted & {"delta_norm", *OF_EXAMPLES}:
            found["delta", layer.number] = vector_norm(delta, dtype=torch.float64)
        if squares is not None and delta.dim() == 2 and len(delta) == seen.examples:
            norms: Tensor = vector_norm(delta, dim=1, dtype=torch.float64)
            found["moment", layer.number] = (squares * norms.square_()).sum()

    def _gradient(self, layer: Layer, is_bias: bool, parameter: Tensor) -> None:
        """A gradient has grown by that of a backward pass; what it is after the last one stays."""
        wanted = self.wanted()
        if not wanted or parameter.grad is None:
            return
        task = torch._C._current_graph_task_id()
        if task not in self.counted:
            self.counted.append(task)
        gradient = parameter.grad.detach()
        if is_bias:
            self.gradients["bias_gradient", layer.number] = vector_norm(gradient, dtype=torch.float64)
            return
        self.versions[layer.number] = gradient._version
        self.gradients |= measured_gradient(layer, gradient, wanted)

    def _is_stale(self) -> bool:
        """Whether someone changed a gradient since the last backward pass, and no update followed: it was thrown away.

        So it is where a scaler skips a step, and where a loop drops a bad batch. Asks for no number.
        """
        for layer in self.layers:
            if layer.number in self.versions and layer.weight is not None:
                grad = layer.weight.grad
                return grad is None or grad._version != self.versions[layer.number]
        return False

    def uses(self) -> list[tuple[Pass, Found | None]]:
        """The passes that count, with what is of their δ; None where several backward passes went through one."""
        found: dict[Pass, Found | None] = {}
        for task in self.counted:
            for seen, deltas in self.deltas.get(task, {}).items():
                found[seen] = None if seen in found else deltas
        return list(found.items())


def measured_gradient(layer: Layer, gradient: Tensor, wanted: frozenset[str]) -> Found:
    """What is asked for of one weight's gradient."""
    found: Found = {}
    if wanted & {"gradient_norm", *OF_EXAMPLES}:
        found["gradient", layer.number] = vector_norm(gradient, dtype=torch.float64)
    if "gradient_max" in wanted:
        found["gradient_max", layer.number] = gradient.abs().amax()
    if "gradient_zeros" in wanted:
        found["gradient_zeros", layer.number] = count(torch.eq(gradient, 0, out=torch.empty_like(gradient)))
    if "gradient_histogram" in wanted:
        sizes: Any = gradient.detach().abs().to(torch.float64)
        found["gradient_histogram", layer.number] = counted(sizes.log10().view(1, 1, -1))[0, 0]
    return found
