"""What the ordered decoder knows of anatomy: chains of regions, their lengths in mm, and who shares a level.

Lengths are those between the landmarks of Raffy et al. 2023, Table 1, on the adult reference bodies
of ICRP Publication 110. `PHASES` makes them broad enough for a newborn and for a tall adult.
"""

from typing import Final

from model.regions import ABDOMEN_CHEST, ARM_CHAIN, BODY_CHAIN, BREAST, SPINE_CHAIN

LENGTHS_MM: Final[dict[str, float]] = {
    "head": 150.0, "neck": 130.0, "chest": 230.0, ABDOMEN_CHEST: 60.0, "abdomen": 190.0, "pelvis": 220.0,
    "thigh": 290.0, "knee": 140.0, "calf": 200.0, "foot": 230.0,
    "shoulder": 80.0, "arm": 200.0, "elbow": 90.0, "forearm": 180.0, "hand": 190.0,
    "cspine": 135.0, "tspine": 280.0, "lspine": 250.0, "breast": 200.0,
}  # fmt: skip
"""Typical length along the body. `abdomen_chest`: from the dome of the diaphragm to the lung base."""

PHASES: Final = 4
"""States in a row that a region is made of; the length is then Erlang distributed, deviating by half.

A newborn's regions (0.28 of an adult's, the head 0.7) cost no more than 2 nats, a sliver of a few mm
between two whole regions costs 7 or more.
"""

_place: Final = BODY_CHAIN.index("abdomen")
TRUNK: Final = (*BODY_CHAIN[:_place], ABDOMEN_CHEST, *BODY_CHAIN[_place:])
"""Head to feet, with the zone that shows lung base and upper abdomen between chest and abdomen."""

CHAINS: Final[tuple[tuple[str, ...], ...]] = (TRUNK, SPINE_CHAIN, ARM_CHAIN, (BREAST.key,))
"""A station shows one of these. An arm lies either way along the body, up or down, bent or straight."""
UPRIGHT: Final = (TRUNK, SPINE_CHAIN)
"""The chains whose order says where the head is."""

SAME_LEVEL: Final = (
    ("neck", "cspine"), ("chest", "tspine"), ("abdomen", "tspine"), ("abdomen", "lspine"),
    ("pelvis", "lspine"), ("chest", "breast"), ("neck", "shoulder"), ("chest", "shoulder"),
    (ABDOMEN_CHEST, "chest"), (ABDOMEN_CHEST, "abdomen"),
)  # fmt: skip
"""Pairs that lie at one height, in other fields of view: one speaks for the other, less loudly."""
