"""Rows of different lengths in one launch: each in chunks that a multiprocessor holds, with filters as long as rows."""
