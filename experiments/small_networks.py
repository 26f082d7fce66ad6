"""Three small networks for 28 x 28 images, the measured study's originals; needs torch."""

from __future__ import annotations

import torch
from torch import nn


def conv(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps its size / stride, and batch normalisation."""
    return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(cout)]


class Residual(nn.Module):
    """A branch plus its input (through a 1x1 where the shape changes), and an activation."""

    def __init__(self, branch: list[nn.Module], cin: int, cout: int, stride: int, last: nn.Module | None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.short = nn.Sequential(*(conv(cin, cout, 1, stride) if (cin, stride) != (cout, 1) else []))
        self.last = last or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        return self.last(self.branch(x) + self.short(x))


def basic(cin: int, cout: int, stride: int) -> nn.Module:
    """ResNet's basic block (He et al., CVPR 2016)."""
    return Residual([*conv(cin, cout, 3, stride), nn.ReLU(), *conv(cout, cout, 3)], cin, cout, stride, nn.ReLU())


def inverted(cin: int, cout: int, stride: int, expansion: int = 3) -> nn.Module:
    """MobileNetV2's inverted residual (Sandler et al., CVPR 2018)."""
    wide = cin * expansion
    branch = [*conv(cin, wide, 1), nn.ReLU6(), *conv(wide, wide, 3, stride, wide), nn.ReLU6(), *conv(wide, cout, 1)]
    same = (cin, stride) == (cout, 1)
    return Residual(branch, cin, cout, stride, None) if same else nn.Sequential(*branch)


class Product(nn.Module):
    """Two dense layers with a GELU between, along the last axis."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        return self.layers(x)


class Mixer(nn.Module):
    """A block of an MLP-mixer (Tolstikhin et al., NeurIPS 2021), on (n, patches, channels).

    `side_by_side` : both parts read the block's input through one normalisation, instead of one after the other.
    """

    def __init__(self, patches: int, channels: int, tokens: int, hidden: int, side_by_side: bool) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(channels)
        self.channel_norm = None if side_by_side else nn.LayerNorm(channels)
        self.tokens, self.channels = Product(patches, tokens), Product(channels, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        normal = self.token_norm(x)
        mixed = x + self.tokens(normal.transpose(1, 2)).transpose(1, 2)
        return mixed + self.channels(normal if self.channel_norm is None else self.channel_norm(mixed))


class Patches(nn.Module):
    """Patches of 4 x 4 pixels of 28 x 28, as (n, 49, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.embed = channels, nn.Conv2d(1, channels, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        return self.embed(x).reshape(-1, self.channels, 49).transpose(1, 2)


class Mean(nn.Module):
    """The mean over patches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One pass."""
        return x.mean(1)


def mixer(
    side_by_side: bool = False, channels: int = 64, tokens: int = 32, hidden: int = 128, depth: int = 4
) -> nn.Module:
    """An MLP-mixer of `depth` blocks."""
    blocks = [Mixer(49, channels, tokens, hidden, side_by_side) for _ in range(depth)]
    return nn.Sequential(Patches(channels), *blocks, nn.LayerNorm(channels), Mean(), nn.Linear(channels, 10))


def resnet(last: nn.Module) -> nn.Module:
    """A ResNet of three blocks, the last given."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*conv(1, 16, 3, 2), nn.ReLU(), basic(16, 16, 1), basic(16, 32, 2), last, *head)


def small_networks() -> dict[tuple[str, str], nn.Module]:
    """(Network, form) -> module, input (n, 1, 28, 28), 10 classes: originals, and what no edit of a graph makes."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    mobile = [*conv(1, 16, 3, 2), nn.ReLU6(), inverted(16, 16, 1), inverted(16, 24, 2), inverted(24, 24, 1),
              inverted(24, 40, 2), *conv(40, 96, 1), nn.ReLU6(), *head]  # fmt: skip
    return {
        ("resnet-style", "original"): resnet(basic(32, 64, 2)),
        ("resnet-style", "one 3x3 last"): resnet(Residual(conv(32, 64, 3, 2), 32, 64, 2, nn.ReLU())),
        ("mobilenet-style", "original"): nn.Sequential(*mobile, nn.Linear(96, 10)),
        ("mixer", "original"): mixer(),
        ("mixer", "side by side"): mixer(side_by_side=True),
    }
