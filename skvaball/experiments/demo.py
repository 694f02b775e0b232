"""The demo: four strategies on handwritten digits of which one dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: The strategies of the demo, in the order of its table.
STRATEGIES = ("random", "entropy", "margin", "vab")


def draw_demo(results: pd.DataFrame, protocol: dict[str, Any]) -> Figure:
    """Learning curves and class balance side by side.

    Parameters
    ----------
    results : DataFrame
        Rounds of one protocol, as :meth:`skvaball.experiments.ResultStore.rounds` has them.
    protocol : dict
        The protocol, as :meth:`skvaball.experiments.ResultStore.protocols` has it.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.figure import Figure

    from skvaball.plots import BudgetCurveDisplay, ClassBalanceDisplay

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves, balance = figure.subplots(1, 2)
    BudgetCurveDisplay.from_results(results, "balanced_accuracy", ax=curves, legend=False)
    pool = np.asarray(protocol["pool_shares"])[protocol["rare"]].sum()
    ClassBalanceDisplay.from_results(results, reference=float(pool), ax=balance)
    n_seeds = results["seed"].nunique()
    what = f"mean of {n_seeds} seeds ± standard error" if n_seeds > 1 else "1 seed"
    figure.suptitle(f"{protocol['title']}: {what}")
    return figure
