"""One file per command: a function `command(...) -> Answer` whose docstring is its help, and `RANK`, its place in the list. `cli` finds them by itself."""
