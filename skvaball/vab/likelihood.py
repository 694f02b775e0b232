"""Likelihood of a row under each class: decode with one latent block set to zero (Eq. 9).

This is the hot path of VaB-AL: n rows x K classes x S noise draws go through the
decoder. Four exact savings keep it affordable:

* a row is encoded once, and its KL divergence has a closed form;
* setting block n to zero changes the first decoder layer by ``W_n z_n`` alone;
* the decoder ends in a linear layer, so the squared error is a quadratic form of the
  last hidden layer: its Gram matrix (hidden x hidden) replaces the wide output;
* the linear part of that form needs only the mean over the draws.
"""

import numpy as np
import torch
from scipy.stats import norm, qmc
from torch import nn

from skvaball.vab.autoencoder import ClassMaskedVAE, gaussian_kl

#: Decoded vectors held at once. Small enough for the caches, large enough for the products.
VECTORS_PER_CHUNK = 4096


def draw_noise(n_draws: int, n_latent: int, seed: int) -> np.ndarray:
    """Standard normal draws, spread evenly by a scrambled Sobol sequence.

    Parameters
    ----------
    n_draws : int
        Number of draws; their balance is best for powers of two.
    n_latent : int
        Number of latent dimensions.
    seed : int
        Seed of the scrambling.

    Returns
    -------
    ndarray of shape (n_draws, n_latent), float64
        The bank of noise that all rows share, so that a row's likelihood does not
        depend on the rows beside it.
    """
    if n_latent > qmc.Sobol.MAXDIM:
        return np.random.default_rng(seed).standard_normal((n_draws, n_latent))
    # The sequence is drawn to a full power of two, where it is balanced, and then cut.
    points = qmc.Sobol(n_latent, rng=seed).random_base2(int(np.ceil(np.log2(max(n_draws, 1)))))
    noise: np.ndarray = norm.ppf(np.clip(points[:n_draws], 1e-12, 1 - 1e-12))
    return noise


def rows_per_chunk(n_draws: int) -> int:
    """Rows that are decoded at once: products of one shape, whatever the batch."""
    return max(1, VECTORS_PER_CHUNK // n_draws)


def class_activity(
    vae: ClassMaskedVAE, mean: torch.Tensor, log_variance: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Activity of each class block (Eq. 7), averaged over the draws: (n, n_classes).

    The average matters: the mean of the posterior alone is near zero in every block
    that carries nothing, and would take each of them for the row's class.
    """
    z = mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise
    activity = -vae.class_logits(z.flatten(0, 1))
    mean_activity: torch.Tensor = activity.unflatten(0, (-1, len(noise))).mean(1)
    return mean_activity


def masked_kl(vae: ClassMaskedVAE, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL divergence under each class mask, (n, n_classes): all blocks but the masked one."""
    by_block = vae.block_sum(gaussian_kl(mean, log_variance))
    return by_block.sum(1, keepdim=True) - by_block


@torch.inference_mode()
def masked_squared_errors(
    vae: ClassMaskedVAE,
    target: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Expected squared reconstruction error under each class mask (Eq. 9).

    Parameters
    ----------
    vae : ClassMaskedVAE
        The autoencoder.
    target : tensor of shape (n, n_projected)
        What is to be reconstructed.
    mean, log_variance : tensors of shape (n, n_latent)
        The encoder's posterior.
    noise : tensor of shape (n_draws, n_latent)
        Standard normal draws, shared by all rows.

    Returns
    -------
    tensor of shape (n, n_classes)
        Squared error, summed over dimensions and averaged over draws.
    """
    first, *middle, last = list(vae.decoder)
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    n, n_draws = len(target), len(noise)
    gram = last.weight.T @ last.weight
    residual = last.bias - target
    projected = residual @ last.weight
    constant = residual.square().sum(1)
    std = (0.5 * log_variance).exp()
    errors = target.new_empty(n, vae.n_classes)
    rows = rows_per_chunk(n_draws)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        z = (mean[part, None] + std[part, None] * noise).flatten(0, 1)
        base = torch.addmm(first.bias, z, first.weight.T)
        for k, block in enumerate(vae.blocks):
            hidden = base - z[:, block] @ first.weight[:, block].T
            hidden = _apply(middle, hidden)
            quadratic = ((hidden @ gram) * hidden).sum(1).unflatten(0, (-1, n_draws)).mean(1)
            average = hidden.unflatten(0, (-1, n_draws)).mean(1)
            linear = (average * projected[part]).sum(1)
            errors[part, k] = quadratic + 2 * linear + constant[part]
    return errors.clamp_(min=0)


def _apply(layers: list[nn.Module], X: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        X = torch.relu_(X) if isinstance(layer, nn.ReLU) else layer(X)
    return X
