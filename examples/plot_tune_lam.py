"""
Tune lam by what it is for
==========================

``lam`` weighs the class loss in the training of VaB-AL's autoencoder. What it is good for
is the accuracy of the classifier at the end of the labeling budget, and that is what a
grid search over the simulator measures: in each fold the labels of the training rows are
hidden, bought round by round, and the final classifier is scored on the rows left out.

The lesson: the best of a grid may be luck. Folds are shared by all settings, so compare within one
seed; but what is ahead with one seed need not be with the next. Look at several before you
believe the best ``lam``. Where the autoencoder warns that it has learned next to nothing, the score
is mostly the classifier's own word.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.datasets import make_dominant

X, y = load_digits(return_X_y=True)
kept = make_dominant(y, 0, keep=0.3, random_state=0)
learner = ActiveLearner(LogisticRegression(max_iter=300), VaBQuerySelector())
simulator = ActiveLearningSimulator(learner, batch_size=35, n_rounds=2)
search = GridSearchCV(
    simulator,
    {"learner__selector__lam": [0.001, 0.1, 1.0], "random_state": [0, 1, 2]},
    scoring="balanced_accuracy",
    cv=3,
    refit=False,
).fit(X[kept], y[kept])

results = pd.DataFrame(search.cv_results_)
table = results.pivot(
    index="param_learner__selector__lam", columns="param_random_state", values="mean_test_score"
)
print(table.round(3))
fig, ax = plt.subplots(layout="constrained")
for seed in table:
    ax.plot(table.index, table[seed], marker="o", label=f"seed {seed}, mean of 3 folds")
ax.set(xscale="log", xlabel="lam", ylabel="Balanced accuracy after 105 labels")
ax.legend()
plt.show()
