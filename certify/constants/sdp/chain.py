"""The network as a chain: a state that stacks the live tensors, and one block after the other.

Claim, for any two runs of the network with input difference dx_0: with the state s_0 = dx_0, every layer has
    dz = W s,   dphi = m o dz + psi,   |psi_g|_2 <= |(r o dz)_g|_2 for each group g,   s_next = H s + G dphi,
and the output difference is C s_last. For an MLP s is the last activation, G = I, H = 0; skips, concatenations and branches keep what is still needed.
The state after a block is a smallest set of tensors (a minimal vertex cut, in entries) from which all that follows can be computed.
Source: methods/network_lipschitz.md, section 5.
"""

from __future__ import annotations

import numpy as np

from ...core.errors import HypothesisError, SoundnessError
from ...core.graph import Graph
from ...core.midrad import MidRad
from .layer import Chain, Layer
from .primitives import Block, Linear, Part, Parts, parts_of

__all__ = ["Chain", "Layer", "chain_of"]

MEMORY = 4 << 30  # bytes that a search may take


def chain_of(graph: Graph) -> Chain:
    """The chain of a graph.

    Raises:
        UnsupportedLayerError: an operator without a finite l2 constant. HypothesisError: the network is affine (its constant is a norm).
    Cost: the assembled matrices: (pre-activations + next state) x state entries per block.
    """
    try:
        return _Builder(parts_of(graph)).chain()
    except RecursionError as error:
        raise HypothesisError("too many sums in a row for the semidefinite bounds", found="recursion limit", hint="method='product'") from error


class _Builder:
    def __init__(self, parts: Parts):
        self.parts = parts
        self.users: dict[str, list[str]] = {}
        self.passed: set[str] = set()
        for name, part in parts.parts.items():
            for parent in [part.before] if isinstance(part, Block) else [t for t, _ in part.terms]:
                self.users.setdefault(parent, []).append(name)

    def chain(self) -> Chain:
        parts, state, layers, states = self.parts, [self.parts.input], [], []
        needed = self._needed()
        blocks = [name for name, part in parts.parts.items() if isinstance(part, Block) and name in needed]
        if not blocks:
            raise HypothesisError("an affine network has no semidefinite bound", found="no activation", hint="method='closed_form' takes the norm of its matrix")
        for name in blocks:
            block = parts.parts[name]
            if not isinstance(block, Block):
                continue
            self.passed.add(name)
            after = self.cut([*state, name], needed)
            entries = max(sum(parts.size(t) for t in state), parts.size(block.before) + sum(parts.size(t) for t in after))
            if 10 * 8 * entries**2 > MEMORY:
                raise HypothesisError(
                    "the semidefinite bound does not fit into memory",
                    where=f"block {name}: {len(state)} live tensors",
                    found=f"about {10 * 8 * entries**2 / 2**30:.1f} GiB for one metric",
                    expected=f"at most {MEMORY / 2**30:.0f} GiB",
                    hint="method='product' has no such limit",
                )
            weight = self.matrix(block.before, state)
            joined = [self.matrix(t, [*state, name]) for t in after]
            whole = _stacked(joined)
            split = sum(parts.size(t) for t in state)
            keep, inject = _columns(whole, 0, split), _columns(whole, split, whole.shape[1])
            kept = None if keep.rad is None and not (abs(keep.mid)).sum() else keep
            layers.append(Layer(weight, inject, kept, block.lo, block.hi, block.inside, block.outside, block.node))
            state = after
            states.append(tuple(after))
        return Chain(parts.input_size, tuple(layers), self.matrix(parts.output, state), tuple(blocks), tuple(states))

    def _needed(self) -> set[str]:
        """What the output depends on."""
        found, todo = set(), [self.parts.output]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            part = self.parts.parts.get(name)
            if part is not None:
                todo += [part.before] if isinstance(part, Block) else [t for t, _ in part.terms]
        return found

    def computable(self, sources: list[str]) -> list[str]:
        """The linear tensors that follow from the sources alone, in order."""
        known = set(sources)
        found = []
        for name, part in self.parts.parts.items():
            if name not in known and isinstance(part, Linear) and part.terms and all(t in known or self._zero(t) for t, _ in part.terms):
                known.add(name)
                found.append(name)
        return found

    def _zero(self, name: str) -> bool:
        part = self.parts.parts.get(name)
        return isinstance(part, Linear) and all(self._zero(t) for t, _ in part.terms)

    def cut(self, sources: list[str], needed: set[str]) -> list[str]:
        """The smallest set of computable tensors through which everything later passes."""
        names = [*sources, *self.computable(sources)]
        inner, ahead = set(names), self.ahead(needed)
        import scipy.sparse as sp
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        place = {name: i for i, name in enumerate(names)}
        count, much = len(names), 1 + sum(self.parts.size(n) for n in names)
        source, sink = 2 * count, 2 * count + 1
        edges: dict[tuple[int, int], int] = {(2 * place[n], 2 * place[n] + 1): self.parts.size(n) for n in names}
        edges |= {(source, 2 * place[n]): much for n in sources}
        for name in names:
            users = [u for u in self.users.get(name, ()) if u in needed]
            edges |= {(2 * place[name] + 1, 2 * place[u]): much for u in users if u in inner and u not in sources}
            if name == self.parts.output or any(u not in inner and u in ahead for u in users):
                edges[2 * place[name] + 1, sink] = much
        (rows, columns), values = zip(*edges, strict=True), list(edges.values())
        capacity = sp.csr_array((np.array(values, np.int32), (rows, columns)), shape=(sink + 1, sink + 1))
        flow = maximum_flow(capacity, source, sink).flow
        left = sp.csr_array(capacity - flow)
        left.eliminate_zeros()
        reached = set(breadth_first_order(left, source, return_predecessors=False).tolist())
        return [n for n in names if 2 * place[n] in reached and 2 * place[n] + 1 not in reached]

    def ahead(self, needed: set[str]) -> set[str]:
        """What has a block to come, or the output, at it or behind it; blocks that have been passed end nothing."""
        found: set[str] = set()
        for name in reversed(list(self.parts.parts)):
            part = self.parts.parts[name]
            if name not in needed or (isinstance(part, Block) and name in self.passed):
                continue
            if isinstance(part, Block) or name == self.parts.output or any(u in found for u in self.users.get(name, ())):
                found.add(name)
        return found

    def matrix(self, name: str, sources: list[str]) -> MidRad:
        """The tensor as a linear map of the stacked sources."""
        sizes = [self.parts.size(s) for s in sources]
        found = {s: {i: None} for i, s in enumerate(sources)}
        return _assembled(self._terms(name, sources, found), sizes, self.parts.size(name))

    def _terms(self, name: str, sources: list[str], found: dict) -> dict[int, MidRad | None]:
        """Matrix per source (None: the identity)."""
        if name in found:
            return found[name]
        part: Part = self.parts.parts[name]
        total: dict[int, MidRad | None] = {}
        if isinstance(part, Block):
            raise SoundnessError(
                "a tensor is not a linear map of the state of the chain",
                where=name,
                found=f"sources {sources}",
                hint="please report this with the model: it is a defect of the toolkit",
            )
        for parent, matrix in part.terms:
            for i, inner in self._terms(parent, sources, found).items():
                product = matrix if inner is None else matrix @ inner
                known = total.get(i)
                total[i] = product if known is None else known + product
        found[name] = total
        return total


def _assembled(terms: dict[int, MidRad | None], sizes: list[int], rows: int) -> MidRad:
    import scipy.sparse as sp

    blocks = []
    for i, size in enumerate(sizes):
        term = terms.get(i)
        if i not in terms:
            blocks.append(MidRad(np.zeros((rows, size))))
        else:
            blocks.append(MidRad(np.eye(size)) if term is None and size <= 4096 else MidRad(sp.csr_array(sp.eye_array(size, format="csr"))) if term is None else term)
    if len(blocks) == 1:
        return blocks[0]
    blocks = [b.dense() for b in blocks]
    rad = None if all(b.rad is None for b in blocks) else np.hstack([b.radius() for b in blocks])
    return MidRad(np.hstack([b.mid for b in blocks]), rad)


def _stacked(blocks: list[MidRad]) -> MidRad:
    if len(blocks) == 1:
        return blocks[0]
    blocks = [b.dense() for b in blocks]
    rad = None if all(b.rad is None for b in blocks) else np.vstack([b.radius() for b in blocks])
    return MidRad(np.vstack([b.mid for b in blocks]), rad)


def _columns(a: MidRad, start: int, stop: int) -> MidRad:
    return MidRad(a.mid[:, start:stop], None if a.rad is None else a.rad[:, start:stop])
