"""What one asks of an axon: where its threshold lies, how long it is refractory, how fast it fires under a current.

Flow: hodgkin_huxley → **action_potentials** → chapters. A spike is one upward crossing of 0 mV that the axon makes by
itself; a pulse is so short that it only displaces the potential, by ΔV = Q/C: 1 mV is 1 nC/cm².

Many axons are integrated side by side, so a search asks for many values at once and narrows in on the right one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mlpexp.lineage.hodgkin_huxley import Floats, integrate, resting_state

WINDOW = 20.0
"""ms after a pulse in which a spike has to come; near threshold it comes late."""
LARGEST_PULSE = 50.0
"""mV; where not even this much evokes a spike, the axon counts as absolutely refractory."""
SAMPLE = 0.05  # ms
SIDE_BY_SIDE = 256
"""So many axons cost little more than one: a search cuts its brackets into so many parts at once."""


def spikes(times: Floats, potentials: Floats) -> list[Floats]:
    """Times of the upward crossings of 0 mV in each row of `potentials` [N, T], between samples by a line."""
    rises = (potentials[:, :-1] < 0) & (potentials[:, 1:] >= 0)
    before, after = potentials[:, :-1], potentials[:, 1:]
    share = np.divide(-before, after - before, out=np.zeros_like(before), where=rises)
    return [times[:-1][row] + np.diff(times)[row] * part[row] for row, part in zip(rises, share, strict=True)]


def after_pulse(states: Floats, pulses: Floats, window: float = WINDOW) -> tuple[Floats, Floats]:
    """Times [T] and potentials [N, T] after `pulses` [N] (mV) displace the potential of `states` [4] or [4, N]."""
    start = np.repeat(states[:, None], len(pulses), axis=1) if states.ndim == 1 else states.copy()
    start[0] += pulses
    times = np.arange(0.0, window + SAMPLE / 2, SAMPLE)
    return times, integrate(start, 0.0, times, rtol=1e-6, method="RK45")[0]


def evokes(states: Floats, pulses: Floats) -> NDArray[np.bool_]:
    """Whether each pulse is followed by a spike, [N]."""
    return np.array([len(found) > 0 for found in spikes(*after_pulse(states, pulses))])


def thresholds(states: Floats) -> Floats:
    """The smallest pulse that evokes a spike from each of `states` [4, N], mV, [N]; NaN where `LARGEST_PULSE` fails."""

    def fires(pulses: Floats) -> NDArray[np.bool_]:  # [N, k]
        return evokes(np.repeat(states, pulses.shape[1], axis=1), pulses.ravel()).reshape(pulses.shape)

    count = states.shape[1]
    excitable = fires(np.full((count, 1), LARGEST_PULSE))[:, 0]
    found = smallest(fires, np.zeros(count), np.full(count, LARGEST_PULSE))
    return np.where(excitable, found, np.nan)


def smallest(
    holds: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats, precision: float = 1e-3
) -> Floats:
    """The smallest value between `low` and `high` [N] from which on something holds, at most `precision` too large.

    `holds` takes values [N, k] and returns booleans of that shape; it must be false at low, true at high, and change
    once.
    """
    sections = max(8, SIDE_BY_SIDE // len(low))
    steps = np.arange(1, sections) / sections
    while (width := high - low).max() > precision:
        fails = (~holds(low[:, None] + width[:, None] * steps)).sum(axis=1)
        low, high = low + width * fails / sections, low + width * (fails + 1) / sections
    return high


def state_after_spike(intervals: Floats, pulse: float) -> Floats:
    """The axon's state [4, N] at `intervals` (ms, ascending) after a pulse at rest."""
    start = resting_state()
    start[0] += pulse
    return integrate(start, 0.0, np.concatenate([[0.0], intervals]))[:, 1:]


def absolute_refractory_period(pulse: float, low: float = 1.0, high: float = 20.0) -> float:
    """ms after a pulse (which must evoke a spike) until `LARGEST_PULSE` evokes another one."""

    def fires(intervals: Floats) -> NDArray[np.bool_]:
        states = state_after_spike(intervals.ravel(), pulse)
        return evokes(states, np.full(states.shape[1], LARGEST_PULSE)).reshape(intervals.shape)

    return float(smallest(fires, np.array([low]), np.array([high]))[0])


def under_current(currents: Floats, duration: float) -> tuple[Floats, Floats]:
    """Times [T] and potentials [N, T] of axons at rest that get `currents` [N] (µA/cm²) from t = 0 on."""
    start = np.repeat(resting_state()[:, None], len(currents), axis=1)
    times = np.arange(0.0, duration + SAMPLE, 2 * SAMPLE)
    return times, integrate(start, currents, times, rtol=1e-5, method="RK45")[0]


def firing_rates(currents: Floats, duration: float = 200.0, settled: float = 80.0) -> Floats:
    """Spikes per second under each current, [N], from the intervals after `settled` ms; 0 where it has fallen silent.

    An axon counts as silent if it has no two spikes after `settled`, or misses two of its own intervals at the end.
    """
    rates = np.zeros(len(currents))
    for i, times in enumerate(spikes(*under_current(currents, duration))):
        late = times[times >= settled]
        if len(late) >= 2:
            interval = np.diff(late).mean()
            rates[i] = 1000.0 / interval if duration - late[-1] < 2 * interval else 0.0
    return rates


def rheobase(low: float = 0.0, high: float = 20.0) -> float:
    """The smallest lasting current that evokes a spike from rest, µA/cm²."""

    def fires(currents: Floats) -> NDArray[np.bool_]:
        found = spikes(*under_current(currents.ravel(), 40.0))
        return np.array([len(times) > 0 for times in found]).reshape(currents.shape)

    return float(smallest(fires, np.array([low]), np.array([high]))[0])


def firing_curve(highest: float = 40.0, steps: int = 80, finer: int = 64) -> tuple[Floats, Floats]:
    """Lasting currents from 0 to `highest` (µA/cm², [N]), closer together where firing begins, and their firing rates.

    Axons start at rest; once firing, some would go on under a slightly weaker current.
    """
    currents = np.linspace(0.0, highest, steps + 1)
    rates = firing_rates(currents)
    first = int(np.argmax(rates > 0))
    between = np.linspace(currents[first - 1], currents[first], finer + 1)[1:-1]
    return np.insert(currents, first, between), np.insert(rates, first, firing_rates(between))
