"""Whole trainings against plain torch.nn and torch.optim in float64, and against scikit-learn at an optimum."""

import histories
import numpy as np
import pytest
import reference
import torch
from histories import History, composed
from reference import Perceptron, clip
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mlpexp.config import Config, output_and_loss
from mlpexp.data import prepare
from mlpexp.kernel.streams import epoch_batches, stream
from mlpexp.lane_state import Examples, Lanes
from mlpexp.lanes import build
from mlpexp.shapes import layout_of

STEPS = 200


class Twin:
    """One run as one would write it in torch: the same data, initial weights and batches, all else torch's."""

    def __init__(self, config: Config, lane: int, lanes: Lanes) -> None:
        parts = prepare(config.data)
        examples = lanes.parts["train"]
        self.config, self.examples = config, examples
        self.layout = layout_of(config.model, parts.dataset.inputs, parts.dataset.outputs)
        self.output, self.loss = output_and_loss(config, parts.dataset.task)
        sigmas = [reference.activation(name) for name in config.model.activations]
        self.network = Perceptron(self.layout, lanes.network.rows[lane], sigmas)
        self.targets = targets_of(examples, lane)
        self.losses: list[float] = []
        self.gradient_norms: list[list[float]] = []

    def optimizer(self) -> torch.optim.Optimizer:
        chosen, groups = self.config.optimizer, self.network.groups(self.config.training.l2)
        rate = chosen.learning_rate
        if chosen.name == "gradient_descent":
            return torch.optim.SGD(groups, lr=rate, momentum=chosen.momentum, nesterov=chosen.nesterov)
        if chosen.name == "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=chosen.beta, eps=chosen.epsilon)
        if chosen.name == "rprop":
            sizes = (chosen.step_min, chosen.step_max)
            return torch.optim.Rprop(groups, rate, etas=(chosen.eta_minus, chosen.eta_plus), step_sizes=sizes)
        if chosen.weight_decay:
            decaying = self.network.groups(chosen.weight_decay)
            return torch.optim.AdamW(decaying, rate, (chosen.beta1, chosen.beta2), chosen.epsilon)
        return torch.optim.Adam(groups, chosen.learning_rate, (chosen.beta1, chosen.beta2), chosen.epsilon)

    def train(self) -> None:
        training, optimizer = self.config.training, self.optimizer()
        after = None
        if training.schedule == "step":
            after = torch.optim.lr_scheduler.StepLR(optimizer, training.decay_every or 1, training.decay_factor)
        seed = self.config.stream_seeds().get("batches", 0)
        for epoch in range(training.epochs or 0):
            batches = epoch_batches(training.sampler, seed, epoch, len(self.examples), training.batch_size)
            for rows in map(torch.from_numpy, batches):
                optimizer.zero_grad()
                z = self.network(self.examples.features[rows])
                loss = reference.example_losses(self.loss, self.output, z, self.targets[rows]).mean()
                weights = [linear.weight for linear in self.network.linears]
                (loss + training.l1 * torch.stack([w.abs().sum() for w in weights]).sum()).backward()
                self.losses.append(float(loss.detach()))
                gradients = [w.grad - training.l1 * torch.sign(w.detach()) for w in weights if w.grad is not None]
                self.gradient_norms.append([float(g.norm()) for g in gradients])
                if training.clip_norm is not None:
                    clip(list(self.network.parameters()), training.clip_norm)
                optimizer.step()
                if after is not None:
                    after.step()


def targets_of(examples: Examples, lane: int) -> Tensor:
    if examples.labels is None:
        assert examples.values is not None
        return examples.values
    if examples.outputs == 1:
        return examples.labels[lane][:, None].double()
    return torch.nn.functional.one_hot(examples.labels[lane], examples.outputs).double()


def check_against_torch(configs: list[Config], tolerance: float = 1e-9) -> list[History]:
    plan, lanes = build(configs)
    twins = {number: Twin(configs[number], lane, lanes) for lane, number in enumerate(lanes.numbers)}
    found = histories.of(plan, lanes)
    for number, twin in twins.items():
        twin.train()
        history = found[number]
        assert history.ending.last_step == len(twin.losses)
        np.testing.assert_allclose(history.losses[:-1], twin.losses, rtol=tolerance, atol=tolerance * twin.losses[0])
        np.testing.assert_allclose(
            history.column("gradient_norm")[:-1], twin.gradient_norms, rtol=1e3 * tolerance, atol=tolerance
        )
        final = twin.network.row().numpy()
        np.testing.assert_allclose(history.ending.final, final, rtol=0, atol=tolerance * np.abs(final).max())
    return [found[number] for number in range(len(configs))]


COMMON = ("training.dtype=float64", "training.epochs=12", "model.width=16", "training.restore=final")


def check_many_steps(found: list[History]) -> None:
    """Over so many steps that each counts, and to a lower loss: nothing has stood still."""
    for history in found:
        assert history.ending.last_step >= STEPS
        assert history.losses[-1] < 0.7 * history.losses[0]


@pytest.mark.parametrize("activation", reference.ACTIVATION_NAMES)
def test_momentum_follows_torch_sgd(activation: str) -> None:
    model = (f"model.activation={activation}", "model.depth=3", "initialisation=lecun")
    configs = [
        composed("optimizer=momentum", "optimizer.learning_rate=0.05", *model, *COMMON),
        composed("optimizer=gradient_descent", "optimizer.learning_rate=0.3", "seed=1", *model, *COMMON),
    ]
    check_many_steps(check_against_torch(configs))


@pytest.mark.parametrize("activation", reference.ACTIVATION_NAMES)
def test_adam_outside_follows_torch_adam(activation: str) -> None:
    model = (f"model.activation={activation}", "model.depth=3")
    configs = [
        composed("optimizer=adam", f"optimizer.learning_rate={rate}", f"optimizer.epsilon={epsilon}", *model, *COMMON)
        for rate, epsilon in ((3e-3, 1e-8), (1e-2, 1e-3))
    ]
    check_many_steps(check_against_torch(configs))


MORE = {
    "nesterov": ("optimizer=nesterov", "optimizer.learning_rate=0.03"),
    "rmsprop": ("optimizer=rmsprop", "optimizer.epsilon=1e-8", "optimizer.learning_rate=3e-3"),
    "adamw": ("optimizer=adamw", "optimizer.learning_rate=3e-3", "optimizer.weight_decay=0.3"),
    "single examples": ("optimizer=gradient_descent", "optimizer.learning_rate=0.003", "training.sampler=fresh",
                        "training.batch_size=1", "training.epochs=1"),
    "l1": ("optimizer=momentum", "optimizer.learning_rate=0.03", "training.l1=0.001"),
    "clipping": ("optimizer=gradient_descent", "optimizer.learning_rate=0.3", "training.clip_norm=0.7"),
    "l1 and clipping": ("optimizer=gradient_descent", "optimizer.learning_rate=0.3", "training.clip_norm=0.7",
                        "training.l1=0.001"),
    "schedule": ("optimizer=momentum", "optimizer.learning_rate=0.05", "training.schedule=step",
                 "training.decay_every=50"),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_rules_penalties_clipping_and_schedules_follow_torch(name: str) -> None:
    model = ("model.activation=tanh", "model.depth=3", "initialisation=lecun")
    check_many_steps(check_against_torch([composed(*model, *COMMON, *MORE[name], f"seed={i}") for i in (0, 1)]))


def test_rprop_follows_torch_until_its_gradients_are_rounding_errors() -> None:
    """Later a sign is chance: digits can be separated, and after 60 updates nothing is left to learn."""
    config = composed("optimizer=rprop", "training.sampler=full", "model.depth=3", *COMMON, "training.epochs=60")
    (history,) = check_against_torch([config])
    assert history.losses[-1] < 0.1 * history.losses[0]


SHAPES = {
    "batch norm before": ("model.batch_norm=before",),
    "batch norm after": ("model.batch_norm=after",),
    "batch norm without gain and shift": ("model.batch_norm=after", "model.batch_norm_affine=false"),
    "another epsilon and momentum": ("model.batch_norm=before", "model.batch_norm_epsilon=0.1",
                                     "model.batch_norm_momentum=0.5", "optimizer=momentum"),
    "skip": ("model.skip=true",),
    "skip and batch norm": ("model.skip=true", "model.batch_norm=after", "training.l2=0.01"),
    "lists": ("model.width=[20,16,16,12]", "model.activation=[sigmoid,tanh,relu,gelu]", "model.skip=true"),
    "no bias": ("model.bias=false", "model.skip=true", "model.batch_norm=before"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_follow_torch(name: str) -> None:
    """Weights, γ, β and running statistics after 200 updates, all as torch.nn has them."""
    model = ("model.depth=5", "model.activation=tanh", "optimizer.learning_rate=0.003", "training.batch_size=60")
    check_many_steps(check_against_torch([composed(*model, *COMMON, *SHAPES[name], f"seed={i}") for i in (0, 1)]))


@pytest.mark.parametrize("sampler", reference.SAMPLERS)
@pytest.mark.parametrize("bias", ["true", "false"])
def test_samplers_and_weight_decay_follow_torch(sampler: str, bias: str) -> None:
    epochs = 210 if sampler == "full" else 12
    configs = [
        composed(
            "optimizer=momentum", "optimizer.learning_rate=0.03", "model.activation=tanh", "model.depth=2", *COMMON,
            f"training.epochs={epochs}", f"training.sampler={sampler}", f"training.l2={l2}", f"model.bias={bias}",
            "training.evaluate_every=1000",
        )
        for l2 in (0.0, 0.01)
    ]  # fmt: skip
    check_many_steps(check_against_torch(configs))


@pytest.mark.parametrize(
    ("data", "output", "loss"),
    [
        ("breast_cancer", "sigmoid", "cross_entropy"),
        ("breast_cancer", "identity", "mse"),
        ("digits", "sigmoid", "cross_entropy"),
        ("digits", "softmax", "mse"),
        ("digits", "softmax", "mae"),
        ("diabetes", "identity", "mse"),
        ("diabetes", "identity", "mae"),
        ("diabetes", "identity", "mse_mean"),
        ("sine", "identity", "huber"),
        ("diabetes", "relu", "mae_mean"),
        ("digits", "sigmoid", "cross_entropy_mean"),
        ("digits", "identity", "huber_mean"),
        ("digits", "identity", "mse_mean"),
    ],
)
def test_losses_and_outputs_follow_torch(data: str, output: str, loss: str) -> None:
    rate = {"diabetes": "0.05", "breast_cancer": "0.003"}.get(data, "0.01")
    config = composed(
        f"data={data}", f"model.output={output}", f"training.loss={loss}", "model.activation=tanh", "model.depth=2",
        "optimizer=adam", f"optimizer.learning_rate={rate}", *COMMON, "training.batch_size=16",
        f"training.epochs={4 if data == 'digits' else 20}",
    )  # fmt: skip
    check_against_torch([config])


def test_adam_inside_with_a_negligible_floor_is_adam_outside() -> None:
    inside, outside = (
        histories.trained(
            [composed("optimizer=adam", f"optimizer.epsilon_placement={where}", "optimizer.epsilon=1e-30", *COMMON)]
        )[0]
        for where in ("inside", "outside")
    )
    np.testing.assert_allclose(inside.losses, outside.losses, rtol=1e-6)


def test_dropout_follows_torch_under_the_same_masks() -> None:
    """Masks multiply what hidden layers put out, in training alone."""
    config = composed(
        "model.dropout=0.4", "model.depth=3", "model.activation=tanh", "optimizer=gradient_descent", *COMMON,
        "training.epochs=2", "optimizer.learning_rate=0.05",
    )  # fmt: skip
    plan, lanes = build([config])
    twin = Twin(config, 0, lanes)
    weights, biases = reference.unpack(twin.layout, lanes.network.parameters[0].clone())
    (history,) = histories.of(plan, lanes).values()
    losses = []
    for epoch in range(plan.updates // plan.updates_per_epoch):
        generator = stream(config.seed, "dropout", epoch)
        for rows in epoch_batches("epoch", config.seed, epoch, len(twin.examples), plan.batch_size):
            drawn = [generator.random((len(rows), 16), dtype=np.float32) for _ in range(2)]
            masks = [torch.from_numpy((d >= 0.4) / 0.6) for d in drawn]
            step = reference.backward(
                weights, biases, torch.tanh, twin.loss, twin.output, twin.examples.features[rows], twin.targets[rows],
                masks,
            )  # fmt: skip
            losses.append(float(step.losses.detach().mean()))
            weights = [w - 0.05 * g for w, g in zip(weights, step.weights, strict=True)]
            biases = [b - 0.05 * g for b, g in zip(biases, step.biases, strict=True)]
    np.testing.assert_allclose(history.losses[:-1], losses, rtol=1e-10)
    np.testing.assert_allclose(history.ending.final, reference.pack(weights, biases).numpy(), atol=1e-11)
    scores = [float(history.evaluations[history.ending.last_step][f"loss/{part}"]) for part in ("train", "validation")]
    z = torch.tanh(torch.tanh(twin.examples.features @ weights[0] + biases[0]) @ weights[1] + biases[1])
    undropped = reference.example_losses(twin.loss, twin.output, z @ weights[2] + biases[2], twin.targets).mean()
    assert scores[0] == pytest.approx(float(undropped), rel=1e-10)


@pytest.mark.parametrize(("data", "c"), [("wine", 1.0), ("wine", 0.05), ("iris", 1.0), ("breast_cancer", 0.1)])
def test_depth_one_with_l2_reaches_scikit_learns_logistic_regression(data: str, c: float) -> None:
    """Without the penalty there is nothing to compare: wine and breast_cancer can be separated, so the likelihood grows
    for ever with ‖W‖ and has no optimum. scikit-learn minimises C Σ ℓ + ‖W‖²/2, with free biases: λ = 1/(C n).
    """
    parts = prepare(composed(f"data={data}").data)
    config = composed(
        f"data={data}", "model.depth=1", "training.dtype=float64", "training.sampler=full", "training.epochs=4000",
        "training.evaluate_every=4000", f"training.l2={1 / (c * len(parts.training))!r}", "measurements=none",
        "optimizer=momentum", "optimizer.learning_rate=0.15", "optimizer.momentum=0.95", "training.restore=final",
        "initialisation=normal", "initialisation.sigma_w=0.0",
    )  # fmt: skip
    (history,) = histories.trained([config])
    theirs = LogisticRegression(C=c, tol=1e-13, max_iter=1000, solver="newton-cholesky")
    theirs.fit(parts.training.features, parts.training.targets)
    layout = layout_of(config.model, parts.dataset.inputs, parts.dataset.outputs)
    (weight,), (bias,) = reference.unpack(layout, torch.from_numpy(history.ending.final))
    z = torch.from_numpy(parts.test.features) @ weight + bias
    ours = torch.sigmoid(z) if layout.widths[-1] == 1 else torch.softmax(z, 1)
    expected = theirs.predict_proba(parts.test.features)[:, -layout.widths[-1] :]
    np.testing.assert_allclose(weight.T.numpy(), theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)
    accuracy = theirs.score(parts.test.features, parts.test.targets)
    assert history.ending.scores["accuracy/test"] == pytest.approx(accuracy)
