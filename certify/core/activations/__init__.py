"""One class per activation; `certify.core.activation` finds every class with a `kind` in this folder by itself."""
