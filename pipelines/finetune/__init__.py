"""The whole of ``genoconv finetune``."""
