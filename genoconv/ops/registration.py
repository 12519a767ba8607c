"""Turns two functions that launch kernels into one differentiable operator of torch.

If only autograd is involved, kernels are called directly. Registered operators are used if something else has to see
the call: a compiler, a mode, a transform or a tensor subclass. For small problems, operators take more time on the host
than the kernels on the GPU.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN = (Tensor, torch.nn.Parameter)


def watched(*values: Any) -> bool:
    """Whether something other than autograd has to see the operator."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return True
    if torch._C._functorch.peek_interpreter_stack() is not None:  # vmap, grad, functionalize
        return True
    return any(isinstance(x, Tensor) and type(x) not in _PLAIN for x in values)


def transformed() -> bool:
    """Whether something is at work that only torch's own operators support: torch.func or forward-mode gradients."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def untracked(*tensors: Tensor | None) -> bool:
    """Whether values alone matter, so that results may be written in place: no gradient, mode or transform follows."""
    if watched(*tensors) or transformed():
        return False
    return not (torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors))


def differentiable(
    name: str,
    forward: Callable[P, R],
    backward: Callable[..., Any],
    *,
    forward_fake: Callable[..., Any],
    backward_fake: Callable[..., Any],
    keep: Callable[[Any, tuple[Any, ...], Any], None],
    gradients: Callable[..., tuple[Tensor | None, ...]],
) -> Callable[P, R]:
    """Make an operator ``genoconv::name`` and its gradient ``genoconv::name_backward``.

    Args:
        name: of the operator.
        forward, backward: launch the kernels. Their annotations are the operators' schemas; they return only tensors,
            none of which is an argument.
        forward_fake, backward_fake: return tensors of the same shapes and types without values.
        keep: stores arguments and outputs that the gradient needs in autograd's context.
        gradients: ``gradients(backward, ctx, *output gradients)`` returns one gradient per argument.

    Returns:
        A function with the arguments of ``forward``, positional only.
    """
    operator: Any = torch.library.custom_op(f"genoconv::{name}", forward, mutates_args=(), device_types="cuda")
    operator_backward: Any = torch.library.custom_op(
        f"genoconv::{name}_backward", backward, mutates_args=(), device_types="cuda"
    )
    operator.register_fake(forward_fake)
    operator_backward.register_fake(backward_fake)

    def context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        keep(ctx, inputs, output)

    operator.register_autograd(lambda ctx, *d: gradients(operator_backward, ctx, *d), setup_context=context)

    class Direct(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            output = forward(*args)  # type: ignore[call-arg]
            keep(ctx, args, output)
            return output

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *d: Any) -> Any:
            return gradients(backward, ctx, *d)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        assert not kwargs
        result: R
        if watched(*args):
            result = operator(*args)
        elif torch.is_grad_enabled():
            result = Direct.apply(*args)  # type: ignore[no-untyped-call]
        else:
            result = forward(*args, **kwargs)
        return result

    return call
