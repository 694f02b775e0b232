"""
A first query
=============

A learner is a classifier that says which rows it wants labeled next. Here it has twelve labels
of a pool of 300 points in the plane, and asks for ten more.

The lesson: margin sampling asks about points near the line between the classes, where the
classifier is least sure. Most of its mistakes are farther away, and it does not ask about them:
the ten answers turn the line, and leave no fewer mistakes than before.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression

from skvaball import ActiveLearner
from skvaball.selectors import MarginSelector

X, y = make_moons(312, noise=0.15, random_state=0)
X_labeled, y_labeled, X_pool, y_pool = X[:12], y[:12], X[12:], y[12:]

learner = ActiveLearner(LogisticRegression(), MarginSelector(), random_state=0)
learner.fit(X_labeled, y_labeled)
idx = learner.query(X_pool, 10)  # positions in the pool, best first


def draw(ax, title):
    """The classifier, the pool with its mistakes, and the labels so far."""
    DecisionBoundaryDisplay.from_estimator(learner, X, ax=ax, cmap="RdBu_r", alpha=0.4)
    wrong = learner.predict(X_pool) != y_pool  # known here, but not to the learner
    ax.scatter(*X_pool.T, c="0.6", s=8, label="pool")
    ax.scatter(*X_pool[wrong].T, marker="x", c="k", s=18, lw=1, label="mistake")
    ax.scatter(*learner.X_labeled_.T, c=learner.y_labeled_, cmap="RdBu_r", ec="k", label="labeled")
    ax.set_title(title)
    print(f"{title}: {wrong.sum()} mistakes in the pool")


fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
draw(axes[0], "12 labels, and 10 questions")
axes[0].scatter(*X_pool[idx].T, fc="none", ec="tab:green", s=90, lw=2, label="queried")
axes[0].legend(loc="lower left", framealpha=1)
learner.teach(X_pool[idx], y_pool[idx])  # the annotator's answers
draw(axes[1], "After 22 labels")
plt.show()

# %%
# The pool still holds the rows that were bought. Take them out before the next query, or the
# learner may ask for them again:

rest = np.delete(X_pool, idx, axis=0)
print(f"{len(rest)} rows left, next: {learner.query(rest, 3)}")
