"""
When to stop
============

A rule is asked after each round whether the labels are enough. Here two rules watch one run of
margin sampling on digits, without a look at the test set: how much the predictions still change,
and how many mistakes the classifier expects in the pool.

The lesson: the predictions stop changing about when the accuracy stops rising. A rule sees the
flat part only once it is there, so it stops some rounds late. What the classifier says about its
own errors is far off here, to the safe side: with 350 labels it still expects more than one
mistake in 20 rows, where there are next to none, and that rule has not stopped.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skvaball import ActiveLearner
from skvaball.selectors import MarginSelector
from skvaball.stopping import ExpectedError, StablePredictions

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=0)
learner = ActiveLearner(LogisticRegression(max_iter=1000), MarginSelector(), random_state=0)
labeled = np.arange(30)
pool = np.arange(30, len(X))
learner.fit(X[labeled], y[labeled])

rules = {
    "agreement of successive predictions (kappa)": StablePredictions(random_state=0),
    "expected share of mistakes": ExpectedError(bound=0.05),
}
stops = dict.fromkeys(rules)
labels, accuracy, mistakes = [], [], []
while True:
    labels.append(len(learner.y_labeled_))
    accuracy.append(learner.score(X_test, y_test))
    mistakes.append(np.mean(learner.predict(X[pool]) != y[pool]))
    for name, rule in rules.items():
        if rule.should_stop(learner, X[pool]) and stops[name] is None:
            stops[name] = labels[-1]
            print(f"{name}: stop at {labels[-1]} labels, accuracy {accuracy[-1]:.3f}")
    if labels[-1] >= 350:
        break
    idx = learner.query(X[pool], 20)
    learner.teach(X[pool[idx]], y[pool[idx]])
    pool = np.delete(pool, idx)

expected = rules["expected share of mistakes"].values_[-1]
print(f"with {labels[-1]} labels: {expected:.3f} expected, {mistakes[-1]:.4f} true")

fig, axes = plt.subplots(3, 1, figsize=(7, 7), sharex=True, layout="constrained")
axes[0].plot(labels, accuracy, "k", marker="o")
axes[0].set_ylabel("Accuracy\non new rows")
for i, (name, rule) in enumerate(rules.items()):
    axes[i + 1].plot(labels, rule.values_, f"C{i}", marker="o", label=name)
    for ax in (axes[0], axes[i + 1]):
        if stops[name] is not None:
            ax.axvline(stops[name], color=f"C{i}", ls="--")
axes[2].plot(labels, mistakes, "0.5", marker="s", label="true share of mistakes in the pool")
axes[2].set(xlabel="Labels", ylabel="Share of mistakes")
axes[1].set_ylabel("Kappa")
for ax in axes[1:]:
    ax.legend()
plt.show()
