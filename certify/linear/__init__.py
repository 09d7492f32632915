"""Linear maps, one file per structure; `linear_map(node, in_shape)` builds the map of a graph node. Imports core only."""
