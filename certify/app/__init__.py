"""Command line, report and plots: the only part of `certify` that talks to a terminal."""
