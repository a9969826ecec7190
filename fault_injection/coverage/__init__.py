"""Fault coverage: which faults were tried where, how often, and what came of them."""
