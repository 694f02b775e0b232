"""Torch modules and the classifier that builds them from the data."""

from skvaball.networks.augmentation import crop_flip
from skvaball.networks.classifier import DeepClassifier
from skvaball.networks.logit_adjustment import LogitAdjustedLoss
from skvaball.networks.mlp import MLP
from skvaball.networks.resnet import ResNet, ResNet18, ResNet34, SmallResNet

__all__ = [
    "MLP",
    "DeepClassifier",
    "LogitAdjustedLoss",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "SmallResNet",
    "crop_flip",
]
