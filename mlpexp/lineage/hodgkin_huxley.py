"""The squid's axon as four differential equations: what a neuron does, before anyone thinks of a network.

Flow: plain numbers → **hodgkin_huxley** → action_potentials (what one asks of it).

Hodgkin & Huxley, J. Physiol. 117 (1952) 500–544, eqs. 26, 7, 15, 16, rate functions 12, 13, 20, 21, 23, 24, constants
of table 3, at 6.3 °C. They count V from the resting potential, depolarisation negative, and inward current positive.
Here, as is usual today, V is the inside against the outside, depolarisation is positive, and the axon rests at −65 mV:

    V = −65 mV − V₁₉₅₂,    I = −I₁₉₅₂,    E = −65 mV − V_ion

so that their V_Na = −115, V_K = 12, V_l = −10.613 mV are E_Na = 50, E_K = −77, E_L = −54.387 mV. Units throughout: mV,
ms, µA/cm², mS/cm², µF/cm².
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import exprel

Floats = NDArray[np.float64]

C = 1.0  # µF/cm²
G_NA, G_K, G_L = 120.0, 36.0, 0.3  # mS/cm²
E_NA, E_K, E_L = 50.0, -77.0, -54.387  # mV
GATES = ("m", "h", "n")


def rates(v: ArrayLike) -> tuple[Floats, ...]:
    """α_m, β_m, α_h, β_h, α_n, β_n in 1/ms at potentials v in mV, each of v's shape.

    α_m and α_n have the form x/(1 − exp(−x)), 0/0 at V = −40 and −55 mV. It is 1/exprel(−x), which is exact there
    (its limit is 1) and next to it, where the quotient would cancel.
    """
    v = np.asarray(v, dtype=np.float64)
    with np.errstate(over="ignore"):  # exp(1000) is inf, and its inverse is the right 0
        return (
            1.0 / exprel(-(v + 40) / 10),
            4.0 * np.exp(-(v + 65) / 18),
            0.07 * np.exp(-(v + 65) / 20),
            1.0 / (1.0 + np.exp(-(v + 35) / 10)),
            0.1 / exprel(-(v + 55) / 10),
            0.125 * np.exp(-(v + 65) / 80),
        )


def steady_gates(v: ArrayLike) -> Floats:
    """m, h, n as they become when the potential is held: α/(α + β), [3, …]."""
    a_m, b_m, a_h, b_h, a_n, b_n = rates(v)
    return np.stack([a_m / (a_m + b_m), a_h / (a_h + b_h), a_n / (a_n + b_n)])


def ionic_current(v: ArrayLike, m: ArrayLike, h: ArrayLike, n: ArrayLike) -> Floats:
    """Outward current through sodium, potassium and leak channels, µA/cm²."""
    v, m, h, n = (np.asarray(x, dtype=np.float64) for x in (v, m, h, n))
    sodium, potassium = G_NA * m * m * m * h * (v - E_NA), G_K * (n * n) * (n * n) * (v - E_K)
    total: Floats = sodium + potassium + G_L * (v - E_L)
    return total


def derivative(state: Floats, current: float | Floats) -> Floats:
    """d/dt of V, m, h, n for `state` [4, …] and an injected current in µA/cm²: the four equations."""
    v, m, h, n = state
    a_m, b_m, a_h, b_h, a_n, b_n = rates(v)
    return np.stack([
        (current - ionic_current(v, m, h, n)) / C,
        a_m * (1 - m) - b_m * m,
        a_h * (1 - h) - b_h * h,
        a_n * (1 - n) - b_n * n,
    ])  # fmt: skip


def resting_state(current: float = 0.0) -> Floats:
    """V, m, h, n where nothing changes, [4]: solved for, so that the net current is zero to rounding.

    The steady current rises with V over the whole bracket, so there is one such state (it need not be stable).
    """
    v = brentq(lambda v: current - ionic_current(v, *steady_gates(v)), -150.0, 100.0, xtol=1e-13)
    return np.concatenate([[v], steady_gates(v)])


def integrate(start: Floats, current: ArrayLike, times: Floats, rtol: float = 1e-9, method: str = "DOP853") -> Floats:
    """V, m, h, n at `times` (ms, from `times[0]` on), [4, …, T], from `start` [4, …] under a constant current.

    Trailing dimensions of `start` are axons side by side, `current` has one value for each; they share the steps of
    scipy's integrator. A stimulus that jumps is integrated in pieces: no step then crosses the jump.
    """
    shape = np.shape(start)
    injected = np.broadcast_to(np.asarray(current, dtype=np.float64), shape[1:])

    def flat(_: float, y: Floats) -> Floats:
        return derivative(y.reshape(shape), injected).ravel()

    found = solve_ivp(
        flat, (times[0], times[-1]), np.ravel(start), method=method, t_eval=times, rtol=rtol, atol=rtol * 1e-1
    )
    if not found.success:
        raise ArithmeticError(f"the integrator gave up at {found.t[-1]:g} ms: {found.message}")
    states: Floats = found.y.reshape(*shape, len(times))
    return states
