"""
Tune lam by what it is for
==========================

``lam`` weighs the class loss in the training of VaB-AL's autoencoder. What it is good for
is the accuracy of the classifier at the end of the labeling budget, and that is what a
grid search over the simulator measures: in each fold the labels of the training rows are
hidden, bought round by round, and the final classifier is scored on the rows left out.

The lesson: differences between settings are about as large as those between folds. Look at the
spread before you believe the best of a grid.
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
simulator = ActiveLearningSimulator(learner, batch_size=35, n_rounds=2, random_state=0)
search = GridSearchCV(
    simulator,
    {"learner__selector__lam": [0.001, 0.1, 1.0]},
    scoring="balanced_accuracy",
    cv=3,
    refit=False,
).fit(X[kept], y[kept])

results = pd.DataFrame(search.cv_results_)
print(results[["param_learner__selector__lam", "mean_test_score", "std_test_score"]])
fig, ax = plt.subplots(layout="constrained")
ax.errorbar(
    results["param_learner__selector__lam"].astype(float),
    results["mean_test_score"],
    results["std_test_score"],
    marker="o",
    capsize=4,
)
ax.set(xscale="log", xlabel="lam", ylabel="Balanced accuracy after 105 labels")
plt.show()
