"""Rows that a cluster of multiprocessors holds together, a chunk each, in one launch."""
