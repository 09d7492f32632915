"""The smaller of A A' and A' A as a float matrix, with a bound on its rounding: the ground of every dense certificate."""

from __future__ import annotations

import numpy as np
from scipy import sparse as sp
from scipy.linalg import blas

from ..core.cholesky import ROWS, exactly_hermitian
from ..core.rounding import add_up, gamma, mul_up, sqrt_up, up
from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import TINY

_MIRRORED = 400  # from this size on half a product and a copy beat the whole product
_SPARSE = 0.02  # a sparse product beats the dense one below about this share of nonzero entries


def gram_matrix(block: LinearMap) -> tuple[np.ndarray, float, bool]:
    """(G, radius, rows): G exactly symmetric of size min(M, N), and a bound on ||G - S S'||_2, S = A if `rows` else A', of a scaled map.

    Claim: an entry of S S' is a sum of at most K products, of which none meets more than K + 1 roundings, so |G - S S'| <= gamma_(K+1) |S||S|'
    and || |S||S|' ||_2 <= ||S||_F^2. For a composition or a copying padding S stands for the assembled float matrix `dense()`.
    """
    inner = block.inner if isinstance(block, AdjointMap) else block
    if isinstance(inner, ConvMap) and inner.groups == 1 and inner.mode == "zeros":
        gram, count = _conv_gram(inner), 1 + max(inner.terms, inner.adjoint_terms)
        frobenius = frobenius_up(inner)
        rows = (inner.output_size <= inner.input_size) == (inner is block)
    else:
        gram, count, frobenius = _plain_gram(block)
        rows = block.output_size <= block.input_size
    if not exactly_hermitian(gram):  # products of other builds may differ in the two triangles; a matrix that is not finite stays as it is
        gram = np.tril(gram) + np.tril(gram, -1).T
    return gram, add_up(mul_up(gamma(count), mul_up(frobenius, frobenius)), TINY), rows


def frobenius_up(block: LinearMap) -> float:
    """Upper end of ||A||_F of a scaled map with one weight per entry."""
    total = float(block.squares().row_sums().sum())
    return sqrt_up(up(total * up(1.0 + 2.0 * gamma(block.terms + block.output_size + 2)) + TINY))


def memory_needed(block: LinearMap) -> int:
    """Bytes for the Gram matrix, its factor and what is assembled on the way."""
    inner = block.inner if isinstance(block, AdjointMap) else block
    if isinstance(inner, ConvMap) and inner.mode == "zeros":
        return 24 * block.size**2
    return 24 * block.size**2 + (32 * block.nonzeros if _is_sparse(block) else 8 * block.input_size * block.output_size + 24 * block.nonzeros)


def _is_sparse(block: LinearMap) -> bool:
    return block.nonzeros < _SPARSE * block.input_size * block.output_size


def _plain_gram(block: LinearMap) -> tuple[np.ndarray, int, float]:
    if _is_sparse(block):
        matrix = block.sparse()
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else sp.csr_array(matrix.T)
        gram, count, entries = (matrix @ matrix.T).toarray(), int(np.diff(matrix.indptr).max(initial=1)), matrix.data
    else:
        full = block.dense()
        full = full if full.shape[0] <= full.shape[1] else full.T
        gram, count, entries = _product(full), full.shape[1], full
    total = float(np.vdot(entries, entries))
    return gram, count, sqrt_up(up(total * up(1.0 + 2.0 * gamma(entries.size + 2)) + TINY))


def _product(full: np.ndarray) -> np.ndarray:
    """full full', one triangle computed and mirrored."""
    if len(full) < _MIRRORED:
        return full @ full.T
    other = full.flags.c_contiguous
    gram = blas.dsyrk(1.0, full.T if other else full, trans=1 if other else 0, lower=0).T  # C order, the lower triangle
    for i in range(0, len(gram), ROWS):
        block = gram[i : i + ROWS, i : i + ROWS]
        block[...] = np.tril(block) + np.tril(block, -1).T
        gram[i : i + ROWS, i + ROWS :] = gram[i + ROWS :, i : i + ROWS].T
    return gram


def _conv_gram(conv: ConvMap) -> np.ndarray:
    """A A' (or A' A) of a zero-padded convolution from its tap products K[t] K[t']', each added where both taps read one pixel.

    About k^2 times fewer operations than the product of the assembled matrices, and the matrix is never assembled.
    """
    o, t, i = conv._entries
    kernel = conv.weight.reshape(*conv.weight.shape[:2], -1)
    if conv.output_size <= conv.input_size:
        kept, shared, sites, width = o, i, conv.output_size // conv.weight.shape[0], conv.input_size // conv.weight.shape[1]
    else:
        kernel = kernel.swapaxes(0, 1)
        kept, shared, sites, width = i, o, conv.input_size // conv.weight.shape[1], conv.output_size // conv.weight.shape[0]
    a, _, taps = kernel.shape
    place = np.full((taps, width), -1)
    place[t, shared] = kept  # through tap t the shared index meets one kept index at most
    matrices = np.ascontiguousarray(np.moveaxis(kernel, 2, 0))
    gram = np.zeros((sites, sites, a, a))
    for first in range(taps):
        products = matrices[first] @ matrices[first:].transpose(0, 2, 1)
        for second in range(first, taps):
            both = (place[first] >= 0) & (place[second] >= 0)
            x, y = place[first][both], place[second][both]
            product = products[second - first]
            if first == second:
                gram[x, x] += (product + product.T) / 2
            else:
                gram[x, y] += product
                gram[y, x] += product.T
    return gram.transpose(2, 0, 3, 1).reshape(a * sites, a * sites)
