"""Certificates of flowpipes: the file (`writer`), and the checker (`check`), which proves every stored set again with its own mathematics and no prover code."""
