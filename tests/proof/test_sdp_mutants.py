"""Broken versions of the checker's semidefinite part must be caught by the truth that the real one passes: its own source with one line changed."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from strategies.increments import blocks_hold, increments, inequality_holds, linear_part_holds, metric_holds
from strategies.semidefinite import by_layers, folded, net, one_matrix

import certify.proof.chain
import certify.proof.parts
import certify.proof.sdp_inequality
import certify.proof.sdp_layers
import certify.proof.slopes
import certify.proof.unroll
from certify.core.errors import CertificateError
from certify.core.midrad import full

ORDER = ("slopes", "unroll", "parts", "chain", "sdp_inequality", "sdp_layers")


def checker(changes=()) -> dict[str, types.ModuleType]:
    """The semidefinite part of the checker, each file executed anew in the order of its imports, with pieces of the source replaced: (file, old, new)."""
    real = {name: sys.modules[f"certify.proof.{name}"] for name in ORDER}
    made = {}
    try:
        for name in ORDER:
            text = Path(real[name].__file__).read_text()
            for file, old, new in changes:
                if file == name:
                    assert text.count(old) == 1, f"{name}.py no longer has {old!r} once: adapt the mutant"
                    text = text.replace(old, new)
            module = types.ModuleType(f"certify.proof.{name}")
            module.__package__ = "certify.proof"
            sys.modules[module.__name__] = module
            exec(compile(text, f"mutant of {name}.py", "exec"), module.__dict__)
            made[name] = module
    finally:
        sys.modules.update({f"certify.proof.{name}": module for name, module in real.items()})
    return made


def sound(parts: dict[str, types.ModuleType], name: str) -> bool:
    """Reading, inequality and metrics against what really happens; and the entries of folded weights against the exact ones."""
    graph = folded(net(name))
    reading, rng = parts["parts"].read(graph, graph.output), np.random.default_rng(0)
    real = certify.proof.parts.read(graph, graph.output)
    d = increments(graph, real, rng, 300)
    if not (linear_part_holds(graph, reading, d) and blocks_hold(reading, d)):
        return False
    if any(node.attrs.get("perturbation") for node in graph.nodes):
        for node in graph.nodes:
            if node.attrs.get("perturbation"):
                found = parts["unroll"].matrix_of(node, graph.input_shapes(node)[0])
                if not (found.radius() >= 5 * 2.0**-53 * np.abs(full(found.mid))).all():
                    return False
    inequality = parts["sdp_inequality"].Inequality(reading)
    for _ in range(3):
        if not inequality_holds(inequality, reading, d, 10.0 ** rng.uniform(-2, 2, inequality.groups)):
            return False
    entry, arrays = by_layers(graph, pairs=False)
    try:
        metric = parts["sdp_layers"].carried(reading, arrays["proof0.u"], entry["exponents"], entry["deltas"], entry["states"])
    except CertificateError:
        return False  # refuses what is true: seen as well
    gram = parts["sdp_layers"].output_gram(metric)
    return metric_holds(gram.mid, metric.exponent, d[real.output], d[real.input]) and parts["sdp_layers"].whole_below(metric, gram, entry["bound"])


MUTANTS = {
    'radius of folded weights dropped': (
        'folded', 'unroll',
        'return float(node.attrs.get("perturbation", 0)) * U',
        'return 0.0',
    ),
    'lo = 0 for GELU': (
        'gelu', 'slopes',
        '        least = 1 - most\n',
        '        least = Fraction(0)\n',
    ),
    'lo = 0 for Mish': (
        'mish', 'slopes',
        '"mish": Fraction("-0.11252612238946255640732790116")',
        '"mish": Fraction(0)',
    ),
    'slope of leaky rectifiers taken as 1': (
        'leaky', 'slopes',
        'most = max(Fraction(1), alpha)',
        'most = alpha',
    ),
    'prelu with its first slope everywhere': (
        'prelu', 'slopes',
        'np.asarray(node.float64("slope")), node.shape)',
        'np.asarray(node.float64("slope"))[:1], node.shape)',
    ),
    'x + x counted once': (
        'twice', 'parts',
        'matrix if tensor not in sums else sums[tensor] + matrix',
        'matrix',
    ),
    'sign of a difference lost': (
        'twice', 'parts',
        '-1.0 if node.op == "sub" else 1.0',
        '1.0',
    ),
    'average pool divided by something else': (
        'convolution', 'unroll',
        '        values = evaluate_node(',
        "        values = (0.25 if node.op == 'avg_pool' else 1.0) * evaluate_node(",
    ),
    'circular padding read once': (
        'circular', 'unroll',
        '    mid = unrolled(bare, in_shape)\n',
        "    mid = unrolled(_with(bare, {}, mode='zeros') if node.op == 'conv' else bare, in_shape)\n",
    ),
    'a coupled multiplier': (
        'relu', 'sdp_inequality',
        '    total.diagonal(place, t)\n',
        '    total.diagonal(place, t)\n        total.add(place, place, MidRad(0.3 * float(t.min()) * (np.eye(len(t)) - 1.0 / len(t))), 1.0)\n',
    ),
    'psi of a sorted group bounded by half': (
        'groupsort', 'parts',
        '-np.ones(total), np.ones(total), group',
        '-np.ones(total) / 2, np.ones(total) / 2, group',
    ),
    'the mean of a sorted group lost': (
        'groupsort', 'parts',
        'out.linear(node.name, (x, mean), (f',
        'out.linear(node.name, (f',
    ),
    'half of the absolute value in a maximum': (
        'extremes', 'parts',
        'identity(size, 0.5 * sign)',
        'identity(size, 0.25 * sign)',
    ),
    "a pool's window shifted": (
        'pool', 'parts',
        'pixels + windows)',
        'pixels + np.roll(windows, 1, axis=0))',
    ),
    'softmax with half its constant': (
        'softmax', 'parts',
        'c = np.full(before, constant)',
        'c = np.full(before, constant / 4)',
    ),
    'H dropped in a residual': (
        'residual', 'sdp_layers',
        'keep = plus(keep, inject @ scaled_rows(weight, middle))',
        'keep = inject @ scaled_rows(weight, middle)',
    ),
    'middle slopes dropped': (
        'line', 'sdp_layers',
        'keep = plus(keep, inject @ scaled_rows(weight, middle)) if middle.any() else keep',
        'keep = keep',
    ),
    "G U G' dropped": (
        'line', 'sdp_layers',
        'rest = symmetric(plus(inner, outer))',
        'rest = inner',
    ),
    'half widths cut': (
        'line', 'sdp_layers',
        '    z = scaled_rows(part_of_rows(weight, np.flatnonzero(live)), half[live])',
        '    z = scaled_rows(part_of_rows(weight, np.flatnonzero(live)), 0.1 * half[live])',
    ),
    'the sum over terms keeps the last': (
        'extremes', 'chain',
        'product if before is None else plus(before, product)',
        'product',
    ),
    "lo hi z z' forgotten": (
        'prelu', 'sdp_inequality',
        'low.T @ high.rows(t)',
        'low.T @ high.rows(0.0 * t)',
    ),
    'the sign of the mixed terms': (
        'relu', 'sdp_inequality',
        'total.add(place, columns, cross, -1.0)\n            total.add(columns, place, cross.T, -1.0)',
        'total.add(place, columns, cross, 1.0)\n            total.add(columns, place, cross.T, 1.0)',
    ),
    'a folded slope taken as 0': (
        'prelu', 'sdp_inequality',
        'np.where(moves & ~phi, block.lo, 0.0)',
        'np.zeros(len(moves))',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({m[0] for m in MUTANTS.values()}))
def test_the_real_checker_is_sound(name):
    assert sound(checker(), name)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_caught(mutant):
    name, *change = MUTANTS[mutant]
    assert not sound(checker([tuple(change)]), name)


def test_the_modules_are_the_real_ones_afterwards():
    checker()
    assert sys.modules["certify.proof.parts"] is certify.proof.parts and one_matrix(net("relu"))[0]["kind"] == "inequality"
