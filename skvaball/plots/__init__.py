"""Displays of results, built like those of scikit-learn; matplotlib loads when one is drawn."""

from skvaball.plots._styles import strategy_styles
from skvaball.plots.autoencoder_training import AutoencoderTrainingDisplay
from skvaball.plots.class_accuracy import ClassAccuracyDisplay
from skvaball.plots.class_balance import ClassBalanceDisplay
from skvaball.plots.class_terms import ClassTermsDisplay
from skvaball.plots.critical_difference import CriticalDifferenceDisplay
from skvaball.plots.gallery import GalleryDisplay
from skvaball.plots.learning_curve import BudgetCurveDisplay
from skvaball.plots.paired_difference import PairedDifferenceDisplay
from skvaball.plots.parameter_curve import ParameterCurveDisplay
from skvaball.plots.penalty_matrix import PenaltyMatrixDisplay
from skvaball.plots.query_time import QueryTimeDisplay
from skvaball.plots.score_histogram import ScoreHistogramDisplay

__all__ = [
    "AutoencoderTrainingDisplay",
    "BudgetCurveDisplay",
    "ClassAccuracyDisplay",
    "ClassBalanceDisplay",
    "ClassTermsDisplay",
    "CriticalDifferenceDisplay",
    "GalleryDisplay",
    "PairedDifferenceDisplay",
    "ParameterCurveDisplay",
    "PenaltyMatrixDisplay",
    "QueryTimeDisplay",
    "ScoreHistogramDisplay",
    "strategy_styles",
]
