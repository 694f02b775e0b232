"""Active learning for imbalanced data, in the manner of scikit-learn."""

from skvaball._version import __version__
from skvaball.learner import ActiveLearner
from skvaball.simulation import ActiveLearningSimulator, learning_curve_scorer
from skvaball.vab import VaBQuerySelector

__all__ = [
    "ActiveLearner",
    "ActiveLearningSimulator",
    "VaBQuerySelector",
    "__version__",
    "learning_curve_scorer",
]
