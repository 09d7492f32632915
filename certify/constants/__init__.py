"""Lipschitz constants of whole networks: the walker (product), composition of affine networks, lower ends, forward errors."""
