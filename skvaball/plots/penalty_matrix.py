"""Which strategy beats which, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skvaball.plots._bands import metric_label, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class PenaltyMatrixDisplay:
    """Share of budgets at which the strategy of a row is significantly better than another.

    Use :meth:`from_results` to compute and draw; the constructor only stores its arguments.

    Parameters
    ----------
    matrix : DataFrame of shape (n_strategies, n_strategies)
        As :func:`~skvaball.experiments.statistics.penalty_matrix` returns it: the cell in
        row i and column j is the share of budgets at which i is significantly better
        than j.
    metric : str, default="balanced_accuracy"
        Name of the metric, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the matrix.
    figure_ : matplotlib Figure
        Figure of the axes.
    im_ : matplotlib AxesImage
        The matrix.
    text_ : ndarray of shape (n_strategies, n_strategies)
        The matplotlib Text of each cell, None where the cell has no value.

    See Also
    --------
    PairedDifferenceDisplay : How large the differences are.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import PenaltyMatrixDisplay
    >>> names = ["random", "entropy"]
    >>> matrix = pd.DataFrame([[float("nan"), 0.0], [0.75, float("nan")]], names, names)
    >>> PenaltyMatrixDisplay(matrix).plot().text_[1, 0].get_text()
    '0.75'
    """

    def __init__(self, matrix: pd.DataFrame, metric: str = "balanced_accuracy") -> None:
        self.matrix = matrix
        self.metric = metric

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        metric: str = "balanced_accuracy",
        *,
        alpha: float = 0.05,
        ax: Axes | None = None,
        im_kw: dict[str, Any] | None = None,
    ) -> PenaltyMatrixDisplay:
        """Compute the matrix for the strategies in a table of results, and draw it.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled` and the metric.
        metric : str, default="balanced_accuracy"
            The column to compare, higher is better.
        alpha : float, default=0.05
            Level of each test.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        im_kw : dict or None, default=None
            Passed to ``Axes.imshow``.

        Returns
        -------
        PenaltyMatrixDisplay
        """
        from skvaball.experiments.statistics import penalty_matrix

        return cls(penalty_matrix(results, metric, alpha=alpha), metric).plot(ax, im_kw=im_kw)

    def plot(
        self, ax: Axes | None = None, *, im_kw: dict[str, Any] | None = None
    ) -> PenaltyMatrixDisplay:
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        im_kw : dict or None, default=None
            Passed to ``Axes.imshow``.

        Returns
        -------
        self : PenaltyMatrixDisplay

        Raises
        ------
        ValueError
            If the rows and columns of `matrix` are not the same strategies.
        ImportError
            If matplotlib is not installed.
        """
        names = [str(name) for name in self.matrix.index]
        if names != [str(name) for name in self.matrix.columns]:
            raise ValueError(
                "matrix has other rows than columns. Expected the same strategies in the "
                "same order."
            )
        if ax is None:
            ax = new_axes()
        values = self.matrix.to_numpy(dtype=float)
        ax.set_facecolor("0.93")  # cells without a value
        default = {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0}
        self.im_ = ax.imshow(values, **{**default, **(im_kw or {})})
        self.text_ = np.full(values.shape, None, dtype=object)
        for (i, j), value in np.ndenumerate(values):
            if not np.isnan(value):
                self.text_[i, j] = ax.text(
                    j,
                    i,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize="small",
                    color="white" if value > 0.6 else "black",
                )
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("than strategy j")
        ax.set_ylabel("strategy i is better")
        ax.set_title(metric_label(self.metric))
        self.ax_, self.figure_ = ax, ax.figure
        return self
