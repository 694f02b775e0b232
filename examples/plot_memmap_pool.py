"""
A pool that stays on disk
=========================

The pool is a file that is mapped into memory: its rows are read when they are needed. VaB-AL
trains its autoencoder on a sample of them (``max_samples``) and scores all of them chunk by chunk.
With ``batch="top"`` and 16 draws or more, it gives all its draws only to rows that could be among
the best (``confidence``).

The lesson: the memory of a query hardly grows with the pool: what grows is a few numbers for each
row. Nearly all rows are given up after a quarter of the draws, and the batch
is the one that all draws would have given, or close to it.
"""

import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from skvaball import ActiveLearner, VaBQuerySelector

N_POOL, N_FEATURES = 60_000, 256
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "pool.npy"
X, y = make_classification(
    N_POOL + 300,
    N_FEATURES,
    n_informative=10,
    n_redundant=150,
    n_classes=3,
    weights=[0.9, 0.07, 0.03],
    random_state=0,
)
X = X.astype(np.float32)
np.save(path, X[300:])
X_labeled, y_labeled = X[:300].copy(), y[:300]
del X

X_pool = np.load(path, mmap_mode="r")
print(f"the pool: a {type(X_pool).__name__} of {X_pool.nbytes / 2**20:.0f} MiB")

# %%
# The memory that a query takes beyond what was there before, for parts of the pool: numpy's
# arrays, since tracemalloc does not see torch's, which here take about as much again whatever the
# pool. The first query is not counted: in it Python loads modules.

selector = VaBQuerySelector(batch="top", n_draws=32, max_samples=2048)
learner = ActiveLearner(LogisticRegression(max_iter=500), selector, random_state=0)
learner.fit(X_labeled, y_labeled)
learner.query(X_pool[:1000], 10)

sizes = [5_000, 20_000, 40_000, N_POOL]
peaks = []
for size in sizes:
    learner.fit(X_labeled, y_labeled)
    tracemalloc.start()
    batch = learner.query(X_pool[:size], 200)
    peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
    tracemalloc.stop()
used = learner.selector_.draws_used_

# %%
# The whole pool again, timed, and then with all draws for every row.

learner.fit(X_labeled, y_labeled).query(X_pool, 200)
timings = learner.selector_.timings_

learner.set_params(selector__confidence=None).fit(X_labeled, y_labeled)
exact = learner.query(X_pool, 200)
print(f"{len(np.intersect1d(batch, exact))} of the 200 rows are in both batches")
print(f"scores by elimination: {timings['scores']:.1f} s, {used.mean():.1f} draws a row")
print(f"scores by all draws:   {learner.selector_.timings_['scores']:.1f} s, 32 draws a row")

fig, (memory, draws) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
pool_sizes = [size * N_FEATURES * 4 / 2**20 for size in sizes]
memory.plot(sizes, pool_sizes, "k--", marker="s", label="the rows themselves")
memory.plot(sizes, peaks, marker="o", label="peak of the query")
memory.set(xlabel="Rows of the pool", ylabel="MiB", ylim=(0, None))
memory.legend()
values, counts = np.unique(used, return_counts=True)
bars = draws.bar([f"{value} draws" for value in values], counts / len(used))
draws.bar_label(bars, [f"{count:,} rows" for count in counts])
draws.set(ylabel="Share of the pool", ylim=(0, 1.1))
plt.show()

del X_pool
folder.cleanup()
