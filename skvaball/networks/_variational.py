"""What the variational autoencoders of several strategies have in common."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

#: Bound on the log-variances of an encoder: exp stays finite in float32 and
#: a posterior narrower than exp(-5) of the prior's width carries no more information.
LOG_VARIANCE_RANGE = (-10.0, 10.0)


def gaussian_kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), value by value."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers between these widths, with rectified units in between."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
