"""Tests of the gate: every reason by a file that has it, their order, and real series."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid

from model.gate import CHECKS, reason
from model.kinds import KINDS
from model.read import read_header
from tests.builders import CORONAL, SAGITTAL, bundled, real_images, real_series, series


def byte(index: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """Draw an 8-bit image."""
    return np.full((rows, columns), index, dtype=np.uint8)


def loop(index: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Draw four frames."""
    return np.full((4, rows, columns), index, dtype=np.uint16)


def given_reason(folder: Path, modality: str = "CT", **options: object) -> str | None:
    """Write one image and ask the gate for its reason."""
    return reason(read_header(series(folder, modality, 1, **options)[0]))


def test_plain_axial_images_are_classified(tmp_path: Path) -> None:
    """Axial CT and MR images pass, with and without a body part and a description."""
    assert given_reason(tmp_path / "ct") is None
    assert given_reason(tmp_path / "mr", "MR", body_part=None, series_description="") is None


@pytest.mark.parametrize("real", real_images(), ids=lambda path: path.name)
def test_real_axial_images_are_classified(real: Path) -> None:
    """pydicom's real axial CT and MR images pass whatever their transfer syntax."""
    assert reason(read_header(real)) is None


@pytest.mark.parametrize(
    ("modality", "overrides", "expected"),
    [
        ("OT", {}, "secondary capture"),
        ("CT", {"SOPClassUID": uid.SecondaryCaptureImageStorage}, "secondary capture"),
        ("US", {}, "SOP class without a model: Ultrasound Image Storage"),
        ("CT", {"SOPClassUID": uid.PositronEmissionTomographyImageStorage}, "SOP class without a model"),
        ("CT", {"SOPClassUID": "1.2.3.4"}, "SOP class without a model: 1.2.3.4"),
        ("CR", {"Modality": "MG"}, "no model for MG yet"),
        ("DX", {"Modality": "PX"}, "no model for PX yet"),
        ("CT", {"Modality": ""}, "no modality"),
        ("MR", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ("MR", {"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ("CT", {"PixelData": None}, "no pixel data"),
        ("CT", {"PixelData": b""}, "no pixel data"),
        ("CT", {"Rows": 20, "Columns": 49}, "fewer than 1000 pixels"),
        ("CT", {"Rows": None}, "fewer than 1000 pixels"),
        ("MR", {"SOPClassUID": uid.EnhancedMRImageStorage}, "multi-frame"),
        ("CT", {"SOPClassUID": uid.EnhancedCTImageStorage}, "multi-frame"),
        ("MR", {"CardiacNumberOfImages": 20}, "cine"),
        ("CT", {"ImagePositionPatient": None}, "no image position"),
        ("CT", {"ImageOrientationPatient": None}, "no image orientation"),
        ("CT", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "unusable image orientation"),
        ("CT", {"ImageOrientationPatient": list(CORONAL)}, "coronal plane"),
        ("CT", {"ImageOrientationPatient": list(SAGITTAL)}, "sagittal plane"),
    ],
)  # fmt: skip
def test_reasons_by_attribute(
    tmp_path: Path, modality: str, overrides: dict[str, object], expected: str
) -> None:
    """Every attribute that keeps an image from the models gives its own reason."""
    found = given_reason(tmp_path, modality, overrides=overrides)
    assert found is not None
    assert found.startswith(expected)


def test_eight_bits_and_many_frames(tmp_path: Path) -> None:
    """Eight bits stored and more than one frame are passed on; both together name the bits first."""
    assert given_reason(tmp_path / "a", "MR", pixels=byte) == "8 bits or fewer"
    assert given_reason(tmp_path / "b", "MR", pixels=loop) == "multi-frame object without slices"


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [
        ("ORIGINAL|PRIMARY|LOCALIZER", "localizer"),
        ("DERIVED|PRIMARY|PERFUSION|CBF", "perfusion map"),
        ("DERIVED|SECONDARY|OTHER|TTP", "perfusion map"),
        ("DERIVED|SECONDARY|VOLUME RENDERING", "3D reconstruction"),
        ("DERIVED|PRIMARY|PROJECTION IMAGE|VASCULAR", "3D reconstruction"),
        ("DERIVED|SECONDARY|SCREEN SAVE", "secondary capture"),
        ("DERIVED|SECONDARY|CAD", "CAD"),
        ("ORIGINAL|PRIMARY|VELOCITY MAP|P|PCA", "flow"),
        ("ORIGINAL|PRIMARY|CINE", "cine"),
        ("DERIVED|PRIMARY|STIFFNESS", "elastography"),
        ("DERIVED|SECONDARY|PROCESSED", None),
        ("DERIVED|SECONDARY", None),
        ("DERIVED|SECONDARY|REFORMATTED|AVERAGE", None),
        ("DERIVED|SECONDARY|AXIAL|MIP", None),
        ("DERIVED|PRIMARY|DIFFUSION|ADC", None),
        ("ORIGINAL|PRIMARY|M|NORM|DIS2D", None),
        ("ORIGINAL|PRIMARY|AXIAL|CT_SOM5 SPI", None),
    ],
)
def test_reasons_by_image_type(tmp_path: Path, image_type: str, expected: str | None) -> None:
    """Image Type tells localizers, maps and captures; derived and secondary pictures of anatomy pass."""
    assert given_reason(tmp_path, "MR", image_type=tuple(image_type.split("|"))) == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("3-PLANE LOC", "localizer"), ("t2_localizer", "localizer"), ("AAHead_Scout_64ch", "localizer"),
        ("Topogram  0.6  T20f", "localizer"), ("Surview", "localizer"), ("Survey", "localizer"),
        ("Lateral Scout", "localizer"), ("Repérage", "localizer"), ("LOCALIZADOR", "localizer"),
        ("3 Pl Loc", "localizer"), ("ASSET calibration", "calibration or quality control"),
        ("SENSE_REF", "calibration or quality control"),
        ("Water Phantom", "calibration or quality control"), ("B1 map", "calibration or quality control"),
        ("QC daily", "calibration or quality control"), ("rCBV", "perfusion map"),
        ("Tmax", "perfusion map"), ("VRT Thorax", "3D reconstruction"),
        ("3D Recon bone", "3D reconstruction"), ("Dose Report", "secondary capture"),
        ("Lung CAD results", "CAD"), ("cine_sa", "cine"), ("CINE FIESTA", "cine"), ("Q-Flow aorta", "flow"),
        ("4D Flow", "flow"), ("fl_venc_150", "flow"), ("MR Elastography", "elastography"),
        ("Stiffness map", "elastography"), ("ep2d_diff_tra_ADC", None), ("T2 FLOW COMP AX", None),
        ("MRE coronal T2", None), ("BONE SURVEY low dose", None), ("TOF inflow", None),
        ("Thorax 5.0 B40f", None), ("AX T1 POST", None), ("CTA SnapShot 75%", None),
        ("ASL perfusion raw", None), ("Calcium score", None), ("Sag T2 relocated", None),
        ("Thin MIP ax", None), ("Pre-Contrast Location abdomen", None), ("Ax SSFSE loc/veloc", "localizer"),
    ],
)  # fmt: skip
def test_reasons_by_description(tmp_path: Path, description: str, expected: str | None) -> None:
    """Words of practice are recognised as whole words, and their innocent neighbours are not."""
    assert given_reason(tmp_path, "MR", series_description=description) == expected


def test_sequence_name_tells_flow(tmp_path: Path) -> None:
    """A Siemens velocity encoding stands in the sequence name only."""
    assert given_reason(tmp_path, "MR", overrides={"SequenceName": "*fl2d1_v150in"}) == "flow"


def test_protocol_stands_in_for_a_missing_description_only(tmp_path: Path) -> None:
    """A localizer protocol without description is found; a described series of a CINE protocol passes."""
    protocol = {"ProtocolName": "Localizer head"}
    assert given_reason(tmp_path / "a", series_description="", overrides=protocol) == "localizer"
    assert (
        given_reason(tmp_path / "b", series_description="AX T1", overrides={"ProtocolName": "CINE"}) is None
    )


def test_first_reason_wins(tmp_path: Path) -> None:
    """A sagittal localizer without pixel data is a localizer."""
    overrides: dict[str, object] = {"PixelData": None, "ImageOrientationPatient": list(SAGITTAL)}
    image_type = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    assert given_reason(tmp_path, image_type=image_type, overrides=overrides) == "localizer"


def test_objects_that_are_no_images_are_passed_on() -> None:
    """Reports, plans, doses and segmentations name their SOP class."""
    for name in ("test-SR.dcm", "rtplan.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm", "waveform_ecg.dcm"):
        found = reason(read_header(bundled(name)))
        assert found is not None
        assert found.startswith("SOP class without a model: ")


def test_every_kind_is_asked_for() -> None:
    """The gate has one check for each kind of the table, and the other checks beside them."""
    assert len(CHECKS) == len(KINDS) + 8
    assert len({kind.reason for kind in KINDS}) == len(KINDS)


@given(st.text(max_size=64))
def test_any_description_is_judged(description: str) -> None:
    """No text of a series description makes the gate raise; a reason is a short sentence."""
    header = read_header(bundled("CT_small.dcm"))
    found = reason(type(header)(**{**vars(header), "series_description": description}))
    assert found is None or 0 < len(found) < 64


@pytest.mark.skipif(not real_series(), reason="the data folder is not there")
def test_real_series_get_the_reasons_a_radiographer_would_give() -> None:
    """Axial series pass whole, of MR all; localizers, multi-frame loops and other planes of CT do not."""
    expected: dict[str, set[str | None]] = {
        "mr/pelvis_3plane_localizer": {"localizer"},
        "mr/chest_heart_multiframe": {"8 bits or fewer"},
        "ct/nysbu_A058062_abdpel_3planes": {None, "coronal plane", "sagittal plane"},
    }
    for name, paths in real_series().items():
        assert {reason(read_header(path)) for path in paths} == expected.get(name, {None}), name
