"""Training of DeepClassifier: each option against a bare loop of torch, and what none may break."""

import io
import math
import shutil

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.dataset import Dataset
from torch import nn
from torch.nn import functional as F

from skvaball.features import deep_features
from skvaball.networks import MLP, DeepClassifier, ResNet, crop_flip
from skvaball.selectors import MCDropoutSelector
from skvaball.utils.loading import TensorLoader

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
IMAGES = RNG.normal(size=(48, 3, 8, 8)).astype(np.float32)
CODES = np.arange(48) % 5 // 2  # 20, 19 and 9 rows
# Widths of 16: the least with which channels_last is safe.
TINY = {"widths": (16, 16, 16, 17), "blocks": (1, 1, 1, 1), "dropout": 0.25}

#: Every option beside the defaults, for images.
OPTIONS = {
    "sgd": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.5},
    "milestones": {"milestones": (1, 2)},
    "cosine": {"schedule": "cosine"},
    "crop_flip": {"augment": "crop_flip"},
    "sampling": {"balance": "sampling"},
    "logit_adjustment": {"balance": "logit_adjustment"},
    "bfloat16": {"precision": "bfloat16"},
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture(autouse=True)
def _compile_on_the_cpu(monkeypatch):
    """Compile on the CPU, too: graphs as on a GPU, but run by torch's own operations."""
    monkeypatch.setattr(
        DeepClassifier, "_compiler", lambda self: "aot_eager" if self.compile else None
    )


def image_net(**params):
    params = {"module_params": TINY, "max_epochs": 3, "batch_size": 16, "random_state": 0} | params
    return DeepClassifier(ResNet, **params)


# Against a loop of torch's own


def bare_loop(net, images, codes):
    """Weights after training with the settings of a classifier, on the CPU in float32."""
    torch.manual_seed(net.random_state)
    double = images.astype(np.float64)
    mean, std = double.mean(axis=(0, 2, 3)), double.std(axis=(0, 2, 3))
    mean, std = (part.astype(np.float32)[:, None, None] for part in (mean, std))
    inputs = torch.as_tensor((images - mean) / std)
    targets = torch.as_tensor(codes)
    counts = torch.bincount(targets)
    module = ResNet(images.shape[1], len(counts), **net.module_params).train()
    params = {"lr": net.lr, "weight_decay": net.weight_decay, "fused": True}
    if net.optimizer == "sgd":
        optimizer = torch.optim.SGD(module.parameters(), momentum=net.momentum, **params)
    else:
        optimizer = torch.optim.AdamW(module.parameters(), **params)
    losses = []
    for epoch in range(net.max_epochs):
        if net.schedule == "cosine":
            factor = (1 + math.cos(math.pi * epoch / net.max_epochs)) / 2
        else:
            factor = 0.1 ** sum(epoch >= milestone for milestone in net.milestones)
        optimizer.param_groups[0]["lr"] = net.lr * factor
        if net.balance == "sampling":
            weights = (1 / counts.double())[targets]
            order = torch.multinomial(weights, len(targets), replacement=True)
        else:
            order = torch.randperm(len(targets))
        total = 0.0
        for rows in order.split(net.batch_size):
            batch = inputs[rows] if net.augment is None else crop_flip(inputs[rows])
            logits = module(batch)
            if net.balance == "logit_adjustment":
                logits = logits + torch.log(counts / len(targets))
            loss = F.cross_entropy(logits, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(targets))
    return module.state_dict(), losses


EXACT = ["sgd", "milestones", "cosine", "crop_flip", "sampling", "logit_adjustment"]


TOGETHER = [
    ["sgd", "milestones", "crop_flip", "sampling"],
    ["cosine", "crop_flip", "logit_adjustment"],
]


@pytest.mark.parametrize("names", [[], *([name] for name in EXACT), *TOGETHER], ids=" ".join)
def test_training_is_that_of_a_bare_loop(names):
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    net = image_net(**options).fit(IMAGES, CODES)
    weights, losses = bare_loop(net, IMAGES, CODES)
    for name, weight in net.net_.module_.state_dict().items():
        # Equal operations in equal order: rounding would grow to more than this in AdamW.
        torch.testing.assert_close(weight, weights[name], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(net.net_.history[:, "train_loss"], losses, rtol=1e-5)


def test_options_change_what_is_learned():
    """Otherwise the comparison with the loop would say nothing."""
    plain = image_net().fit(IMAGES, CODES).predict_proba(IMAGES)
    for name in EXACT:
        changed = image_net(**OPTIONS[name]).fit(IMAGES, CODES).predict_proba(IMAGES)
        assert np.abs(changed - plain).max() > 1e-3, name


# Schedules


def rates(clf):
    return clf.net_.history[:, "event_lr"]


def test_the_step_schedule_divides_by_ten_after_each_milestone():
    clf = DeepClassifier(max_epochs=6, lr=0.1, milestones=[2, 5]).fit(X, y)
    np.testing.assert_allclose(rates(clf), [0.1, 0.1, 0.01, 0.01, 0.01, 0.001])


def test_the_cosine_schedule_falls_along_half_a_cosine():
    clf = DeepClassifier(max_epochs=5, lr=0.2, schedule="cosine").fit(X, y)
    expected = 0.1 * (1 + np.cos(np.pi * np.arange(5) / 5))
    np.testing.assert_allclose(rates(clf), expected)


def test_the_learning_rate_stays_by_default():
    clf = DeepClassifier(max_epochs=3, lr=0.2).fit(X, y)
    assert clf.net_.optimizer_.param_groups[0]["lr"] == 0.2
    assert "event_lr" not in clf.net_.history[-1]


@pytest.mark.parametrize("params", [{"schedule": "cosine"}, {"milestones": (1,)}])
def test_a_warm_start_begins_the_schedule_anew(params):
    clf = DeepClassifier(max_epochs=3, warm_start=True, **params).fit(X, y)
    first = rates(clf)
    clf.fit(X, y)
    assert first[0] > first[-1]
    np.testing.assert_allclose(rates(clf), first * 2)


@pytest.mark.parametrize("milestones", [(0,), (1, -2), (0.8,), ("late",), [[1, 2]]])
def test_milestones_that_are_no_epochs_are_an_error_that_says_so(milestones):
    with pytest.raises(ValueError, match="milestones") as error:
        DeepClassifier(milestones=milestones).fit(X, y)
    assert "integers" in str(error.value)


# Imbalance


def imbalanced(n, seed, share=0.05):
    """Two normal classes, a standard deviation left and right of 0; the second is rare."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) < share * n).astype(int)
    return rng.normal(2 * labels[:, None] - 1, size=(n, 1)).astype(np.float32), labels


def linear(**params):
    return DeepClassifier(
        MLP, module_params={"hidden": ()}, **{"max_epochs": 30, "random_state": 0} | params
    )


@pytest.mark.parametrize("balance", ["sampling", "logit_adjustment"])
def test_balancing_raises_the_balanced_accuracy_where_a_class_dominates(balance):
    rows, labels = imbalanced(2000, seed=0)
    test_rows, test_labels = imbalanced(4000, seed=1, share=0.5)
    scores = [
        balanced_accuracy_score(
            test_labels, linear(balance=name).fit(rows, labels).predict(test_rows)
        )
        for name in ("none", balance)
    ]
    assert scores[0] < 0.7
    # The best that can be done is to decide by the sign: the normal distribution at 1.
    assert scores[1] == pytest.approx(0.8413, abs=0.02)


@pytest.mark.parametrize(
    ("balance", "expected", "tolerance"),
    [
        ("none", [0.6, 0.3, 0.1], 1e-3),
        ("logit_adjustment", [1 / 3, 1 / 3, 1 / 3], 1e-3),
        ("sampling", [1 / 3, 1 / 3, 1 / 3], 0.06),  # as even as the rows that were drawn
    ],
)
def test_rows_that_say_nothing_have_the_prior_of_the_training(balance, expected, tolerance):
    """With equal rows only the bias of a linear network is learned, which has a closed form."""
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    clf = linear(
        optimizer="sgd", lr=1.0, weight_decay=0.0, batch_size=1000, max_epochs=150, balance=balance
    )
    clf.fit(np.zeros((1000, 1)), labels)
    np.testing.assert_allclose(clf.predict_proba([[0.0]])[0], expected, atol=tolerance)


def test_a_warm_start_takes_the_shares_of_its_own_rows():
    labels = np.repeat([0, 1], [45, 15])
    clf = DeepClassifier(max_epochs=1, balance="logit_adjustment", warm_start=True)
    clf.fit(X, labels)
    np.testing.assert_allclose(clf.net_.criterion_.log_shares.exp(), [0.75, 0.25], rtol=1e-6)
    clf.fit(X, 1 - labels)
    np.testing.assert_allclose(clf.net_.criterion_.log_shares.exp(), [0.25, 0.75], rtol=1e-6)


def test_balanced_batches_have_equal_shares_of_the_classes_and_of_the_rows_in_them():
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    rows = np.arange(100)
    loader = TensorLoader(Dataset(rows, labels), 30, balanced=True)
    torch.manual_seed(0)
    drawn = []
    for _ in range(300):
        epoch = list(loader)
        # An epoch has as many draws as there are rows, in batches as ever.
        assert [len(codes) for _, codes in epoch] == [30, 30, 30, 10]
        for batch, codes in epoch:
            np.testing.assert_array_equal(codes, labels[batch])
            drawn.append(batch)
    counts = np.bincount(torch.cat(drawn), minlength=100)
    expected = 30000 / 3 / np.bincount(labels)[labels]
    np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(expected.max()))
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_transform_is_given_whole_batches_of_inputs():
    seen = []
    loader = TensorLoader(Dataset(X, y), 25, transform=lambda batch: seen.append(batch) or -batch)
    batches = [batch for batch, _ in loader]
    assert [len(batch) for batch in seen] == [25, 25, 10]
    np.testing.assert_array_equal(torch.cat(batches), -X)


# Augmentation


def test_only_training_sees_changed_images():
    class Recording(ResNet):
        seen: list = []  # noqa: RUF012 (all instances share it on purpose)

        def forward(self, images):
            self.seen.append((self.training, images.clone()))
            return super().forward(images)

    clf = DeepClassifier(
        Recording, module_params=TINY, max_epochs=1, augment="crop_flip", random_state=0
    )
    clf.fit(IMAGES, CODES).predict(IMAGES)
    (training, trained_on), (predicting, predicted) = Recording.seen
    assert (training, predicting) == (True, False)
    originals = {image.tobytes() for image in clf.network_input(IMAGES)}
    assert all(image.numpy().tobytes() in originals for image in predicted[:48])
    # One in 162 images stays as it is.
    assert sum(image.numpy().tobytes() in originals for image in trained_on) < 5


@pytest.mark.parametrize("rows", [X, IMAGES[:, 0]], ids=["vectors", "without channels"])
def test_augmenting_rows_that_are_no_images_is_an_error_with_their_shape(rows):
    with pytest.raises(ValueError, match="augment='crop_flip' is for images") as error:
        DeepClassifier(augment="crop_flip").fit(rows, y[: len(rows)])
    assert str(rows.shape) in str(error.value)


# Speed


@pytest.mark.parametrize("name", ["bfloat16", "channels_last", "compile"])
def test_faster_arithmetic_gives_nearly_the_same_probabilities(name):
    # Dropout draws by position in memory, which channels_last changes.
    params = {"module_params": TINY | {"dropout": 0.25 * (name == "compile")}}
    plain = image_net(**params).fit(IMAGES, CODES).predict_proba(IMAGES)
    faster = image_net(**params, **OPTIONS[name]).fit(IMAGES, CODES).predict_proba(IMAGES)
    # bfloat16 has a precision of three decimal digits.
    tolerance = 0.02 if name == "bfloat16" else 1e-4
    np.testing.assert_allclose(faster, plain, atol=tolerance)


def test_bfloat16_is_for_training_and_predictions_are_in_float32():
    class Recording(nn.Linear):
        dtypes: list = []  # noqa: RUF012 (all instances share it on purpose)

        def forward(self, rows):
            logits = super().forward(rows)
            self.dtypes.append((self.training, logits.dtype))
            return logits

    clf = DeepClassifier(Recording, max_epochs=1, precision="bfloat16").fit(X, y)
    clf.predict(X)
    assert Recording.dtypes == [(True, torch.bfloat16), (False, torch.float32)]
    assert clf.net_.module_.weight.dtype == torch.float32


def test_channels_last_lays_out_the_weights_of_the_convolutions():
    module = image_net(channels_last=True).fit(IMAGES, CODES).net_.module_
    weight = module.layer2[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


@pytest.mark.parametrize("widths", [(8, 16, 16, 16), (16, 16, 15, 16)])
def test_channels_last_refuses_convolutions_that_crash(widths):
    params = {"module_params": {"widths": widths}, "max_epochs": 1}
    with pytest.raises(ValueError, match=r"layer\d.0.shortcut.0.*channels_last=False"):
        image_net(channels_last=True, **params).fit(IMAGES, CODES)
    image_net(**params).fit(IMAGES, CODES)


def test_compile_has_no_effect_on_the_cpu(monkeypatch):
    monkeypatch.undo()
    assert DeepClassifier(max_epochs=1, compile=True).fit(X, y).net_.compiler is None
    assert DeepClassifier(compile=True, device="cuda:1")._compiler() == "inductor"


def test_compile_runs_the_compiled_forward_pass_in_training_only(monkeypatch):
    compiled = []
    calls = []

    def compile_fake(forward, backend):
        compiled.append(backend)
        return lambda batch: calls.append(len(batch)) or forward(batch)

    monkeypatch.setattr(torch, "compile", compile_fake)
    clf = image_net(compile=True, max_epochs=1).fit(IMAGES, CODES)
    clf.predict(IMAGES)
    assert compiled == ["aot_eager"]
    assert calls == [16, 16, 16]


@pytest.mark.slow
def test_the_compiler_for_gpus_gives_the_same_network(monkeypatch):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("torch.compile needs a C++ compiler here")
    params = {"max_epochs": 3, "batch_size": 25, "random_state": 0}  # the last batch is smaller
    plain = DeepClassifier(**params).fit(X, y)
    monkeypatch.setattr(DeepClassifier, "_compiler", lambda self: "inductor")
    clf = DeepClassifier(**params).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X), plain.predict_proba(X), atol=1e-4)
    for tap, expected in zip(deep_features(clf, X), deep_features(plain, X), strict=True):
        np.testing.assert_allclose(tap, expected, atol=1e-4)


@every_option
def test_no_single_number_is_fetched_while_training(options, monkeypatch):
    """On a GPU each would wait until all that was asked of it is done."""
    image_net(**options).fit(IMAGES, CODES)  # a compiler may

    def fetch(tensor):
        raise AssertionError("a tensor was fetched")

    monkeypatch.setattr(torch.Tensor, "item", fetch)
    monkeypatch.setattr(torch.Tensor, "__float__", fetch)
    monkeypatch.setattr(torch.Tensor, "__bool__", fetch)
    monkeypatch.setattr(torch.Tensor, "__int__", fetch)
    history = image_net(**options).fit(IMAGES, CODES).net_.history
    monkeypatch.undo()
    # The history has all that skorch's own has.
    batches = history[-1, "batches"]
    assert [batch["train_batch_size"] for batch in batches] == [16, 16, 16]
    assert history[-1, "train_batch_count"] == 3
    losses = [batch["train_loss"] for batch in batches]
    assert all(type(loss) is float for loss in losses)
    np.testing.assert_allclose(history[-1, "train_loss"], np.mean(losses), rtol=1e-6)


# What no option may break


@every_option
def test_the_same_seed_gives_the_same_network_with_every_option(options):
    fits = [image_net(**options, random_state=seed) for seed in (0, 0, 1)]
    first, second, other = (clf.fit(IMAGES, CODES).predict_proba(IMAGES) for clf in fits)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


@every_option
def test_global_generators_are_left_alone_with_every_option(options):
    before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (that it stays as it was is tested)
    image_net(**options).fit(IMAGES, CODES).predict(IMAGES)
    after = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (that it stays as it was is tested)
    np.testing.assert_array_equal(before[0][1], after[0][1])
    assert torch.equal(before[1], after[1])


@every_option
def test_taps_and_dropout_passes_work_with_every_option(options):
    net = image_net(**options).fit(IMAGES, CODES)
    names = list(ResNet(3, 3, **TINY).state_dict())
    assert list(net.net_.module_.state_dict()) == names
    taps = deep_features(net, IMAGES)
    assert [tap.shape for tap in taps] == [(48, width) for width in TINY["widths"]]
    # The last tap is what the output layer reads.
    with torch.no_grad():
        logits = net.net_.module_.fc(torch.as_tensor(taps[-1]))
    np.testing.assert_allclose(logits.softmax(dim=1), net.predict_proba(IMAGES), atol=1e-5)
    [single] = deep_features(net, IMAGES, layers="layer2.0.conv1")
    assert single.shape == (48, 16)

    selector = MCDropoutSelector(net, n_passes=5, random_state=0).fit(IMAGES, CODES)
    scores = selector.score_samples(IMAGES)
    assert (scores > 0).all()
    assert scores.std() > 0


@every_option
def test_copies_predict_and_continue_with_every_option(options):
    clf = image_net(**options, warm_start=True).fit(IMAGES, CODES)
    file = io.BytesIO()
    joblib.dump(clf, file)
    file.seek(0)
    copied = joblib.load(file)
    np.testing.assert_array_equal(copied.predict_proba(IMAGES), clf.predict_proba(IMAGES))
    continued = [estimator.fit(IMAGES, CODES).predict_proba(IMAGES) for estimator in (clf, copied)]
    np.testing.assert_allclose(continued[0], continued[1], atol=1e-6)
    assert clone(clf).get_params() == clf.get_params()


@parametrize_with_checks(
    [DeepClassifier(optimizer="sgd", lr=0.05, schedule="cosine", balance="logit_adjustment")]
)
def test_scikit_learn_checks_with_options(estimator, check):
    check(estimator)
