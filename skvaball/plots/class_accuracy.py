"""What the labels of one class are worth to that class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skvaball.plots._bands import checked_columns, draw_legend, new_axes, without_full
from skvaball.plots._styles import Style, complete_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class ClassAccuracyDisplay:
    """Accuracy of one class against the number of labels that it has: means over seeds.

    Use :meth:`from_results` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and round, with the columns `strategy`, `seed`,
        `n_labeled`, `recalls` (the accuracy of each class on test rows of that class) and
        `class_counts` (its labels so far), both sequences over the classes. Rows without
        a recall of the class, and the strategy "full", are left out.
    class_index : int
        Position of the class in these sequences.
    class_name : str or None, default=None
        Its name, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        One curve per strategy, in the order of first appearance in `results`.

    See Also
    --------
    ClassBalanceDisplay : How many of the labels the rare classes get.

    Notes
    -----
    Each point is a round: at equal heights the strategy to the left needed fewer labels of
    this class, perhaps because it chose better ones, perhaps because it had more of the
    others. Choi et al. (CVPR 2021) show the like in their Fig. 6.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import ClassAccuracyDisplay
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 2,
    ...         "seed": [0, 0],
    ...         "n_labeled": [100, 200],
    ...         "recalls": [[0.9, 0.2], [0.9, 0.4]],
    ...         "class_counts": [[90, 10], [175, 25]],
    ...     }
    ... )
    >>> display = ClassAccuracyDisplay.from_results(results, 1, "cat")
    >>> display.lines_[0].get_xdata().tolist()
    [10.0, 25.0]
    """

    def __init__(
        self, results: pd.DataFrame, class_index: int, class_name: str | None = None
    ) -> None:
        self.results = results
        self.class_index = class_index
        self.class_name = class_name

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        class_index: int,
        class_name: str | None = None,
        *,
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> ClassAccuracyDisplay:
        """Draw the accuracy of one class for the strategies in a table of results.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled`, `recalls` and `class_counts`.
        class_index : int
            Position of the class in `recalls` and `class_counts`.
        class_name : str or None, default=None
            Its name, for the title.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw : dict or None, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        ClassAccuracyDisplay
        """
        return cls(results, class_index, class_name).plot(
            ax, styles=styles, legend=legend, line_kw=line_kw
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        styles: Mapping[str, Style] | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
    ) -> ClassAccuracyDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw : dict or None, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        self : ClassAccuracyDisplay

        Raises
        ------
        ValueError
            If `results` lacks a column, no row has a recall of the class, there is no
            such class, or `styles` lacks a strategy.
        ImportError
            If matplotlib is not installed.
        """
        curves = self._curves()
        if ax is None:
            ax = new_axes()
        looks = complete_styles(curves, styles)
        self.lines_ = []
        for strategy, curve in curves.items():
            style = {**looks[strategy], "label": strategy, **(line_kw or {})}
            self.lines_ += ax.plot(curve["labels"], curve["recall"], **style)
        ax.set_xlabel("Labels of the class")
        ax.set_ylabel("Accuracy of the class")
        ax.set_ylim(-0.03, 1.03)  # the same for all classes, so that they compare
        if self.class_name is not None:
            ax.set_title(self.class_name)
        if legend:
            draw_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _curves(self) -> dict[str, pd.DataFrame]:
        results = checked_columns(
            without_full(self.results),
            ["strategy", "seed", "n_labeled", "recalls", "class_counts"],
        )
        known = [isinstance(recalls, Sequence | np.ndarray) for recalls in results["recalls"]]
        results = results[known]
        n_classes = max((len(recalls) for recalls in results["recalls"]), default=0)
        if not 0 <= self.class_index < n_classes:
            raise ValueError(
                f"class_index={self.class_index}, but results has {n_classes} classes. "
                "Expected a position in `recalls`."
            )
        results = results.assign(
            recall=[recalls[self.class_index] for recalls in results["recalls"]],
            labels=[float(counts[self.class_index]) for counts in results["class_counts"]],
        ).dropna(subset=["recall"])
        if len(results) == 0:
            raise ValueError(
                f"results has no recall of class {self.class_index}: nothing to draw. "
                "Are there test rows of this class?"
            )
        return {
            str(strategy): rows.groupby("n_labeled")[["labels", "recall"]].mean()
            for strategy, rows in results.groupby("strategy", sort=False, observed=True)
        }
