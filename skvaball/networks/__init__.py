"""Torch modules and the classifier that builds them from the data."""

from skvaball.networks.classifier import DeepClassifier
from skvaball.networks.mlp import MLP
from skvaball.networks.resnet import ResNet, ResNet18, ResNet34, SmallResNet

__all__ = ["MLP", "DeepClassifier", "ResNet", "ResNet18", "ResNet34", "SmallResNet"]
