"""The certificate of a flowpipe: one file of `core.record`, a JSON document and flat arrays. Nothing in it is believed by the checker.

    {"format", "kind": "flowpipe", "claim": {"text", "not_proved"}, "assumptions", "versions", "settings",
     "plant": {"time": "continuous" | "discrete", "states", "inputs", "disturbances": [[name, low, high], ...], "formulas": exact text, "digest"},
     "controller": {"digest"}, "period", "initial": {"lower", "upper"}, "variables": f,
     "steps": [{"order", "columns", "kept": count | null, "pieces", "layers": [[name, neurons, degree], ...]}, ...],
     "specifications": [...], "digests": {array: sha256}}

The state at the start of step k is {p(s) + E eps}, s in [-1, 1]^f, eps in [-1, 1]^columns; polynomials are rows of coefficients in the order of `monomials`, those
of a piece in (s, tau). Arrays are flat; step after step, row by row (n states, nu inputs, nw disturbances):

    state_coefficients n M   state_generators n m   kept (int64) positions in the previous end's generators that became the first columns of E; null: all of them
    control_coefficients nu M   control_generators nu m   control_box nu       v in p_v(s) + E_v eps +- box, the same s and eps
    fit_centre, fit_radius, fit_error, fit_slope_lower, fit_slope_upper: neurons   fit_coefficients neurons (degree + 1), layer after layer
    continuous, per piece: piece_length 1   piece_motion n M(s, tau)   piece_picard n   piece_deviation n   piece_bound n   piece_transition n (n + nu)
                           piece_disturbance n nw   piece_fresh n
    discrete, per step:    update_coefficients n M   update_jacobian n (n + nu + nw)   update_fresh n

Theorem names are those of methods/reach.md: piece_motion is P, piece_picard I, piece_deviation V, piece_bound bounds the deviation at all times: a motion is in
P +- I +- bound; at the end of a piece it is in P(s, 1) + Phi (E; E_v) eps + [disturbance columns] + box of radius fresh, with Phi the stored transition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FORMAT = "reach-certificate/1"
IEEE = "IEEE 754 binary64 with gradual underflow: + - * / and square root are rounded to nearest"
PRODUCTS = "a matrix product computes sums of the products of the entries, in any order, with or without fma"
LIBM = "libm: exp, expm1 and log1p of numpy within 4 ulp, erf of scipy within 8 ulp"
CLAIM = (
    "For every initial state in the box, every measurable disturbance inside its bounds and the controller with its stored weights in exact real arithmetic, sampled at the "
    "multiples of the period and held in between: the plant's motion exists up to the last step, every sample is in the stored set of its step, and every state in "
    "between is in the stored tube of its piece. A number written as a decimal means the decimal and its nearest float. The listed specifications hold."
)
CLAIM_DISCRETE = (
    "For every initial state in the box, every disturbance inside its bounds (a fresh one in every step) and the controller with its stored weights in exact real arithmetic: the "
    "state after every update is in the stored set of its step. A number written as a decimal means the decimal and its nearest float. The listed specifications hold."
)
NOT_PROVED = ("the same for the controller as executed in floating point, which rounds", "that the plant's formulas describe the real plant")

MOST_STEPS, MOST_PIECES, MOST_COLUMNS, MOST_STATES = 100_000, 1_000, 20_000, 200


def claim(continuous: bool) -> dict[str, Any]:
    """The claim in words, and what it does not say."""
    return {"text": CLAIM if continuous else CLAIM_DISCRETE, "not_proved": list(NOT_PROVED)}


def assumptions() -> list[str]:
    """What a proof believes without proof."""
    return [IEEE, PRODUCTS, LIBM]


def plant_part(plant: Any) -> dict[str, Any]:
    """What the document says about a plant: exact formulas as text, outward ends of the disturbances, and the digest of it all."""
    ends = zip(plant.disturbances, plant.disturbance_lower.tolist(), plant.disturbance_upper.tolist())
    return {
        "time": plant.time, "states": list(plant.states), "inputs": list(plant.inputs), "disturbances": [list(row) for row in ends],
        "formulas": [str(e) for e in plant.expressions], "digest": plant.digest,
    }  # fmt: skip


def pieces_of(flat: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The flat array cut into runs of these sizes."""
    return np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
