"""Settings of a training run, typed and checked. Lengths and tokens are bases; a step is an optimiser step."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stage(_Strict):
    """Part of a run with windows of at most ``length`` bases; the last stage has no ``steps``: it takes the rest."""

    length: Positive
    steps: Positive | None = None


class DataSettings(_Strict):
    """How windows become batches.

    Attributes:
        tokens_per_batch: bases, padding included, in a batch of one device; a longer window is a batch by itself. How
            much of it is computed at a time depends on the memory (``run.tokens_at_once``), what is learned does not.
        accumulate: such batches in one optimiser step, on every device.
        stages: sequence-length warm-up: shorter windows first, more of them, so that tokens a step stay constant.
            Empty: as ``length_warmup`` says.
        length_warmup: ``always``: lengths quadruple from 1,024 bases (a sixteenth of the longest window below 8,192) to
            the longest, 100 steps each or, together, a quarter of ``max_steps`` if that is less; ``never``: whole
            windows from the start; ``auto``: always where windows are 8,192 or longer.
        reverse_complement: read half of the windows on the other strand; ``auto`` does so for tiles, not for genes,
            which have a strand of their own.
        soft_mask: ``fold`` treats lower case as upper case; ``keep`` gives it ``soft_mask_weight`` in the loss.
        soft_mask_weight: weight of a soft-masked base in the loss, where kept.
        valid_tokens: bases of held-out sequence that perplexity is measured on.
        workers: reading processes a device.
    """

    tokens_per_batch: Positive = 16_384
    accumulate: Positive = 1
    stages: tuple[Stage, ...] = ()
    length_warmup: Literal["auto", "always", "never"] = "auto"
    reverse_complement: Literal["auto"] | bool = "auto"
    soft_mask: Literal["fold", "keep"] = "fold"
    soft_mask_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    valid_tokens: Positive = 500_000
    workers: Annotated[int, Field(ge=0, le=64)] = 1

    @model_validator(mode="after")
    def _open_end(self) -> "DataSettings":
        if self.stages and (self.stages[-1].steps is not None or any(s.steps is None for s in self.stages[:-1])):
            raise ValueError("every stage but the last needs steps, and the last takes the rest: leave its steps out")
        if self.stages and self.length_warmup != "auto":
            raise ValueError("stages are a length warm-up already; leave length_warmup out")
        return self


class OptimSettings(_Strict):
    """AdamW with a cosine after a linear warm-up.

    Attributes:
        lr: peak learning rate.
        filter_lr: that of the networks which make the long filters.
        weight_decay: of matrices; biases, norms, embeddings and filters have none.
        betas: of AdamW.
        warmup_steps: steps of linear warm-up.
        final_lr_ratio: where the cosine ends, as a share of the peak.
        clip: norm that gradients are clipped to.
    """

    lr: Annotated[float, Field(gt=0)] = 6e-4
    filter_lr: Annotated[float, Field(gt=0)] = 6e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    betas: tuple[Fraction, Fraction] = (0.9, 0.98)
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] = 1.0


class HeadOptimSettings(OptimSettings):
    """As above, for a pretrained model with a head.

    Attributes:
        head_lr: peak learning rate of the head.
    """

    head_lr: Annotated[float, Field(gt=0)] = 1e-2


class RunSettings(_Strict):
    """How long, where, and what is logged.

    Attributes:
        max_steps: optimiser steps; None leaves it to ``max_minutes``.
        max_minutes: minutes of training, interruptions not counted.
        seed: of weights, data order and augmentation.
        device: ``auto``, ``cpu``, ``cuda`` (every GPU of the machine) or ``cuda:N``.
        devices: processes on each machine, one per GPU; None is one for every GPU, and a single one on a CPU.
        precision: ``auto`` is bf16 on GPUs that have it, else float32.
        nodes: machines; SLURM and torchrun say themselves how many.
        launcher: ``local`` starts the processes of this machine; ``slurm`` and ``torchrun`` have started them already;
            ``auto`` looks.
        checkpoint_every, log_every: steps between them.
        validate_every: steps between validations; None: every 100 steps as far as the minutes allow, and at least
            five in a run.
        activation_checkpointing: keep less for the backward pass and compute it again; ``auto``: where a step would
            not fit into the GPU's memory otherwise, and on a CPU from windows of 65,536 bases up.
        tokens_at_once: bases of a batch that are computed at a time, in whole rows; ``auto``: as many as fit into the
            GPU's memory, before activations are computed again to save more.
        cuda_graphs: launch a step on a few rows as one CUDA graph.
        tensorboard: also write TensorBoard event files (extra ``tensorboard``).
    """

    max_steps: Positive | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    devices: Positive | None = None
    precision: Literal["auto", "32", "bf16"] = "auto"
    nodes: Positive = 1
    launcher: Literal["auto", "local", "slurm", "torchrun"] = "auto"
    checkpoint_every: Positive = 200
    validate_every: Positive | None = None
    log_every: Positive = 10
    activation_checkpointing: Literal["auto"] | bool = "auto"
    tokens_at_once: Literal["auto"] | Positive = "auto"
    cuda_graphs: bool = True
    tensorboard: bool = False
