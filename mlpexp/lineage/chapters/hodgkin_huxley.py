"""Chapter 1: an axon at rest, at its threshold, refractory, and firing.

Flow: hodgkin_huxley, action_potentials → **chapter** → finding.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlpexp.figures import BLUE, GREY, ORANGE, PALETTE, Figure
from mlpexp.lineage.action_potentials import (
    absolute_refractory_period,
    after_pulse,
    firing_curve,
    rheobase,
    spikes,
    state_after_spike,
    thresholds,
)
from mlpexp.lineage.chapters.axes import tidy
from mlpexp.lineage.finding import Finding
from mlpexp.lineage.hodgkin_huxley import GATES, Floats, integrate, resting_state

LEAD = 5.0
"""ms at rest before the current comes."""


@dataclass(frozen=True)
class Axon:
    """Everything the figure shows. Potentials and pulses in mV, times in ms, currents in µA/cm², rates in 1/s."""

    current: float
    times: Floats  # [T]
    states: Floats  # [4, T]
    threshold: float
    peaks: tuple[Floats, Floats]  # pulses [N], highest potential after each
    brief: dict[float, tuple[Floats, Floats]]  # pulse over threshold → times, potentials
    refractory: float
    second: tuple[Floats, Floats]  # intervals [N], threshold of a second pulse
    rheobase: float
    rates: tuple[Floats, Floats]  # currents [N], spikes per second


def find(current: float, duration: float) -> Finding:
    """The axon under a current (µA/cm²) for a duration (ms), and what is the same for every current."""
    axon = examine(current, duration)
    return Finding(
        "hodgkin_huxley",
        lines_of(axon),
        {"current": current, "duration": duration, "temperature": 6.3},
        metrics_of(axon),
        draw(axon),
        tables_of(axon),
    )


def examine(current: float, duration: float) -> Axon:
    """Ask everything; three seconds."""
    rest = resting_state()
    times = np.arange(0.0, duration + 0.025, 0.05)
    under = integrate(rest, current, times)
    before = np.arange(-LEAD, 0.0, 0.05)
    still = np.repeat(rest[:, None], len(before), axis=1)
    threshold = float(thresholds(rest[:, None])[0])
    shares = np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2.0])
    moments, potentials = after_pulse(rest, shares * threshold)
    pulses = np.concatenate([np.linspace(0, threshold - 1e-3, 40), np.linspace(threshold + 1e-3, 3 * threshold, 40)])
    refractory = absolute_refractory_period(2 * threshold)
    intervals = np.concatenate([[refractory + 0.01], np.arange(np.ceil(refractory * 2) / 2, 30.25, 0.5)])
    return Axon(
        current,
        np.concatenate([before, times]),
        np.concatenate([still, under], axis=1),
        threshold,
        (pulses, after_pulse(rest, pulses)[1].max(axis=1)),
        {float(share): (moments, row) for share, row in zip(shares, potentials, strict=True)},
        refractory,
        (intervals, thresholds(state_after_spike(intervals, 2 * threshold))),
        rheobase(),
        firing_curve(),
    )


def recovered(axon: Axon) -> float:
    """ms after the first pulse at which a second one needs no more than it does at rest."""
    intervals, needed = axon.second
    return float(intervals[np.nanargmax(needed <= axon.threshold)])


def onset(axon: Axon) -> tuple[float, float]:
    """The smallest current of the curve under which the axon goes on firing, and its rate there."""
    currents, rates = axon.rates
    first = int(np.argmax(rates > 0))
    return float(currents[first]), float(rates[first])


def lines_of(axon: Axon) -> list[str]:
    """What the terminal shows."""
    v, m, h, n = resting_state()
    fired = spikes(axon.times, axon.states[:1])[0]
    rate = f", the last two at {1000 / (fired[-1] - fired[-2]):.1f}/s" if len(fired) > 1 else ""
    below, above = (axon.brief[share][1].max() for share in (0.99, 1.01))
    word = "spike" if len(fired) == 1 else "spikes"
    return [
        "squid axon at 6.3 °C, by the equations of 1952; depolarisation is positive",
        f"rest                  {v:.3f} mV, m {m:.4f}, h {h:.4f}, n {n:.4f}",
        f"threshold             {axon.threshold:.3f} mV, by a brief pulse: 1 % less ends at {below:.0f} mV,",
        f"                      1 % more at {above:+.0f} mV: all or none",
        f"refractory            {axon.refractory:.2f} ms after a pulse of 2 × threshold, absolutely; after",
        f"                      {recovered(axon):.1f} ms a second one needs no more than at rest",
        f"lasting current       {axon.rheobase:.3f} µA/cm² for one spike,",
        f"                      {onset(axon)[0]:.2f} to go on firing, from the first at {onset(axon)[1]:.0f}/s",
        f"{f'{axon.current:g} µA/cm²':<21} {len(fired)} {word} in {axon.times[-1]:g} ms{rate}",
    ]


def metrics_of(axon: Axon) -> dict[str, float]:
    """For MLflow."""
    return {
        "rest_mV": float(resting_state()[0]),
        "threshold_mV": axon.threshold,
        "absolute_refractory_ms": axon.refractory,
        "recovered_ms": recovered(axon),
        "rheobase_uA_per_cm2": axon.rheobase,
        "onset_uA_per_cm2": onset(axon)[0],
        "rate_at_onset_per_s": onset(axon)[1],
        "spikes": float(len(spikes(axon.times, axon.states[:1])[0])),
    }


def tables_of(axon: Axon) -> dict[str, pd.DataFrame]:
    """The numbers behind the figure."""
    trace = pd.DataFrame(axon.states.T, columns=["potential_mV", *GATES])
    trace.insert(0, "time_ms", axon.times)
    pulses = [
        pd.DataFrame({"pulse_over_threshold": share, "time_ms": times, "potential_mV": potentials})
        for share, (times, potentials) in axon.brief.items()
    ]
    return {
        "trace": trace,
        "pulses": pd.concat(pulses),
        "peaks": pd.DataFrame({"pulse_mV": axon.peaks[0], "peak_mV": axon.peaks[1]}),
        "refractoriness": pd.DataFrame({"interval_ms": axon.second[0], "threshold_mV": axon.second[1]}),
        "firing_rates": pd.DataFrame({"current_uA_per_cm2": axon.rates[0], "rate_per_s": axon.rates[1]}),
    }


def draw(axon: Axon) -> Figure:
    """Six panels: the trace, its gates, brief pulses; all or none, refractoriness, firing rate."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    panels = figure.subplots(2, 3)
    trace, gates, brief, peaks, second, rates = panels.flat
    trace.plot(axon.times, axon.states[0], color=BLUE, linewidth=1.1)
    trace.axvspan(0, axon.times[-1], color=GREY, alpha=0.15, linewidth=0)
    tidy(trace, f"action potentials under {axon.current:g} µA/cm² (grey)", "time / ms", "potential V / mV")
    for gate, row, colour, style in zip(GATES, axon.states[1:], PALETTE[:3], ("-", "--", "-."), strict=True):
        gates.plot(axon.times, row, style, color=colour, linewidth=1.1, label=f"${gate}$")
    gates.legend(ncols=3, loc="upper center", frameon=False, bbox_to_anchor=(0.5, 1.0))
    gates.set_ylim(-0.03, 1.2)
    tidy(gates, "sodium opens ($m$), closes ($h$); potassium ($n$)", "time / ms", "gate")
    for share, (times, potentials) in axon.brief.items():
        colour = ORANGE if share > 1 else BLUE
        brief.plot(times, potentials, color=colour, linewidth=1.1, alpha=0.5 if share in (0.5, 2.0) else 1.0)
    brief.text(0.97, 0.9, "1.01, 1.1, 2 × threshold", color=ORANGE, ha="right", transform=brief.transAxes)
    brief.text(0.97, 0.8, "0.5, 0.9, 0.99 × threshold", color=BLUE, ha="right", transform=brief.transAxes)
    tidy(brief, "after a brief pulse", "time / ms", "potential V / mV")
    pulses, highest = axon.peaks
    for rows in (pulses < axon.threshold, pulses > axon.threshold):
        peaks.plot(pulses[rows], highest[rows], color=BLUE)
    peaks.axvline(axon.threshold, color=GREY, linestyle=":", label=f"threshold {axon.threshold:.2f} mV")
    peaks.legend(frameon=False, loc="center right")
    tidy(peaks, "all or none", "pulse / mV", "highest potential / mV")
    intervals, needed = axon.second
    second.plot(intervals, needed, color=BLUE)
    second.axhline(axon.threshold, color=GREY, linestyle=":", label="threshold at rest")
    second.axvspan(0, axon.refractory, color=ORANGE, alpha=0.25, linewidth=0, label="absolutely refractory")
    second.set_xlim(0, intervals[-1])
    second.set_ylim(0, None)
    second.legend(frameon=False, loc="upper right")
    tidy(second, "refractoriness", "time after the first pulse / ms", "threshold of a second pulse / mV")
    currents, frequencies = axon.rates
    for rows in (frequencies == 0, frequencies > 0):
        rates.plot(currents[rows], frequencies[rows], color=BLUE)
    begins = onset(axon)[0]
    rates.axvline(begins, color=GREY, linestyle=":", label=f"onset {begins:.2f} µA/cm²")
    rates.legend(frameon=False, loc="lower right")
    tidy(rates, "firing begins with a jump", "lasting current / (µA/cm²)", "spikes / s$^{-1}$")
    return figure
