"""Every quantity that can be measured: its name, what it is, its unit and source, its shape, and how often by default.

Flow: **measurement_catalogue** → measurement_schema → config; the functions of these names are in kernel/measurements.
No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["scalars", "probes", "histograms", "spectra", "scores"]
Atom = int | Literal["log", "epoch", "ends"]


@dataclass(frozen=True)
class Quantity:
    """One entry. `file` is where its function is; `source` is a paper or an equation of the field."""

    name: str
    kind: Kind
    shape: Literal["[R, L]", "[R, L, 2 + 32]", "[R, K]", "[R]", "[R, parts]"]
    unit: str
    description: str
    source: str
    file: str


GRADIENTS, UNITS, WEIGHTS = (f"mlpexp/kernel/measurements/{name}.py" for name in ("gradients", "units", "weights"))
HISTOGRAMS, SPECTRA = (f"mlpexp/kernel/measurements/{name}.py" for name in ("histograms", "spectra"))
SHARPNESS, CALIBRATION = "mlpexp/kernel/measurements/sharpness.py", "mlpexp/kernel/calibration.py"

CATALOGUE: dict[str, Quantity] = {one.name: one for one in (
    Quantity("gradient_norm", "scalars", "[R, L]", "loss per weight",
             "Frobenius norm of the batch's mean gradient of W_l; without biases and penalty",
             "Glorot & Bengio 2010", GRADIENTS),
    Quantity("gradient_max", "scalars", "[R, L]", "loss per weight",
             "largest |g| of the batch's mean gradient of W_l", "max norm", GRADIENTS),
    Quantity("gradient_zeros", "scalars", "[R, L]", "share",
             "exact zeros in the batch's mean gradient of W_l: what no example of the batch can move",
             "count", GRADIENTS),
    Quantity("delta_norm", "scalars", "[R, L]", "loss per unit",
             "√(mean over the batch of ‖δ_l‖²), summed over units: the backpropagated signal",
             "Schoenholz et al. 2017, eq. 15", GRADIENTS),
    Quantity("signal_norm", "scalars", "[R, L]", "loss per unit",
             "√(mean over the batch of ‖∂ℓ/∂X_{l+1}‖²) at a hidden layer's outputs: what skip connections pass on",
             "Yang & Schoenholz 2017", GRADIENTS),
    Quantity("gradient_second_moment", "scalars", "[R, L]", "loss² per weight²",
             "M2_l = mean over the batch of ‖x_l‖²‖δ_l‖² (+ ‖δ_l‖² where there are biases): squared norm of the "
             "examples' own gradients of W_l and b_l", "Goodfellow 2015, arXiv 1510.01799", GRADIENTS),
    Quantity("gradient_variance", "scalars", "[R, L]", "loss² per weight²",
             "trΣ_l = (M2_l − ‖ḡ_l‖²)B/(B − 1): summed variances of the examples' own gradients; unbiased",
             "McCandlish et al. 2018, appendix A", GRADIENTS),
    Quantity("gradient_square", "scalars", "[R, L]", "loss² per weight²",
             "‖G_l‖² = (B‖ḡ_l‖² − M2_l)/(B − 1) of the expected gradient; unbiased, so it may be negative",
             "McCandlish et al. 2018, appendix A", GRADIENTS),
    Quantity("activation_mean", "scalars", "[R, L]", "output",
             "mean of X_{l+1} over examples and units, before dropout (of the last layer: z_L)",
             "Glorot & Bengio 2010", UNITS),
    Quantity("activation_std", "scalars", "[R, L]", "output",
             "standard deviation of X_{l+1} over examples and units", "Glorot & Bengio 2010", UNITS),
    Quantity("activation_zeros", "scalars", "[R, L]", "share",
             "exact zeros in X_{l+1}: sparsity", "Glorot et al. 2011", UNITS),
    Quantity("preactivation_square", "scalars", "[R, L]", "output²",
             "q_l = mean of z_l² over examples and units", "Poole et al. 2016, eq. 2", UNITS),
    Quantity("saturation", "scalars", "[R, L]", "share",
             "(example, unit) pairs with |σ′| < 0.05·max |σ′|; sigmoid, tanh and softsign alone",
             "Glorot & Bengio 2010", UNITS),
    Quantity("update_ratio", "scalars", "[R, L]", "ratio",
             "‖ΔW_l‖/‖W_l‖ of the update that follows", "LeCun et al. 1998; You et al. 2017", WEIGHTS),
    Quantity("weight_norm", "scalars", "[R, L]", "weight", "Frobenius norm of W_l", "Frobenius norm", WEIGHTS),
    Quantity("weight_max", "scalars", "[R, L]", "weight", "largest |w| of W_l", "max norm", WEIGHTS),
    Quantity("weight_distance", "scalars", "[R, L]", "weight",
             "‖W_l − W_l(0)‖: how far training has come", "Hoffer et al. 2017", WEIGHTS),
    Quantity("dead_units", "probes", "[R, L]", "share",
             "units of a hidden layer with σ′ = 0 for every example of the probe; at step 0 those born off",
             "Lu et al. 2020", UNITS),
    Quantity("killed_units", "probes", "[R, L]", "share",
             "units that are dead now and were not before training; the dead others were born off",
             "Lu et al. 2020", UNITS),
    Quantity("gradient_histogram", "histograms", "[R, L, 2 + 32]", "count",
             "log₁₀|g| over the batch's mean gradient of W_l, without exact zeros: least, largest, 32 counts",
             "Glorot & Bengio 2010", HISTOGRAMS),
    Quantity("activation_histogram", "histograms", "[R, L, 2 + 32]", "count",
             "X_{l+1} over examples and units: least, largest, 32 counts", "Glorot & Bengio 2010", HISTOGRAMS),
    Quantity("delta_histogram", "histograms", "[R, L, 2 + 32]", "count",
             "δ_l over examples and units: least, largest, 32 counts", "Glorot & Bengio 2010", HISTOGRAMS),
    Quantity("weight_spectral_norm", "spectra", "[R, L]", "weight",
             "largest singular value of W_l", "Yoshida & Miyato 2017", WEIGHTS),
    Quantity("effective_rank", "spectra", "[R, L]", "directions",
             "exp of the entropy of the normalised singular values of X_{l+1} on the probe",
             "Roy & Vetterli 2007", SPECTRA),
    Quantity("jacobian_singular_values", "spectra", "[R, K]", "ratio",
             "singular values of ∂X_L/∂X_1 (last hidden layer against input), largest first, mean over 16 examples of "
             "the probe", "Saxe et al. 2014; Pennington et al. 2017", SPECTRA),
    Quantity("sharpness", "spectra", "[R]", "loss per parameter²",
             "largest eigenvalue of the Hessian of the mean loss on the probe, by 30 steps of Lanczos' method",
             "Pearlmutter 1994; Cohen et al. 2021", SHARPNESS),
    Quantity("brier", "scores", "[R, parts]", "squared probability",
             "mean over examples of Σ(f − y)², with a single output (f − y)²; of every part at the end in any case",
             "Brier 1950", CALIBRATION),
    Quantity("calibration_error", "scores", "[R, parts]", "share",
             "expected calibration error of the predicted class in 15 bins of equally many examples; of every part at "
             "the end in any case", "Naeini et al. 2015; Nguyen & O'Connor 2015", CALIBRATION),
)}  # fmt: skip

DEFAULT_SCHEDULES: dict[str, Atom | None] = {
    "scalars": None,  # as `measurements.every` says
    "probes": "epoch",
    "histograms": "log",
    "spectra": "ends",
    "scores": "epoch",
}

PRESETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "basic": (
        "gradient_norm", "delta_norm", "activation_mean", "activation_std", "activation_zeros", "update_ratio",
    ),
    "full": tuple(CATALOGUE),
}  # fmt: skip
"""Word of `measurements.quantities` → what it stands for, where a run defines it."""

ON_PROBE = {"dead_units", "killed_units", "effective_rank", "jacobian_singular_values", "sharpness"}
"""What looks at the probe."""


OWN_KIND: Kind = "scalars"
"""What a quantity of the user's own is: a number a layer or a run, measured as often as the scalars."""


def kind_of(name: str) -> Kind:
    """The kind of a quantity of the catalogue, or of the user's own."""
    return CATALOGUE[name].kind if name in CATALOGUE else OWN_KIND


def of_kind(*kinds: str) -> list[str]:
    """Names of the quantities of these kinds, in the catalogue's order."""
    return [name for name, one in CATALOGUE.items() if one.kind in kinds]


def numbers_a_step(name: str, depth: int, widths: Sequence[int]) -> int:
    """How many numbers one measurement of a quantity is, of one run."""
    per_layer = {"[R, L]": 1, "[R, L, 2 + 32]": 34}
    shape = CATALOGUE[name].shape if name in CATALOGUE else "[R, L]"  # of the user's own: that or less
    if shape in per_layer:
        return depth * per_layer[shape]
    return min(widths[0], widths[-2]) if shape == "[R, K]" else 1
