"""VaBQuerySelector: reproducible, pure, documented, and clear about bad input."""

import io
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skorch
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch.utils.data import TensorDataset

from skvaball.exceptions import NothingLearnedWarning
from skvaball.networks import DeepClassifier
from skvaball.vab import VaBQuerySelector
from skvaball.vab import selector as selector_module
from skvaball.vab.posterior import TEMPERATURE_RANGE, expected_weight, rebalanced_positions

# Most tests are about behaviour, not about how well the autoencoder is trained: they train a
# tiny one for a moment, and the warning that says so is expected.
pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")
TINY = {
    "max_epochs": 2,
    "n_draws": 8,
    "hidden": (12,),
    "n_units": 10,
    "block_size": 2,
    "batch": "top",
    "random_state": 0,
}

#: The likelihood is that of the paper, for a temperature.
AUTOENCODER_ALONE = {"class_term": False, "classifier_weight": 0.0}

X, y = load_digits(return_X_y=True)
X, y = X[:1200], y[:1200]
N_LABELED = 100
PARTLY = np.where(np.arange(len(y)) < N_LABELED, y, -1)
POOL = X[N_LABELED:]


def tiny(estimator=None, **params):
    """A selector that fits in a moment."""
    return VaBQuerySelector(estimator, **{**TINY, **params})


def fitted_logistic():
    """Logistic regression on the labeled rows; about one in ten of its predictions is wrong."""
    return LogisticRegression(max_iter=1000).fit(X[:N_LABELED], y[:N_LABELED])


def fitted_network():
    """A network on rows of features."""
    return DeepClassifier(max_epochs=5, random_state=0).fit(X[:N_LABELED], y[:N_LABELED])


def fitted_image_network():
    """A residual network on images."""
    return DeepClassifier(max_epochs=3, random_state=0).fit(images(X[:N_LABELED]), y[:N_LABELED])


def images(rows):
    """The digits as images with one channel."""
    return rows.reshape(-1, 1, 8, 8)


KINDS = [
    pytest.param(fitted_logistic, lambda rows: rows, id="logistic-regression"),
    pytest.param(fitted_network, lambda rows: rows, id="network"),
    pytest.param(fitted_image_network, images, id="images"),
]


@pytest.fixture(scope="module")
def logistic():
    return fitted_logistic()


@pytest.fixture(scope="module", autouse=True)
def _diagnostics_on_every_row():
    """Diagnostics of the whole pool, which is a little larger than the sample they are from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selector_module, "DIAGNOSTIC_ROWS", len(POOL))
        yield


@pytest.fixture(scope="module")
def selector(logistic):
    """A tiny fitted selector, which no test may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingLearnedWarning)
        return tiny(logistic).fit(X, PARTLY)


@pytest.fixture(scope="module")
def trained(logistic):
    """A selector with default settings, and the warnings of its fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        selector = VaBQuerySelector(logistic, random_state=0).fit(X, PARTLY)
    return selector, [warning.category for warning in caught]


# The same result again


@pytest.mark.parametrize(("make_estimator", "shape"), KINDS)
def test_same_seed_same_scores_and_another_seed_others(make_estimator, shape):
    estimator, rows = make_estimator(), shape(X[:300])
    first, again, other = (
        tiny(estimator, random_state=seed).fit(rows, PARTLY[:300]).score_samples(rows)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float64
    assert np.isfinite(first).all()


def test_seed_covers_a_classifier_that_is_fitted_inside():
    first, again, other = (
        tiny(DeepClassifier(max_epochs=2), random_state=seed).fit(X, PARTLY).score_samples(X)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_a_seed_two_fits_differ_and_a_random_state_is_used_up(logistic):
    assert not np.array_equal(
        *(tiny(logistic, random_state=None).fit(X, PARTLY).score_samples(X) for _ in range(2))
    )
    states = [np.random.RandomState(0), np.random.RandomState(0)]
    first, again = (
        tiny(logistic, random_state=state).fit(X, PARTLY).score_samples(X) for state in states
    )
    np.testing.assert_array_equal(first, again)
    assert states[0].randint(2**31) != np.random.RandomState(0).randint(2**31)


def test_fitting_again_starts_anew(logistic):
    selector = tiny(logistic).fit(X, PARTLY)
    first = selector.score_samples(X)
    selector.fit(X[:200] * 2, PARTLY[:200])
    np.testing.assert_array_equal(selector.fit(X, PARTLY).score_samples(X), first)


@pytest.mark.parametrize("posterior", ["normalized", "joint"])
@pytest.mark.parametrize(("make_estimator", "shape"), KINDS)
def test_a_row_has_one_score_alone_in_a_batch_and_in_any_order(make_estimator, shape, posterior):
    """Exactly, not up to rounding: the order of the pool must not decide about ties."""
    rows = shape(X[:1000])
    selector = tiny(make_estimator(), posterior=posterior).fit(shape(X), PARTLY)
    together = selector.score_samples(rows)
    alone = np.concatenate([selector.score_samples(rows[i : i + 1]) for i in range(0, 1000, 9)])
    np.testing.assert_array_equal(selector.score_samples(rows[::-1])[::-1], together)
    np.testing.assert_array_equal(alone, together[::9])
    few = np.concatenate([selector.score_samples(rows[i : i + 37]) for i in range(0, 1000, 37)])
    np.testing.assert_array_equal(few, together)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_inside_a_pipeline_do_not_make_scores_depend_on_other_rows(dtype):
    """A projection in front rounds differently in other batches, which must not be seen."""
    pipeline = make_pipeline(PCA(20, random_state=0), LogisticRegression(max_iter=1000))
    rows = X.astype(dtype)
    selector = tiny(pipeline, posterior="joint").fit(rows, PARTLY)
    together = selector.score_samples(rows[:1000])
    alone = [selector.score_samples(rows[i : i + 1])[0] for i in range(0, 1000, 9)]
    np.testing.assert_array_equal(alone, together[::9])
    np.testing.assert_array_equal(selector.score_samples(rows[:1000][::-1])[::-1], together)


def test_equal_rows_have_equal_scores_and_are_chosen_by_position(selector):
    twice = np.concatenate([POOL[:50], POOL[:50]])
    scores = selector.score_samples(twice)
    np.testing.assert_array_equal(scores[:50], scores[50:])
    positions = selector.select(twice, 100).tolist()
    assert all(positions.index(i) < positions.index(i + 50) for i in range(50))


def test_transform_score_samples_and_select_agree(selector):
    scores = selector.score_samples(POOL)
    np.testing.assert_array_equal(selector.transform(POOL), scores[:, None])
    positions, returned = selector.select(POOL, 40, return_scores=True)
    np.testing.assert_array_equal(returned, scores)
    assert positions.dtype == np.int64
    assert positions.tolist() == sorted(range(len(POOL)), key=lambda i: (-scores[i], i))[:40]
    np.testing.assert_array_equal(selector.select(POOL, 40), positions)


def test_fit_select_equals_fit_pool_and_select(logistic, selector):
    labeled = X[:N_LABELED], y[:N_LABELED]
    positions, scores = tiny(logistic).fit_select(*labeled, POOL, 30)
    apart = tiny(logistic).fit_pool(*labeled, POOL)
    expected, expected_scores = apart.select(POOL, 30, return_scores=True)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(scores, expected_scores)
    # Rows together, with a sentinel in y, are the same labeled rows and the same pool.
    np.testing.assert_array_equal(selector.score_samples(POOL), scores)


def test_a_dataset_serves_as_pool():
    rows = X.astype(np.float32)
    network = fitted_network()
    labeled = rows[:N_LABELED], y[:N_LABELED]
    dataset = TensorDataset(torch.from_numpy(rows[N_LABELED:]))
    expected = tiny(network).fit_select(*labeled, rows[N_LABELED:], 20)
    found = tiny(network).fit_select(*labeled, dataset, 20)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


# Nothing else changes


def _global_states():
    return (
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002 (the global generator is the point)
        np.random.get_state()[2],  # noqa: NPY002
        random.getstate(),
    )


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=1000), DeepClassifier(max_epochs=2)]
)
def test_global_generators_are_left_as_they_were(estimator, random_state):
    before = _global_states()
    selector = tiny(estimator, random_state=random_state, difficulty="out_of_fold")
    selector.fit(X, PARTLY)
    assert _global_states() == before
    selector.transform(POOL)
    selector.select(POOL, 5)
    selector.score(X, PARTLY)
    assert _global_states() == before


def test_result_does_not_depend_on_the_global_generators(selector, logistic):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    scores = tiny(logistic).fit(X, PARTLY).score_samples(POOL)
    torch.set_rng_state(torch_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    np.testing.assert_array_equal(scores, selector.score_samples(POOL))


@pytest.mark.parametrize(("make_estimator", "shape"), KINDS)
def test_arrays_are_not_written_to(make_estimator, shape):
    rows, labels = shape(X[:300].copy()), PARTLY[:300].copy()
    rows.setflags(write=False)
    labels.setflags(write=False)
    selector = tiny(make_estimator()).fit(rows, labels)
    selector.transform(rows)
    selector.select(rows, 5)
    np.testing.assert_array_equal(rows, shape(X[:300]))
    np.testing.assert_array_equal(labels, PARTLY[:300])


@pytest.mark.parametrize(("make_estimator", "shape"), KINDS)
def test_a_fitted_estimator_is_used_as_it_is(make_estimator, shape):
    estimator = make_estimator()
    before = estimator.predict_proba(shape(X))
    selector = tiny(estimator, difficulty="out_of_fold").fit(shape(X), PARTLY)
    selector.select(shape(POOL), 5)
    assert selector.estimator_ is estimator
    assert selector.estimator is estimator
    np.testing.assert_array_equal(estimator.predict_proba(shape(X)), before)


def test_an_unfitted_estimator_is_cloned_and_fitted_on_the_labeled_rows(logistic):
    unfitted = LogisticRegression(max_iter=1000)
    selector = tiny(unfitted).fit(X, PARTLY)
    assert not hasattr(unfitted, "coef_")
    np.testing.assert_array_equal(selector.estimator_.coef_, logistic.coef_)


def test_without_an_estimator_a_network_is_fitted():
    selector = tiny().fit(X[:150], PARTLY[:150])
    assert isinstance(selector.estimator_, DeepClassifier)
    assert selector.estimator is None
    assert np.isfinite(selector.score_samples(X[:150])).all()


# Fitted attributes


def _counted_terms(predicted, n_classes, smoothing, counted=None):
    """Difficulty and prior by loops."""
    counted = predicted if counted is None else counted
    difficulty, prior = [], []
    for k in range(n_classes):
        right = sum(1 for p, t in zip(predicted, y[:N_LABELED], strict=True) if p == k == t)
        total = sum(1 for p in predicted if p == k)
        difficulty.append((right + smoothing) / (total + 2 * smoothing))
        share = sum(1 for p in counted if p == k)
        prior.append((share + smoothing) / (len(counted) + n_classes * smoothing))
    return difficulty, prior


@pytest.mark.parametrize("smoothing", [1.0, 0.25])
@pytest.mark.parametrize("prior", ["labeled", "pool"])
def test_difficulty_and_prior_equal_a_recount(prior, smoothing):
    # Shallow, so that it is wrong about labeled rows as well.
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    selector = tiny(tree, prior=prior, smoothing=smoothing).fit(X, PARTLY)
    counted = tree.predict(POOL) if prior == "pool" else None
    expected = _counted_terms(tree.predict(X[:N_LABELED]), 10, smoothing, counted)
    np.testing.assert_allclose(selector.difficulty_, expected[0], rtol=1e-14)
    np.testing.assert_allclose(selector.prior_, expected[1], rtol=1e-14)
    assert len(set(selector.difficulty_)) > 1


def test_without_the_prior_it_is_uniform(logistic):
    selector = tiny(logistic, use_prior=False).fit(X, PARTLY)
    np.testing.assert_array_equal(selector.prior_, np.full(10, 0.1))


class CountingTree(DecisionTreeClassifier):
    """A tree that learns the labeled rows by heart, and remembers who was fitted on what."""

    fits: list = []  # noqa: RUF012 (shared by all trees on purpose)

    def fit(self, X, y):
        self.fits.append((id(self), y))
        return super().fit(X, y)


def test_out_of_fold_difficulty_is_that_of_clones_that_have_not_seen_the_rows():
    tree = CountingTree(random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    labeled = tiny(tree).fit(X, PARTLY)
    CountingTree.fits.clear()
    selector = tiny(tree, difficulty="out_of_fold").fit(X, PARTLY)
    # Five fits, each without a fifth of the labeled rows, none of them of the tree itself.
    assert [len(labels) for _, labels in CountingTree.fits] == [80] * 5
    assert id(tree) not in [who for who, _ in CountingTree.fits]
    assert selector.estimator_ is tree
    # On the rows it has learned by heart the tree is always right, on others it is not.
    counts = np.bincount(y[:N_LABELED])
    np.testing.assert_allclose(labeled.difficulty_, (counts + 1) / (counts + 2), rtol=1e-14)
    assert selector.difficulty_.mean() < labeled.difficulty_.mean() - 0.1


def test_out_of_fold_difficulty_spreads_each_class_over_the_folds():
    rows = np.concatenate([np.flatnonzero(y == k)[:5] for k in range(10)])
    few = np.full(len(y), -1)
    few[rows] = y[rows]
    CountingTree.fits.clear()
    tree = CountingTree(random_state=0).fit(X[rows], y[rows])
    tiny(tree, difficulty="out_of_fold").fit(X, few)
    for _, labels in CountingTree.fits[1:]:
        assert np.bincount(labels).tolist() == [4] * 10


def test_out_of_fold_difficulty_needs_two_rows_and_a_model_that_can_be_cloned(logistic):
    with pytest.raises(ValueError, match="FrozenEstimator"):
        tiny(FrozenEstimator(logistic), difficulty="out_of_fold").fit(X, PARTLY)
    one = np.where(np.arange(len(X)) == 0, 0, -1)
    with pytest.raises(ValueError, match="at least two labeled rows"):
        tiny(logistic, difficulty="out_of_fold").fit(X, one)


def test_out_of_fold_difficulty_takes_classes_with_a_single_row():
    few = np.where(np.arange(len(y)) < 12, y, -1)
    selector = tiny(DecisionTreeClassifier(random_state=0), difficulty="out_of_fold")
    selector.fit(X, few)
    assert ((selector.difficulty_ > 0) & (selector.difficulty_ < 1)).all()


def test_out_of_fold_difficulty_of_a_fold_that_leaves_one_class():
    """Logistic regression refuses a single class: the only row of the other is held out."""
    rows = np.r_[np.flatnonzero(y == 3)[:20], np.flatnonzero(y == 5)[:1]]
    selector = tiny(LogisticRegression(max_iter=500), difficulty="out_of_fold")
    selector.fit(X[rows], y[rows])
    # All 20 right and the one wrong, smoothed by one each.
    assert selector.difficulty_[0] == pytest.approx(21 / 23)


def test_fitted_attributes_are_as_documented(selector, logistic):
    np.testing.assert_array_equal(selector.classes_, np.arange(10))
    assert selector.difficulty_.shape == selector.prior_.shape == (10,)
    assert selector.prior_.sum() == pytest.approx(1.0, rel=1e-14)
    assert selector.n_features_in_ == 64
    assert not hasattr(selector, "feature_names_in_")
    assert isinstance(selector.vae_, skorch.NeuralNet)
    history = selector.vae_.history
    assert len(history) == TINY["max_epochs"]
    for name in ("train_loss", "reconstruction", "kl", "class_loss", "agreement"):
        assert np.isfinite(history[:, name]).all()
    last = history[-1]
    total = last["reconstruction"] + last["kl"] + selector.lam * last["class_loss"]
    assert last["train_loss"] == pytest.approx(total, rel=1e-4)
    assert set(selector.timings_) >= {"features", "difficulty and prior", "autoencoder"}
    assert all(seconds >= 0 for seconds in selector.timings_.values())
    predicted = logistic.predict(POOL)
    assert selector.vae_agreement_ == np.mean(selector.vae_labels(POOL) == predicted)
    masked = tiny(logistic, **AUTOENCODER_ALONE).fit(X, PARTLY).class_log_likelihood(POOL)
    favoured = selector.classes_[masked.argmax(axis=1)]
    assert selector.likelihood_agreement_ == np.mean(favoured == predicted)


def test_methods_return_the_documented_shapes(selector):
    for rows in (POOL, POOL[:1]):
        assert selector.class_log_likelihood(rows).shape == (len(rows), 10)
        assert selector.class_log_likelihood(rows).dtype == np.float64
        assert selector.vae_labels(rows).shape == (len(rows),)
        posterior = selector.class_posterior(rows)
        assert posterior.shape == (len(rows), 10)
        np.testing.assert_allclose(posterior.sum(axis=1), 1.0, rtol=1e-12)


def test_more_classes_than_are_labeled_can_be_declared(logistic):
    """A class without any labeled row has the smoothed prior and an even difficulty."""
    known = y[:N_LABELED]
    few = np.where((PARTLY >= 0) & (y != 7), y, -1)
    estimator = LogisticRegression(max_iter=1000).fit(X[:N_LABELED][known != 7], known[known != 7])
    selector = tiny(estimator, classes=range(10)).fit(X, few)
    np.testing.assert_array_equal(selector.classes_, np.arange(10))
    assert selector.difficulty_[7] == 0.5
    assert selector.prior_[7] == pytest.approx(1 / (np.sum(few >= 0) + 10), rel=1e-14)
    assert np.isfinite(selector.score_samples(POOL)).all()


# Quality


def test_default_settings_learn_the_classes_of_the_digits(trained):
    selector, categories = trained
    assert selector.vae_agreement_ >= 0.8
    assert selector.likelihood_agreement_ >= 0.8
    assert NothingLearnedWarning not in categories


def test_scores_find_mistakes_on_the_digits(logistic):
    """Rows that the classifier gets wrong score higher than rows that it gets right.

    The difficulty has to be that of rows not seen: the classifier is right about every row
    it was fitted on, so that counted there all classes are about equally difficult. Balanced
    digits leave the score little to go by, so the bar is three seeds' mean above chance.
    """
    areas = [
        VaBQuerySelector(logistic, difficulty="out_of_fold", n_draws=16, random_state=seed)
        .fit(X, PARTLY)
        .score(POOL, y[N_LABELED:])
        for seed in range(3)
    ]
    assert np.mean(areas) > 0.55


def test_an_autoencoder_that_learned_nothing_is_reported(logistic):
    with pytest.warns(NothingLearnedWarning, match="learned next to nothing"):
        tiny(logistic, max_epochs=1, lr=1e-9).fit(X, PARTLY)


def test_an_autoencoder_that_counts_for_nothing_need_not_learn(logistic):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NothingLearnedWarning)
        tiny(logistic, max_epochs=1, lr=1e-9, classifier_weight=1.0).fit(X, PARTLY)


def test_always_naming_the_dominant_class_counts_as_nothing_learned():
    """Agreement is averaged over classes: 0.95 of the rows in one class is no achievement."""
    kept = np.flatnonzero((y == 0) | (np.arange(len(y)) % 20 == 0))
    few = np.where(np.arange(len(kept)) < 60, y[kept], -1)
    estimator = LogisticRegression(max_iter=1000)
    with pytest.warns(NothingLearnedWarning):
        tiny(estimator, max_epochs=1, lr=1e-9).fit(X[kept], few)


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"activity": "abs"},
        {"activity": "sigmoid"},
        {"lam": 0.0},
        {"block_size": 1},
        {"block_size": [1, 2, 3, 1, 2, 3, 1, 2, 3, 4]},
        {"block_size": np.arange(1, 11)},
        {"posterior": "normalized"},
        {"posterior": "joint"},
        {"use_difficulty": False},
        {"use_difficulty": False, "posterior": "joint"},
        {"use_prior": False},
        {"prior": "pool"},
        {"projection": "fixed"},
        {"mask_in_training": False},
        {"batch": "rebalance"},
        {"batch": "diverse"},
        {"temperature": 3.0},
        {"classifier_weight": 0.0},
        {"classifier_weight": 1.0},
        {"decoder_variance": 0.5},
        {"n_draws": 1},
        {"hidden": [8, 8]},
        {"batch_size": 7},
        {"lr": 0.01},
        {"precision": "bfloat16"},
    ],
    ids=lambda options: ",".join(options),
)
def test_every_option_works_and_matters(logistic, selector, options):
    other = tiny(logistic, **options).fit(X, PARTLY)
    scores = other.score_samples(POOL)
    assert np.isfinite(scores).all()
    positions = other.select(POOL, 100)
    assert len(set(positions.tolist())) == 100
    if "batch" in options:
        np.testing.assert_array_equal(scores, selector.score_samples(POOL))
        assert positions.tolist() != selector.select(POOL, 100).tolist()
    else:
        assert not np.array_equal(scores, selector.score_samples(POOL))


def test_scores_follow_from_likelihood_prior_and_difficulty(selector, logistic):
    log_likelihood = selector.class_log_likelihood(POOL)
    weighted = log_likelihood + np.log(selector.prior_)
    posterior = np.exp(weighted - logsumexp(weighted, axis=1, keepdims=True))
    np.testing.assert_allclose(selector.class_posterior(POOL), posterior, rtol=1e-10, atol=1e-300)
    right = posterior * selector.difficulty_
    expected = -(posterior * np.log(right)).sum(axis=1)
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-10)
    normalized = tiny(logistic, posterior="normalized").fit(X, PARTLY)
    np.testing.assert_allclose(normalized.score_samples(POOL), 1 - right.sum(axis=1), rtol=1e-8)
    for use_difficulty in (True, False):
        joint = tiny(logistic, posterior="joint", use_difficulty=use_difficulty).fit(X, PARTLY)
        np.testing.assert_array_equal(joint.class_log_likelihood(POOL), log_likelihood)
        terms = weighted + use_difficulty * np.log(selector.difficulty_)
        np.testing.assert_allclose(joint.score_samples(POOL), -logsumexp(terms, axis=1), rtol=1e-12)


def test_block_sizes_are_those_asked_for(logistic):
    sizes = [1, 2, 3, 1, 2, 3, 1, 2, 3, 4]
    assert tiny(logistic, block_size=sizes).fit(X, PARTLY).vae_.module_.block_sizes == sizes
    assert tiny(logistic, block_size=3).fit(X, PARTLY).vae_.module_.block_sizes == [3] * 10


def test_a_fixed_projection_stays_as_it_was_drawn(logistic):
    def projection(**params):
        module = tiny(logistic, **params).fit(X, PARTLY).vae_.module_
        return module.projection.layers[0].weight.detach().clone()

    assert torch.equal(projection(projection="fixed"), projection(projection="fixed", max_epochs=4))
    assert not torch.equal(projection(), projection(max_epochs=4))


def test_a_higher_temperature_draws_the_posterior_to_the_prior(logistic):
    plain = tiny(logistic, temperature=1.0, **AUTOENCODER_ALONE).fit(X, PARTLY)
    distances = []
    for temperature in (0.5, 1.0, 4.0, 100.0, 1e9):
        hot = tiny(logistic, temperature=temperature, **AUTOENCODER_ALONE).fit(X, PARTLY)
        np.testing.assert_allclose(
            hot.class_log_likelihood(POOL) * temperature,
            plain.class_log_likelihood(POOL),
            rtol=1e-12,
        )
        distances.append(np.abs(hot.class_posterior(POOL) - hot.prior_).sum(axis=1))
    # Row by row the distance falls; rows already certain stay so for a while.
    means = [distance.mean() for distance in distances]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == len(means)
    np.testing.assert_allclose(distances[-1], 0.0, atol=1e-6)


def test_the_calibrated_temperature_brings_the_posterior_closest_to_the_classifier(logistic):
    # Trained long enough for the masked likelihoods to know something.
    settings = {**AUTOENCODER_ALONE, "max_epochs": 30, "lam": 1.0}
    probabilities = logistic.predict_proba(POOL)

    def cross_entropy(fitted):
        return -(probabilities * np.log(fitted.class_posterior(POOL))).sum(axis=1).mean()

    calibrated = tiny(logistic, **settings).fit(X, PARTLY)
    assert calibrated.temperature_ < 0.9 * TEMPERATURE_RANGE[1]
    for factor in (0.5, 0.8, 1.25, 2.0):
        temperature = factor * calibrated.temperature_
        other = tiny(logistic, temperature=temperature, **settings).fit(X, PARTLY)
        assert cross_entropy(other) > cross_entropy(calibrated)


def test_the_class_term_is_the_loss_of_eq_8_under_each_label(logistic):
    settings = {"temperature": 2.0, "classifier_weight": 0.0}
    both = tiny(logistic, **settings).fit(X, PARTLY)
    assert both.class_term_weight_ == 1.0
    alone = tiny(logistic, class_term=False, **settings).fit(X, PARTLY)
    assert alone.class_term_weight_ == 0.0
    term = both.class_log_likelihood(POOL) - alone.class_log_likelihood(POOL)
    np.testing.assert_allclose(np.exp(term).sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(both.classes_[term.argmax(axis=1)], both.vae_labels(POOL))


def test_diagnostics_of_a_large_pool_are_those_of_a_sample(logistic, selector, monkeypatch):
    monkeypatch.setattr(selector_module, "DIAGNOSTIC_ROWS", 500)
    sampled = tiny(logistic).fit(X, PARTLY)
    assert sampled.decoder_variance_ != selector.decoder_variance_
    assert sampled.decoder_variance_ == pytest.approx(selector.decoder_variance_, rel=0.1)
    # A share of 500 rows has a standard error of 0.02 at most.
    assert sampled.vae_agreement_ == pytest.approx(selector.vae_agreement_, abs=0.1)


def test_likelihood_is_that_of_a_gaussian_decoder_of_the_given_variance(logistic, selector):
    """Freed of its constant the log-likelihood is linear in the precision: -errors/2v - KL."""

    def linear_part(variance):
        plain = {"temperature": 1.0, **AUTOENCODER_ALONE}
        fitted = tiny(logistic, decoder_variance=variance, **plain).fit(X, PARTLY)
        assert fitted.decoder_variance_ == variance
        constant = TINY["n_units"] / 2 * np.log(2 * np.pi * variance)
        return fitted.class_log_likelihood(POOL) + constant

    one, two, four = linear_part(1.0), linear_part(2.0), linear_part(4.0)
    np.testing.assert_allclose(four, two - (one - two) / 2, rtol=1e-10)
    errors = 4 * (two - one)
    assert (errors > 0).all()
    # "ml" is the mean of these squared errors under the mask of the classifier's label.
    own = errors[np.arange(len(POOL)), logistic.predict(POOL)]
    assert selector.decoder_variance_ == pytest.approx(own.mean() / TINY["n_units"], rel=1e-9)


def test_a_larger_decoder_variance_softens_the_posterior(logistic):
    spreads = [
        np.ptp(
            tiny(logistic, decoder_variance=v, temperature=1.0, **AUTOENCODER_ALONE)
            .fit(X, PARTLY)
            .class_log_likelihood(POOL),
            axis=1,
        ).mean()
        for v in (0.01, 0.1, 1.0)
    ]
    assert spreads == sorted(spreads, reverse=True)


@pytest.mark.parametrize("posterior", ["surprise", "normalized", "joint"])
@pytest.mark.parametrize("use_prior", [True, False])
def test_rebalanced_batch_follows_the_class_counts(logistic, posterior, use_prior):
    # A likelihood without temperature is strong enough for the picks to differ from the top.
    settings = {"posterior": posterior, "use_prior": use_prior, "temperature": 1.0}
    settings |= AUTOENCODER_ALONE
    selector = tiny(logistic, batch="rebalance", **settings).fit(X, PARTLY)
    counts = selector.prior_ * (N_LABELED + 10)
    for n in (1, 60, len(POOL)):
        positions, scores = selector.select(POOL, n, return_scores=True)
        expected = rebalanced_positions(
            selector.class_log_likelihood(POOL), counts, selector.difficulty_, n, posterior
        )
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_array_equal(scores, selector.score_samples(POOL))
        assert len(set(positions.tolist())) == n
    assert not np.array_equal(positions, np.argsort(-scores, kind="stable"))


@pytest.mark.parametrize("class_weight", ["balanced", {3: 5.0}, None])
@pytest.mark.parametrize("posterior", ["surprise", "normalized", "joint"])
def test_a_diverse_batch_is_the_greedy_choice_by_weighted_score_and_distance(
    logistic, posterior, class_weight
):
    selector = tiny(
        logistic, batch="diverse", beta=np.inf, class_weight=class_weight, posterior=posterior
    ).fit(X, PARTLY)
    picks, scores = selector.select(POOL, 40, return_scores=True)
    np.testing.assert_array_equal(scores, selector.score_samples(POOL))
    weights = scores - (scores.min() if posterior == "joint" else 0)
    if class_weight == "balanced":
        weights = weights * (selector.class_posterior(POOL) / selector.prior_).mean(axis=1)
    elif class_weight is not None:
        weights = weights * (1 + 4 * selector.class_posterior(POOL)[:, 3])
    ranges = np.ptp(X, axis=0)
    ranges[ranges == 0] = 1
    rows, labeled = POOL / ranges, X[:N_LABELED] / ranges
    distances = cdist(rows, labeled).min(axis=1) ** 2
    for pick in picks:
        # The selector divides by the ranges in float32, the precision of features.
        assert weights[pick] * distances[pick] >= (1 - 1e-6) * (weights * distances).max()
        distances = np.minimum(distances, cdist(rows, rows[[pick]])[:, 0] ** 2)
    together, _ = selector.fit_select(X[:N_LABELED], y[:N_LABELED], POOL, 40)
    np.testing.assert_array_equal(together, picks)


def test_a_row_has_one_score_in_float32_too():
    rows = (X + np.random.default_rng(0).normal(size=X.shape)).astype(np.float32)
    clf = LogisticRegression(max_iter=1000).fit(rows[:N_LABELED], y[:N_LABELED])
    selector = tiny(clf).fit_pool(rows[:N_LABELED], y[:N_LABELED], rows[N_LABELED:])
    together = selector.score_samples(rows[200:260])
    alone = [selector.score_samples(rows[i : i + 1])[0] for i in range(200, 260)]
    np.testing.assert_array_equal(together, alone)


def test_probabilities_that_are_not_used_are_not_asked_for():
    class OnlyLabels(LogisticRegression):
        def predict_proba(self, X):
            raise AssertionError("nobody needs them")

    clf = OnlyLabels(max_iter=1000).fit(X[:N_LABELED], y[:N_LABELED])
    tiny(clf, temperature=1.0, classifier_weight=0.0).fit(X, PARTLY).score_samples(POOL)
    with pytest.raises(AssertionError, match="nobody needs them"):
        tiny(clf).fit(X, PARTLY)


def test_a_diverse_batch_of_a_pool_on_disk_is_that_of_the_array(logistic, tmp_path):
    np.save(tmp_path / "pool.npy", POOL)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    for max_samples in (200, 5000):
        selector = tiny(logistic, batch="diverse", max_samples=max_samples).fit(X, PARTLY)
        np.testing.assert_array_equal(selector.select(mapped, 40), selector.select(POOL, 40))


def test_rows_at_no_distance_are_chosen_by_score(logistic):
    selector = tiny(logistic, batch="diverse", beta=np.inf, class_weight=None).fit_pool(
        X[:N_LABELED], y[:N_LABELED]
    )
    picks, scores = selector.select(X[:N_LABELED], 30, return_scores=True)
    np.testing.assert_array_equal(picks, np.argsort(-scores, kind="stable")[:30])


def test_a_diverse_batch_of_a_large_pool_is_one_of_its_highest_scores(logistic):
    selector = tiny(logistic, batch="diverse", beta=np.inf, class_weight=None, max_samples=200).fit(
        X, PARTLY
    )
    picks, scores = selector.select(POOL, 40, return_scores=True)
    best = np.argsort(-scores, kind="stable")[:200]
    assert set(picks) <= set(best)
    np.testing.assert_array_equal(picks, best[selector.select(POOL[best], 40)])
    assert len(set(selector.select(POOL, 300).tolist())) == 300


@pytest.mark.parametrize("max_samples", [None, 50])
def test_rows_at_no_distance_are_drawn_in_proportion_to_score_to_the_power_of_beta(
    logistic, max_samples
):
    # All rows of the pool are one of these, or equal to it, so that distances do not matter.
    rows, n_copies, beta = X[[3, 10]], 2000, 2.0
    labeled = np.concatenate([rows, X[:N_LABELED]])
    selector = tiny(logistic, batch="diverse", class_weight=None, beta=beta)
    selector.fit_pool(labeled, np.r_[y[[3, 10]], y[:N_LABELED]])
    pool = np.repeat(rows, n_copies, axis=0)
    selector.set_params(max_samples=max_samples)
    scores = selector.score_samples(rows)
    # The first picks of many seeds: of 50 draws from 4,000 rows none changes the odds much.
    firsts = []
    for seed in range(40):
        selector._seed = seed
        firsts.append(selector.select(pool, 50) >= n_copies)
    share = np.mean(firsts)
    expected = scores[1] ** beta / (scores**beta).sum()
    assert 0.1 < expected < 0.9
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / np.size(firsts))


def test_a_balanced_weight_is_the_density_ratio_of_a_balanced_population(logistic):
    # p(x) is a mixture of p(x|yhat_n) with the shares of the prior, or with equal ones.
    selector = tiny(logistic).fit(X, PARTLY)
    log_likelihood = selector.class_log_likelihood(POOL)
    weights = expected_weight(log_likelihood, selector.prior_, 0.1 / selector.prior_)
    balanced = logsumexp(log_likelihood, axis=1) - np.log(10)
    ratio = np.exp(balanced - logsumexp(log_likelihood, axis=1, b=selector.prior_))
    np.testing.assert_allclose(weights, ratio, rtol=1e-9)
    np.testing.assert_allclose(expected_weight(log_likelihood, selector.prior_, np.ones(10)), 1)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({77: 2.0}, r"names \[77\], which are not among the classes"),
        ({1: 0.0}, "finite numbers above 0"),
        ({1: np.nan}, "finite numbers above 0"),
        ({1: np.inf}, "finite numbers above 0"),
        ({1: [1.0], 2: 2.0}, "finite numbers above 0"),
        ({1: "much"}, "finite numbers above 0"),
        ("even", "'class_weight' parameter"),
    ],
)
def test_weights_of_classes_that_are_none_are_refused(logistic, class_weight, message):
    with pytest.raises(ValueError, match=message):
        tiny(logistic, class_weight=class_weight).fit(X, PARTLY)


def test_a_diverse_batch_left_to_chance_is_close_to_a_random_one(logistic):
    selector = tiny(logistic, batch="diverse", beta=1e-6).fit(X, PARTLY)
    picks, scores = selector.select(POOL, 60, return_scores=True)
    assert abs(scores[picks].mean() - scores.mean()) < 4 * scores.std() / np.sqrt(60)
    other = (
        tiny(logistic, batch="diverse", beta=1e-6, random_state=1).fit(X, PARTLY).select(POOL, 60)
    )
    # 60 of 1,100 rows: about 3 are expected to be in both.
    assert len(set(picks) & set(other)) < 12


@pytest.mark.parametrize(
    "options", [{"beta": 1.0}, {"beta": np.inf}, {"class_weight": None}, {"class_weight": {0: 9}}]
)
def test_chance_and_weights_of_classes_change_the_batch_and_not_the_scores(logistic, options):
    plain = tiny(logistic, batch="diverse").fit(X, PARTLY)
    other = tiny(logistic, batch="diverse", **options).fit(X, PARTLY)
    picks, scores = other.select(POOL, 60, return_scores=True)
    np.testing.assert_array_equal(scores, plain.score_samples(POOL))
    assert set(picks) != set(plain.select(POOL, 60))
    # Both are of the fit: what is set later counts from the next fit on.
    other.set_params(beta="odds", class_weight="balanced")
    np.testing.assert_array_equal(other.select(POOL, 60), picks)


@pytest.mark.parametrize("key", [np.int64(3), np.float64(3.0)])
def test_a_class_may_be_named_by_a_number_of_numpy(logistic, key):
    def picks(weights):
        return tiny(logistic, batch="diverse", class_weight=weights).fit(X, PARTLY).select(POOL, 30)

    np.testing.assert_array_equal(picks({key: 5}), picks({3: 5}))


def test_equal_shares_weigh_the_classes_equally(logistic):
    options = {"batch": "diverse", "use_prior": False}
    balanced = tiny(logistic, class_weight="balanced", **options).fit(X, PARTLY)
    none = tiny(logistic, class_weight=None, **options).fit(X, PARTLY)
    np.testing.assert_array_equal(balanced.select(POOL, 60), none.select(POOL, 60))


def test_the_odds_are_those_that_the_posterior_gives_its_likeliest_class(logistic):
    selector = tiny(logistic).fit(X, PARTLY)
    error = np.mean(1 - selector.class_posterior(POOL).max(axis=1))
    assert selector.expected_error_ == pytest.approx(error, rel=1e-6)
    assert selector.beta_ == pytest.approx((1 - error) / error, rel=1e-6)
    assert tiny(logistic, batch="diverse", beta=3).fit(X, PARTLY).beta_ == 3.0


@pytest.mark.parametrize("beta", [0, -1, "auto", None, float("nan")])
def test_a_beta_that_is_none_is_refused(logistic, beta):
    with pytest.raises(ValueError, match="'beta' parameter"):
        tiny(logistic, batch="diverse", beta=beta).fit(X, PARTLY)


def test_the_classifier_and_the_autoencoder_are_pooled_by_their_geometric_mean(logistic):
    def log_posterior(weight):
        fitted = tiny(logistic, classifier_weight=weight).fit(X, PARTLY)
        return np.log(fitted.class_posterior(POOL))

    alone, both, classifier = log_posterior(0.0), log_posterior(0.3), log_posterior(1.0)
    certain = np.clip(logistic.predict_proba(POOL), 1e-6, None)
    np.testing.assert_allclose(classifier, np.log(certain / certain.sum(1)[:, None]), atol=1e-5)
    mixed = 0.3 * classifier + 0.7 * alone
    mixed -= logsumexp(mixed, axis=1, keepdims=True)
    np.testing.assert_allclose(both, mixed, atol=1e-9)


def test_a_classifier_without_probabilities_leaves_the_word_to_the_autoencoder():
    svc = LinearSVC().fit(X[:N_LABELED], y[:N_LABELED])
    alone, pooled = (
        tiny(svc, classifier_weight=w, batch="diverse").fit(X, PARTLY).score_samples(POOL)
        for w in (0.0, 0.5)
    )
    np.testing.assert_array_equal(pooled, alone)


def test_normalized_score_without_difficulty_is_refused(logistic):
    with pytest.raises(ValueError, match="use_difficulty=False needs posterior='surprise' or"):
        tiny(logistic, use_difficulty=False, posterior="normalized").fit(X, PARTLY)


def test_settings_of_the_paper():
    paper = VaBQuerySelector.from_paper(random_state=5)
    assert (paper.lam, paper.lr, paper.max_epochs, paper.n_draws) == (0.005, 1e-4, 20, 100)
    assert (paper.block_size, tuple(paper.hidden), paper.n_units) == (10, (128, 128, 128), 128)
    assert (paper.posterior, paper.batch, paper.projection) == ("normalized", "top", "learned")
    assert (paper.difficulty, paper.prior, paper.activity) == ("labeled", "labeled", "square")
    assert (paper.temperature, paper.class_term, paper.classifier_weight) == (1.0, False, 0.0)
    assert paper.random_state == 5
    estimator = LogisticRegression(max_iter=1000)
    changed = VaBQuerySelector.from_paper(estimator, posterior="joint", max_epochs=1, n_draws=4)
    assert changed.estimator is estimator
    assert (changed.posterior, changed.max_epochs, changed.lam) == ("joint", 1, 0.005)
    assert np.isfinite(changed.fit(X, PARTLY).score_samples(POOL)).all()


def test_verbose_prints_the_stages(logistic, capsys):
    tiny(logistic).fit(X, PARTLY).select(POOL, 2)
    assert capsys.readouterr().out == ""
    tiny(logistic, verbose=1).fit(X, PARTLY).select(POOL, 2)
    lines = capsys.readouterr().out.splitlines()
    stages = [line.split("]")[1].split(":")[0].strip() for line in lines]
    assert stages == ["features", "difficulty and prior", "autoencoder", "diagnostics", "scores"]
    assert all(line.startswith("[VaBQuerySelector] ") for line in lines)
    tiny(logistic, verbose=2).fit(X, PARTLY)
    assert "train_loss" in capsys.readouterr().out


def test_without_unlabeled_rows_the_labeled_ones_are_the_pool(logistic):
    rows, labels = X[:300], y[:300]
    together = tiny(logistic).fit(rows, labels).score_samples(POOL)
    apart = tiny(logistic).fit_pool(rows, labels).score_samples(POOL)
    given = tiny(logistic).fit_pool(rows, labels, rows).score_samples(POOL)
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(together, given)


@pytest.mark.parametrize("mask_in_training", [True, False])
@pytest.mark.parametrize("batch", ["top", "rebalance"])
def test_with_a_single_class_every_score_is_the_same(mask_in_training, batch):
    """As documented: that of its difficulty, here minus the log."""
    one = np.where(PARTLY >= 0, 3, -1)
    selector = tiny(DummyClassifier(), mask_in_training=mask_in_training, batch=batch)
    scores = selector.fit(X, one).score_samples(POOL)
    expected = -np.log((N_LABELED + 1) / (N_LABELED + 2))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    np.testing.assert_array_equal(selector.select(POOL, 5), np.arange(5))


def test_a_pool_of_one_row(logistic):
    selector = tiny(logistic).fit_pool(X[:N_LABELED], y[:N_LABELED], POOL[:1])
    np.testing.assert_array_equal(selector.select(POOL[:1], 1), [0])


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_features_do_no_harm(value):
    rows = np.concatenate([X[:300], np.full((300, 2), value)], axis=1)
    selector = tiny(LogisticRegression(max_iter=1000)).fit(rows, PARTLY[:300])
    assert np.isfinite(selector.score_samples(rows)).all()


# Inside scikit-learn


#: Unlabeled rows spread over the data, so that every fold has rows of both kinds.
SPREAD = np.where(np.arange(400) % 3, y[:400], -1)


@pytest.mark.slow
def test_grid_search_over_lam_in_two_processes():
    search = GridSearchCV(
        tiny(LogisticRegression(max_iter=1000)),
        {"lam": [1e-3, 10.0]},
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X[:400], SPREAD)
    alone = clone(search).set_params(n_jobs=1).fit(X[:400], SPREAD)
    assert search.best_params_ == alone.best_params_
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, alone.cv_results_["mean_test_score"], rtol=1e-12)
    assert ((scores > 0) & (scores < 1)).all()
    assert search.transform(POOL).shape == (len(POOL), 1)


def test_inside_a_pipeline():
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("query", tiny(LogisticRegression(max_iter=1000)))]
    )
    scores = pipeline.fit_transform(X, PARTLY)
    assert scores.shape == (len(X), 1)
    scaled = StandardScaler().fit_transform(X)
    expected = tiny(LogisticRegression(max_iter=1000)).fit(scaled, PARTLY).transform(scaled)
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(pipeline.transform(X), scores)
    assert pipeline.get_feature_names_out().tolist() == ["vabqueryselector0"]


@pytest.mark.parametrize("fitted", [True, False])
def test_a_pipeline_around_the_classifier(fitted):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    reference = clone(pipeline).fit(X[:N_LABELED], y[:N_LABELED])
    selector = tiny(clone(reference) if not fitted else reference).fit(X, PARTLY)
    np.testing.assert_array_equal(selector.estimator_.predict(X), reference.predict(X))
    assert (selector.estimator_ is reference) == fitted
    # The features are what the classifier at the end is given.
    scaled = reference[:-1].transform(X)
    expected = tiny(reference[-1]).fit(scaled, PARTLY).score_samples(scaled)
    np.testing.assert_array_equal(selector.score_samples(X), expected)


def test_a_pipeline_whose_steps_deal_with_missing_values():
    from sklearn.impute import SimpleImputer

    gaps = X.copy()
    gaps[::7, 5] = np.nan
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=1000))
    selector = tiny(pipeline).fit(gaps, PARTLY)
    assert np.isfinite(selector.score_samples(gaps)).all()


def test_a_frozen_estimator_survives_a_search(logistic, selector):
    frozen = FrozenEstimator(logistic)
    scores = tiny(frozen).fit(X, PARTLY).score_samples(POOL)
    np.testing.assert_array_equal(scores, selector.score_samples(POOL))
    search = GridSearchCV(tiny(frozen), {"lam": [0.01, 0.1]}, cv=2, error_score="raise")
    search.fit(X[:400], SPREAD)
    assert search.best_estimator_.estimator_.estimator is logistic


def test_a_fitted_search_as_classifier(logistic):
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.01, 1.0]}, cv=2)
    search.fit(X[:N_LABELED], y[:N_LABELED])
    selector = tiny(search).fit(X, PARTLY)
    assert selector.estimator_ is search
    expected = tiny(search.best_estimator_).fit(X, PARTLY).score_samples(POOL)
    np.testing.assert_array_equal(selector.score_samples(POOL), expected)


def test_cloning_keeps_every_parameter(logistic):
    selector = VaBQuerySelector(
        LogisticRegression(C=3.0), lam=0.3, layers=["a"], block_size=[1, 2], classes=[0, 1]
    )
    assert repr(clone(selector).get_params()) == repr(selector.get_params())


# Labels


def _labels_with_gaps():
    codes, missing = y[:300], PARTLY[:300] == -1
    names = np.array([f"digit {k}" for k in range(10)])[codes]
    objects = codes.astype(object)

    def gaps(values, gap, dtype=object):
        values = values.astype(dtype)
        values[missing] = gap
        return values

    whole = pd.Series(codes, dtype="Int64").mask(missing)
    return {
        "minus one": (gaps(codes, -1, int), -1),
        "another number": (gaps(codes, 99, int), 99),
        "NaN": (gaps(codes, np.nan, float), -1),
        "None": (gaps(objects, None), -1),
        "list with None": (gaps(objects, None).tolist(), -1),
        "NaN in objects": (gaps(objects, np.nan), -1),
        "pd.NA": (gaps(objects, pd.NA), -1),
        "nullable series": (whole, -1),
        "mixed gaps": (np.where(np.arange(300) % 2, gaps(objects, None), gaps(objects, -1)), -1),
        "string sentinel": (gaps(names, "unlabeled", "U20"), "unlabeled"),
        "string sentinel in objects": (gaps(names, "unlabeled"), "unlabeled"),
        "strings with None": (gaps(names, None), -1),
        "list of strings with None": (gaps(names, None).tolist(), -1),
        "strings with NaN": (gaps(names, np.nan), "unlabeled"),
        "strings and minus one": (gaps(names, -1).tolist(), -1),
        "string series": (pd.Series(gaps(names, None)), -1),
        "categorical strings": (pd.Series(gaps(names, None), dtype="category"), -1),
        "no sentinel": (gaps(objects, None), None),
    }


@pytest.mark.parametrize("kind", _labels_with_gaps())
def test_missing_labels_of_every_kind_mark_the_pool(kind):
    """The same rows are labeled, so the scores are the same to the last digit."""
    labels, missing_label = _labels_with_gaps()[kind]
    estimator = LogisticRegression(max_iter=1000)
    expected = tiny(estimator).fit(X[:300], PARTLY[:300])
    selector = tiny(estimator, missing_label=missing_label).fit(X[:300], labels)
    np.testing.assert_array_equal(selector.score_samples(POOL), expected.score_samples(POOL))
    known = [f"digit {k}" for k in range(10)] if "string" in kind else list(range(10))
    assert selector.classes_.tolist() == known
    assert selector.vae_labels(POOL[:3])[0] in known


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_minus_one_can_be_a_class_when_missing_label_is_none(gap):
    sign = np.where(y[:300] % 2, 1, -1).astype(object)
    sign[N_LABELED:] = gap
    selector = tiny(LogisticRegression(max_iter=1000), missing_label=None).fit(X[:300], sign)
    assert selector.classes_.tolist() == [-1, 1]
    assert selector.score_samples(POOL).shape == (len(POOL),)
    truth = np.where(y[:300] % 2, 1, -1)
    mistakes = selector.estimator_.predict(X[:300]) != truth
    expected = roc_auc_score(mistakes, selector.score_samples(X[:300]))
    assert selector.score(X[:300], truth) == expected


# Copies, processes and threads


@pytest.mark.parametrize(("make_estimator", "shape"), KINDS)
def test_a_copy_from_a_file_gives_identical_scores(make_estimator, shape):
    rows = shape(X[:400])
    selector = tiny(make_estimator()).fit(rows, PARTLY[:400])
    scores, chosen = selector.score_samples(rows), selector.select(rows, 10)
    file = io.BytesIO()
    joblib.dump(selector, file)
    file.seek(0)
    for restored in (pickle.loads(pickle.dumps(selector)), joblib.load(file)):
        np.testing.assert_array_equal(restored.score_samples(rows), scores)
        np.testing.assert_array_equal(restored.select(rows, 10), chosen)


def _fitted_scores(seed):
    network = DeepClassifier(max_epochs=2)
    selector = tiny(network, random_state=seed).fit(X[:400], PARTLY[:400])
    return selector.score_samples(X[:400])


def test_processes_give_the_same_scores(selector):
    """A fitted selector can be sent to other processes, and be fitted there."""
    expected = selector.score_samples(POOL)
    scores = joblib.Parallel(n_jobs=2)(
        joblib.delayed(selector.score_samples)(part) for part in np.array_split(POOL, 2)
    )
    np.testing.assert_array_equal(np.concatenate(scores), expected)
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(_fitted_scores)(seed) for seed in (0, 1))
    for seed, scores in enumerate(fitted):
        np.testing.assert_array_equal(scores, _fitted_scores(seed))


def test_threads_that_fit_at_the_same_time_give_the_same_scores():
    alone = [_fitted_scores(seed) for seed in range(4)]
    before = _global_states()
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(_fitted_scores, range(4)))
    assert _global_states() == before
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_may_share_a_fitted_network():
    network = fitted_network()

    def scores(seed):
        return tiny(network, random_state=seed).fit(X, PARTLY).score_samples(POOL)

    alone = [scores(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(scores, range(3)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


# The score of the scores


def test_score_is_the_auroc_against_the_mistakes(selector, logistic):
    mistakes = logistic.predict(POOL) != y[N_LABELED:]
    expected = roc_auc_score(mistakes, selector.score_samples(POOL))
    assert selector.score(POOL, y[N_LABELED:]) == expected
    # Rows without a label are left out.
    half = np.where(np.arange(len(POOL)) % 2, y[N_LABELED:], -1)
    expected = roc_auc_score(mistakes[1::2], selector.score_samples(POOL[1::2]))
    assert selector.score(POOL, half) == expected


def test_score_is_one_half_where_it_is_undefined(selector, logistic):
    predicted = logistic.predict(POOL)
    assert selector.score(POOL, predicted) == 0.5  # never wrong
    assert selector.score(POOL, (predicted + 1) % 10) == 0.5  # always wrong
    assert selector.score(POOL, np.full(len(POOL), -1)) == 0.5  # no row is labeled


# Data frames and names


def _names():
    return [f"pixel {i}" for i in range(X.shape[1])]


def test_output_as_pandas_and_polars(logistic):
    frame = pd.DataFrame(X, columns=_names(), index=np.arange(len(X)) + 7)
    estimator = LogisticRegression(max_iter=1000)
    expected = tiny(estimator).fit(X, PARTLY).transform(X)
    found = tiny(estimator).set_output(transform="pandas").fit(frame, PARTLY).transform(frame)
    assert isinstance(found, pd.DataFrame)
    assert found.columns.tolist() == ["vabqueryselector0"]
    assert found.index.equals(frame.index)
    np.testing.assert_array_equal(found.to_numpy(), expected)
    table = pl.DataFrame(X, schema=_names())
    found = tiny(estimator).set_output(transform="polars").fit(table, PARTLY).transform(table)
    assert isinstance(found, pl.DataFrame)
    assert found.columns == ["vabqueryselector0"]
    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_name_of_the_output(selector):
    names = selector.get_feature_names_out()
    assert names.dtype == object
    assert names.tolist() == ["vabqueryselector0"]
    with pytest.raises(NotFittedError):
        VaBQuerySelector().get_feature_names_out()


# Names that VaBQuerySelector complains about reach the classifier inside it as well.
@pytest.mark.filterwarnings("ignore:X .*LogisticRegression was fitted with")
def test_names_of_the_features_are_checked():
    frame = pd.DataFrame(X, columns=_names())
    selector = tiny(LogisticRegression(max_iter=1000)).fit(frame, PARTLY)
    np.testing.assert_array_equal(selector.feature_names_in_, _names())
    with pytest.raises(ValueError, match="feature names should match"):
        selector.transform(frame[_names()[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        selector.select(frame.rename(columns={"pixel 3": "pixel three"}), 2)
    with pytest.warns(UserWarning, match="VaBQuerySelector was fitted with feature names"):
        selector.transform(X)
    plain = tiny(LogisticRegression(max_iter=1000)).fit(X, PARTLY)
    with pytest.warns(UserWarning, match="VaBQuerySelector was fitted without feature names"):
        plain.transform(frame)


@pytest.mark.parametrize(
    "wrap", [lambda model: model, lambda m: make_pipeline(StandardScaler(), m)]
)
@pytest.mark.parametrize("fitted", [True, False])
def test_frames_all_the_way_need_no_warning(wrap, fitted):
    """Names that agree everywhere are passed on: the classifier has nothing to complain about."""
    frame = pd.DataFrame(X, columns=_names())
    estimator = wrap(LogisticRegression(max_iter=1000))
    if fitted:
        estimator.fit(frame[:N_LABELED], y[:N_LABELED])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", NothingLearnedWarning)
        selector = tiny(estimator).fit(frame, PARTLY)
        selector.transform(frame)
        selector.select(frame, 3)
        selector.score(frame, PARTLY)


# Bad input: a clear error, and before anything is trained


@pytest.fixture
def no_training(monkeypatch):
    """Whoever trains something fails."""

    def fail(*args, **kwargs):
        raise AssertionError("something was trained before the input was checked")

    monkeypatch.setattr(skorch.NeuralNet, "fit", fail)
    monkeypatch.setattr(LogisticRegression, "fit", fail)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, -1], ids=["labeled", "pool"])
def test_features_that_are_not_finite(value, row):
    bad = X.copy()
    bad[row, 3] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        tiny(LogisticRegression()).fit(bad, PARTLY)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        tiny(LogisticRegression()).fit_pool(bad[:N_LABELED], y[:N_LABELED], bad[N_LABELED:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_after_fit(selector, value):
    bad = POOL.copy()
    bad[3, 3] = value
    for method in (
        selector.transform,
        selector.score_samples,
        lambda rows: selector.select(rows, 2),
    ):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            method(bad)


@pytest.mark.usefixtures("no_training")
def test_no_labeled_row():
    with pytest.raises(ValueError, match=r"No row is labeled: all 1200 values.*missing_label=-1"):
        tiny(LogisticRegression()).fit(X, np.full(len(X), -1))
    with pytest.raises(ValueError, match="0 sample"):
        tiny(LogisticRegression()).fit_pool(X[:0], y[:0], POOL)


@pytest.mark.usefixtures("no_training")
def test_empty_pool(selector):
    with pytest.raises(ValueError, match=r"pool is empty.*0"):
        tiny(LogisticRegression()).fit_pool(X[:N_LABELED], y[:N_LABELED], POOL[:0])
    with pytest.raises(ValueError, match=r"pool is empty.*n=5.*n_pool=0"):
        tiny(LogisticRegression()).fit_select(X[:N_LABELED], y[:N_LABELED], POOL[:0], 5)
    with pytest.raises(ValueError, match=r"pool is empty.*n=5.*n_pool=0"):
        selector.select(POOL[:0], 5)
    with pytest.raises(ValueError, match="0 sample"):
        selector.transform(POOL[:0])


@pytest.mark.usefixtures("no_training")
def test_more_rows_than_the_pool_has(selector):
    with pytest.raises(ValueError, match=r"n=11 .*n_pool=10"):
        selector.select(POOL[:10], 11)
    with pytest.raises(ValueError, match=r"n=11 .*n_pool=10"):
        tiny(LogisticRegression()).fit_select(X[:N_LABELED], y[:N_LABELED], POOL[:10], 11)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("n", [0, -1])
def test_fewer_rows_than_one(selector, n):
    with pytest.raises(ValueError, match=f"n={n} .*expected 1 <= n <= 10"):
        selector.select(POOL[:10], n)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("n", [2.0, "2", None, True, [2]])
def test_a_number_of_rows_that_is_no_integer(selector, n):
    with pytest.raises(TypeError, match="n must be an integer"):
        selector.select(POOL[:10], n)
    with pytest.raises(TypeError, match="n must be an integer"):
        tiny(LogisticRegression()).fit_select(X[:N_LABELED], y[:N_LABELED], POOL, n)


def test_a_numpy_integer_is_an_integer(selector):
    np.testing.assert_array_equal(selector.select(POOL, np.int32(4)), selector.select(POOL, 4))


def test_a_selector_that_is_not_fitted():
    selector = tiny(LogisticRegression())
    for call in (
        lambda: selector.transform(X),
        lambda: selector.score_samples(X),
        lambda: selector.select(X, 2),
        lambda: selector.score(X, y),
        lambda: selector.class_posterior(X),
        lambda: selector.class_log_likelihood(X),
        lambda: selector.vae_labels(X),
    ):
        with pytest.raises(NotFittedError, match="not fitted"):
            call()


@pytest.mark.usefixtures("no_training")
def test_other_columns_than_in_fit(selector):
    for call in (selector.transform, lambda rows: selector.select(rows, 2)):
        with pytest.raises(ValueError, match=r"63 features, but VaBQuerySelector is expecting 64"):
            call(POOL[:, 1:])
    with pytest.raises(ValueError, match=r"63 features, but VaBQuerySelector is expecting 64"):
        tiny(LogisticRegression()).fit_pool(X[:N_LABELED], y[:N_LABELED], POOL[:, 1:])


@pytest.mark.usefixtures("no_training")
def test_lengths_that_differ():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        tiny(LogisticRegression()).fit(X, PARTLY[:-1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        tiny(LogisticRegression()).fit(X, None)


@pytest.mark.usefixtures("no_training")
def test_labels_of_mixed_type():
    mixed = [k if i % 2 else str(k) for i, k in enumerate(y.tolist())]
    with pytest.raises(ValueError, match="mixed type"):
        tiny(LogisticRegression()).fit(X, mixed)
    with pytest.raises(ValueError, match="mixed type"):
        tiny(LogisticRegression()).fit_pool(X, np.array(mixed, dtype=object), POOL)
    with pytest.raises(ValueError, match="mixed type"):
        tiny(LogisticRegression(), classes=["a", "b"]).fit(X, PARTLY)


@pytest.mark.usefixtures("no_training")
def test_labels_that_are_not_among_the_classes(logistic):
    with pytest.raises(ValueError, match=r"Labels \[9\] are not among classes"):
        tiny(LogisticRegression(), classes=range(9)).fit(X, PARTLY)


@pytest.mark.usefixtures("no_training")
def test_labels_of_a_regression():
    with pytest.raises(ValueError, match=r"[Uu]nknown label type"):
        tiny(LogisticRegression()).fit(X, np.linspace(0.1, 0.9, len(X)))


BAD_PARAMETERS = [
    *[("lam", value) for value in (-1e-9, -1, np.nan, np.inf, "0.1", None)],
    *[("posterior", value) for value in ("arxiv", None)],
    ("difficulty", "folds"),
    ("prior", "uniform"),
    *[("use_difficulty", value) for value in (2, None)],
    ("use_prior", "yes"),
    ("batch", "sample"),
    *[("smoothing", value) for value in (0.0, -1.0, np.nan)],
    *[("block_size", value) for value in (0, -2, 1.5, None)],
    *[("activity", value) for value in ("cube", None)],
    ("projection", "random"),
    ("mask_in_training", None),
    *[("n_units", value) for value in (0, 1.5)],
    *[("hidden", value) for value in (128, None)],
    *[("n_draws", value) for value in (0, 10.0)],
    *[("decoder_variance", value) for value in (0.0, -1.0, "mle", np.nan)],
    *[("temperature", value) for value in (0.0, -1.0, np.inf)],
    *[("lr", value) for value in (0.0, -1e-3, np.nan)],
    *[("max_epochs", value) for value in (0, 1.0, "all")],
    *[("batch_size", value) for value in (1, 0, 64.0)],
    ("device", 0),
    ("layers", 3),
    ("random_state", "seed"),
    ("classes", 10),
]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_parameters_out_of_range(name, value):
    selector = tiny(LogisticRegression(), **{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of VaBQuerySelector must be"):
        selector.fit(X, PARTLY)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of VaBQuerySelector must be"):
        selector.fit_select(X[:N_LABELED], y[:N_LABELED], POOL, 5)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("hidden", [(), [], (0,), (16, 0), (-1,), (16.5,), ("wide",)])
def test_hidden_layers_that_cannot_be(hidden):
    with pytest.raises(ValueError, match="hidden="):
        tiny(LogisticRegression(), hidden=hidden).fit(X, PARTLY)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "block_size", [[2] * 9, [2] * 11, [], [2] * 9 + [0], [2.5] * 10, np.ones((10, 2), dtype=int)]
)
@pytest.mark.parametrize("fitted", [True, False])
def test_block_sizes_that_do_not_fit_the_classes(logistic, block_size, fitted):
    estimator = logistic if fitted else LogisticRegression()
    with pytest.raises(ValueError, match=r"(?s)block_size=.*10 classes"):
        tiny(estimator, block_size=block_size).fit(X, PARTLY)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("layers", [["hidden.0"], "hidden.0"])
def test_layers_of_a_classifier_that_is_no_network(logistic, layers):
    with pytest.raises(ValueError, match=r"layers=\['hidden.0'\].*not a network"):
        tiny(logistic, layers=layers).fit(X, PARTLY)


def test_layers_that_a_network_does_not_have(monkeypatch):
    network = fitted_network()
    monkeypatch.setattr(skorch.NeuralNet, "fit", lambda *args: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"no layer \['hidden.7'\].*hidden.0"):
        tiny(network, layers=["hidden.0", "hidden.7"]).fit(X, PARTLY)


def test_an_estimator_that_is_none():
    with pytest.raises(ValueError, match="The 'estimator' parameter"):
        tiny(StandardScaler()).fit(X, PARTLY)


def test_a_training_that_diverges_is_an_error(logistic):
    with pytest.raises(ValueError, match=r"diverged.*Lower lr=1e\+30"):
        tiny(logistic, lr=1e30, max_epochs=5).fit(X, PARTLY)


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda c: make_pipeline(FrozenEstimator(c))])
def test_a_frozen_classifier_cannot_predict_out_of_fold(logistic, wrap):
    with pytest.raises(ValueError, match="FrozenEstimator"):
        tiny(wrap(logistic), difficulty="out_of_fold").fit(X, PARTLY)


def test_the_units_of_columns_do_not_matter():
    """Powers of two: neither trees nor the autoencoder, which standardizes, see them."""
    units = 2.0 ** np.random.default_rng(0).integers(-8, 9, X.shape[1])
    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    picks = [
        tiny(tree, batch="diverse").fit_select(rows[:100], y[:100], rows[100:400], 30)[0]
        for rows in (X, X * units)
    ]
    np.testing.assert_array_equal(*picks)


def test_the_outputs_of_a_layer_have_one_unit(monkeypatch):
    seen = []
    monkeypatch.setattr(
        selector_module,
        "squared_distances_to_nearest",
        lambda features, centers: seen.append(features) or np.ones(len(features)),
    )
    for estimator in (fitted_network(), LogisticRegression(max_iter=50)):
        tiny(estimator, batch="diverse").fit_select(X[:100], y[:100], X[100:300], 5)
    layer, table = seen
    assert not np.allclose(np.ptp(layer, axis=0), 1)
    # Of the pool and the labeled rows together; a column that is constant stays as it is.
    ranges, whole = np.ptp(table, axis=0), np.ptp(X[:300], axis=0)
    pool = np.ptp(X[100:300], axis=0)
    np.testing.assert_allclose(ranges, pool / np.where(whole > 0, whole, 1), rtol=1e-5)


def test_what_rounding_leaves_of_a_constant_column_is_no_range():
    column = 0.1 + 1e-9 * np.arange(10)
    features = np.column_stack([column, np.arange(10), np.zeros(10)]).astype(np.float32)
    np.testing.assert_allclose(selector_module._ranges(features), [1, 9, 1])
    ulps = 1 + np.arange(5) * np.finfo(np.float32).eps
    assert selector_module._ranges(ulps.astype(np.float32)[:, None]) == 1
    np.testing.assert_allclose(selector_module._ranges(features, features - 5), [5, 14, 5])
