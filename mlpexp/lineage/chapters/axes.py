"""How axes of the lineage look.

Flow: chapters → **axes** → figures.
"""

from typing import Any

from mlpexp.figures import BLUE, ORANGE

CLASSES = (BLUE, ORANGE)
MARKERS = ("o", "s")
SHADES = ("#cfe3f1", "#f9dcc9")
"""Pale blue and pale orange: what a rule says about the plane, behind the examples."""


def tidy(axes: Any, title: str, x: str, y: str) -> None:
    """Title, labels with units, a faint grid, no box."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def scatter(axes: Any, inputs: Any, labels: Any, size: float = 12) -> None:
    """Examples of two classes (0 and 1), told apart by colour and by shape."""
    for label in (0, 1):
        rows = inputs[labels == label]
        axes.scatter(
            rows[:, 0], rows[:, 1], s=size, c=CLASSES[label], marker=MARKERS[label], edgecolors="white", linewidths=0.4
        )
