"""Regional constants and radii: the chain of `constants.sdp` with the slopes that a region leaves, by boxes of every pre-activation."""
