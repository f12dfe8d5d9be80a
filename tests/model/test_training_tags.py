"""What a series' own attributes tell of what may sway accuracy, and the user's own folder as a part."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from model.training import tags
from model.training.cases import EvaluationError, own
from model.training.confounders import UNKNOWN
from model.training.folder import divide, scan
from tests.builders import Recipe, write

LABELS = "series_uid,region,from_mm,to_mm,subject"


def attributes(**values: object) -> Dataset:
    """Return a data set with these attributes."""
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


SPIN = {"ScanningSequence": "SE"}


@pytest.mark.parametrize(
    ("values", "family"),
    [
        ({**SPIN, "EchoTime": 12, "RepetitionTime": 550}, "T1"),
        ({**SPIN, "EchoTime": 100, "RepetitionTime": 4000}, "T2"),
        ({**SPIN, "EchoTime": 30, "RepetitionTime": 2800}, "proton density"),
        ({**SPIN, "EchoTime": 30, "RepetitionTime": 2800, "ScanOptions": ["FS", "SP"]}, "fat-suppressed"),
        ({"ScanningSequence": ["SE", "IR"], "EchoTime": 30, "RepetitionTime": 4000}, "inversion recovery"),
        ({**SPIN, "InversionTime": 150, "EchoTime": 30, "RepetitionTime": 4000}, "inversion recovery"),
        ({"ScanningSequence": "GR", "EchoTime": 4, "RepetitionTime": 8}, "gradient echo"),
        ({"ScanningSequence": "GR", "AngioFlag": "Y"}, "angiography"),
        ({"ScanningSequence": ["EP", "SE"], "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"]}, "diffusion"),
        ({"ScanningSequence": "EP", "SeriesDescription": "ep2d_diff_b1000"}, "diffusion"),
        ({"ScanningSequence": "GR", "SeriesDescription": "t1 DIXON opp"}, "Dixon"),
        ({"SeriesDescription": "T2 TSE TRA"}, "T2"),
        ({**SPIN, "EchoTime": "", "SeriesDescription": "T1 tse"}, "T1"),
        ({}, UNKNOWN),
    ],
)
def test_family_of_sequences(values: dict[str, object], family: str) -> None:
    """Flags come first, then names, preparation, and last the times of a spin echo."""
    assert tags.family(attributes(**values)) == family


@pytest.mark.parametrize(
    ("told", "known"),
    [("GE MEDICAL SYSTEMS", "ge"), ("Siemens Healthineers", "siemens"), ("Philips", "philips"), ("", UNKNOWN),
     ("Acme-Imaging", "acme imaging"), ("GENERIC", "generic")],
)  # fmt: skip
def test_makers_have_one_spelling(told: str, known: str) -> None:
    """The usual makers are known by their first name, others keep theirs."""
    assert tags.manufacturer(told) == known


@pytest.mark.parametrize(
    ("told", "known"),
    [("017Y", "under 18"), ("006M", "under 18"), ("018Y", "18 to 44"), ("064Y", "45 to 64"),
     ("065Y", "65 and more"), ("65", UNKNOWN), ("", UNKNOWN)],
)  # fmt: skip
def test_ages_are_classes(told: str, known: str) -> None:
    """Age strings become classes; what is no age string is not known."""
    assert tags.age(told) == known


def test_factors_of_a_file(tmp_path: Path) -> None:
    """Everything is read from one file; MR has its sequence and field besides."""
    about = {"Manufacturer": "SIEMENS", "SliceThickness": "3", "PatientSex": "F", "PatientAge": "040Y",
             "MagneticFieldStrength": "1.494", "ScanningSequence": "GR"}  # fmt: skip
    [path, *_] = write(tmp_path, Recipe(modality="MR", overrides=about))
    assert tags.factors(path, "MR") == {
        "manufacturer": "siemens", "contrast": "not told", "slice thickness": "2 to 5 mm", "sex": "female",
        "age": "18 to 44", "sequence": "gradient echo", "field strength": "1.5 T",
    }  # fmt: skip
    assert "sequence" not in tags.factors(path, "CT")


def test_ones_own_folder_is_a_part(tmp_path: Path) -> None:
    """Labelled series become cases with their heights; who was trained on is not scored."""
    recipes = [Recipe(n=3, seed=str(number), patient_id=f"P{number}") for number in range(17)]
    for recipe in recipes:
        write(tmp_path / "mine" / recipe.seed, recipe)
    table = tmp_path / "labels.csv"
    lines = [f"{recipe.series_uid},knee,-100,-94,{recipe.seed}" for recipe in recipes[:16]]
    table.write_text("\n".join([LABELS, *lines]) + "\n", encoding="utf-8")
    part = own(tmp_path / "mine", table, "CT", None)
    assert (part.name, len(part.cases)) == ("folder:mine", 16)
    assert {case.truth for case in part.cases} == {("knee", "knee", None)}
    kept = divide(series for series in scan(tmp_path / "mine", table, "CT") if series.labelled).validation
    assert 0 < len(kept) < 16
    trained = own(tmp_path / "mine", table, "CT", {"config": {"folders": ["mine"]}})
    assert {case.subject for case in trained.cases} == kept
    assert "only the subjects kept" in trained.note


def test_a_folder_without_anything_to_score_is_a_sentence(tmp_path: Path) -> None:
    """Where no series has a label there is nothing to evaluate."""
    write(tmp_path / "mine", Recipe(n=3))
    table = tmp_path / "labels.csv"
    table.write_text(LABELS + "\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"no series in .* has a label"):
        own(tmp_path / "mine", table, "CT", None)
