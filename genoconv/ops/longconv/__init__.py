"""The long convolution: contract, dispatch, torch path, kernels, specification."""
