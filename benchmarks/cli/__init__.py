"""`kessai bench`: found by its entry point, so that a deployment may leave it out."""

from benchmarks.cli import bench

__all__ = ["bench"]
