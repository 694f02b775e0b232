"""Likelihood of a row under each class: decode with one latent block set to zero (Eq. 9).

This is the hot path of VaB-AL: n rows x K classes x S noise draws go through the
decoder. Four exact savings keep it affordable:

* a row is encoded once, and its KL divergence has a closed form;
* setting block n to zero changes the first decoder layer by ``W_n z_n`` alone;
* the decoder ends in a linear layer ``W h + b``, so with W = Q R and r = b - x the squared
  error is ``|R h|^2 + 2 r' W h + |r|^2``: the triangle R (hidden x hidden) replaces the wide
  output, and a quarter of it need not be multiplied either;
* the linear part of that sum needs only the mean of h over the draws.

What is left are products of matrices that are as wide as the hidden layers.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax
from scipy.stats import norm, qmc
from torch import nn

from skvaball.features import Features
from skvaball.networks._variational import gaussian_kl
from skvaball.vab.autoencoder import ClassMaskedVAE

#: Decoded vectors held at once: small enough for the caches, large enough for the products.
VECTORS_PER_CHUNK = 2048
#: The same on a GPU, which needs more to be busy: 128 MiB per hidden layer of 128. Fewer if the
#: latent vectors, which grow with the number of classes, are longer than that.
VECTORS_PER_CHUNK_GPU = 2**18
HIDDEN_UNITS = 128
#: What the classifier gives to a class at least, when its word is weighed against another.
MIN_PROBABILITY = 1e-6
_TF32_LOCK = RLock()
#: All draws.
ALL = slice(None)


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


def rows_per_chunk(n_draws: int, n_latent: int, device: str | torch.device = "cpu") -> int:
    """Rows that are decoded at once: products of one shape, whatever the batch."""
    vectors = VECTORS_PER_CHUNK
    if torch.device(device).type != "cpu":
        vectors = VECTORS_PER_CHUNK_GPU // max(1, n_latent // HIDDEN_UNITS)
    return max(1, vectors // n_draws)


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


class MaskedDecoder:
    """Decodes rows under each class mask, and keeps what is left of each: a squared error.

    Parameters
    ----------
    vae : ClassMaskedVAE
        The autoencoder.
    noise : tensor of shape (n_draws, n_latent)
        Standard normal draws, shared by all rows, on the device and of the type of the
        autoencoder.
    dtype : torch.dtype or None, default=None
        Type of the products; None: that of the noise.
    """

    @torch.inference_mode()
    def __init__(
        self, vae: ClassMaskedVAE, noise: torch.Tensor, dtype: torch.dtype | None = None
    ) -> None:
        first, *middle, last = list(vae.decoder)
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        self.noise = noise
        self.dtype = dtype or noise.dtype
        self.blocks = vae.blocks
        self.first = (first.weight.to(self.dtype), first.bias.to(self.dtype))
        self.first_of_block = [self.first[0][:, block].T.contiguous() for block in vae.blocks]
        if self.dtype != first.weight.dtype:
            middle = [copy.deepcopy(layer).to(self.dtype) for layer in middle]
        self.middle = middle
        self.last = last
        # In float64: once for all rows, so that its rounding is none of theirs.
        weight = last.weight.cpu().double()
        triangle = torch.linalg.qr(weight, mode="r").R.to(noise.device, self.dtype)
        # Whole groups of 16 columns: other products round a row by its place.
        half = len(triangle) // 2 // 16 * 16
        self.upper = triangle[:half].T.contiguous()
        # Zero in front of the diagonal.
        self.lower = triangle[half:, half:].T.contiguous()
        outputs = [layer.out_features for layer in middle if isinstance(layer, nn.Linear)]
        self.widths = [*outputs, self.upper.shape[1], self.lower.shape[1]]

    @torch.inference_mode()
    def squared_errors(
        self, target: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor
    ) -> torch.Tensor:
        """Expected squared reconstruction error under each class mask (Eq. 9).

        Parameters
        ----------
        target : tensor of shape (n, n_projected)
            What is to be reconstructed.
        mean, log_variance : tensors of shape (n, n_latent)
            The encoder's posterior.

        Returns
        -------
        tensor of shape (n, n_classes)
            Squared error, summed over dimensions and averaged over draws.
        """
        residual = self.last.bias - target
        std = (0.5 * log_variance).exp()
        linear = 2 * residual @ self.last.weight
        errors = residual.square().sum(1, keepdim=True).repeat(1, len(self.blocks))
        rows = rows_per_chunk(len(self.noise), self.noise.shape[1], target.device)
        for start in range(0, len(target), rows):
            part = slice(start, start + rows)
            z = (mean[part, None] + std[part, None] * self.noise).flatten(0, 1)
            errors[part] += self._reconstructed(z.to(self.dtype), linear[part])
        positive: torch.Tensor = errors.clamp_(min=0)
        return positive

    def _reconstructed(self, z: torch.Tensor, linear: torch.Tensor) -> torch.Tensor:
        """|R h|^2 + linear . h under each mask, averaged over the draws: (n, n_classes)."""
        n, n_draws = len(linear), len(self.noise)
        base = torch.addmm(self.first[1], z, self.first[0].T)
        # One memory for all classes: it stays in the caches, and fresh pages cost as much as
        # a product.
        memory = [torch.empty_like(base), *(z.new_empty(len(z), w) for w in self.widths)]
        result = linear.new_empty(n, len(self.blocks))
        half = self.upper.shape[1]
        for k, (block, weight) in enumerate(zip(self.blocks, self.first_of_block, strict=True)):
            hidden = torch.addmm(base, z[:, block], weight, alpha=-1, out=memory[0])
            hidden = _apply(self.middle, hidden, memory[1:-2])
            torch.mm(hidden, self.upper, out=memory[-2])
            torch.mm(hidden[:, half:], self.lower, out=memory[-1])
            squares = _sum_of_squares(memory[-2], n) + _sum_of_squares(memory[-1], n)
            average = hidden.unflatten(0, (n, n_draws)).mean(1, dtype=linear.dtype)
            result[:, k] = squares / n_draws + (average * linear).sum(1)
        return result


def _sum_of_squares(values: torch.Tensor, n: int) -> torch.Tensor:
    """Sum of squares of n equal parts, added up in float32 at least."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    squares: torch.Tensor = torch.linalg.vector_norm(values.view(n, -1), dim=1, dtype=dtype)
    return squares.square_()


def _apply(layers: list[nn.Module], X: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
    """Linear layers, each into the memory given for it, and the ReLUs between them, in place."""
    outputs = iter(memory)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            X = torch.addmm(layer.bias, X, layer.weight.T, out=next(outputs))
        else:
            torch.relu_(X)
    return X


class Decoded(NamedTuple):
    """What the likelihood of rows is made of: (n, n_classes) float64 each."""

    errors: np.ndarray  # squared error under each mask, over dimensions summed
    kl: np.ndarray  # KL divergence under each mask
    activity: np.ndarray  # activity of each block (Eq. 7)


def class_evidence(decoded: Decoded) -> np.ndarray:
    """Minus the class loss under each label (Eq. 8): (n, n_classes)."""
    evidence: np.ndarray = log_softmax(-decoded.activity, axis=1)
    return evidence


def classifier_log_likelihood(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """What the classifier says about log p(x|yhat_n), up to a constant per row.

    By Bayes' rule p(yhat_n|x) / p(yhat_n), as in hybrids of networks and generative models
    (Bourlard and Morgan 1994, "Connectionist speech recognition").

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        p(yhat_n|x) by the classifier.
    prior : ndarray of shape (n_classes,)
        p(yhat_n).

    Returns
    -------
    ndarray of shape (n, n_classes), float64
    """
    # Not -inf for what the classifier excludes: the autoencoder may know better.
    certain = np.clip(probabilities.astype(np.float64), MIN_PROBABILITY, None)
    log_likelihood: np.ndarray = np.log(certain) - np.log(prior)
    return log_likelihood


class ClassLikelihood:
    """Likelihood of rows under each class, from a trained autoencoder and the classifier (Eq. 9).

    Calling it with the features of n rows gives log p(x|yhat_n), (n, n_classes) in float64.
    It knows all that the likelihood of a row depends on, so that rows can be scored wherever
    they are, and in any order.

    Parameters
    ----------
    vae : ClassMaskedVAE
        Trained; it stays on its device.
    noise : ndarray of shape (n_draws, n_latent)
        Standard normal draws.
    mean, scale : ndarray of shape (n_features,)
        Standardization of the features.
    precision : {"float32", "tf32", "bfloat16"}, default="float32"
        Of the products in the decoder. "tf32" differs on CUDA devices only.

    Attributes
    ----------
    variance : float
        Variance of the Gaussian decoder.
    temperature : float
        Divides the evidence lower bound.
    class_term_weight : float
        Weight of the class loss under each label beside it.
    classifier_weight : float
        Weight of the classifier's own likelihood, from 0 to 1; that of the autoencoder has
        the rest.
    prior : ndarray of shape (n_classes,)
        p(yhat_n), by which the classifier's probabilities become likelihoods.
    """

    def __init__(
        self,
        vae: ClassMaskedVAE,
        noise: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        precision: str = "float32",
    ) -> None:
        self.vae = vae.eval()
        self.precision = precision
        self.noise = noise.astype(np.float32)
        self.mean = mean
        self.scale = scale
        self.variance = 1.0
        self.temperature = 1.0
        self.class_term_weight = 0.0
        self.classifier_weight = 0.0
        self.prior = np.full(vae.n_classes, 1.0 / vae.n_classes)

    def __call__(self, features: Features) -> np.ndarray:
        """Log-likelihood log p(x|yhat_n) of rows, by all draws."""
        return self.of(self.decode(features.values), features.probabilities)

    def of(self, decoded: Decoded, probabilities: np.ndarray) -> np.ndarray:
        """Log-likelihood log p(x|yhat_n) of rows that have been decoded.

        Parameters
        ----------
        decoded : Decoded
        probabilities : ndarray of shape (n, n_classes)
            Of the classifier.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
        """
        log_likelihood = self.evidence(decoded) / self.temperature
        if self.class_term_weight:
            log_likelihood = log_likelihood + self.class_term_weight * class_evidence(decoded)
        if self.classifier_weight:
            own = classifier_log_likelihood(probabilities, self.prior)
            log_likelihood += self.classifier_weight * (own - log_likelihood)
        return log_likelihood

    def early(self, features: Features, n_draws: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihoods by the first half of ``n_draws`` draws, and by all of these."""
        half, values = n_draws // 2, features.values
        first, second = self.decode(values, slice(half)), self.decode(values, slice(half, n_draws))
        both = Decoded(*((a + b) / 2 for a, b in zip(first, second, strict=True)))
        return self.of(first, features.probabilities), self.of(both, features.probabilities)

    def evidence(self, decoded: Decoded) -> np.ndarray:
        """Evidence lower bound of a Gaussian decoder under each mask, in nats."""
        constant = 0.5 * self.vae.projection.n_outputs * np.log(2 * np.pi * self.variance)
        bound: np.ndarray = -decoded.errors / (2 * self.variance) - constant - decoded.kl
        return bound

    def _in_tf32(self) -> bool:
        return self.precision == "tf32" and self.vae.block_of_latent.is_cuda

    @torch.inference_mode()
    def decode(self, values: np.ndarray, draws: slice = ALL) -> Decoded:
        """Decode rows under each mask, by some of the draws or all."""
        device = self.vae.block_of_latent.device
        noise = torch.from_numpy(self.noise[draws]).to(device)
        reduced = torch.bfloat16 if self.precision == "bfloat16" else None
        decoder = MaskedDecoder(self.vae, noise, reduced)
        # Chunks of one size: a row has the same score whatever rows stand beside it.
        size = rows_per_chunk(len(noise), noise.shape[1], device)
        results: list[list[torch.Tensor]] = [[], [], []]
        for start in range(0, len(values), size):
            part = values[start : start + size]
            standardized = (part - self.mean) / self.scale
            padded = np.pad(standardized, ((0, size - len(part)), (0, 0)), mode="edge")
            target, mean, log_variance = self.vae.encode(torch.from_numpy(padded).to(device))
            with tf32_products() if self._in_tf32() else nullcontext():
                errors = decoder.squared_errors(target, mean, log_variance)
            terms = (
                errors,
                masked_kl(self.vae, mean, log_variance),
                class_activity(self.vae, mean, log_variance, noise),
            )
            for result, term in zip(results, terms, strict=True):
                result.append(term[: len(part)])
        # To float64 on the processor: not every device has it.
        return Decoded(*(torch.cat(result).cpu().double().numpy() for result in results))


@contextmanager
def tf32_products() -> Iterator[None]:
    """Let CUDA round the factors of float32 products to 10 bits, as its fast units do.

    The setting is the process's: others who want it wait, and it is as it was afterwards.
    """
    matmul = torch.backends.cuda.matmul
    # Torch does not let its older name and its newer one for the same setting mix.
    name: str = "allow_tf32"
    value: bool | str = True
    if hasattr(matmul, "fp32_precision"):
        name, value = "fp32_precision", "tf32"
    with _TF32_LOCK:
        before = getattr(matmul, name)
        setattr(matmul, name, value)
        try:
            yield
        finally:
            setattr(matmul, name, before)
