"""The check of a user's own measurements before anything trains: on small networks, in a process of its own.

Flow: config → **own_measurements** → planning, quantity_table. What is checked: that it gives [R, L] or [R], changes
nothing, and gives a network the same bits alone, in company, and at every call.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from mlpexp.config import Config
from mlpexp.own_checks import answer, checked, told
from mlpexp.own_measurement_text import mistake_in

if TYPE_CHECKING:
    from torch import Tensor

    from mlpexp.kernel.measurements import Step

SHAPES = ((7, 33, 33, 5), (6, 3), (3, 2, 1))
"""Units of the networks that a measurement is tried on, from inputs to outputs."""
LANES, ROWS = 3, 19
MODULE = "mlpexp.own_measurements"
SAFE = "sum, amax, amin and torch.linalg.vector_norm over named dims instead of std, var, mean and einsum"


def mistakes_of(configs: Sequence[Config]) -> list[str]:
    """A line for each mistake in a measurement of the user's own that one of these configs names."""
    sources = {source for config in configs for source in config.measurements.sources.items()}
    return [
        f"measurements.quantities: {file}: {line}"
        for file, text in sorted(sources)
        for line in ([mistake_in(file, text)] if mistake_in(file, text) else checked(MODULE, file, text))
    ]


def check(file: str, source: str) -> list[str]:
    """What is wrong with the text of a measurement."""
    from mlpexp.kernel.own_code import functions_in

    try:
        (measure,) = functions_in(source, file, "measure(step)")
    except BaseException as error:
        return [f"it cannot be run: {told(error, file)}"]
    dims: set[int] = set()
    try:
        for step, alone in _steps():
            if line := _wrong(measure, step, alone, dims):
                return [line]
    except Exception as error:
        return [f"it fails: {told(error, file)}"]
    return []


def _wrong(measure: Callable[[Any], Any], step: "Step", alone: "Sequence[Step]", dims: set[int]) -> str:
    """What is wrong with a measurement at one step of a cohort, and of each lane as a cohort of one."""
    import torch

    from mlpexp.kernel.own_measurement import Seen, wrong_shape

    before = [tensor.clone() for tensor in _tensors(step)]
    found = measure(Seen(step))
    if line := wrong_shape(found, step):
        return line
    dims.add(found.ndim)
    if len(dims) > 1:
        return "it gives [R, L] of some networks and [R] of others; choose one"
    kept = found.clone()
    if not all(map(_same, before, _tensors(step))):
        return "it changes what it is given, which training goes on with; compute into tensors of its own"
    if not _same(measure(Seen(step)), kept):
        return "it gives other numbers when it is called again; what it tells must follow from the step alone"
    singles = [measure(Seen(one)) for one in alone]
    if wrong := [line for own, one in zip(singles, alone, strict=True) if (line := wrong_shape(own, one))]:
        return wrong[0]
    lanes = torch.cat(singles)
    if _same(lanes, kept):
        return ""
    worst = int((lanes - kept).abs().nan_to_num(torch.inf).argmax())
    together, single = (float(values.flatten()[worst]) for values in (kept, lanes))
    if abs(together - single) > 1e-3 * abs(single):
        return f"it mixes lanes: a network has {single:.6g} alone and {together:.6g} beside others; keep dim 0 apart"
    return (
        f"a network has other bits alone than beside others ({single:.17g} and {together:.17g}), so its record would "
        f"depend on its company; write it with {SAFE}"
    )


def _same(a: "Tensor", b: "Tensor") -> bool:
    import torch

    return a.shape == b.shape and torch.equal(a.nan_to_num(nan=1.25e30), b.nan_to_num(nan=1.25e30))


def _tensors(step: "Step") -> "list[Tensor]":
    """All that a measurement is given."""
    trace, rows = step.trace, [step.network.rows, step.gradient, step.initial]
    return [
        *rows,
        *([] if step.update is None else [step.update]),
        *trace.z,
        *trace.outputs,
        *trace.deltas,
        *trace.inputs,
    ]


def _steps() -> "Iterator[tuple[Step, list[Step]]]":
    """Steps of small cohorts in both precisions, also after the last update; each lane's own step beside them."""
    import torch

    for shape, dtype, is_last in product(SHAPES, (torch.float32, torch.float64), (False, True)):
        generator = torch.Generator().manual_seed(len(shape))
        inputs = torch.randn(LANES, ROWS, shape[0], generator=generator, dtype=dtype)
        targets = torch.rand(LANES, ROWS, shape[-1], generator=generator, dtype=dtype)
        rows = [torch.randn(LANES, _size(shape), generator=generator, dtype=dtype) * 0.3 for _ in range(2)]
        lanes = [slice(0, LANES), *(slice(i, i + 1) for i in range(LANES))]
        first, *alone = [_step(shape, inputs[i], targets[i], [one[i] for one in rows], is_last) for i in lanes]
        yield first, alone


def _size(shape: Sequence[int]) -> int:
    from mlpexp.kernel.layout import Layout

    return Layout(tuple(shape), True, None, False).size


def _step(shape: Sequence[int], inputs: "Tensor", targets: "Tensor", rows: "list[Tensor]", is_last: bool) -> "Step":
    """Forward and backward of tanh networks with these parameters and, before training, those."""
    import torch

    from mlpexp.kernel.activations import activation
    from mlpexp.kernel.backpropagation import backward
    from mlpexp.kernel.layout import Layout
    from mlpexp.kernel.losses import Loss
    from mlpexp.kernel.measurements import Probe, Step
    from mlpexp.kernel.network import Network, Trace, forward

    layout, loss = Layout(tuple(shape), True, None, False), Loss("mse", "identity", 1.0)
    network = Network(layout, [activation("tanh")] * (layout.depth - 1), rows[0].clone())
    trace, gradient = Trace(network, inputs.shape[1]), torch.empty_like(network.parameters)
    _, delta = loss(forward(network, inputs, trace), targets)
    backward(network, trace, delta, gradient)
    probe = Probe(inputs[0], targets, loss)
    return Step(network, trace, gradient, None if is_last else gradient * -0.1, rows[1].clone(), probe)


if __name__ == "__main__":
    answer(lambda file, source, _: check(file, source))
