"""GPU architectures that every kernel is compiled for in the tests."""

KERNEL_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100")
