"""A loss for imbalanced classes (Menon et al. 2021)."""

import math
from collections.abc import Sequence

import torch
from torch import nn


class LogitAdjustedLoss(nn.CrossEntropyLoss):
    """Cross-entropy of logits to which the log shares of the classes are added.

    What the shares explain the network need not learn. Its plain logits are then those of
    balanced classes, and so are the predictions: they minimise the balanced error. Equation
    10 of Menon et al. [1]_ with a temperature of 1.

    Parameters
    ----------
    shares : sequence of float, of length n_classes
        Share of each class among the training rows, above 0.

    See Also
    --------
    DeepClassifier : With ``balance="logit_adjustment"`` it takes the shares from its rows.

    References
    ----------
    .. [1] A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit and S. Kumar.
       "Long-tail learning via logit adjustment". ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import LogitAdjustedLoss
    >>> loss = LogitAdjustedLoss([0.9, 0.1])
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # -log 0.1
    2.3026
    """

    log_shares: torch.Tensor

    def __init__(self, shares: Sequence[float]) -> None:
        super().__init__()
        if not all(0 < share < math.inf for share in shares):
            raise ValueError(f"shares={shares} must be numbers above 0, one for each class.")
        self.register_buffer("log_shares", torch.as_tensor(shares, dtype=torch.float32).log())

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss; the arguments are named as in the base class.

        Parameters
        ----------
        input : Tensor of shape (n, n_classes)
            Logits.
        target : Tensor of shape (n,)
            Codes of the labels.

        Returns
        -------
        Tensor
            A scalar.
        """
        return super().forward(input + self.log_shares, target)
