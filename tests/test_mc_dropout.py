"""Monte-Carlo dropout: masks, sub-networks, and a network that stays as it was."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import entr
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetClassifier
from torch import nn

from skvaball.networks import DeepClassifier, SmallResNet
from skvaball.selectors._mc_dropout import MCDropoutSelector, _Masks
from skvaball.utils.estimator_checks import parametrize_with_selector_checks
from skvaball.utils.loading import TensorLoader

NET = DeepClassifier(max_epochs=5, module_params={"dropout": 0.25})
MEASURES = ["bald", "entropy", "variation_ratio", "mean_std"]


def digits(n=150):
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    return X[:n], y[:n], X[n : n + 300], y[n : n + 300]


class OneUnit(nn.Module):
    """A network with one hidden unit, of which dropout leaves all or nothing."""

    def __init__(self, p=0.5):
        super().__init__()
        self.hidden = nn.Linear(1, 1)
        self.dropout = nn.Dropout(p)
        self.output = nn.Linear(1, 2)

    def forward(self, X):
        return self.output(self.dropout(self.hidden(X)))


class Convolutions(nn.Module):
    """Everything that behaves otherwise in training: batch norm, channel and value dropout."""

    def __init__(self, p=0.3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Dropout2d(p),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 64, 16),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(16, 10),
        )

    def forward(self, X):
        return self.layers(X)


def skorch_net(module, **params):
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=3,
        train_split=None,
        verbose=0,
        **params,
    )


@pytest.fixture(scope="module")
def convolutions():
    """A fitted skorch net for images, and its data."""
    X, y, pool, _ = digits()
    images = X.reshape(-1, 1, 8, 8) / 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = skorch_net(Convolutions).fit(images, y)
    return net, images, y, pool.reshape(-1, 1, 8, 8) / 16


# -- scikit-learn and the library ------------------------------------------------------------


@parametrize_with_checks([MCDropoutSelector(NET, n_passes=5)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([MCDropoutSelector(NET, n_passes=5)])
def test_selector_checks(selector, check):
    check(selector)


# -- scores ----------------------------------------------------------------------------------


def test_scores_are_those_of_the_two_sub_networks():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 1)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    # Without a DataLoader, which would take most of the time of the passes.
    net = skorch_net(OneUnit, iterator_valid=TensorLoader).fit(X, y)
    module = net.module_
    with torch.no_grad():
        module.hidden.weight.fill_(2.0)
        module.hidden.bias.fill_(0.0)
        module.output.weight[:] = torch.tensor([[1.5], [-1.0]])
        module.output.bias[:] = torch.tensor([-1.0, 1.0])
        hidden = module.hidden(torch.from_numpy(X))
        with_unit = module.output(2 * hidden).softmax(dim=1).double().numpy()
        without = module.output(0 * hidden).softmax(dim=1).double().numpy()
    n_passes = 2000
    selectors = [
        MCDropoutSelector(net, n_passes=n_passes, measure=measure, batch_size=40, random_state=0)
        for measure in MEASURES
    ]
    bald, entropy, ratio, std = (s.fit_pool(X, y, X).score_samples(X) for s in selectors)
    # The share of passes without the unit is 1/2 within 5 standard errors, 0.056. Entropy
    # and its mean change by less than that: the sub-networks differ by less than 1 nat.
    mean = (with_unit + without) / 2
    expected = entr(mean).sum(axis=1)
    np.testing.assert_allclose(entropy, expected, atol=0.06)
    information = expected - (entr(with_unit) + entr(without)).sum(axis=1) / 2
    np.testing.assert_allclose(bald, information, atol=0.06)
    assert information.max() > 0.3
    differ = with_unit.argmax(axis=1) != without.argmax(axis=1)
    np.testing.assert_allclose(ratio, 0.5 * differ, atol=0.06)
    np.testing.assert_allclose(std, np.abs(with_unit - without).mean(axis=1) / 2, atol=0.01)


def test_mean_prediction_is_that_of_masks_drawn_row_by_row(convolutions):
    net, X, y, pool = convolutions
    pool = pool[:20]
    n_passes = 400
    selector = MCDropoutSelector(
        net, n_passes=n_passes, measure="entropy", batch_size=20, random_state=0
    )
    ours = selector.fit_pool(X, y, pool).score_samples(pool)
    module = copy.deepcopy(net.module_).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        passes = torch.stack(
            [module(torch.from_numpy(pool)).softmax(dim=1) for _ in range(n_passes)]
        )
    theirs = entr(passes.double().numpy().mean(axis=0)).sum(axis=1)
    # Standard errors of a mean probability: at most 0.5 / sqrt(400) = 0.025.
    np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_disagreement_finds_mistakes():
    X, y, pool, labels = digits()
    net = DeepClassifier(max_epochs=30, module_params={"dropout": 0.25}, random_state=0).fit(X, y)
    selector = MCDropoutSelector(net, n_passes=30, random_state=0).fit_pool(X, y, pool)
    # Measured with three seeds: 0.79 to 0.87; chance is 0.5.
    assert selector.score(pool, labels) > 0.7


def test_each_seed_draws_other_masks():
    X, y, pool, _ = digits()
    net = clone(NET).set_params(random_state=0).fit(X, y)
    first, again, other = (
        MCDropoutSelector(net, n_passes=5, random_state=seed).fit_pool(X, y, pool)
        for seed in (0, 0, 1)
    )
    scores = first.score_samples(pool)
    np.testing.assert_array_equal(again.score_samples(pool), scores)
    assert np.abs(other.score_samples(pool) - scores).max() > 1e-3


def test_the_default_network_has_dropout():
    X, y, pool, _ = digits(60)
    selector = MCDropoutSelector(n_passes=5, random_state=0).fit_pool(X, y, pool)
    assert selector.dropout_layers_ == ("hidden.0.2", "hidden.1.2")
    assert selector.score_samples(pool).max() > 0


def test_a_resnet_drops_before_each_of_its_blocks():
    X, y, pool, _ = digits(60)
    images, pool = X.reshape(-1, 1, 8, 8), pool[:40].reshape(-1, 1, 8, 8)
    net = DeepClassifier(
        SmallResNet, module_params={"dropout": 0.25}, max_epochs=20, random_state=0
    ).fit(images, y)
    selector = MCDropoutSelector(net, n_passes=5, random_state=0).fit_pool(images, y, pool)
    assert selector.dropout_layers_ == tuple(f"layer{i}.0.dropout" for i in range(1, 5))
    assert selector.score_samples(pool).max() > 0.01


# -- one mask for all rows -------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES)
def test_the_score_of_a_row_does_not_depend_on_its_place(convolutions, measure):
    net, X, y, pool = convolutions
    selector = MCDropoutSelector(net, n_passes=10, measure=measure, random_state=0)
    scores = selector.fit_pool(X, y, pool).score_samples(pool)
    order = np.random.default_rng(0).permutation(len(pool))
    np.testing.assert_allclose(selector.score_samples(pool[order]), scores[order], atol=1e-7)
    np.testing.assert_allclose(selector.score_samples(pool[:1]), scores[:1], atol=1e-7)
    repeated = selector.score_samples(np.repeat(pool[:1], 200, axis=0))
    np.testing.assert_allclose(repeated, scores[0], atol=1e-7)


def test_the_batches_of_the_net_change_nothing(convolutions):
    net, X, y, pool = convolutions
    pool = pool[:40]
    small = copy.deepcopy(net).set_params(batch_size=7)
    scores = [
        MCDropoutSelector(n, n_passes=10, batch_size=size, random_state=0)
        .fit_pool(X, y, pool)
        .score_samples(pool)
        for n, size in ((net, 128), (small, 128), (net, 16))
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-6)
    np.testing.assert_allclose(scores[2], scores[0], atol=1e-6)


LAYERS = [
    (nn.Dropout(0.3), (5,)),
    (nn.Dropout(0.3), (4, 3, 3)),
    (nn.Dropout1d(0.4), (4, 6)),
    (nn.Dropout2d(0.4), (4, 3, 3)),
    (nn.Dropout3d(0.4), (4, 2, 2, 2)),
    (nn.AlphaDropout(0.2), (5,)),
    (nn.FeatureAlphaDropout(0.2), (4, 3, 3)),
    (nn.Dropout(1.0), (5,)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value))
def test_masks_have_the_moments_of_the_layer_in_training(layer, shape):
    X = torch.linspace(-1.0, 2.0, math.prod(shape)).reshape(1, *shape).repeat(2, *[1] * len(shape))
    masks = _Masks()
    n_draws = 4000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torch.stack([layer.train()(X[:1])[0] for _ in range(n_draws)])
    ours = []
    for seed in range(n_draws):
        masks.seed = seed
        masks.restart()
        both = masks.drop(layer, None, X)
        assert torch.equal(both[0], both[1])
        ours.append(both[0])
    ours = torch.stack(ours)
    # Five standard errors of a difference of means; values are below 5.
    tolerance = 5 * 2 * math.sqrt(2 / n_draws)
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.std(0), theirs.std(0), atol=tolerance, rtol=0)


@pytest.mark.parametrize("layer", [nn.Dropout1d(0.5), nn.Dropout2d(0.5), nn.Dropout3d(0.5)])
def test_channels_are_dropped_as_a_whole(layer):
    dimensions = {nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3}[type(layer)]
    X = torch.ones(3, 50, *[4] * dimensions)
    masks = _Masks()
    masks.restart()
    dropped = masks.drop(layer, None, X).flatten(2)
    assert torch.equal(dropped, dropped[:1, :, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


# -- the network stays as it was -------------------------------------------------------------


def test_scoring_leaves_the_network_as_it_was(convolutions):
    net, X, y, pool = convolutions
    module = net.module_
    module.train()
    module.layers[1].eval()  # a mixture, to be found again
    training = [layer.training for layer in module.modules()]
    weights = copy.deepcopy(module.state_dict())
    selector = MCDropoutSelector(net, n_passes=5, random_state=0).fit_pool(X, y, pool)
    training_before = [layer.training for layer in module.modules()]
    selector.score_samples(pool)
    assert training == training_before
    assert [layer.training for layer in module.modules()] == training
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert not _hooks(module)


def test_hooks_are_gone_after_an_error(convolutions, monkeypatch):
    net, X, y, pool = convolutions
    selector = MCDropoutSelector(net, n_passes=5, random_state=0).fit_pool(X, y, pool)
    net.module_.train()

    def fail(X):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(net, "predict_proba", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            selector.score_samples(pool)
    assert not _hooks(net.module_)
    assert all(layer.training for layer in net.module_.modules())


def _hooks(module):
    return [m for m in module.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_only_dropout_is_switched_on(convolutions):
    net, X, y, pool = convolutions
    still = copy.deepcopy(net)
    for layer in still.module_.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.p = 1e-12  # practically nothing is dropped: batch norm would show
    selector = MCDropoutSelector(still, n_passes=3, measure="entropy", random_state=0)
    scores = selector.fit_pool(X, y, pool).score_samples(pool)
    plain = entr(net.predict_proba(pool).astype(float)).sum(axis=1)
    np.testing.assert_allclose(scores, plain, atol=1e-5)


# -- what it needs ---------------------------------------------------------------------------


def test_steps_see_what_they_see_for_the_predictions_of_the_classifier():
    """Rows of float32 in double: their rounding would differ from that of the training."""
    seen = []

    class Recorder(StandardScaler):
        def transform(self, X, copy=None):
            seen.append(X.dtype)
            return super().transform(X, copy)

    rows = np.random.default_rng(0).normal(1e6, 1, (40, 4)).astype(np.float32)
    net = NeuralNetClassifier(
        nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)),
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        verbose=0,
    )
    pipeline = make_pipeline(Recorder(), net)
    selector = MCDropoutSelector(pipeline, random_state=0)
    selector.fit_pool(rows[:20], np.arange(20) % 2, rows[20:])
    seen.clear()
    selector.score_samples(rows)
    assert set(seen) == {np.dtype(np.float64)}


def test_compiled_networks_drop_out_too():
    """Torch passes over the hooks of what is compiled; all passes would be alike."""
    X, y, pool, _ = digits()
    scores = []
    for params in ({}, {"compile": True, "compile__backend": "eager"}):
        net = clone(NET).set_params(random_state=0).fit(X, y)
        raw = NeuralNetClassifier(
            net.net_.module_, criterion=nn.CrossEntropyLoss, verbose=0, **params
        )
        raw.initialize()
        raw.history.new_epoch()  # counts as fitted
        raw.predict_proba(X.astype(np.float32))  # without dropout: now it is compiled
        selector = MCDropoutSelector(raw, n_passes=5, random_state=0, classes=range(10))
        scores.append(selector.fit_pool(X, y, pool).score_samples(pool))
    assert scores[0].max() > 0.01
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_pipelines_are_opened():
    X, y, pool, _ = digits()
    pipeline = make_pipeline(StandardScaler(), clone(NET).set_params(random_state=0)).fit(X, y)
    inside = MCDropoutSelector(pipeline, n_passes=5, random_state=0).fit_pool(X, y, pool)
    scaler, net = pipeline[0], pipeline[1]
    outside = MCDropoutSelector(net, n_passes=5, random_state=0)
    outside.fit_pool(scaler.transform(X), y, scaler.transform(pool))
    np.testing.assert_allclose(
        inside.score_samples(pool), outside.score_samples(scaler.transform(pool)), atol=1e-6
    )


@pytest.mark.parametrize("params", [None, {"dropout": 0.0}])
def test_a_network_without_dropout_is_refused(params):
    X, y, pool, _ = digits(40)
    net = DeepClassifier(max_epochs=1, module_params=params)
    with pytest.raises(ValueError, match=r"MLP has none.*dropout"):
        MCDropoutSelector(net).fit_pool(X, y, pool)


def test_layers_that_drop_nothing_do_not_count():
    X = np.arange(10, dtype=np.float32)[:, None]
    y = np.arange(10) % 2
    with pytest.raises(ValueError, match="OneUnit has none"):
        MCDropoutSelector(skorch_net(OneUnit, module__p=0.0)).fit_pool(X, y, X)


def test_a_classifier_that_is_no_network_is_refused():
    X, y, pool, _ = digits(40)
    with pytest.raises(ValueError, match=r"LogisticRegression is none.*EnsembleSelector"):
        MCDropoutSelector(LogisticRegression(max_iter=1000)).fit_pool(X, y, pool)
