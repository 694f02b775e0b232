"""Data: imbalanced variants of any data set, and images from class folders."""

from skvaball.datasets.image_folder import load_image_folder
from skvaball.datasets.imbalance import make_dominant, make_rare

__all__ = ["load_image_folder", "make_dominant", "make_rare"]
