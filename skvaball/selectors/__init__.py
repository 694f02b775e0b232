"""Query strategies behind one interface."""

from skvaball.selectors._badge import BADGESelector
from skvaball.selectors._base_boundary import BASESelector
from skvaball.selectors._class_balanced import ClassBalancedSelector
from skvaball.selectors._core_set import CoreSetSelector
from skvaball.selectors._direct import DIRECTSelector
from skvaball.selectors._ensemble import EnsembleSelector
from skvaball.selectors._entropy import EntropySelector
from skvaball.selectors._galaxy import GALAXYSelector
from skvaball.selectors._learning_loss import LearningLossSelector
from skvaball.selectors._least_confidence import LeastConfidenceSelector
from skvaball.selectors._margin import MarginSelector
from skvaball.selectors._mc_dropout import MCDropoutSelector
from skvaball.selectors._random import RandomSelector
from skvaball.selectors._skactiveml import SkactivemlSelector
from skvaball.selectors._stochastic_batch import StochasticBatchSelector
from skvaball.selectors._vaal import VAALSelector
from skvaball.selectors.base import QuerySelector

__all__ = [
    "BADGESelector",
    "BASESelector",
    "ClassBalancedSelector",
    "CoreSetSelector",
    "DIRECTSelector",
    "EnsembleSelector",
    "EntropySelector",
    "GALAXYSelector",
    "LearningLossSelector",
    "LeastConfidenceSelector",
    "MCDropoutSelector",
    "MarginSelector",
    "QuerySelector",
    "RandomSelector",
    "SkactivemlSelector",
    "StochasticBatchSelector",
    "VAALSelector",
]
