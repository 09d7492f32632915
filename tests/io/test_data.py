"""Data files: what is read is what was written, and every mistake is named by file and field."""

from __future__ import annotations

import gzip
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import files

from certify.core.errors import InputError
from certify.core.npy import read_npy
from certify.io.cifar import read_cifar
from certify.io.data import load_data
from certify.io.idx import read_idx
from certify.io.npz import Archive, read_npy_file

IMAGES, LABELS = files.pixels(6, 1, 3, 3), np.array([0, 1, 2, 0, 1, 9])


def written(folder, name, data: bytes):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


# --- npy and npz -----------------------------------------------------------------------------------------------------------------
DTYPES = st.sampled_from(["|b1", "|i1", "|u1", "<i2", "<i4", "<i8", ">i4", "<u2", "<f2", "<f4", "<f8", ">f8"])


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), st.booleans())
def test_npy_round_trip(folder, array, fortran):
    path = written(folder, "a.npy", files.npy(np.asfortranarray(array) if fortran and array.ndim else array))
    found = read_npy_file(path)
    assert found.dtype == array.dtype.newbyteorder("=") and found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_every_cut_of_an_npy_file_is_noticed(folder):
    data = files.npy(np.arange(5.0))
    for n in range(len(data)):
        with pytest.raises(InputError):
            read_npy_file(written(folder, "cut.npy", data[:n]))
    with pytest.raises(InputError, match="does not fit"):
        read_npy_file(written(folder, "cut.npy", data + b"!"))


def header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


@pytest.mark.parametrize(("data", "match"), [
    (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)), "dtype that is not read"),
    (header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)), "header|dtype"),
    (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", bytes(4)), "makes no sense"),
    (header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", bytes(4)), "does not fit"),
    (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", bytes(4)), "header"),
    (header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }", bytes(4)), "makes no sense"),
    (header("{'descr': '<f4', 'fortran_order': 2, 'shape': (1,), }", bytes(4)), "makes no sense"),
    (header("__import__('os').system('true')"), "cannot be read"),
    (header("(" * 3000), "cannot be read"),
    (header("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", bytes(8)), "dtype that is not read"),
    (header("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", b"\x00\x07"), "neither 0 nor 1"),
    (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70000, "too long"),
    (b"\x93NUMPY\x09\x00\x10\x00", "not a .npy"),
    (b"", "not a .npy"),
])  # fmt: skip
def test_bad_npy_headers(folder, data, match):
    with pytest.raises(InputError, match=match):
        read_npy_file(written(folder, "bad.npy", data))


def test_the_limit_on_an_array_holds_before_memory_is_taken(folder):
    with pytest.raises(InputError, match="too large"):
        read_npy_file(written(folder, "big.npy", files.npy(np.zeros(1000))), max_bytes=7999)
    with pytest.raises(InputError, match="too large"):
        Archive(written(folder, "big.npz", files.npz(a=np.zeros(1000))), max_bytes=7999).read("a")


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(folder, compressed):
    data = load_data(written(folder, "d.npz", files.npz(compressed, images=IMAGES, labels=LABELS)), classes=10)
    assert data.images.dtype == np.float32 and data.labels.dtype == np.int64 and len(data) == 6 and len(data.first(2)) == 2 and data.first(None) is data
    np.testing.assert_array_equal(data.images, IMAGES.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.labels, LABELS)
    assert "d.npz" in data.source and "255" in data.source


def test_other_names_and_floats(folder):
    x = np.random.default_rng(0).standard_normal((4, 5))
    for names in (("x", "y"), ("x_test", "y_test"), ("test_images", "test_labels")):
        data = load_data(written(folder, "n.npz", files.npz(**dict(zip(names, (x, np.arange(4)))))))
        assert data.images.dtype == np.float64
        np.testing.assert_array_equal(data.images, x)
    np.testing.assert_array_equal(load_data(folder / "n.npz", scale=2).images, x / 2)


def test_npy_pairs(folder):
    home = folder / "pair"
    home.mkdir()
    written(home, "images.npy", files.npy(IMAGES))
    with pytest.raises(InputError, match="labels"):
        load_data(home / "images.npy")
    written(home, "labels.npy", files.npy(LABELS))
    for data in (load_data(home / "images.npy"), load_data(home), load_data(home / "images.npy", labels=home / "labels.npy")):
        np.testing.assert_array_equal(data.labels, LABELS)


BAD = {
    "NaN pixel": ({"images": np.where(np.arange(54).reshape(6, 9) == 31, np.nan, 1.0), "labels": LABELS}, {}, r"not finite(.|\n)*\(3, 4\)"),
    "infinite pixel": ({"images": np.full((6, 2), np.inf), "labels": LABELS}, {}, "not finite"),
    "too few labels": ({"images": IMAGES, "labels": LABELS[:5]}, {}, "do not fit the images"),
    "one-hot labels": ({"images": IMAGES, "labels": np.eye(6)}, {}, "argmax"),
    "float labels": ({"images": IMAGES, "labels": LABELS + 0.5}, {}, "not integers"),
    "negative label": ({"images": IMAGES, "labels": LABELS - 1}, {}, r"out of range(.|\n)*entry 0"),
    "label beyond the classes": ({"images": IMAGES, "labels": LABELS}, {"classes": 9}, r"out of range(.|\n)*entry 5"),
    "no samples": ({"images": IMAGES[:0], "labels": LABELS[:0]}, {}, "empty"),
    "one image without batch": ({"images": np.zeros(6), "labels": LABELS}, {}, "not a batch"),
    "integers of unknown scale": ({"images": IMAGES.astype(int), "labels": LABELS}, {}, "scale"),
    "bool images": ({"images": IMAGES > 3, "labels": LABELS}, {}, "not numbers"),
    "objects": ({"images": np.array([{}] * 6), "labels": LABELS}, {}, "pickles"),
    "other names": ({"pictures": IMAGES, "classes": LABELS}, {}, "pictures, classes"),
    "a wrong shape": ({"images": IMAGES, "labels": LABELS}, {"input_shape": (3, 1, 4)}, "do not have the shape"),
    "channels last": ({"images": files.pixels(6, 4, 4, 3), "labels": LABELS}, {"input_shape": (3, 4, 4)}, "channels are last"),
    "scale 0": ({"images": IMAGES, "labels": LABELS}, {"scale": 0}, "positive"),
    "unknown split": ({"images": IMAGES, "labels": LABELS}, {"split": "validation"}, "split"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_in_data_are_named(folder, name):
    arrays, options, match = BAD[name]
    with pytest.raises(InputError, match=match) as caught:
        load_data(written(folder, "bad.npz", files.npz(**arrays)), **options)
    assert "bad.npz" in str(caught.value) or "argument" in str(caught.value)


@pytest.mark.parametrize(("have", "want"), [((1, 3, 3), (3, 3)), ((3, 3), (1, 3, 3)), ((1, 3, 3), (9,)), ((9,), (1, 3, 3)), ((2, 3), (6, 1))])
def test_shapes_that_only_differ_by_axes_of_size_one_or_are_flat(folder, have, want):
    x = np.random.default_rng(0).standard_normal((4, *have))
    data = load_data(written(folder, "s.npz", files.npz(images=x, labels=np.arange(4))), input_shape=want)
    np.testing.assert_array_equal(data.images, x.reshape(4, *want))


def test_zip_tricks_are_refused(folder):
    good = files.npz(True, images=np.zeros((6, 100, 100)), labels=LABELS)
    liar = good.replace(struct.pack("<I", 480128), struct.pack("<I", 1 << 30))  # the size of the entry in both directories
    assert liar != good
    with pytest.raises(InputError, match="deflate|damaged|fit"):
        load_data(written(folder, "liar.npz", liar))
    directory = good.index(b"PK\1\2")
    greedy = good[: directory + 20] + struct.pack("<I", 3 << 30) + good[directory + 24 :]  # the packed size: zipfile would read that much at once
    with pytest.raises(InputError, match="claims"):
        load_data(written(folder, "greedy.npz", greedy))
    for n in range(0, len(good), 97):
        with pytest.raises(InputError):
            load_data(written(folder, "cut.npz", good[:n]))


# --- IDX -------------------------------------------------------------------------------------------------------------------------
@given(hnp.arrays(st.sampled_from(["|u1", "|i1", "<i2", "<i4", "<f4", "<f8"]), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)), st.booleans())
def test_idx_round_trip(folder, array, packed):
    data = files.idx(array)
    found = read_idx(written(folder, "a.idx", gzip.compress(data) if packed else data))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx(folder, packed):
    whole = files.idx(IMAGES[:, 0])
    pack = gzip.compress if packed else bytes
    for n in range(len(whole)):
        with pytest.raises(InputError):
            read_idx(written(folder, "cut", pack(whole[:n])))
    for bad in (
        whole + b"!",
        b"\0\0\x08\x03" + struct.pack(">3I", 1 << 31, 1 << 31, 1 << 31),
        b"\0\0\x08\x01" + struct.pack(">I", 1 << 30),
        b"\0\1" + whole[2:],
        b"\0\0\x0a" + whole[3:],
        b"\0\0\x08\x00",
    ):
        with pytest.raises(InputError, match="IDX"):
            read_idx(written(folder, "bad", pack(bad)))


@pytest.mark.parametrize(
    "names",
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"),
        ("emnist-letters-test-images-idx3-ubyte.gz", "emnist-letters-test-labels-idx1-ubyte.gz"),
    ],
)
def test_idx_pairs_are_found_from_the_folder_and_from_either_file(tmp_path, names):
    for name, array in zip(names, (IMAGES[:, 0], LABELS.astype(np.uint8))):
        written(tmp_path, name, gzip.compress(files.idx(array)) if name.endswith(".gz") else files.idx(array))
    for path in (tmp_path, tmp_path / names[0], tmp_path / names[1]):
        data = load_data(path)
        assert data.images.shape == (6, 1, 3, 3)
        np.testing.assert_array_equal(data.labels, LABELS)
    with pytest.raises(InputError, match="train"):
        load_data(tmp_path, split="train")
    (tmp_path / names[1]).unlink()
    with pytest.raises(InputError, match="labels"):
        load_data(tmp_path / names[0])


def test_mnist_itself(data_folder):
    if not (data_folder / "mnist").is_dir():
        pytest.skip("no mnist in the data folder")
    data = load_data(data_folder / "mnist", classes=10, input_shape=(784,))
    assert data.images.shape == (10000, 784) and data.images.max() == 1 and np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# --- CIFAR -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("fine", [False, True])
def test_cifar_python_batches(tmp_path, protocol, fine):
    pixels, labels = files.pixels(3, 3072), [1, 0, 9]
    batch = {b"data": pixels, b"fine_labels" if fine else b"labels": labels, b"coarse_labels": [0, 0, 0], b"filenames": [b"a"] * 3}
    written(tmp_path, "test" if fine else "test_batch", pickle.dumps(batch, protocol=protocol))
    written(tmp_path, "meta", b"")
    for path in (tmp_path, tmp_path / ("test" if fine else "test_batch")):
        data = load_data(path)
        np.testing.assert_array_equal(data.images, (pixels / np.float32(255)).reshape(3, 3, 32, 32).astype(np.float32))
        assert data.labels.tolist() == labels


@pytest.mark.parametrize("fine", [False, True])
def test_cifar_binary_batches(tmp_path, fine):
    pixels = files.pixels(4, 3072)
    rows = b"".join(bytes([7] * fine + [k]) + p.tobytes() for k, p in enumerate(pixels))
    written(tmp_path, "test.bin" if fine else "test_batch.bin", rows)
    images, labels, classes = read_cifar(tmp_path, "test")
    np.testing.assert_array_equal(images.reshape(4, -1), pixels)
    assert labels.tolist() == [0, 1, 2, 3] and classes == (100 if fine else 10)
    written(tmp_path, "test.bin" if fine else "test_batch.bin", rows[:-1])
    with pytest.raises(InputError, match="truncated"):
        load_data(tmp_path)


class Attack:
    """What a hostile batch would like to run."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def build_on_our_function() -> bytes:
    return b"\x80\x02c_codecs\nencode\n}U\x0c__defaults__U\x01xsb."


@pytest.mark.parametrize("make", [
    lambda target: pickle.dumps(Attack(os.system, f"touch {target}")),
    lambda target: pickle.dumps({b"data": Attack(eval, f"open({str(target)!r}, 'w')"), b"labels": []}),
    lambda target: b"cposix\nsystem\n(S'touch " + str(target).encode() + b"'\ntR.",
    lambda target: pickle.dumps(Attack(np.load, str(target))),
    lambda target: build_on_our_function(),
    lambda target: b"\x80\x02X\xff\xff\xff\x7fabc.",
    lambda target: b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",
    lambda target: b"\x80\x02Nr\xff\xff\xff\x7f.",
    lambda target: b"\x80\x02" + b"]" * 1_100_000 + b".",
    lambda target: b"\x80\x02(lp0\nPhello\n.",
    lambda target: pickle.dumps([1, 2]),
    lambda target: pickle.dumps({b"data": [1], b"labels": [1]}),
    lambda target: pickle.dumps({b"data": files.pixels(2, 3072), b"labels": [1]}),
    lambda target: pickle.dumps({b"data": files.pixels(1, 3072).astype(float), b"labels": [1]}, protocol=2),
    lambda target: pickle.dumps({b"data": files.pixels(1, 3072), b"labels": [1.5]}, protocol=2),
    lambda target: pickle.dumps({b"data": files.pixels(1, 3072), b"labels": [1]}, protocol=2)[:-400],
])  # fmt: skip
def test_hostile_and_damaged_cifar_batches_execute_nothing(tmp_path, make):
    target = tmp_path / "touched"
    path = written(tmp_path, "test_batch", make(target))
    with pytest.raises(InputError, match="CIFAR"):
        load_data(path)
    assert not target.exists()
    from certify.io import cifar

    assert cifar._encode.__defaults__ == ("latin1",)


# --- folders of images, and what is nothing of all this --------------------------------------------------------------------------
def test_image_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                image.fromarray(files.pixels(4, 5, 3, seed=10 * k + i)).save(tmp_path / split / name / f"{i}.png")
    data = load_data(tmp_path, split="train")
    assert data.images.shape == (4, 3, 4, 5) and data.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(data.images[3], files.pixels(4, 5, 3, seed=11).transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    image.fromarray(files.pixels(4, 4, 3)).save(tmp_path / "train" / "dog" / "9.png")
    with pytest.raises(InputError, match="different sizes"):
        load_data(tmp_path, split="train")
    written(tmp_path / "train" / "cat", "0.png", b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        load_data(tmp_path, split="train")


@pytest.mark.parametrize("bad", ["missing", "", "a\0b", None, 7, "text", "fifo"])
def test_paths_that_hold_no_data(tmp_path, bad):
    written(tmp_path, "text", b"hello")
    os.mkfifo(tmp_path / "fifo")  # reading it would block for ever
    with pytest.raises(InputError):
        load_data(tmp_path / bad if isinstance(bad, str) and bad and "\0" not in bad else (tmp_path if bad == "" else bad))


def test_read_npy_takes_a_stream(tmp_path):
    path = written(tmp_path, "a.npy", files.npy(np.arange(3)))
    with open(path, "rb") as stream:
        assert read_npy(stream, path.stat().st_size, "here").tolist() == [0, 1, 2]
