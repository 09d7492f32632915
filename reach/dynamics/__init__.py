"""Plants: formulas read exactly, translated once to straight-line code, and evaluated in floats, intervals or Taylor models."""
