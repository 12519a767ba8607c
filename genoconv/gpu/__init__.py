"""CUDA kernels at run time: targets, compiler, cache, launches.

The only package that imports cuda; it knows no operator.
"""
