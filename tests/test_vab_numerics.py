"""Numerics of VaB-AL: every formula against a loop, a closed form or extended precision."""

import copy
import math
import warnings
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, multivariate_normal, norm, qmc
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.distributions import Normal, kl_divergence

from skvaball.networks._variational import gaussian_kl
from skvaball.vab import VaBQuerySelector
from skvaball.vab.autoencoder import ClassMaskedELBO, ClassMaskedVAE, VAEOutput
from skvaball.vab.likelihood import (
    VECTORS_PER_CHUNK,
    MaskedDecoder,
    class_activity,
    draw_noise,
    masked_kl,
    rows_per_chunk,
    tf32_products,
)
from skvaball.vab.posterior import (
    TEMPERATURE_RANGE,
    calibrated_scales,
    class_difficulty,
    class_posterior,
    class_prior,
    joint_score,
    normalized_score,
    rebalanced_positions,
    surprise_score,
)

seeds = st.integers(0, 2**31 - 1)


def make_vae(block_sizes, *, tap_widths=(5, 3), hidden=(9, 7), n_units=6, seed=0, **params):
    """An autoencoder with random weights, wide enough apart that every block matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = ClassMaskedVAE(
            list(tap_widths), block_sizes, hidden=hidden, n_units=n_units, **params
        )
        for parameter in [*vae.encoder.parameters(), *vae.decoder.parameters()]:
            nn.init.normal_(parameter, std=0.5)
    return vae.eval()


def normal_tensor(*shape, seed=0, dtype=torch.float32):
    """Standard normal numbers as a tensor."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def encoded(vae, n, dtype=torch.float32):
    """Target, mean and log-variance of n random rows."""
    X = normal_tensor(n, sum(vae.projection.tap_widths), seed=1, dtype=dtype)
    with torch.no_grad():
        return vae.encode(X)


@torch.no_grad()
def brute_force_errors(vae, target, mean, log_variance, noise):
    """Zero one block at a time, decode each draw of each row, and average in float64."""
    exact = copy.deepcopy(vae).double()
    target, mean, log_variance, noise = (
        part.double() for part in (target, mean, log_variance, noise)
    )
    errors = torch.empty(len(target), vae.n_classes, dtype=torch.float64)
    for i in range(len(target)):
        z = mean[i] + torch.exp(log_variance[i] / 2) * noise
        start = 0
        for k, size in enumerate(vae.block_sizes):
            masked = z.clone()
            masked[:, start : start + size] = 0.0
            errors[i, k] = ((exact.decoder(masked) - target[i]) ** 2).sum(dim=1).mean()
            start += size
    return errors


# Masked squared errors (Eq. 9)

CASES = [
    pytest.param([3], 45, 100, (9, 7), id="one-class"),
    pytest.param([1, 1], 45, 100, (9, 7), id="two-classes-of-one-dimension"),
    pytest.param([2, 5, 1, 4], 83, 100, (9, 7), id="unequal-blocks"),
    pytest.param([3] * 12, 45, 100, (16, 8, 8), id="twelve-classes"),
    pytest.param([2, 3], 3, VECTORS_PER_CHUNK + 5, (9,), id="more-draws-than-a-chunk-holds"),
    pytest.param([2, 3], VECTORS_PER_CHUNK + 1, 1, (9,), id="one-draw"),
    pytest.param([2, 3], 1, 7, (), id="linear-decoder-but-for-one-layer"),
]


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("block_sizes", "n", "n_draws", "hidden"), CASES)
def test_masked_errors_equal_decoding_with_each_block_zeroed(
    block_sizes, n, n_draws, hidden, dtype, rtol
):
    """The shortcuts through the first and the last layer are exact."""
    vae = make_vae(block_sizes, hidden=hidden or (9,))
    if not hidden:
        vae.decoder = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 12))
    vae = vae.to(dtype)
    # Neither a multiple of the chunk nor smaller than it, unless the case says so.
    rows = rows_per_chunk(n_draws, sum(block_sizes))
    assert n % rows != 0 or rows == 1
    target, mean, log_variance = encoded(vae, n, dtype)
    noise = normal_tensor(n_draws, sum(block_sizes), seed=2, dtype=dtype)
    errors = MaskedDecoder(vae, noise).squared_errors(target, mean, log_variance)
    assert errors.dtype == dtype
    expected = brute_force_errors(vae, target, mean, log_variance, noise)
    torch.testing.assert_close(errors.double(), expected, rtol=rtol, atol=0)


def test_masked_errors_of_a_trained_autoencoder_keep_their_digits():
    """Good reconstructions, where large terms cancel, are as exact as poor ones in float32."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:500], y[:500]
    clf = LogisticRegression(max_iter=1000).fit(X, y)
    selector = VaBQuerySelector(clf, random_state=0, max_epochs=40, n_draws=16, lr=3e-3)
    vae = selector.fit(X, y).vae_.module_.eval()
    standardized = torch.from_numpy(((X - X.mean(0)) / np.maximum(X.std(0), 1.0))[:90]).float()
    with torch.no_grad():
        target, mean, log_variance = vae.encode(standardized)
    noise = normal_tensor(100, mean.shape[1], seed=3)
    errors = MaskedDecoder(vae, noise).squared_errors(target, mean, log_variance)
    expected = brute_force_errors(vae, target, mean, log_variance, noise)
    torch.testing.assert_close(errors.double(), expected, rtol=1e-5, atol=0)


def test_masked_errors_leave_their_arguments_and_the_decoder_as_they_were():
    vae = make_vae([2, 3])
    target, mean, log_variance = encoded(vae, 10)
    noise = normal_tensor(8, 5)
    arguments = (target, mean, log_variance, noise)
    before = [part.clone() for part in arguments]
    weights = copy.deepcopy(vae.state_dict())
    MaskedDecoder(vae, noise).squared_errors(target, mean, log_variance)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in vae.state_dict().items())


def test_masked_errors_in_half_precision_are_close_and_change_no_weights():
    vae = make_vae([3, 2, 4], hidden=(32, 32))
    weights = copy.deepcopy(vae.state_dict())
    target, mean, log_variance = encoded(vae, 50)
    noise = normal_tensor(16, 9, seed=2)
    errors = MaskedDecoder(vae, noise, torch.bfloat16).squared_errors(target, mean, log_variance)
    expected = MaskedDecoder(vae, noise).squared_errors(target, mean, log_variance)
    assert errors.dtype == torch.float32
    assert not torch.equal(errors, expected)
    # bfloat16 keeps 8 bits.
    torch.testing.assert_close(errors, expected, rtol=0.03, atol=0)
    assert all(torch.equal(value, weights[name]) for name, value in vae.state_dict().items())


def test_tf32_is_allowed_inside_its_block_only():
    matmul = torch.backends.cuda.matmul
    name = "fp32_precision" if hasattr(matmul, "fp32_precision") else "allow_tf32"
    before = getattr(matmul, name)
    with tf32_products(), tf32_products():
        assert getattr(matmul, name) in ("tf32", True)
    assert getattr(matmul, name) == before


def test_a_chunk_on_a_gpu_does_not_grow_with_the_classes():
    """Its latent vectors have 10 numbers a class."""
    few, many = (rows_per_chunk(8, n_latent, "cuda") for n_latent in (100, 10_000))
    assert few == rows_per_chunk(8, 10, "cuda")
    assert many * 10_000 <= few * 130


@settings(max_examples=30, deadline=None)
@given(n_draws=st.integers(1, 3 * VECTORS_PER_CHUNK))
def test_a_chunk_holds_as_many_rows_as_fit_and_at_least_one(n_draws):
    rows = rows_per_chunk(n_draws, 100)
    assert rows >= 1
    assert rows == 1 or rows * n_draws <= VECTORS_PER_CHUNK < (rows + 1) * n_draws


# KL divergences


@settings(max_examples=50, deadline=None)
@given(
    mean=st.floats(-20, 20, allow_subnormal=False),
    log_variance=st.floats(-10, 10, allow_subnormal=False),
)
def test_gaussian_kl_equals_the_divergence_of_the_distributions(mean, log_variance):
    mean = torch.tensor([mean], dtype=torch.float64)
    log_variance = torch.tensor([log_variance], dtype=torch.float64)
    expected = kl_divergence(
        Normal(mean, torch.exp(log_variance / 2)), Normal(torch.tensor(0.0).double(), 1.0)
    )
    # Near the prior the terms of the closed form cancel down to rounding.
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("block_sizes", [[4], [1, 3], [2, 5, 1], [2] * 12])
def test_masked_kl_leaves_out_the_masked_block(block_sizes):
    """Under mask k the divergence is the sum over all other blocks; with one class, zero."""
    vae = make_vae(block_sizes).double()
    n_latent = sum(block_sizes)
    mean = normal_tensor(6, n_latent, seed=4, dtype=torch.float64)
    log_variance = normal_tensor(6, n_latent, seed=5, dtype=torch.float64)
    each = kl_divergence(
        Normal(mean, torch.exp(log_variance / 2)),
        Normal(torch.zeros(n_latent).double(), torch.ones(n_latent).double()),
    )
    edges = np.cumsum([0, *block_sizes])
    expected = torch.zeros(6, len(block_sizes), dtype=torch.float64)
    for k in range(len(block_sizes)):
        outside = [j for j in range(n_latent) if not edges[k] <= j < edges[k + 1]]
        expected[:, k] = each[:, outside].sum(dim=1)
    torch.testing.assert_close(masked_kl(vae, mean, log_variance), expected, rtol=1e-12, atol=1e-13)


# Noise


@pytest.mark.parametrize(("n_draws", "n_latent"), [(1, 1), (1, 30), (64, 3), (100, 100), (257, 2)])
def test_noise_has_its_shape_is_finite_and_follows_its_seed(n_draws, n_latent):
    noise = draw_noise(n_draws, n_latent, 7)
    assert noise.shape == (n_draws, n_latent)
    assert noise.dtype == np.float64
    assert np.isfinite(noise).all()
    np.testing.assert_array_equal(noise, draw_noise(n_draws, n_latent, 7))
    assert not np.array_equal(noise, draw_noise(n_draws, n_latent, 8))


def test_noise_is_standard_normal_in_every_dimension():
    """One point in each of 1024 slices of equal probability: mean and variance follow."""
    noise = draw_noise(1024, 100, 0)
    slices = np.sort(np.floor(norm.cdf(noise) * 1024).astype(int), axis=0)
    np.testing.assert_array_equal(slices, np.tile(np.arange(1024)[:, None], 100))
    # The outermost slices alone move the mean by about 1 / 1024, the variance by three times that.
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=2e-3)
    np.testing.assert_allclose(noise.var(axis=0), 1.0, atol=1e-2)


def test_noise_of_different_seeds_averages_to_the_standard_normal():
    """The scrambling makes single points standard normal, not only whole banks."""
    points = np.array([draw_noise(1, 4, seed)[0] for seed in range(400)])
    # Four standard errors of 400 independent draws.
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=4 / np.sqrt(400))
    np.testing.assert_allclose(points.var(axis=0), 1.0, atol=4 * np.sqrt(2 / 400))


@pytest.mark.parametrize("n_draws", [64, 100])
def test_even_noise_has_a_smaller_error_than_plain_draws(n_draws):
    """The mean of a smooth function of ten dimensions, whose true value is known."""
    weights = 0.3 / np.arange(1, 11)
    true = np.exp(weights @ weights / 2)  # the mean of exp(w . z)

    def rmse(draw):
        errors = [np.exp(draw(seed) @ weights).mean() - true for seed in range(50)]
        return np.sqrt(np.mean(np.square(errors)))

    even = rmse(lambda seed: draw_noise(n_draws, 10, seed))
    plain = rmse(lambda seed: np.random.default_rng(seed).standard_normal((n_draws, 10)))
    assert even < plain / 4


def test_noise_beyond_the_dimensions_of_sobol_is_drawn_without_a_warning():
    n_latent = qmc.Sobol.MAXDIM + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise = draw_noise(100, n_latent, 0)
        np.testing.assert_array_equal(noise, draw_noise(100, n_latent, 0))
    assert noise.shape == (100, n_latent)
    # Four standard errors over all numbers.
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)


@pytest.mark.parametrize("n_draws", [1, 3, 100])
def test_noise_is_drawn_without_a_warning_for_any_number_of_draws(n_draws):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_noise(n_draws, 5, 0)


# Activity of the blocks (Eq. 7)


def _square(m, s):
    return m**2 + s**2


def _folded_normal(m, s):
    return s * np.sqrt(2 / np.pi) * np.exp(-(m**2) / (2 * s**2)) + m * (1 - 2 * norm.cdf(-m / s))


def _sigmoid(m, s):
    # Gauss-Hermite quadrature: exact to rounding for a function as smooth as this one.
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    values = 1 / (1 + np.exp(-(m[..., None] + s[..., None] * nodes)))
    return values @ weights / np.sqrt(2 * np.pi)


@pytest.mark.parametrize(
    ("activity", "expectation", "variance"),
    [
        ("square", _square, lambda m, s: 2 * s**4 + 4 * m**2 * s**2),
        # No slope above 1, and of the sigmoid none above 1/4.
        ("abs", _folded_normal, lambda m, s: s**2),
        ("sigmoid", _sigmoid, lambda m, s: s**2 / 16),
    ],
)
def test_class_activity_is_the_expectation_over_the_posterior(activity, expectation, variance):
    block_sizes, n_draws = [2, 3, 1], 2048
    vae = make_vae(block_sizes, activity=activity).double()
    mean = normal_tensor(20, 6, seed=6, dtype=torch.float64)
    log_variance = normal_tensor(20, 6, seed=7, dtype=torch.float64)
    noise = torch.from_numpy(draw_noise(n_draws, 6, 0))
    found = class_activity(vae, mean, log_variance, noise).numpy()
    m, s = mean.numpy(), np.exp(log_variance.numpy() / 2)
    edges = list(pairwise(np.cumsum([0, *block_sizes])))
    expected = np.stack([expectation(m, s)[:, a:b].sum(1) for a, b in edges], axis=1)
    # One standard error of independent draws, at most: even noise has a fraction of it.
    error = np.stack([variance(m, s)[:, a:b].sum(1) for a, b in edges], axis=1) / n_draws
    assert (np.abs(found - expected) <= np.sqrt(error) / 5).all()


def test_an_idle_block_is_not_taken_for_the_class():
    """A block that follows the prior has mean zero, yet more activity than one driven to zero."""
    vae = make_vae([2, 2]).double()
    mean = torch.tensor([[0.3, 0.3, 0.0, 0.0]]).double()
    log_variance = torch.tensor([[-10.0, -10.0, 0.0, 0.0]]).double()
    activity = class_activity(vae, mean, log_variance, torch.from_numpy(draw_noise(64, 4, 0)))
    assert activity.argmin() == 0


# Counted terms


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_classes=st.integers(1, 6), smoothing=st.floats(1e-3, 10))
def test_difficulty_and_prior_equal_counting_by_hand(data, n_classes, smoothing):
    pairs = st.tuples(st.integers(0, n_classes - 1), st.integers(0, n_classes - 1))
    rows = data.draw(st.lists(pairs, max_size=40))
    y_true = np.array([t for t, _ in rows], dtype=np.int64)
    y_pred = np.array([p for _, p in rows], dtype=np.int64)
    difficulty = class_difficulty(y_true, y_pred, n_classes, smoothing)
    prior = class_prior(y_pred, n_classes, smoothing)
    for k in range(n_classes):
        predicted = right = 0
        for t, p in rows:
            predicted += p == k
            right += p == k == t
        assert difficulty[k] == pytest.approx(
            (right + smoothing) / (predicted + 2 * smoothing), rel=1e-14
        )
        assert prior[k] == pytest.approx(
            (predicted + smoothing) / (len(rows) + n_classes * smoothing), rel=1e-14
        )
    assert prior.sum() == pytest.approx(1.0, rel=1e-14)
    assert ((difficulty > 0) & (difficulty < 1)).all()


def test_a_class_that_is_never_predicted_has_difficulty_one_half():
    assert class_difficulty(np.array([0, 1]), np.array([0, 0]), 3)[2] == 0.5


# Scores in extended precision


@st.composite
def bayes_terms(draw):
    """Log-likelihoods up to thousands of nats apart, a prior and a difficulty."""
    n_classes = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(seeds))
    spread = 10.0 ** draw(st.floats(-2, 4))
    offset = draw(st.sampled_from([0.0, -1000.0, 1000.0, -5000.0]))
    log_likelihood = offset + spread * rng.standard_normal((4, n_classes))
    prior = rng.dirichlet(np.ones(n_classes)) * 0.99 + 0.01 / n_classes
    difficulty = rng.uniform(0.001, 0.999, n_classes)
    return log_likelihood, prior / prior.sum(), difficulty


def extended_scores(log_likelihood, prior, difficulty):
    """The scores of one row by plain exp and log, with 60 digits."""
    with mpmath.workdps(60):
        joint = [
            mpmath.exp(mpmath.mpf(float(log_p))) * mpmath.mpf(float(pi))
            for log_p, pi in zip(log_likelihood, prior, strict=True)
        ]
        right = mpmath.fsum(
            p * mpmath.mpf(float(d)) for p, d in zip(joint, difficulty, strict=True)
        )
        posterior = [p / mpmath.fsum(joint) for p in joint]
        surprise = mpmath.fsum(
            -r * mpmath.log(r * mpmath.mpf(float(d)))
            for r, d in zip(posterior, difficulty, strict=True)
        )
        normalized = 1 - right / mpmath.fsum(joint)
        return float(normalized), float(-mpmath.log(right)), float(surprise)


@settings(max_examples=100, deadline=None)
@given(terms=bayes_terms())
def test_scores_equal_bayes_rule_in_extended_precision(terms):
    expected = np.array([extended_scores(row, *terms[1:]) for row in terms[0]])
    normalized, joint = normalized_score(*terms), joint_score(*terms)
    assert np.isfinite(normalized).all()
    assert np.isfinite(joint).all()
    np.testing.assert_allclose(normalized, expected[:, 0], rtol=1e-10, atol=0)
    # A joint score may lie at zero by chance, where only its absolute error is bounded.
    np.testing.assert_allclose(joint, expected[:, 1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(surprise_score(*terms), expected[:, 2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gap", [1e3, 1e4, 1e6])
def test_scores_stay_exact_where_exp_underflows_in_every_class(gap):
    log_likelihood = np.array([[-gap, -2 * gap, -3 * gap], [-3 * gap, -2 * gap, -gap]])
    prior, difficulty = np.array([0.2, 0.3, 0.5]), np.array([0.9, 0.5, 0.25])
    assert (np.exp(log_likelihood) == 0).all()
    normalized = normalized_score(log_likelihood, prior, difficulty)
    np.testing.assert_allclose(normalized, [1 - 0.9, 1 - 0.25], rtol=1e-10)
    joint = joint_score(log_likelihood, prior, difficulty)
    expected = [gap - math.log(0.2 * 0.9), gap - math.log(0.5 * 0.25)]
    np.testing.assert_allclose(joint, expected, rtol=1e-10)


def test_a_small_probability_of_a_mistake_keeps_its_digits():
    """Difficulties that nearly equal one are not lost in 1 - (a sum close to one)."""
    difficulty = np.array([1 - 2.0**-40, 1 - 2.0**-41])
    score = normalized_score(np.zeros((1, 2)), np.array([0.5, 0.5]), difficulty)
    np.testing.assert_allclose(score, 0.75 * 2.0**-40, rtol=1e-10)


@settings(max_examples=50, deadline=None)
@given(terms=bayes_terms())
def test_posteriors_sum_to_one_and_ignore_a_constant_of_the_row(terms):
    log_likelihood, prior, _ = terms
    posterior = class_posterior(log_likelihood, prior)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0, rtol=1e-12)
    shifted = class_posterior(log_likelihood + 128.0, prior)
    np.testing.assert_allclose(shifted, posterior, rtol=1e-10, atol=1e-300)


@settings(max_examples=50, deadline=None)
@given(terms=bayes_terms(), constant=st.floats(0.01, 0.99))
def test_with_one_difficulty_for_all_the_normalized_score_is_constant(terms, constant):
    score = normalized_score(terms[0], terms[1], np.full(len(terms[1]), constant))
    np.testing.assert_allclose(score, 1 - constant, rtol=1e-12)


@pytest.mark.parametrize("score", [surprise_score, normalized_score, joint_score])
def test_the_score_of_a_row_does_not_depend_on_the_rows_beside_it(score):
    """Exactly: not even the order of the additions may depend on the number of rows."""
    rng = np.random.default_rng(0)
    log_likelihood = 10 * rng.standard_normal((1000, 10))
    prior, difficulty = rng.dirichlet(np.ones(10)), rng.uniform(0.1, 0.9, 10)
    together = score(log_likelihood, prior, difficulty)
    for size in (1, 3, 64):
        parts = [
            score(log_likelihood[i : i + size], prior, difficulty) for i in range(0, 1000, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("score", [surprise_score, normalized_score, joint_score])
def test_equal_rows_have_equal_scores(score):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n_classes, n_pool = rng.integers(2, 13), rng.integers(2, 60)
        log_likelihood = np.repeat(rng.standard_normal((1, n_classes)), n_pool, axis=0)
        prior, difficulty = rng.dirichlet(np.ones(n_classes)), rng.uniform(0.05, 0.95, n_classes)
        assert len(set(score(log_likelihood, prior, difficulty))) == 1


# Batches with the prior updated inside


def slow_rebalanced_positions(log_likelihood, counts, difficulty, n, posterior):
    """The same from the definitions, one row at a time, everything anew after each pick."""
    counts = [float(c) for c in counts]
    n_pool, n_classes = log_likelihood.shape
    initial = np.array(counts) / sum(counts)
    expected = [class_posterior(row[None], initial)[0] for row in log_likelihood]
    picks = []
    for _ in range(n):
        prior = np.array(counts) / sum(counts)
        best, best_utility = None, -np.inf
        for i in range(n_pool):
            if i in picks:
                continue
            if posterior == "joint":
                utility = joint_score(log_likelihood[i][None], prior, difficulty)[0]
            else:
                form = normalized_score if posterior == "normalized" else surprise_score
                score = form(log_likelihood[i][None], initial, difficulty)[0]
                utility = score * sum(expected[i][k] / counts[k] for k in range(n_classes))
            if utility > best_utility:
                best, best_utility = i, utility
        picks.append(best)
        for k in range(n_classes):
            counts[k] += expected[best][k]
    return picks


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    n_pool=st.integers(1, 25),
    n_classes=st.integers(1, 5),
    form=st.sampled_from(
        # Sharper posteriors are 0 or 1, and rows of a class tie in the normalized form.
        [
            *[("normalized", 0.3), ("normalized", 3.0), ("surprise", 0.3), ("surprise", 3.0)],
            *[("joint", 0.3), ("joint", 300.0)],
        ]
    ),
    data=st.data(),
)
def test_rebalanced_batch_equals_a_slow_reference(seed, n_pool, n_classes, form, data):
    posterior, spread = form
    n = data.draw(st.integers(1, n_pool))
    rng = np.random.default_rng(seed)
    log_likelihood = -500.0 + spread * rng.standard_normal((n_pool, n_classes))
    counts = rng.uniform(0.5, 20.0, n_classes)
    difficulty = rng.uniform(0.05, 0.95, n_classes)
    before = counts.copy()
    positions = rebalanced_positions(log_likelihood, counts, difficulty, n, posterior)
    reference = slow_rebalanced_positions(log_likelihood, counts, difficulty, n, posterior)
    assert positions.tolist() == reference
    assert positions.dtype == np.int64
    assert len(set(reference)) == n
    np.testing.assert_array_equal(counts, before)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 25.0])
@pytest.mark.parametrize("weight", [0.0, 0.4, 3.0])
def test_calibration_finds_the_scales_behind_the_probabilities(temperature, weight):
    rng = np.random.default_rng(0)
    prior = np.array([0.6, 0.3, 0.1])
    log_likelihood, class_evidence = rng.normal(size=(2, 500, 3))
    probabilities = class_posterior(log_likelihood + weight * class_evidence, prior)
    evidence = log_likelihood * temperature - 1e6
    found = calibrated_scales(evidence, class_evidence, prior, probabilities)
    assert found == pytest.approx((temperature, weight), rel=0.01, abs=0.01)


def test_calibration_by_labels_finds_the_temperature_they_were_drawn_at():
    rng = np.random.default_rng(0)
    prior = np.array([0.6, 0.3, 0.1])
    log_likelihood = rng.normal(size=(20_000, 3))
    posterior = class_posterior(log_likelihood, prior)
    codes = (posterior.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    nothing = np.zeros_like(log_likelihood)
    temperature, _ = calibrated_scales(log_likelihood * 7.0, nothing, prior, np.eye(3)[codes])
    # The labels are drawn: the error of the estimate is about 1 / sqrt(n) of it.
    assert temperature == pytest.approx(7.0, rel=0.05)


def test_calibration_stays_in_its_range_where_labels_are_certain_or_unrelated():
    log_likelihood = np.array([[0.0, -1.0], [-1.0, 0.0]])
    prior, nothing = np.array([0.5, 0.5]), np.zeros((2, 2))
    low, high = TEMPERATURE_RANGE
    right, _ = calibrated_scales(log_likelihood, nothing, prior, np.eye(2))
    wrong, _ = calibrated_scales(log_likelihood, nothing, prior, np.eye(2)[::-1])
    assert low <= right < 0.1
    assert 0.9 * high < wrong <= high
    single = calibrated_scales(log_likelihood[:, :1], nothing[:, :1], np.ones(1), np.ones((2, 1)))
    assert single == (1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(terms=bayes_terms())
def test_surprise_is_entropy_plus_expected_difficulty(terms):
    log_likelihood, prior, difficulty = terms
    posterior = class_posterior(log_likelihood, prior)
    expected = entropy(posterior, axis=1) - posterior @ np.log(difficulty)
    score = surprise_score(log_likelihood, prior, difficulty)
    np.testing.assert_allclose(score, expected, rtol=1e-9, atol=1e-12)
    assert (score >= 0).all()
    # By Jensen's inequality: the surprise to be expected is at least that of the expectation.
    right = 1 - normalized_score(log_likelihood, prior, difficulty)
    assert (score >= -np.log(right) - 1e-12).all()


@pytest.mark.parametrize("posterior", ["surprise", "normalized", "joint"])
def test_rebalanced_batch_takes_equal_rows_by_position(posterior):
    """Equal rows tie exactly, wherever they stand: rounding must not choose among them."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n_classes, n_pool = rng.integers(2, 13), rng.integers(2, 60)
        log_likelihood = np.repeat(rng.standard_normal((1, n_classes)), n_pool, axis=0)
        counts, difficulty = rng.uniform(0.5, 20, n_classes), rng.uniform(0.05, 0.95, n_classes)
        positions = rebalanced_positions(log_likelihood, counts, difficulty, n_pool, posterior)
        np.testing.assert_array_equal(positions, np.arange(n_pool))


@settings(max_examples=50, deadline=None)
@given(seed=seeds, spread=st.sampled_from([1.0, 100.0, 5000.0]))
def test_first_pick_of_the_joint_form_has_the_highest_score(seed, spread):
    rng = np.random.default_rng(seed)
    log_likelihood = spread * rng.standard_normal((40, 6))
    counts, difficulty = rng.uniform(1, 50, 6), rng.uniform(0.1, 0.9, 6)
    scores = joint_score(log_likelihood, counts / counts.sum(), difficulty)
    first = rebalanced_positions(log_likelihood, counts, difficulty, 1, "joint")
    assert first.tolist() == [int(np.argmax(scores))]


def test_rebalancing_leaves_a_class_once_it_is_no_longer_scarce():
    """Two sure classes, equally difficult: the picks alternate once the counts are level."""
    log_likelihood = np.repeat([[0.0, -1000.0], [-1000.0, 0.0]], 10, axis=0)
    picks = rebalanced_positions(log_likelihood, np.array([1.0, 4.0]), np.array([0.5, 0.5]), 8)
    classes = (picks >= 10).astype(int)
    # Scarcity 1/1, 1/2, 1/3 against 1/4; then level at four, and ties go by position.
    assert classes.tolist() == [0, 0, 0, 0, 1, 0, 1, 0]


# The evidence of a model in which it is known


def _linear_gaussian_rows(rng, n, n_outputs, loadings, noise_variance):
    """Rows with mean exactly zero from a model with two latent dimensions."""
    rows = rng.standard_normal((n, 2)) @ loadings
    rows += np.sqrt(noise_variance) * rng.standard_normal((n, n_outputs))
    return rows - rows.mean(axis=0)


def test_training_on_linear_gaussian_data_reaches_the_exact_evidence():
    """Rows of each class come from a linear-Gaussian model with a latent plane of its own.

    With a linear decoder the masked autoencoder is probabilistic principal component
    analysis, class by class, and its bound can be tight: the maximum of the evidence is
    known from the eigenvalues of each class's covariance. Means over dimensions in the
    loss make the noise variance D / (2 d), with D outputs and d latent dimensions kept.
    """
    rng = np.random.default_rng(0)
    n, n_outputs, n_kept = 400, 6, 2
    variance = n_outputs / (2 * n_kept)
    # Three noise deviations and more along each direction, planes at random.
    planes = [4 * np.linalg.qr(rng.standard_normal((n_outputs, 2)))[0].T for _ in range(2)]
    parts = [_linear_gaussian_rows(rng, n, n_outputs, plane, variance) for plane in planes]
    X = torch.from_numpy(np.concatenate(parts))
    labels = torch.arange(2).repeat_interleave(n)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = ClassMaskedVAE([n_outputs], [2, 2], n_units=n_outputs, hidden=()).double()
        vae.projection = nn.Identity()  # the rows themselves are what is reconstructed
        loss = ClassMaskedELBO(lam=0.0)
        optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
        n_steps = 2500
        # A step size that falls to zero, so that the noise of the samples dies out.
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        for _ in range(n_steps):
            optimizer.zero_grad()
            loss(vae(X, labels), labels).backward()
            optimizer.step()
            schedule.step()

    # The hot path expects a hidden layer: an identity in front of the linear decoder.
    identity = nn.Linear(4, 4).double()
    nn.init.eye_(identity.weight)
    nn.init.zeros_(identity.bias)
    vae.decoder = nn.Sequential(identity, vae.decoder[0])
    with torch.no_grad():
        target, mean, log_variance = vae.encode(X)
        noise = torch.from_numpy(draw_noise(4096, 4, 0))
        errors = MaskedDecoder(vae, noise).squared_errors(target, mean, log_variance)
        bound = -errors / (2 * variance) - n_outputs / 2 * math.log(2 * math.pi * variance)
        bound -= masked_kl(vae, mean, log_variance)

    for k, part in enumerate(parts):
        values, vectors = np.linalg.eigh(part.T @ part / n)
        top = values[-n_kept:]
        loadings = vectors[:, -n_kept:] * np.sqrt(top - variance)
        covariance = loadings @ loadings.T + variance * np.eye(n_outputs)
        evidence = multivariate_normal(np.zeros(n_outputs), covariance).logpdf(part).mean()
        reached = bound[k * n : (k + 1) * n, k].mean().item()
        # A bound, so above the maximum only by the error of the draws, about 1e-4 nats; below
        # it by what the noise of training leaves, which is less than that.
        assert abs(reached - evidence) < 1e-3
        # Under the other class's mask these rows are hardly explained at all.
        assert bound[k * n : (k + 1) * n, 1 - k].mean().item() < evidence - 1


# The autoencoder and its loss


@settings(max_examples=30, deadline=None)
@given(block_sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), n=st.integers(1, 5))
def test_block_sum_and_blocks_equal_loops(block_sizes, n):
    vae = make_vae(block_sizes)
    values = normal_tensor(n, sum(block_sizes), seed=8, dtype=torch.float64)
    expected = torch.zeros(n, len(block_sizes), dtype=torch.float64)
    for i in range(n):
        j = 0
        for k, size in enumerate(block_sizes):
            for _ in range(size):
                expected[i, k] += values[i, j]
                j += 1
    torch.testing.assert_close(vae.block_sum(values), expected, rtol=1e-13, atol=1e-14)
    for k, block in enumerate(vae.blocks):
        members = torch.arange(sum(block_sizes))[block]
        assert (vae.block_of_latent[members] == k).all()
        assert len(members) == block_sizes[k]


@pytest.mark.parametrize(
    ("activity", "function"),
    [("square", lambda z: z * z), ("abs", abs), ("sigmoid", lambda z: 1 / (1 + math.exp(-z)))],
)
def test_class_logits_are_minus_the_activity_of_each_block(activity, function):
    vae = make_vae([1, 2], activity=activity).double()
    z = normal_tensor(4, 3, dtype=torch.float64)
    expected = [[-function(a), -function(b) - function(c)] for a, b, c in z.tolist()]
    torch.testing.assert_close(
        vae.class_logits(z), torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0
    )


def _decoded_latents(vae, X, labels, seed=0):
    """What the decoder is given in a forward pass, and the output of the pass."""
    seen = []
    handle = vae.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        output = vae(X, labels)
    handle.remove()
    return seen[0].detach(), output


def test_training_masks_the_block_of_the_label_and_no_other():
    block_sizes = [2, 3, 1]
    vae = make_vae(block_sizes)
    X, labels = normal_tensor(9, 8), torch.tensor([0, 1, 2] * 3)
    masked, output = _decoded_latents(vae, X, labels)
    vae.mask_in_training = False
    plain, unmasked_output = _decoded_latents(vae, X, labels)
    for i, label in enumerate(labels.tolist()):
        for k, block in enumerate(vae.blocks):
            if k == label:
                assert (masked[i, block] == 0).all()
                assert (output.kept[i, block] == 0).all()
            else:
                assert torch.equal(masked[i, block], plain[i, block])
                assert (output.kept[i, block] == 1).all()
    assert (plain != 0).all()
    assert unmasked_output.kept is None
    # The class is read off the latent sample before the mask.
    torch.testing.assert_close(output.class_logits, vae.class_logits(plain), rtol=0, atol=0)


def test_target_carries_no_gradient_and_the_projection_learns_through_the_encoder():
    vae = make_vae([2, 2])
    output = vae(normal_tensor(6, 8), torch.tensor([0, 1] * 3))
    assert not output.target.requires_grad
    ClassMaskedELBO()(output, torch.tensor([0, 1] * 3)).backward()
    gradients = [parameter.grad for parameter in vae.projection.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("projection", ["fixed", "learned"])
def test_only_a_learned_projection_changes_in_training(projection):
    vae = make_vae([2, 2], projection=projection)
    before = copy.deepcopy(vae.state_dict())
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.01)
    labels = torch.tensor([0, 1] * 3)
    for _ in range(3):
        optimizer.zero_grad()
        ClassMaskedELBO()(vae(normal_tensor(6, 8), labels), labels).backward()
        optimizer.step()
    for name, value in vae.named_parameters():
        changed = not torch.equal(value, before[name])
        assert changed == (projection == "learned" or not name.startswith("projection")), name


def test_projection_is_one_sigmoid_layer_per_tap_side_by_side():
    vae = make_vae([2, 2], tap_widths=(3, 1, 4), n_units=2).double()
    X = normal_tensor(5, 8, dtype=torch.float64)
    taps = [X[:, :3], X[:, 3:4], X[:, 4:]]
    expected = [
        1 / (1 + torch.exp(-(tap @ layer.weight.T + layer.bias)))
        for tap, layer in zip(taps, vae.projection.layers, strict=True)
    ]
    with torch.no_grad():
        projected, _, _ = vae.encode(X)
    assert vae.projection.n_outputs == 6
    torch.testing.assert_close(projected, torch.cat(expected, dim=1), rtol=1e-12, atol=0)


def _loss_by_hand(output, labels, lam):
    """Reconstruction, KL and class loss, each a mean by plain loops."""
    target, reconstruction, mean, log_variance, logits = (
        part.detach().double().tolist() for part in output[:5]
    )
    squares = [
        (a - b) ** 2
        for t, r in zip(target, reconstruction, strict=True)
        for a, b in zip(t, r, strict=True)
    ]
    kl = []
    for i, (m, v) in enumerate(zip(mean, log_variance, strict=True)):
        for j in range(len(m)):
            if output.kept is None or output.kept[i, j] == 1:
                kl.append(0.5 * (m[j] ** 2 + math.exp(v[j]) - v[j] - 1))
    surprise = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        surprise.append(math.log(math.fsum(math.exp(a) for a in row)) - row[label])
    terms = [math.fsum(part) / len(part) for part in (squares, kl, surprise)]
    return terms, terms[0] + terms[1] + lam * terms[2]


@pytest.mark.parametrize("mask_in_training", [True, False])
@pytest.mark.parametrize("lam", [0.0, 0.005, 3.0])
def test_loss_equals_means_computed_by_hand(lam, mask_in_training):
    vae = make_vae([2, 1, 4], mask_in_training=mask_in_training).double()
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 2])
    output = vae(normal_tensor(7, 8, dtype=torch.float64), labels)
    criterion = ClassMaskedELBO(lam)
    loss = criterion(output, labels)
    (reconstruction, kl, class_loss), total = _loss_by_hand(output, labels, lam)
    assert loss.item() == pytest.approx(total, rel=1e-12)
    assert criterion.terms["reconstruction"].item() == pytest.approx(reconstruction, rel=1e-12)
    assert criterion.terms["kl"].item() == pytest.approx(kl, rel=1e-12)
    assert criterion.terms["class_loss"].item() == pytest.approx(class_loss, rel=1e-12)
    agreement = (output.class_logits.argmax(1) == labels).double().mean().item()
    assert criterion.terms["agreement"].item() == pytest.approx(agreement, rel=1e-6)


def test_loss_is_finite_when_every_latent_value_is_masked():
    """With a single class the mask covers the whole latent space: there is no KL to average."""
    vae = make_vae([3])
    labels = torch.zeros(4, dtype=torch.int64)
    criterion = ClassMaskedELBO()
    loss = criterion(vae(normal_tensor(4, 8), labels), labels)
    assert criterion.terms["kl"].item() == 0.0
    assert math.isfinite(loss.item())


def test_a_narrow_or_wide_posterior_stays_finite():
    """Log-variances are bounded, so that far-off rows cannot overflow the loss."""
    vae = make_vae([2, 2])
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        vae.encoder[-1].weight *= 1e4
        _, _, log_variance = vae.encode(normal_tensor(2, 8))
        output = vae(normal_tensor(2, 8), labels)
    assert log_variance.abs().max() <= 10
    assert isinstance(output, VAEOutput)
    assert math.isfinite(ClassMaskedELBO()(output, labels).item())
