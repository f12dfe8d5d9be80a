"""Builders of Enhanced CT and MR multi-frame objects (PS3.3 A.36, A.38)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import get_encoder
from pydicom.sequence import Sequence as Items

from tests.builders import Recipe, dataset

SOP_CLASS: Final = {"CT": uid.EnhancedCTImageStorage, "MR": uid.EnhancedMRImageStorage}
NATIVE: Final = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
                 uid.DeflatedExplicitVRLittleEndian)  # fmt: skip
Anatomy = tuple[str, str]
"""Frame Laterality and the code value of a region."""


@dataclass(frozen=True)
class Enhanced:
    """What an Enhanced object looks like: the frames are the images of `recipe`.

    `anatomy` is one (laterality, code value) for all frames, one for each, or None for no Frame Anatomy.
    `shared_geometry` False puts orientation and measures into each frame. `table` is "basic", "extended" or
    "none", the offset table of encapsulated frames; `fragments` is how many of them a frame has.
    """

    recipe: Recipe = field(default_factory=Recipe)
    anatomy: Anatomy | Sequence[Anatomy] | None = None
    shared_geometry: bool = True
    undefined_lengths: bool = False
    slopes: Sequence[float] | None = None
    table: str = "basic"
    fragments: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)


def enhanced(what: Enhanced) -> Dataset:
    """Build an Enhanced object, file meta information included, ready for `save_as`."""
    recipe = what.recipe
    images = [dataset(_plain(recipe), index) for index in range(recipe.n)]
    ds = images[0]
    shared, frames = Dataset(), [_frame(what, image, index) for index, image in enumerate(images)]
    if what.shared_geometry:
        _geometry(shared, ds)
    if what.anatomy is not None and isinstance(what.anatomy[0], str):
        shared.FrameAnatomySequence = Items([_anatomy(*what.anatomy)])
    elif what.anatomy is not None:
        for frame, anatomy in zip(frames, what.anatomy, strict=True):
            frame.FrameAnatomySequence = Items([_anatomy(*anatomy)])
    frame_type = Dataset()
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    frame_type.PixelPresentation, frame_type.VolumetricProperties = "MONOCHROME", "VOLUME"
    frame_type.VolumeBasedCalculationTechnique = "NONE"
    setattr(shared, f"{recipe.modality}ImageFrameTypeSequence", Items([frame_type]))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "RescaleSlope", "RescaleIntercept", "RescaleType"):  # fmt: skip
        if keyword in ds:
            delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SOP_CLASS[recipe.modality]
    ds.NumberOfFrames = recipe.n
    ds.ImageType = frame_type.FrameType
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Items([shared]), Items(frames)
    _encode(ds, what, images)
    for keyword, value in what.overrides.items():
        setattr(ds, keyword, value)
    if what.undefined_lengths:
        undefined(ds)
    return ds


def write_enhanced(folder: Path, what: Enhanced) -> Path:
    """Write an Enhanced object into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{what.recipe.instance_uid(0)}.dcm"
    enhanced(what).save_as(path, enforce_file_format=True)
    return path


def _plain(recipe: Recipe) -> Recipe:
    """The recipe of the images of which the frames are made; they are encoded afterwards."""
    native = recipe.transfer_syntax in NATIVE
    values = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    return Recipe(**values | {"transfer_syntax": recipe.transfer_syntax if native else NATIVE[1]})


def _frame(what: Enhanced, image: Dataset, index: int) -> Dataset:
    frame, content, position, transformation = (Dataset() for _ in range(4))
    content.FrameAcquisitionNumber, content.DimensionIndexValues = 1, [index + 1]
    content.StackID, content.InStackPositionNumber = "1", index + 1
    if "ImagePositionPatient" in image:
        position.ImagePositionPatient = image.ImagePositionPatient
        frame.PlanePositionSequence = Items([position])
    frame.FrameContentSequence = Items([content])
    slope = what.slopes[index] if what.slopes else 1
    transformation.RescaleSlope, transformation.RescaleIntercept = f"{slope:g}", "-1024"
    transformation.RescaleType = "HU"
    frame.PixelValueTransformationSequence = Items([transformation])
    if not what.shared_geometry:
        _geometry(frame, image)
    return frame


def _geometry(groups: Dataset, image: Dataset) -> None:
    orientation, measures = Dataset(), Dataset()
    if "ImageOrientationPatient" in image:
        orientation.ImageOrientationPatient = image.ImageOrientationPatient
        groups.PlaneOrientationSequence = Items([orientation])
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    groups.PixelMeasuresSequence = Items([measures])


def _anatomy(laterality: str, value: str) -> Dataset:
    """Make an item of Frame Anatomy with a structure beside the region, which is not ours to change."""
    anatomy, region, structure = Dataset(), Dataset(), Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = value, "SCT", "Before"
    structure.CodeValue, structure.CodingSchemeDesignator, structure.CodeMeaning = "12738006", "SCT", "Brain"
    anatomy.FrameLaterality = laterality
    anatomy.AnatomicRegionSequence = Items([region])
    anatomy.PrimaryAnatomicStructureSequence = Items([structure])
    return anatomy


def _encode(ds: Dataset, what: Enhanced, images: Sequence[Dataset]) -> None:
    syntax = what.recipe.transfer_syntax
    if syntax in NATIVE:
        ds.PixelData = b"".join(image.PixelData for image in images)
        return
    encoder = get_encoder(uid.UID(syntax))
    arrays = [
        np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns) for image in images
    ]
    options = {"rows": ds.Rows, "columns": ds.Columns, "samples_per_pixel": 1, "bits_allocated": 16,
               "bits_stored": 16, "pixel_representation": 0, "number_of_frames": 1,
               "photometric_interpretation": "MONOCHROME2", "pixel_keyword": "PixelData"}  # fmt: skip
    frames = [encoder.encode(array, **options) for array in arrays]
    if what.table == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        ds.PixelData = encapsulate(frames, what.fragments, has_bot=what.table == "basic")
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)


def undefined(ds: Dataset) -> Dataset:
    """Give every sequence and item of a data set an undefined length."""
    for each in ds:
        if each.VR == "SQ":
            each.is_undefined_length = True
            for one in each.value:
                one.is_undefined_length_sequence_item = True
                undefined(one)
    return ds
