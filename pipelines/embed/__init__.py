"""The whole of ``genoconv embed``."""
