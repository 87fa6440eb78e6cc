"""The squid's axon, computed: `compute` asks it, `draw` and `claims` take the table that comes back.

One row is one answer: `part` says to which question, `series` to which curve, `x` and `value` are its coordinates.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, exact, judged
from mlpexp.lineage.action_potentials import (
    absolute_refractory_period,
    after_pulse,
    evokes,
    firing_curve,
    state_after_spike,
    thresholds,
)
from mlpexp.lineage.hodgkin_huxley import Floats, derivative, integrate, resting_state
from mlpexp.paper import COLOURS, MARKERS, THEORY, Figure, panels

SHARES = (0.9, 0.99, 1.01, 1.1)
"""Of the threshold: the pulses whose potentials are drawn."""
NEAR = 0.01
"""A pulse within one percent of the threshold is neither below nor above it."""
SILENT, FULL = -30.0, 20.0  # mV: no spike stays below the one, every spike rises above the other
LEAST_RATE = 40.0  # spikes a second
ORDER_MARGIN = 0.5
SPIKE, SPIKE_TIME = 10.0, 8.0  # mV, ms: the spike on which step sizes are compared


def compute(pulses: int, intervals: int, currents: int, steps: Sequence[float]) -> pd.DataFrame:
    """Answers of the axon; `pulses`, `intervals`, `currents` are how many of each, `steps` are in ms."""
    rest = resting_state()
    threshold = float(thresholds(rest[:, None])[0])
    refractory = absolute_refractory_period(2 * threshold)
    moments, potentials = after_pulse(rest, threshold * np.array(SHARES))
    found = [rows("threshold", "threshold", [threshold], [threshold]), rows("refractory", "end", [refractory], [0])]
    found += [rows("trace", f"{s:g}", moments, row) for s, row in zip(SHARES, potentials, strict=True)]
    sizes = threshold * np.unique([*np.linspace(0.05, 3, pulses), 1 - NEAR, 1 + NEAR])
    found.append(rows("peak", "peak", sizes, after_pulse(rest, sizes)[1].max(axis=1)))
    before = np.linspace(1.0, refractory - 0.05, intervals)
    fires = evokes(state_after_spike(before, 2 * threshold), np.full(intervals, 50.0))
    found.append(rows("refractory", "50 mV", before, fires.astype(float)))
    after = np.linspace(refractory + 0.02, 30.0, intervals)
    found.append(rows("second", "second", after, thresholds(state_after_spike(after, 2 * threshold))))
    found.append(rows("rate", "rate", *firing_curve(40.0, currents, max(2, currents // 2))))
    found.append(rows("step", "error", steps, [error_of(step) for step in steps]))
    return pd.concat(found, ignore_index=True)


def rows(part: str, series: str, x: Sequence[float] | Floats, value: Sequence[float] | Floats) -> pd.DataFrame:
    """One row a point of a curve."""
    return pd.DataFrame({"part": part, "series": series, "x": x, "value": value})


def error_of(step: float) -> float:
    """Largest error of the potential in mV over a spike, of fixed steps (ms), against steps that adapt to 1e-12."""
    start = resting_state()
    start[0] += SPIKE
    count = round(SPIKE_TIME / step)
    path = np.empty((4, count + 1))
    path[:, 0] = start
    for i in range(count):
        path[:, i + 1] = runge_kutta(path[:, i], step)
    true = integrate(start, 0.0, step * np.arange(count + 1, dtype=np.float64), rtol=1e-12)
    return float(np.abs(path[0] - true[0]).max())


def runge_kutta(state: Floats, step: float) -> NDArray[np.float64]:
    """The state a step later, by the classical method of fourth order (Kutta 1901)."""
    one = derivative(state, 0.0)
    two = derivative(state + step / 2 * one, 0.0)
    three = derivative(state + step / 2 * two, 0.0)
    four = derivative(state + step * three, 0.0)
    return state + step / 6 * (one + 2 * two + 2 * three + four)


def draw(table: pd.DataFrame) -> Figure:
    figure, (traces, peaks, second, rates, errors) = panels(5)
    for number, (series, own) in enumerate(table[table["part"] == "trace"].groupby("series", sort=False)):
        traces.plot(own["x"], own["value"], color=COLOURS[number], label=f"{series} × threshold")
    traces.set_xlabel("time after the pulse (ms)")
    traces.set_ylabel("potential (mV)")
    traces.legend(loc="upper right")
    threshold, end = first(table, "threshold"), first(table, "refractory", "end")
    pulse, peak = curve_of(table, "peak")
    peaks.plot(pulse, peak, MARKERS[0], color=COLOURS[0], markersize=2.4, label="highest potential")
    peaks.axvline(threshold, **THEORY, label=f"threshold, {threshold:.2f} mV")
    peaks.set_xlabel("pulse (mV)")
    peaks.set_ylabel("highest potential (mV)")
    peaks.legend(loc="center right")
    interval, needed = curve_of(table, "second")
    second.axvspan(0, end, color=COLOURS[4], alpha=0.3, linewidth=0, label=f"refractory, {end:.1f} ms")
    second.vlines(interval, needed * 0.995, needed * 1.005, color=COLOURS[0], label="_precision")
    second.plot(interval, needed, color=COLOURS[0], label="second pulse")
    second.axhline(threshold, **THEORY, label="threshold at rest")
    second.set_xlim(0, None)
    second.set_ylim(0, None)
    second.set_xlabel("time after the first pulse (ms)")
    second.set_ylabel("second pulse needed (mV)")
    second.legend(loc="upper right")
    current, rate = curve_of(table, "rate")
    rates.plot(current, rate, MARKERS[0], color=COLOURS[0], markersize=2.0, label="firing rate")
    rates.axhline(LEAST_RATE, **THEORY, label=f"{LEAST_RATE:g} spikes a second")
    rates.set_xlabel("lasting current (µA/cm²)")
    rates.set_ylabel("spikes a second")
    rates.legend(loc="lower right")
    step, error = curve_of(table, "step")
    errors.loglog(step, error, marker=MARKERS[0], color=COLOURS[0], label="Runge–Kutta, 4th order")
    errors.loglog(step, error[-1] * (step / step[-1]) ** 4, **THEORY, label="slope 4")
    errors.set_xticks(step, [f"{one:g}" for one in step])
    errors.minorticks_off()
    errors.set_xlabel("step (ms)")
    errors.set_ylabel("largest error (mV)")
    errors.legend(loc="lower right")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Hodgkin & Huxley 1952"
    threshold = first(table, "threshold")
    pulse, peak = curve_of(table, "peak")
    clear = np.abs(pulse / threshold - 1) >= NEAR * 0.999
    right = np.where(pulse < threshold, peak < SILENT, peak > FULL)
    _, fires = curve_of(table, "refractory", "50 mV")
    _, needed = curve_of(table, "second")
    until = int(np.argmax(needed <= threshold)) + 1 if (needed <= threshold).any() else len(needed)
    _, rate = curve_of(table, "rate")
    return judged(
        [
            exact(
                "all_or_none",
                f"a pulse of 1 % less than the threshold, or smaller, never gets the axon above {SILENT:g} mV, and one "
                f"of 1 % more, or larger, always above +{FULL:g} mV",
                list(right[clear]),
                source,
            ),
            exact(
                "absolutely_refractory",
                "just after a spike 50 mV, more than seven times the threshold at rest, evoke no second one",
                list(fires == 0),
                source,
            ),
            exact(
                "relatively_refractory",
                "then the pulse that is needed falls steadily, to what it is at rest or below it",
                [*(np.diff(needed[:until]) < 0), bool((needed <= threshold).any())],
                source,
            ),
            exact(
                "firing_begins_with_a_jump",
                f"no lasting current makes the axon go on firing at less than {LEAST_RATE:g} spikes a second",
                list((rate == 0) | (rate >= LEAST_RATE)),
                "Hodgkin 1948, class 2; Rinzel 1978 for these equations",
            ),
            exact(
                "steps_converge",
                f"halving the step divides the error by two to the power of 4 ± {ORDER_MARGIN:g}",
                [abs(order - 4) <= ORDER_MARGIN for order in orders(table)],
                "Kutta 1901",
            ),
        ]
    )


def orders(table: pd.DataFrame) -> Floats:
    """Slope of ln(error) over ln(step) between neighbouring steps."""
    step, error = curve_of(table, "step")
    slopes: Floats = np.diff(np.log(error)) / np.diff(np.log(step))
    return slopes


def curve_of(table: pd.DataFrame, part: str, series: str | None = None) -> tuple[Floats, Floats]:
    """x and value of one curve."""
    own = table[(table["part"] == part) & ((table["series"] == series) if series else True)]
    return own["x"].to_numpy(float), own["value"].to_numpy(float)


def first(table: pd.DataFrame, part: str, series: str | None = None) -> float:
    """The x of a curve of one point."""
    return float(curve_of(table, part, series)[0][0])
