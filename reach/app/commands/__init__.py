"""One file per command: `command(...) -> Answer` and its RANK in the help. Nothing heavy is imported at module level."""
