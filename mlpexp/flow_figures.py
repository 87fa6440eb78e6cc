"""The picture of a point: how its gradient flows while it trains, and its profiles over depth before and after.

Flow: records → figures → **flow_figures** → illustration. It is drawn once for every point of a sweep, so it has no
axes and no ticks, which would cost ten times as much: lines and an image are placed on a sheet measured in points (1/72
of an inch), and all letters of one colour are a single path.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D, Bbox, TransformedBbox
from numpy.typing import NDArray
from scipy import stats

from mlpexp.figures import BLUE, COLOURS, ORANGE
from mlpexp.records import Array, evenly_spaced, log_spaced
from mlpexp.results import Result
from mlpexp.verdicts import superscript

WIDTH, HEIGHT = 619.2, 244.8
MOST_COLUMNS, MOST_LABELS, LEAST_DECADES, LEAST_SEEDS = 80, 16, 2.0, 3
PLAIN, SMALL = 10.0, 8.33
BLACK = "black"

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""
FLOW: Rectangle = (46.0, 37.0, 270.0, 206.0)
SCALE: Rectangle = (277.0, 37.0, 286.0, 206.0)
PROFILE: Rectangle = (362.0, 37.0, 608.0, 206.0)


class Sheet(Figure):
    """A figure that is drawn on in points; `words` are its letters as text, and where they stand."""

    def __init__(self) -> None:
        super().__init__(figsize=(WIDTH / 72, HEIGHT / 72))
        self.points = Affine2D().scale(1 / 72) + self.dpi_scale_trans
        self.letters: dict[str, list[Path]] = {}
        self.words: list[tuple[str, float, float]] = []

    def line(self, x: Array, y: Array, **style: Any) -> None:
        """A line through points; NaN leaves a gap."""
        self.add_artist(Line2D(x, y, transform=self.points, **style))

    def band(self, x: Array, low: Array, high: Array, colour: str) -> None:
        """What lies between two lines, shaded."""
        outline = Path(np.column_stack([[*x, *x[::-1]], [*low, *high[::-1]]]))
        self.add_artist(PathPatch(outline, transform=self.points, facecolor=colour, alpha=0.2, linewidth=0))

    def image(self, values: Array, place: Rectangle, low: float, high: float) -> None:
        """Values [rows, columns] as colours, the first row below; white where they are not finite."""
        box = TransformedBbox(Bbox.from_extents(*place), self.points)
        shades: dict[str, Any] = {"origin": "lower", "cmap": COLOURS, "interpolation": "nearest"}
        picture = BboxImage(box, **shades)
        picture.set_data(np.ma.masked_invalid(values))
        picture.set_clim(low, high)
        self.add_artist(picture)

    def grid(self, x: Array, y: Array, place: Rectangle) -> None:
        """The left and the lower side of a frame, ticks outside them, and faint lines across it."""
        left, bottom, right, top = place
        ends = [[(one, one), (bottom, top)] for one in x] + [[(left, right), (one, one)] for one in y]
        ticks = [[(one, one), (bottom - 3.5, bottom)] for one in x] + [[(left - 3.5, left), (one, one)] for one in y]
        frame = [[(left, left), (bottom, top)], [(left, right), (bottom, bottom)]]
        for lines, colour, thick in ((ends, "#ececec", 0.5), (ticks + frame, BLACK, 0.8)):
            gaps = np.pad(np.array(lines, dtype=float), ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
            self.line(gaps[:, 0].ravel(), gaps[:, 1].ravel(), color=colour, linewidth=thick)

    def write(
        self, x: float, y: float, text: str, at: str = "centre", size: float = PLAIN, colour: str = BLACK,
        middle: bool = False, upright: bool = False,
    ) -> None:  # fmt: skip
        """Put letters `at` the left, centre or right of x, on the baseline y or with their `middle` there."""
        path, width, bottom, top = letters(text, size)
        shift = {"left": 0.0, "centre": -width / 2, "right": -width}[at], -(bottom + top) / 2 if middle else 0.0
        vertices: Array = np.asarray(path.vertices) + np.array(shift)
        if upright:
            vertices = np.column_stack([-vertices[:, 1], vertices[:, 0]])
        self.letters.setdefault(colour, []).append(Path(vertices + np.array([x, y]), path.codes))
        self.words.append((text, x, y))

    def ink(self) -> None:
        """Bring what was written onto the sheet."""
        for colour, paths in self.letters.items():
            whole = Path.make_compound_path(*paths)
            self.add_artist(PathPatch(whole, transform=self.points, facecolor=colour, linewidth=0))


@lru_cache(maxsize=1024)
def letters(text: str, size: float) -> tuple[Path, float, float, float]:
    """Outlines of a text, its width, and how far it reaches below and above the baseline, in points."""
    path = TextPath((0, 0), text, size=size)
    box = path.get_extents()
    return path, box.x1, box.y0, box.y1


def gradient_flow(
    steps: NDArray[np.int64], signal: Array, start: Array, end: Array, title: str, theory: Array | None = None
) -> Sheet:
    """‖δ_l‖ as colour, layer over step; beside it the profiles over depth at both ends, with theory's.

    `signal` [T, L] at `steps` [T], which are drawn log-spaced where they are many; `start`, `end` are [seeds, L]: thin
    lines for seeds, a thick one for their geometric mean, shaded its 95 % interval (Student's t of the logarithms, from
    three seeds on); `theory` is ln(‖δ_l‖²/‖δ_L‖²), [L], drawn from the mean ‖δ_L‖ before training. Colours and profiles
    span two decades at least, so that small changes look small.
    """
    sheet = Sheet()
    chosen = log_spaced(len(steps), MOST_COLUMNS)
    draw_flow(sheet, steps[chosen], signal[chosen], "log-spaced" if len(chosen) < len(steps) else spacing(steps))
    draw_profiles(sheet, start, end, theory)
    sheet.write(WIDTH / 2, HEIGHT - 18, title, size=12)
    sheet.ink()
    return sheet


def spacing(steps: NDArray[np.int64]) -> str:
    """`log-spaced` or `not evenly spaced`; nothing where steps are even. The last one is measured wherever it falls.

    Log-spaced are whole numbers to which growth by a ratio is rounded: each pair bounds that ratio.
    """
    gaps, inner = np.diff(steps), steps[steps > 0][:-1]
    if len(gaps) < 2 or (len(set(gaps[:-1])) == 1 and gaps[-1] <= gaps[0]):
        return ""
    before, after = inner[:-1], inner[1:]
    least, most = (after - 0.5) / (before + 0.5), (after + 0.5) / (before - 0.5)
    grows = len(before) > 1 and least.max() <= most.min() and steps[-1] <= (inner[-1] + 0.5) * most.min() + 0.5
    return "log-spaced" if grows else "not evenly spaced"


def draw_flow(sheet: Sheet, steps: NDArray[np.int64], signal: Array, spaced: str) -> None:
    """The heat map of `signal` [t, L] and its scale; `spaced` says how steps are, unless evenly."""
    with np.errstate(divide="ignore"):
        logarithms = np.log10(signal.T)  # [L, t]
    finite = logarithms[np.isfinite(logarithms)]
    low, high = widened(finite.min(), finite.max()) if len(finite) else (-1.0, 1.0)
    sheet.image(logarithms, FLOW, low, high)
    sheet.image(np.linspace(low, high, 64)[:, None], SCALE, low, high)
    (left, bottom, right, top), (depth, count) = FLOW, logarithms.shape
    for place in evenly_spaced(count, 5):
        sheet.write(left + (right - left) * (place + 0.5) / count, bottom - 13, str(steps[place]))
    for place in range(0, depth, math.ceil(depth / 10)):
        sheet.write(left - 5, bottom + (top - bottom) * (place + 0.5) / depth, str(place + 1), "right", middle=True)
    for decade in decades(low, high):
        height = bottom + (top - bottom) * (decade - low) / (high - low)
        sheet.write(SCALE[2] + 4, height, f"10{superscript(decade)}", "left", SMALL, middle=True)
    missing = "" if len(finite) == logarithms.size else "; white: 0 or not finite"
    sheet.write((left + right) / 2, bottom - 30, f"step (updates){', ' * bool(spaced)}{spaced}{missing}")
    sheet.write(left - 27, (bottom + top) / 2, "layer (1 is next to the input)", upright=True)
    sheet.write(SCALE[2] + 20, top + 9, "backpropagated signal ‖δₗ‖", "right", SMALL)


def draw_profiles(sheet: Sheet, start: Array, end: Array, theory: Array | None) -> None:
    """‖δ_l‖ of each seed over depth, and the geometric means, in a frame with a log axis."""
    left, bottom, right, top = PROFILE
    logarithms = {colour: np.log10(own) for colour, own in ((BLUE, start), (ORANGE, end)) if len(own)}
    expected = None if theory is None else np.log10(start)[:, -1].mean() + theory / 2 / math.log(10)
    shown = np.concatenate([*logarithms.values(), *([] if expected is None else [expected[None]])])
    least, most = np.nanmin(shown), np.nanmax(shown)  # a watched module's frozen layers have no δ
    margin = 0.05 * (most - least)
    low, high = widened(least - margin, most + margin)
    depth = shown.shape[1]
    across = left + (right - left) * (np.arange(depth) + 0.25) / (depth - 0.5)

    def up(values: Array) -> Array:
        return bottom + (top - bottom) * (values - low) / (high - low)

    ticks = [int(layer) for layer in range(0, depth, round_step(depth))]
    marks = decades(low, high)
    sheet.grid(across[ticks], up(np.array(marks, dtype=float)), PROFILE)
    for layer in ticks:
        sheet.write(across[layer], bottom - 14, str(layer + 1))
    for decade, height in zip(marks, up(np.array(marks, dtype=float)), strict=True):
        sheet.write(left - 6, height, f"10{superscript(decade)}", "right", middle=True)
    for colour, own in logarithms.items():
        if len(own) >= LEAST_SEEDS:
            ends = np.clip(interval(own), low, high)
            sheet.band(across, up(ends[0]), up(ends[1]), colour)
        seeds = np.pad(up(own), ((0, 0), (0, 1)), constant_values=np.nan).ravel()  # one line with gaps
        sheet.line(np.tile([*across, np.nan], len(own)), seeds, color=colour, alpha=0.3, linewidth=0.8)
        sheet.line(across, up(own.mean(axis=0)), color=colour, marker="o", markersize=3.5, linewidth=1.5)
    if expected is not None:
        sheet.line(across, up(expected), color=BLACK, linestyle=(0, (1, 1.5)), linewidth=1.2)
        sheet.write((left + right) / 2, top + 4, "dotted: theory", size=SMALL)
    sheet.write(left, top + 4, "before training", "left", SMALL, BLUE)
    if len(end):
        sheet.write(right, top + 4, "after training", "right", SMALL, ORANGE)
    told = "layer (1 is next to the input)"
    if len(start) > 1:
        told += f"; thick: geometric mean of {len(start)} seeds"
    if len(start) >= LEAST_SEEDS:
        told = f"layer; thick: geometric mean of {len(start)} seeds, shaded: its 95 %"
    sheet.write((left + right) / 2, bottom - 29, told, size=SMALL)
    sheet.write(left - 36, (bottom + top) / 2, "backpropagated signal ‖δₗ‖", upright=True)


def interval(values: Array) -> Array:
    """Ends of the 95 % interval of the mean over seeds of each column, [2, L], for values [seeds, L]; Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    ends: Array = values.mean(axis=0) + np.array([[-1], [1]]) * half
    return ends


def widened(low: float, high: float) -> tuple[float, float]:
    """Two logarithms, drawn apart to LEAST_DECADES at least: a signal that passes looks as flat as it is."""
    more = max(0.0, LEAST_DECADES - (high - low)) / 2
    return low - more, high + more


def decades(low: float, high: float) -> list[int]:
    """At most six whole numbers between two logarithms, evenly apart."""
    found = range(math.ceil(low), math.floor(high) + 1)
    return list(found[:: max(1, math.ceil(len(found) / 5))])


def round_step(count: int) -> int:
    """1, 2, 5, 10, 20, … : how far apart at most MOST_LABELS of `count` labels are."""
    steps = (int(one * 10**power) for power in range(9) for one in (1, 2, 5))
    return next(step for step in steps if count <= MOST_LABELS * step)


def flow_of(runs: Sequence[Result]) -> tuple[NDArray[np.int64], Array]:
    """Steps [T] at which δ of any seed was measured, and ‖δ_l‖ there, the geometric mean over seeds that have one."""
    measured = [run.record.measured("delta_norm") for run in runs]
    steps = max((own for own, _ in measured), key=len)
    logarithms = np.full((len(measured), len(steps), measured[0][1].shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for seed, (own, values) in enumerate(measured):
            logarithms[seed, np.searchsorted(steps, own)] = np.log(values.astype(np.float64))
        count = np.isfinite(logarithms).sum(axis=0)
        total = np.where(np.isfinite(logarithms), logarithms, 0).sum(axis=0)
        return steps, np.where(count > 0, np.exp(total / count), np.nan)
