"""Rules that say when to stop asking for labels, behind one interface."""

from skvaball.stopping._expected_error import ExpectedError
from skvaball.stopping._label_budget import LabelBudget
from skvaball.stopping._stable_predictions import StablePredictions, cohen_kappa
from skvaball.stopping.base import StoppingRule

__all__ = [
    "ExpectedError",
    "LabelBudget",
    "StablePredictions",
    "StoppingRule",
    "cohen_kappa",
]
