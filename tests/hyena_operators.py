"""Problems for the operators around the long convolution, and what is true of them in float64."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from genoconv.ops import add_norm, bias_gelu, embed, gated_short_conv, next_token_sums
from genoconv.ops.filter.filter import modulate, sine_network, taps
from genoconv.ops.filter.positions import Positions

# Relative L2 error of a result that is rounded to its type once; what is float32 is made from 16-bit inputs.
BARS = {torch.float32: 2e-6, torch.bfloat16: 2.4e-3, torch.float16: 3.2e-4}


@dataclass(frozen=True)
class Call:
    """One call of an operator: its tensors, which of them are differentiated, and how it is called with them."""

    name: str
    tensors: dict[str, Tensor]
    run: Callable[..., tuple[Tensor, ...]]
    plain: tuple[str, ...] = field(default=())
    slack: float = 2.0  # how far off results may be, in roundings

    def __str__(self) -> str:
        return self.name

    def to(self, device: str) -> "Call":
        return replace(self, tensors={n: x.to(device) for n, x in self.tensors.items()})

    def results(self, *, double: bool = False, backend: str = "auto") -> dict[str, Tensor]:
        """Outputs, and gradients of every tensor, of a loss that weighs each output value differently."""
        given = {}
        for name, x in self.tensors.items():
            x = x.detach().double() if double and x.is_floating_point() else x.detach()
            given[name] = x if name in self.plain else x.clone().requires_grad_()
        outputs = self.run(**given, backend=backend)
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(y.shape, generator=generator).to(self._types[i]) for i, y in enumerate(outputs)]
        wanted = {n: x for n, x in given.items() if n not in self.plain}
        gradients = torch.autograd.grad(
            outputs, list(wanted.values()), [w.to(y.device, y.dtype) for w, y in zip(weights, outputs, strict=True)]
        )
        found = {f"out{i}": y.detach() for i, y in enumerate(outputs)}
        return found | {f"d_{n}": g for n, g in zip(wanted, gradients, strict=True)}

    @property
    def _types(self) -> list[torch.dtype]:
        with torch.no_grad():
            return [y.dtype for y in self.run(**self.tensors, backend="torch")]


def faults(found: dict[str, Tensor], call: Call) -> list[str]:
    """Which results are further from float64 than rounding them to their type explains."""
    true = call.results(double=True, backend="torch")
    wrong = []
    low = max((x.dtype for x in found.values()), key=lambda dtype: BARS[dtype])
    for name, value in found.items():
        error = float((value.double() - true[name]).norm() / true[name].norm().clamp(min=1e-30))
        # Sums over rows are of values that were not rounded before.
        bar = call.slack * BARS[value.dtype] if value.dtype != torch.float32 or low == torch.float32 else 2e-5
        if not error <= bar:
            wrong.append(f"{name}: {error:.2e} > {bar:.1e}")
    return wrong


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (scale * torch.randn(shape, generator=generator)).to(dtype)


def norm(rows: int, D: int, dtype: torch.dtype, *, branch: bool = True, lift: bool = True) -> Call:
    tensors = {"residual": random(2, rows, D, scale=3.0), "weight": random(D, seed=1), "bias": random(D, seed=2)}
    if branch:
        tensors["branch"] = random(2, rows, D, dtype=dtype, seed=3)
        if lift:
            tensors["branch_bias"] = random(D, seed=4)

    def run(*, backend: str, **given: Tensor) -> tuple[Tensor, ...]:
        out = torch.float64 if given["weight"].dtype == torch.float64 else dtype
        return add_norm(**given, eps=1e-3, dtype=out, backend=backend)

    return Call(f"norm-{rows}x{D}-{dtype}-{'+-'[not branch]}{'+-'[not lift]}", tensors, run)


def gelu(rows: int, D: int, dtype: torch.dtype) -> Call:
    tensors = {"x": random(rows, D, dtype=dtype, scale=2.0), "bias": random(D, seed=1)}
    return Call(f"gelu-{rows}x{D}-{dtype}", tensors, lambda x, bias, backend: (bias_gelu(x, bias, backend=backend),))


def short_conv(B: int, D: int, N: int, K: int, dtype: torch.dtype, *, lifted: bool = True, biased: bool = True) -> Call:
    tensors = {"u": random(B, 3 * D, N, dtype=dtype), "weight": random(3 * D, 1, K, seed=1)}
    if biased:
        tensors["bias"] = random(3 * D, seed=2)
    if lifted:
        tensors["u_bias"] = random(3 * D, seed=3)

    def run(*, backend: str, u: Tensor, weight: Tensor, bias: Tensor | None = None, u_bias: Tensor | None = None):
        if backend == "torch" and u.dtype != torch.float64:  # torch wants all of one type
            weight, bias, u_bias = (None if x is None else x.to(u.dtype) for x in (weight, bias, u_bias))
        return gated_short_conv(u, weight, bias, u_bias=u_bias, backend=backend)

    return Call(f"short_conv-{B}x{D}x{N}-{K}-{dtype}-{'-+'[lifted]}{'-+'[biased]}", tensors, run)


def embedding(rows: int, V: int, D: int, dtype: torch.dtype) -> Call:
    ids = torch.randint(0, V - 1, (2, rows), generator=torch.Generator().manual_seed(rows))
    tensors = {"ids": ids, "table": random(V, D, dtype=dtype)}

    def run(*, backend: str, ids: Tensor, table: Tensor) -> tuple[Tensor, ...]:
        return (embed(ids, table, backend=backend),)

    return Call(f"embedding-{rows}-{V}x{D}-{dtype}", tensors, run, plain=("ids",))


def loss(B: int, N: int, V: int, dtype: torch.dtype, *, first: int = 0, count: int | None = None) -> Call:
    generator = torch.Generator().manual_seed(N)
    tensors = {
        "logits": random(B, N, V, dtype=dtype, scale=4.0),
        "ids": torch.randint(0, V, (B, N), generator=generator),
    }
    if count is not None:
        tensors["weights"] = torch.rand(B, N, generator=generator)

    def run(*, backend: str, logits: Tensor, ids: Tensor, weights: Tensor | None = None) -> tuple[Tensor, ...]:
        sums = next_token_sums(logits, ids, weights=weights, first=first, count=count, backend=backend)
        return (sums[0], sums[1:].detach() + 0 * sums[0])

    return Call(f"loss-{B}x{N}x{V}-{dtype}-{first}", tensors, run, plain=("ids", "weights"))


def network(n: int, E: int, F: int, L: int, *, start: int = 0, most: int = 4096, stored: bool = False) -> Call:
    sizes = [(F, E), *[(F, F)] * (L - 1)]
    tensors = {f"weight{i}": random(*size, seed=i, scale=0.1) for i, size in enumerate(sizes)}
    tensors |= {f"bias{i}": random(F, seed=20 + i, scale=0.3) for i in range(L)}
    tensors["frequency"] = 2.0 + random(F, seed=40)
    if stored:
        tensors["table"] = random(most, E, seed=41)

    def run(*, backend: str, frequency: Tensor, table: Tensor | None = None, **given: Tensor) -> tuple[Tensor, ...]:
        layers = [(given[f"weight{i}"], given[f"bias{i}"]) for i in range(L)]
        positions = Positions(start, n, most, table)
        return (sine_network(positions, layers, frequency, backend=backend),)

    return Call(f"network-{n}-{E}-{F}-{L}{'-stored' * stored}", tensors, run, plain=("table",))


def modulation(D: int, n: int, *, start: int = 0, most: int = 4096) -> Call:
    def run(*, backend: str, x: Tensor, rates: Tensor) -> tuple[Tensor, ...]:
        return (modulate(x, rates, Positions(start, n, most), shift=0.05, backend=backend),)

    tensors = {"x": random(D, n), "rates": 20 * random(D, seed=1).abs()}
    return Call(f"modulation-{D}x{n}", tensors, run, plain=("rates",))


def last_layer(D: int, F: int, n: int, *, start: int = 0, most: int = 4096, decays: bool = True) -> Call:
    def run(*, backend: str, weight: Tensor, h: Tensor, rates: Tensor | None = None) -> tuple[Tensor, ...]:
        return (taps(weight, h, rates, Positions(start, n, most), shift=0.05, backend=backend),)

    tensors = {"weight": random(D, F, scale=0.1), "h": random(F, n, seed=1).sin()}
    if decays:
        tensors["rates"] = 20 * random(D, seed=2).abs()
    return Call(f"taps-{D}x{F}x{n}{'-constant' * (not decays)}", tensors, run, plain=("rates",), slack=3.0)


def one_of_each() -> Iterator[Call]:
    """Every kernel with the sizes that published models have."""
    yield norm(2, 256, torch.bfloat16)
    yield gelu(2, 1024, torch.bfloat16)
    yield short_conv(1, 2, 64, 3, torch.bfloat16)
    yield embedding(2, 16, 256, torch.float32)
    yield network(64, 5, 64, 3)
    yield modulation(2, 64)
    yield last_layer(256, 64, 64)
    yield loss(2, 9, 16, torch.bfloat16, first=7, count=4)


def small_calls() -> Iterator[Call]:
    """Every path of every kernel, on shapes that the emulation does in a second."""
    full, bf16, fp16 = torch.float32, torch.bfloat16, torch.float16
    yield norm(37, 256, bf16)
    yield norm(9, 24, fp16, lift=False)
    yield norm(33, 128, full)
    yield norm(5, 1024, bf16, branch=False)
    yield norm(7, 520, fp16)
    yield gelu(70, 64, bf16)
    yield gelu(3, 2056, fp16)
    yield gelu(9, 24, full)
    yield short_conv(2, 3, 1048, 3, bf16)
    yield short_conv(3, 2, 37, 3, fp16)
    yield short_conv(2, 2, 9, 9, full)
    yield short_conv(2, 2, 40, 1, bf16, lifted=False)
    yield short_conv(1, 2, 1, 4, full, biased=False)
    yield embedding(150, 16, 64, full)
    yield embedding(20, 12, 8, bf16)
    yield network(300, 5, 64, 3)
    yield network(77, 3, 16, 1, start=5)
    yield network(64, 9, 48, 4, most=64, stored=True)
    yield modulation(3, 2056, start=2040)
    yield modulation(2, 77)
    yield last_layer(32, 64, 200, start=2040)
    yield last_layer(144, 48, 77, decays=False)
    yield loss(3, 150, 16, torch.bfloat16)
    yield loss(2, 40, 16, torch.float32, first=7, count=4)
    yield loss(1, 9, 8, torch.float16)


def large_calls() -> Iterator[Call]:
    """Sizes that fill a GPU, and those at the edges of what the kernels serve."""
    for dtype in BARS:
        yield norm(3001, 256, dtype)
        yield gelu(3001, 1024, dtype)
        yield short_conv(3, 17, 20000, 3, dtype)
        yield short_conv(37, 5, 1021, 4, dtype)
        yield embedding(40001, 16, 256, dtype)
    yield norm(1, 8, torch.bfloat16, branch=False)
    yield norm(513, 1024, torch.bfloat16, lift=False)
    yield gelu(1, 8, torch.bfloat16)
    yield gelu(129, 4104, torch.float16)
    yield short_conv(1, 1, 1, 9, torch.bfloat16)
    yield network(40003, 5, 64, 3, most=1_000_002)
    yield network(1000, 33, 32, 4)
    yield modulation(129, 40003, most=1_000_002)
    yield last_layer(256, 64, 40004, most=1_000_002)
    yield last_layer(240, 32, 1001, decays=False)
    yield loss(7, 30001, 16, torch.bfloat16, first=7, count=4)
