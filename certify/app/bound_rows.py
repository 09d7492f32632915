"""What `certify bound` finds out: one `Row` per linear layer, in the order of the graph."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..core.errors import HypothesisError, InputError
from ..core.graph import Graph, Node
from ..core.record import canonical_json, digest_array
from ..core.rounding import add_up, mul_up
from ..linear.base import LinearMap
from ..linear.build import linear_map
from ..norms.auto import Auto
from ..norms.base import NormBound, methods
from ..norms.fantastic_four import FantasticFour, unfoldings
from .progress import Progress

MOVES = ("reshape", "transpose")  # of norm 1, and nothing to see


@dataclass(frozen=True)
class Question:
    """What is asked about every layer."""

    norm: str = "l2"
    method: str = "auto"
    effort: str = "balanced"
    unfold: bool = True
    compare: bool = False


@dataclass(frozen=True)
class Row:
    """One layer: lower <= norm <= upper by `method` in `seconds`; [0, inf] with a `reason` where nothing was proved.

    `unfoldings`: the 2^D bounds as {"name", "subset", "upper"}, None where they do not apply or were not asked. `compared`: under `--compare` every method as
    {"method", "lower", "upper", "seconds"} or {"method", "reason"}. `tried` and `plan` are the evidence of `auto`. `same_as`: the layer with the same
    weights and shapes from which the numbers were taken.
    """

    layer: str
    op: str
    operator: str
    lower: float = 0.0
    upper: float = math.inf
    method: str = "-"
    seconds: float = 0.0
    reason: str = ""
    unfoldings: list[dict[str, Any]] | None = None
    unfolding_seconds: float = 0.0
    compared: list[dict[str, Any]] = field(default_factory=list)
    tried: list[dict[str, Any]] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    same_as: str | None = None

    @property
    def gap(self) -> float:
        """upper / lower - 1; inf where there is no lower end."""
        return self.upper / self.lower - 1 if self.lower > 0 else (0.0 if self.upper == 0 else math.inf)

    def document(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return {**asdict(self), "gap": self.gap}


def linear_layers(graph: Graph, wanted: Sequence[str] = ()) -> list[Node]:
    """The linear nodes of a folded graph that are worth a row, or the `wanted` ones.

    Raises:
        InputError: a wanted name is no such layer (with the names that come close), or there is none. A part of a folded layer's name is enough.
    """
    nodes = [n for n in graph.nodes if len(n.inputs) == 1 and n.op not in MOVES and linear_map(n, graph.input_shapes(n)[0]) is not None]
    names = [node.name for node in nodes]
    for name in wanted:
        if not any(_called(n, name) for n in names):
            raise InputError("the model has no linear layer of that name", where="--layer", found=name, **_nearest(name, names))
    if not nodes:
        raise InputError("the model has no linear layer", where="MODEL", found=f"operators {', '.join(sorted({n.op for n in graph.nodes}))}")
    return [node for node in nodes if not wanted or any(_called(node.name, name) for name in wanted)]


def _called(node: str, name: str) -> bool:
    """Is the node called that? A folded one, "conv1+bn1", is also called by its parts."""
    return name in (node, *node.split("+"))


def require_method(name: str) -> None:
    """Raises InputError if no norm method has that name."""
    if name not in (known := ["auto", *sorted(methods())]):
        raise InputError("unknown method", where="--method", found=name, **_nearest(name, list(dict.fromkeys(known))))


def _nearest(name: str, names: list[str]) -> dict[str, str | None]:
    """The parts of an error about a name that is not known: the ones that come close as a hint, and what there is."""
    lower = {n.lower(): n for n in names}
    close = dict.fromkeys(lower[n] for n in difflib.get_close_matches(name.lower(), lower, cutoff=0.5))
    close |= dict.fromkeys(n for n in names if name.lower() in n.lower())
    shown = ", ".join(names[:30]) + (f", and {len(names) - 30} more" if len(names) > 30 else "")
    return {"expected": shown or "a model with linear layers", "hint": f"did you mean {' or '.join([*close][:4])}?" if close else None}


def measure(graph: Graph, nodes: Sequence[Node], question: Question, progress: Progress) -> Iterator[Row]:
    """A row per node. Each is yielded as soon as its enclosure stands and again, with `unfoldings` and `compared`, when it is complete.

    So whoever is interrupted keeps every enclosure that was paid for. Layers of equal weights and shapes are computed once.
    """
    done: dict[str, Row] = {}
    for count, node in enumerate(nodes):
        progress(count, len(nodes), node.name)
        shape = graph.input_shapes(node)[0]
        key, row = layer_digest(node, shape), Row(node.name, node.op, describe(node, shape))
        if key in done:
            yield replace(done[key], layer=node.name, seconds=0.0, unfolding_seconds=0.0, same_as=done[key].layer)
            continue
        map_ = linear_map(node, shape)
        assert map_ is not None
        for found in _measured(row, map_, question, lambda what, c=count, n=node.name: progress(c, len(nodes), f"{n}: {what}")):  # type: ignore[misc]
            yield found
        done[key] = found


def _measured(row: Row, map_: LinearMap, question: Question, say: Callable[[str], None]) -> Iterator[Row]:
    chosen = Auto(question.effort) if question.method == "auto" else methods()[question.method]
    bound = _tried(lambda: chosen.enclose(map_, question.norm), chosen.supports(map_, question.norm), question.method)
    if isinstance(bound, str):
        row = replace(row, reason=bound)
    else:
        tried, plan = (bound.evidence.get(key) or [] for key in ("tried", "plan"))
        row = replace(row, lower=bound.lower, upper=bound.upper, method=bound.method, seconds=bound.seconds, tried=tried, plan=plan)
    yield row
    found = {question.method: bound}
    if question.compare:
        row = replace(row, compared=_compared(row, found, map_, question, say))
    if question.unfold and question.norm == "l2" and not FantasticFour().supports(map_):
        say("unfoldings")
        began = time.perf_counter()
        four = found.get("fantastic_four")
        every = _evident(four) if isinstance(four, NormBound) and "unfoldings" in four.evidence else [u._asdict() for u in unfoldings(map_)]
        row = replace(row, unfoldings=[{**u, "subset": list(u["subset"])} for u in every], unfolding_seconds=time.perf_counter() - began)
    yield row


def _tried(enclose: Callable[[], NormBound], refusal: str, name: str) -> NormBound | str:
    """The enclosure, or why there is none. A contradiction between two proofs is not caught: it must stop everything."""
    if refusal:
        return f"{name} does not apply: {refusal}"
    try:
        return enclose()
    except HypothesisError as error:
        return f"{name}: {error.what}" + (f" ({error.found})" if error.found else "")
    except MemoryError:
        return f"{name}: not enough memory"


def _compared(row: Row, found: dict[str, NormBound | str], map_: LinearMap, question: Question, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every method but auto on this map, by name; what auto has tried is not done again. Adds the bounds to `found`."""
    rows = []
    known = {t["method"]: t for t in row.tried if t["method"] != "fantastic_four"}  # which is wanted with all its unfoldings
    whole = found[question.method]
    for name, method in sorted(methods().items()):
        if name == "auto":
            continue
        if name in known:
            rows.append({key: known[name].get(key) for key in ("method", "lower", "upper", "seconds")})
            continue
        if name not in found:
            say(name)
            found[name] = _tried(lambda m=method: m.enclose(map_, question.norm), method.supports(map_, question.norm), name)  # type: ignore[misc]
        bound = found[name]
        if isinstance(bound, str):
            rows.append({"method": name, "reason": bound})
            continue
        whole = bound if isinstance(whole, str) else whole & bound  # two proofs that contradict each other raise SoundnessError
        rows.append({"method": name, "lower": bound.lower, "upper": bound.upper, "seconds": bound.seconds})
    return rows


def _evident(four: NormBound) -> list[dict[str, Any]]:
    """The unfoldings in the evidence of `fantastic_four`, with what the roundings in the weights add."""
    added = four.evidence.get("perturbation", {}).get("added", 0.0)
    return [{**u, "upper": add_up(u["upper"], added)} for u in four.evidence["unfoldings"]]


def layer_digest(node: Node, shape: tuple[int, ...]) -> str:
    """Equal for nodes with the same linear map: operator, shapes, attributes and weights, the bias left out."""
    weights = {key: digest_array(array) for key, array in node.arrays.items() if key != "bias"}
    return canonical_json([node.op, shape, node.shape, dict(node.attrs), weights])


def chain_product(graph: Graph, rows: Sequence[Row]) -> float | None:
    """Upper end of the product of the bounds if the network is a chain (every node reads one tensor that is not constant), else None."""
    constants = {n.name for n in graph.nodes if n.op == "constant"}
    read = [name for n in graph.nodes for name in n.inputs if name not in constants]
    if len(set(read)) < len(read) or any(sum(name not in constants for name in n.inputs) > 1 for n in graph.nodes):
        return None
    product = 1.0
    for row in rows:
        product = mul_up(product, row.upper)
    return product if math.isfinite(product) else None


def describe(node: Node, shape: tuple[int, ...]) -> str:
    """A layer in short: "conv 64->64 3x3 s2 d2 g4 circular @56" (s stride, d dilation, g groups, @ input size; what is 1 or zeros is left out)."""
    a, size = node.attrs, shape[1:]
    if node.op == "dense":
        return f"linear {shape[-1]}->{node.shape[-1]}" + (f" @{_times(shape[:-1])}" if len(shape) > 1 else "")
    if node.op in ("conv", "conv_transpose", "avg_pool"):
        kernel = tuple(a["kernel"]) if node.op == "avg_pool" else node.arrays["weight"].shape[2:]
        name = "convT" if node.op == "conv_transpose" else node.op
        text = f"{name} {shape[0]}->{node.shape[0]} {_times(kernel, True)}"
        text += "".join(f" {letter}{_times(a[key])}" for letter, key in (("s", "stride"), ("d", "dilation")) if key in a and set(a[key]) != {1})
        if (groups := a.get("groups", 1)) > 1:
            text += " depthwise" if groups == shape[0] else f" g{groups}"
        return text + (f" {a['mode']}" if a.get("mode", "zeros") != "zeros" else "") + f" @{_times(size)}"
    return f"{node.op} {_times(shape, True)}" + (f"->{_times(node.shape, True)}" if node.shape != shape else "")


def _times(numbers: Sequence[int], whole: bool = False) -> str:
    """`56` for (56, 56), `56x28` otherwise; `whole` never shortens."""
    return str(numbers[0]) if len(set(numbers)) == 1 and not whole else "x".join(map(str, numbers))
