"""Which layers of a torch module are watched, and which quantities they define.

Flow: a user's module → **layers** → passes, watch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from mlpexp.measurement_catalogue import CATALOGUE, PRESETS
from mlpexp.measurement_schema import in_order
from mlpexp.records import layer_metric
from mlpexp.refusals import nearest

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KINDS = (nn.Linear, *CONVOLUTIONS)
SPREAD = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule")
"""What takes a module to several devices or processes."""

OF_EXAMPLES = ("gradient_second_moment", "gradient_variance", "gradient_square")
OF_GRADIENTS = ("gradient_norm", "gradient_max", "gradient_zeros", "gradient_histogram", *OF_EXAMPLES)
OF_WEIGHTS = ("update_ratio", "weight_norm", "weight_max", "weight_distance", "weight_spectral_norm")
OF_OUTPUTS = ("activation_mean", "activation_std", "activation_zeros", "preactivation_square", "saturation")
OF_PROBE = ("dead_units", "killed_units")
WATCHABLE = in_order((*OF_GRADIENTS, *OF_WEIGHTS, *OF_OUTPUTS, *OF_PROBE, "delta_norm"))

NOT_WATCHED = {
    "signal_norm": "it is of mlpexp's own networks with skip connections; delta_norm tells what comes back to a layer",
    "activation_histogram": "over several micro-batches it has no bins; activation_mean, _std and _zeros add up",
    "delta_histogram": "over several micro-batches it has no bins; delta_norm adds up",
    "effective_rank": "it is worked out for mlpexp's own networks (mlpexp train measurements=full)",
    "jacobian_singular_values": "it is worked out for mlpexp's own networks (mlpexp train measurements=full)",
    "sharpness": "it is worked out for mlpexp's own networks (mlpexp train measurements=full)",
    "brier": "it is of evaluations, which your own loop makes",
    "calibration_error": "it is of evaluations, which your own loop makes",
}
"""What hooks do not define, and why."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer. `number` 1 … L is its place, `name` what `module.named_modules()` calls it.

    `weight` is None where W is no parameter of this layer's own; `without` says why. `is_shared`: another layer has the
    same W.
    """

    number: int
    name: str
    module: nn.Module
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    without: str | None = None
    is_shared: bool = False

    @property
    def kind(self) -> str:
        """`Linear`, `Conv2d` …"""
        return type(self.module).__name__


def layers_of(module: nn.Module, names: Sequence[str] | None = None) -> list[Layer]:
    """The Linear and Conv layers of a module in the order in which it defines them, or the named ones as they stand.

    Raises ValueError for a module that cannot be watched, for unknown names, and where there is no layer.
    """
    _refuse(module)
    found = {name: one for name, one in module.named_modules() if isinstance(one, KINDS)}
    if not found:
        raise ValueError(f"watch: {type(module).__name__} has no Linear or Conv layer; there is nothing to measure")
    for name in names or ():
        if name not in found:
            raise ValueError(f"watch: {name!r} is no Linear or Conv layer of the module{nearest(name, found)}")
    layers: list[Layer] = []
    owners: dict[int, str] = {}
    uses = Counter(id(one._parameters.get("weight")) for one in found.values())
    for number, name in enumerate(names if names is not None else found, start=1):
        layer = _layer(number, name, found[name], owners)
        layers.append(replace(layer, is_shared=uses[id(layer.module._parameters.get("weight"))] > 1))
    return layers


def _layer(number: int, name: str, module: nn.Module, owners: dict[int, str]) -> Layer:
    """A layer; `owners` has the first layer of each weight, and gets this one's."""
    weight, bias = (module._parameters.get(one) for one in ("weight", "bias"))
    if isinstance(weight, UninitializedParameter):
        raise ValueError(f"watch: {name} has no shape yet; pass a batch through the module first")
    if weight is None:  # asking for a parametrised weight would work it out, and may change its state
        return Layer(number, name, module, None, None, "its weight is worked out from other parameters")
    owner = owners.setdefault(id(weight), name)
    if owner != name:
        return Layer(number, name, module, None, None, f"it shares its weight with {owner}, where it is told")
    return Layer(number, name, module, weight, bias)


def _refuse(module: nn.Module) -> None:
    """What hooks would see wrongly, or not at all."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError("watch: a scripted module calls no hooks in its inside; watch the module it was made from")
    if any(one.device.type == "mps" for one in module.parameters()):
        raise ValueError(
            "watch: squares are summed in double precision, which MPS does not have; watch a run on the CPU"
        )
    for one in module.modules():
        if type(one).__name__ in SPREAD or any(base.__name__ in SPREAD for base in type(one).__mro__):
            raise ValueError(
                f"watch: {type(one).__name__} spreads batches or weights, and each copy would see a part of them; "
                "watch one process or device that trains alone"
            )
        if type(one).__name__ == "OptimizedModule" or one._compiled_call_impl is not None:
            raise ValueError(
                "watch: the module is compiled already, without hooks; watch it before torch.compile (whose graph is "
                "then cut at every layer), or do without compiling"
            )


def undefined(name: str, layer: Layer, module: nn.Module, reduction: str, probed: bool) -> str | None:
    """Why a layer does not define a quantity, as far as can be told before it is called; None where it does."""
    if name in NOT_WATCHED:
        return NOT_WATCHED[name]
    if name in OF_PROBE and not probed:
        return "it is of a fixed probe; give one: watch(…, probe=inputs)"
    if layer.without and name in (*OF_GRADIENTS, *OF_WEIGHTS):
        return layer.without
    if name in OF_EXAMPLES:
        if layer.is_shared:
            return "several layers share the weight: an example's gradient is no product of norms"
        if isinstance(layer.module, CONVOLUTIONS):
            return "a convolution shares its weights between places: an example's gradient is no product of norms"
        if any(isinstance(one, _BatchNorm) for one in module.modules()):
            return "with batch norm no example of a batch has a gradient of its own"
        if reduction == "added":
            return "where losses of micro-batches are added up the batch has no mean gradient"
    return None


def settled(
    asked: str | Sequence[str], layers: Sequence[Layer], module: nn.Module, reduction: str, probed: bool
) -> tuple[list[str], dict[str, str]]:
    """The quantities that are measured, and what is left out with the reason: a quantity, or one of some layers.

    A preset leaves out what no layer defines; asked for by name it is refused with ValueError.
    """
    words = [asked] if isinstance(asked, str) else list(asked)
    for word in words:
        if word not in (*PRESETS, *CATALOGUE):
            raise ValueError(
                f"watch: quantities may be {', '.join(PRESETS)} or names that `mlpexp measurements` tells; got "
                f"{word!r}{nearest(word, [*PRESETS, *CATALOGUE])}"
            )
    names = in_order(name for word in words for name in PRESETS.get(word, (word,)))
    if probed:
        names = in_order([*names, *OF_PROBE])
    left_out: dict[str, str] = {}
    for name in names:
        reasons = {layer.number: undefined(name, layer, module, reduction, probed) for layer in layers}
        if all(reasons.values()):
            why = reasons[layers[0].number] or ""
            if name in words:
                raise ValueError(
                    f"watch: {name} is undefined here: {why}; take it off the list, or take a preset "
                    f"({', '.join(PRESETS)}), which leaves it out"
                )
            left_out[name] = why
            continue
        left_out |= {layer_metric(name, number, len(layers)): why for number, why in reasons.items() if why}
    return [name for name in names if name not in left_out], left_out
