"""Semidefinite bounds on Lipschitz constants: the network as a chain, metrics carried along it, search, and proof."""
