"""What a model of one size costs on one GPU: predicted memory and time, before anything is run."""
