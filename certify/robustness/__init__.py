"""From margins to radii: heads, margins, attacks, curves, and the run that ties them together (`radii.radius`)."""
