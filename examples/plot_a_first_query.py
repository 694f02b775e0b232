"""
A first query
=============

A learner is a classifier that says which rows it wants labeled next. Here it has twelve labels
of a pool of 300 points in the plane, and asks for ten more.

The lesson: margin sampling asks about points near the line between the classes, where the
classifier is least sure. It learns nothing new about the places far from that line, and if the
classifier is wrong there, it will not find out.
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

fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, title in zip(
    axes, ["12 labels, and 10 questions", "The same after 22 labels"], strict=True
):
    DecisionBoundaryDisplay.from_estimator(learner, X, ax=ax, cmap="RdBu_r", alpha=0.4)
    ax.scatter(*X_pool.T, c="0.6", s=8, label="pool")
    ax.scatter(*learner.X_labeled_.T, c=learner.y_labeled_, cmap="RdBu_r", ec="k", label="labeled")
    ax.set_title(title)
    if title.startswith("12"):
        ax.scatter(*X_pool[idx].T, fc="none", ec="tab:green", s=90, lw=2, label="queried")
        ax.legend(loc="lower left", framealpha=1)
        learner.teach(X_pool[idx], y_pool[idx])  # the annotator's answers
plt.show()

# %%
# The pool still holds the rows that were bought. Take them out before the next query, or the
# learner may ask for them again:

rest = np.delete(X_pool, idx, axis=0)
print(f"{len(rest)} rows left, next: {learner.query(rest, 3)}")
