"""Controllers and their abstractions: from a network and a set of states to a model of the control on the same symbols."""
