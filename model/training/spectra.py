"""The look of one image in the shape of another: amplitudes of their spectra exchanged, phases kept.

Where things are lies in the phase; grain, sharpness, streaks and the fall of tones lie in the amplitude. A
network that sees these exchanged between all regions cannot tell a region by the look of its only source.
Source: Xu et al., A Fourier-based framework for domain generalization, CVPR 2021, section 3.2.
"""

from collections import deque
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

KEPT: Final = 48
"""How many images are remembered to exchange with."""
Image = NDArray[np.float32]


class Exchange:
    """Exchanges the looks of a stream of images with those seen before; `share` of them, by up to `most`."""

    def __init__(self, share: float, most: float = 1.0) -> None:
        self._share = share
        self._most = most
        self._seen: deque[Image] = deque(maxlen=KEPT)

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Return an image, float32 (rows, columns), now and then with the look of an earlier one."""
        if not self._share:
            return image
        seen = self._seen
        other = seen[int(rng.integers(len(seen)))] if seen else None
        seen.append(image)
        if other is None or rng.random() >= self._share:
            return image
        return mixed(image, other, float(rng.uniform(0.0, self._most)))


def mixed(image: Image, other: Image, share: float) -> Image:
    """Return the image with so much of the amplitudes of another; what was its lowest value stays lowest.

    An image of one value has no look to give or take.
    """
    resized = cv2.resize(other, image.shape[::-1], interpolation=cv2.INTER_AREA)
    mine, theirs = _standard(image), _standard(np.asarray(resized, np.float32))
    if mine is None or theirs is None:
        return image
    own, lent = fft.rfft2(mine), fft.rfft2(theirs)
    lengths = np.abs(own)
    amplitudes = (1.0 - share) * lengths + share * np.abs(lent)
    found = fft.irfft2(own * (amplitudes / np.maximum(lengths, 1e-6)), s=image.shape)
    return np.asarray(np.maximum(image.mean() + image.std() * found, image.min()), np.float32)


def _standard(image: Image) -> Image | None:
    spread = float(image.std())
    return (image - image.mean()) / np.float32(spread) if spread > 1e-6 else None
