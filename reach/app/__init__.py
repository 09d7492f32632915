"""Command line of `reach`."""
