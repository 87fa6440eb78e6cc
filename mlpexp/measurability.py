"""Which quantities a run defines: a preset leaves out the others, and a request by name is refused with the reason.

Flow: config → **measurability** → planning, lanes.
"""

from mlpexp.config import Config, output_and_loss
from mlpexp.measurement_catalogue import PRESETS, kind_of
from mlpexp.measurement_schema import Measurements
from mlpexp.model_schema import PROBABILITIES, Model

SATURATING = ("sigmoid", "tanh", "softsign")
HIDDEN_ONLY = ("dead_units", "killed_units", "jacobian_singular_values")
OF_EXAMPLES = ("gradient_second_moment", "gradient_variance", "gradient_square")


def undefined(name: str, config: Config, task: str, examples: int) -> str | None:
    """Why a run does not define a quantity; None where it does. `examples` is their number in the training part."""
    model, training = config.model, config.training
    if name in HIDDEN_ONLY and model.depth == 1:
        return "it is of hidden layers, and model.depth=1 has none"
    if reason := undefined_by_activation(name, model):
        return reason
    if name == "signal_norm" and not model.skip:
        return "it is of networks with model.skip=true; in others δ is what is passed on (delta_norm)"
    if name in OF_EXAMPLES and model.batch_norm is not None:
        return f"with model.batch_norm={model.batch_norm} no example of a batch has a gradient of its own"
    if name in OF_EXAMPLES[1:] and (examples if training.sampler == "full" else training.batch_size) == 1:
        return "one example has no variance; choose training.batch_size ≥ 2"
    if name == "sharpness" and model.batch_norm is not None:
        return f"the Hessian is worked out for networks without batch norm, and model.batch_norm={model.batch_norm}"
    if kind_of(name) == "scores" and (task == "regression" or output_and_loss(config, task)[0] not in PROBABILITIES):
        return "it is of probabilities, and the outputs are none"
    return None


def undefined_by_activation(name: str, model: Model) -> str | None:
    """Why the hidden layers' activations leave a quantity undefined; None where they do not."""
    used = model.activation_names() if model.depth > 1 else []
    if name == "saturation" and not set(used) & set(SATURATING):
        return f"it is of {', '.join(SATURATING)}, and no hidden layer has one of them"
    own = [file for file in used if file in (model.activation_sources or {})]
    if name == "sharpness" and own:
        return f"the Hessian needs σ″, which a file of your own does not tell ({', '.join(own)})"
    return None


def settled(config: Config, task: str, examples: int) -> Measurements:
    """The measurements with presets spelt out; what the run does not define is in `left_out`, with the reason."""
    asked = config.measurements
    reasons = {name: why for name in asked.names if (why := undefined(name, config, task, examples))}
    update = {
        "quantities": asked.spelt(name for name in asked.names if name not in reasons),
        "left_out": {**asked.left_out, **reasons},
    }
    return asked.model_copy(update=update)


def refused(config: Config, task: str, examples: int) -> list[str]:
    """A line for each quantity that is asked for by name and that the run does not define."""
    asked = config.measurements
    found = [(name, undefined(name, config, task, examples)) for name in asked.by_name]
    way_out = f"take it off the list, or take a preset ({', '.join(PRESETS)}), which leaves it out"
    return [f"measurements.quantities: {name} is undefined here: {why}; {way_out}" for name, why in found if why]
