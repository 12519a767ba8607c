"""Rows that one streaming multiprocessor holds: up to 32,768 positions."""
