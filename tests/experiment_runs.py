"""Small experiments that several test files share."""

import numpy as np

from skvaball.experiments import ResultStore, load_protocol, run_protocol

FAST = """
extends = "digits"
title = "Few digits"

[training]
max_epochs = 4

[rounds]
start = 20
batch = 10
n = 2

[metrics]
gallery = 2

[strategies.small-vab]
selector = "vab"
params = { max_epochs = 2, n_draws = 4, n_units = 8, hidden = [8], block_size = 2 }
"""

#: What a run leaves in the store but for times, memory and the environment.
RESULTS = [
    "protocol",
    "balance",
    "strategy",
    "seed",
    "round",
    "n_labeled",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "geometric_mean",
    "rare_share",
    "vae_agreement",
    "likelihood_agreement",
    "nothing_learned",
]


def fast_protocol(folder, text=FAST, name="fast"):
    """A protocol that runs in a second."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return load_protocol(path)


def run(protocol, strategies, seeds, path, **options):
    """Run to the end; the keys in the order in which they were done."""
    return list(run_protocol(protocol, strategies, seeds, ResultStore(path), **options))


def assert_same_results(first, second):
    """The same rounds with the same numbers, labels and pictures in both stores."""
    keys = RESULTS[:5]
    one, two = (store.rounds().sort_values(keys, ignore_index=True) for store in (first, second))
    assert one[RESULTS].equals(two[RESULTS])
    for column in ("queried", "recalls", "class_counts"):
        for a, b in zip(one[column], two[column], strict=True):
            np.testing.assert_array_equal(a, b)
    order = [*keys, "rank"]
    one, two = (store.gallery().sort_values(order, ignore_index=True) for store in (first, second))
    assert one.equals(two)
