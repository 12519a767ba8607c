"""The runs behind ``genoconv windows``."""
