"""The runs behind ``genoconv models``."""
