"""The ladder: the rules that are measured side by side on the same network outputs, from none to all."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rung:
    """One list of rules for `rules.decide.decide`; with `needs_votes`, series must be judged by studies.

    Rungs are measured at a minimum confidence of 0: every image that a rule does not doubt is named.
    """

    name: str
    title: str
    rules: tuple[str, ...]
    needs_votes: bool = False


LADDER: Final[tuple[Rung, ...]] = (
    Rung("argmax", "most probable class", ()),
    Rung("paper", "the paper's rules", ("paper",)),
    Rung("smooth_25mm", "smoothed over 25 mm", ("abdomen_chest", "smooth_25mm")),
    Rung("order", "ordered along the body", ("order",)),
    Rung("order_doubt", "ordered, with doubt", ("doubt", "order")),
    Rung("order_votes", "ordered, with votes", ("votes", "order"), needs_votes=True),
)
