"""The images that a strategy asked for, with the terms of their scores."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvaball.plots._bands import checked_columns, load_pyplot
from skvaball.plots._estimators import check_lengths, fitted_with_classifier
from skvaball.utils.rows import n_rows, take_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: The terms of a score, in the order in which they stand under an image.
TERMS = {
    "likelihood": "log p(x|ŷ)",
    "difficulty": "p(y|ŷ)",
    "prior": "p(ŷ)",
    "score": "score",
}
#: Inches for an image and the text under it.
TILE = (1.75, 2.7)


class GalleryDisplay:
    """The first images of a query, with the terms of the score under each.

    Use :meth:`from_results` or :meth:`from_estimator` to draw at once; the constructor only
    stores its arguments.

    Parameters
    ----------
    gallery : DataFrame
        One row per image of one query, with the columns `rank` (0 for the first), `png`
        (bytes), `true_label` (None: not known), `predicted_label`, `likelihood` (logarithm,
        of the predicted class), `difficulty`, `prior` and `score`. NaN stands for a term
        that the strategy does not have.
    n_images : int, default=10
        At most as many are drawn, by rank.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One per image.
    figure_ : matplotlib Figure
        Figure of the axes.

    Notes
    -----
    Like Figs. 1 and 5 of Choi et al. (CVPR 2021).

    Examples
    --------
    >>> import io
    >>> import matplotlib.image
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skvaball.plots import GalleryDisplay
    >>> png = io.BytesIO()
    >>> matplotlib.image.imsave(png, np.eye(8), format="png")
    >>> gallery = pd.DataFrame(
    ...     {
    ...         "rank": [0],
    ...         "png": [png.getvalue()],
    ...         "true_label": ["cat"],
    ...         "predicted_label": ["dog"],
    ...         "likelihood": [-12.5],
    ...         "difficulty": [0.5],
    ...         "prior": [0.1],
    ...         "score": [0.8],
    ...     }
    ... )
    >>> GalleryDisplay.from_results(gallery).axes_[0].get_title()
    'cat, not dog'
    """

    def __init__(self, gallery: pd.DataFrame, n_images: int = 10) -> None:
        self.gallery = gallery
        self.n_images = n_images

    @classmethod
    def from_results(
        cls,
        gallery: pd.DataFrame,
        n_images: int = 10,
        *,
        n_columns: int = 5,
        ax: Sequence[Axes] | None = None,
    ) -> GalleryDisplay:
        """Draw the first images of a query.

        Parameters
        ----------
        gallery : DataFrame
            One row per image of one query.
        n_images : int, default=10
            At most as many are drawn, by rank.
        n_columns : int, default=5
            Images side by side in a new figure.
        ax : sequence of matplotlib Axes or None, default=None
            Where to draw, one for each image; None makes a new figure.

        Returns
        -------
        GalleryDisplay
        """
        return cls(gallery, n_images).plot(ax, n_columns=n_columns)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        images: Any = None,
        n_images: int = 10,
        n_columns: int = 5,
        ax: Sequence[Axes] | None = None,
    ) -> GalleryDisplay:
        """Draw rows that a strategy has asked for, with the terms of their scores.

        Parameters
        ----------
        estimator : QuerySelector, ActiveLearner or ActiveLearningSimulator
            A fitted selector that has a classifier, or a learner or simulator that has
            answered a query: its selector as it was for that query.
        X : array-like of shape (n, ...)
            The rows, best first: ``X_pool[learner.query(X_pool, n)]``.
        y : array-like of shape (n,) or None, default=None
            Their labels, if they are known already.
        images : array-like or None, default=None
            What to show for each row, of shape (n, height, width), (n, height, width, 3)
            or (n, n_channels, height, width) with 1 or 3 channels. None: X itself.
        n_images : int, default=10
            At most as many are drawn.
        n_columns : int, default=5
            Images side by side in a new figure.
        ax : sequence of matplotlib Axes or None, default=None
            Where to draw, one for each image; None makes a new figure.

        Returns
        -------
        GalleryDisplay

        Raises
        ------
        ValueError
            If the images have another shape, there are not as many as rows, or the
            selector has no classifier.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skvaball import ActiveLearner
        >>> from skvaball.plots import GalleryDisplay
        >>> from skvaball.selectors import MarginSelector
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
        >>> X_new = X[100:][learner.fit(X[:100], y[:100]).query(X[100:], 4)]
        >>> display = GalleryDisplay.from_estimator(
        ...     learner, X_new, images=X_new.reshape(-1, 8, 8)
        ... )
        >>> len(display.axes_)
        4
        """
        import pandas as pd

        selector = fitted_with_classifier(estimator)
        images = X if images is None else images
        labels = [None] * n_rows(X) if y is None else np.asarray(y).tolist()
        check_lengths(X=range(n_rows(X)), y=labels, images=images)
        pictures = _as_pictures(images[:n_images])
        shown = take_rows(X, np.arange(len(pictures)))
        codes = selector._view.predict_codes(shown)
        gallery = pd.DataFrame(
            {
                "rank": np.arange(len(pictures)),
                "png": [_as_png(picture) for picture in pictures],
                "true_label": pd.Series(labels[: len(pictures)], dtype=object),
                "predicted_label": selector.classes_[codes],
                **dict.fromkeys(TERMS, np.nan),
                "score": selector.score_samples(shown),
            }
        )
        if hasattr(selector, "class_log_likelihood"):
            likelihoods = selector.class_log_likelihood(shown)
            gallery["likelihood"] = likelihoods[np.arange(len(codes)), codes]
            gallery["difficulty"] = selector.difficulty_[codes]
            gallery["prior"] = selector.prior_[codes]
        return cls(gallery, n_images).plot(ax, n_columns=n_columns)

    def plot(self, ax: Sequence[Axes] | None = None, *, n_columns: int = 5) -> GalleryDisplay:
        """Draw the images.

        Parameters
        ----------
        ax : sequence of matplotlib Axes or None, default=None
            Where to draw, one for each image; None makes a new figure.
        n_columns : int, default=5
            Images side by side in a new figure.

        Returns
        -------
        self : GalleryDisplay

        Raises
        ------
        ValueError
            If `gallery` lacks a column or has no row, has two rows of one rank, or there
            are fewer axes than images.
        ImportError
            If matplotlib is not installed.
        """
        rows = first_images(self.gallery, self.n_images)
        axes = _new_grid(len(rows), n_columns) if ax is None else list(np.ravel(np.array(ax)))
        if len(axes) < len(rows):
            raise ValueError(
                f"There are {len(axes)} axes for {len(rows)} images. Expected one for each."
            )
        from matplotlib.image import imread

        self.axes_ = axes[: len(rows)]
        for axis, row in zip(self.axes_, rows.to_dict("records"), strict=True):
            axis.imshow(imread(io.BytesIO(row["png"])), cmap="gray")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(label_text(row), fontsize="small")
            terms = [f"{name} = {number_text(row[key])}" for key, name in TERMS.items()]
            axis.set_xlabel("\n".join(terms), fontsize="small")
        self.figure_ = self.axes_[0].figure
        return self


def first_images(gallery: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """The images of the lowest ranks, first to last."""
    needed = ["rank", "png", "true_label", "predicted_label", *TERMS]
    rows = checked_columns(gallery, needed).sort_values("rank").head(n_images)
    if len(rows) == 0:
        raise ValueError("gallery has no image: nothing to draw.")
    if rows["rank"].duplicated().any():
        raise ValueError(
            "gallery has several images of one rank. Expected one query; select one "
            "strategy, seed and round first."
        )
    return rows


def _as_pictures(images: Any) -> np.ndarray:
    """Images as bytes, of shape (n, height, width) or (n, height, width, 3)."""
    pictures = np.asarray(images)
    if pictures.ndim == 4 and pictures.shape[-1] != 3 and pictures.shape[1] in (1, 3):
        pictures = np.moveaxis(pictures, 1, -1)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[-1] != 3):
        raise ValueError(
            f"Images of shape {np.shape(images)} cannot be drawn. Expected (n, height, width), "
            "(n, height, width, 3) or (n, n_channels, height, width) with 1 or 3 channels; give "
            "what is to be seen as `images`."
        )
    if pictures.dtype == np.uint8:
        return pictures
    # One scale for all: standardized images are neither in 0..1 nor in 0..255.
    low, high = float(pictures.min()), float(pictures.max())
    scaled: np.ndarray = (pictures - low) * (255 / (high - low or 1))
    return scaled.round().astype(np.uint8)


def _as_png(picture: np.ndarray) -> bytes:
    load_pyplot()  # says what to install
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    # Grey as three equal channels: through a color map some values would be off by one.
    imsave(buffer, picture if picture.ndim == 3 else np.stack([picture] * 3, -1), format="png")
    return buffer.getvalue()


def label_text(row: dict[str, Any]) -> str:
    """The class of an image, and what it was taken for if that was another."""
    if _is_unknown(row["true_label"]):
        return f"predicted: {row['predicted_label']}"
    if row["true_label"] == row["predicted_label"]:
        return str(row["true_label"])
    return f"{row['true_label']}, not {row['predicted_label']}"


def _is_unknown(label: Any) -> bool:
    """Whether a label is missing: None, which pandas may have made NaN."""
    return label is None or (isinstance(label, float) and math.isnan(label))


def number_text(value: float) -> str:
    """A term to three digits; a dash where the strategy does not have it."""
    if math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:#.3g}".rstrip(".").replace("-", "\N{MINUS SIGN}")


def _new_grid(n_images: int, n_columns: int) -> list[Axes]:
    columns = min(n_columns, n_images)
    n_rows = math.ceil(n_images / columns)
    _, grid = load_pyplot().subplots(
        n_rows,
        columns,
        figsize=(TILE[0] * columns, TILE[1] * n_rows),
        layout="constrained",
        squeeze=False,
    )
    axes: list[Axes] = list(grid.ravel())
    for axis in axes[n_images:]:
        axis.set_axis_off()
    return axes
