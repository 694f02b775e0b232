"""Strategies of scikit-activeml: the picks are those of the strategy used directly."""

import doctest
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.utils.data import TensorDataset

from skvaball.features import deep_features
from skvaball.networks import DeepClassifier
from skvaball.selectors import _skactiveml
from skvaball.selectors._skactiveml import SkactivemlSelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks

pytest.importorskip("skactiveml", reason="the adapter adapts scikit-activeml")

from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier
from skactiveml.pool import (
    Badge,
    ContrastiveAL,
    CoreSet,
    DiscriminativeAL,
    FourDs,
    MonteCarloEER,
    QueryByCommittee,
    Quire,
    SubSamplingWrapper,
    TypiClust,
    UncertaintySampling,
)
from skactiveml.pool.multiannotator import IntervalEstimationThreshold

N_LABELED = 60


@parametrize_with_checks(
    [
        SkactivemlSelector("UncertaintySampling"),
        SkactivemlSelector(UncertaintySampling(method="entropy"), LogisticRegression()),
        SkactivemlSelector(CoreSet, LogisticRegression()),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks(
    [
        SkactivemlSelector("UncertaintySampling"),
        SkactivemlSelector(Badge(), layers="penultimate"),
        SkactivemlSelector(TypiClust(), layers="penultimate"),
    ]
)
def test_selector_checks(selector, check):
    check(selector)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X, y = X[:400], y[:400]
    clf = LogisticRegression(max_iter=500, C=0.01).fit(X[:N_LABELED], y[:N_LABELED])
    return X, y, clf


def _partly(y):
    return np.where(np.arange(len(y)) < N_LABELED, y, np.nan)


def _ours(strategy, X, y, n, *args, **params):
    selector = SkactivemlSelector(strategy, *args, random_state=0, **params)
    selector.fit_pool(X[:N_LABELED], y[:N_LABELED], X[N_LABELED:])
    return selector.select(X[N_LABELED:], n, return_scores=True)


STRATEGIES = [
    UncertaintySampling(method="least_confident", random_state=1),
    UncertaintySampling(method="margin_sampling", random_state=1),
    UncertaintySampling(method="entropy", random_state=1),
    Badge(random_state=1),
    ContrastiveAL(random_state=1),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@pytest.mark.parametrize("names", [False, True], ids=["codes", "strings"])
def test_picks_with_a_classifier(strategy, names, digits):
    X, y, clf = digits
    labels = y
    if names:
        labels = np.array(["class " + "abcdefghij"[code] for code in y])
        clf = clone(clf).fit(X[:N_LABELED], labels[:N_LABELED])
    numbers = clone(clf).fit(X[:N_LABELED], y[:N_LABELED])
    theirs, utilities = clone(strategy).query(
        X,
        _partly(y),
        SklearnClassifier(numbers, classes=range(10)),
        fit_clf=False,
        batch_size=20,
        return_utilities=True,
    )
    positions, scores = _ours(strategy, X, labels, 20, clf)
    assert positions.dtype == np.int64
    np.testing.assert_array_equal(positions, np.array(theirs) - N_LABELED)
    np.testing.assert_allclose(scores, utilities[0, N_LABELED:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strategy", [CoreSet(random_state=1), TypiClust(random_state=1)], ids=repr)
def test_picks_without_a_classifier(strategy, digits):
    X, y, clf = digits
    # Clustering draws from the global generator, which ours leaves alone.
    strategy = clone(strategy)
    if isinstance(strategy, TypiClust):
        strategy.set_params(cluster_algo_dict={"random_state": 0})
    theirs = clone(strategy).query(X, _partly(y), batch_size=20)
    positions, _ = _ours(strategy, X, y, 20, clf)
    np.testing.assert_array_equal(positions, theirs - N_LABELED)


def test_features_in_place_of_rows(digits):
    X, y, _ = digits
    net = DeepClassifier(max_epochs=3, random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    (features,) = deep_features(net, X, layers="penultimate")
    theirs = CoreSet(random_state=1).query(features, _partly(y), batch_size=20)
    positions, _ = _ours(CoreSet(random_state=1), X, y, 20, net, layers="penultimate")
    np.testing.assert_array_equal(positions, theirs - N_LABELED)


def test_features_as_embeddings(digits):
    X, y, _ = digits
    net = DeepClassifier(max_epochs=3, random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    (features,) = deep_features(net, X[N_LABELED:], layers="penultimate")
    probabilities = net.predict_proba(X[N_LABELED:])
    residuals = probabilities - np.eye(10)[probabilities.argmax(axis=1)]
    norms = np.linalg.norm(residuals, axis=1) * np.linalg.norm(features, axis=1)
    positions, scores = _ours(Badge(random_state=1), X, y, 20, net, layers="penultimate")
    assert positions[0] == norms.argmax()
    np.testing.assert_allclose(scores, norms**2 / (norms**2).sum(), rtol=1e-4)


@pytest.mark.parametrize("form", ["UncertaintySampling", UncertaintySampling])
def test_a_name_or_a_class_is_as_good_as_an_instance(form, digits):
    X, y, clf = digits
    expected, _ = _ours(UncertaintySampling(), X, y, 20, clf)
    np.testing.assert_array_equal(_ours(form, X, y, 20, clf)[0], expected)


def test_the_strategy_is_left_as_it_is(digits):
    X, y, clf = digits
    strategy = UncertaintySampling(missing_label=-1)
    before = strategy.get_params()
    _ours(strategy, X, y, 5, clf)
    assert strategy.get_params() == before
    assert not hasattr(strategy, "n_features_in_")


def test_scores_of_a_row_by_itself(digits):
    X, y, clf = digits
    selector = SkactivemlSelector("UncertaintySampling", clf).fit_pool(X[:N_LABELED], y[:N_LABELED])
    together = selector.score_samples(X)
    alone = np.concatenate([selector.score_samples(X[i : i + 1]) for i in range(30)])
    np.testing.assert_allclose(together[:30], alone, rtol=1e-9)


def test_a_dataset_and_a_whole_pool(digits):
    X, y, clf = digits
    expected, _ = _ours("UncertaintySampling", X, y, 340, clf)
    assert sorted(expected) == list(range(340))
    selector = SkactivemlSelector("UncertaintySampling", clf)
    pool = TensorDataset(torch.from_numpy(X[N_LABELED:]))
    positions, _ = selector.fit_select(X[:N_LABELED], y[:N_LABELED], pool, 20)
    np.testing.assert_array_equal(positions, expected[:20])


@pytest.mark.parametrize("name", ["Badge", "ContrastiveAL", "DropQuery", "Clue"])
def test_strategies_that_ask_for_embeddings(name, digits):
    X, y, _ = digits
    net = DeepClassifier(max_epochs=1, random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    positions, scores = _ours(name, X, y, 5, net, layers="penultimate")
    assert len(set(positions)) == 5
    assert np.isfinite(scores).all()


def test_a_row_that_is_picked_twice_counts_once(digits):
    X, y, clf = digits
    same = np.concatenate([X[:N_LABELED], np.repeat(X[N_LABELED : N_LABELED + 3], 5, axis=0)])
    for seed in range(5):
        positions, _ = _ours(Badge(random_state=seed), same, y, 15, clf)
        assert sorted(positions) == list(range(15))


def test_data_frames_for_a_pipeline_that_names_columns(digits):
    _, y, _ = digits
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((100, 3)), columns=["a", "b", "c"])
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), ["a", "b"]), ("passthrough", ["c"])),
        RandomForestClassifier(5, random_state=0),
    ).fit(X[:N_LABELED], y[:N_LABELED])
    for strategy in ("UncertaintySampling", "QueryByCommittee", "CoreSet"):
        positions, _ = _ours(strategy, X, y, 5, pipeline)
        assert len(set(positions)) == 5
    for strategy in ("Badge", "CoreSet"):
        positions, _ = _ours(strategy, X, y, 5, pipeline, layers="penultimate")
        assert len(set(positions)) == 5


def test_members_behind_a_step_with_sparse_output(digits):
    _, y, _ = digits
    X = np.random.default_rng(0).standard_normal((100, 3))
    steps = make_pipeline(KBinsDiscretizer(3), RandomForestClassifier(5, random_state=0))
    assert len(_ours("QueryByCommittee", X, y, 5, steps)[0]) == 5


@pytest.mark.parametrize("strategy", ["DiscriminativeAL", "MonteCarloEER"])
def test_frozen_estimators_are_refused_where_clones_are_trained(strategy, digits):
    X, y, clf = digits
    with pytest.raises(ValueError, match=f"{strategy} trains clones .* FrozenEstimator"):
        _ours(strategy, X, y, 5, FrozenEstimator(clf))
    assert len(_ours("UncertaintySampling", X, y, 5, FrozenEstimator(clf))[0]) == 5


def test_tables_of_pyarrow(digits):
    _, y, _ = digits
    X = np.random.default_rng(0).standard_normal((100, 3))
    frame, table = (
        pd.DataFrame(X, columns=list("abc")),
        pa.table(dict(zip("abc", X.T, strict=True))),
    )
    found = [
        SkactivemlSelector("UncertaintySampling", LogisticRegression(), random_state=0)
        .fit_pool(rows[:N_LABELED], y[:N_LABELED], rows[N_LABELED:])
        .select(rows[N_LABELED:], 5)
        for rows in (frame, table)
    ]
    np.testing.assert_array_equal(*found)


# -- what strategies need --------------------------------------------------------------------


@pytest.mark.parametrize(
    "ensemble",
    [
        RandomForestClassifier(5, random_state=0),
        BaggingClassifier(GaussianNB(), 5, max_features=0.5, random_state=0),
        VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression(max_iter=500))]),
    ],
    ids=lambda ensemble: type(ensemble).__name__,
)
def test_a_committee_of_the_members_of_an_ensemble(ensemble, digits):
    X, y, _ = digits
    names = np.array(list("ZYXWVUTSRQ"))[y]  # codes that are not the digits
    ensemble = clone(ensemble).fit(X[:N_LABELED], names[:N_LABELED])
    strategy = QueryByCommittee(method="vote_entropy", random_state=0)
    _, scores = _ours(strategy, X, names, 5, ensemble)
    features = getattr(ensemble, "estimators_features_", [slice(None)] * 5)
    votes = [
        member.predict_proba(X[N_LABELED:][:, columns]).argmax(axis=1)
        for member, columns in zip(ensemble.estimators_, features, strict=False)
    ]
    shares = np.array([np.mean(np.array(votes) == k, axis=0) for k in range(10)])
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=0)
    np.testing.assert_allclose(scores, entropy, atol=1e-9)


def test_a_strategy_that_tries_out_labels(digits):
    X, y, _ = digits
    rows = np.r_[0:12, 100:106]
    X, y = X[rows], y[rows] % 2
    clf = GaussianNB().fit(X[:12], y[:12])
    selector = SkactivemlSelector(MonteCarloEER(random_state=0), clf)
    positions, scores = selector.fit_pool(X[:12], y[:12]).select(X[12:], 3, return_scores=True)
    wrapped = SklearnClassifier(GaussianNB(), classes=[0, 1])
    partly = np.where(np.arange(18) < 12, y, np.nan)
    theirs, utilities = MonteCarloEER(random_state=0).query(
        X, partly, wrapped, batch_size=3, return_utilities=True, ignore_partial_fit=True
    )
    np.testing.assert_allclose(scores, utilities[0, 12:], rtol=1e-6)
    np.testing.assert_array_equal(positions, theirs - 12)


def test_a_discriminator(digits):
    X, y, clf = digits
    strategy = DiscriminativeAL(greedy_selection=True, random_state=0)
    clf = clone(clf).set_params(random_state=0).fit(X[:N_LABELED], y[:N_LABELED])
    theirs = strategy.query(X, _partly(y), SklearnClassifier(clone(clf)), batch_size=10)
    positions, _ = _ours(strategy, X, y, 10, clf)
    np.testing.assert_array_equal(positions, theirs - N_LABELED)


def test_classes_are_set(digits):
    X, y, clf = digits
    for strategy in (Quire, Quire(classes=[3, 4])):
        positions, _ = _ours(strategy, X[:100], y[:100], 3, clf)
        assert len(set(positions)) == 3


def test_a_wrapper_passes_on_what_the_strategy_inside_needs(digits):
    X, y, clf = digits
    strategy = SubSamplingWrapper(UncertaintySampling(), max_candidates=50, random_state=0)
    positions, scores = _ours(strategy, X, y, 5, clf)
    assert len(set(positions)) == 5
    # Rows that were not in the sample have no utility: they get the smallest.
    assert np.isfinite(scores).all()
    assert np.sum(scores == scores.min()) >= 290


def test_query_params_take_precedence(digits):
    X, y, clf = digits
    parzen = ParzenWindowClassifier(classes=range(10), random_state=0)
    positions, _ = _ours(
        UncertaintySampling(random_state=0), X, y, 10, clf, query_params={"clf": parzen}
    )
    theirs = UncertaintySampling(random_state=0).query(X, _partly(y), parzen, batch_size=10)
    np.testing.assert_array_equal(positions, theirs - N_LABELED)


# -- errors ----------------------------------------------------------------------------------


def test_the_error_without_scikit_activeml_says_what_to_install(monkeypatch, digits):
    X, y, clf = digits
    monkeypatch.setitem(sys.modules, "skactiveml", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[skactiveml\]"'):
        _ours("UncertaintySampling", X, y, 5, clf)


@pytest.mark.parametrize(
    ("strategy", "error", "message"),
    [
        ("CoreSets", ValueError, "not in skactiveml.pool; expected one of: .*CoreSet"),
        ("GreedySamplingTarget", ValueError, r"needs 'reg'.*query_params=\{'reg'"),
        ("QueryByCommittee", ValueError, "needs an ensemble, which LogisticRegression is not"),
        (IntervalEstimationThreshold(), TypeError, "for a single annotator"),
        (FourDs(), TypeError, "FourDs refuses what it is given.*MixtureModelClassifier"),
    ],
)
def test_errors_say_what_is_missing(strategy, error, message, digits):
    X, y, clf = digits
    with pytest.raises(error, match=message):
        _ours(strategy, X, y, 5, clf)


def test_a_classifier_without_probabilities_is_an_error(digits):
    X, y, _ = digits
    clf = Perceptron().fit(X[:N_LABELED], y[:N_LABELED])
    with pytest.raises(ValueError, match=r"predict_proba, which Perceptron does not have"):
        _ours("UncertaintySampling", X, y, 5, clf)
    assert len(_ours("CoreSet", X, y, 5, clf)[0]) == 5


def test_layers_for_a_strategy_that_has_no_use_for_them_is_an_error(digits):
    X, y, clf = digits
    with pytest.raises(ValueError, match=r"UncertaintySampling needs a classifier of the rows"):
        _ours("UncertaintySampling", X, y, 5, clf, layers="penultimate")


def test_examples_of_the_docstring():
    # They are skipped where scikit-activeml may be missing, but not here.
    source = SkactivemlSelector.__doc__.replace("# doctest: +SKIP", "")
    parsed = doctest.DocTestParser().get_doctest(source, vars(_skactiveml).copy(), "", None, None)
    assert doctest.DocTestRunner().run(parsed).failed == 0
    assert len(parsed.examples) > 4
