"""What is measured of each layer and network, from what forward and backward already hold; one function a quantity.

`[R, L]` of each layer, `[R, L, 2 + bins]` histograms, `[R, K]` a spectrum, `[R]` of the run. All lanes and all layers
of one shape are measured in one operation, and squares are summed in double precision: a plain float32 norm of numbers
around 1e-25 reads 0 and fakes vanishing. What each quantity means, and where it comes from, is in
mlpexp/measurement_catalogue.py.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from torch import Tensor

from mlpexp.kernel.measurements import gradients, histograms, spectra, units, weights
from mlpexp.kernel.measurements.sharpness import sharpness
from mlpexp.kernel.measurements.step import Probe as Probe
from mlpexp.kernel.measurements.step import Step as Step

QUANTITIES: dict[str, Callable[[Step], Tensor]] = {
    one.__name__: one
    for one in (
        gradients.gradient_norm, gradients.gradient_max, gradients.gradient_zeros, gradients.delta_norm,
        gradients.signal_norm, gradients.gradient_second_moment, gradients.gradient_variance,
        gradients.gradient_square, units.activation_mean, units.activation_std, units.activation_zeros,
        units.preactivation_square, units.saturation, units.dead_units, units.killed_units, weights.update_ratio,
        weights.weight_norm, weights.weight_max, weights.weight_distance, weights.weight_spectral_norm,
        histograms.gradient_histogram, histograms.activation_histogram, histograms.delta_histogram,
        spectra.effective_rank, spectra.jacobian_singular_values, sharpness,
    )
}  # fmt: skip

DOUBLE = {
    "gradient_second_moment", "gradient_variance", "gradient_square", "preactivation_square", "effective_rank",
    "jacobian_singular_values", "sharpness", "gradient_histogram", "activation_histogram", "delta_histogram",
}  # fmt: skip
"""Kept in double precision whatever training has: squares of 1e-25 are no float32 numbers."""


def measure(
    quantities: Iterable[str], step: Step, own: Mapping[str, Callable[[Step], Tensor]] = MappingProxyType({})
) -> dict[str, Tensor]:
    """Each named quantity; `own` are those of the user's own."""
    return {name: (own[name] if name in own else QUANTITIES[name])(step) for name in quantities}
