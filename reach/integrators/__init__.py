"""Validated integrators: one control step of a plant from a set to a set, with the tube in between."""
