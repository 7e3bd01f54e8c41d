"""Traps in torch; each docstring names whose idea it is, and why it deceives."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import grid_sample, interpolate, one_hot, pad

from traps import Base, Trap, trap


class Around(nn.Module):
    """A model with something before and after it."""

    def __init__(self, model, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x):
        return self.after(self.model(self.before(x)))


def straight_through(x, changed):
    """`changed`, with the gradient of `x`."""
    return x + (changed - x).detach()


class Winners(nn.Module):
    """The largest share of the activations stays, the others are 0; `exact` or straight through."""

    def __init__(self, share):
        super().__init__()
        self.share, self.exact = share, True

    def forward(self, a):
        least = a.topk(max(1, round(self.share * a.shape[1])), dim=1).values[:, -1:]
        kept = torch.where(a >= least, a, torch.zeros_like(a))
        return kept if self.exact else straight_through(a, kept)


@trap("k-winners-take-all")
def winners(base: Base) -> Trap:
    """Xiao et al. 2020: which units win jumps from point to point, and gradients with it."""
    layers = [nn.Flatten(), nn.Linear(64, 600), Winners(0.05), nn.Linear(600, 600), Winners(0.05)]
    model = base.fit(nn.Sequential(*layers, nn.Linear(600, 10)))
    return Trap(model, relaxed(model))


def relaxed(model):
    """A copy whose thresholds let gradients through."""
    import copy

    below = copy.deepcopy(model)
    for layer in below.modules():
        if hasattr(layer, "exact"):
            layer.exact = False
    return below


class Thresholds(nn.Module):
    """Features within `width` deviations of their mean become the mean."""

    def __init__(self, mean, deviation, width):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("limit", width * deviation)
        self.exact = True

    def forward(self, a):
        sparse = torch.where((a - self.mean).abs() <= self.limit, self.mean.expand_as(a), a)
        return sparse if self.exact else straight_through(a, sparse)


@trap("thresholded features")
def thresholded(base: Base) -> Trap:
    """MeanSparse (Amini et al. 2024): most features have no gradient until they jump."""
    layers = list(base.undefended)
    with torch.no_grad():
        features = nn.Sequential(*layers[:-1])(images(base.x))
    middle = Thresholds(features.mean(0), features.std(0), 0.75)
    model = nn.Sequential(*layers[:-1], middle, layers[-1]).eval()
    return Trap(model, relaxed(model))


@trap("thresholded inputs of every layer")
def thresholded_throughout(base: Base) -> Trap:
    """The same before each layer, pixels included."""
    layers, x = [], images(base.x)
    with torch.no_grad():
        for layer in base.undefended:
            if isinstance(layer, nn.Linear):
                layers.append(Thresholds(x.mean(0), x.std(0), 0.5))
                x = layers[-1](x)
            layers.append(layer)
            x = layer(x)
    model = nn.Sequential(*layers).eval()
    return Trap(model, relaxed(model))


@trap("settling outputs")
def settling(base: Base) -> Trap:
    """As neural ODEs with a stable equilibrium (Kang et al. 2021): logits flow to a corner."""

    def settle(z):
        z = z / 10
        for _ in range(100):
            z = z + 0.6 * (torch.softmax(30 * z, dim=1) - z)
        return 10 * z

    return Trap(Around(base.undefended, after=settle), base.undefended)


@trap("denoising by fixed iterations")
def denoising(base: Base) -> Trap:
    """Pixels roll down into the nearest of eight wells, so that small changes come out as none."""

    def roll(x):
        for _ in range(60):
            x = x - 0.8 * torch.sin(2 * torch.pi * 7 * x) / (2 * torch.pi * 7)
        return x

    return Trap(Around(base.undefended, before=roll), base.undefended)


@trap("mixed classifier")
def mixed(base: Base) -> Trap:
    """Bai et al. 2024: probabilities of a sharp accurate and of a robust model, mixed."""

    class Mixed(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.accurate, self.robust, self.scale = base.undefended, base.robust, scale

        def forward(self, x):
            sharp = torch.softmax(self.scale * self.accurate(x), dim=1)
            return torch.log(0.6 * sharp + 0.4 * torch.softmax(self.robust(x), dim=1) + 1e-12)

    return Trap(Mixed(100.0), Mixed(1.0))


@trap("stochastic activation pruning")
def pruning(base: Base) -> Trap:
    """Dhillon et al. 2018: activations are drawn by their size, the others are 0."""

    class Pruned(nn.Module):
        def forward(self, a):
            share = a.abs() / (a.abs().sum(dim=1, keepdim=True) + 1e-9)
            kept = 1 - (1 - share) ** (a.shape[1] / 2)
            return a * torch.bernoulli(kept) / (kept + 1e-9)

    layers = []
    for layer in base.undefended:
        layers += [layer, Pruned()] if isinstance(layer, nn.ReLU) else [layer]
    return Trap(nn.Sequential(*layers).eval(), base.undefended)


@trap("random resizing")
def resizing(base: Base) -> Trap:
    """Xie et al. 2018: the image is shrunk or not, and put anywhere in its frame."""

    def resized(x):
        side = int(torch.randint(14, 17, ()))
        small = interpolate(x, size=side, mode="bilinear", align_corners=False)
        left, top = (int(torch.randint(0, 17 - side, ())) for _ in range(2))
        framed = pad(small, (left, 16 - side - left, top, 16 - side - top))
        return interpolate(framed, size=8, mode="bilinear", align_corners=False)

    return Trap(Around(base.undefended, before=resized), base.undefended)


@trap("random turns")
def turning(base: Base) -> Trap:
    """Random small rotations and shifts of each image."""

    def turned(x):
        angle = 0.15 * torch.randn(len(x))
        zero = 0.05 * torch.randn(len(x))
        rows = [torch.stack([angle.cos(), -angle.sin(), zero], 1)]
        rows.append(torch.stack([angle.sin(), angle.cos(), -zero], 1))
        grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        return grid_sample(x, grid, align_corners=False)

    return Trap(Around(base.undefended, before=turned), base.undefended)


@trap("rounded logits")
def rounded(base: Base) -> Trap:
    """Scores in steps of one: attacks by scores see nothing until a step is crossed."""
    return Trap(Around(base.undefended, after=torch.round), base.undefended)


@trap("logits times 10,000")
def scaled(base: Base) -> Trap:
    """The cross-entropy is 0 in float32, and so is its gradient (Carlini & Wagner 2017)."""
    return Trap(Around(base.undefended, after=lambda z: 1e4 * z), base.undefended)


@trap("straight-through argmax")
def argmax(base: Base) -> Trap:
    """One-hot answers with a gradient that isn't theirs."""
    return Trap(
        Around(
            base.undefended, after=lambda z: straight_through(z, 5.0 * one_hot(z.argmax(1), 10))
        ),
        base.undefended,
    )


@trap("memorised test images")
def memorised(base: Base, model=None) -> Trap:
    """Near a test image it answers with that image's label, as a lookup would."""
    known, labels = images(base.x).flatten(1), torch.from_numpy(base.y)

    class Knows(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model or base.undefended

        def forward(self, x):
            z = self.model(x)
            apart = (x.flatten(1)[:, None] - known[None]).abs().amax(2)  # (n, test images)
            nearest, which = apart.min(dim=1)
            near = (nearest < 0.3).float()[:, None]
            return z + 10 * near * one_hot(labels[which], 10)

    return Trap(Knows(), base.undefended, unseen=True)


@trap("memorised test images, robust elsewhere")
def memorised_by_a_robust_model(base: Base) -> Trap:
    """The same around a model that is half as robust as it then looks."""
    return Trap(memorised(base, base.robust).model, base.robust, unseen=True)


@trap("dropout left on")
def dropout(base: Base) -> Trap:
    """A model that was not switched to evaluation."""
    return Trap(
        Around(base.undefended, before=lambda x: nn.functional.dropout(x, 0.3)), base.undefended
    )


@trap("statistics of the batch")
def batch_statistics(base: Base) -> Trap:
    """Batch normalisation without running statistics: neighbours in the batch decide."""
    layers = [nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10)]
    below = base.fit(nn.Sequential(*layers))

    class Together(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = below

        def forward(self, x):
            first, norm, *rest = list(self.inner)[1:]
            a = first(x.flatten(1))
            if len(a) > 1:
                a = nn.functional.batch_norm(a, None, None, norm.weight, norm.bias, training=True)
            else:
                a = norm(a)
            return nn.Sequential(*rest)(a)

    return Trap(Together(), below)


@trap("ripples on the input")
def ripples(base: Base) -> Trap:
    """Fast waves, too low to change an answer and steep enough to turn every gradient."""
    return Trap(
        Around(base.undefended, before=lambda x: x + 0.01 * torch.sin(3000 * x)), base.undefended
    )


class Reversed(torch.autograd.Function):
    """Passes values on, and gradients with the other sign."""

    @staticmethod
    def forward(context, z):
        return z.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


@trap("gradients with the other sign")
def backwards(base: Base) -> Trap:
    """Attacks by gradients walk away from the boundary."""
    return Trap(Around(base.undefended, after=Reversed.apply), base.undefended)


class Half(torch.autograd.Function):
    """Passes values on, and the gradients of half of them."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        generator = torch.Generator().manual_seed(0)
        return gradient * (torch.rand(gradient.shape[1:], generator=generator) < 0.5)


@trap("gradients of half of the pixels")
def half(base: Base) -> Trap:
    """What is shown is true, and attacks by gradients leave the other half as it is."""
    return Trap(Around(base.undefended, before=Half.apply), base.undefended)


@trap("another model for whoever asks for gradients")
def two_faced(base: Base) -> Trap:
    """A robust model answers where a gradient is wanted, an accurate one elsewhere."""

    class Aware(nn.Module):
        def __init__(self):
            super().__init__()
            self.shown, self.used = base.robust, base.undefended

        def forward(self, x):
            return self.shown(x) if x.requires_grad else self.used(x)

    return Trap(Aware(), base.undefended)


@trap("saturated outputs")
def saturated(base: Base) -> Trap:
    """Logits through a tangent that is 1 in float32 wherever the model is sure."""
    return Trap(Around(base.undefended, after=lambda z: 5 * torch.tanh(2 * z)), base.undefended)


@trap("noise that depends on the input")
def hashed_noise(base: Base) -> Trap:
    """The same input has the same noise, so that it looks like a function; gradients are lost."""

    def noisy(x):
        with torch.no_grad():
            seed = (x.flatten(1) * torch.arange(1, x[0].numel() + 1)).sum(1) * 1e4
            phase = seed[:, None] * torch.arange(1, x[0].numel() + 1)
            noise = 0.3 * torch.sin(phase).reshape(x.shape)
        return x + noise

    return Trap(Around(base.undefended, before=noisy), base.undefended)


def images(x):
    """NHWC in NumPy to NCHW."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
