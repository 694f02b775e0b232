"""Fits that are interrupted or fail."""

import contextlib
import signal
import threading

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping

from skvaball import ActiveLearner
from skvaball.networks import MLP, DeepClassifier
from skvaball.selectors import RandomSelector
from skvaball.utils.state import interruptible, unchanged_on_error
from skvaball.vab import VaBQuerySelector

X, y = load_digits(return_X_y=True)
X = (X[:100] / 16).astype(np.float32)
y = y[:100]


class InterruptedMLP(MLP):
    """A network during whose n-th step somebody presses Ctrl-C."""

    steps = 0

    def forward(self, x):
        if self.training:
            type(self).steps += 1
            if type(self).steps == 3:
                signal.raise_signal(signal.SIGINT)
        return super().forward(x)


@pytest.fixture(autouse=True)
def handler():
    """Python's own, also where the tests run in the background and the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupted(monkeypatch):
    monkeypatch.setattr(InterruptedMLP, "steps", 0)
    return DeepClassifier(InterruptedMLP, max_epochs=5)


def test_an_interrupted_training_is_no_fit(interrupted):
    """skorch takes Ctrl-C as the end of the training, as if it were complete."""
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, y)
    assert not hasattr(interrupted, "net_")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_learner_whose_teaching_is_interrupted_is_as_it_was(interrupted):
    learner = ActiveLearner(interrupted, RandomSelector(), random_state=0)
    InterruptedMLP.steps = 3
    learner.fit(X[:50], y[:50])
    expected = learner.predict_proba(X)
    InterruptedMLP.steps = 0
    with pytest.raises(KeyboardInterrupt):
        learner.teach(X[50:], y[50:])
    np.testing.assert_array_equal(learner.predict_proba(X), expected)
    assert len(learner.y_labeled_) == 50


class PressCtrlC(Callback):
    def on_epoch_begin(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


def test_the_training_of_a_net_of_the_users_is_interrupted_too():
    net = NeuralNetClassifier(
        torch.nn.Linear(64, 10),
        criterion=torch.nn.CrossEntropyLoss,
        callbacks=[PressCtrlC()],
        verbose=0,
    )
    with pytest.raises(KeyboardInterrupt):
        ActiveLearner(net, RandomSelector()).fit(X, y)


def test_early_stopping_is_no_interrupt():
    """skorch's raises the same exception to end the training."""
    stop = EarlyStopping("train_loss", patience=1, threshold=1e9)
    net = NeuralNetClassifier(
        MLP(64, 10),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=50,
        train_split=None,
        callbacks=[stop],
        verbose=0,
    )
    learner = ActiveLearner(net, RandomSelector()).fit(X, y)
    assert len(learner.estimator_.history) < 50


def test_the_training_of_the_autoencoder_is_interrupted_too(monkeypatch):
    from skvaball.vab import selector

    def terms():
        return [("pressed", PressCtrlC())]

    monkeypatch.setattr(selector, "_loss_terms", terms)
    with pytest.raises(KeyboardInterrupt):
        VaBQuerySelector(LogisticRegression(max_iter=500)).fit(X, y)


def test_an_interrupt_counts_more_than_an_error_after_it():
    """As where a search reports that all its fits have failed."""

    def fail():
        with interruptible():
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise RuntimeError("all fits failed")

    with pytest.raises(KeyboardInterrupt):
        fail()


def test_handlers_of_the_users_decide_themselves():
    """One that does not raise has asked for no end; one that ignores the signal neither."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *args: pressed.append(args))
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
        assert len(pressed) == 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_may_train():
    results = []

    def train():
        with interruptible():
            results.append(1)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert results == [1]


def test_an_estimator_has_its_attributes_back():
    estimator = LogisticRegression()
    estimator.kept_ = 1

    def fail():
        with unchanged_on_error(estimator):
            estimator.kept_, estimator.new_ = 2, 3
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert estimator.kept_ == 1
    assert not hasattr(estimator, "new_")
