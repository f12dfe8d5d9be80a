"""EfficientNet-Lite0: inverted residuals without squeeze and excitation (Tan and Le 2019; Lite, 2020).

ImageNet weights of it exist under the Apache licence (model/training/imagenet.py reads them), and its
layers are named so that they can be found: `stem`, `block00_expand`, `block00_depth`, `block00_project`,
..., `head`, each with a normalisation `..._norm`.
"""

import re
from typing import Any, Final

import numpy as np

STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, width of each stage."""
STEM: Final = 32
HEAD: Final = 1280


def features(image: Any) -> Any:
    """Return the (n, 1280) features of an image tensor (n, size, size, channels)."""
    from keras import layers

    x = _normalised(image, layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False, name="stem"))
    number = 0
    for blocks, kernel, stride, expansion, width in STAGES:
        for index in range(blocks):
            x = _block(x, f"block{number:02d}", kernel, stride if index == 0 else 1, expansion, width)
            number += 1
    x = _normalised(x, layers.Conv2D(HEAD, 1, use_bias=False, name="head"))
    return layers.GlobalAveragePooling2D()(x)


def stage(layer: str) -> int | None:
    """Return the stage, 1 to 7, of the layer of this name; 0 for the stem, None beyond the last stage."""
    if layer.startswith("stem"):
        return 0
    found = re.match(r"block(\d+)_", layer)
    if found is None:
        return None
    ends = np.cumsum([blocks for blocks, *_ in STAGES])
    return int(np.searchsorted(ends, int(found[1]), side="right")) + 1


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, width: int) -> Any:
    from keras import layers

    before, channels = x, x.shape[-1]
    if expansion > 1:
        x = _normalised(x, layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}_expand"))
    depth = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depth"
    )
    x = _normalised(x, depth)
    x = _normalised(x, layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project"), active=False)
    return layers.Add()([before, x]) if stride == 1 and channels == width else x


def _normalised(x: Any, convolution: Any, active: bool = True) -> Any:
    """Run a convolution, normalise what it gives under its name, and cut that off at 0 and 6."""
    from keras import layers

    x = layers.BatchNormalization(epsilon=1e-3, name=f"{convolution.name}_norm")(convolution(x))
    return layers.ReLU(6.0)(x) if active else x
