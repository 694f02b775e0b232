"""Raw skorch nets of many forms, with the VaB-AL selector and with the learner."""

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.features import deep_features
from skvaball.selectors import BADGESelector, EntropySelector, MarginSelector
from skvaball.utils.classifiers import ClassifierView, fit_classifier
from skvaball.utils.random import derive_seed

# The autoencoders here are hardly trained: what is tested is which nets and data are understood.
pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(60, 6)).astype(np.float32)
IMAGES = RNG.normal(size=(40, 3, 8, 8)).astype(np.float32)
LABELS = (np.arange(60) * 7) % 3
START = slice(0, 20)
POOL = slice(20, 60)


class Perceptron(nn.Module):
    """Returns logits, or probabilities if ``softmax``."""

    def __init__(self, n_inputs=6, n_outputs=3, softmax=False, batch_norm=False):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, 8)
        self.norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()
        self.out = nn.Linear(8, n_outputs)
        self.softmax = softmax

    def forward(self, X):
        logits = self.out(torch.relu(self.norm(self.hidden(X))))
        return logits.softmax(dim=1) if self.softmax else logits


class Convolutions(nn.Module):
    def __init__(self, n_outputs=3):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.out = nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.out(self.conv(X).mean(dim=(2, 3)))


class Functional(nn.Module):
    """The output is not that of a layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 4)
        self.head = nn.Parameter(torch.zeros(4, 3))

    def forward(self, X):
        return torch.relu(self.body(X)) @ self.head


class Pair(Perceptron):
    """Returns its hidden values beside the logits."""

    def forward(self, X):
        hidden = torch.relu(self.hidden(X))
        return self.out(hidden), hidden


class FirstOfPair(nn.CrossEntropyLoss):
    def forward(self, outputs, y):
        return super().forward(outputs[0], y)


class CountEpochs(Callback):
    """Counts the epochs of all nets; of the net itself callbacks are cloned."""

    begun = 0

    def on_epoch_begin(self, net, **kwargs):
        CountEpochs.begun += 1


@pytest.fixture(autouse=True)
def _fresh():
    CountEpochs.begun = 0
    torch.manual_seed(0)


def net(module=Perceptron, **params):
    settings = {
        "criterion": nn.CrossEntropyLoss,
        "train_split": None,
        "max_epochs": 2,
        "callbacks": [CountEpochs()],
        "verbose": 0,
    }
    return NeuralNetClassifier(module, **{**settings, **params})


def vab(estimator=None, **params):
    small = {"max_epochs": 2, "n_draws": 4, "n_units": 8, "hidden": (8,), "block_size": 3}
    return VaBQuerySelector(estimator, **{**small, "random_state": 0, **params})


def query_by_learner(estimator, X, y, pool, n=5, layers=None, **params):
    """Positions, scores, and the fitted selector."""
    learner = ActiveLearner(estimator, vab(layers=layers), random_state=0, **params).fit(X, y)
    positions, scores = learner.query(pool, n, return_scores=True)
    assert learner.predict(X).shape == (len(X),)
    np.testing.assert_allclose(learner.predict_proba(X).sum(axis=1), 1, atol=1e-5)
    return positions, scores, learner.selector_


def query_by_selector(estimator, X, y, pool, n=5, layers=None, **params):
    selector = vab(estimator, layers=layers, **params).fit_pool(X, y, pool)
    return *selector.select(pool, n, return_scores=True), selector


both = pytest.mark.parametrize("query", [query_by_learner, query_by_selector])


def check_query(result, n_pool, n=5):
    positions, scores, _ = result
    assert positions.dtype == np.int64
    assert positions.shape == (n,)
    assert len(set(positions.tolist())) == n
    assert scores.shape == (n_pool,)
    assert np.isfinite(scores).all()


def modules_with_hooks(module):
    return [part for part in module.modules() if part._forward_hooks or part._forward_pre_hooks]


# Modules


@both
@pytest.mark.parametrize("softmax", [False, True])
def test_a_perceptron(query, softmax):
    criterion = nn.NLLLoss if softmax else nn.CrossEntropyLoss
    estimator = net(module__softmax=softmax, criterion=criterion)
    result = query(estimator, ROWS[START], LABELS[START], ROWS[POOL])
    check_query(result, 40)
    assert result[2].vae_.module_.projection.n_outputs == 8  # one tap


@both
def test_a_net_trained_with_accelerate(query):
    accelerate = pytest.importorskip("accelerate", reason="it is what moves the net to devices")
    from skorch.hf import AccelerateMixin

    class AcceleratedNet(AccelerateMixin, NeuralNetClassifier):
        """Trained wherever accelerate puts it."""

    estimator = AcceleratedNet(
        Perceptron,
        accelerator=accelerate.Accelerator(cpu=True),
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=2,
        device=None,
        verbose=0,
    )
    check_query(query(estimator, ROWS[START], LABELS[START], ROWS[POOL]), 40)


@both
def test_convolutions_on_images(query):
    result = query(net(Convolutions), IMAGES[START], LABELS[START], IMAGES[20:])
    check_query(result, 20)


@both
def test_a_resnet_of_torchvision_is_tapped_at_its_four_stages(query):
    models = pytest.importorskip("torchvision").models

    def small_stem(num_classes):
        resnet = models.resnet18(num_classes=num_classes)
        resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        resnet.maxpool = nn.Identity()
        return resnet

    estimator = net(small_stem, module__num_classes=3, max_epochs=1)
    result = query(estimator, IMAGES[:8], LABELS[:8], IMAGES[8:18], n=3)
    check_query(result, 10, n=3)
    features = deep_features(result[2].estimator_, IMAGES[8:18])
    assert [part.shape[1] for part in features] == [64, 128, 256, 512]
    assert result[2].vae_.module_.projection.n_outputs == 4 * 8


@both
def test_named_layers(query):
    result = query(net(), ROWS[START], LABELS[START], ROWS[POOL], layers=["hidden", "out"])
    check_query(result, 40)
    assert result[2].vae_.module_.projection.n_outputs == 2 * 8


@both
def test_a_layer_that_does_not_exist_is_an_error_that_lists_the_names(query):
    with pytest.raises(ValueError, match="no layer") as error:
        query(net(), ROWS[START], LABELS[START], ROWS[POOL], layers=["middle"])
    for name in ("middle", "hidden", "norm", "out"):
        assert name in str(error.value)


@both
def test_a_functional_head_demands_layers(query):
    with pytest.raises(ValueError, match=r"layers=\["):
        query(net(Functional), ROWS[START], LABELS[START], ROWS[POOL])
    result = query(net(Functional), ROWS[START], LABELS[START], ROWS[POOL], layers=["body"])
    check_query(result, 40)


@both
def test_of_several_outputs_the_first_counts(query):
    estimator = net(Pair, criterion=FirstOfPair, predict_nonlinearity=_softmax_of_first)
    check_query(query(estimator, ROWS[START], LABELS[START], ROWS[POOL]), 40)


def _softmax_of_first(outputs):
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    return logits.softmax(dim=1)


@both
@pytest.mark.parametrize("labels", [[-1, 1], ["no", "yes"], [0, 1]])
def test_a_binary_net(query, labels):
    estimator = NeuralNetBinaryClassifier(
        Perceptron, module__n_outputs=1, train_split=None, max_epochs=2, verbose=0
    )
    y = np.array(labels)[(ROWS[:, 0] > 0).astype(int)]
    result = query(estimator, ROWS[START], y[START], ROWS[POOL], layers=["hidden"])
    check_query(result, 40)
    np.testing.assert_array_equal(result[2].classes_, labels)


@both
def test_a_binary_net_is_tapped_by_default(query):
    """Its last layer has one output, although it knows two classes."""
    estimator = NeuralNetBinaryClassifier(
        Perceptron, module__n_outputs=1, train_split=None, max_epochs=2, verbose=0
    )
    y = (ROWS[:, 0] > 0).astype(int)
    result = query(estimator, ROWS[START], y[START], ROWS[POOL])
    check_query(result, 40)


def test_a_binary_net_learns_the_right_class():
    y = np.where(ROWS[:, 0] > 0, 1, -1)
    estimator = NeuralNetBinaryClassifier(
        Perceptron, module__n_outputs=1, train_split=None, max_epochs=30, lr=0.5, verbose=0
    )
    learner = ActiveLearner(estimator, MarginSelector(), random_state=0).fit(ROWS, y)
    assert learner.score(ROWS, y) > 0.9
    assert learner.query(ROWS, 3).shape == (3,)


# Outputs that are no probabilities


@both
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: GridSearchCV(net, {}, cv=2)])
def test_logits_without_a_fitting_criterion_are_an_error(query, wrap):
    with pytest.raises(ValueError, match="CrossEntropyLoss"):
        query(wrap(net(criterion=nn.NLLLoss)), ROWS[START], LABELS[START], ROWS[POOL])


@both
def test_logits_without_a_fitting_criterion_are_found_before_the_training(query):
    with pytest.raises(ValueError, match="sum to"):
        query(net(criterion=nn.NLLLoss), ROWS[START], LABELS[START], ROWS[POOL])
    assert CountEpochs.begun == 0


def test_logits_without_a_fitting_criterion_are_an_error_for_a_trained_net():
    trained = net(criterion=nn.NLLLoss).fit(ROWS, LABELS)
    for estimator in (trained, FrozenEstimator(trained)):
        with pytest.raises(ValueError, match="CrossEntropyLoss"):
            vab(estimator).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    assert not modules_with_hooks(trained.module_)
    with pytest.raises(ValueError, match="CrossEntropyLoss"):
        ActiveLearner(FrozenEstimator(trained)).fit(ROWS, LABELS)


# Classes


@both
@pytest.mark.parametrize("labels", [["ant", "bee", "cow"], [-1, 1, 2], [0.0, 1.0, 2.0]])
def test_labels_of_any_type_give_the_same_picks(query, labels):
    labels = np.array(labels)
    result = query(net(), ROWS[START], labels[LABELS[START]], ROWS[POOL])
    expected = query(net(), ROWS[START], LABELS[START], ROWS[POOL])
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_array_equal(result[2].classes_, labels)


@both
@pytest.mark.parametrize("classes", [[0, 1, 2, 9], [9, 2, 1, 0]])
def test_a_class_that_no_label_has_yet(query, classes):
    estimator = net(module__n_outputs=4)
    result = query(estimator, ROWS[START], LABELS[START], ROWS[POOL], classes=classes)
    check_query(result, 40)
    np.testing.assert_array_equal(result[2].classes_, [0, 1, 2, 9])


@both
@pytest.mark.parametrize(
    ("n_outputs", "wrap"),
    [(4, "net"), (2, "net"), (4, "pipeline"), (2, "pipeline"), (4, "search")],
)
def test_outputs_that_do_not_fit_the_classes_are_an_error_with_both_numbers(query, n_outputs, wrap):
    estimator = net(module__n_outputs=n_outputs)
    if wrap == "pipeline":
        estimator = make_pipeline(StandardScaler(), estimator)
    elif wrap == "search":
        estimator = GridSearchCV(estimator, {}, cv=2)
    with pytest.raises(ValueError, match=f"{n_outputs} columns.*3 classes.*classes="):
        query(estimator, ROWS[START], LABELS[START], ROWS[POOL])
    if wrap == "net":
        assert CountEpochs.begun == 0


def test_the_class_that_was_missing_is_learned_when_it_comes():
    learner = ActiveLearner(net(max_epochs=60, lr=0.5), vab(), classes=[0, 1, 2], random_state=0)
    y = (ROWS[:, 0] > 0).astype(int)
    y[ROWS[:, 1] > 1] = 2
    seen = np.flatnonzero(y != 2)[:20]
    learner.fit(ROWS[seen], y[seen])
    before = learner.predict_proba(ROWS[y == 2])[:, 2].mean()
    learner.teach(ROWS[y == 2], y[y == 2])
    assert learner.predict_proba(ROWS[y == 2])[:, 2].mean() > before + 0.3


def test_codes_are_int64_whatever_the_labels():
    class Check(nn.CrossEntropyLoss):
        def forward(self, logits, y):
            assert y.dtype == torch.int64
            return super().forward(logits, y)

    for y in (LABELS.astype(np.int8), LABELS.astype(float), LABELS.astype(str)):
        learner = ActiveLearner(net(criterion=Check)).fit(ROWS, y)
        np.testing.assert_array_equal(learner.predict(ROWS).astype(float) % 1, 0)


# Few rows and odd batches


@both
def test_four_labeled_rows(query):
    y = np.array([0, 1, 2, 0])
    check_query(query(net(), ROWS[:4], y, ROWS[POOL]), 40)


def test_one_labeled_row_of_each_class_can_be_taught_further():
    learner = ActiveLearner(net(), vab(), classes=[0, 1, 2]).fit(ROWS[:1], [0])
    learner.teach(ROWS[1:3], [1, 2])
    assert learner.query(ROWS[3:], 2).shape == (2,)


@both
def test_a_last_batch_of_one_with_batch_norm(query):
    estimator = net(module__batch_norm=True, batch_size=19)
    check_query(query(estimator, ROWS[START], LABELS[START], ROWS[POOL]), 40)


@both
def test_a_last_batch_of_one_with_batch_norm_inside_a_pipeline(query):
    estimator = make_pipeline(StandardScaler(), net(module__batch_norm=True, batch_size=19))
    check_query(query(estimator, ROWS[START], LABELS[START], ROWS[POOL]), 40)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(3, 60), batch_size=st.integers(2, 60))
@example(n=7, batch_size=3)
@example(n=5, batch_size=2)
@example(n=13, batch_size=4)
@example(n=9, batch_size=4)
def test_batch_norm_trains_on_any_number_of_rows(n, batch_size):
    estimator = net(module__batch_norm=True, batch_size=batch_size, max_epochs=1)
    learner = ActiveLearner(estimator).fit(ROWS[:n], LABELS[:n])
    assert len(learner.estimator_.history) == 1


@pytest.mark.parametrize("n_new", [1, 2, 7, 8, 9])
def test_a_warm_start_with_any_number_of_rows(n_new):
    estimator = net(module__batch_norm=True, batch_size=8)
    learner = ActiveLearner(estimator, warm_start=True).fit(ROWS[:16], LABELS[:16])
    learner.teach(ROWS[16 : 16 + n_new], LABELS[16 : 16 + n_new])
    assert len(learner.estimator_.history) == 4


def test_the_batch_size_of_a_warm_start_stays_that_of_the_user():
    learner = ActiveLearner(net(batch_size=8), warm_start=True).fit(ROWS[:16], LABELS[:16])
    for i in range(16, 26):
        learner.teach(ROWS[i : i + 1], LABELS[i : i + 1])
    params = learner.estimator_.get_params_for("iterator_train")
    assert params.get("batch_size", learner.estimator_.batch_size) == 8
    sizes = [batch["train_batch_size"] for batch in learner.estimator_.history[-1]["batches"]]
    assert sizes == [8, 8, 8, 2]
    own = ActiveLearner(net(iterator_train__batch_size=4)).fit(ROWS[:17], LABELS[:17])
    assert own.estimator_.get_params_for("iterator_train")["batch_size"] == 4


def test_a_pipeline_with_a_frozen_step():
    """As a pretrained extractor of features: it has no fit_transform."""
    scaler = StandardScaler().fit(ROWS)
    pipeline = make_pipeline(FrozenEstimator(scaler), net())
    found = fit_classifier(pipeline, ROWS[START], LABELS[START], np.arange(3), 0)
    scaled = scaler.transform(ROWS.astype(np.float64)).astype(np.float32)
    plain = fit_classifier(net(), scaled[START], LABELS[START], np.arange(3), 0)
    np.testing.assert_allclose(
        ClassifierView(found, np.arange(3)).predict_proba(ROWS),
        ClassifierView(plain, np.arange(3)).predict_proba(scaled),
        rtol=1e-5,
    )


@pytest.mark.parametrize("selector", [vab(layers=["hidden"]), vab(), BADGESelector()])
def test_a_compiled_net_is_looked_into(selector):
    """Whose hooks torch passes over. The backend is one that needs no compiler."""
    picks, scores = [], []
    for params in ({}, {"compile": True, "compile__backend": "eager"}):
        learner = ActiveLearner(net(**params), selector, random_state=0)
        learner.fit(ROWS[START], LABELS[START])
        found = learner.query(ROWS[POOL], 5, return_scores=True)
        picks.append(found[0])
        scores.append(found[1])
    np.testing.assert_allclose(*scores, rtol=1e-4)
    np.testing.assert_array_equal(*picks)


def test_a_step_with_sparse_output():
    pipeline = make_pipeline(KBinsDiscretizer(n_bins=2, encode="onehot"), net(module__n_inputs=12))
    search = GridSearchCV(pipeline, {"kbinsdiscretizer__n_bins": [2]}, cv=2)
    for estimator in (pipeline, search):
        learner = ActiveLearner(estimator, vab()).fit(ROWS[START], LABELS[START])
        assert learner.query(ROWS[POOL], 3).shape == (3,)


def test_a_validation_split_is_kept():
    estimator = net(module__batch_norm=True, train_split=ValidSplit(4), batch_size=7)
    learner = ActiveLearner(estimator, vab()).fit(ROWS[START], LABELS[START])  # 15 = 2 * 7 + 1
    assert "valid_loss" in learner.estimator_.history[-1]
    assert learner.query(ROWS[POOL], 3).shape == (3,)


# Rows of every kind


class Lazy(Dataset):
    """Rows made on demand, with a label that nobody should read."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], "hidden"


POOLS = {
    "float64": lambda X, path: X.astype(np.float64),
    "list": lambda X, path: X.tolist(),
    "pandas": lambda X, path: pd.DataFrame(X),
    "memmap": lambda X, path: _memmap(X, path),
    "tensors": lambda X, path: TensorDataset(torch.as_tensor(X)),
    "labeled tensors": lambda X, path: TensorDataset(torch.as_tensor(X), torch.ones(len(X))),
    "dataset": lambda X, path: Lazy(X),
}


def _memmap(X, path):
    mapped = np.memmap(path / "pool.bin", X.dtype, mode="w+", shape=X.shape)
    mapped[:] = X
    return mapped


@both
@pytest.mark.parametrize("convert", POOLS.values(), ids=POOLS)
def test_pools_of_any_kind_give_the_same_picks(query, convert, tmp_path):
    expected = query(net(), ROWS[START], LABELS[START], ROWS[POOL])
    result = query(net(), ROWS[START], LABELS[START], convert(ROWS[POOL], tmp_path))
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@both
@pytest.mark.parametrize("kind", [kind for kind in POOLS if kind != "pandas"])
def test_pools_of_images_of_any_kind_give_the_same_picks(query, kind, tmp_path):
    expected = query(net(Convolutions), IMAGES[START], LABELS[START], IMAGES[20:])
    pool = POOLS[kind](IMAGES[20:], tmp_path)
    result = query(net(Convolutions), IMAGES[START], LABELS[START], pool)
    np.testing.assert_array_equal(result[0], expected[0])


@both
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16])
def test_numbers_of_other_types_are_read_as_float32(query, dtype):
    X = np.abs(ROWS * 20).astype(dtype)
    result = query(net(), X[START], LABELS[START], X[POOL])
    expected = query(net(), X[START].astype(np.float32), LABELS[START], X[POOL].astype(np.float32))
    np.testing.assert_array_equal(result[0], expected[0])


def frame_of(library):
    columns = {name: ROWS[:, i].astype(np.float64) for i, name in enumerate("abcdef")}
    return library.DataFrame(columns)


@both
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("scaled", [False, True])
def test_data_frames(query, library, scaled):
    estimator = make_pipeline(StandardScaler(), net()) if scaled else net()
    frame = frame_of(library)
    result = query(estimator, frame[:20], LABELS[START], frame[20:])
    expected = query(estimator, ROWS[START], LABELS[START], ROWS[POOL])
    check_query(result, 40)
    np.testing.assert_allclose(result[1], expected[1], atol=1e-4)


@both
@pytest.mark.parametrize(
    "convert",
    [np.float32, np.float64, np.int64, pd.DataFrame, lambda X: pl.DataFrame(X.astype(np.float64))],
    ids=["float32", "float64", "int64", "pandas", "polars"],
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: GridSearchCV(make_pipeline(StandardScaler(), net), {}, cv=2),
        lambda net: make_pipeline(StandardScaler(), GridSearchCV(net, {}, cv=2)),
        lambda net: make_pipeline("passthrough", make_pipeline(StandardScaler(), net)),
    ],
    ids=["search of a pipeline", "pipeline of a search", "pipeline of a pipeline"],
)
def test_searches_and_pipelines_take_rows_of_any_kind(query, wrap, convert):
    X = convert(100 * ROWS)
    check_query(query(wrap(net()), X[:20], LABELS[START], X[20:]), 40)


def test_labeled_rows_of_any_kind_train_the_same_net():
    probabilities = []
    for X in (ROWS, ROWS.astype(np.float64), ROWS.tolist(), frame_of(pd), frame_of(pl)):
        learner = ActiveLearner(net(), random_state=0).fit(X, LABELS)
        learner.teach(X[:3], [0, 1, 2])
        probabilities.append(learner.predict_proba(X))
    dataset = TensorDataset(torch.as_tensor(ROWS))
    learner = ActiveLearner(net(), random_state=0).fit(dataset, LABELS)
    probabilities.append(learner.teach(ROWS[:3], [0, 1, 2]).predict_proba(dataset))
    for other in probabilities[1:]:
        np.testing.assert_array_equal(other, probabilities[0])


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_an_error_before_the_training(query, bad):
    X = ROWS.copy()
    X[3, 2] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        query(net(), X[START], LABELS[START], ROWS[POOL])
    assert CountEpochs.begun == 0
    X = np.roll(X, 20, axis=0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        query(net(), X[START], LABELS[START], X[POOL])


# Whatever is around the net


@both
def test_a_pipeline_is_what_its_steps_are(query):
    rows = ROWS.astype(np.float64)  # in float32 the scaler alone would round differently
    scaler = StandardScaler().fit(rows[START])
    result = query(make_pipeline(StandardScaler(), net()), ROWS[START], LABELS[START], ROWS[POOL])
    expected = query(
        net(), scaler.transform(rows[START]), LABELS[START], scaler.transform(rows[POOL])
    )
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@both
@pytest.mark.parametrize(
    "wrap",
    [
        FrozenEstimator,
        lambda net: make_pipeline(FrozenEstimator(net)),
        lambda net: FrozenEstimator(make_pipeline("passthrough", net)),
    ],
)
def test_a_frozen_net_is_used_as_it_is(query, wrap):
    trained = net().fit(ROWS, LABELS)
    epochs = CountEpochs.begun
    result = query(wrap(trained), ROWS[START], LABELS[START], ROWS[POOL])
    check_query(result, 40)
    assert CountEpochs.begun == epochs
    expected = vab(trained).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    np.testing.assert_array_equal(result[2].difficulty_, expected.difficulty_)
    if query is query_by_selector:
        np.testing.assert_array_equal(result[1], expected.score_samples(ROWS[POOL]))


def test_a_trained_net_is_used_as_it_is_and_a_new_one_is_trained():
    trained = net().fit(ROWS, LABELS)
    selector = vab(trained).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    assert selector.estimator_ is trained
    fresh = net()
    selector = vab(fresh).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    assert selector.estimator_ is not fresh
    assert not getattr(fresh, "initialized_", False)


@both
def test_the_device_may_be_named(query):
    result = query(net(device="cpu"), ROWS[START], LABELS[START], ROWS[POOL])
    expected = query(net(), ROWS[START], LABELS[START], ROWS[POOL])
    np.testing.assert_array_equal(result[0], expected[0])
    assert next(result[2].estimator_.module_.parameters()).device.type == "cpu"


@pytest.mark.parametrize("selector", [MarginSelector(), EntropySelector(), vab()])
def test_every_strategy_and_the_simulator_take_a_raw_net(selector):
    learner = ActiveLearner(net(Convolutions), selector)
    run = ActiveLearningSimulator(learner, batch_size=6, n_rounds=2, random_state=0)
    run.fit(IMAGES, LABELS[:40])
    assert [entry["n_labeled"] for entry in run.history_] == [6, 12, 18]
    assert run.predict_proba(IMAGES).shape == (40, 3)


# What a query leaves behind: nothing


@both
def test_no_hooks_are_left(query):
    result = query(net(Convolutions), IMAGES[START], LABELS[START], IMAGES[20:])
    assert not modules_with_hooks(result[2].estimator_.module_)


def test_no_hooks_are_left_when_a_query_fails():
    class Fails(Perceptron):
        def forward(self, X):
            if len(X) and bool((X > 1e6).any()):
                raise RuntimeError("boom")
            return super().forward(X)

    trained = net(Fails).fit(ROWS, LABELS)
    selector = vab(trained).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    with pytest.raises(RuntimeError, match="boom"):
        selector.score_samples(np.full((3, 6), 1e7))
    assert not modules_with_hooks(trained.module_)
    for failing in (["missing"], []):
        with pytest.raises(ValueError, match="expected one of"):
            vab(trained, layers=failing).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    assert not modules_with_hooks(trained.module_)


def same_weights(first, second):
    states = first.module_.state_dict(), second.module_.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_trained_net_is_not_changed_by_a_query():
    used = net(module__batch_norm=True).fit(ROWS, LABELS)
    kept = copy.deepcopy(used)
    selector = vab(used).fit_pool(ROWS[START], LABELS[START], ROWS[POOL])
    selector.select(ROWS[POOL], 5)
    assert same_weights(used, kept)
    assert len(used.history) == 2
    for trained in (used, kept):
        torch.manual_seed(7)
        trained.partial_fit(ROWS, LABELS)
    assert same_weights(used, kept)


def test_the_learner_trains_a_net_as_skorch_does():
    """With the seed that the learner gave it, and no other help, a net learns the same."""
    learner = ActiveLearner(net(module__batch_norm=True), random_state=3).fit(ROWS, LABELS)
    peer = net(module__batch_norm=True)
    torch.manual_seed(derive_seed(3, "estimator"))
    peer.fit(ROWS, LABELS)
    assert learner.estimator_.history[:, "train_loss"] == peer.history[:, "train_loss"]
    assert same_weights(learner.estimator_, peer)


def test_a_module_instance_starts_from_its_own_weights_at_each_refit():
    module = Perceptron()
    weights = copy.deepcopy(module.state_dict())
    learner = ActiveLearner(net(module), random_state=0).fit(ROWS[START], LABELS[START])
    learner.teach(ROWS[POOL], LABELS[POOL])
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name])
    whole = ActiveLearner(net(module), random_state=0).fit(ROWS, LABELS)
    np.testing.assert_array_equal(learner.predict_proba(ROWS), whole.predict_proba(ROWS))
