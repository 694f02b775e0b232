"""BADGE against explicit gradient embeddings, exact probabilities, and scikit-activeml."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvaball.features import deep_features
from skvaball.networks import DeepClassifier
from skvaball.selectors._badge import BADGESelector, Gradients, sample_plus_plus
from skvaball.utils.estimator_checks import parametrize_with_selector_checks
from skvaball.utils.random import derive_seed


@parametrize_with_checks([BADGESelector(), BADGESelector(LogisticRegression())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([BADGESelector()])
def test_selector_checks(selector, check):
    check(selector)


# -- distances -------------------------------------------------------------------------------


def factors(n, n_classes, d, rng, *, scale=1.0, offset=0.0):
    """Residuals and features of random rows, some of them confident."""
    probabilities = rng.dirichlet(np.full(n_classes, 0.3), size=n)
    residuals = probabilities - np.eye(n_classes)[probabilities.argmax(axis=1)]
    features = np.maximum(offset + rng.standard_normal((n, d)), 0) * scale
    return residuals, features.astype(np.float32)


def explicit(residuals, features):
    """The embeddings themselves, (n, n_classes * d)."""
    outer = residuals[:, :, None] * features[:, None, :].astype(np.float64)
    return outer.reshape(len(outer), -1)


@given(st.integers(0, 2**31 - 1), st.integers(2, 5), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_distances_are_those_of_the_outer_products(seed, n_classes, d):
    residuals, features = factors(30, n_classes, d, np.random.default_rng(seed))
    gradients, embeddings = Gradients(residuals, features), explicit(residuals, features)
    np.testing.assert_allclose(gradients.squared_norms, (embeddings**2).sum(axis=1), rtol=1e-12)
    for center in range(5):
        expected = ((embeddings - embeddings[center]) ** 2).sum(axis=1)
        lowered = np.full(30, np.inf)
        gradients.lower(lowered, center)
        np.testing.assert_allclose(lowered, expected, rtol=1e-9, atol=1e-12)
        assert np.all(gradients._lower_bounds(center) <= expected)


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1.0, 1e15])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_rows_that_come_no_closer_are_told_apart_from_those_that_do(scale, offset):
    rng = np.random.default_rng(0)
    residuals, features = factors(300, 4, 50, rng, scale=scale, offset=offset)
    gradients, embeddings = Gradients(residuals, features), explicit(residuals, features)
    nearest, expected = np.full(300, np.inf), np.full(300, np.inf)
    for center in rng.permutation(300)[:60]:
        gradients.lower(nearest, center)
        squared = ((embeddings - embeddings[center]) ** 2).sum(axis=1)
        expected = np.minimum(expected, squared)
    np.testing.assert_allclose(nearest / scale**2, expected / scale**2, rtol=1e-9, atol=1e-12)


# -- picks -----------------------------------------------------------------------------------


def explicit_plus_plus(embeddings, n, rng):
    """k-means++ on embeddings, by its definition."""
    chosen = [int((embeddings**2).sum(axis=1).argmax())]
    while len(chosen) < n:
        squared = ((embeddings[:, None] - embeddings[chosen]) ** 2).sum(axis=2).min(axis=1)
        squared[chosen] = 0
        if squared.sum() == 0:
            chosen.append(next(i for i in range(len(embeddings)) if i not in chosen))
            continue
        shares = np.cumsum(squared)
        chosen.append(int(np.searchsorted(shares, rng.random() * shares[-1], side="right")))
    return chosen


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_classes", [2, 6])
def test_picks_are_those_of_explicit_embeddings(seed, n_classes):
    residuals, features = factors(120, n_classes, 9, np.random.default_rng(seed))
    copies = np.r_[np.arange(120), np.arange(0, 120, 3)]  # duplicates, too
    residuals, features = residuals[copies], features[copies]
    picks = sample_plus_plus(Gradients(residuals, features), 160, np.random.default_rng(seed))
    expected = explicit_plus_plus(explicit(residuals, features), 160, np.random.default_rng(seed))
    assert picks.dtype == np.int64
    np.testing.assert_array_equal(picks, expected)


def exact_shares(embeddings, n):
    """Probability of every sequence of n picks, by enumeration."""
    shares = {(int((embeddings**2).sum(axis=1).argmax()),): 1.0}
    for _ in range(n - 1):
        longer = {}
        for chosen, share in shares.items():
            rest = embeddings[:, None] - embeddings[list(chosen)]
            squared = (rest**2).sum(axis=2).min(axis=1)
            for i in np.flatnonzero(squared):
                longer[(*chosen, int(i))] = share * squared[i] / squared.sum()
        shares = longer
    return shares


def assert_frequencies(drawn, shares):
    """Fail if the sequences drawn are improbable under the shares."""
    assert set(drawn) <= set(shares)
    counts = np.array([drawn.count(sequence) for sequence in shares])
    expected = np.array(list(shares.values())) * len(drawn)
    # Rare sequences together: the test needs at least five of each.
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    assert chisquare(counts, expected).pvalue > 1e-3


def test_distribution_of_picks():
    residuals, features = factors(6, 3, 4, np.random.default_rng(3))
    gradients = Gradients(residuals, features)
    rng = np.random.default_rng(0)
    drawn = [tuple(sample_plus_plus(gradients, 3, rng).tolist()) for _ in range(4000)]
    assert_frequencies(drawn, exact_shares(explicit(residuals, features), 3))


def _theirs(clf, X, n_labeled, n, seed):
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge

    y = np.where(np.arange(len(X)) < n_labeled, 0, np.nan)
    wrapped = SklearnClassifier(clf, classes=clf.classes_)
    picks, utilities = Badge(random_state=seed).query(
        X, y, wrapped, fit_clf=False, batch_size=n, return_utilities=True
    )
    return np.array(picks) - n_labeled, utilities[:, n_labeled:]


def _similar_gradients():
    """A pool in which no gradient is closer to zero than to the largest one.

    scikit-activeml counts zero as a center, too: there the distributions agree.
    """
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 3)).astype(np.float32) + np.float32(4)
    y = np.arange(60) % 2
    clf = LogisticRegression().fit(X[:50], y[:50])
    pool = X[50:][clf.predict(X[50:]) == 1][:5]
    return clf, np.concatenate([X[:50], pool]), y[:50]


def test_distribution_of_scikit_activeml():
    pytest.importorskip("skactiveml", reason="scikit-activeml is the reference")
    clf, X, y = _similar_gradients()
    selector = BADGESelector(clf).fit_pool(X[:50], y)
    gradients = selector._gradients(X[50:])
    embeddings = explicit(gradients.residuals, gradients.features)
    first = embeddings[gradients.squared_norms.argmax()]
    assert np.all(((embeddings - first) ** 2).sum(axis=1) <= gradients.squared_norms)
    shares = exact_shares(embeddings, 3)
    rng = np.random.default_rng(0)
    ours = [tuple(sample_plus_plus(gradients, 3, rng).tolist()) for _ in range(600)]
    theirs = [tuple(_theirs(clf, X, 50, 3, seed)[0].tolist()) for seed in range(600)]
    assert_frequencies(ours, shares)
    assert_frequencies(theirs, shares)


def test_probabilities_of_scikit_activeml_count_zero_as_a_center():
    pytest.importorskip("skactiveml", reason="scikit-activeml is the reference")
    X, y = load_digits(return_X_y=True)
    clf = LogisticRegression(max_iter=500, C=0.01).fit(X[:100], y[:100])
    picks, utilities = _theirs(clf, X[:400], 100, 8, seed=0)
    gradients = BADGESelector(clf).fit_pool(X[:100], y[:100])._gradients(X[100:400])
    assert picks[0] == gradients.squared_norms.argmax()
    nearest = gradients.squared_norms.copy()
    for k in range(1, 8):
        gradients.lower(nearest, picks[k - 1])
        rest = np.delete(np.arange(300), picks[:k])
        np.testing.assert_allclose(
            utilities[k][rest], nearest[rest] / nearest.sum(), rtol=1e-5, atol=1e-9
        )


# -- rows that are alike ---------------------------------------------------------------------


def test_all_duplicates_are_taken_by_position():
    residuals = np.tile([[-0.3, 0.3]], (7, 1))
    features = np.tile(np.array([[0.1, 0.7]], dtype=np.float32), (7, 1))
    picks = sample_plus_plus(Gradients(residuals, features), 7, np.random.default_rng(0))
    np.testing.assert_array_equal(picks, np.arange(7))


def test_one_of_each_kind_comes_before_any_duplicate():
    residuals, features = factors(5, 3, 4, np.random.default_rng(0))
    copies = np.tile(np.arange(5), 20)
    for seed in range(20):
        picks = sample_plus_plus(
            Gradients(residuals[copies], features[copies]), 100, np.random.default_rng(seed)
        )
        assert sorted(copies[picks[:5]]) == list(range(5))
        assert len(np.unique(picks)) == 100
        assert np.all(np.diff(picks[5:]) > 0)


def test_a_classifier_without_doubt_gives_the_pool_by_position():
    residuals = np.zeros((6, 3))
    features = np.ones((6, 2), dtype=np.float32)
    picks = sample_plus_plus(Gradients(residuals, features), 4, np.random.default_rng(0))
    np.testing.assert_array_equal(picks, np.arange(4))


# -- the selector ----------------------------------------------------------------------------


def test_gradients_are_those_of_the_last_layer():
    import torch

    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(np.float32)
    y = rng.integers(3, size=30)
    net = DeepClassifier(max_epochs=3, random_state=0).fit(X[:30], y)
    selector = BADGESelector(net, random_state=7).fit_pool(X[:30], y)
    positions, scores = selector.select(X[30:], 12, return_scores=True)

    (features,) = deep_features(net, X[30:], layers="penultimate")
    linear = [m for m in net.net_.module_.modules() if isinstance(m, torch.nn.Linear)][-1]
    embeddings = []
    for h in features:
        linear.zero_grad()
        logits = linear(torch.from_numpy(h))[None]
        torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
        embeddings.append(linear.weight.grad.numpy().astype(np.float64).ravel())
    embeddings = np.array(embeddings)
    np.testing.assert_allclose(scores, np.linalg.norm(embeddings, axis=1), rtol=1e-4, atol=1e-6)
    seed = derive_seed(7, "picks")
    np.testing.assert_array_equal(
        positions, explicit_plus_plus(embeddings, 12, np.random.default_rng(seed))
    )


def test_another_seed_gives_another_batch():
    X, y = load_digits(return_X_y=True)
    clf = LogisticRegression(max_iter=500).fit(X[:100], y[:100])
    batches = [
        BADGESelector(clf, random_state=seed).fit_select(X[:100], y[:100], X[100:], 20)[0]
        for seed in range(3)
    ]
    assert len({tuple(batch) for batch in batches}) == 3
    assert len({batch[0] for batch in batches}) == 1  # the largest gradient comes first


def test_memory_is_that_of_the_pool():
    residuals, features = factors(20_000, 10, 64, np.random.default_rng(0))
    tracemalloc.start()
    sample_plus_plus(Gradients(residuals, features), 50, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The gradients themselves would be 102 MB.
    assert peak < 60e6
