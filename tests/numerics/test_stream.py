"""A row in pieces gives what one call gives."""

from collections.abc import Callable

import pytest
import torch
from long_convolutions import BARS, Inputs, Problem, error, faults, truth
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import ConvState, fftconv, fftconv_stream, prepare_filter


def cut(length: int, *, seed: int, most: int) -> list[slice]:
    """Random pieces of 1 to ``most`` positions."""
    generator = torch.Generator().manual_seed(seed)
    found, start = [], 0
    while start < length:
        stop = min(length, start + int(torch.randint(1, most + 1, (), generator=generator)))
        found.append(slice(start, stop))
        start = stop
    return found


def streamed(x: Inputs, pieces: list[slice], k: object = None) -> tuple[Tensor, ConvState]:
    """y of all pieces, and the last state."""
    state, found = None, []
    for piece in pieces:
        gates = {n: None if getattr(x, n) is None else getattr(x, n)[..., piece] for n in ("gate_in", "gate_out")}
        D = x.D if k is None else None
        y, state = fftconv_stream(x.u[..., piece], x.k if k is None else k, state, D=D, **gates)  # type: ignore[arg-type]
        found.append(y)
    assert state is not None
    return torch.cat(found, dim=-1), state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("gates", [(True, True), (False, False), (True, False)], ids=str)
@pytest.mark.parametrize(("K", "most"), [(1000, 300), (300, 40), (90, 400), (3, 100), (1, 50)])
def test_random_pieces_give_what_one_call_gives(
    K: int, most: int, gates: tuple[bool, bool], dtype: torch.dtype
) -> None:
    x = Problem(1000, B=2, H=3, K=K, gate_in=gates[0], gate_out=gates[1], dtype=dtype).inputs()
    y, state = streamed(x, cut(1000, seed=K, most=most))
    assert y.dtype == dtype
    assert error(y, truth(x)["y"]) <= 1.3 * BARS[dtype]
    assert state.position == 1000
    assert state.u.shape == (2, 3, K - 1)


def test_pieces_of_one_position() -> None:
    x = Problem(60, B=2, H=3, K=20, dtype=torch.float32).inputs()
    y, _ = streamed(x, cut(60, seed=0, most=1))
    assert error(y, truth(x)["y"]) <= BARS[torch.float32]


def test_gradients_pass_from_piece_to_piece() -> None:
    x = Problem(300, B=2, H=3, K=70, dtype=torch.float32).inputs()
    leaves = {n: v.requires_grad_() for n, v in vars(x).items() if v is not None and n != "dy"}
    y, _ = streamed(x, cut(300, seed=1, most=90))
    gradients = torch.autograd.grad(y, list(leaves.values()), x.dy)
    got = {"y": y.detach()} | {f"d{n}": g for n, g in zip(leaves, gradients, strict=True)}
    for leaf in leaves.values():
        leaf.requires_grad_(False)
    assert not faults(got, x)


def test_a_detached_state_ends_the_gradient() -> None:
    x = Problem(64, B=1, H=2, K=40, dtype=torch.float32, gate_in=False, gate_out=False).inputs()
    u = x.u.requires_grad_()
    _, state = fftconv_stream(u[..., :32], x.k, D=x.D)
    y, _ = fftconv_stream(u[..., 32:], x.k, state.detach(), D=x.D)
    y.sum().backward()
    assert u.grad is not None
    assert not u.grad[..., :32].any()
    assert u.grad[..., 32:].any()


def test_a_prepared_filter_serves_a_stream() -> None:
    x = Problem(1000, B=2, H=3, K=90, dtype=torch.float32).inputs()
    y, _ = streamed(x, [slice(n, n + 100) for n in range(0, 1000, 100)], prepare_filter(x.k, 189, D=x.D))
    assert error(y, truth(x)["y"]) <= BARS[torch.float32]


def test_the_state_holds_no_more_than_the_filter_reaches() -> None:
    u = torch.zeros(1, 2, 5000)
    _, state = fftconv_stream(u, torch.zeros(2, 10))
    assert state.u.untyped_storage().nbytes() == 2 * 9 * 4


def test_pieces_long_enough_run_in_chunks() -> None:
    x = Problem(400_000, B=1, H=1, K=1000, dtype=torch.float32).inputs()
    y, _ = streamed(x, [slice(0, 390_000), slice(390_000, 400_000)])
    want = fftconv(x.u, x.k, D=x.D, gate_in=x.gate_in, gate_out=x.gate_out)
    assert error(y, want.double()) < 1e-6


U, K = torch.zeros(2, 3, 40), torch.zeros(3, 9)
STATE = fftconv_stream(U, K)[1]
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "channels": (lambda: fftconv_stream(U, K[:2]), "k has 2 channels, but u has 3"),
    "batch": (lambda: fftconv_stream(U[:1], K, STATE), r"u is \(1, 3, 40\).*the state is \(2, 3\)"),
    "type": (lambda: fftconv_stream(U.double(), K.double(), STATE), "float64.*torch.float32"),
    "gate later": (lambda: fftconv_stream(U, K, STATE, gate_in=U), "had no gate_in, but this one has one"),
    "gate lost": (
        lambda: fftconv_stream(U, K, fftconv_stream(U, K, gate_in=U)[1]),
        "had a gate_in, but this one has none",
    ),
    "filter": (lambda: fftconv_stream(U, K[:, :5], STATE), "holds 8 of 40 positions.*5 taps"),
    "prepared for less": (
        lambda: fftconv_stream(U, prepare_filter(K, 40), STATE),
        "prepared for 40 positions, but u has 48",
    ),
    "the whole answer": (lambda: fftconv_stream(U, K, fftconv_stream(U, K)), "state is a tuple; it must be the state"),
    "no taps": (lambda: fftconv_stream(U, K[:, :0]), r"K >= 1; got \(3, 0\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_value(mistake: str) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(UsageError, match=message):
        call()


def test_cuda_by_name_never_falls_back_for_short_pieces() -> None:
    with pytest.raises(KernelError, match="need CUDA tensors"):
        fftconv_stream(U[..., :1], K, backend="cuda")
