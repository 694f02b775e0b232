"""How estimators show themselves, in a line and in a notebook."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

import skvaball.selectors
from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.networks import MLP, DeepClassifier
from skvaball.selectors import EntropySelector, MarginSelector
from skvaball.stopping import ExpectedError, LabelBudget, StablePredictions

pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
PARTLY = np.where(np.arange(40) < 20, y, -1)

# Those that wrap another strategy need one; SkactivemlSelector needs an extra.
WRAPPED = {"ClassBalancedSelector", "StochasticBatchSelector"}
QUICK = {
    "EnsembleSelector": {"n_members": 2, "bootstrap": True},
    "LearningLossSelector": {"max_epochs": 1},
    "VAALSelector": {"max_iter": 2},
}
SELECTORS = [
    getattr(skvaball.selectors, name)(
        **({"selector": EntropySelector()} if name in WRAPPED else QUICK.get(name, {}))
    )
    for name in skvaball.selectors.__all__
    if name not in ("QuerySelector", "SkactivemlSelector")
]
OTHERS = [
    VaBQuerySelector(),
    ActiveLearner(),
    ActiveLearningSimulator(),
    DeepClassifier(),
    LabelBudget(),
    StablePredictions(),
    ExpectedError(),
]


def assert_shown(estimator, *names, fitted):
    html = estimator._repr_html_()
    # What a reader sees: tags, styles and scripts are not part of it.
    seen = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", html, flags=re.S)
    for name in (type(estimator).__name__, *names):
        assert name in seen
    assert ("Not fitted" in seen) != fitted


def network():
    return NeuralNetClassifier(
        MLP,
        module__n_inputs=3,
        module__n_classes=2,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=1,
        verbose=0,
    )


@pytest.mark.parametrize("estimator", SELECTORS + OTHERS, ids=lambda e: type(e).__name__)
def test_default_parameters_fit_in_a_line(estimator):
    text = repr(estimator)
    assert "\n" not in text
    assert len(text) < 80
    assert_shown(estimator, fitted=False)


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda e: type(e).__name__)
def test_selectors_show_their_classifier_fitted_or_not(selector):
    needs_dropout = type(selector).__name__ == "MCDropoutSelector"
    estimator = LogisticRegression()
    if needs_dropout:
        estimator = DeepClassifier(max_epochs=1, module_params={"dropout": 0.5})
    selector = clone(selector)
    name = "selector__estimator" if "selector" in selector.get_params() else "estimator"
    selector.set_params(**{name: estimator})
    assert_shown(selector, type(estimator).__name__, fitted=False)
    selector.fit(X, PARTLY)
    assert_shown(selector, type(estimator).__name__, fitted=True)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (network(), "NeuralNetClassifier"),
        (DeepClassifier(max_epochs=1), "DeepClassifier"),
        (make_pipeline(StandardScaler(), DeepClassifier(max_epochs=1)), "StandardScaler"),
    ],
    ids=["skorch", "deep", "pipeline"],
)
def test_learners_and_simulators_show_nested_networks(estimator, name):
    selector = VaBQuerySelector(max_epochs=1, n_draws=2, n_units=4, hidden=(4,), block_size=2)
    learner = ActiveLearner(estimator, selector)
    names = (name, "VaBQuerySelector")
    assert_shown(learner, *names, fitted=False)
    learner.fit(X[:20], y[:20])
    assert_shown(learner, *names, fitted=True)
    learner.query(X[20:], 2)
    assert_shown(learner, *names, fitted=True)
    assert_shown(learner.selector_, name, fitted=True)
    simulator = ActiveLearningSimulator(learner, n_rounds=1, stopping=LabelBudget(20))
    assert_shown(simulator, "ActiveLearner", *names, fitted=False)
    assert_shown(simulator.fit(X, y), "ActiveLearner", *names, fitted=True)


def test_stopping_rules_show_what_they_are():
    rule = ExpectedError(selector=MarginSelector())
    assert_shown(rule, "MarginSelector", fitted=False)
