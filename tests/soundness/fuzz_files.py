"""Deep fuzzing of everything that reads files: mutants of good files give a clear error or a right answer, never a crash, hang or memory beyond 1 GiB.

    python tests/soundness/fuzz_files.py --cases 100000 --kind onnx|npz|npy|idx|safetensors|pt|cifar|all --seed 0

Each mutant is read in a forked child under RLIMIT_AS (what the child has plus 1 GiB) and a watchdog. A right answer is one that a second
reader agrees with: numpy, safetensors, torch, or onnx's evaluator on the mutated file. One line per kind; `--only N` repeats one case and
shows its error. Exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import pickle
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
from strategies import files, mutations  # noqa: E402

from certify.core.errors import CertifyError  # noqa: E402
from certify.io.cifar import read_cifar  # noqa: E402
from certify.io.data import load_data  # noqa: E402
from certify.io.idx import read_idx  # noqa: E402
from certify.io.npz import Archive, read_npy_file  # noqa: E402
from certify.io.onnx import load_onnx  # noqa: E402
from certify.io.weights import load_weights  # noqa: E402

LIMIT_BYTES, LIMIT_SECONDS, BLOCK = 1 << 30, 20, 500


class Wrong(Exception):
    """The reader gave an answer that a second reader does not agree with."""


def same(found, expected) -> None:
    if found.shape != expected.shape or not np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"):
        raise Wrong(f"{found.dtype}{found.shape} differs from {expected.dtype}{expected.shape}")


# --- kinds: name -> (good files, mutation, read and check) --------------------------------------------------------------------------
def npy_seeds():
    rng = np.random.default_rng(0)
    return [files.npy(rng.standard_normal((5, 4)).astype(t)) for t in ("f4", "f8", "i4", ">i8")] + [
        files.npy(files.pixels(3, 2, 2)),
        files.npy(np.asfortranarray(rng.standard_normal((3, 4)))),
    ]


def check_npy(path: Path) -> None:
    same(read_npy_file(path, 1 << 28), np.load(path, allow_pickle=False))


def npz_seeds():
    arrays = {"images": files.pixels(6, 1, 3, 3), "labels": np.arange(6)}
    return [files.npz(**arrays), files.npz(True, **arrays), files.npz(x=np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32), y=np.arange(4), extra=np.zeros(3))]


def check_npz(path: Path) -> None:
    archive = Archive(path, 1 << 28)
    for name in archive.names:
        with np.load(path, allow_pickle=False) as other:
            same(archive.read(name), other[name])
    data = load_data(path, classes=10, max_bytes=1 << 28)
    if not (np.isfinite(data.images).all() and data.labels.min() >= 0 and data.labels.max() < 10 and len(data.images) == len(data.labels)):
        raise Wrong("data that breaks the promises of load_data")


def idx_seeds():
    plain = [
        files.idx(files.pixels(7, 4, 3)),
        files.idx(np.arange(9, dtype="u1")),
        files.idx(np.random.default_rng(0).standard_normal((3, 2)).astype("f4")),
        files.idx(np.arange(6, dtype="i4").reshape(2, 3)),
    ]
    return plain + [gzip.compress(plain[0]), gzip.compress(plain[1])]


def check_idx(path: Path) -> None:
    found, data = read_idx(path, 1 << 28), path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    dims = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    same(found, np.frombuffer(data[4 + 4 * data[3] :], dtype=kinds[data[2]]).reshape(dims))


def check_safetensors(path: Path) -> None:
    from safetensors.numpy import load

    found = load_weights(path)
    try:
        expected = load(path.read_bytes())
    except KeyError:  # types that numpy has not
        return
    for name, array in expected.items():
        same(found[name], array)
    if set(found) != set(expected):
        raise Wrong("other names")


def pt_seeds():
    import torch

    state = {"0.weight": torch.randn(3, 4), "0.bias": torch.randn(3), "n": torch.tensor(5), "half": torch.randn(4).half()}
    seeds = []
    for value, legacy in ((state, False), ({"state_dict": state, "epoch": 3}, False), (state, True)):
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
        seeds.append(buffer.getvalue())
    return seeds


def check_pt(path: Path) -> None:
    import torch

    found, data = load_weights(path), path.read_bytes()
    try:
        if data[:2] == b"PK":  # torch's reader trusts sizes and forgets checksums: it gets the records that zipfile has verified
            clean = io.BytesIO()
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(clean, "w") as new:
                for name in old.namelist():
                    new.writestr(name, old.read(name))
            data = clean.getvalue()
        expected = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # damage beside the weights, in what torch wants and we do not read
        return
    while isinstance(inner := next((expected[k] for k in ("state_dict", "model_state_dict", "model") if k in expected), None), dict):
        expected = inner
    for name, tensor in expected.items():
        same(found[str(name)], (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy())


def cifar_seeds():
    batch = {b"data": files.pixels(3, 3072), b"labels": [1, 0, 9], b"filenames": [b"a.png", b"b.png", b"c.png"], b"batch_label": b"testing batch 1 of 1"}
    return [pickle.dumps(batch, protocol=p) for p in (2, 4)] + [b"".join(bytes([k]) + files.pixels(3072).tobytes() for k in range(2))]


def mutate_cifar(data: bytes, rng: Random) -> bytes:
    return mutations.mutate_head(data, rng, 200) if data[:1] == b"\x80" else mutations.mutate_bytes(data, rng)


def check_cifar(path: Path) -> None:
    named = path.with_name("test_batch" if path.read_bytes()[:1] == b"\x80" else "test_batch.bin")
    os.replace(path, named)
    images, labels, classes = read_cifar(named, "test") or (None, None, None)
    if images is None or images.shape[1:] != (3, 32, 32) or len(images) != len(labels) or images.dtype != np.uint8:
        raise Wrong("data that breaks the promises of read_cifar")


def check_onnx(path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    from certify.io.onnx_reference_ops import OWN

    graph = load_onnx(path)  # compares with the evaluator in float64; here once more with the file as it is
    data = path.read_bytes()
    proto = onnx.ModelProto.FromString(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    if any(n.op_type in OWN for n in proto.graph.node):
        return
    kinds = {1: np.float32, 10: np.float16, 11: np.float64}
    initial = {t.name for t in proto.graph.initializer}
    source = next(v for v in proto.graph.input if v.name not in initial)
    x = np.random.default_rng(3).standard_normal(graph.input_shape)
    dims = source.type.tensor_type.shape.dim
    whole = x[None] if len(dims) == x.ndim + 1 else x
    try:
        with np.errstate(all="ignore"):
            expected = np.asarray(ReferenceEvaluator(proto).run(None, {source.name: whole.astype(kinds[source.type.tensor_type.elem_type])})[0], dtype=float).ravel()
    except Exception:  # mixed types, which only the float64 form of the file can run
        return
    found = graph(x[None]).ravel()
    scale = max(1.0, np.abs(expected).max(initial=0))
    if not np.isfinite(expected).all():  # float32 overflows where float64 does not
        return
    if found.shape != expected.shape or not np.abs(found - expected).max() <= 0.02 * scale:
        raise Wrong(f"{found[:4]} against {expected[:4]}")


KINDS = {
    "onnx": (lambda: list(files.onnx_files().values()), mutations.mutate_onnx, check_onnx),
    "npz": (npz_seeds, mutations.mutate_npz, check_npz),
    "npy": (npy_seeds, mutations.mutate_npy, check_npy),
    "idx": (idx_seeds, mutations.mutate_idx, check_idx),
    "safetensors": (lambda: [files.safetensors_file()], mutations.mutate_safetensors, check_safetensors),
    "pt": (pt_seeds, lambda data, rng: mutations.mutate_zip(data, rng, mutations.mutate_bytes) if data[:2] == b"PK" else mutations.mutate_bytes(data, rng), check_pt),
    "cifar": (cifar_seeds, mutate_cifar, check_cifar),
}


# --- running ------------------------------------------------------------------------------------------------------------------------
class Hang(BaseException):
    pass


def _alarm(signum, frame):
    raise Hang


def one(kind: str, seeds: list[bytes], seed: int, i: int, folder: Path) -> tuple[str, str]:
    """("error" | "right" | a violation, text) of one case."""
    _, mutate, check = KINDS[kind]
    rng = Random(f"{seed} {kind} {i}")
    path = folder / "case"
    path.write_bytes(mutate(rng.choice(seeds), rng))
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        check(path)
        return "right", ""
    except CertifyError as error:
        return "error", str(error)
    except Hang:
        return "hang", "".join(traceback.format_exc())
    except MemoryError:
        return "memory", traceback.format_exc()
    except Wrong as error:
        return "wrong answer", str(error)
    except Exception:
        return "crash", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _child(kind: str, seeds: list[bytes], seed: int, cases: range, out: int, folder: Path) -> None:
    signal.signal(signal.SIGALRM, _alarm)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    for i in cases:
        status, text = one(kind, seeds, seed, i, folder)
        os.write(out, f"{i}\t{status}\t{text[-1500:].encode().hex() if status not in ('right', 'error') else ''}\n".encode())


def fuzz(kind: str, cases: int, seed: int, start: int = 0) -> tuple[Counter, list[str]]:
    """Counts per outcome, and a description of every violation."""
    seeds = KINDS[kind][0]()
    counts: Counter = Counter()
    found: list[str] = []
    peak = 0
    i = start
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as temporary:
        while i < start + cases:
            block = range(i, min(i + BLOCK, start + cases))
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                try:
                    _child(kind, seeds, seed, block, writer, Path(temporary))
                finally:
                    os._exit(0)
            os.close(writer)
            done, killed = _collect(reader, child, counts, found, kind)
            _, status, usage = os.wait4(child, 0)
            peak = max(peak, usage.ru_maxrss)
            i += done
            if killed or os.WIFSIGNALED(status):
                counts["killed"] += 1
                found.append(f"{kind} case {i}: {'no answer for a minute' if killed else f'signal {os.WTERMSIG(status)}'}")
                i += 1
    counts["peak MiB"] = peak >> 10
    return counts, found


def _collect(reader: int, child: int, counts: Counter, found: list[str], kind: str) -> tuple[int, bool]:
    """Read the child's lines; (cases done, was it killed because it said nothing for a minute)."""
    text, done, killed = b"", 0, False
    while True:
        if not select.select([reader], [], [], 3 * LIMIT_SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
            killed = True
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        *lines, text = (text + piece).split(b"\n")
        for line in lines:
            i, status, detail = line.decode().split("\t")
            counts[status] += 1
            done += 1
            if detail:
                found.append(f"{kind} case {i}: {status}\n{bytes.fromhex(detail).decode(errors='replace')}")
    os.close(reader)
    return done, killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="repeat one case, in this process, and show what happens")
    options = parser.parse_args()
    violations = 0
    for kind in KINDS if options.kind == "all" else [options.kind]:
        if options.only is not None:
            signal.signal(signal.SIGALRM, _alarm)
            with tempfile.TemporaryDirectory() as temporary:
                sys.stdout.write("\n".join(one(kind, KINDS[kind][0](), options.seed, options.only, Path(temporary))) + "\n")
            continue
        started = time.time()
        counts, found = fuzz(kind, options.cases, options.seed)
        violations += len(found)
        bad = {k: n for k, n in counts.items() if k not in ("right", "error", "peak MiB")}
        sys.stdout.write(
            f"{kind}: {options.cases} cases, {counts['error']} errors, {counts['right']} right answers, {sum(bad.values())} crashes, hangs, wrong answers or memory violations"
            f"{f' {bad}' if bad else ''}; peak {counts['peak MiB']} MiB resident, {time.time() - started:.0f} s\n"
        )
        sys.stdout.write("".join(text + "\n" for text in found[:20]))
        sys.stdout.flush()
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
