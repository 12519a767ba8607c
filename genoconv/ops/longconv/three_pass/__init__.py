"""Rows that no multiprocessor holds: columns, lines, columns, with what is between them in the L2 cache."""
