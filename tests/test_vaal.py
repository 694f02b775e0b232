"""VAAL: its networks and losses, and whether it tells labeled from unlabeled rows."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.distributions import Normal, kl_divergence

from skvaball.selectors._vaal import (
    ConvolutionalVAE,
    PerceptronVAE,
    VAALSelector,
    _batches,
    negative_elbo,
)
from skvaball.utils.estimator_checks import parametrize_with_selector_checks


@parametrize_with_checks([VAALSelector(max_iter=5), VAALSelector(LogisticRegression(), max_iter=5)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([VAALSelector(max_iter=5)])
def test_selector_checks(selector, check):
    check(selector)


# -- networks and losses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (1, 28, 28), (2, 30, 17), (1, 1, 1), (1, 4, 4)]
)
def test_convolutions_adapt_to_the_size_of_images(shape):
    vae = ConvolutionalVAE(shape, latent_dim=6)
    X = torch.zeros(2, *shape)
    mean, log_variance = vae.encode(X)
    assert mean.shape == log_variance.shape == (2, 6)
    assert vae.decode(mean).shape == X.shape
    assert max(vae.sizes[-1]) <= 4


def test_perceptron_reconstructs_the_width():
    vae = PerceptronVAE((7,), latent_dim=3)
    mean, log_variance = vae.encode(torch.zeros(2, 7))
    assert mean.shape == log_variance.shape == (2, 3)
    assert vae.decode(mean).shape == (2, 7)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
def test_terms_of_the_loss_are_sums_over_dimensions_per_value(shape):
    rng = torch.Generator().manual_seed(0)
    X, reconstruction = torch.randn(2, 5, *shape, generator=rng)
    mean, log_variance = torch.randn(2, 5, 3, generator=rng)
    weight = torch.full((5,), 0.2)
    squares, kl = negative_elbo(X, reconstruction, mean, log_variance, weight)
    assert squares.item() == pytest.approx(((X - reconstruction) ** 2).mean().item(), rel=1e-5)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    exact = kl_divergence(posterior, Normal(torch.zeros(3), torch.ones(3))).sum(dim=1).mean()
    assert kl.item() == pytest.approx(exact.item() / X[0].numel(), rel=1e-5)


def test_a_larger_image_does_not_change_the_balance_of_the_terms():
    mean = log_variance = torch.ones(2, 3)
    weight = torch.full((2,), 0.5)
    small, large = torch.ones(2, 1, 4, 4), torch.ones(2, 1, 8, 8)
    ratios = []
    for X in (small, large):
        squares, kl = negative_elbo(X, 0 * X, mean, log_variance, weight)
        # In nats per row: the squared error grows with the image, the KL divergence does not.
        ratios.append((squares / kl / X[0].numel()).item())
    assert ratios[0] == pytest.approx(ratios[1])


def test_batches_visit_all_rows_before_any_twice():
    batches = _batches(12, 4, np.random.default_rng(0))
    for _ in range(3):
        seen = np.concatenate([next(batches) for _ in range(3)])
        assert sorted(seen) == list(range(12))
    few = next(_batches(3, 4, np.random.default_rng(0)))
    assert few.tolist() == [0, 1, 2]


# -- what it learns --------------------------------------------------------------------------


def shifted(n=200, d=4):
    """Labeled rows, and a pool of which one half is like them and the other far away."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, d))
    pool = rng.normal(size=(n, d))
    far = np.arange(n) % 2 == 1
    pool[far] += 3.0
    return X, np.arange(40) % 2, pool, far


@pytest.fixture(scope="module")
def fitted():
    """A selector with default settings on shifted data."""
    X, y, pool, _ = shifted()
    return VAALSelector(random_state=0).fit_pool(X, y, pool)


def test_rows_unlike_the_labeled_ones_score_higher(fitted):
    _, _, pool, far = shifted()
    # Measured: 1.00.
    assert roc_auc_score(far, fitted.score_samples(pool)) > 0.95


def test_new_rows_are_told_apart_too(fitted):
    rng = np.random.default_rng(1)
    near, far = rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 3.0
    scores = fitted.score_samples(np.concatenate([near, far]))
    assert roc_auc_score(np.repeat([0, 1], 100), scores) > 0.95


def test_the_discriminator_separates_labeled_from_unlabeled_rows():
    X, y, pool, far = shifted()
    selector = VAALSelector(random_state=0).fit_pool(X, y, pool[far])
    scores = np.concatenate([selector.score_samples(X), selector.score_samples(pool[far])])
    # Measured: 1.00.
    assert roc_auc_score(np.repeat([0, 1], [len(X), far.sum()]), scores) > 0.9
    assert np.all(scores > 0)
    assert np.all(scores < 1)


def test_losses_fall(fitted):
    history = fitted.history_
    # 100 passes over 40 labels, a batch each.
    assert len(history) == 100
    assert set(history[0]) == {"reconstruction", "kl", "adversarial", "discriminator"}
    for name, share in (("reconstruction", 0.8), ("discriminator", 0.9)):
        values = [step[name] for step in history]
        assert np.mean(values[-10:]) < share * np.mean(values[:10])


@pytest.mark.parametrize("images", [False, True])
def test_digits_of_classes_without_labels_score_higher(images):
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32).reshape(-1, 1, 8, 8) if images else X
    few = np.random.default_rng(0).choice(np.flatnonzero(y < 5), 64, replace=False)
    rest = np.setdiff1d(np.arange(len(y)), few)
    selector = VAALSelector(random_state=0).fit_pool(X[few], y[few], X[rest])
    kind = ConvolutionalVAE if images else PerceptronVAE
    assert isinstance(selector.vae_, kind)
    # Measured with five seeds: 0.83 to 0.88 for plain features, 0.82 to 0.93 for images; chance
    # is 0.5.
    assert roc_auc_score(y[rest] >= 5, selector.score_samples(X[rest])) > 0.7


def test_the_number_of_steps_follows_the_labels():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 2)), np.arange(9) % 2
    selector = VAALSelector(batch_size=4, random_state=0).fit_pool(X, y, X)
    assert selector.n_iter_ == len(selector.history_) == 300


def test_too_high_a_learning_rate_is_reported():
    X, y, pool, _ = shifted()
    with pytest.raises(ValueError, match=r"diverged.*Lower lr"):
        VAALSelector(lr=1e30, max_iter=20, random_state=0).fit_pool(X, y, pool)


# -- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12,), (1, 8, 8), (3, 4)])
def test_the_score_of_a_row_does_not_depend_on_its_place(shape):
    rng = np.random.default_rng(0)
    X, y, pool = rng.normal(size=(20, *shape)), np.arange(20) % 2, rng.normal(size=(150, *shape))
    selector = VAALSelector(max_iter=10, random_state=0).fit_pool(X, y, pool)
    scores = selector.score_samples(pool)
    order = rng.permutation(150)
    np.testing.assert_allclose(selector.score_samples(pool[order]), scores[order], rtol=1e-7)
    np.testing.assert_allclose(selector.score_samples(pool[:1]), scores[:1], rtol=1e-7)


def test_no_classifier_is_trained():
    X, y, pool, _ = shifted()
    selector = VAALSelector(max_iter=2).fit_pool(X, y, pool)
    assert selector.estimator_ is None
    assert selector.score(X, y) == 0.5


def test_sparse_rows_are_welcome():
    X, y, pool, _ = shifted()
    dense = VAALSelector(max_iter=5, random_state=0).fit_pool(X, y, pool)
    thin = VAALSelector(max_iter=5, random_state=0)
    thin.fit_pool(sparse.csr_array(X), y, sparse.csr_array(pool))
    np.testing.assert_allclose(
        thin.score_samples(sparse.csr_array(pool)), dense.score_samples(pool), rtol=1e-6
    )


def test_a_pipeline_turns_texts_into_rows():
    texts = ["black cat", "white cat", "black dog", "white dog"] * 3
    pool = ["red cat", "red fox", "grey fox"] * 4
    pipeline = make_pipeline(CountVectorizer().fit(texts + pool), LogisticRegression())
    selector = VAALSelector(pipeline, max_iter=5, random_state=0)
    positions, scores = selector.fit_select(texts, [0, 0, 1, 1] * 3, pool, 2)
    assert len(positions) == 2
    assert np.isfinite(scores).all()


def test_rows_that_are_surely_unlabeled_keep_their_order():
    """Their probabilities all round to 1."""
    rng = np.random.default_rng(0)
    labeled = rng.normal(size=(300, 6))
    pool = np.concatenate([labeled, rng.normal(size=(20, 6)) * np.geomspace(10, 1000, 20)[:, None]])
    selector = VAALSelector(adversary_param=0, random_state=0)
    positions, scores = selector.fit_select(labeled, np.arange(300) % 2, pool, 20)
    sure = np.flatnonzero(scores == 1)
    assert len(sure) > 2
    logits = selector._logits(pool)
    assert (np.diff(logits[positions]) >= 0).all()
    assert set(sure) <= set(positions)
