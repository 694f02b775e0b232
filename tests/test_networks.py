"""Networks: shapes and taps of the modules, and the classifier that builds them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from torch import nn

from skvaball.networks import (
    MLP,
    DeepClassifier,
    LogitAdjustedLoss,
    ResNet,
    ResNet18,
    ResNet34,
    SmallResNet,
    crop_flip,
)
from skvaball.networks.resnet import ResidualBlock

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
IMAGES = RNG.normal(size=(24, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def outputs_of(module, names, X):
    """Outputs of named layers in one forward pass, by hooks of our own."""
    outputs = {}
    handles = [
        dict(module.named_modules())[name].register_forward_hook(
            lambda layer, inputs, output, name=name: outputs.__setitem__(name, output.detach())
        )
        for name in names
    ]
    with torch.no_grad():
        module(X)
    for handle in handles:
        handle.remove()
    return outputs


# Modules


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 5),
    n_inputs=st.integers(1, 6),
    n_classes=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 7), max_size=3),
    dropout=st.sampled_from([0.0, 0.3]),
)
def test_mlp_has_one_logit_per_class_and_taps_every_hidden_layer(
    n, n_inputs, n_classes, hidden, dropout
):
    module = MLP(n_inputs, n_classes, hidden=hidden, dropout=dropout).eval()
    inputs = torch.randn(n, n_inputs)
    assert module(inputs).shape == (n, n_classes)
    taps = outputs_of(module, module.feature_layers or (), inputs)
    assert [tap.shape for tap in taps.values()] == [(n, width) for width in hidden]
    assert all((tap >= 0).all() for tap in taps.values())


def test_mlp_is_what_its_layers_say():
    module = MLP(5, 3, hidden=(4, 6))
    (first, second), out = module.hidden, module.output
    inputs = torch.as_tensor(X)
    hidden = torch.relu(inputs @ first[0].weight.T + first[0].bias)
    hidden = torch.relu(hidden @ second[0].weight.T + second[0].bias)
    torch.testing.assert_close(module(inputs), hidden @ out.weight.T + out.bias)


def test_mlp_without_hidden_layers_is_linear_and_declares_no_taps():
    module = MLP(5, 3, hidden=())
    assert module.feature_layers is None
    torch.testing.assert_close(module(torch.as_tensor(X)), module.output(torch.as_tensor(X)))


def test_mlp_drops_hidden_values_in_training_only():
    module = MLP(5, 3, hidden=(64,), dropout=0.5)
    inputs = torch.as_tensor(X)
    assert not torch.equal(module.train()(inputs), module(inputs))
    assert torch.equal(module.eval()(inputs), module(inputs))


@pytest.mark.parametrize(
    ("make", "widths", "n_blocks"),
    [
        (ResNet18, (64, 128, 256, 512), (2, 2, 2, 2)),
        (ResNet34, (64, 128, 256, 512), (3, 4, 6, 3)),
        (SmallResNet, (16, 32, 64, 128), (1, 1, 1, 1)),
    ],
)
def test_resnets_have_four_stages_that_halve_their_maps(make, widths, n_blocks):
    module = make(3, 7).eval()
    stages = outputs_of(module, module.feature_layers, torch.randn(2, 3, 8, 8))
    sizes = [(2, width, size, size) for width, size in zip(widths, (8, 4, 2, 1), strict=True)]
    assert [stages[name].shape for name in module.feature_layers] == sizes
    assert tuple(len(getattr(module, name)) for name in module.feature_layers) == n_blocks
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 7)


def test_a_stem_of_stride_2_halves_the_maps_of_all_stages():
    images = torch.randn(2, 3, 16, 16)
    plain, halved = SmallResNet(3, 7).eval(), SmallResNet(3, 7, stem_stride=2).eval()
    stages = outputs_of(halved, halved.feature_layers, images)
    expected = outputs_of(plain, plain.feature_layers, images[..., ::2, ::2])
    assert [stage.shape for stage in stages.values()] == [s.shape for s in expected.values()]
    assert sum(p.numel() for p in halved.parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("size", [4, 7, 9])
def test_resnets_take_images_of_any_size(size):
    module = ResNet(1, 4, widths=(2, 3, 4, 5), blocks=(1, 2, 1, 1)).eval()
    assert module(torch.randn(3, 1, size, size)).shape == (3, 4)


@pytest.mark.parametrize(("make", "depth"), [(ResNet18, 18), (ResNet34, 34)])
def test_resnets_have_the_weighted_layers_of_their_name(make, depth):
    """He et al. count the 3x3 convolutions and the output; shortcuts are not counted."""
    modules = make(3, 10).modules()
    counted = [
        m for m in modules if isinstance(m, nn.Linear) or getattr(m, "kernel_size", 0) == (3, 3)
    ]
    assert len(counted) == depth


def test_resnet18_has_the_parameters_of_torchvisions_with_a_small_stem():
    torchvision = pytest.importorskip("torchvision")
    peer = torchvision.models.resnet18(num_classes=10)
    peer.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    own = sorted(tuple(p.shape) for p in ResNet18(3, 10).parameters())
    assert own == sorted(tuple(p.shape) for p in peer.parameters())


def test_resnet_computes_what_torchvisions_computes():
    """The same weights in the same order give the same logits."""
    torchvision = pytest.importorskip("torchvision")
    peer = torchvision.models.resnet18(num_classes=4)
    peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    own = ResNet18(3, 4)
    peer.load_state_dict(
        {name.replace("shortcut", "downsample"): v for name, v in own.state_dict().items()}
    )
    inputs = torch.randn(2, 3, 8, 8)
    for mode in (True, False):
        torch.testing.assert_close(
            own.train(mode)(inputs), peer.train(mode)(inputs), rtol=1e-4, atol=1e-4
        )


def test_dropout_stands_before_each_block_and_acts_in_training_only():
    block = ResidualBlock(4, 4, dropout=0.5).eval()
    plain = ResidualBlock(4, 4).eval()
    plain.load_state_dict(block.state_dict())
    inputs = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(inputs), plain(inputs))

    block.dropout.train()  # batch norm stays in evaluation mode
    torch.manual_seed(0)
    noisy = block(inputs)
    assert not torch.equal(noisy, plain(inputs))
    torch.manual_seed(0)
    dropped = nn.functional.dropout(inputs, 0.5)
    # The shortcut, too, reads what dropout left.
    assert torch.equal(noisy, plain(dropped))


def test_every_block_of_a_resnet_has_the_dropout_asked_for():
    module = SmallResNet(3, 4, dropout=0.25)
    rates = [m.p for m in module.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.25] * 4
    assert not any(isinstance(m, nn.Dropout) for m in SmallResNet(3, 4).modules())


# Augmentation


def crops_and_flips(image, padding):
    """All that crop_flip may make of one image: shape (offsets, offsets, 2, *image.shape)."""
    _, height, width = image.shape
    padded = np.pad(image, [(0, 0), (padding, padding), (padding, padding)])
    offsets = range(2 * padding + 1)
    crops = [
        [padded[:, top : top + height, left : left + width] for left in offsets] for top in offsets
    ]
    return np.stack([crops, np.flip(crops, axis=-1)], axis=2)


def choices_made(images, padding):
    """(top, left, flipped) of each image, found by comparing with all that are possible."""
    changed = crop_flip(torch.as_tensor(images), padding).numpy()
    choices = []
    for image, result in zip(images, changed, strict=True):
        equal = (crops_and_flips(image, padding) == result).all(axis=(3, 4, 5))
        assert equal.sum() == 1  # the values are all different: one choice explains it
        choices.append(np.argwhere(equal)[0])
    return np.array(choices)


def test_crop_flip_shifts_and_flips_each_image_on_its_own():
    images = RNG.normal(size=(3000, 2, 5, 4)).astype(np.float32)
    tops, lefts, flips = choices_made(images, padding=2).T
    # Five offsets each way and two sides, equally often: within five standard errors.
    for counts in (np.bincount(tops), np.bincount(lefts), np.bincount(flips)):
        share = 1 / len(counts)
        error = np.sqrt(share * (1 - share) / 3000)
        np.testing.assert_allclose(counts / 3000, share, atol=5 * error)
    pairs = np.corrcoef([tops, lefts, flips])
    assert np.abs(pairs[np.triu_indices(3, 1)]).max() < 5 / np.sqrt(3000)


def test_crop_flip_without_padding_only_flips():
    images = torch.as_tensor(IMAGES)
    changed = crop_flip(images, padding=0)
    same = (changed == images).flatten(1).all(dim=1)
    flipped = (changed == images.flip(3)).flatten(1).all(dim=1)
    assert (same ^ flipped).all()
    assert 0 < flipped.sum() < len(images)


def test_crop_flip_draws_from_the_torch_generator_and_leaves_the_images_alone():
    images = torch.as_tensor(IMAGES)
    before = images.clone()
    torch.manual_seed(3)
    first = crop_flip(images)
    second = crop_flip(images)
    torch.manual_seed(3)
    assert torch.equal(crop_flip(images), first)
    assert not torch.equal(first, second)
    assert torch.equal(images, before)


# Losses


def test_logit_adjusted_loss_is_the_log_posterior_with_the_shares_as_prior():
    shares = np.array([0.7, 0.2, 0.1])
    logits = RNG.normal(size=(6, 3))
    codes = np.array([0, 1, 2, 2, 1, 0])
    joint = shares * np.exp(logits)
    expected = -np.log(joint[np.arange(6), codes] / joint.sum(axis=1)).mean()
    loss = LogitAdjustedLoss(shares)(torch.as_tensor(logits), torch.as_tensor(codes))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_logit_adjusted_loss_of_equal_shares_is_cross_entropy():
    logits, codes = torch.randn(7, 4), torch.arange(7) % 4
    adjusted = LogitAdjustedLoss([0.25] * 4)(logits, codes)
    torch.testing.assert_close(adjusted, nn.functional.cross_entropy(logits, codes))


# DeepClassifier


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def test_deep_classifier_learns_digits(digits):
    rows, labels = digits
    clf = DeepClassifier(max_epochs=20, random_state=0).fit(rows[:1000], labels[:1000])
    # A logistic regression has 0.90 here.
    assert clf.score(rows[1000:], labels[1000:]) > 0.9


def test_deep_classifier_learns_digits_as_images(digits):
    images = digits[0].reshape(-1, 1, 8, 8)
    clf = DeepClassifier(max_epochs=5, random_state=0).fit(images[:500], digits[1][:500])
    assert clf.score(images[1000:], digits[1][1000:]) > 0.8
    assert isinstance(clf.net_.module_, SmallResNet)
    assert clf.mean_.shape == clf.scale_.shape == (1, 1, 1)
    assert clf.n_features_in_ == 1


def test_probabilities_are_distributions_over_the_classes():
    clf = DeepClassifier(max_epochs=3, random_state=0).fit(X, y)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (60, 3)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[probabilities.argmax(axis=1)])


@pytest.mark.parametrize("rows", [X, IMAGES], ids=["vectors", "images"])
def test_probabilities_of_a_row_do_not_depend_on_the_rows_beside_it(rows):
    clf = DeepClassifier(max_epochs=2, batch_size=16, random_state=0)
    clf.fit(rows, y[: len(rows)])
    whole = clf.predict_proba(rows)
    order = RNG.permutation(len(rows))
    np.testing.assert_array_equal(clf.predict_proba(rows[order]), whole[order])
    np.testing.assert_array_equal(clf.predict_proba(rows[7:8]), whole[7:8])


def test_probabilities_are_the_softmax_of_the_logits_of_standardized_rows():
    clf = DeepClassifier(max_epochs=2, random_state=0).fit(X, y)
    standardized = (X - X.mean(axis=0)) / X.std(axis=0)
    with torch.no_grad():
        logits = clf.net_.module_.eval()(torch.as_tensor(standardized))
    np.testing.assert_allclose(clf.predict_proba(X), logits.softmax(dim=1), atol=1e-5)


def test_same_seed_same_network_and_another_seed_another():
    fits = [DeepClassifier(max_epochs=2, random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    probabilities = [clf.predict_proba(X) for clf in fits]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    assert not np.allclose(probabilities[0], probabilities[2])


def test_a_generator_as_random_state_gives_a_new_network_each_time():
    clf = DeepClassifier(max_epochs=1, random_state=np.random.RandomState(0))
    first, second = clf.fit(X, y).predict_proba(X), clf.fit(X, y).predict_proba(X)
    assert not np.allclose(first, second)


def test_global_generators_are_left_alone():
    before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    DeepClassifier(max_epochs=1, module_params={"dropout": 0.5}).fit(X, y).predict(X)
    after = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[0][1], after[0][1])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("labels", [np.array(["x", "y", "zz"]), np.array([-1, 1, 5])])
def test_labels_may_be_of_any_type(labels):
    codes = DeepClassifier(max_epochs=3, random_state=0).fit(X, y)
    named = DeepClassifier(max_epochs=3, random_state=0).fit(X, labels[y])
    np.testing.assert_array_equal(named.classes_, labels)
    np.testing.assert_array_equal(named.predict(X), labels[codes.predict(X)])


def test_one_class_is_predicted_everywhere():
    clf = DeepClassifier(max_epochs=1).fit(X, np.full(60, "only"))
    assert set(clf.predict(X)) == {"only"}
    np.testing.assert_array_equal(clf.predict_proba(X), 1)


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e6 / 3])
def test_a_constant_feature_does_not_change_the_standardization_of_others(constant):
    rows = X.copy()
    rows[:, 2] = constant
    clf = DeepClassifier(max_epochs=2, random_state=0).fit(rows, y)
    assert clf.scale_[2] == 1
    assert np.abs(clf.network_input(rows)[:, 2]).max() < 0.1
    assert np.isfinite(clf.predict_proba(rows)).all()


def test_standardization_is_per_channel_for_images():
    clf = DeepClassifier(max_epochs=1).fit(IMAGES * 7 + 3, y[:24])
    inputs = clf.network_input(IMAGES * 7 + 3)
    np.testing.assert_allclose(inputs.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_scale_and_shift_of_the_features_do_not_matter():
    plain = DeepClassifier(max_epochs=3, random_state=0).fit(X, y).predict_proba(X)
    moved = X * np.float32(64) - np.float32(128)
    other = DeepClassifier(max_epochs=3, random_state=0).fit(moved, y).predict_proba(moved)
    np.testing.assert_allclose(plain, other, atol=1e-3)


def test_warm_start_continues_and_otherwise_fit_starts_anew():
    warm = DeepClassifier(max_epochs=3, warm_start=True, random_state=0).fit(X, y)
    loss = warm.net_.history[-1, "train_loss"]
    warm.fit(X, y)
    assert len(warm.net_.history) == 6
    assert warm.net_.history[3, "train_loss"] < loss
    cold = DeepClassifier(max_epochs=3, random_state=0).fit(X, y).fit(X, y)
    assert len(cold.net_.history) == 3


def test_training_that_diverges_is_an_error():
    diverging = DeepClassifier(max_epochs=20, optimizer="sgd", lr=1e4, random_state=0)
    with pytest.raises(ValueError, match=r"diverged.*Lower lr"):
        diverging.fit(X, y)


def test_images_without_channels_are_an_error_that_says_how_to_add_them():
    images = np.zeros((6, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match=r"X\[:, None\]"):
        DeepClassifier(max_epochs=1).fit(images, [0, 1] * 3)
    fitted = DeepClassifier(max_epochs=1).fit(images[:, None], [0, 1] * 3)
    assert fitted.predict(images[:, None]).shape == (6,)


def test_warm_start_keeps_the_standardization():
    warm = DeepClassifier(max_epochs=1, warm_start=True, random_state=0).fit(X, y)
    mean = warm.mean_.copy()
    np.testing.assert_array_equal(warm.fit(X + 5, y).mean_, mean)


def test_warm_start_takes_the_parameters_of_today():
    """As scikit-learn's: here the rest of the epochs, in smaller batches."""
    warm = DeepClassifier(max_epochs=1, warm_start=True, random_state=0).fit(X, y)
    weights = warm.net_.module_.state_dict()
    warm.set_params(max_epochs=4, batch_size=8, weight_decay=0.5, lr=1e-12).fit(X, y)
    assert len(warm.net_.history) == 5
    assert len(warm.net_.history[-1]["batches"]) == int(np.ceil(len(X) / 8))
    assert warm.net_.optimizer_.param_groups[0]["weight_decay"] == 0.5
    for name, value in warm.net_.module_.state_dict().items():
        torch.testing.assert_close(value, weights[name])
    # The moments of Adam are those of both fits.
    steps = {int(state["step"]) for state in warm.net_.optimizer_.state_dict()["state"].values()}
    n_batches = int(np.ceil(len(X) / 128))
    assert steps == {n_batches + 4 * int(np.ceil(len(X) / 8))}
    with pytest.raises(ValueError, match="milestones"):
        warm.set_params(milestones=(0,)).fit(X, y)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_warm_start_with_another_memory_format_goes_on_with_the_same_moments(optimizer):
    images = np.random.default_rng(0).normal(size=(60, 3, 8, 8)).astype(np.float32)
    labels = np.arange(60) % 3
    params = {"max_epochs": 1, "optimizer": optimizer, "lr": 0.01, "random_state": 0}
    weights = []
    for channels_last in (False, True):
        warm = DeepClassifier(SmallResNet, warm_start=True, **params).fit(images, labels)
        warm.set_params(channels_last=channels_last).fit(images, labels)
        weights.append(warm.net_.module_.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


def test_the_order_of_images_in_memory_changes_nothing():
    images = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype(np.float32)
    strided, labels = images.transpose(0, 3, 1, 2), np.arange(40) % 2
    net = DeepClassifier(SmallResNet, max_epochs=2, random_state=0)
    expected = net.fit(np.ascontiguousarray(strided), labels).predict_proba(strided)
    np.testing.assert_array_equal(net.fit(strided, labels).predict_proba(strided), expected)


def test_rows_of_other_dimensions_are_refused():
    net = DeepClassifier(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 dimensions. Expected 2"):
        net.predict_proba(np.zeros((7, X.shape[1], 5)))


def test_arguments_that_the_classifier_gives_itself_are_refused():
    with pytest.raises(ValueError, match=r"module_params names \['n_inputs'\]"):
        DeepClassifier(module_params={"n_inputs": 3}).fit(X, y)


@pytest.mark.parametrize("shares", [[0.0, 1.0], [0.5, np.inf]])
def test_shares_that_have_no_logarithm_are_refused(shares):
    with pytest.raises(ValueError, match="numbers above 0"):
        LogitAdjustedLoss(shares)


def test_warm_start_with_another_network_is_an_error_that_says_so():
    warm = DeepClassifier(max_epochs=1, warm_start=True).fit(X, y)
    expected = warm.predict_proba(X)
    with pytest.raises(ValueError, match=r"warm_start=True needs the network of the last fit"):
        warm.set_params(module_params={"hidden": (7,)}).fit(X, y)
    np.testing.assert_array_equal(warm.predict_proba(X), expected)


@pytest.mark.parametrize("warm_start", [True, False])
@pytest.mark.parametrize("params", [{"milestones": (0,)}, {"optimizer": "sgd", "lr": 1e6}])
def test_a_fit_that_fails_leaves_the_classifier_as_it_was(params, warm_start):
    """A mixture of the old network and the new standardization would predict something."""
    clf = DeepClassifier(max_epochs=20, warm_start=warm_start, random_state=0).fit(X, y)
    expected = clf.predict_proba(X)
    clf.set_params(**params)
    with pytest.raises(ValueError, match=r"milestones|diverged"):
        clf.fit(10 * X + 3, y)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


@pytest.mark.parametrize("params", [{"optimizer": "sgd", "lr": 0.01}, {}])
def test_a_warm_fit_that_fails_leaves_the_moments_of_the_optimizer(params):
    """Otherwise the next fit would begin with those that diverged."""
    clf = DeepClassifier(max_epochs=2, warm_start=True, random_state=0, **params).fit(X, y)
    before = copy.deepcopy(clf.net_.optimizer_.state_dict()["state"])
    with pytest.raises(ValueError, match="diverged"):
        clf.set_params(optimizer=clf.optimizer, lr=1e30, max_epochs=20).fit(X, y)
    for key, state in clf.net_.optimizer_.state_dict()["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(value, before[key][name])
    clf.set_params(lr=0.01, max_epochs=1).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_warm_start_with_other_classes_is_an_error_that_names_both():
    warm = DeepClassifier(max_epochs=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start") as error:
        warm.fit(X, y + 1)
    assert "[0, 1, 2]" in str(error.value)
    assert "[1, 2, 3]" in str(error.value)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 17])
def test_few_rows_and_a_last_batch_of_one_are_fine(n):
    """The network for images has batch norm, which cannot train on a batch of one."""
    labels = np.arange(n) % 2
    batch_size = 8
    if n == 1:
        with pytest.raises(ValueError, match="more than 1 value"):
            DeepClassifier(Normalized, max_epochs=1, batch_size=batch_size).fit(X[:1], labels)
        return
    clf = DeepClassifier(Normalized, max_epochs=1, batch_size=batch_size).fit(X[:n], labels)
    assert clf.predict(X).shape == (60,)


class Normalized(nn.Module):
    def __init__(self, n_inputs, n_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, n_classes)
        )

    def forward(self, X):
        return self.layers(X)


def test_parameters_of_the_module_are_passed_on():
    clf = DeepClassifier(MLP, module_params={"hidden": (3, 2)}, max_epochs=1).fit(X, y)
    assert [layer[0].out_features for layer in clf.net_.module_.hidden] == [3, 2]
    assert clf.net_.module_.output.out_features == 3


def test_optimizer_has_the_settings_asked_for():
    clf = DeepClassifier(max_epochs=1, lr=0.02, weight_decay=0.3, batch_size=7).fit(X, y)
    [group] = clf.net_.optimizer_.param_groups
    assert isinstance(clf.net_.optimizer_, torch.optim.AdamW)
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.3)
    assert clf.net_.batch_size == 7
    assert next(clf.net_.module_.parameters()).device.type == "cpu"


def test_it_prints_only_when_asked(capsys):
    DeepClassifier(max_epochs=1).fit(X, y)
    assert capsys.readouterr().out == ""
    DeepClassifier(max_epochs=1, verbose=1).fit(X, y)
    assert "train_loss" in capsys.readouterr().out


def test_a_pickle_predicts_the_same():
    clf = DeepClassifier(max_epochs=1, random_state=0).fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))


def test_a_clone_is_unfitted_and_says_so():
    clf = clone(DeepClassifier(max_epochs=1).fit(X, y))
    with pytest.raises(NotFittedError):
        clf.predict(X)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"max_epochs": 0}, "max_epochs"),
        ({"lr": 0.0}, "lr"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"batch_size": 0}, "batch_size"),
        ({"module": "mlp"}, "module"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"momentum": 1.0}, "momentum"),
        ({"schedule": "linear"}, "schedule"),
        ({"milestones": 3}, "milestones"),
        ({"augment": "flip"}, "augment"),
        ({"balance": "weights"}, "balance"),
        ({"precision": "float16"}, "precision"),
        ({"channels_last": 2}, "channels_last"),
        ({"compile": "yes"}, "compile"),
        ({"warm_start": "yes"}, "warm_start"),
    ],
)
def test_bad_parameters_are_named(params, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        DeepClassifier(**params).fit(X, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_an_error(bad):
    rows = X.copy()
    rows[3, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        DeepClassifier(max_epochs=1).fit(rows, y)
    clf = DeepClassifier(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        clf.predict(rows)


def test_other_columns_than_in_fit_are_an_error():
    clf = DeepClassifier(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"4 features.*5 features"):
        clf.predict(X[:, :4])
