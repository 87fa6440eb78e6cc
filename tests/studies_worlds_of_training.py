"""Made-up runs, as in studies_worlds, of studies that look at what training does inside a network."""

from typing import Any

import numpy as np
from studies_fixtures import World, points_of

from mlpexp.config import Config
from mlpexp.study_definition import Point

SIZES = (0.36, 0.31, 0.26, 0.21)


def in_stages(
    deep: float, large: float, shallow: float, sizes: tuple[float, ...] = SIZES, spread: float = 0.01
) -> World:
    """Modes over time: `deep` and `large` are times over the formula's, `shallow` the last mode's over the first's."""

    def world(point: Point, run: Config, _: np.random.Generator) -> dict[str, Any]:
        figure = points_of("linear_dynamics")[0].figure
        time = run.optimizer.learning_rate * (run.training.updates or 0)
        late = 1 + spread * np.random.default_rng([run.seed, len(point.part)]).normal(size=4)
        strong, start = np.array(sizes), np.full(4, 3e-4)
        if point.part == "one layer":
            late *= np.linspace(1, shallow, 4)
            return {"time": time, "sizes": strong, "strengths": 1 - np.exp(-2 * time / late)}
        late *= deep if point.part == "two layers" else large
        strengths = np.array([figure.predicted(strong, start, [time / one])[0, mode] for mode, one in enumerate(late)])
        return {"time": time, "sizes": strong, "start": start, "strengths": strengths}

    return world


def dying(large: float, picked: float, revived: float, spread: float = 0.02) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        killed = (picked if point.part == "picked" else large) + draw.normal(0, spread)
        own = {"killed": killed, "dead": tuple(np.linspace(0, 0.5, 31)), "accuracy/test": 0.9}
        if run.optimizer.learning_rate == 0.3:
            after = 0.5 - revived + draw.normal(0, spread, 3)
            own |= {"as_trained": 0.5, "relu": (0.5, 0.5, 0.5), "slope": tuple(after)}
        return own

    return world


def sparser(more: float, others_lose: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        lost = (others_lose if point.condition != "ReLU" else 0.0) * (run.model.depth - 2) / 6
        own: dict[str, Any] = {"accuracy/test": 0.95 - lost + draw.normal(0, spread)}
        if point.condition == "ReLU":
            zeros = 0.5 + np.linspace(0, more, 5) + draw.normal(0, spread, 5)
            return own | {"zeros": tuple(zeros), "updates": (0, 1, 3, 9, 30), "start": zeros[0], "end": zeros[-1]}
        return own | {"zeros": (), "updates": (), "start": np.nan, "end": np.nan}

    return world


def peaked(noisy: float, clean: float, picked: float, spread: float = 0.005) -> World:
    """A peak at 24 units that stands out in the validation part, and by so much in the test part."""

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        high = {"15 % wrong labels": noisy, "correct labels": clean}.get(point.condition, picked)
        at_peak = max(run.model.widths) == 24
        errors = {"validation": 0.1 * at_peak, "test": high * at_peak, "train": 0.0}
        return {f"accuracy/{part}": 0.6 - error + draw.normal(0, spread) for part, error in errors.items()}

    return world


def reading(junctions: float, drawn: float, spread: float = 0.003) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        gain = 0.0 if point.condition == "regression" else junctions if point.part == "junctions" else drawn
        accuracy = {f"accuracy/{part}": 0.94 + gain + draw.normal(0, spread) for part in ("validation", "test")}
        return accuracy | {"best_possible": np.nan if point.part == "junctions" else 0.97}

    return world


def wandering(epochs: float, updates: float, straight: float, spread: float = 0.003) -> World:
    """`straight` is the share of seeds whose distance grows like a logarithm; that of the others, like a root."""

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        lost = {"m = 16": 0.0, "m = 512, equal epochs": epochs}.get(point.condition, updates)
        times = np.unique(np.geomspace(1, 2000, 30).astype(int))
        path = np.log(1 + times) if draw.random() < straight else np.sqrt(times)
        accuracy = {"accuracy/train": 1.0, "accuracy/test": 0.96 - lost + draw.normal(0, spread)}
        return accuracy | {"updates": tuple(times), "distance": tuple(path + draw.normal(0, 0.01, len(times)))}

    return world


def remedied(base: tuple[float, ...], remedy: tuple[float, ...]) -> World:
    """Depths down to which networks are trained, one of them by chance."""

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        own = np.random.default_rng([run.seed, len(point.condition)])
        deepest = own.choice(base if point.condition in ("none", "skip + He") else remedy)
        return {"accuracy/test": (0.95 if run.model.depth <= deepest else 0.2) + draw.normal(0, 0.01)}

    return world


def scaled(standard: float, normalised: float, saturated: float, spread: float = 0.02) -> World:
    """Logarithms of the first hidden layer's spread over the last one's; saturated units more with the one."""

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        is_standard = point.condition == "standard"
        ratio = (standard if is_standard else normalised) + draw.normal(0, spread)
        share = 0.2 + (saturated if is_standard else 0.0) + draw.normal(0, spread)
        return {
            "accuracy/test": 0.9,
            "density": np.full((5, 41), 0.5),
            "updates": (0, 9, 99),
            "spread": 0.6 * np.exp(-ratio * np.linspace(0, 1, 5)) * np.ones((3, 1)),
            "saturation": np.linspace(0.0, share, 3)[:, None] * np.ones(5),
        }

    return world


WORLDS: dict[str, tuple[World, ...]] = {
    "linear_dynamics": (
        in_stages(1.0, 1.2, 1.0),
        in_stages(1.3, 1.0, 2.0, sizes=(0.36, 0.355, 0.35, 0.345)),
        in_stages(1.1, 1.05, 1.1, sizes=(0.36, 0.33, 0.3, 0.268), spread=0.1),
    ),
    "dead_relu": (dying(0.5, 0.0, 0.2), dying(0.0, 0.2, 0.0), dying(0.1, 0.05, 0.05, spread=0.1)),
    "sparse_rectifiers": (sparser(0.1, 0.05), sparser(-0.1, -0.05), sparser(0.02, 0.01, spread=0.05)),
    "double_descent": (peaked(0.1, 0.0, 0.0), peaked(-0.05, 0.1, 0.1), peaked(0.01, 0.0, 0.01, spread=0.03)),
    "splice_sites": (reading(0.05, 0.0), reading(0.0, 0.05), reading(0.01, 0.01, spread=0.02)),
    "generalisation_gap": (
        wandering(0.05, 0.0, 1.0),
        wandering(0.0, 0.05, 0.0),
        wandering(0.01, 0.01, 0.6, spread=0.02),
    ),
    "countermeasures": (remedied((4,), (25,)), remedied((12,), (5,)), remedied((4,), (4, 6, 9, 15))),
    "activation_distributions": (
        scaled(1.5, 0.0, 0.2),
        scaled(0.0, 0.8, 0.0),
        scaled(0.75, 0.25, 0.05, spread=0.2),
    ),
}
"""True, false, undecided."""
