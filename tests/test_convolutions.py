"""The faster input gradient of convolutions over few channels is that of PyTorch."""

import pytest
import torch
from torch import nn

from defenses.kernels.pytorch_convolutions import FewChannelConvolutions, _FewChannelConvolution

# Channels, kernel, stride, padding, (height, width).
QUALIFY = {
    "one channel": (1, 3, 1, 1, (8, 8)),
    "colour": (3, 3, 1, 1, (7, 9)),
    "strided": (1, 4, 2, 1, (8, 8)),
    "rows that no step of the stride reaches": (2, 3, 2, 0, (8, 6)),
    "uneven kernel": (4, (5, 3), (1, 2), (2, 1), (9, 8)),
}


def gradient(convolution, x):
    x = x.clone().requires_grad_()
    outputs = convolution(x)
    (found,) = torch.autograd.grad(
        (outputs * torch.arange(outputs.numel()).view_as(outputs)).sum(), x
    )
    return found, outputs


def frozen(channels, *arguments, **settings):
    torch.manual_seed(0)
    return nn.Conv2d(channels, 5, *arguments, **settings).double().requires_grad_(False)


@pytest.mark.parametrize("case", QUALIFY.values(), ids=QUALIFY)
def test_same_gradient(case):
    channels, kernel, stride, padding, size = case
    convolution = frozen(channels, kernel, stride=stride, padding=padding)
    x = torch.rand(2, channels, *size, dtype=torch.float64)
    expected, outputs = gradient(convolution, x)
    with FewChannelConvolutions():
        found, replaced = gradient(convolution, x)
    assert type(replaced.grad_fn).__name__ == f"{_FewChannelConvolution.__name__}Backward"
    torch.testing.assert_close(replaced, outputs, rtol=0, atol=0)
    torch.testing.assert_close(found, expected)


def test_curvature():
    convolution = frozen(1, 3, padding=1)
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    with FewChannelConvolutions():
        assert torch.autograd.gradgradcheck(lambda x: convolution(x).square(), x)


OTHERS = {
    "many channels": (8, (3,), {}, False),
    "dilated": (2, (3,), {"dilation": 2}, False),
    "weights that are trained": (1, (3,), {}, True),
    "padding by name": (1, (3,), {"padding": "same"}, False),
}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_left_to_torch(case):
    channels, arguments, settings, trained = case
    convolution = frozen(channels, *arguments, **settings).requires_grad_(trained)
    x = torch.rand(1, channels, 8, 8, dtype=torch.float64, requires_grad=True)
    with FewChannelConvolutions():
        assert type(convolution(x).grad_fn).__name__ == "ConvolutionBackward0"
