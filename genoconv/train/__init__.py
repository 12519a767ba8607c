"""Training. The only package that imports lightning."""
