"""What shows that an option has arrived, by command; ``tests/cli/test_option_matrix.py`` runs them."""
