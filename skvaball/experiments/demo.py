"""The demo: four strategies on handwritten digits of which one dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvaball.datasets import make_dominant
from skvaball.experiments.comparison import Split
from skvaball.learner import ActiveLearner
from skvaball.networks import DeepClassifier
from skvaball.selectors import EntropySelector, MarginSelector, RandomSelector
from skvaball.vab import VaBQuerySelector

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: The digit that dominates, and what is left of the others.
DOMINANT = 0
KEEP = 0.2
RARE = list(range(1, 10))
BATCH_SIZE = 20
N_ROUNDS = 5


def dominated_digits(seed: int) -> Split:
    """Digits with a dominant zero to learn from, and balanced ones to measure on.

    Parameters
    ----------
    seed : int
        Seed of the split and of the rows that are left out.

    Returns
    -------
    Split
        About 345 training rows, 36 % of them zeros; 540 test rows.
    """
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype(np.float32), y, test_size=0.3, stratify=y, random_state=seed
    )
    kept = make_dominant(y_train, DOMINANT, keep=KEEP, random_state=seed)
    return Split(X_train[kept], y_train[kept], X_test, y_test)


def demo_learners() -> dict[str, ActiveLearner]:
    """The four strategies around the same network."""
    selectors = {
        "random": RandomSelector(),
        "entropy": EntropySelector(),
        "margin": MarginSelector(),
        "VaB-AL": VaBQuerySelector(),
    }
    return {name: ActiveLearner(DeepClassifier(), s) for name, s in selectors.items()}


def draw_demo(results: pd.DataFrame) -> Figure:
    """Learning curves and class balance side by side.

    Parameters
    ----------
    results : DataFrame
        Rounds of :func:`~skvaball.experiments.compare_strategies`.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.figure import Figure

    from skvaball.plots import BudgetCurveDisplay, ClassBalanceDisplay

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves, balance = figure.subplots(1, 2)
    BudgetCurveDisplay.from_results(results, "balanced_accuracy", ax=curves, legend=False)
    pool = np.mean([np.isin(dominated_digits(s).y_train, RARE).mean() for s in set(results.seed)])
    ClassBalanceDisplay.from_results(results, reference=float(pool), ax=balance)
    n_seeds = results["seed"].nunique()
    figure.suptitle(f"Digits, {DOMINANT} dominant: mean of {n_seeds} seeds ± standard error")
    return figure
