"""The whole of ``genoconv train``."""
