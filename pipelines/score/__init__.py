"""The whole of ``genoconv score-variants``."""
