"""The split by subject: leak-free across sources and modalities, written to a file kept in the repository.

Crops of a volume, a second source of the same body and a second modality of the same person share a
subject, so the split is made over true subjects and over both modalities at once. Rows marked
`use=eval` are whole sources held out; of the others about a fifth of the subjects of every region
is kept for validation, and every subject of the demonstration series is among them.

    python -m model.training.split        rewrites model/training/splits/subjects.json
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.training.data import DATA, Row, read_manifest, true_subject

SPLIT_FILE: Final = Path(__file__).parent / "splits" / "subjects.json"
SHARE: Final = 0.2
DEMONSTRATION: Final = frozenset({
    "STS_019", "STS_042", "STS_049", "CRLM-CT-1006", "ProstateX-0000", "ProstateX-0001",
    "mimbcd-uta7-A6", "gatti-1", "papaya-1", "hanke-1",
})  # fmt: skip
"""Subjects whose DICOM series demonstrate the node: held out, so that the demonstration is honest."""


@dataclass(frozen=True)
class Split:
    """True subjects of the three parts; no subject is in two of them."""

    train: frozenset[str]
    validation: frozenset[str]
    evaluation: frozenset[str]

    def part(self, name: str) -> frozenset[str]:
        """Return the part called `train`, `validation` or `evaluation`."""
        return {"train": self.train, "validation": self.validation, "evaluation": self.evaluation}[name]


def make_split(rows: Iterable[Row], demonstration: frozenset[str] = DEMONSTRATION) -> Split:
    """Split the subjects of all rows. The same rows give the same split, whatever their order.

    A region with fewer than three subjects left gives none to validation; subjects whose true
    identity is unknown (sets of many patients) always train, as their images cannot be told apart.
    Axial images divide the subjects; of sagittal and coronal ones, those who have no axial image.
    """
    subjects: dict[str, set[str]] = defaultdict(set)
    regions: dict[tuple[str, str], set[str]] = defaultdict(set)
    along: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        name = true_subject(row.subject)
        subjects[row.use].add(name)
        for _, _, region in row.ranges:
            if row.use == "train":
                (regions if row.axial else along)[row.modality, region].add(name)
    evaluation = frozenset(subjects["eval"])
    candidates = subjects["train"] - evaluation
    held_out = candidates & demonstration
    axial = set().union(*regions.values())
    for table, bound in ((regions, set[str]()), (along, axial)):
        for key in sorted(table, key=lambda key: (len(table[key]), key)):
            members = sorted(table[key] & candidates, key=_order)
            wanted = round(SHARE * len(members)) if len(members) >= 3 else 0
            missing = wanted - len(held_out.intersection(members))
            free = [name for name in members if name not in held_out | bound
                    and _may_leave(name, table, held_out)]  # fmt: skip
            held_out |= set(free[: max(0, missing)])
    return Split(frozenset(candidates - held_out), frozenset(held_out), evaluation)


def _may_leave(name: str, regions: dict[tuple[str, str], set[str]], held_out: set[str]) -> bool:
    """Whether every region of this subject keeps at least two training subjects without it."""
    if "unknown" in name:
        return False
    return all(len(members - held_out) > 2 for members in regions.values() if name in members)


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def write(split: Split, path: Path = SPLIT_FILE) -> None:
    """Write the three sorted lists of subjects as JSON."""
    parts = {name: sorted(split.part(name)) for name in ("train", "validation", "evaluation")}
    path.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


def read(path: Path = SPLIT_FILE) -> Split:
    """Read the split that is kept in the repository."""
    parts = json.loads(path.read_text(encoding="utf-8"))
    return Split(*(frozenset(parts[name]) for name in ("train", "validation", "evaluation")))


def main() -> None:
    """Make the split anew from both manifests and write it."""
    parser = argparse.ArgumentParser(description="split the subjects of both manifests")
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    split = make_split((*read_manifest(data, "CT"), *read_manifest(data, "MR")))
    write(split)
    print(f"train {len(split.train)}, validation {len(split.validation)}, evaluation {len(split.evaluation)}")


if __name__ == "__main__":
    main()
