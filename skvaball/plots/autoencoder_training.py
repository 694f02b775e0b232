"""How the training of VaB-AL's autoencoder went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skvaball.plots._bands import new_axes
from skvaball.plots._estimators import fitted_vab
from skvaball.plots._styles import LINE_STYLES, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: The parts of the loss in the history, and their names.
LOSSES = {
    "train_loss": "loss",
    "reconstruction": "reconstruction",
    "kl": "KL divergence",
    "class_loss": "class loss (without lam)",
}


class AutoencoderTrainingDisplay:
    """Loss of the autoencoder and its parts by epoch, and its agreement with the classifier.

    Use :meth:`from_estimator` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    history : mapping of str to sequence of float
        One value per epoch of "train_loss", "reconstruction", "kl", "class_loss" and
        "agreement"; those that are missing are not drawn.
    chance : float or None, default=None
        Agreement of chance, drawn as a dashed line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the losses, on a logarithmic scale if they are all above zero.
    agreement_ax_ : matplotlib Axes or None
        Axes on the right with the agreement, from 0 to 1.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        The losses.
    agreement_ : matplotlib Line2D or None
        The share of rows whose least active block is that of the classifier's label.

    See Also
    --------
    ClassTermsDisplay : The terms of the score that need no training.

    Examples
    --------
    >>> from skvaball.plots import AutoencoderTrainingDisplay
    >>> history = {"train_loss": [2.0, 1.0, 0.5], "agreement": [0.1, 0.6, 0.9]}
    >>> display = AutoencoderTrainingDisplay(history, chance=0.1).plot()
    >>> display.agreement_.get_ydata().tolist()
    [0.1, 0.6, 0.9]
    """

    def __init__(
        self, history: Mapping[str, Sequence[float]], *, chance: float | None = None
    ) -> None:
        self.history = history
        self.chance = chance

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Axes | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> AutoencoderTrainingDisplay:
        """Draw the training of the autoencoder of a selector.

        Parameters
        ----------
        estimator : VaBQuerySelector, ActiveLearner or ActiveLearningSimulator
            A fitted selector, or a learner or simulator whose last query was answered by
            one.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        line_kw : dict or None, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        AutoencoderTrainingDisplay
        """
        selector = fitted_vab(estimator, cls)
        epochs = selector.vae_.history
        history = {
            name: [epoch[name] for epoch in epochs]
            for name in (*LOSSES, "agreement")
            if all(name in epoch for epoch in epochs)
        }
        return cls(history, chance=1 / len(selector.classes_)).plot(ax, line_kw=line_kw)

    def plot(
        self, ax: Axes | None = None, *, line_kw: dict[str, Any] | None = None
    ) -> AutoencoderTrainingDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        line_kw : dict or None, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        self : AutoencoderTrainingDisplay

        Raises
        ------
        ValueError
            If the history has no loss.
        ImportError
            If matplotlib is not installed.
        """
        losses = {name: np.asarray(self.history[name]) for name in LOSSES if name in self.history}
        if not losses or not all(len(values) for values in losses.values()):
            raise ValueError(
                f"history has no loss: nothing to draw. Expected some of {list(LOSSES)}; there "
                f"are {list(self.history)}."
            )
        if ax is None:
            ax = new_axes()
        epochs = np.arange(1, 1 + max(len(values) for values in losses.values()))
        self.lines_ = []
        for i, (name, values) in enumerate(losses.items()):
            # Shape tells the lines apart where colour does not, as in print.
            look = {"color": PALETTE[i], "linestyle": LINE_STYLES[i % len(LINE_STYLES)]}
            style = {**look, "label": LOSSES[name], **(line_kw or {})}
            self.lines_ += ax.plot(epochs[: len(values)], values, **style)
        if all((values > 0).all() for values in losses.values()):
            ax.set_yscale("log")
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Loss")
        self.ax_, self.figure_ = ax, ax.figure
        self.agreement_ax_: Axes | None = None
        self.agreement_: Line2D | None = None
        shown = list(self.lines_)
        if "agreement" in self.history:
            shown += self._draw_agreement(ax.twinx(), line_kw)
        # Below: on the right is the axis of the agreement.
        ax.legend(
            handles=shown, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=3, frameon=False
        )
        return self

    def _draw_agreement(self, right: Axes, line_kw: dict[str, Any] | None) -> list[Any]:
        values = np.asarray(self.history["agreement"])
        style = {"color": "0.25", "linestyle": "--", "label": "agreement", **(line_kw or {})}
        (self.agreement_,) = right.plot(np.arange(1, 1 + len(values)), values, **style)
        self.agreement_ax_ = right
        right.set_ylim(0, 1)
        right.set_ylabel("Agreement with the classifier")
        if self.chance is None:
            return [self.agreement_]
        line = right.axhline(
            self.chance,
            color="0.6",
            linestyle=(0, (1, 2)),
            linewidth=1,
            label="agreement by chance",
        )
        return [self.agreement_, line]
