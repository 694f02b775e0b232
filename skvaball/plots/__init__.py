"""Displays of results, built like those of scikit-learn; matplotlib loads when one is drawn."""

from skvaball.plots.class_balance import ClassBalanceDisplay
from skvaball.plots.learning_curve import BudgetCurveDisplay

__all__ = ["BudgetCurveDisplay", "ClassBalanceDisplay"]
