"""A small data folder whose subjects are in the repository's split, and very small weights to judge on it."""

import csv
import json
from pathlib import Path

import numpy as np

from model.networks import SMALL, Definition, build
from model.regions import CLASSES
from model.training import split
from model.weights_file import save

TINY = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)
COLUMNS = (
    "file",
    "source",
    "subject",
    "plane",
    "labels",
    "hounsfield",
    "contrast",
    "confidence",
    "licence",
    "use",
)


def data_folder(folder: Path) -> Path:
    """Write a manifest with volumes of two validation, one evaluation and one training subject."""
    divided = split.read()
    validation, evaluation = sorted(divided.validation)[:2], sorted(divided.evaluation)[0]
    rows = [(validation[0], "train", "one"), (validation[1], "train", "two"), (evaluation, "eval", "three"),
            (sorted(divided.train)[0], "train", "two")]  # fmt: skip
    with (folder / "ct.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (subject, use, source) in enumerate(rows):
            name = f"{number}.npz"
            values = np.random.default_rng(number).integers(-1000, 1000, (9, 24, 24)).astype(np.int16)
            np.savez(folder / name, hu=values, spacing=np.array([5.0, 1.0, 1.0]))
            labels = [[0, 2, "abdomen"], [4, 5, "abdomen_chest"], [6, 8, "chest"]]
            about = {"plane": "axial", "hounsfield": "yes", "contrast": "no", "confidence": "high"}
            row = {
                "file": name,
                "source": source,
                "subject": subject,
                "labels": json.dumps(labels),
                "use": use,
            }
            writer.writerow({**about, **row, "licence": "CC0"})
    return folder


def weights(path: Path, seed: int = 1, training: dict[str, object] | None = None) -> Path:
    """Write very small untrained weights with a card and return their path."""
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    card = {"modality": "CT", "temperature": 1.5, "training": training or {}}
    save(path, build(TINY), TINY, card)
    return path
