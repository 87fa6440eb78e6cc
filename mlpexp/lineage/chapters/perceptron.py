"""Chapter 3: a perceptron learns what a line can separate, within Novikoff's bound, and goes in circles on XOR.

Flow: perceptron → **chapter** → finding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.figures import BLUE, GREY, ORANGE, Figure
from mlpexp.lineage.chapters.axes import CLASSES, scatter, tidy
from mlpexp.lineage.finding import Finding
from mlpexp.lineage.perceptron import (
    XOR,
    Course,
    Floats,
    accuracy,
    best_accuracy,
    clouds,
    learn,
    novikoff_bound,
    widest_margin,
)

SETS, GAPS = 60, (0.005, 0.3)
"""Data sets for the comparison with the bound, and between what gaps their classes lie apart."""
ROUNDS_DRAWN = 3


@dataclass(frozen=True)
class Lesson:
    """Everything the figure shows."""

    inputs: Floats  # [n, 2]
    labels: NDArray[np.int64]  # [n], −1 and 1
    course: Course
    margin: float
    widest: Floats  # [3], bias first
    bound: float
    many: pd.DataFrame  # gap, bound, mistakes
    xor: Course


def find(examples: int, gap: float, seed: int) -> Finding:
    """The rule on points at least `gap` from a line, on many such sets, and on XOR."""
    inputs, labels = clouds(seed, examples, gap)
    margin, widest = widest_margin(inputs, labels)
    course = learn(inputs, labels, passes=100_000)
    lesson = Lesson(
        inputs, labels, course, margin, widest, novikoff_bound(inputs, labels), many_sets(seed, examples), learn(*XOR)
    )
    best = max(accuracy(w, *XOR) for w in lesson.xor.path)
    mistakes = len(course.path) - 1
    return Finding(
        "perceptron",
        lines_of(lesson),
        {"examples": examples, "gap": gap, "seed": seed},
        {"mistakes": mistakes, "passes": len(course.mistakes), "novikoff_bound": lesson.bound, "margin": margin}
        | {"share_of_bound_max": float((lesson.many["mistakes"] / lesson.many["bound"]).max())}
        | {"xor_accuracy_best": best, "xor_accuracy_of_any_line": best_accuracy(*XOR)},
        draw(lesson),
        tables_of(lesson),
    )


def many_sets(seed: int, examples: int) -> pd.DataFrame:
    """Mistakes and bound for sets whose classes lie closer and closer together."""
    rows = []
    for i, gap in enumerate(np.geomspace(*GAPS, SETS)):
        inputs, labels = clouds(seed + 1 + i, examples, float(gap))
        mistakes = len(learn(inputs, labels, passes=100_000).path) - 1
        rows.append({"gap": gap, "bound": novikoff_bound(inputs, labels), "mistakes": mistakes})
    return pd.DataFrame(rows)


def lines_of(lesson: Lesson) -> list[str]:
    """What the terminal shows."""
    course, xor = lesson.course, lesson.xor
    assert xor.cycle is not None
    mistakes = len(course.path) - 1
    passes = len(course.mistakes)
    share = (lesson.many["mistakes"] / lesson.many["bound"]).max()
    right = [accuracy(w, *XOR) for w in xor.path[1:]]
    return [
        "y w·x ≤ 0: w ← w + y x, until a whole pass goes by without a mistake",
        f"separable   {len(lesson.labels)} points: {mistakes} mistakes in {passes} passes, then all are right",
        f"bound       (R/γ)² = {lesson.bound:.4g} mistakes at most, with γ = {lesson.margin:.4g}",
        f"            {SETS} more sets: at most {share:.0%} of their bound",
        f"XOR         {', '.join(f'{a:.0%}' for a in right)} right after each mistake of a pass,",
        f"            then the weights of {xor.cycle[1] - xor.cycle[0]} pass before are back: it goes in circles",
        f"            no line does better than {best_accuracy(*XOR):.0%}",
    ]


def tables_of(lesson: Lesson) -> dict[str, pd.DataFrame]:
    """The numbers behind the figure."""
    names = ["bias", "w1", "w2"]
    xor = pd.DataFrame(lesson.xor.path, columns=names)
    xor["accuracy"] = [accuracy(w, *XOR) for w in lesson.xor.path]
    return {
        "points": pd.DataFrame({"x1": lesson.inputs[:, 0], "x2": lesson.inputs[:, 1], "label": lesson.labels}),
        "path": pd.DataFrame(lesson.course.path, columns=names).rename_axis("mistake").reset_index(),
        "bounds": lesson.many,
        "xor": xor.rename_axis("mistake").reset_index(),
    }


def draw(lesson: Lesson) -> Figure:
    """Three panels: the points and the lines, mistakes against the bound, accuracy on XOR."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    plane, bounds, xor = figure.subplots(1, 3)
    scatter(plane, lesson.inputs, (lesson.labels > 0).astype(int), size=18)
    line(plane, lesson.course.path[-1], color="black", label="learned")
    line(plane, lesson.widest, color=GREY, linestyle="--", label=f"widest margin, γ = {lesson.margin:.3g}")
    plane.set_xlim(-1.1, 1.1)
    plane.set_ylim(-1.1, 1.45)
    plane.set_aspect("equal")
    plane.legend(frameon=False, loc="upper center", ncols=2, fontsize=8)
    mistakes = len(lesson.course.path) - 1
    tidy(plane, f"separable: at rest after {mistakes} mistakes", "$x_1$", "$x_2$")
    bounds.loglog(lesson.many["bound"], lesson.many["mistakes"], "o", color=BLUE, markersize=4)
    bounds.loglog(lesson.bound, mistakes, "s", color=ORANGE, markersize=6, label="the set on the left")
    ends = np.array([1.0, max(lesson.many["bound"].max(), lesson.bound) * 2])
    bounds.loglog(ends, ends, color=GREY, linestyle="--", label="bound $(R/γ)^2$")
    bounds.legend(frameon=False, loc="upper left")
    tidy(bounds, f"never more than the bound ({SETS} sets)", "$(R/γ)^2$", "mistakes")
    right = [accuracy(w, *XOR) for w in lesson.xor.path[1:]] * ROUNDS_DRAWN
    xor.plot(np.arange(1, len(right) + 1), np.array(right) * 100, color=CLASSES[0], marker="o", markersize=4)
    best = best_accuracy(*XOR)
    xor.axhline(best * 100, color=GREY, linestyle="--", label=f"best of any line, {best:.0%}")
    xor.set_ylim(-5, 105)
    xor.legend(frameon=False, loc="upper right")
    tidy(xor, "XOR: round and round", "updates", "right / %")
    return figure


def line(axes: Any, weights: Floats, **style: Any) -> None:
    """Where b + w·x = 0."""
    bias, normal = weights[0], weights[1:]
    foot = -bias * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    ends = foot + np.array([[-5.0], [5.0]]) * along
    axes.plot(ends[:, 0], ends[:, 1], **style)
