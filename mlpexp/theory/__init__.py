"""What theory predicts of a network before it is trained: mean field, wide layers, independent weights.

Numbers only: nothing here knows a network, a config or torch. Variances are σ_w² = k_l·Var(W_l) and σ_b² = Var(b), so
Glorot is σ_w² = 2k_l/(k_l + k_{l+1}), layer by layer; `predict` takes a list of them.

>>> from mlpexp.theory import MeanField, activation, depth_scale
>>> layer = MeanField(activation("tanh"), sigma_w2=25 / 9)  # gain 5/3
>>> stable = layer.fixed_points[-1]
>>> print(f"q* = {stable.q:.3f}, χ = {stable.chi:.3f}, ξ = {depth_scale(stable.chi):.2f} layers")
q* = 1.178, χ = 1.210, ξ = 5.25 layers
"""

from mlpexp.theory.activations import ACTIVATIONS, Activation, activation, of_functions
from mlpexp.theory.criticality import Critical, NotCritical, critical, critical_line
from mlpexp.theory.finite_width import dead_layer_probability, dead_unit_share, log_delta2_variance
from mlpexp.theory.integrals import Unreachable, gaussian_mean, pair_mean
from mlpexp.theory.mean_field import FixedPoint, MeanField, depth_scale
from mlpexp.theory.profiles import Architecture, BatchNorm, Profile, predict, skips_of

__all__ = [
    "ACTIVATIONS", "Activation", "Architecture", "BatchNorm", "Critical", "FixedPoint", "MeanField", "NotCritical",
    "Profile", "Unreachable", "activation", "critical", "critical_line", "dead_layer_probability", "dead_unit_share",
    "depth_scale", "gaussian_mean", "log_delta2_variance", "of_functions", "pair_mean", "predict", "skips_of",
]  # fmt: skip
