"""Greedy k-center against brute force, the optimum, and scikit-activeml."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.utils.data import TensorDataset

from skvaball.features import deep_features
from skvaball.networks import DeepClassifier
from skvaball.selectors import CoreSetSelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks
from skvaball.utils.k_center import (
    BLOCK_ROWS,
    BLOCK_VALUES,
    farthest_first,
    squared_distances_to_nearest,
)


@parametrize_with_checks([CoreSetSelector(), CoreSetSelector(LogisticRegression())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([CoreSetSelector()])
def test_selector_checks(selector, check):
    check(selector)


# -- the greedy choice -----------------------------------------------------------------------


def normal(n, d, rng):
    return rng.standard_normal((n, d))


def activations(n, d, rng):
    """Like the features of a network: classes of different spread, cut off at zero."""
    centers = rng.standard_normal((7, d))
    spread = rng.gamma(2, 0.3, size=(n, 1))
    return np.maximum(centers[rng.integers(7, size=n)] + spread * rng.standard_normal((n, d)), 0)


def clusters(n, d, rng):
    """Far apart and narrow: a pick changes the distances of a whole cluster."""
    centers = 10 * rng.standard_normal((40, d))
    return centers[rng.integers(40, size=n)] + 0.1 * rng.standard_normal((n, d))


def far_from_zero(n, d, rng):
    """Where |x|^2 + |c|^2 - 2 x.c has no digits left in float32."""
    return 1e4 + rng.standard_normal((n, d))


def grid(n, d, rng):
    """Full of ties and duplicates."""
    return rng.integers(3, size=(n, d)).astype(float)


KINDS = [normal, activations, clusters, far_from_zero, grid]


def greedy(features, centers, n):
    """Farthest-first by its definition, with the whole matrix of distances."""
    features = features.astype(np.float64)
    to_rows = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    minima = ((features[:, None] - centers[None].astype(np.float64)) ** 2).sum(axis=2).min(axis=1)
    chosen = []
    for _ in range(n):
        minima[chosen] = -1.0
        chosen.append(int(minima.argmax()))
        minima = np.minimum(minima, to_rows[:, chosen[-1]])
    return chosen


def pick(features, centers, n):
    return farthest_first(features, squared_distances_to_nearest(features, centers), n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 3, 40])
def test_picks_are_those_of_the_definition(kind, d):
    rng = np.random.default_rng(d)
    features = kind(400, d, rng).astype(np.float32)
    centers = kind(11, d, rng).astype(np.float32)
    picks = pick(features, centers, 400)
    assert picks.dtype == np.int64
    np.testing.assert_array_equal(picks, greedy(features, centers, 400))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [40, 2 * BLOCK_ROWS])
def test_weighted_picks_are_those_of_the_definition(kind, n_rows):
    rng = np.random.default_rng(0)
    features = kind(n_rows, 4, rng).astype(np.float32)
    centers = kind(7, 4, rng).astype(np.float32)
    weights = rng.exponential(size=n_rows) * (rng.random(n_rows) < 0.8)
    minima = squared_distances_to_nearest(features, centers)
    picks = farthest_first(features, minima, 40, weights)
    assert len(set(picks.tolist())) == 40
    distances = cdist(features.astype(float), centers.astype(float)).min(axis=1) ** 2
    for pick in picks:
        best = (weights * distances).max()
        assert weights[pick] * distances[pick] == pytest.approx(best, rel=1e-9, abs=1e-20)
        to_pick = cdist(features.astype(float), features[[pick]].astype(float))[:, 0] ** 2
        distances = np.minimum(distances, to_pick)


def test_equal_weights_change_nothing():
    features = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    minima = squared_distances_to_nearest(features, features[:4])
    weighted = farthest_first(features, minima, 100, np.full(300, 0.5))
    np.testing.assert_array_equal(weighted, farthest_first(features, minima, 100))


small = st.integers(1, 12).flatmap(
    lambda n: st.integers(1, 3).flatmap(
        lambda d: st.tuples(
            arrays(np.float32, (n, d), elements=st.integers(-3, 3)),
            arrays(np.float32, (2, d), elements=st.integers(-3, 3)),
        )
    )
)


@given(small)
@settings(deadline=None)
def test_ties_go_to_the_first_position(data):
    features, centers = data
    n = len(features)
    np.testing.assert_array_equal(pick(features, centers, n), greedy(features, centers, n))


@given(st.integers(0, 2**31 - 1), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_radius_is_within_twice_the_optimum(seed, n, d):
    rng = np.random.default_rng(seed)
    features = rng.choice([1.0, 5.0], size=(9, 1)) * rng.standard_normal((9, d))
    features = features.astype(np.float32)
    centers = rng.standard_normal((1, d)).astype(np.float32)

    def radius(rows):
        return cdist(features, np.concatenate([centers, features[rows]])).min(axis=1).max()

    optimum = min(radius(list(rows)) for rows in combinations(range(9), n))
    assert radius(pick(features, centers, n)) <= 2 * optimum * (1 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_more_rows_and_centers_than_fit_into_a_block(kind):
    rng = np.random.default_rng(5)
    features = kind(2 * BLOCK_ROWS + 77, 6, rng).astype(np.float32)
    centers = kind(BLOCK_ROWS + 5, 6, rng).astype(np.float32)
    np.testing.assert_allclose(
        np.sqrt(squared_distances_to_nearest(features, centers)),
        cdist(features.astype(np.float64), centers.astype(np.float64)).min(axis=1),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize(("n", "d", "kind"), [(3000, 64, k) for k in KINDS[:3]])
@pytest.mark.parametrize("n_labeled", [3, 300])
def test_picks_of_scikit_activeml(kind, n, d, n_labeled):
    pytest.importorskip("skactiveml", reason="scikit-activeml is the reference")
    from skactiveml.pool import CoreSet

    X = kind(n, d, np.random.default_rng(1)).astype(np.float32)
    y = np.where(np.arange(n) < n_labeled, np.arange(n) % 2, np.nan)
    theirs, utilities = CoreSet(random_state=0).query(X, y, batch_size=60, return_utilities=True)
    clf = DummyClassifier().fit(X[:2], [0, 1])
    selector = CoreSetSelector(clf).fit_pool(X[:n_labeled], y[:n_labeled])
    positions, scores = selector.select(X[n_labeled:], 60, return_scores=True)
    np.testing.assert_array_equal(positions, theirs - n_labeled)
    np.testing.assert_allclose(scores, utilities[0, n_labeled:], rtol=1e-5)


# -- distances -------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 7, 512, 9000])
@pytest.mark.parametrize("kind", [normal, far_from_zero])
def test_a_distance_does_not_depend_on_the_rows_beside_it(kind, d):
    rng = np.random.default_rng(0)
    features, centers = (kind(n, d, rng).astype(np.float32) for n in (40, 9))
    together = squared_distances_to_nearest(features, centers)
    alone = [squared_distances_to_nearest(features[[i]], centers)[0] for i in range(40)]
    np.testing.assert_array_equal(together, alone)
    order = rng.permutation(40)
    np.testing.assert_array_equal(
        together[order], squared_distances_to_nearest(features[order], centers[::-1])
    )


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e8])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_equal_rows_are_at_distance_zero(offset, scale):
    rng = np.random.default_rng(0)
    features = ((offset + rng.standard_normal((50, 20))) * scale).astype(np.float32)
    minima = squared_distances_to_nearest(features, features[::5])
    assert np.all(minima[::5] == 0)
    assert np.isfinite(minima).all()
    exact = cdist(features.astype(np.longdouble), features[::5]).min(axis=1)
    np.testing.assert_allclose(np.sqrt(minima), exact, rtol=1e-6)


def test_rows_that_are_all_alike_are_taken_by_position():
    features = np.full((300, 5), 0.1, dtype=np.float32)
    np.testing.assert_array_equal(pick(features, features[:2], 300), np.arange(300))
    np.testing.assert_array_equal(pick(features, features[:2] + 1, 300), np.arange(300))


def test_labeled_rows_that_are_all_alike_cost_no_more():
    features = np.full((5000, 64), 0.1, dtype=np.float32)
    tracemalloc.start()
    assert np.all(squared_distances_to_nearest(features, features) == 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_rows_wider_than_a_block():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((5, BLOCK_VALUES + 1)).astype(np.float32)
    np.testing.assert_array_equal(
        pick(features[1:], features[:1], 4), greedy(features[1:], features[:1], 4)
    )


def test_memory_is_that_of_the_pool():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20_000, 64)).astype(np.float32)
    tracemalloc.start()
    pick(features, rng.standard_normal((2_000, 64)).astype(np.float32), 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Pool by labeled would be 320 MB, pool by pool 3,200 MB.
    assert peak < 40e6


# -- the selector ----------------------------------------------------------------------------


def test_features_are_those_of_the_penultimate_layer():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 5)).astype(np.float32)
    y = rng.integers(3, size=30)
    net = DeepClassifier(max_epochs=3, random_state=0).fit(X[:30], y)
    (features,) = deep_features(net, X, layers="penultimate")
    selector = CoreSetSelector(net).fit_pool(X[:30], y)
    np.testing.assert_array_equal(selector.centers_, features[:30])
    positions, scores = selector.select(X[30:], 12, return_scores=True)
    np.testing.assert_array_equal(positions, greedy(features[30:], features[:30], 12))
    np.testing.assert_array_equal(scores, selector.score_samples(X[30:]))
    other = CoreSetSelector(net, layers=None).fit_pool(X[:30], y)
    assert other.centers_.shape == (30, 256)


def test_images_from_memory_a_memmap_and_a_dataset(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3, 8, 8)).astype(np.float32)
    y = np.array(["owl", "yak"])[rng.integers(2, size=20)]
    net = DeepClassifier(max_epochs=1, random_state=0)
    selector = CoreSetSelector(net, classes=["owl", "rat", "yak"], random_state=0)
    expected, _ = selector.fit_select(X[:20], y, X[20:], 10)
    np.save(tmp_path / "pool.npy", X[20:])
    for pool in (
        np.load(tmp_path / "pool.npy", mmap_mode="r"),
        TensorDataset(torch.from_numpy(X[20:])),
    ):
        positions, _ = selector.fit_select(X[:20], y, pool, 10)
        np.testing.assert_array_equal(positions, expected)
