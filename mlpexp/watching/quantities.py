"""From the sums of a step to the quantities of mlpexp/measurement_catalogue.py, many steps at once. NumPy only.

Flow: buffer → **quantities** → table, tracking. Definitions are those of kernel/measurements; where a step had several
micro-batches its examples are all of theirs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlpexp.records import Array

Item = tuple[str, int, int, int]
"""What a number is, of which forward pass (−1: of the whole step), of which layer (0: of all), how many numbers."""


@dataclass(frozen=True)
class Recipe:
    """What the numbers of a row are. Rows of one recipe are worked out together.

    `examples` and `counts` have an entry a forward pass: B, and (layer, numbers) of its outputs. `calls` counts the
    backward passes of the step, `reduction` says how they make a loss of its examples; `sizes` are those of weights.
    """

    items: tuple[Item, ...]
    names: tuple[str, ...]
    examples: tuple[int, ...]
    counts: tuple[tuple[tuple[int, int], ...], ...]
    calls: int
    reduction: str
    sizes: tuple[int, ...]

    def factor(self, use: int) -> float:
        """What ∂loss/∂z_i of a pass is multiplied by to be that of example i's own loss."""
        if self.reduction == "sum":
            return 1.0
        return float(self.examples[use] * (self.calls if self.reduction == "mean" else 1))


def worked_out(recipe: Recipe, numbers: Array) -> dict[str, Array]:
    """Quantity → [t, L] (histograms [t, L, 2 + bins]) of rows [t, n]; NaN where a layer does not define it."""
    rows = Rows(recipe, numbers)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: np.stack(list(_layers(QUANTITIES[name], rows)), axis=1) for name in recipe.names}


def _layers(quantity: "Quantity", rows: "Rows") -> Iterator[Array]:
    found = [quantity(rows, layer) for layer in range(1, len(rows.recipe.sizes) + 1)]
    shape = next((one.shape for one in found if one is not None), (rows.length,))
    yield from (np.full(shape, np.nan) if one is None else one for one in found)


class Rows:
    """Numbers [t, n] of steps, by what they are."""

    def __init__(self, recipe: Recipe, numbers: Array) -> None:
        self.recipe, self.length = recipe, len(numbers)
        self.found: dict[tuple[str, int, int], Array] = {}
        place = 0
        for what, use, layer, size in recipe.items:
            self.found[what, use, layer] = numbers[:, place] if size == 1 else numbers[:, place : place + size]
            place += size

    def get(self, what: str, layer: int) -> Array | None:
        """A number of the whole step."""
        return self.found.get((what, -1, layer))

    def uses(self, what: str, layer: int) -> list[tuple[int, Array]]:
        """A number of each pass that has it."""
        every = range(len(self.recipe.examples))
        return [(use, self.found[what, use, layer]) for use in every if (what, use, layer) in self.found]

    def count(self, use: int, layer: int) -> int:
        """How many outputs a layer had in a pass."""
        return dict(self.recipe.counts[use])[layer]

    @cached_property
    def scale(self) -> Array:
        """What losses were multiplied by before their backward passes, [t]."""
        found = self.get("scale", 0)
        return np.ones(self.length) if found is None else found

    def gradients(self, what: str, layer: int) -> Array | None:
        """A norm of the step's gradient, brought to that of the examples' mean loss."""
        found = self.get(what, layer)
        if found is None:
            return None
        return found / (self.scale * (sum(self.recipe.examples) if self.recipe.reduction == "sum" else 1))


Quantity = Callable[[Rows, int], Array | None]


def _gradient_norm(rows: Rows, layer: int) -> Array | None:
    return rows.gradients("gradient", layer)


def _gradient_max(rows: Rows, layer: int) -> Array | None:
    return rows.gradients("gradient_max", layer)


def _gradient_zeros(rows: Rows, layer: int) -> Array | None:
    found = rows.get("gradient_zeros", layer)
    return None if found is None else found / rows.recipe.sizes[layer - 1]


def _gradient_histogram(rows: Rows, layer: int) -> Array | None:
    found = rows.get("gradient_histogram", layer)
    if found is None:
        return None
    divisor = rows.scale * (sum(rows.recipe.examples) if rows.recipe.reduction == "sum" else 1)
    return np.concatenate([found[:, :2] - np.log10(divisor)[:, None], found[:, 2:]], axis=1)


def _delta_norm(rows: Rows, layer: int) -> Array | None:
    """√(Σ ‖δ_i‖² / N) over the N examples of all passes."""
    uses = rows.uses("delta", layer)
    if not uses:
        return None
    squares = sum((rows.recipe.factor(use) * norm / rows.scale) ** 2 for use, norm in uses)
    found: Array = np.sqrt(squares / sum(rows.recipe.examples[use] for use, _ in uses))
    return found


def _second_moment(rows: Rows, layer: int) -> Array | None:
    uses = rows.uses("moment", layer)
    if not uses:
        return None
    total: Array = np.zeros(rows.length)
    for use, moment in uses:
        total = total + moment * (rows.recipe.factor(use) / rows.scale) ** 2
    found: Array = total / sum(rows.recipe.examples[use] for use, _ in uses)
    return found


def _mean_gradient_square(rows: Rows, layer: int) -> tuple[Array, int] | None:
    """‖ḡ_l‖² of W_l and b_l, and the number of examples."""
    norm, bias = rows.gradients("gradient", layer), rows.gradients("bias_gradient", layer)
    if norm is None:
        return None
    examples = sum(rows.recipe.examples[use] for use, _ in rows.uses("moment", layer))
    return (norm**2 if bias is None else norm**2 + bias**2), examples


def _gradient_variance(rows: Rows, layer: int) -> Array | None:
    moment, mean = _second_moment(rows, layer), _mean_gradient_square(rows, layer)
    if moment is None or mean is None or mean[1] == 1:
        return None
    square, examples = mean
    found: Array = (moment - square) * (examples / (examples - 1))
    return found


def _gradient_square(rows: Rows, layer: int) -> Array | None:
    moment, mean = _second_moment(rows, layer), _mean_gradient_square(rows, layer)
    if moment is None or mean is None or mean[1] == 1:
        return None
    square, examples = mean
    found: Array = (square * examples - moment) / (examples - 1)
    return found


def _activation_mean(rows: Rows, layer: int) -> Array | None:
    uses = rows.uses("sum", layer)
    if not uses:
        return None
    return sum((total for _, total in uses), np.zeros(rows.length)) / sum(rows.count(use, layer) for use, _ in uses)


def _activation_std(rows: Rows, layer: int) -> Array | None:
    """Of all passes together: what they spread about their own means, and those about the common one."""
    uses, mean = rows.uses("spread", layer), _activation_mean(rows, layer)
    if not uses or mean is None:
        return None
    sums, numbers = dict(rows.uses("sum", layer)), 0
    squares: Array = np.zeros(rows.length)
    for use, spread in uses:
        count = rows.count(use, layer)
        squares = squares + spread**2 + count * (sums[use] / count - mean) ** 2
        numbers += count
    found: Array = np.sqrt(squares / numbers)
    return found


def _activation_zeros(rows: Rows, layer: int) -> Array | None:
    return _pooled(rows, "zeros", layer)


def _saturation(rows: Rows, layer: int) -> Array | None:
    return _pooled(rows, "saturated", layer)


def _preactivation_square(rows: Rows, layer: int) -> Array | None:
    uses = rows.uses("z", layer)
    if not uses:
        return None
    total = sum((norm**2 for _, norm in uses), np.zeros(rows.length))
    return total / sum(rows.count(use, layer) for use, _ in uses)


def _update_ratio(rows: Rows, layer: int) -> Array | None:
    update, weight = rows.get("update", layer), rows.get("weight_norm", layer)
    return None if update is None or weight is None else update / weight


def _pooled(rows: Rows, what: str, layer: int) -> Array | None:
    """A count over all passes, as a share of all numbers."""
    uses = rows.uses(what, layer)
    if not uses:
        return None
    return sum((count for _, count in uses), np.zeros(rows.length)) / sum(rows.count(use, layer) for use, _ in uses)


def _as_it_is(what: str) -> Quantity:
    return lambda rows, layer: rows.get(what, layer)


QUANTITIES: dict[str, Quantity] = {
    "gradient_norm": _gradient_norm,
    "gradient_max": _gradient_max,
    "gradient_zeros": _gradient_zeros,
    "gradient_histogram": _gradient_histogram,
    "delta_norm": _delta_norm,
    "gradient_second_moment": _second_moment,
    "gradient_variance": _gradient_variance,
    "gradient_square": _gradient_square,
    "activation_mean": _activation_mean,
    "activation_std": _activation_std,
    "activation_zeros": _activation_zeros,
    "preactivation_square": _preactivation_square,
    "saturation": _saturation,
    "update_ratio": _update_ratio,
} | {
    name: _as_it_is(name)
    for name in (
        "weight_norm", "weight_max", "weight_distance", "weight_spectral_norm", "dead_units", "killed_units",
    )
}  # fmt: skip
