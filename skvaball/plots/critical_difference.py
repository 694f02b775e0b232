"""Mean ranks of strategies over data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skvaball.plots._bands import new_axes
from skvaball.plots._styles import Style, complete_styles
from skvaball.utils.extras import needs_extra

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from skvaball.experiments.statistics import FriedmanResult


class CriticalDifferenceDisplay:
    """Mean ranks of strategies; bars join those that are not significantly different.

    Use :meth:`from_results` to compute and draw; the constructor only stores its arguments.

    Parameters
    ----------
    friedman : FriedmanResult
        As :func:`~skvaball.experiments.statistics.friedman_ranks` returns it.
    alpha : float, default=0.05
        Level below which two strategies count as different.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the diagram.
    figure_ : matplotlib Figure
        Figure of the axes.
    markers_, labels_, crossbars_ : list
        Matplotlib artists: the ranks and the names of the strategies, and the bars.

    See Also
    --------
    PairedDifferenceDisplay : Differences on one data set.

    Notes
    -----
    Drawn by scikit-posthocs. Rank 1 is the best, on the left.

    References
    ----------
    J. Demsar. "Statistical comparisons of classifiers over multiple data sets". Journal
    of Machine Learning Research 7, 2006.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import CriticalDifferenceDisplay
    >>> values = pd.DataFrame(
    ...     {"random": [0.5, 0.6, 0.7], "entropy": [0.6, 0.7, 0.8], "vab": [0.7, 0.65, 0.9]}
    ... )
    >>> display = CriticalDifferenceDisplay.from_results(values)
    >>> len(display.markers_), len(display.crossbars_)
    (3, 1)
    """

    def __init__(self, friedman: FriedmanResult, alpha: float = 0.05) -> None:
        self.friedman = friedman
        self.alpha = alpha

    @classmethod
    def from_results(
        cls,
        values: pd.DataFrame,
        *,
        posthoc: str = "nemenyi",
        alpha: float = 0.05,
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
    ) -> CriticalDifferenceDisplay:
        """Rank the strategies on each data set, test, and draw the diagram.

        Parameters
        ----------
        values : DataFrame
            One row per data set, one column per strategy, higher is better.
        posthoc : {"nemenyi", "wilcoxon-holm"}, default="nemenyi"
            Test of each pair of strategies.
        alpha : float, default=0.05
            Level below which two strategies count as different.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CriticalDifferenceDisplay
        """
        from skvaball.experiments.statistics import friedman_ranks

        return cls(friedman_ranks(values, posthoc=posthoc), alpha).plot(ax, styles=styles)

    def plot(
        self, ax: Axes | None = None, *, styles: Mapping[str, Style] | None = None
    ) -> CriticalDifferenceDisplay:
        """Draw the diagram.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.

        Returns
        -------
        self : CriticalDifferenceDisplay

        Raises
        ------
        ValueError
            If `styles` lacks a strategy.
        ImportError
            If matplotlib or scikit-posthocs is not installed.
        """
        ranks = self.friedman.ranks
        if ax is None:
            ax = new_axes((8.0, 1.5 + 0.25 * len(ranks)))
        looks = complete_styles([str(name) for name in ranks.index], styles)
        with needs_extra("The diagram", "experiments"):
            import scikit_posthocs

        drawn = scikit_posthocs.critical_difference_diagram(
            ranks,
            _at_five_percent(self.friedman.p_values, self.alpha),
            ax=ax,
            # The spaces keep the names off the ends of their lines.
            label_fmt_left="{label} ({rank:.2f}) ",
            label_fmt_right=" ({rank:.2f}) {label}",
            color_palette={name: look["color"] for name, look in looks.items()},
        )
        ax.set_xlabel("Mean rank (1 is best)")
        ax.xaxis.set_label_position("top")
        self.markers_ = drawn["markers"]
        self.labels_ = drawn["labels"]
        self.crossbars_ = drawn["crossbars"]
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _at_five_percent(p_values: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Values that are below 5 % where the p-values are below alpha.

    Releases of scikit-posthocs differ in whether they take a level, and in what they make
    of a p-value of 0.
    """
    different = p_values < alpha
    return different.astype(float).replace({0.0: 1.0, 1.0: 0.001})
