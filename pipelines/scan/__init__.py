"""The whole of ``genoconv scan``."""
