"""A multilayer perceptron whose hidden activations can be tapped."""

from collections.abc import Sequence

import torch
from torch import nn


class MLP(nn.Module):
    """Fully connected network: linear layers with ReLU, then a linear output.

    Parameters
    ----------
    n_inputs : int
        Number of input features.
    n_classes : int
        Number of outputs (logits).
    hidden : sequence of int, default=(128, 128)
        Widths of the hidden layers.
    dropout : float, default=0.0
        Probability of dropping a hidden activation while training, in [0, 1).

    Attributes
    ----------
    feature_layers : tuple of str
        Names of the hidden activations, from input to output: what
        :class:`~skvaball.vab.VaBQuerySelector` reads by default.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import MLP
    >>> MLP(4, 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_inputs: int,
        n_classes: int,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        width = n_inputs
        for units in hidden:
            layers: list[nn.Module] = [nn.Linear(width, units), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            blocks.append(nn.Sequential(*layers))
            width = units
        self.hidden = nn.Sequential(*blocks)
        self.output = nn.Linear(width, n_classes)
        self.feature_layers = tuple(f"hidden.{i}.1" for i in range(len(blocks))) or None

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits of rows.

        Parameters
        ----------
        X : Tensor of shape (n, n_inputs)

        Returns
        -------
        Tensor of shape (n, n_classes)
        """
        logits: torch.Tensor = self.output(self.hidden(X))
        return logits
