"""The long convolution in a model of your own: recall a base that lies further back than short kernels reach.

Every sequence is random DNA. The model has to say, at the last position, which base stood ``--gap`` positions earlier.
A convolution of a few taps cannot know; one as long as the sequence can learn it.

    python examples/fftconv_in_your_model.py --length 1024 --gap 900
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import genoconv


class LongConvolution(nn.Module):
    """A residual block around ``genoconv.fftconv``: one filter per channel, as long as the sequence."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.filters = nn.Parameter(torch.randn(channels, length) / length)
        self.skip = nn.Parameter(torch.zeros(channels))
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, H). Position n of the result depends on positions 0 to n only."""
        rows = self.norm(x)
        gate = self.gate(rows).transpose(1, 2).contiguous()
        u = rows.transpose(1, 2).contiguous()  # (B, H, N), as the operator takes it
        y = genoconv.fftconv(u, self.filters, D=self.skip, gate_out=torch.sigmoid(gate))
        return x + y.transpose(1, 2)


class Recall(nn.Module):
    """An embedding, one block, and a linear layer that reads the last position."""

    def __init__(self, length: int, channels: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, channels)
        self.block = LongConvolution(channels, length)
        self.head = nn.Linear(channels, 4)

    def forward(self, bases: Tensor) -> Tensor:
        """(B, N) bases 0 to 3 -> (B, 4) logits."""
        return self.head(self.block(self.embed(bases))[:, -1])


def train(*, length: int, gap: int, steps: int, batch: int = 64, seed: int = 0) -> float:
    """Train; the share of right answers on sequences that were not seen. Guessing gives 0.25."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Recall(length).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(1, steps + 1):
        bases = torch.randint(4, (batch, length), device=device)
        loss = F.cross_entropy(model(bases), bases[:, -1 - gap])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    with torch.no_grad():
        bases = torch.randint(4, (512, length), device=device)
        right = model(bases).argmax(1) == bases[:, -1 - gap]
    return right.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=1024, help="bases in a sequence")
    parser.add_argument("--gap", type=int, default=900, help="how far back the answer lies")
    parser.add_argument("--steps", type=int, default=300)
    wanted = parser.parse_args()
    accuracy = train(length=wanted.length, gap=wanted.gap, steps=wanted.steps)
    print(f"{accuracy:.1%} right; a guess is right in 25 %")


if __name__ == "__main__":
    main()
