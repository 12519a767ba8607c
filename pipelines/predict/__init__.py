"""The whole of ``genoconv predict``."""
