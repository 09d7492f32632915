"""The container: what is written comes back, writing is all or nothing, and hostile files cost an error and little memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from certify.core.errors import CertificateError, InputError
from certify.core.graph import GraphBuilder
from certify.core.record import atomic_path, canonical_json, digest_array, digest_graph, read_record, write_record

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64")
json_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
arrays_of_any_dtype = st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))


@given(st.dictionaries(st.text(max_size=4), json_data, max_size=4), st.dictionaries(st.from_regex("[a-z_]{1,8}", fullmatch=True), arrays_of_any_dtype, max_size=3), st.booleans())
def test_documents_and_arrays_come_back_to_the_last_bit(tmp_path_factory, document, arrays, fortran):
    path = tmp_path_factory.getbasetemp() / "record"
    laid_out = {k: np.asfortranarray(a) if a.ndim else a for k, a in arrays.items()} if fortran else arrays
    write_record(path, document, laid_out)
    found, stored = read_record(path)
    assert found == document and stored.keys() == arrays.keys()
    for name, array in arrays.items():
        assert stored[name].dtype == array.dtype and stored[name].shape == array.shape and stored[name].tobytes() == array.tobytes()
        assert digest_array(stored[name]) == digest_array(array)
    first = path.read_bytes()
    write_record(path, document, laid_out)
    assert path.read_bytes() == first


def test_big_endian_and_strided_arrays_are_stored_by_value(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    write_record(tmp_path / "r", {}, {"big": array.astype(">f8"), "strided": array[::2, ::-1]})
    _, stored = read_record(tmp_path / "r")
    assert (stored["big"] == array).all() and (stored["strided"] == array[::2, ::-1]).all()
    assert digest_array(array.astype(">f8")) == digest_array(array)


def test_digests_see_values_shape_and_dtype():
    arrays = [np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.float32), np.zeros(3), np.array([0.0, -0.0]), np.array([0.0, 5e-324]), np.zeros((0, 2)), np.zeros((2, 0)), np.zeros(())]
    assert len({digest_array(a) for a in arrays}) == len(arrays)


def test_a_graph_digest_forgets_names_and_sees_everything_else():
    def graph(name="fc", weight=1.0, kind="relu", order=(0, 1)):
        b = GraphBuilder()
        x = b.add("input", attrs={"shape": (2,)}, source=name)
        parts = [b.add("dense", [x], arrays={"weight": np.full((2, 2), weight)}, name=name), b.add("activation", [x], {"kind": kind})]
        return b.build(b.add("sub", [parts[i] for i in order]))

    assert digest_graph(graph()) == digest_graph(graph("other")) == graph().digest
    assert len({digest_graph(g) for g in (graph(), graph(weight=np.nextafter(1, 2)), graph(kind="abs"), graph(order=(1, 0)), graph(order=(0, 0)))}) == 5


def test_canonical_json_is_one_text_per_value():
    assert canonical_json({"b": np.float64(0.1), "a": (np.int64(1), True, np.arange(2))}) == '{"a":[1,true,[0,1]],"b":0.1}'
    with pytest.raises(TypeError):
        canonical_json({"a": object()})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_no_reader_takes_are_not_written(tmp_path, bad):
    with pytest.raises(InputError, match="not finite"):
        write_record(tmp_path / "r", {"a": [bad]}, {})
    assert not list(tmp_path.iterdir())


# --- all or nothing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_or_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "r"
    path.write_text("old")
    with pytest.raises(error):
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    """The file size limit of a process stands in for a full disk."""
    code = f"""
import resource, signal, numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from certify.core.record import write_record
from certify.core.errors import InputError
try:
    write_record({str(tmp_path / "r")!r}, {{}}, {{"a": np.random.default_rng(0).normal(size=10000)}})
except InputError as error:
    print("refused", "could not be written" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd(), timeout=60)
    assert done.stdout.strip() == "refused True", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_mode_of_a_new_file_is_that_of_the_umask(tmp_path):
    write_record(tmp_path / "r", {}, {})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "r").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("path", ["absent/folder/r", "."])
def test_places_that_cannot_be_written(tmp_path, path):
    with pytest.raises(InputError, match="could not be written"):
        write_record(tmp_path / path, {}, {})


# --- hostile files ----------------------------------------------------------------------------------------------------------------


def zip_of(entries, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(header: str, body: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + body


def npy_header(descr="'<f8'", fortran="False", shape="(1,)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


EIGHT = bytes(8)
BROKEN_ARRAYS = {
    "no magic": b"hello",
    "empty": b"",
    "pickle": npy(npy_header("'|O'"), b"cos\nsystem\n(S'touch x'\ntR."),
    "structured": npy(npy_header("[('a', '<f8')]"), EIGHT),
    "complex": npy(npy_header("'<c8'"), EIGHT),
    "big endian": npy(npy_header("'>f8'"), EIGHT),
    "huge shape": npy(npy_header(shape=f"({1 << 39},)"), EIGHT),
    "beyond 64 bits": npy(npy_header(shape=f"({1 << 39}, {1 << 39})"), EIGHT),
    "negative": npy(npy_header(shape="(-1,)"), EIGHT),
    "bool axis": npy(npy_header(shape="(True,)"), EIGHT),
    "too short": npy(npy_header(shape="(2,)"), EIGHT),
    "too long": npy(npy_header(shape="(1,)"), EIGHT * 2),
    "list shape": npy(npy_header(shape="[1]"), EIGHT),
    "deep header": npy("(" * 4000, EIGHT),
    "long header": npy(npy_header() + " " * 5000, EIGHT),
    "code in header": npy(npy_header(shape="(__import__('os').getpid(),)"), EIGHT),
    "missing key": npy("{'descr': '<f8'}", EIGHT),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "version 2, giant header": npy(npy_header(), EIGHT, 2).replace(struct.pack("<I", len(npy_header())), struct.pack("<I", 1 << 31)),
}


@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_broken_arrays_are_refused(tmp_path, name):
    (tmp_path / "r").write_bytes(zip_of([("certificate.json", "{}"), ("arrays/a.npy", BROKEN_ARRAYS[name])]))
    with pytest.raises(CertificateError):
        read_record(tmp_path / "r")


def test_a_version_two_header_is_read(tmp_path):
    (tmp_path / "r").write_bytes(zip_of([("certificate.json", "{}"), ("arrays/a.npy", npy(npy_header(), struct.pack("<d", 2.5), 2))]))
    assert read_record(tmp_path / "r")[1]["a"].tolist() == [2.5]


BROKEN_FILES = {
    "empty": b"",
    "text": b"hello, this is no zip",
    "no document": zip_of([("other", "x")]),
    "not an object": zip_of([("certificate.json", "[1]")]),
    "not JSON": zip_of([("certificate.json", "{")]),
    "not UTF-8": zip_of([("certificate.json", b"\xff\xfe\xfd")]),
    "NaN": zip_of([("certificate.json", '{"a": NaN}')]),
    "nested": zip_of([("certificate.json", '{"a":' + "[" * 200_000)]),
    "digits": zip_of([("certificate.json", '{"a":' + "9" * 10_000 + "}")]),
    "lzma": zip_of([("certificate.json", "{}")], zipfile.ZIP_LZMA),
    "bzip2": zip_of([("certificate.json", "{}")], zipfile.ZIP_BZIP2),
    "twenty megabytes of lists": zip_of([("certificate.json", '{"a":[' + "[]," * 7_000_000 + "0]}")]),
    "a megabyte of lists, no object": zip_of([("certificate.json", "[" + "[]," * 350_000 + "0]")]),
    "many entries": zip_of([(str(i), "") for i in range(10_002)]),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files_are_refused_in_little_memory(tmp_path, name):
    (tmp_path / "r").write_bytes(BROKEN_FILES[name])
    tracemalloc.start()
    try:
        with pytest.raises(CertificateError):
            read_record(tmp_path / "r")
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # 16 MiB of document at most, each MiB of text about 25 MiB of objects
    finally:
        tracemalloc.stop()


def test_entries_listed_twice_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        (tmp_path / "r").write_bytes(zip_of([("certificate.json", "{}"), ("certificate.json", '{"a": 1}')]))
    with pytest.raises(CertificateError, match="twice"):
        read_record(tmp_path / "r")


def test_a_zip64_end_record_is_refused(tmp_path):
    """It overrides the sizes that are checked before zipfile makes an object of every entry."""
    data = zip_of([("certificate.json", "{}")])
    place = data.rfind(b"PK\x05\x06")
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1 << 40, place)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)
    (tmp_path / "r").write_bytes(data[:place] + end64 + locator + data[place:])
    with pytest.raises(CertificateError):
        read_record(tmp_path / "r")


def test_a_bomb_is_refused_by_its_promise_and_by_its_content(tmp_path):
    """A gigabyte of zeros takes a megabyte of file: the promised size is compared with the limit, a wrong promise with the content."""
    body = npy(npy_header(shape=f"({1 << 20},)"), bytes(8 << 20))
    data = zip_of([("certificate.json", "{}"), ("arrays/a.npy", body)])
    (tmp_path / "r").write_bytes(data)
    assert read_record(tmp_path / "r")[1]["a"].shape == (1 << 20,)
    with pytest.raises(CertificateError, match="larger than the limit"):
        read_record(tmp_path / "r", max_bytes=1 << 20)
    (tmp_path / "r").write_bytes(data.replace(struct.pack("<I", len(body)), struct.pack("<I", 100)))
    with pytest.raises(CertificateError):
        read_record(tmp_path / "r", max_bytes=1 << 20)


@given(st.data())
def test_changed_bytes_give_an_error_or_the_same_content(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "changed"
    write_record(path, {"a": [1.5, "x"]}, {"b": np.arange(50.0)})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    try:
        document, arrays = read_record(path)
    except CertificateError:
        return
    assert document == {"a": [1.5, "x"]} and set(arrays) <= {"b"} and all((a == np.arange(50.0)).all() for a in arrays.values())


def test_no_such_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="no such"):
            read_record(path)


@pytest.mark.parametrize("path", [None, 3, b"bytes"])
def test_a_path_of_another_type_is_named(path):
    with pytest.raises(InputError, match="not the name of a file"):
        read_record(path)
    with pytest.raises(InputError, match="not the name of a file"):
        write_record(path, {}, {})


def test_an_entry_cannot_claim_more_bytes_than_the_file_has(tmp_path):
    path = write_record(tmp_path / "a.certificate", {"a": 1}, {"x": np.zeros(3)})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")  # the first entry of the directory: its compressed size stands 20 bytes in
    data[at + 20 : at + 24] = struct.pack("<I", 3_000_000_000)
    path.write_bytes(data)
    with pytest.raises(CertificateError, match="more bytes than the file has"):
        read_record(path)
