"""Run-steps a second of one process: mlpexp's training loop, its products alone, a plain loop of torch, Lightning.

    python experiments/throughput/step_run.py mlpexp --width 64 --lanes 16 --quantities all

Each trains networks of `depth` on batches of 64 of 64 inputs with Adam, in one thread, and prints its rate as JSON.
`lanes` is for mlpexp alone: the others train one network at a time. `product`, a large one, prints GFLOP/s instead.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ |= {"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}  # before torch is loaded

import torch
from torch import nn

BATCH = 64
QUANTITIES = {
    "none": "measurements=none",
    "gradient_norm": "measurements.quantities=[gradient_norm]",
    "all": "measurements=basic",
}
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def rate(steps: Callable[[], int], seconds: float) -> float:
    """Steps a second; the first call warms up."""
    steps()
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        done += steps()
    return done / (time.perf_counter() - begun)


def mlpexp_steps(options: argparse.Namespace) -> Callable[[], int]:
    """An epoch of a cohort, as `train` runs it, in inference mode as well: batches, measurements and all."""
    from mlpexp import compose
    from mlpexp.execution import prepare_process
    from mlpexp.lanes import build
    from mlpexp.training import train_epoch

    prepare_process()
    config = compose([
        "data=digits", f"model.depth={options.depth}", f"model.width={options.width}",
        f"model.activation={options.activation}", f"training.batch_size={BATCH}", "training.sampler=fresh",
        "training.epochs=1000000", "optimizer.learning_rate=1e-5", "tracking=none", f"replicates={options.lanes}",
        QUANTITIES[options.quantities],
    ])  # fmt: skip
    with torch.inference_mode():
        plan, cohort = build(config.runs())
    state, lanes = {"step": 0}, int(options.lanes)

    @torch.inference_mode()
    def run() -> int:
        piece = train_epoch(plan, cohort, state["step"], {})
        state["step"] += len(piece.steps)
        return len(piece.steps) * lanes

    return run


def products_steps(options: argparse.Namespace) -> Callable[[], int]:
    """The products of a cohort's step, forward and back, as its kernel calls them, and nothing else."""
    from mlpexp.execution import prepare_process
    from mlpexp.kernel.activations import ACTIVATIONS as SIGMAS
    from mlpexp.kernel.arithmetic import product
    from mlpexp.kernel.layout import Layout
    from mlpexp.kernel.network import Network, Trace

    prepare_process()
    layout, lanes = Layout((64, *[options.width] * (options.depth - 1), 10)), int(options.lanes)
    rows = torch.randn(lanes, layout.size) / options.width**0.5
    network = Network(layout, [SIGMAS[options.activation]] * (options.depth - 1), rows)
    trace, inputs = Trace(network, BATCH), torch.randn(lanes, BATCH, 64)
    entering = [inputs, *trace.outputs[:-1]]
    for numbers in (*trace.outputs, trace.deltas[-1]):
        numbers.normal_()

    @torch.inference_mode()
    def run() -> int:
        for l, weight in enumerate(network.weights):
            product(entering[l], weight, out=trace.z[l])
        for l in reversed(range(layout.depth)):
            product(entering[l].transpose(1, 2), trace.deltas[l])
            if l > 0:
                product(trace.deltas[l], network.weights[l].transpose(1, 2), out=trace.deltas[l - 1])
        return lanes

    return run


def torch_steps(options: argparse.Namespace) -> Callable[[], int]:
    """The loop of every tutorial; it logs the loss and each layer's gradient norm unless told not to."""
    torch.set_num_threads(1)
    widths = [64, *[options.width] * (options.depth - 1)]
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), ACTIVATIONS[options.activation]())]
    net = nn.Sequential(*layers, nn.Linear(options.width, 10))
    optimizer, loss_of = torch.optim.Adam(net.parameters(), lr=1e-5), nn.CrossEntropyLoss()
    x, y = torch.randn(17 * BATCH, 64), torch.randint(10, (17 * BATCH,))
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]

    def run() -> int:
        logged = []
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss = loss_of(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            if options.quantities != "none":
                logged.append([loss.item(), *(w.grad.norm().item() for w in weights if w.grad is not None)])
        return 17

    return run


def lightning_steps(options: argparse.Namespace) -> Callable[[], int]:
    """Lightning's trainer with its MLflow logger, loss and gradient norms at every step; a call is two epochs."""
    import lightning
    from lightning.pytorch.loggers import MLFlowLogger
    from lightning_run import Classifier, Run
    from torch.utils.data import DataLoader, TensorDataset

    warnings.filterwarnings("ignore")  # of the peer, about how it is used here: no matter of a rate
    torch.set_num_threads(1)
    store = f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"
    examples = TensorDataset(torch.randn(17 * BATCH, 64), torch.randint(10, (17 * BATCH,)))
    run = Run(depth=options.depth, width=options.width, activation=options.activation, learning_rate=1e-5)

    def fit() -> int:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        logger = MLFlowLogger("steps", tracking_uri=store, artifact_location=str(Path(store).parent))
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=logger, log_every_n_steps=1, **quiet)
        trainer.fit(Classifier(run), DataLoader(examples, BATCH, shuffle=True))
        return int(trainer.global_step)

    return fit


def product_steps(options: argparse.Namespace) -> Callable[[], int]:
    """A product of two matrices of 2048 × 2048."""
    torch.set_num_threads(1)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    out = torch.empty_like(a)

    def run() -> int:
        torch.mm(a, b, out=out)
        return 1

    return run


WHO = {
    "mlpexp": mlpexp_steps,
    "products": products_steps,
    "torch": torch_steps,
    "lightning": lightning_steps,
    "product": product_steps,
}


def main() -> None:
    """Print the rate as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=WHO)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh")
    parser.add_argument("--quantities", choices=QUANTITIES, default="all")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    found = rate(WHO[options.who](options), options.seconds)
    print(json.dumps({"rate": found * (2 * 2048**3 / 1e9 if options.who == "product" else 1)}))


if __name__ == "__main__":
    main()
