"""The class-masked variational autoencoder of VaB-AL and its loss (Eqs. 7, 8 and 10)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from skvaball.networks._variational import LOG_VARIANCE_RANGE, gaussian_kl, perceptron

#: How strongly a latent value counts as active, by the name of the option (Eq. 7 is "square").
ACTIVITIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "square": torch.square,
    "abs": torch.abs,
    "sigmoid": torch.sigmoid,
}


class VAEOutput(NamedTuple):
    """What a forward pass of :class:`ClassMaskedVAE` returns."""

    target: torch.Tensor  # (n, n_projected), what is reconstructed; carries no gradient
    reconstruction: torch.Tensor  # (n, n_projected)
    mean: torch.Tensor  # (n, n_latent)
    log_variance: torch.Tensor  # (n, n_latent)
    class_logits: torch.Tensor  # (n, n_classes): minus the activity of each class block
    kept: torch.Tensor | None  # (n, n_latent) 0/1, None when nothing was masked


class TapProjection(nn.Module):
    """One linear layer with a sigmoid per tap; the outputs stand side by side.

    Parameters
    ----------
    tap_widths : sequence of int
        Number of features of each tap; the input holds the taps side by side.
    n_units : int, default=128
        Outputs per tap.
    """

    def __init__(self, tap_widths: Sequence[int], n_units: int = 128) -> None:
        super().__init__()
        self.tap_widths = list(tap_widths)
        self.layers = nn.ModuleList(nn.Linear(width, n_units) for width in tap_widths)
        for layer in self.layers:
            # Standardized inputs: outputs of unit variance use the curved part of the sigmoid.
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)  # type: ignore[arg-type, operator]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.n_outputs = n_units * len(self.layers)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Projections in (0, 1), shape (n, n_outputs), of taps side by side."""
        taps = X.split(self.tap_widths, dim=1)
        return torch.cat([torch.sigmoid(f(t)) for f, t in zip(self.layers, taps, strict=True)], 1)


class ClassMaskedVAE(nn.Module):
    """Variational autoencoder whose latent space has one block for each class.

    The block of a row's class is driven towards zero (Eq. 7 reads the class off the
    least active block), so that setting block n to zero asks "what if this row were
    of class n?": the reconstruction then stays good for rows of class n only (Eq. 9).

    Parameters
    ----------
    tap_widths : sequence of int
        Number of features of each tap of the classifier; inputs are the standardized
        taps side by side, of shape (n, sum(tap_widths)).
    block_sizes : sequence of int
        Latent dimensions of each class.
    projection : {"learned", "fixed"}, default="learned"
        Whether the projection of the taps is trained with the autoencoder or stays as
        it was drawn. The reconstruction target is its output, detached.
    n_units : int, default=128
        Outputs of the projection per tap.
    hidden : sequence of int, default=(128, 128, 128)
        Widths of the hidden layers of the encoder, and of the decoder.
    activity : {"square", "abs", "sigmoid"}, default="square"
        How the activity of a latent value is measured.
    mask_in_training : bool, default=True
        Whether the block of the given class is set to zero before decoding.

    References
    ----------
    J. Choi et al. "VaB-AL: Incorporating class imbalance and difficulty with
    variational Bayes for active learning". CVPR 2021. Section 3.3.
    """

    block_of_latent: torch.Tensor

    def __init__(
        self,
        tap_widths: Sequence[int],
        block_sizes: Sequence[int],
        projection: str = "learned",
        n_units: int = 128,
        hidden: Sequence[int] = (128, 128, 128),
        activity: str = "square",
        mask_in_training: bool = True,
    ) -> None:
        super().__init__()
        self.activity = activity
        self.mask_in_training = mask_in_training
        self.n_classes = len(block_sizes)
        self.block_sizes = list(block_sizes)
        n_latent = sum(block_sizes)
        self.projection = TapProjection(tap_widths, n_units)
        self.projection.requires_grad_(projection == "learned")
        n_projected = self.projection.n_outputs
        self.encoder = perceptron([n_projected, *hidden, 2 * n_latent])
        self.decoder = perceptron([n_latent, *hidden, n_projected])
        membership = torch.repeat_interleave(
            torch.arange(self.n_classes), torch.tensor(self.block_sizes)
        )
        self.register_buffer("block_of_latent", membership)

    @property
    def blocks(self) -> list[slice]:
        """The latent dimensions of each class."""
        edges = [0]
        for size in self.block_sizes:
            edges.append(edges[-1] + size)
        return [slice(a, b) for a, b in pairwise(edges)]

    def block_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum latent values of shape (n, n_latent) over each class block: (n, n_classes)."""
        total = values.new_zeros(values.shape[0], self.n_classes)
        return total.index_add(1, self.block_of_latent, values)

    def class_logits(self, z: torch.Tensor) -> torch.Tensor:
        """Logits of the autoencoder's own class (Eq. 7): minus the activity of each block."""
        return -self.block_sum(ACTIVITIES[self.activity](z))

    def encode(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Project and encode taps: the projection, the posterior's mean and its log-variance."""
        projected = self.projection(X)
        mean, log_variance = self.encoder(projected).chunk(2, dim=1)
        return projected, mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def forward(self, X: torch.Tensor, labels: torch.Tensor) -> VAEOutput:
        """Encode, draw one latent sample a row, mask and decode.

        Parameters
        ----------
        X : tensor of shape (n, sum(tap_widths))
            Standardized taps.
        labels : int64 tensor of shape (n,)
            Codes of the classifier's predicted classes.
        """
        projected, mean, log_variance = self.encode(X)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        logits = self.class_logits(z)
        kept = None
        if self.mask_in_training:
            kept = (self.block_of_latent != labels[:, None]).to(z.dtype)
            z = z * kept
        # Detached: a projection that is its own target would shrink to a constant.
        return VAEOutput(projected.detach(), self.decoder(z), mean, log_variance, logits, kept)


class ClassMaskedELBO(nn.Module):
    """Loss of the autoencoder: reconstruction + KL + lam * class loss (Eqs. 8 and 10).

    All three terms are means, over rows and over dimensions: a lam of 0.005 has a
    meaning only then (read as sums, the class term vanishes and nothing is learned
    about the classes). A masked block is constant and contributes no KL.

    Parameters
    ----------
    lam : float, default=0.1
        Weight of the class loss, at least 0.

    Attributes
    ----------
    terms : dict of str to tensor
        The parts of the last loss, and the share of rows whose least active block is
        that of the label.
    """

    def __init__(self, lam: float = 0.1) -> None:
        super().__init__()
        self.lam = lam
        self.terms: dict[str, torch.Tensor] = {}

    def forward(self, output: VAEOutput, labels: torch.Tensor) -> torch.Tensor:
        """Loss of one batch, a scalar tensor."""
        reconstruction = F.mse_loss(output.reconstruction, output.target)
        kl = gaussian_kl(output.mean, output.log_variance)
        if output.kept is None:
            kl = kl.mean()
        else:  # with a single class nothing is kept: its KL is 0, not 0 / 0
            kl = (kl * output.kept).sum() / output.kept.sum().clamp(min=1)
        class_loss = F.cross_entropy(output.class_logits, labels)
        agreement = (output.class_logits.argmax(1) == labels).float().mean()
        self.terms = {
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
            "class_loss": class_loss.detach(),
            "agreement": agreement,
        }
        return reconstruction + kl + self.lam * class_loss
