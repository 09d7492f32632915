"""Local facts of each graph operator, one file per family; `rule_for(op)` finds the rule. Imports core, linear and norms only.

A rule says how one node scales distances and how far its float64 value may be from the exact one. It never looks at the
rest of the network: only `certify.constants` composes. To add a layer, write one function with the decorator
`@rule("op", ...)` in the file of its family; it is found by itself, and the contract tests then try it on random nodes.
"""
