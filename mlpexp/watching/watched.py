"""A module that is being watched: what is due at which update, the rows that it leaves, what is undefined and why.

Flow: passes, gathering, weights → **watched** → buffer → quantities → table, picture, MLflow.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlpexp.kernel.measurements.units import SATURATED_BEYOND
from mlpexp.measurement_catalogue import CATALOGUE
from mlpexp.measurement_schema import STEPS_A_DECADE
from mlpexp.records import Array, layer_metric
from mlpexp.watching.buffer import Buffer, Piece, Row
from mlpexp.watching.gathering import Found, Gathering, measured_gradient
from mlpexp.watching.layers import OF_EXAMPLES, OF_OUTPUTS, OF_PROBE, Layer, layers_of, settled
from mlpexp.watching.passes import Pass, Passes
from mlpexp.watching.probe import dead_units
from mlpexp.watching.quantities import Item, Recipe
from mlpexp.watching.record import keep_files, table_of
from mlpexp.watching.tracking import RunLog
from mlpexp.watching.weights import Weights

if TYPE_CHECKING:
    import pandas as pd

    from mlpexp.flow_figures import Sheet

Reduction = Literal["mean", "sum", "added"]
LOG_STEPS = frozenset({0} | {round(10 ** (j / STEPS_A_DECADE)) for j in range(10 * STEPS_A_DECADE)})
BLOCK = 128
"""Steps that stay on the device together."""

CALLED_AGAIN = "the layer is called more than once in a forward pass"
GATE = "the layer's output goes into an activation and past it: the function that both make is not known"
NOT_CALLED = "the layer was not called in the first step: who only takes its weight is not seen"
NO_EXAMPLES = "what enters the layer is not a row for each example"
UNSATURABLE = f"it is of {', '.join(SATURATED_BEYOND)}"
SEVERAL_BACKWARD = "several backward passes go through one forward pass, and δ is their sum"


class Watched:
    """A module that is being watched; what was measured so far can be asked for at any time.

    `left_out` tells what is not measured, and why: a quantity, or `quantity/layer_02`.
    """

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, quantities: str | Sequence[str], every: int,
        layers: Sequence[str] | None, probe: Any, reduction: Reduction, scaler: "torch.amp.GradScaler | None",
        run_id: str | None, prefix: str,
    ) -> None:  # fmt: skip
        self.layers = layers_of(module, layers)
        names, self.left_out = settled(quantities, self.layers, module, reduction, probe is not None)
        self.names = frozenset(names)
        self.module, self.every, self.probe, self.reduction, self.scaler = module, every, probe, reduction, scaler
        self.by_name = {quantities} if isinstance(quantities, str) else set(quantities)
        self.device = next(module.parameters()).device
        self.made = torch.zeros((), device=self.device)
        optimized = {id(one) for group in optimizer.param_groups for one in group["params"]}
        self.weights = Weights(self.layers, names, optimized)
        self.run = RunLog.of(run_id, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")
        self.updates, self.is_open = 0, True
        self.now = self._due()
        self.before: Found = {}
        self.born_off: dict[int, Tensor] = {}
        self.pieces: list[Piece] = []
        self.buffer = Buffer(self._read, BLOCK)
        self.gathering = Gathering(self._wanted, self._scale)
        self.passes = Passes(self._wanted, self._saw_delta)
        self.hooks = [
            *self.passes.attach(module, self.layers),
            *self.gathering.attach(self.layers, biases=bool(self.names & set(OF_EXAMPLES))),
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
        ]
        if self.run is not None:
            self.run.describe(self.layers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take every hook away; write and log what is whole: the steps whose update was made. A second time nothing."""
        if not self.is_open:
            return
        self.is_open, self.now = False, frozenset()
        for hook in self.hooks:
            hook.remove()
        self.buffer.close()
        if self.run is not None and self.pieces:
            keep_files(self.run, self.table(), self.plot if "delta_norm" in self.names else None, len(self.layers))
            self.run.warn()

    # --- in the loop ---

    def _wanted(self) -> frozenset[str]:
        """What is to be measured in the step that is under way."""
        return self.now

    def _due(self) -> frozenset[str]:
        """What is to be measured in the step after these updates."""
        on_time = self.updates % self.every == 0
        rarely = self.updates in LOG_STEPS
        if on_time and rarely:
            return self.names
        return frozenset(one for one in self.names if (on_time if CATALOGUE[one].kind == "scalars" else rarely))

    def _scale(self) -> Tensor | None:
        """What the scaler multiplies losses by now, left on the device."""
        if self.scaler is None or not self.scaler.is_enabled():
            return None
        found: Tensor = self.scaler.scale(torch.ones((), device=self.device))
        return found

    def _saw_delta(self, layer: Layer, seen: Pass, squares: Tensor | None, delta: Tensor) -> None:
        if self.is_open:
            self.gathering.saw_delta(layer, seen, squares, delta)

    def _before_update(self, *_: Any) -> None:
        wanted = self._wanted()
        self.before = self.weights.measured(wanted)
        if wanted & set(OF_PROBE):
            dead = dead_units(self.module, self.layers, self.probe)
            self.born_off = self.born_off or dead
            for number, units in dead.items():
                self.before["dead_units", number] = units.sum() / len(units)
                self.before["killed_units", number] = (units & ~self.born_off[number]).sum() / len(units)

    def _after_update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        wanted = self._wanted()
        if wanted:
            found = self.before | self.weights.updates()
            self.buffer.add(self._row(found, wanted, getattr(optimizer, "found_inf", None)))
        self.gathering.clear()
        self.before = {}
        self.updates += 1
        self.now = self._due()

    @torch.no_grad()
    def _row(self, found: Found, wanted: frozenset[str], skipped: Tensor | None) -> Row:
        """All numbers of the step behind one another, and what they are."""
        uses = self.gathering.uses()
        found = found | self._gradients(wanted)
        if self.gathering.scaled_by is not None:
            found["scale", 0] = self.gathering.scaled_by
        numbers = {(what, -1, layer): value for (what, layer), value in found.items()}
        if uses and not self.updates:
            self._leave_out_uncalled({number for seen, _ in uses for number in seen.called})
        for use, (seen, deltas) in enumerate(uses):
            self._leave_out(seen, deltas)
            numbers |= {
                (what, use, layer): value
                for (what, layer), value in (seen.sums | (deltas or {})).items()
                if layer not in seen.repeated
            }
        items: list[Item] = [(*key, value.numel()) for key, value in numbers.items()]
        items.sort(key=lambda item: item[3])  # stable: single numbers first
        device = self.device
        values = [numbers[item[:3]] for item in items]
        if any(value.device != device for value in values):
            values = [value.to(device, non_blocking=True) for value in values]
        single = [value for value in values if value.dim() == 0]
        last = self.made if skipped is None else skipped.reshape(()).to(device, non_blocking=True)
        row = torch.stack([*single, last]).to(torch.float64)
        if len(single) < len(values):
            row = torch.cat([row[:-1], *values[len(single) :], row[-1:]])
        recipe = Recipe(
            items=tuple(items),
            names=tuple(name for name in CATALOGUE if name in wanted),
            examples=tuple(seen.examples for seen, _ in uses),
            counts=tuple(tuple(seen.counts.items()) for seen, _ in uses),
            calls=len(self.gathering.counted),
            reduction=self.reduction,
            sizes=tuple(0 if one.weight is None else one.weight.numel() for one in self.layers),
        )
        return Row(self.updates, recipe, row)

    def _gradients(self, wanted: frozenset[str]) -> Found:
        """As backward passes left them; those that came another way (`torch.autograd.grad`), as they are now."""
        found = dict(self.gathering.gradients)
        for one in self.layers:
            if one.weight is None or one.weight.grad is None or one.number in self.gathering.versions:
                continue
            if self.gathering.scaled_by is None:  # else nobody knows whether it is scaled
                found |= measured_gradient(one, one.weight.grad, wanted)
        return found

    def _leave_out(self, seen: Pass, deltas: Found | None) -> None:
        """Tell what a pass turned out not to define; where that is all of a quantity asked for by name, refuse it."""
        reasons: dict[str, str] = {}
        for name in self.names & {*OF_OUTPUTS, *OF_EXAMPLES, "delta_norm"}:
            void = dict.fromkeys(seen.repeated, CALLED_AGAIN)
            if name == "saturation":
                void |= {one: UNSATURABLE for one in seen.counts if ("saturated", one) not in seen.sums}
            if name in OF_OUTPUTS and name != "preactivation_square":
                void |= dict.fromkeys(seen.gates, GATE)
            elif name not in OF_OUTPUTS and deltas is None:
                void |= {one.number: SEVERAL_BACKWARD for one in self.layers}
            elif name in OF_EXAMPLES and deltas is not None:
                void |= {one: NO_EXAMPLES for what, one in deltas if what == "delta" and ("moment", one) not in deltas}
            reasons |= {layer_metric(name, number, len(self.layers)): why for number, why in void.items()}
            if name in self.by_name and len(void) == len(self.layers):
                raise ValueError(f"watch: {name} is undefined here: {next(iter(void.values()))}; take it off the list")
        self.left_out = reasons | self.left_out

    def _leave_out_uncalled(self, called: set[int]) -> None:
        """Tell which layers the first step did not call: some modules take the weight of a layer and pass it by."""
        for one in self.layers:
            for name in self.names & {*OF_OUTPUTS, *OF_EXAMPLES, "delta_norm"}:
                if one.number not in called:
                    self.left_out.setdefault(layer_metric(name, one.number, len(self.layers)), NOT_CALLED)

    def _read(self, piece: Piece) -> None:
        """Keep and log a piece; in the buffer's thread."""
        self.pieces.append(piece)
        if self.run is not None:
            self.run.log(piece, len(self.layers))

    # --- what was measured ---

    def steps(self, quantity: str) -> NDArray[np.int64]:
        """Updates made before each row of a quantity, [t]."""
        return self._measured(quantity)[0]

    def __getitem__(self, quantity: str) -> Array:
        """[t, L]; NaN where a layer does not define it. A histogram is [t, L, 2 + 32]: least, largest, 32 counts."""
        return self._measured(quantity)[1]

    def _measured(self, quantity: str) -> tuple[NDArray[np.int64], Array]:
        if self.is_open:
            self.buffer.settle()
        if quantity not in self.names:
            raise KeyError(f"{quantity} is not measured here; {', '.join(self.columns)} are")
        own = [(steps, found[quantity]) for steps, found in self.pieces if quantity in found]
        if not own:
            return np.zeros(0, dtype=np.int64), np.zeros((0, len(self.layers)))
        return np.concatenate([steps for steps, _ in own]), np.concatenate([values for _, values in own])

    @property
    def columns(self) -> list[str]:
        """What is measured, in the catalogue's order."""
        return [name for name in CATALOGUE if name in self.names]

    def table(self) -> "pd.DataFrame":
        """A row a number: `step`, `name` (`delta_norm`), `layer` (1 is next to the input), `module`, `value`.

        What a layer does not define has no row; histograms are not in it.
        """
        return table_of({name: self._measured(name) for name in self.columns}, self.layers)

    def plot(self) -> "Sheet":
        """The gradient's flow: ‖δ_l‖ layer over step, and its profile over depth at both ends. ValueError without δ."""
        from mlpexp.watching.picture import picture

        return picture(*self._measured("delta_norm"), title=type(self.module).__name__)
