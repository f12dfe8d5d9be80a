"""What each network for whole series is given of a volume: views, or the stack itself."""

import cv2
import numpy as np
from numpy.typing import NDArray

from model.projections import WINDOW_HU, Views, views
from model.series_networks import STACK_SIZE, SeriesDefinition
from model.volumes import Volume


def stack_views(stack: Volume) -> NDArray[np.float32]:
    """Return the views of a stack in its own axes, float32 (3, 48, 48, 4)."""
    side = (STACK_SIZE, STACK_SIZE)
    pixels = views(stack).pixels
    return np.stack(
        [np.asarray(cv2.resize(view, side, interpolation=cv2.INTER_AREA), np.float32) for view in pixels]
    )


def light_input(seen: Views, stack: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the inputs of the light network for one series, each with a leading axis of one."""
    scale = np.array([[seen.scale]], np.float32)
    return {
        "upright": seen.pixels[np.newaxis],
        "scale": scale,
        "tones": seen.tones[np.newaxis],
        "stack": stack[np.newaxis],
    }


def paper_input(stack: Volume, definition: SeriesDefinition) -> NDArray[np.float32]:
    """Return float32 (slices, rows, columns, 1) within 0..1, slices resized, then the stack (Li et al.)."""
    depth, rows, columns = definition.shape
    low, high = WINDOW_HU
    grey = np.clip((stack.values - low) / (high - low), 0.0, 1.0)
    flat = np.stack([cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_LINEAR) for cut in grey])
    # the stack's axis as rows of a picture: one resampling for all pixels
    lengthened = [
        cv2.resize(flat[:, row], (columns, depth), interpolation=cv2.INTER_LINEAR) for row in range(rows)
    ]
    return np.asarray(np.stack(lengthened, axis=1), np.float32)[..., np.newaxis]
