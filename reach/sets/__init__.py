"""Sets of states and the polynomial arithmetic behind them: one file per kind of set, every verb returns a superset. Imports certify.core only.

The contract is `base.Set`; box, zonotope, polyzonotope, taylor, bernstein and union implement it. `ring` and `kernels` hold the tables and the
compiled loops, `polynomial` the arithmetic with proved remainders, `cuts` the finer ranges, `readings` what a decimal means.
"""
