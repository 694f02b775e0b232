"""Data: loaders of image data sets, and imbalanced variants of any data set."""

from skvaball.datasets.cifar import fetch_cifar10, fetch_cifar100
from skvaball.datasets.image_folder import load_image_folder
from skvaball.datasets.imbalance import make_dominant, make_long_tailed, make_rare, make_variant
from skvaball.datasets.neu import load_neu
from skvaball.datasets.train_test import load_train_test

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "load_image_folder",
    "load_neu",
    "load_train_test",
    "make_dominant",
    "make_long_tailed",
    "make_rare",
    "make_variant",
]
