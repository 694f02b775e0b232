"""VaB-AL: where the classifier is wrong, by variational Bayes (Choi et al., CVPR 2021)."""

from skvaball.vab.selector import VaBQuerySelector

__all__ = ["VaBQuerySelector"]
