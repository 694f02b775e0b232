"""Residual networks for small images (He et al. 2016), with a 3x3 stem and four taps."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, with optional dropout in front.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and the output.
    stride : int, default=1
        Stride of the first convolution; above 1 the block shrinks its maps.
    dropout : float, default=0.0
        Probability of dropping an input value before the block, in [0, 1).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Feature maps of shape (n, out_channels, height / stride, width / stride)."""
        X = self.dropout(X)
        out = F.relu(self.bn1(self.conv1(X)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(X))


class ResNet(nn.Module):
    """Residual network with the stem for small images: one 3x3 convolution, no pooling.

    Parameters
    ----------
    in_channels : int
        Channels of the images: 3 for colour, 1 for grey.
    n_classes : int
        Number of outputs (logits).
    widths : sequence of 4 int, default=(64, 128, 256, 512)
        Channels of the four stages.
    blocks : sequence of 4 int, default=(2, 2, 2, 2)
        Residual blocks in each stage; the default is ResNet-18.
    dropout : float, default=0.0
        Dropout before each residual block, in [0, 1); VaB-AL's rivals that need
        stochastic passes use 0.25 (Choi et al. 2021).
    stem_stride : int, default=1
        Stride of the first convolution. With 2 all maps have half the height and width, and
        training takes about a third of the time.

    Attributes
    ----------
    feature_layers : tuple of str
        The four stages, whose outputs VaB-AL reads.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun. "Deep residual learning for image
    recognition". CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import ResNet
    >>> ResNet(3, 10, widths=(4, 8, 8, 8))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    feature_layers = ("layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        dropout: float = 0.0,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        width = widths[0]
        for i, (channels, depth) in enumerate(zip(widths, blocks, strict=True)):
            # Every stage but the first halves the maps.
            strides = [1 if i == 0 else 2] + [1] * (depth - 1)
            stage = []
            for stride in strides:
                stage.append(ResidualBlock(width, channels, stride, dropout))
                width = channels
            setattr(self, self.feature_layers[i], nn.Sequential(*stage))
        self.fc = nn.Linear(width, n_classes)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits of images.

        Parameters
        ----------
        X : Tensor of shape (n, in_channels, height, width)

        Returns
        -------
        Tensor of shape (n, n_classes)
        """
        X = F.relu(self.bn1(self.conv1(X)))
        for name in self.feature_layers:
            X = getattr(self, name)(X)
        logits: torch.Tensor = self.fc(X.mean(dim=(2, 3)))
        return logits


class ResNet18(ResNet):
    """ResNet-18 for small images, as in the paper: :class:`ResNet` with blocks (2, 2, 2, 2).

    Parameters
    ----------
    in_channels, n_classes : int
    dropout : float, default=0.0
        As in :class:`ResNet`.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import ResNet18
    >>> ResNet18(3, 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(in_channels, n_classes, dropout=dropout)


class ResNet34(ResNet):
    """ResNet-34 for small images: :class:`ResNet` with blocks (3, 4, 6, 3).

    Parameters
    ----------
    in_channels, n_classes : int
    dropout : float, default=0.0
        As in :class:`ResNet`.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import ResNet34
    >>> ResNet34(3, 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(in_channels, n_classes, blocks=(3, 4, 6, 3), dropout=dropout)


class SmallResNet(ResNet):
    """A residual network that a laptop trains: one block a stage, 16 to 128 channels.

    ``stem_stride=2`` makes it about three times as fast.

    Parameters
    ----------
    in_channels, n_classes : int
    dropout : float, default=0.0
    stem_stride : int, default=1
        As in :class:`ResNet`.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import SmallResNet
    >>> SmallResNet(3, 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, in_channels: int, n_classes: int, dropout: float = 0.0, stem_stride: int = 1
    ) -> None:
        super().__init__(
            in_channels,
            n_classes,
            widths=(16, 32, 64, 128),
            blocks=(1, 1, 1, 1),
            dropout=dropout,
            stem_stride=stem_stride,
        )
