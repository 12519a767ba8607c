"""CUDA kernels at run time: compiler, cache, launches. The only package that imports cuda."""
