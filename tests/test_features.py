"""Deep features: what the taps read equals a forward pass by hand, and leaves no trace."""

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset

from skvaball import ActiveLearner, VaBQuerySelector
from skvaball import features as features_module
from skvaball.features import FeatureReader, deep_features, record_layers
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    BADGESelector,
    ClassBalancedSelector,
    CoreSetSelector,
    LearningLossSelector,
    VAALSelector,
)
from skvaball.utils.classifiers import ClassifierView

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 6)).astype(np.float32)
IMAGES = RNG.normal(size=(20, 2, 6, 6)).astype(np.float32)
LABELS = np.arange(30) % 3


class Vectors(nn.Module):
    """Two hidden layers; batch norm and dropout behave differently while training."""

    def __init__(self, n_inputs=6, inplace=False):
        super().__init__()
        self.first = nn.Linear(n_inputs, 8)
        self.act = nn.ReLU(inplace=inplace)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(8, 5)
        self.out = nn.Linear(5, 3)

    def forward(self, X):
        hidden = self.drop(self.norm(self.act(self.first(X))))
        return self.out(torch.tanh(self.second(hidden)))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 3)

    def forward(self, X):
        return self.out(torch.relu(self.norm(self.conv(X))).amax(dim=(2, 3)))


class Tokens(nn.Module):
    """Rows of six values are read as three tokens of two channels."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, 4)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.out = nn.Linear(5, 3)

    def forward(self, X):
        sequence, _ = self.lstm(self.embed(X.reshape(len(X), 3, 2)))
        return self.out(sequence[:, -1])


def train(module, X=ROWS, y=None, **params):
    settings = {
        "criterion": nn.CrossEntropyLoss,
        "train_split": None,
        "max_epochs": 2,
        "verbose": 0,
    }
    torch.manual_seed(0)
    net = NeuralNetClassifier(module, **{**settings, **params})
    return net.fit(X, LABELS[: len(X)] if y is None else y)


def forward(layer, X):
    """What a layer in evaluation mode says, as an array."""
    with torch.no_grad():
        return layer(torch.as_tensor(X)).numpy()


@pytest.fixture(scope="module")
def vectors():
    return train(Vectors)


@pytest.fixture(scope="module")
def images():
    return train(Images, IMAGES)


# What the taps read


def test_default_tap_is_the_input_of_the_last_weighted_layer(vectors):
    [features] = deep_features(vectors, ROWS)
    module = vectors.module_.eval()
    hidden = forward(nn.Sequential(module.first, module.act, module.norm, module.second), ROWS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.tanh(hidden), rtol=1e-4, atol=1e-6)


def test_named_layers_give_their_outputs_in_the_order_of_the_names(vectors):
    second, first = deep_features(vectors, ROWS, layers=["second", "first"])
    module = vectors.module_.eval()
    np.testing.assert_allclose(first, forward(module.first, ROWS), rtol=1e-4, atol=1e-6)
    expected = forward(nn.Sequential(module.first, module.act, module.norm, module.second), ROWS)
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-6)


def test_a_single_name_may_be_a_string(vectors):
    [features] = deep_features(vectors, ROWS, layers="first")
    np.testing.assert_array_equal(features, deep_features(vectors, ROWS, layers=["first"])[0])


def test_maps_are_averaged_over_their_positions(images):
    [features] = deep_features(images, IMAGES, layers=["norm"])
    module = images.module_.eval()
    maps = forward(nn.Sequential(module.conv, module.norm), IMAGES)
    assert maps.shape == (20, 4, 4, 4)
    np.testing.assert_allclose(features, maps.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)


def test_volumes_are_averaged_over_their_positions():
    class Volumes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 4, 2)
            self.out = nn.Linear(4, 3)

        def forward(self, X):
            return self.out(self.conv(X).mean(dim=(2, 3, 4)))

    X = RNG.normal(size=(9, 1, 3, 4, 5)).astype(np.float32)
    net = train(Volumes, X)
    [features] = deep_features(net, X, layers=["conv"])
    expected = forward(net.module_.conv, X).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)
    # Which is what the last layer reads here.
    np.testing.assert_allclose(deep_features(net, X)[0], expected, rtol=1e-4, atol=1e-6)


def test_tokens_are_averaged_and_of_a_tuple_the_first_output_counts():
    net = train(Tokens)
    embedded, sequence = deep_features(net, ROWS, layers=["embed", "lstm"])
    module = net.module_.eval()
    tokens = forward(module.embed, ROWS.reshape(30, 3, 2))
    np.testing.assert_allclose(embedded, tokens.mean(axis=1), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        outputs, _ = module.lstm(torch.as_tensor(tokens))
    np.testing.assert_allclose(sequence, outputs.numpy().mean(axis=1), rtol=1e-4, atol=1e-6)


def test_one_value_per_row_is_one_feature():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = nn.Linear(6, 1)
            self.squeeze = nn.Flatten(0)
            self.out = nn.Linear(1, 3)

        def forward(self, X):
            return self.out(self.squeeze(self.score(X))[:, None])

    net = train(Gate)
    [features] = deep_features(net, ROWS, layers=["squeeze"])
    np.testing.assert_allclose(features, forward(net.module_.score, ROWS), rtol=1e-4, atol=1e-6)


def test_layers_that_the_module_declares_are_tapped_by_default():
    class Declared(Vectors):
        feature_layers = ("first", "second")

    net = train(Declared)
    [features] = deep_features(net, ROWS, layers="penultimate")
    expected = forward(net.module_.second, deep_features(net, ROWS, layers=["norm"])[0])
    np.testing.assert_allclose(features, np.tanh(expected), rtol=1e-4, atol=1e-6)
    assert [part.shape[1] for part in deep_features(net, ROWS)] == [8, 5]
    assert [part.shape[1] for part in deep_features(net, ROWS, layers=["out"])] == [3]


def test_the_stages_of_a_resnet_are_tapped_by_default():
    class Stages(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Linear(6, 7)
            self.layer2 = nn.Linear(7, 4)
            self.layer3 = nn.Linear(4, 5)
            self.layer4 = nn.Linear(5, 2)
            self.fc = nn.Linear(2, 3)

        def forward(self, X):
            return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(X)))))

    assert [part.shape[1] for part in deep_features(train(Stages), ROWS)] == [7, 4, 5, 2]


def test_a_layer_that_changes_its_input_in_place_does_not_change_the_features():
    net = train(lambda: Vectors(inplace=True))
    [features] = deep_features(net, ROWS, layers=["first"])
    np.testing.assert_allclose(features, forward(net.module_.first, ROWS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net_batch_size", [4, 7, 128])
def test_a_layer_that_runs_twice_keeps_features_and_rows_together(net_batch_size):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(6, 6)
            self.out = nn.Linear(6, 3)

        def forward(self, X):
            return self.out(torch.tanh(self.step(torch.tanh(self.step(X)))))

    net = train(Twice, batch_size=net_batch_size)
    [features] = deep_features(net, ROWS, layers=["step"], batch_size=16)
    once = forward(net.module_.step, ROWS)
    twice = forward(net.module_.step, np.tanh(once))
    # Which of its outputs counts is open; that each row has its own is not.
    assert any(np.allclose(features, output, rtol=1e-4, atol=1e-5) for output in (once, twice))


def test_features_of_deep_classifier_are_those_of_standardized_rows():
    clf = DeepClassifier(max_epochs=2, random_state=0).fit(10 * ROWS + 5, LABELS)
    features = deep_features(clf, 10 * ROWS + 5)
    module, X = clf.net_.module_.eval(), (10 * ROWS + 5 - clf.mean_) / clf.scale_
    for part in features:
        assert part.shape == (30, 128)
    first = forward(module.hidden[0], X)
    np.testing.assert_allclose(features[0], first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features[1], forward(module.hidden[1], first), rtol=1e-4, atol=1e-5)


# Classifiers that are no networks


def test_a_classifier_that_is_no_network_gives_its_input():
    clf = LogisticRegression().fit(ROWS, LABELS)
    for X in (ROWS, sp.csr_matrix(ROWS), ROWS.tolist(), TensorDataset(torch.as_tensor(ROWS))):
        [features] = deep_features(clf, X)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, ROWS)
    np.testing.assert_array_equal(deep_features(clf, ROWS, layers="penultimate")[0], ROWS)


def test_a_pipeline_gives_what_its_classifier_is_given():
    model = make_pipeline(StandardScaler(), PCA(3), LogisticRegression()).fit(ROWS, LABELS)
    [features] = deep_features(model, ROWS)
    np.testing.assert_allclose(features, model[:-1].transform(ROWS), rtol=1e-5)


@pytest.mark.parametrize("layers", [["first"], "first"])
def test_layers_of_a_classifier_that_is_no_network_are_an_error(layers):
    clf = LogisticRegression().fit(ROWS, LABELS)
    with pytest.raises(ValueError, match=r"layers=\['first'\].*not a network"):
        deep_features(clf, ROWS, layers=layers)


# Whatever is around the network


@pytest.mark.parametrize(
    "wrap",
    [
        FrozenEstimator,
        lambda net: make_pipeline("passthrough", net),
        lambda net: FrozenEstimator(make_pipeline(FrozenEstimator(net))),
        lambda net: ActiveLearner(FrozenEstimator(net)).fit(ROWS, LABELS),
    ],
)
def test_wrappers_do_not_change_the_features(vectors, wrap):
    [features] = deep_features(wrap(vectors), ROWS)
    np.testing.assert_array_equal(features, deep_features(vectors, ROWS)[0])


def test_the_best_net_of_a_search_is_read():
    search = GridSearchCV(DeepClassifier(max_epochs=1, random_state=0), {"lr": [0.1]}, cv=2)
    search.fit(ROWS, LABELS)
    expected = deep_features(search.best_estimator_, ROWS)
    for part, other in zip(deep_features(search, ROWS), expected, strict=True):
        np.testing.assert_array_equal(part, other)


def test_transformers_in_front_of_a_net_are_applied():
    net = train(lambda: Vectors(4), ROWS[:, :4])
    pca = PCA(4).fit(ROWS.astype(np.float64))
    model = make_pipeline(FrozenEstimator(pca), FrozenEstimator(net)).fit(ROWS, LABELS)
    [features] = deep_features(model, ROWS)
    np.testing.assert_array_equal(
        features, deep_features(net, pca.transform(ROWS.astype(np.float64)))[0]
    )


def test_a_dataset_has_the_features_of_its_array(images):
    [expected] = deep_features(images, IMAGES)
    tensors = torch.as_tensor(IMAGES)
    for pool in (TensorDataset(tensors), TensorDataset(tensors, torch.zeros(20))):
        np.testing.assert_array_equal(deep_features(images, pool)[0], expected)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8])
def test_other_dtypes_are_converted(vectors, dtype):
    X = np.abs(100 * ROWS).astype(dtype)
    [features] = deep_features(vectors, X)
    np.testing.assert_array_equal(features, deep_features(vectors, X.astype(np.float32))[0])


# A row alone, or among others


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_a_row_has_the_same_features_in_any_batch_and_order(images, batch_size):
    layers = ["norm", "out"]
    view = ClassifierView(images, np.arange(3))
    reader = FeatureReader(view, layers, batch_size)
    whole = reader.read(IMAGES)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(reader.read(IMAGES[order]).values, whole.values[order])
    np.testing.assert_array_equal(reader.read(IMAGES[4:5]).values, whole.values[4:5])


def test_features_come_side_by_side_with_their_widths_and_predictions(vectors):
    view = ClassifierView(vectors, np.arange(3))
    features = FeatureReader(view, ["first", "second"], 8).read(ROWS)
    assert features.widths == [8, 5]
    assert features.values.shape == (30, 13)
    assert features.codes.dtype == np.int64
    np.testing.assert_array_equal(features.codes, vectors.predict(ROWS))
    parts = deep_features(vectors, ROWS, ["first", "second"], batch_size=8)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), features.values)


def test_codes_are_positions_in_all_classes():
    y = np.array(["b", "c", "e"])[LABELS]
    clf = DeepClassifier(max_epochs=2, random_state=0).fit(ROWS, y)
    classes = np.array(["a", "b", "c", "d", "e"])
    features = FeatureReader(ClassifierView(clf, classes), None).read(ROWS)
    np.testing.assert_array_equal(classes[features.codes], clf.predict(ROWS))


# No trace


def n_hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_reading_leaves_net_and_generators_as_they_were(vectors):
    before = copy.deepcopy(vectors.module_.state_dict())
    torch_state = torch.get_rng_state()
    deep_features(vectors, ROWS)
    deep_features(vectors, TensorDataset(torch.as_tensor(ROWS)), layers=["norm"])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert n_hooks(vectors.module_) == 0
    for name, value in vectors.module_.state_dict().items():
        assert torch.equal(value, before[name])


def test_hooks_are_removed_when_an_error_ends_the_block(vectors):
    def fail():
        with record_layers(vectors.module_, ("first",)):
            assert n_hooks(vectors.module_) > 0
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert n_hooks(vectors.module_) == 0


def test_hooks_are_removed_when_the_forward_pass_fails(vectors):
    for layers in (None, ["second"]):
        reader = FeatureReader(ClassifierView(vectors, np.arange(3)), layers)
        with pytest.raises(RuntimeError, match="shape"):
            reader.read(ROWS[:, :2])
        assert n_hooks(vectors.module_) == 0


def test_hooks_of_the_user_stay(vectors):
    calls = []
    handle = vectors.module_.first.register_forward_hook(lambda *args: calls.append(1))
    try:
        deep_features(vectors, ROWS, layers=["first"])
        assert calls
        assert n_hooks(vectors.module_) == 1
    finally:
        handle.remove()


# Errors


def test_an_unknown_layer_is_an_error_that_lists_the_names(vectors):
    with pytest.raises(ValueError, match="no layer") as error:
        deep_features(vectors, ROWS, layers=["first", "third"])
    assert "third" in str(error.value)
    for name in ("first", "act", "norm", "second", "out"):
        assert name in str(error.value).split("expected one of:")[1]


def test_an_empty_list_of_layers_is_an_error(vectors):
    with pytest.raises(ValueError, match="expected one of"):
        deep_features(vectors, ROWS, layers=[])


def test_a_layer_that_did_not_run_is_an_error():
    class Spare(Vectors):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(2, 2)

    with pytest.raises(ValueError, match=r"spare.*did not run"):
        deep_features(train(Spare), ROWS, layers=["spare"])


def test_a_functional_head_demands_layers():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 4)
            self.head = nn.Parameter(torch.randn(4, 3))

        def forward(self, X):
            return torch.relu(self.body(X)) @ self.head

    net = train(Functional)
    with pytest.raises(ValueError, match=r"layers=\["):
        deep_features(net, ROWS)
    assert n_hooks(net.module_) == 0
    [features] = deep_features(net, ROWS, layers=["body"])
    np.testing.assert_allclose(features, forward(net.module_.body, ROWS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("estimator", ["net", "DeepClassifier", "LogisticRegression"])
def test_no_rows_are_an_error(vectors, estimator):
    fitted = {
        "net": vectors,
        "DeepClassifier": DeepClassifier(max_epochs=1).fit(ROWS, LABELS),
        "LogisticRegression": LogisticRegression().fit(ROWS, LABELS),
    }[estimator]
    with pytest.raises(ValueError, match=r"n_samples ?= ?0|0 sample"):
        deep_features(fitted, ROWS[:0])


def test_features_that_are_not_finite_are_an_error():
    class Overflows(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Linear(6, 4)
            self.log = nn.Identity()
            self.out = nn.Linear(4, 3)

        def forward(self, X):
            hidden = self.wide(X)
            self.log(hidden / 0)
            return self.out(hidden)

    with pytest.raises(ValueError, match="NaN or infinity"):
        deep_features(train(Overflows), ROWS, layers=["log"])


class Counted(StandardScaler):
    """Counts how often rows go through it."""

    calls = 0

    def transform(self, X, copy=None):
        type(self).calls += len(X)
        return super().transform(X, copy)


@pytest.mark.parametrize(
    "selector",
    [kind(random_state=0) for kind in (CoreSetSelector, BADGESelector, LearningLossSelector)],
    ids=lambda selector: type(selector).__name__,
)
def test_strategies_that_read_features_alone_do_not_ask_for_predictions(selector, monkeypatch):
    """With a forest or neighbors that would be most of the query."""
    clf = LogisticRegression().fit(ROWS, LABELS)
    expected = selector.set_params(estimator=clf).fit_select(ROWS, LABELS, ROWS, 5)[0]
    monkeypatch.setattr(LogisticRegression, "predict", lambda *_: pytest.fail("was asked"))
    chosen = selector.fit_select(ROWS, LABELS, ROWS, 5)[0]
    np.testing.assert_array_equal(chosen, expected)


def test_predictions_that_are_not_asked_for_are_not_made_up():
    view = ClassifierView(LogisticRegression().fit(ROWS, LABELS), np.arange(3))
    features = FeatureReader(view, predictions=None).read(ROWS)
    assert (features.codes == -1).all()
    assert features.probabilities.shape == (len(ROWS), 3)
    assert (features.probabilities == 0).all()


def test_one_dimensional_convolutions_are_averaged_over_positions():
    """Their outputs are (n, channels, positions), those of a transformer (n, tokens, channels)."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv1d(1, 7, 3), nn.BatchNorm1d(7)
            self.output = nn.Linear(7, 3)

        def forward(self, X):
            return self.output(self.norm(self.conv(X[:, None])).mean(dim=2))

    module = Net().eval()
    rows = torch.randn(5, 12)
    with record_layers(module, ("conv", "norm")) as recorded, torch.no_grad():
        module(rows)
    conv, norm = recorded.arrays(3)
    expected = module.conv(rows[:, None]).mean(dim=2)
    np.testing.assert_allclose(conv, expected.detach(), rtol=1e-5)
    assert norm.shape == (5, 7)


def test_rows_go_through_the_steps_of_a_pipeline_once():
    pipeline = make_pipeline(Counted(), LogisticRegression()).fit(ROWS, LABELS)
    Counted.calls = 0
    view = ClassifierView(pipeline, np.arange(3))
    features = FeatureReader(view, predictions="probabilities").read(ROWS)
    assert Counted.calls == len(ROWS)
    np.testing.assert_array_equal(features.codes, pipeline.predict(ROWS))
    np.testing.assert_allclose(features.probabilities, pipeline.predict_proba(ROWS), rtol=1e-5)
    np.testing.assert_allclose(features.values, pipeline[0].transform(ROWS), rtol=1e-5)


def to_float32(X):
    return np.asarray(X, dtype=np.float32)


@pytest.mark.parametrize("kind", ["pandas", "polars", "array", "step"])
def test_a_row_has_the_same_features_whatever_stands_beside_it(kind):
    """Products of float32 round a row by its place in the batch."""
    rows = np.random.default_rng(0).normal(size=(400, 40)).astype(np.float32)
    names = [f"column{i}" for i in range(rows.shape[1])]
    frames = {"pandas": pd.DataFrame(rows, columns=names), "polars": pl.DataFrame(rows, names)}
    X = frames.get(kind, rows)
    steps = [FunctionTransformer(to_float32)] if kind == "step" else []
    pipeline = make_pipeline(StandardScaler(), *steps, PCA(20), LogisticRegression())
    pipeline.fit(X, np.arange(400) % 3)
    reader = FeatureReader(ClassifierView(pipeline, np.arange(3)), predictions="probabilities")
    together = reader.read(X)
    for n in (1, 3, 7):
        few = reader.read(X[:n])
        np.testing.assert_array_equal(few.values, together.values[:n])
        np.testing.assert_array_equal(few.probabilities, together.probabilities[:n])


def test_gaps_that_a_classifier_takes_are_no_features():
    rows = ROWS.copy()
    rows[3, 2] = np.nan
    classifier = HistGradientBoostingClassifier(max_iter=5)
    inside = ClassBalancedSelector(CoreSetSelector(), classifier)
    for selector in (
        VaBQuerySelector(classifier),
        CoreSetSelector(classifier),
        BADGESelector(classifier),
        VAALSelector(classifier),
        inside,
    ):
        assert not get_tags(selector).input_tags.allow_nan
        with pytest.raises(ValueError, match="contains NaN"):
            selector.fit(rows, LABELS)
    # A Pipeline decides on gaps itself.
    passed = make_pipeline("passthrough", classifier).fit(rows, LABELS)
    with pytest.raises(ValueError, match="Impute missing values in a Pipeline"):
        FeatureReader(ClassifierView(passed, np.arange(3))).read(rows)


def test_sparse_rows_that_are_large_when_dense_are_worth_a_warning(monkeypatch):
    monkeypatch.setattr(features_module, "LARGE_BYTES", 500)
    rows = sp.csr_array(ROWS)
    classifier = LogisticRegression().fit(rows, LABELS)
    with pytest.warns(UserWarning, match=r"30 rows, 6 for each, .*TruncatedSVD"):
        FeatureReader(ClassifierView(classifier, np.arange(3))).read(rows)


def test_what_is_called_net_but_is_no_skorch_net_is_no_network():
    class Odd(LogisticRegression):
        def fit(self, X, y):
            self.net_ = nn.Linear(2, 2)
            return super().fit(X, y)

    odd = Odd().fit(ROWS, LABELS)
    np.testing.assert_allclose(deep_features(odd, ROWS)[0], ROWS)


def test_features_of_what_is_not_fitted_are_refused():
    for estimator in (LogisticRegression(), DeepClassifier()):
        with pytest.raises(NotFittedError, match="call fit first"):
            deep_features(estimator, ROWS)
