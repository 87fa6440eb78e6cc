"""What mean-field theory says of a run before it is trained; it is kept in the record beside what was measured.

Flow: lanes, theory → **predictions** → cohort_training → result.json.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.config import Config
from mlpexp.kernel.layout import Layout
from mlpexp.lanes import in_theory, scheme_of
from mlpexp.model_schema import Model
from mlpexp.theory import (
    Activation,
    Architecture,
    BatchNorm,
    Unreachable,
    activation,
    log_delta2_variance,
    predict,
    skips_of,
)

GROUPS = 16
"""Examples are taken in so many groups of equal size, each at the mean of its mean squares."""

Theory = dict[str, Any]


def theory_of(config: Config, layout: Layout, lengths: tuple[float, ...]) -> Theory:
    """Of each layer, [L]: `log_delta2` = ln(‖δ_l‖²/‖δ_L‖²), its variance over seeds, and what forward should give.

    `preactivation_square`, `activation_mean` and `activation_std` are the measurements of these names. The variance,
    `log_delta2_variance`, is left out where theory has none: with batch norm or skips. `undefined` is the reason where
    theory says nothing of the run. `lengths` are those of `input_lengths`.
    """
    model = config.model
    if model.dropout:
        return {"undefined": f"theory is of networks without dropout, and model.dropout={model.dropout:g}"}
    scheme = scheme_of(config)
    if scheme.unit_variance:
        return {"undefined": f"initialisation={config.initialisation.name} takes its variances from the data"}
    norm = BatchNorm(model.batch_norm, model.batch_norm_epsilon) if model.batch_norm else None
    weights, biases = scheme.variances(layout)
    return _predicted(_activations(model), tuple(weights), tuple(biases), norm, model.skip, layout.widths, lengths)


def input_lengths(features: NDArray[np.generic]) -> tuple[float, ...]:
    """Mean squares of examples [n, q], in ascending groups of equal size; few stand for many, whose spread matters."""
    squares = np.sort(np.mean(features.astype(np.float64) ** 2, axis=1))
    return tuple(float(group.mean()) for group in np.array_split(squares, min(GROUPS, len(squares))))


def _activations(model: Model) -> tuple[Activation, ...]:
    """σ of each hidden layer, as theory takes it."""
    own = model.activation_sources or {}
    known = {
        name: in_theory(model, name) if name in own else _named(name, tuple(model.parameters_of(name).items()))
        for name in model.activation_names()
    }
    return tuple(known[name] for name in model.activations)


@lru_cache(maxsize=64)
def _named(name: str, parameters: tuple[tuple[str, float], ...]) -> Activation:
    """The same object for the same activation: what is predicted of a network is remembered by it."""
    return activation(name, **dict(parameters))


@lru_cache(maxsize=256)  # the seeds of a point, and points that differ in their optimizer alone, are one network here
def _predicted(
    hidden: tuple[Activation, ...],
    sigma_w2: tuple[float, ...],
    sigma_b2: tuple[float, ...],
    norm: BatchNorm | None,
    skip: bool,
    widths: tuple[int, ...],
    lengths: tuple[float, ...],
) -> Theory:
    try:
        profile = predict(Architecture(hidden, sigma_w2, sigma_b2, norm, skips_of(widths) if skip else None), lengths)
        found = {
            "log_delta2": profile.log_delta2,
            "preactivation_square": profile.q,
            "activation_mean": profile.mean,
            "activation_std": profile.std,
        }
        if not (norm or skip):
            found["log_delta2_variance"] = log_delta2_variance(hidden, list(profile.q[:-1]), widths[1:-1])
    except (Unreachable, FloatingPointError, ZeroDivisionError) as error:
        return {"undefined": str(error)}
    if not all(np.isfinite(values).all() for values in found.values()):
        return {"undefined": "theory has no finite numbers of these weights"}
    return {name: [float(f"{value:.9g}") for value in values] for name, values in found.items()}
