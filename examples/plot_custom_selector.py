"""
A strategy of your own
======================

A strategy is a class with at least one method, ``_score``: a number for each row, the higher, the
sooner to be labeled. Here it is the entropy of the classifier times how typical a row is for the
pool: among rows that are equally unclear those with many neighbors come first.

The lesson: fewer than thirty lines make a strategy, and ``check_selector`` says whether it keeps
the promises that learner, simulator and grid search rely on. It says nothing about whether the
strategy is any good: that is for a comparison to show.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from skvaball import ActiveLearner
from skvaball.features import FeatureReader
from skvaball.selectors import EntropySelector, QuerySelector
from skvaball.utils.estimator_checks import check_selector


class TypicalEntropySelector(QuerySelector):
    """Entropy, times the density of the pool around the row."""

    _needs = "predict_proba"  # a classifier without it is refused with a clear message

    def __init__(
        self, estimator=None, *, n_neighbors=10, classes=None, missing_label=-1, random_state=None
    ):
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.n_neighbors = n_neighbors

    def _fit_pool(self, X_labeled, codes, X_pool):
        # The features that the classifier sees: the last layer of a network, or X itself.
        self._reader = FeatureReader(self._view, "penultimate")
        self._neighbors = NearestNeighbors().fit(self._reader.read(X_pool).values)

    def _score(self, X):
        probabilities = self._view.predict_proba(X)
        entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
        features = self._reader.read(X).values
        n = min(self.n_neighbors, self._neighbors.n_samples_fit_)
        distances, _ = self._neighbors.kneighbors(features, n)
        return entropy / (distances.mean(axis=1) + 1e-6)


check_selector(TypicalEntropySelector())
print("all checks passed")

# %%
# A strategy that breaks a promise is told so. This one has other numbers each time it is asked,
# and the first check to notice is that one pick is not the first of several:


class ForgetfulSelector(QuerySelector):
    """Scores that are not those of the seed."""

    n_asked = 0

    def _score(self, X):
        ForgetfulSelector.n_asked += 1
        return np.random.default_rng(self.n_asked).random(len(X))


try:
    check_selector(ForgetfulSelector())
except AssertionError as error:
    print("refused:", error)

# %%
# What it asks for, beside plain entropy: the same classifier, other questions. They lie in a few
# crowded spots, some of them hardly unclear.

X, _ = make_blobs([150, 150, 60], centers=[(0, 0), (3, 0), (1.5, 3)], shuffle=False, random_state=0)
y = np.repeat([0, 1, 2], [150, 150, 60])
start = np.concatenate([np.arange(5), 150 + np.arange(5), 300 + np.arange(5)])
pool = np.setdiff1d(np.arange(len(X)), start)
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, selector in zip(axes, [EntropySelector(), TypicalEntropySelector()], strict=True):
    learner = ActiveLearner(LogisticRegression(C=0.1), selector, random_state=0)
    learner.fit(X[start], y[start])
    idx, scores = learner.query(X[pool], 15, return_scores=True)
    points = ax.scatter(*X[pool].T, c=scores, s=14, cmap="viridis")
    ax.scatter(*X[pool][idx].T, fc="none", ec="tab:red", s=80, lw=1.5)
    ax.scatter(*X[start].T, marker="x", c="k")
    ax.set_title(type(selector).__name__)
    fig.colorbar(points, ax=ax, label="score")
plt.show()
