"""Published HyenaDNA checkpoints: layouts, conversion, the hub."""
