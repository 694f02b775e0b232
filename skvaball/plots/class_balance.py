"""The share of rare classes among the labels that each strategy has bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvaball.plots._bands import draw_bands, draw_legend, summarize, without_full
from skvaball.plots._styles import POOL_SHARE, Style, style_beside
from skvaball.simulation import ActiveLearningSimulator
from skvaball.vab import VaBQuerySelector

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class ClassBalanceDisplay:
    """Share of rare classes in the labeled set: mean over seeds, with a band.

    Use :meth:`from_results` or :meth:`from_estimator` to draw at once; the constructor only
    stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and round, with the columns `strategy`, `seed`,
        `n_labeled` and `rare_share` (share of the labeled rows that are of a rare class,
        in [0, 1]). Rows without a share, and the strategy "full", are left out.
    rare_classes : sequence or None, default=None
        The classes that `rare_share` counts, to be named at the axis.
    reference : float or None, default=None
        Share of the rare classes in the pool, drawn as a dashed line: what random
        sampling gets.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        One curve per strategy, in the order of first appearance in `results`.
    bands_ : list of matplotlib PolyCollection or None
        The band of each curve; None where the strategy has only one seed.
    reference_ : matplotlib Line2D or None
        The dashed line.

    See Also
    --------
    BudgetCurveDisplay : What the labels are worth.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import ClassBalanceDisplay
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random", "random", "entropy", "entropy"],
    ...         "seed": [0, 0, 0, 0],
    ...         "n_labeled": [100, 200, 100, 200],
    ...         "rare_share": [0.1, 0.1, 0.1, 0.3],
    ...     }
    ... )
    >>> display = ClassBalanceDisplay.from_results(results, reference=0.1)
    >>> [line.get_label() for line in display.lines_]
    ['random', 'entropy']
    """

    def __init__(
        self,
        results: pd.DataFrame,
        rare_classes: Sequence[Any] | None = None,
        *,
        reference: float | None = None,
    ) -> None:
        self.results = results
        self.rare_classes = rare_classes
        self.reference = reference

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        rare_classes: Sequence[Any] | None = None,
        *,
        reference: float | None = None,
        band: str = "se",
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> ClassBalanceDisplay:
        """Draw the share of rare classes for the strategies in a table of results.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled` and `rare_share`.
        rare_classes : sequence or None, default=None
            The classes that `rare_share` counts, to be named at the axis.
        reference : float or None, default=None
            Share of the rare classes in the pool, drawn as a dashed line.
        band : {"se", "ci"}, default="se"
            One standard error of the mean, or its 95 % confidence interval.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw, band_kw : dict or None, default=None
            Passed to ``Axes.plot`` and ``Axes.fill_between``.

        Returns
        -------
        ClassBalanceDisplay
        """
        return cls(results, rare_classes, reference=reference).plot(
            ax, band=band, styles=styles, legend=legend, line_kw=line_kw, band_kw=band_kw
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        rare_classes: Sequence[Any],
        *,
        name: str | None = None,
        reference: float | None = None,
        ax: Axes | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> ClassBalanceDisplay:
        """Draw the share of rare classes after each round of a simulation.

        Parameters
        ----------
        estimator : ActiveLearningSimulator
            Fitted.
        rare_classes : sequence
            The classes that are counted.
        name : str or None, default=None
            What the curve is called; None: the class of the selector.
        reference : float or None, default=None
            Share of the rare classes in the pool, drawn as a dashed line.
        ax : matplotlib Axes or None, default=None
            Where to draw, such as beside the curve of another simulator; None makes a new
            figure.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw : dict or None, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        ClassBalanceDisplay

        Raises
        ------
        ValueError
            If a class is none of those in the simulation.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skvaball import ActiveLearner, ActiveLearningSimulator
        >>> from skvaball.plots import ClassBalanceDisplay
        >>> from skvaball.selectors import MarginSelector
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
        >>> simulator = ActiveLearningSimulator(learner, n_rounds=3).fit(X[:300], y[:300])
        >>> display = ClassBalanceDisplay.from_estimator(simulator, rare_classes=[7, 8, 9])
        >>> display.lines_[0].get_xdata().tolist()
        [10, 20, 30, 40]
        """
        import pandas as pd

        if not isinstance(estimator, ActiveLearningSimulator):
            raise TypeError(
                "Expected a fitted ActiveLearningSimulator, which has a history, got a "
                f"{type(estimator).__name__}."
            )
        check_is_fitted(estimator)
        rare_classes = np.atleast_1d(np.asarray(rare_classes)).tolist()
        classes = np.asarray(estimator.classes_)
        unknown = [label for label in rare_classes if label not in classes]
        if unknown or not len(rare_classes):
            raise ValueError(
                f"rare_classes={list(rare_classes)} must name at least one class, and only those "
                f"of the simulation: {classes.tolist()}."
            )
        rare = np.isin(classes, np.asarray(rare_classes))
        selector = estimator.learner_.selector
        kind = VaBQuerySelector if selector is None else type(selector)
        name = name or kind.__name__
        results = pd.DataFrame(
            {
                "strategy": name,
                "seed": 0,
                "n_labeled": [entry["n_labeled"] for entry in estimator.history_],
                "rare_share": [
                    entry["class_counts"][rare].sum() / entry["n_labeled"]
                    for entry in estimator.history_
                ],
            }
        )
        return cls.from_results(
            results,
            rare_classes,
            reference=reference,
            styles=style_beside(ax, name),
            ax=ax,
            legend=legend,
            line_kw=line_kw,
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        band: str = "se",
        styles: Mapping[str, Style] | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> ClassBalanceDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        band : {"se", "ci"}, default="se"
            One standard error of the mean, or its 95 % confidence interval.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        legend : bool, default=True
            Draw a legend to the right of the axes. A figure of your own makes room for
            it with ``layout="constrained"``.
        line_kw, band_kw : dict or None, default=None
            Passed to ``Axes.plot`` and ``Axes.fill_between``.

        Returns
        -------
        self : ClassBalanceDisplay

        Raises
        ------
        ValueError
            If `results` lacks a column, has no values, or has two rows for one seed at
            one number of labels, `reference` is not a share, `band` is unknown, or
            `styles` lacks a strategy.
        ImportError
            If matplotlib is not installed.
        """
        if self.reference is not None and not 0 <= self.reference <= 1:
            raise ValueError(
                f"reference={self.reference} is not a share. Expected a number in [0, 1]."
            )
        bands = summarize(without_full(self.results), "rare_share", band)
        self.ax_, self.lines_, self.bands_ = draw_bands(bands, ax, styles, line_kw, band_kw)
        self.figure_ = self.ax_.figure
        self.reference_ = None
        if self.reference is not None:
            drawn = any(line.get_label() == POOL_SHARE for line in self.ax_.get_lines())
            self.reference_ = self.ax_.axhline(
                self.reference,
                color="0.4",
                linestyle="--",
                linewidth=1,
                label=None if drawn else POOL_SHARE,
                zorder=1,  # below the curves
            )
        label = "Share of rare classes in the labeled set"
        if self.rare_classes is not None:
            label += f"\n({', '.join(str(name) for name in self.rare_classes)})"
        self.ax_.set_ylabel(label)
        # From zero, so that heights compare as shares do.
        self.ax_.set_ylim(bottom=0)
        if legend:
            draw_legend(self.ax_)
        return self
