"""From a model's config to the shape of its network: the one place that knows both. No torch.

Flow: config → **shapes** → (cohorts, run folders, lanes).
"""

from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.model_schema import Model


def layout_of(model: Model, inputs: int, outputs: int) -> Layout:
    """The shape of a model's network on data with so many inputs and outputs."""
    norm = None
    if model.batch_norm is not None:
        norm = BatchNorm(model.batch_norm, model.batch_norm_affine, model.batch_norm_epsilon, model.batch_norm_momentum)
    return Layout((inputs, *model.widths, outputs), model.bias, norm, model.skip)
