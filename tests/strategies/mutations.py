"""Damaged files: mutations of bytes, and of the structure inside, so that the damage reaches past the first checksum.

Every function takes the bytes of a good file and a `random.Random`, and returns the bytes of another. Equal seeds give equal files.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
from random import Random

INTEGERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    16,
    127,
    128,
    255,
    256,
    1000,
    65535,
    65536,
    1 << 20,
    (1 << 24) + 1,
    (1 << 31) - 1,
    1 << 31,
    -(1 << 31),
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
    -(1 << 63),
]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 3.4e38, 1e300, -1e300, float("inf"), float("-inf"), float("nan"), 5e-324]


def mutate_bytes(data: bytes, rng: Random, most: int = 4) -> bytes:
    """One to `most` small accidents: flipped bits, replaced, lost, doubled, moved or zeroed pieces, integers of all sizes, cuts."""
    data = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not data:
            return bytes([rng.randrange(256) for _ in range(rng.randrange(20))])
        i, n = rng.randrange(len(data)), rng.choice([1, 2, 4, 8, rng.randint(1, 64)])
        kind = rng.randrange(10)
        if kind == 0:
            data[i] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[i] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 2:
            del data[i : i + n]
        elif kind == 3:
            data[i:i] = data[i : i + n] * rng.choice([1, 1, 3])
        elif kind == 4:
            data[i : i + n] = bytes(n)
        elif kind == 5:
            data[i:i] = bytes(rng.randrange(256) for _ in range(n))
        elif kind == 6:
            j = rng.randrange(len(data))
            data[i : i + n] = data[j : j + n]
        elif kind == 7:
            form = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
            data[i : i + struct.calcsize(form)] = struct.pack(form, rng.choice(INTEGERS) % (1 << (8 * struct.calcsize(form))))
        elif kind == 8:
            del data[rng.choice([i, len(data) - min(len(data), n)]) :]
        else:
            data[i : i + n] = data[i : i + n][::-1]
    return bytes(data)


def mutate_head(data: bytes, rng: Random, head: int) -> bytes:
    """Mostly the first `head` bytes: where formats keep their sizes."""
    return mutate_bytes(data[:head], rng) + data[head:] if rng.random() < 0.7 else mutate_bytes(data, rng)


def mutate_gzip(data: bytes, rng: Random, inner) -> bytes:
    """The packed bytes, or (with a right checksum) what is inside."""
    return mutate_bytes(data, rng) if rng.random() < 0.3 else gzip.compress(inner(gzip.decompress(data), rng), 1)


def mutate_zip(data: bytes, rng: Random, inner) -> bytes:
    """The archive's bytes; or, archive and checksums right, its entries: damaged by `inner`, renamed, doubled, lost, swapped, packed otherwise."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(i.filename, archive.read(i)) for i in archive.infolist()]
    for _ in range(rng.randint(1, 2)):
        kind, k = rng.randrange(8), rng.randrange(len(entries)) if entries else 0
        if not entries:
            break
        name, body = entries[k]
        if kind < 5:
            entries[k] = (name, inner(body, rng))
        elif kind == 5:
            entries[k] = (rng.choice(["", name * 2, "../" + name, name[:-1], rng.choice(entries)[0]]), body)
        elif kind == 6:
            entries.append((name, body))
        else:
            del entries[k]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        warnings.simplefilter("ignore")  # of doubled names, which are meant
        for name, body in entries:
            archive.writestr(zipfile.ZipInfo(name or "empty"), body)
    result = buffer.getvalue()
    return mutate_bytes(result, rng, 1) if rng.random() < 0.1 else result


def mutate_npy(data: bytes, rng: Random) -> bytes:
    return mutate_head(data, rng, 128)


def mutate_npz(data: bytes, rng: Random) -> bytes:
    return mutate_zip(data, rng, mutate_npy)


def mutate_json(value, rng: Random):
    """A JSON value with one part replaced, lost or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.randrange(6)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {**value, key + rng.choice(["", "x"]): rng.choice(list(value.values()))}
        return {**value, key: mutate_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        return rng.choice([value[:i] + value[i + 1 :], value + value[i : i + 1], value[:i] + [mutate_json(value[i], rng)] + value[i + 1 :]])
    return rng.choice([None, True, "", "F64", "BF16", [], {}, rng.choice(INTEGERS), 0.5, 1e400, [rng.choice(INTEGERS)] * 3, value])


def mutate_safetensors(data: bytes, rng: Random) -> bytes:
    """The bytes; or the header as JSON, its length kept right."""
    if rng.random() < 0.4 or len(data) < 8:
        return mutate_head(data, rng, 16)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(mutate_json(json.loads(data[8 : 8 + length]), rng)).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def mutate_idx(data: bytes, rng: Random) -> bytes:
    return mutate_gzip(data, rng, mutate_idx) if data[:2] == b"\x1f\x8b" else mutate_head(data, rng, 16)


def mutate_onnx(data: bytes, rng: Random) -> bytes:
    """The bytes; or fields of the parsed model: numbers, names, operators, lost, doubled and swapped nodes, tensors and attributes."""
    if data[:2] == b"\x1f\x8b":
        return mutate_gzip(data, rng, mutate_onnx)
    if rng.random() < 0.25:
        return mutate_bytes(data, rng)
    import onnx

    model = onnx.ModelProto.FromString(data)
    if rng.random() < 0.5:
        for _ in range(rng.choice([1, 1, 2])):
            _mutate_number(model, rng)
        return model.SerializeToString()
    fields = list(_fields(model))
    words = sorted(
        {getattr(m, f.name) for m, f in fields if f.type == f.TYPE_STRING and not f.is_repeated}
        | {s for m, f in fields if f.type == f.TYPE_STRING and f.is_repeated for s in getattr(m, f.name)}
    )
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        message, field = rng.choice(fields)
        try:
            _mutate_field(message, field, rng, words)
        except (ValueError, TypeError, IndexError):  # a message that an earlier mutation removed, or a number that does not fit the field
            continue
    return model.SerializeToString()


def _mutate_number(model, rng: Random) -> None:
    """One number that an operator reads (an attribute, an entry of an integer tensor, an opset, a size): names and types stay whole."""
    tensors = [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute if a.type == 4)]
    integers = [t for t in tensors if t.data_type == 7 and len(t.raw_data) >= 8]
    attributes = [a for n in model.graph.node for a in n.attribute if a.type in (1, 2, 6, 7)]
    kind = rng.randrange(8)
    small = rng.choice([-7, -3, -2, -1, 0, 1, 2, 3, 4, 5, 8, rng.choice(INTEGERS)])
    if kind < 3 and integers:
        tensor = rng.choice(integers)
        i = 8 * rng.randrange(len(tensor.raw_data) // 8)
        tensor.raw_data = tensor.raw_data[:i] + struct.pack("<q", max(-(1 << 63), min(small, (1 << 63) - 1))) + tensor.raw_data[i + 8 :]
    elif kind < 6 and attributes:
        attribute = rng.choice(attributes)
        if attribute.type == 2:
            attribute.i = small
        elif attribute.type == 1:
            attribute.f = rng.choice([small % 1000, *FLOATS[:8], FLOATS[12]])
        elif attribute.type == 7 and attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = small
    elif kind == 6:
        model.opset_import[0].version = rng.choice([8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 22])
    else:
        dims = [d for v in model.graph.input for d in v.type.tensor_type.shape.dim]
        rng.choice(dims).dim_value = rng.choice([0, 1, 2, 3, 5, 8, 64, small])


def _fields(message):
    """Every (message, set field) of a protobuf message, depth first."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _fields(inner)


_OPERATORS = """Add Sub Mul Div MatMul Gemm Conv ConvTranspose Relu Sigmoid Softmax Concat Split Slice Gather Reshape Flatten Transpose Squeeze
    Unsqueeze Pad MaxPool AveragePool Expand ReduceSum Resize Clip Shape Cast Loop If Foo""".split()


def _mutate_field(message, field, rng: Random, words: list[str]) -> None:
    value = getattr(message, field.name)
    if field.is_repeated:
        items = value
        kind = rng.randrange(5)
        i = rng.randrange(len(items))
        if kind == 0:
            del items[i]
        elif kind == 1 and field.type == field.TYPE_MESSAGE:
            items.append(items[i])
        elif kind == 2 and len(items) > 1:
            items.reverse()
        elif field.type == field.TYPE_MESSAGE:
            copy = items[i]
            inner = copy.ListFields()
            if inner:
                _mutate_field(copy, rng.choice(inner)[0], rng, words)
        elif kind == 3:
            items.append(_scalar(field, items[i], rng, words))
        else:
            items[i] = _scalar(field, items[i], rng, words)
    elif field.type == field.TYPE_MESSAGE or rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, value, rng, words))


def _scalar(field, value, rng: Random, words: list[str]):
    if field.type in (field.TYPE_STRING,):
        return rng.choice([rng.choice(words), rng.choice(_OPERATORS), "", "x" * rng.choice([1, 300]), str(value) + "'"])
    if field.type == field.TYPE_BYTES:
        return mutate_bytes(value, rng, 2) if value else b"?"
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice([*FLOATS[: 8 if field.type == field.TYPE_FLOAT else None], -value, value * 2])
    return rng.choice([rng.choice(INTEGERS), rng.choice([0, 1, 2, 3, -1]), value + rng.choice([-1, 1]), -value])
