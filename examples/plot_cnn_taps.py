"""
A convolutional network with named taps
=======================================

VaB-AL reads the features inside the classifier. Of a network these are the outputs of layers,
the taps; ``layers`` names them as ``named_modules()`` does. Here a small skorch network has read
200 digits, and VaB-AL looks for its mistakes in the pool through other layers each time.

The lesson: with the defaults the layers hardly matter, since half of the likelihood is the
network's own word (``classifier_weight``). From ``conv1`` the autoencoder learns next to nothing,
as the warnings say, and the score is as good as from the others. Look at the dashed line before
you tune the taps: the network's entropy alone, which costs nothing, orders the mistakes about as
well.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from skvaball import ActiveLearner, VaBQuerySelector
from skvaball.selectors import EntropySelector


class TinyCNN(nn.Module):
    """Two convolutions and a dense layer; it returns logits."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dense = nn.Linear(32 * 4, 32)
        self.output = nn.Linear(32, 10)
        self.pool = nn.MaxPool2d(2)

    def forward(self, X):
        """Logits of images of 8 x 8 pixels."""
        X = self.pool(self.conv1(X).relu())
        X = self.pool(self.conv2(X).relu())
        return self.output(self.dense(X.flatten(1)).relu())


images, y = load_digits(return_X_y=True)
X = images.reshape(-1, 1, 8, 8).astype(np.float32) / 16
net = NeuralNetClassifier(
    TinyCNN,
    criterion=nn.CrossEntropyLoss,
    lr=0.1,
    optimizer__momentum=0.9,
    max_epochs=40,
    batch_size=32,
    train_split=None,
    verbose=0,
)
learner = ActiveLearner(net, classes=np.arange(10), random_state=0).fit(X[:200], y[:200])
X_pool, y_pool = X[200:1100], y[200:1100]
print(f"{np.mean(learner.predict(X_pool) != y_pool):.1%} of the pool are mistakes")
print("layers:", [name for name, _ in learner.estimator_.module_.named_modules() if name])

# %%
# ``score`` of a selector is the area under the ROC curve of its scores against the mistakes:
# 0.5 is chance, 1 a perfect order. Each choice of taps is tried with three seeds of the
# autoencoder, because its training is random as well.

choices = {
    "conv1": ["conv1"],
    "conv2": ["conv2"],
    "dense": ["dense"],
    "all three": ["conv1", "conv2", "dense"],
    "last (default)": None,  # the input of "output"
}
found = {}
for name, layers in choices.items():
    found[name] = [
        VaBQuerySelector(learner, layers=layers, classes=np.arange(10), random_state=seed)
        .fit_pool(X[:200], y[:200], X_pool)
        .score(X_pool, y_pool)
        for seed in range(3)
    ]
    print(f"{name:15}", " ".join(f"{value:.3f}" for value in found[name]))

entropy = EntropySelector(learner, classes=np.arange(10)).fit_pool(X[:200], y[:200], X_pool)
limit = entropy.score(X_pool, y_pool)
print(f"{'entropy':15} {limit:.3f}")

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for i, values in enumerate(found.values()):
    ax.plot(values, [i] * 3, "o", color="tab:blue")
ax.axvline(limit, ls="--", color="k", label="entropy of the network")
ax.set(yticks=range(len(found)), yticklabels=found, xlabel="AUROC of the score for mistakes")
ax.invert_yaxis()
ax.legend()
plt.show()
