"""The runs behind ``genoconv kernels``."""
