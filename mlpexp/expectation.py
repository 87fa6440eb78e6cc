"""What theory expects of a run before it trains: from its config to ‖δ‖ by layer. No torch.

Flow: config, theory → **expectation** → lanes (by how much weights are scaled), gradient_flow (the expected profile).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from mlpexp.config import Config
from mlpexp.critical_weights import sigma_w
from mlpexp.kernel.schemes import SCHEMES, Scheme
from mlpexp.records import Array
from mlpexp.shapes import layout_of
from mlpexp.theory import Activation, NotCritical, activation, predict
from mlpexp.theory.profiles import Architecture, BatchNorm, skips_of


def scheme_of(config: Config, own: Callable[[str], Activation]) -> Scheme:
    """How a run's weights are scaled; `own` gives the functions of a file of the user's own. Raises NotCritical."""
    keys, model = config.initialisation.model_dump(exclude={"name", "examples"}), config.model
    if config.initialisation.name == "critical":
        keys["sigma_w"] = sigma_w(model, config.initialisation.sigma_b, own)
    return SCHEMES[config.initialisation.name](**keys)


def expected_profile(config: Config, widths: Sequence[int]) -> Array | None:
    """ln(‖δ_l‖/‖δ_L‖) by layer, [L], of wide layers on standardised inputs; `widths` are k_1 … k_{L+1}.

    None where theory says nothing: dropout, inputs of another scale, weights that ask the data, σ of the user's own.
    """
    model = config.model
    if model.dropout or config.data.normalisation != "standard":
        return None
    try:
        weights, biases = scheme_of(config, _unknown).variances(layout_of(model, widths[0], widths[-1]))
        names = [(name, tuple(model.parameters_of(name).items())) for name in model.activations]
        norm = (model.batch_norm, model.batch_norm_epsilon) if model.batch_norm else None
        return _profile(tuple(names), tuple(weights), tuple(biases), norm, tuple(widths) if model.skip else None)
    except (NotCritical, ValueError):
        return None


@lru_cache(maxsize=256)
def _profile(
    names: tuple[tuple[str, tuple[tuple[str, float], ...]], ...],
    weights: tuple[float, ...],
    biases: tuple[float, ...],
    norm: tuple[str, float] | None,
    skipped: tuple[int, ...] | None,
) -> Array:
    """Seeds, optimizers and sizes of steps share a profile."""
    hidden = [activation(name, **dict(parameters)) for name, parameters in names]
    batch_norm = BatchNorm(*norm) if norm else None  # type: ignore[arg-type]
    skips = skips_of(skipped) if skipped else None
    found: Array = np.asarray(predict(Architecture(hidden, weights, biases, batch_norm, skips), 1.0).log_delta2) / 2
    return found


def _unknown(name: str) -> Activation:
    raise NotCritical(f"{name} is a file of the user's own")
