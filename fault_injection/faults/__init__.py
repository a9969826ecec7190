"""Faults as data, and the wrappers of ports and wire that bring them about in a running service."""
