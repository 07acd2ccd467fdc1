"""Accelerators: caches across steps and layers that are not (q, k, v) -> out. One file each."""
