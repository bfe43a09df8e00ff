"""EfficientNet-Lite0 in plain torch: what timm's `tf_efficientnet_lite0` computes, without importing timm.

That import takes two seconds of processor time in every process that looks at a photo, most of it for torch's compiler
and for models that are not used here. Weights have the names that timm gives them, so that bundles hold either's.
Knows pixels and feature maps; which weights, and how photos are scaled, are others'. Architecture: Tan and Le 2019,
arXiv 1905.11946, without its squeeze-and-excitation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks in a row: the first takes the stride, `expand` is how many times wider a block is inside."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expand=1, width=16),
    Stage(blocks=2, kernel=3, stride=2, expand=6, width=24),
    Stage(blocks=2, kernel=5, stride=2, expand=6, width=40),
    Stage(blocks=3, kernel=3, stride=2, expand=6, width=80),
    Stage(blocks=3, kernel=5, stride=1, expand=6, width=112),
    Stage(blocks=4, kernel=5, stride=2, expand=6, width=192),
    Stage(blocks=1, kernel=3, stride=1, expand=6, width=320),
)
STEM, FEATURES = 32, 1280


class EfficientNetLite0(nn.Module):
    """The network without its classifier, whose weights wait to be loaded: (N, 3, H, W) -> (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _Conv(3, STEM, 3, stride=2), _norm(STEM)
        stages, width = [], STEM
        for stage in STAGES:
            blocks: list[nn.Module] = []
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                block = _Separable if stage.expand == 1 else _Inverted
                blocks.append(block(width, stage, stride))
                width = stage.width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _Conv(width, FEATURES, 1), _norm(FEATURES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the photos' vectors, the last map's average."""
        first = F.relu6(self.bn1(self.conv_stem(pixels)), inplace=True)
        last = F.relu6(self.bn2(self.conv_head(self.blocks(first))), inplace=True)
        return last.mean((2, 3))


class _Conv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: by what the stride needs, and the odd pixel right and below."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inside, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.stride[0] > 1:
            high, wide = (self._missing(size) for size in maps.shape[-2:])
            maps = F.pad(maps, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return super().forward(maps)

    def _missing(self, size: int) -> int:
        stride, kernel = self.stride[0], self.kernel_size[0]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


class _Separable(nn.Module):
    """Each channel looked at by itself, then all mixed; the first block."""

    def __init__(self, width: int, stage: Stage, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = _Conv(width, width, stage.kernel, stride, groups=width), _norm(width)
        self.conv_pw, self.bn2 = _Conv(width, stage.width, 1), _norm(stage.width)

    def forward(self, maps: Tensor) -> Tensor:
        seen = F.relu6(self.bn1(self.conv_dw(maps)), inplace=True)
        mixed: Tensor = self.bn2(self.conv_pw(seen))
        return mixed


class _Inverted(nn.Module):
    """Widened, each channel looked at by itself, narrowed; added to what came in where the shape stays."""

    def __init__(self, width: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = width * stage.expand
        self.conv_pw, self.bn1 = _Conv(width, wide, 1), _norm(wide)
        self.conv_dw, self.bn2 = _Conv(wide, wide, stage.kernel, stride, groups=wide), _norm(wide)
        self.conv_pwl, self.bn3 = _Conv(wide, stage.width, 1), _norm(stage.width)
        self.stays = stride == 1 and width == stage.width

    def forward(self, maps: Tensor) -> Tensor:
        widened = F.relu6(self.bn1(self.conv_pw(maps)), inplace=True)
        seen = F.relu6(self.bn2(self.conv_dw(widened)), inplace=True)
        narrow: Tensor = self.bn3(self.conv_pwl(seen))
        return narrow + maps if self.stays else narrow
