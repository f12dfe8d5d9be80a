"""What may sway accuracy, read from a series' own DICOM attributes rather than from a manifest.

Source: Raffy et al. 2023, Evaluation: manufacturer, contrast, slice thickness, sex and age of the patient,
and for MR the family of sequences. Nothing that names a patient is read.
"""

import re
import warnings
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from model.attributes import numbers, text, texts
from model.training.confounders import UNKNOWN, sequence_family

KEYWORDS: Final = (
    "SpecificCharacterSet", "Manufacturer", "ContrastBolusAgent", "SliceThickness", "PatientSex",
    "PatientAge", "MagneticFieldStrength", "ScanningSequence", "ScanOptions", "SequenceName",
    "EchoTime", "RepetitionTime", "InversionTime", "AngioFlag", "DiffusionBValue", "SeriesDescription",
    "ImageType",
)  # fmt: skip
LONG_ECHO_MS: Final = 60.0
SHORT_REPETITION_MS: Final = 1000.0
"""Echo and repetition times that part T2 from proton density, and T1 from both, in spin echoes."""
_TEXT_FIRST: Final = ("diffusion", "angiography", "Dixon", "cine")
_MAKERS: Final = ("siemens", "ge", "philips", "toshiba", "canon", "hitachi", "fujifilm", "united imaging")


def factors(path: Path, modality: str) -> dict[str, str]:
    """Return the factors of the series that a file belongs to, by name; what is not told is not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, specific_tags=list(KEYWORDS), stop_before_pixels=True)
    found = {
        "manufacturer": manufacturer(text(ds, "Manufacturer")),
        "contrast": "yes" if text(ds, "ContrastBolusAgent") else "not told",
        "slice thickness": thickness(ds),
        "sex": {"F": "female", "M": "male"}.get(text(ds, "PatientSex").upper(), UNKNOWN),
        "age": age(text(ds, "PatientAge")),
    }
    if modality == "CT":
        return found
    return {**found, "sequence": family(ds), "field strength": field_strength(ds)}


def manufacturer(name: str) -> str:
    """Return one spelling for each of the usual makers, other names as they are."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    return next((maker for maker in _MAKERS if re.search(rf"\b{maker}\b", words)), words or UNKNOWN)


def thickness(ds: Dataset) -> str:
    """Return the paper's class of Slice Thickness (0018,0050)."""
    found = numbers(ds, "SliceThickness", 1)
    if found is None or found[0] <= 0:
        return UNKNOWN
    return "up to 2 mm" if found[0] <= 2.0 else "2 to 5 mm" if found[0] < 5.0 else "5 mm and more"


def age(told: str) -> str:
    """Return a class of Patient's Age (0010,1010), PS3.5 6.2 AS: three digits and D, W, M or Y."""
    found = re.fullmatch(r"(\d{3})([DWMY])", told.strip().upper())
    if found is None:
        return UNKNOWN
    years = int(found[1]) if found[2] == "Y" else 0
    return (
        "under 18"
        if years < 18
        else "18 to 44"
        if years < 45
        else "45 to 64"
        if years < 65
        else "65 and more"
    )


def field_strength(ds: Dataset) -> str:
    """Return Magnetic Field Strength (0018,0087) to half a tesla."""
    found = numbers(ds, "MagneticFieldStrength", 1)
    return UNKNOWN if found is None or not 0 < found[0] < 20 else f"{round(2 * found[0]) / 2:g} T"


def family(ds: Dataset) -> str:
    """Return the family of an MR sequence: by flags and texts that name it, then by its times.

    Scanning Sequence (0018,0020) says how the echo was made, Echo and Repetition Time (ms) what weighs.
    """
    named = sequence_family(f"{text(ds, 'SeriesDescription')} {text(ds, 'SequenceName')}")
    made = set(texts(ds, "ScanningSequence"))
    if text(ds, "AngioFlag").upper() == "Y":
        return "angiography"
    if numbers(ds, "DiffusionBValue", 1) or {"DIFFUSION", "ADC"} & set(texts(ds, "ImageType")):
        return "diffusion"
    if named in _TEXT_FIRST:
        return named
    if "IR" in made or (numbers(ds, "InversionTime", 1) or (0.0,))[0] > 0:
        return "inversion recovery"
    if "FS" in texts(ds, "ScanOptions") or named == "fat-suppressed":
        return "fat-suppressed"
    if "GR" in made:
        return "gradient echo"
    return weighting(ds) or named


def weighting(ds: Dataset) -> str | None:
    """Return what a spin echo is weighted by, None where its times are not told."""
    echo, repetition = numbers(ds, "EchoTime", 1), numbers(ds, "RepetitionTime", 1)
    if echo is None or repetition is None or "SE" not in texts(ds, "ScanningSequence"):
        return None
    if echo[0] >= LONG_ECHO_MS:
        return "T2"
    return "T1" if repetition[0] < SHORT_REPETITION_MS else "proton density"
