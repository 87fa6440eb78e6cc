"""Activations of a user's own, as the text of their files."""

MISH = '''\
"""mish: z·tanh(softplus(z)) (Misra 2020); text with\ttabs, ${interpolations} and a line that ends in spaces:   """

import torch


def tanh_of_softplus(z):
    return torch.tanh(torch.clamp(z, min=0) + torch.log1p(torch.exp(-z.abs())))


def value(z):
    return z * tanh_of_softplus(z)


def derivative(z, x):
    t = tanh_of_softplus(z)
    return t + z * (1 - t * t) / (1 + torch.exp(-z))
'''

HEAD = "import torch\n"
GOOD = "def derivative(z, x): return torch.ones_like(z)\n"
"""How a file begins, and how one ends whose value is z."""
