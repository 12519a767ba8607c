"""Filters much shorter than their rows: the row is convolved in chunks that overlap by the filter's length."""
