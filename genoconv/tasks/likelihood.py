"""Log-likelihood of each base under a causal model, for many sequences of similar length.

The model reads tokens and gives, at each position, logits for the next. With the softmax taken over A, C, G and T
alone, ``lp[i] = ln P(x[i] | x[0], ..., x[i-1])``. The first base has nothing to be conditioned on, and bases other
than A, C, G, T are not predicted: both count as zero, and :func:`scored` leaves them out of every denominator.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genoconv.errors import ModelError
from genoconv.genome.tokenizer import PAD, A, T

Tokens = npt.NDArray[np.uint8]
LogP = npt.NDArray[np.float32]

_CPU_TOKENS = 16_384
_GPU_TOKENS = 1 << 22
_GPU_SHARE = 0.7


def scored(tokens: Tokens) -> int:
    """How many bases of ``tokens`` a likelihood counts: A, C, G, T from the second position on."""
    return int(np.count_nonzero((tokens[1:] >= A) & (tokens[1:] <= T)))


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of every token given those before it.

    Args:
        logits: (B, N, V), any float type; position i predicts token i + 1.
        ids: (B, N), integers.

    Returns:
        (B, N) float32; 0 at the first position and wherever the token is not A, C, G or T.
    """
    bases = torch.log_softmax(logits[:, :-1, A : T + 1].float(), dim=-1)
    target = ids[:, 1:].long() - A
    known = (target >= 0) & (target <= T - A)
    chosen = bases.gather(-1, target.clamp(0, T - A).unsqueeze(-1)).squeeze(-1)
    return nn.functional.pad(torch.where(known, chosen, 0.0), (1, 0))


class CausalLikelihood:
    """Runs a model over sequences in batches that fit the memory.

    Args:
        model: ``model(ids (B, N)) -> logits (B, N, V)``, causal. If it has ``prepare(length)``, that is called once
            for each length, before the first batch of it.
        device: where the model is.
        lengths: lengths to pad to (the windows in use); longer sequences are padded to a power of two.
        batch_size: sequences in a batch; from free memory if None.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: torch.device | str = "cpu",
        lengths: Sequence[int] = (),
        batch_size: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.device = torch.device(device)
        self.lengths = sorted(lengths)
        self.batch_size = batch_size
        self.passes = 0
        """Sequences that the model has read so far, padding rows not counted."""
        self._rows: dict[int, int] = {}

    def padded_length(self, length: int) -> int:
        """The length to which a sequence is padded on the right, where a causal model cannot see it."""
        return next((known for known in self.lengths if length <= known), 1 << max(6, (length - 1).bit_length()))

    def __call__(self, sequences: Sequence[Tokens]) -> list[LogP]:
        """Log-probabilities of each sequence, in order, each of its own length."""
        results: list[LogP] = [np.empty(0, np.float32)] * len(sequences)
        for length, members in self._batches(sequences):
            ids = np.full((len(members), length), PAD, np.uint8)
            for row, index in enumerate(members):
                ids[row, : len(sequences[index])] = sequences[index]
            values = self._run(torch.from_numpy(ids)).cpu().numpy()
            for row, index in enumerate(members):
                results[index] = values[row, : len(sequences[index])]
            self.passes += len(members)
        return results

    def _batches(self, sequences: Sequence[Tokens]) -> Iterator[tuple[int, list[int]]]:
        by_length: dict[int, list[int]] = {}
        for index, sequence in enumerate(sequences):
            by_length.setdefault(self.padded_length(len(sequence)), []).append(index)
        for length, members in sorted(by_length.items()):
            rows = self.rows(length)
            for first in range(0, len(members), rows):
                yield length, members[first : first + rows]

    @torch.inference_mode()
    def _run(self, ids: Tensor) -> Tensor:
        try:
            tokens = ids.to(self.device, torch.long)
            return log_probabilities(self.model(tokens), tokens)
        except torch.OutOfMemoryError as error:
            if len(ids) == 1:
                raise ModelError(
                    f"one sequence of {ids.shape[1]:,} bases does not fit into the memory of {self.device}; "
                    "use a smaller --window, --dtype bfloat16 or a device with more memory"
                ) from error
        # Somebody else took memory since the batch size was chosen: go on in halves.
        torch.cuda.empty_cache()
        half = len(ids) // 2
        return torch.cat([self._run(ids[:half]), self._run(ids[half:])])

    def rows(self, length: int) -> int:
        """Sequences in a batch of this padded length."""
        if length not in self._rows:
            prepare = getattr(self.model, "prepare", None)
            if prepare is not None:
                prepare(length)
            self._rows[length] = self.batch_size or self._fitting(length)
        return self._rows[length]

    def _fitting(self, length: int) -> int:
        if self.device.type != "cuda":
            return max(1, _CPU_TOKENS // length)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self._run(torch.full((1, length), A, dtype=torch.uint8))
        each = max(1, torch.cuda.max_memory_allocated(self.device) - before)
        free, _ = torch.cuda.mem_get_info(self.device)
        fitting = int(free * _GPU_SHARE / each)
        return max(1, min(fitting, _GPU_TOKENS // length))
