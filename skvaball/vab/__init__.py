"""VaB-AL: the probability of a mistake by variational Bayes (Choi et al., CVPR 2021)."""

from skvaball.vab.selector import VaBQuerySelector

__all__ = ["VaBQuerySelector"]
