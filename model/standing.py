"""Sagittal and coronal images brought upright, as the MR network was trained on them."""

import numpy as np

from model.geometry import heights_mm, plane, standing
from model.read import Image, ImageHeader


def stood(image: Image, header: ImageHeader) -> Image:
    """Return the image with rows from head to feet; an axial one as it is (model.geometry.standing)."""
    exchanged, over, around = standing(header.orientation)
    values, valid, spacing = image.values, image.valid, image.spacing_mm
    if exchanged:
        values, valid = values.T, valid.T
        spacing = None if spacing is None else (spacing[1], spacing[0])
    turned = (slice(None, None, -1 if over else 1), slice(None, None, -1 if around else 1))
    return Image(np.ascontiguousarray(values[turned]), np.ascontiguousarray(valid[turned]), spacing)


def reach_mm(header: ImageHeader) -> tuple[float, float]:
    """Return the heights of an image's lowest and highest point, in mm; an axial one has one height.

    Raises ValueError where position or orientation are missing; the gate lets no such image through.
    """
    if header.orientation is None or header.position is None:
        raise ValueError("an image without position or orientation has no heights")
    spacing = header.pixel_spacing_mm or (0.0, 0.0)
    size = (header.rows * spacing[0], header.columns * spacing[1])
    return heights_mm(header.orientation, header.position, size)


def lengthwise(header: ImageHeader) -> bool:
    """Say whether an image lies along the body: sagittal or coronal."""
    return plane(header.orientation) in ("sagittal", "coronal")
