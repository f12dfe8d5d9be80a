"""Where training images come from: sources, licences, subjects and slices, for the card and MODEL_CARD.md."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from model.training.data import UNSCORED, Row, read_manifest, true_subject, usable
from model.training.sampler import EVERYTHING, REAL, SYNTHETIC, Choice
from model.training.split import Split

ANATOMIES: Final = (
    (frozenset({"AM", "AF"}), "ICRP Publication 110 reference voxel phantoms, adult male and female",
     "ICRP supplementary data, no open licence: used, not redistributed"),
    (frozenset({"BP3D"}), "BodyParts3D bones and muscles, (c) The Database Center for Life Science",
     "CC BY-SA 2.1 Japan"),
)  # fmt: skip
"""The whole-body anatomies that synthetic slices are cut from: names of the bodies, source, licence."""


@dataclass(frozen=True)
class Origin:
    """One source under one licence: what of it was used, subjects and labelled slices."""

    source: str
    licence: str
    use: str
    subjects: int
    slices: int


def origins(rows: Iterable[Row], subjects: frozenset[str], use: str) -> tuple[Origin, ...]:
    """Return the sources of the usable rows of these subjects."""
    people: dict[tuple[str, str], set[str]] = defaultdict(set)
    slices: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if true_subject(row.subject) in subjects:
            key = row.source, row.licence
            people[key].add(true_subject(row.subject))
            slices[key] += sum(last - first + 1 for first, last, key_ in row.ranges if key_ not in UNSCORED)
    return tuple(Origin(*key, use, len(people[key]), slices[key]) for key in sorted(people))


def all_origins(data: Path, modality: str, split: Split, choice: Choice = EVERYTHING) -> tuple[Origin, ...]:
    """Return everything a model of this modality was trained on by this choice, synthesis included."""
    own: tuple[Origin, ...] = ()
    lent: tuple[Origin, ...] = ()
    if choice.images != SYNTHETIC:
        own = origins(_chosen(data, modality, choice), split.train, "images")
    if choice.images != SYNTHETIC and choice.upright:
        along = _chosen(data, modality, choice, upright=True)
        own += origins(along, split.train, "sagittal and coronal images")
    if choice.images != SYNTHETIC and modality == "MR":
        rows = [row for row in _chosen(data, "CT", choice) if row.hounsfield]
        lent = origins(rows, split.train, "CT turned into MR-like images")
    bodies = choice.bodies if choice.images != REAL else ()
    drawn = (Origin(source, licence, "synthetic slices", 1, 0)
             for names, source, licence in ANATOMIES if names.intersection(bodies))  # fmt: skip
    return (*own, *lent, *drawn)


def _chosen(data: Path, modality: str, choice: Choice, upright: bool = False) -> list[Row]:
    rows = usable(read_manifest(data, modality), ("train",), upright)
    return [row for row in rows if row.source not in choice.without]


def plain(found: Iterable[Origin]) -> list[dict[str, object]]:
    """Return the origins as plain values for the card."""
    return [asdict(origin) for origin in found]


def table(found: Iterable[Origin]) -> str:
    """Return the origins as a Markdown table; synthetic slices are drawn without end and not counted."""
    lines = [
        "| source | licence as the source states it | used as | subjects | slices |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        slices = one.slices or "-"
        lines.append(f"| {one.source} | {one.licence} | {one.use} | {one.subjects} | {slices} |")
    return "\n".join(lines)
