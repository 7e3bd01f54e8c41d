"""A faster input gradient of convolutions over few channels, on the processor.

The first layer of an image model has one to four input channels. There oneDNN's gradient with
respect to the input takes longer than the whole forward pass, and an attack asks for nothing else.
One matrix product and a sum of shifted maps give the same numbers up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MOST_CHANNELS = 4


class FewChannelConvolutions(TorchFunctionMode):
    """While entered, convolutions that qualify get the faster input gradient, in any module.

    Those that don't (other devices, more channels, dilation, groups, weights that want a gradient
    too, types that autocast changes) run as ever.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run `func`, or the convolution below in its place."""
        if func is torch.conv2d and not kwargs and _qualifies(*args):
            x, weight, bias, stride, padding = args[:5]
            return _FewChannelConvolution.apply(x, weight, bias, stride, padding)
        return func(*args, **(kwargs or {}))


def _qualifies(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    return (
        x.ndim == 4
        and x.shape[1] <= MOST_CHANNELS
        and x.requires_grad
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and not weight.requires_grad
        and (bias is None or not bias.requires_grad)
        and all(isinstance(pair, tuple) for pair in (stride, padding, dilation))
        and set(dilation) == {1}
        and groups == 1
    )


class _FewChannelConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding = x.shape, stride, padding
        return torch.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors  # (filters, channels, kernel height, kernel width)
        examples, channels, height, width = ctx.shape
        (down, across), (top, left) = ctx.stride, ctx.padding
        filters, _, kernel_height, kernel_width = weight.shape
        rows, columns = gradient.shape[2:]
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, filters)
        product = weight.permute(1, 2, 3, 0).reshape(-1, filters) @ flat.T
        maps = product.reshape(channels, kernel_height, kernel_width, examples, rows, columns)
        padded = gradient.new_zeros(channels, examples, height + 2 * top, width + 2 * left)
        for i in range(kernel_height):
            for j in range(kernel_width):
                reached = (
                    slice(i, i + down * (rows - 1) + 1, down),
                    slice(j, j + across * (columns - 1) + 1, across),
                )
                padded[:, :, *reached] += maps[:, i, j]
        found = padded[:, :, top : top + height, left : left + width].transpose(0, 1)
        return found, None, None, None, None
