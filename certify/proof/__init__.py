"""Certificates and their checker: separately written, trusted, without torch and without prover code."""
