"""Data sets: exact class counts of the variants, images as they lie in the folders."""

import sys
import tarfile
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from real_data import find_real_data, real_data
from sklearn.datasets import load_digits

from skvaball.datasets import (
    load_image_folder,
    load_train_test,
    make_dominant,
    make_long_tailed,
    make_rare,
    make_variant,
)


def counts(y):
    """Rows of each class, by counting."""
    return {label: sum(1 for v in y if v == label) for label in sorted(set(y))}


# Imbalanced variants


def test_dominant_keeps_the_class_and_a_tenth_of_the_others():
    y = np.tile([0, 1, 2], 50)
    kept = make_dominant(y, classes=1, random_state=0)
    assert counts(y[kept].tolist()) == {0: 5, 1: 50, 2: 5}
    assert kept.dtype == np.int64


def test_rare_keeps_a_tenth_of_the_class_and_the_others():
    y = np.tile([0, 1, 2], 50)
    kept = make_rare(y, classes=[0, 2], keep=0.2, random_state=0)
    assert counts(y[kept].tolist()) == {0: 10, 1: 50, 2: 10}


@pytest.mark.parametrize("make", [make_dominant, make_rare])
def test_names_of_the_classes_do_not_matter(make):
    codes = np.tile([0, 1, 2], 50)
    expected = make(codes, [0, 1], random_state=3)
    names = np.array(["bird", "cat", "dog"])[codes]
    for y in (names, names.astype(object), names.tolist()):
        np.testing.assert_array_equal(make(y, ["bird", "cat"], random_state=3), expected)
    one = make(codes, 0, random_state=3)
    np.testing.assert_array_equal(make(names, "bird", random_state=3), one)


@settings(max_examples=50, deadline=None)
@given(
    # Two rows or more: scikit-learn takes labels that hardly repeat for a regression.
    rows=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    keep=st.floats(0.3, 1.0),
    seed=st.integers(0, 2**31 - 1),
    data=st.data(),
)
def test_exact_counts_sorted_positions_and_nothing_else_lost(rows, keep, seed, data):
    y = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(rows)), rows))
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True))
    for make, cut in (
        (make_rare, set(chosen)),
        (make_dominant, set(range(len(rows))) - set(chosen)),
    ):
        kept = make(y, chosen, keep=keep, random_state=seed)
        expected = [round(keep * n) if k in cut else n for k, n in enumerate(rows)]
        assert np.bincount(y[kept]).tolist() == expected
        assert np.all(np.diff(kept) > 0)
        np.testing.assert_array_equal(kept, make(y, chosen, keep=keep, random_state=seed))


def test_another_seed_keeps_other_rows():
    y = np.tile([0, 1], 200)
    first, second = (make_rare(y, 0, random_state=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("make", [make_dominant, make_rare])
def test_errors_of_variants(make):
    y = np.tile([0, 1, 2], 50)
    with pytest.raises(ValueError, match=r"\[7\] do not occur in y.*\[0, 1, 2\]"):
        make(y, [0, 7])
    with pytest.raises(ValueError, match=r"\['1'\] do not occur"):
        make(y, "1")
    with pytest.raises(ValueError, match="classes is empty"):
        make(y, [])
    for keep in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"keep=.* in \(0, 1\]"):
            make(y, 0, keep=keep)
    with pytest.raises(ValueError, match=r"no row of class .*, which has 50"):
        make(y, 0, keep=0.001)


# Variants by the names of the paper

CIFAR10_LABELS = np.tile(np.arange(10), 5000)
CIFAR100_LABELS = np.tile(np.arange(100), 500)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("+[1]", [5000, *[500] * 9]),
        ("+[10]", [*[500] * 9, 5000]),
        ("-[1]", [500, *[5000] * 9]),
        ("-[10]", [*[5000] * 9, 500]),
    ],
)
def test_variants_of_cifar10(name, expected):
    kept = make_variant(CIFAR10_LABELS, name, random_state=0)
    assert np.bincount(CIFAR10_LABELS[kept]).tolist() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Both ends belong to a range: 45:55 are eleven classes.
        ("+[45:55]", [*[300] * 44, *[500] * 11, *[300] * 45]),
        ("+[1:10]", [*[500] * 10, *[300] * 90]),
        ("-[91:100]", [*[500] * 90, *[300] * 10]),
    ],
)
def test_variants_of_cifar100(name, expected):
    kept = make_variant(CIFAR100_LABELS, name, random_state=0)
    assert np.bincount(CIFAR100_LABELS[kept]).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.integers(5, 30), min_size=2, max_size=6),
    keep=st.none() | st.floats(0.3, 1.0),
    sign=st.sampled_from("+-"),
    seed=st.integers(0, 2**31 - 1),
    data=st.data(),
)
def test_names_count_classes_from_one_whatever_they_are_called(rows, keep, sign, seed, data):
    names = np.array(["a", "b", "c", "d", "e", "f"])[: len(rows)]
    y = np.random.RandomState(seed).permutation(np.repeat(names, rows))
    first = data.draw(st.integers(1, len(rows)))
    last = data.draw(st.integers(first, len(rows)))
    kept = make_variant(y, f"{sign}[{first}:{last}]", keep=keep, random_state=seed)
    make = make_dominant if sign == "+" else make_rare
    expected = make(
        y, names[first - 1 : last], keep=0.6 if keep is None else keep, random_state=seed
    )
    np.testing.assert_array_equal(kept, expected)


def test_keep_of_variants_can_be_chosen():
    kept = make_variant(CIFAR10_LABELS, "-[2]", keep=0.5, random_state=0)
    assert np.bincount(CIFAR10_LABELS[kept]).tolist() == [5000, 2500, *[5000] * 8]


@pytest.mark.parametrize(
    "name", ["", "1", "[1]", "+1", "*[1]", "+[a]", "+[1:]", "+[1][2]", "+[-1]"]
)
def test_names_that_are_no_variants(name):
    with pytest.raises(ValueError, match=r"is not the name of a variant. Expected '\+\[k\]'"):
        make_variant(CIFAR10_LABELS, name)


@pytest.mark.parametrize("name", ["+[0]", "-[11]", "+[3:2]", "+[9:11]"])
def test_variants_of_classes_that_do_not_exist(name):
    with pytest.raises(ValueError, match=r"does not fit the 10 classes.*from 1 to 10"):
        make_variant(CIFAR10_LABELS, name)


# Long tails


@pytest.mark.parametrize(("labels", "total"), [(CIFAR10_LABELS, 12_406), (CIFAR100_LABELS, 10_847)])
def test_long_tails_of_cifar_have_the_sizes_known_from_the_literature(labels, total):
    kept = make_long_tailed(labels, imbalance_ratio=100, random_state=0)
    counts = np.bincount(labels[kept])
    assert len(kept) == total
    assert counts[0] == 100 * counts[-1]


@settings(max_examples=50, deadline=None)
@given(
    n_classes=st.integers(2, 6),
    rows=st.integers(20, 60),
    ratio=st.floats(1, 15),
    seed=st.integers(0, 2**31 - 1),
)
def test_long_tails_decay_by_one_factor(n_classes, rows, ratio, seed):
    y = np.random.RandomState(seed).permutation(np.repeat(np.arange(n_classes), rows))
    kept = make_long_tailed(y, ratio, random_state=seed)
    counts = np.bincount(y[kept])
    factor = ratio ** (1 / (n_classes - 1))
    for k, count in enumerate(counts):
        assert count <= rows / factor**k + 1e-6 < count + 1.00001
    assert np.all(np.diff(kept) > 0)
    np.testing.assert_array_equal(kept, make_long_tailed(y, ratio, random_state=seed))


def test_rounding_of_the_power_costs_no_row():
    y = np.repeat(np.arange(7), 64)
    kept = make_long_tailed(y, imbalance_ratio=64, random_state=0)
    assert np.bincount(y[kept]).tolist() == [64, 32, 16, 8, 4, 2, 1]


def test_long_tails_of_names_keep_the_same_rows():
    codes = np.tile([0, 1, 2], 50)
    names = np.array(["bird", "cat", "dog"])[codes]
    first, second = (make_long_tailed(y, 10, random_state=3) for y in (codes, names))
    np.testing.assert_array_equal(first, second)


def test_errors_of_long_tails():
    y = np.tile([0, 1, 2], 50)
    for ratio in (0.5, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"imbalance_ratio=.*at least 1"):
            make_long_tailed(y, ratio)
    with pytest.raises(ValueError, match=r"single class 4. Expected at least two"):
        make_long_tailed([4, 4, 4])
    with pytest.raises(ValueError, match="Class 2 would keep 0 of its 50 rows"):
        make_long_tailed(y, 51)
    with pytest.raises(ValueError, match=r"Class 1 would keep 15 of its 5 rows, .* at 50"):
        make_long_tailed(np.repeat([0, 1, 2], [50, 5, 50]), 10)


# Folders of images


def save(path, colour, *, mode="RGB", size=(6, 4)):
    """One image of a single colour; `size` is Pillow's (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "dog" / "2.png", (0, 0, 255))
    save(tmp_path / "dog" / "10.png", (0, 255, 0))
    save(tmp_path / "cat" / "a.BMP", (255, 0, 0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "._a.png").write_text("no image either")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.txt").write_text("no class")
    return tmp_path


def test_images_lie_in_the_order_of_names(folder):
    images = load_image_folder(folder)
    assert images.data.shape == (3, 3, 4, 6)
    assert images.data.dtype == np.uint8
    assert images.target.dtype == np.int64
    assert images.target.tolist() == [0, 1, 1]
    assert images.target_names.tolist() == ["cat", "dog"]
    assert images.filenames.tolist() == [
        str(folder / "cat" / "a.BMP"),
        str(folder / "dog" / "10.png"),
        str(folder / "dog" / "2.png"),
    ]
    assert images.data[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert "cat 1, dog 2" in images.DESCR
    X, y = load_image_folder(str(folder), return_X_y=True)
    np.testing.assert_array_equal(X, images.data)
    np.testing.assert_array_equal(y, images.target)


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png")
    np.testing.assert_array_equal(load_image_folder(tmp_path).data[0], pixels.transpose(2, 0, 1))


def test_classes_choose_and_order(folder):
    images = load_image_folder(folder, classes=["dog", "cat"])
    assert images.target.tolist() == [0, 0, 1]
    assert images.target_names.tolist() == ["dog", "cat"]
    assert load_image_folder(folder, classes=["dog"]).data.shape == (2, 3, 4, 6)


def test_grey_and_colour_mix_under_one_mode(tmp_path):
    save(tmp_path / "a" / "0.png", 100, mode="L")
    save(tmp_path / "a" / "1.png", (100, 100, 100))
    grey = load_image_folder(tmp_path, mode="L").data
    assert grey.shape == (2, 1, 4, 6)
    assert np.all(grey == 100)
    assert load_image_folder(tmp_path).data.shape == (2, 3, 4, 6)


def test_size_is_height_by_width(folder):
    save(folder / "dog" / "3.png", (0, 0, 255), size=(9, 9))
    assert load_image_folder(folder, size=(2, 5)).data.shape == (4, 3, 2, 5)
    assert load_image_folder(folder, size=3).data.shape == (4, 3, 3, 3)


def test_different_sizes_name_both_and_the_remedy(folder):
    save(folder / "dog" / "3.png", (0, 0, 255), size=(9, 8))
    with pytest.raises(ValueError, match=r"3\.png has 8 x 9, .*a\.BMP has 4 x 6.*size="):
        load_image_folder(folder)


def test_errors_of_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no sub-folders"):
        load_image_folder(tmp_path)
    save(tmp_path / "a" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"\['b'\] have no sub-folder.*\['a'\]"):
        load_image_folder(tmp_path, classes=["a", "b"])
    with pytest.raises(ValueError, match="is a string"):
        load_image_folder(tmp_path, classes="a")
    for classes in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="each of them once"):
            load_image_folder(tmp_path, classes=classes)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="b has no images"):
        load_image_folder(tmp_path)
    with pytest.raises(ValueError, match="mode='HSV' is unknown"):
        load_image_folder(tmp_path, mode="HSV")
    for size in (0, (4,), (4, -1), (4.0, 4.0)):
        with pytest.raises(ValueError, match="is not a size"):
            load_image_folder(tmp_path, size=size)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load_image_folder(tmp_path)
    # A copy that was broken off, with zeros in place of the rest.
    rng = np.random.default_rng(0)
    file = tmp_path / "a" / "broken.png"
    Image.fromarray(rng.integers(0, 256, (400, 400), dtype=np.uint8)).save(file)
    pixels = file.read_bytes()
    end = pixels.index(b"IDAT", pixels.index(b"IDAT") + 4) - 4  # the second of them
    file.write_bytes(pixels[:end] + bytes(len(pixels) - end))
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load_image_folder(tmp_path)
    file.unlink()
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "a" / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits"):
        load_image_folder(tmp_path)


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[vision\]"'):
        load_image_folder(folder)


# Both parts of a data set by name; CIFAR and NEU have files of their own


def test_digits_are_split_with_their_images():
    digits = load_train_test("digits", test_size=0.3, random_state=0)
    assert digits.data_train.shape == (1257, 64)
    assert digits.data_test.shape == (540, 64)
    assert digits.data_train.dtype == np.float32
    assert digits.images_test.shape == (540, 1, 8, 8)
    assert digits.images_test.dtype == np.uint8
    assert digits.target_train.dtype == np.int64
    assert digits.target_names.tolist() == list("0123456789")
    for part in ("train", "test"):
        scaled = np.rint(digits[f"data_{part}"].reshape(-1, 1, 8, 8) * 255 / 16)
        np.testing.assert_array_equal(digits[f"images_{part}"], scaled)
    # Every digit is in one part, with its label.
    X, y = load_digits(return_X_y=True)
    expected = sorted((*row, label) for row, label in zip(X.tolist(), y.tolist(), strict=True))
    rows = np.concatenate([digits.data_train, digits.data_test]).tolist()
    labels = [*digits.target_train.tolist(), *digits.target_test.tolist()]
    assert sorted((*row, k) for row, k in zip(rows, labels, strict=True)) == expected
    # Stratified: of about 180 images of each digit, 30 %.
    np.testing.assert_allclose(np.bincount(digits.target_test), 0.3 * np.bincount(y), atol=1)


def test_the_seed_draws_the_split_of_the_digits():
    first, again, other = (load_train_test("digits", random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.data_test, again.data_test)
    assert not np.array_equal(first.target_test, other.target_test)


def test_errors_of_names_and_paths(tmp_path):
    with pytest.raises(ValueError, match=r"'mnist' is unknown. Expected one of .*'cifar10'"):
        load_train_test("mnist")
    for name in ("cifar10", "cifar100", "neu"):
        with pytest.raises(FileNotFoundError, match=f"nowhere' does not exist.*{name}"):
            load_train_test(name, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"NEU-CLS-64 is not downloaded. Pass path="):
        load_train_test("neu")
    with pytest.raises(ValueError, match="come with scikit-learn"):
        load_train_test("digits", tmp_path)


# Real data


def test_steel_defects():
    images = load_image_folder(real_data("neu64"), mode="L")
    assert images.data.shape == (7226, 1, 64, 64)
    rows = np.bincount(images.target).tolist()
    assert dict(zip(images.target_names.tolist(), rows, strict=True)) == {
        "cr": 1210,
        "gg": 296,
        "in": 775,
        "pa": 1148,
        "ps": 797,
        "rp": 200,
        "rs": 1589,
        "sc": 773,
        "sp": 438,
    }


def test_archives_are_extracted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SKVABALL_DATA", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert find_real_data("neu64") is None
    with pytest.raises(pytest.skip.Exception, match=r"neu64\.tar\.xz is not in"):
        real_data("neu64")
    save(tmp_path / "source" / "neu64" / "cr" / "1.png", 0, mode="L")
    with tarfile.open(tmp_path / "neu64.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "source" / "neu64", "neu64")
    folder = find_real_data("neu64")
    assert folder == tmp_path / "skvaball-data" / "neu64"
    assert [path.name for path in (folder / "cr").iterdir()] == ["1.png"]
    assert [path.name for path in folder.parent.iterdir()] == ["neu64"]
    stamp = folder.stat().st_mtime_ns
    assert find_real_data("neu64") == folder
    assert folder.stat().st_mtime_ns == stamp
