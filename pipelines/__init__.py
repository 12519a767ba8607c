"""Whole runs: what a command does from its options to its files. Commands call these; libraries never do."""
