"""The whole series as one more voice: what its projection shows at each height, beside the slices.

The network for whole series (model/series_reader.py) looks at the volume from the front and the side and
says for stretches of its height what lies there. That enters the ordered decoder as one more emission:
scores are multiplied by it, to a power, which is the sum of the logarithms that the decoder adds up.
"""

from typing import Final

import numpy as np

from rules.state import State

WEIGHT: Final = 0.35
"""What the projection's word counts beside a slice's own, as an exponent."""
FLOOR: Final = 0.02
"""What no region falls below in the projection's word: it knows a few anatomies only."""


def whole(state: State) -> State:
    """Multiply each image's scores by what the whole series shows at its height; rows keep their sums."""
    if state.whole is None or not len(state.scores):
        return state
    known = state.whole.sum(axis=1, keepdims=True) > 0
    said = np.where(known, np.maximum(state.whole, FLOOR), 1.0)
    swayed = state.scores * said**WEIGHT
    before, after = (table.sum(axis=1, keepdims=True) for table in (state.scores, swayed))
    return state.scored(np.where(after > 0, swayed * before / np.where(after > 0, after, 1.0), state.scores))
