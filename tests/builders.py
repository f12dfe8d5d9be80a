"""Builders of synthetic DICOM series, and the paths of the real images that tests may read.

Everything is deterministic: UIDs come from `pydicom.uid.generate_uid` with the recipe's `seed` as
entropy, so the same call writes the same bytes. Two series that must differ get two seeds.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

Pattern = Callable[[int, int, int], NDArray[np.generic]]
"""(index, rows, columns) -> pixel array of one image (rows, columns) or (frames, rows, columns)."""

AXIAL: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL: Final = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL: Final = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

SOP_CLASS: Final[dict[str, uid.UID]] = {
    "CT": uid.CTImageStorage,
    "MR": uid.MRImageStorage,
    "CR": uid.ComputedRadiographyImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "US": uid.UltrasoundImageStorage,
    "OT": uid.SecondaryCaptureImageStorage,
}


def blob(index: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Draw a bright ellipse on a dark ground, slightly larger with each index: 12 bits, never constant."""
    y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    radius = 0.5 + 0.3 * ((index % 7) / 7)
    shade = np.where(x**2 + (y / 0.8) ** 2 < radius**2, 1000 + 40 * x + 60 * y, 20 + 10 * x)
    return np.asarray(np.rint(shade), dtype=np.uint16)


@dataclass(frozen=True)
class Recipe:
    """What a synthetic series looks like; the defaults are a plain axial CT of unknown anatomy.

    `first_position` and `step_mm`: ImagePositionPatient of image 0, and the way to the next one
    along the normal of `orientation`. `body_part` None leaves the attribute out, "" writes it
    empty. `overrides` sets attributes by keyword last; the value None deletes the attribute.
    `private` are (element, VR, value) of one private block in group 0029.
    """

    modality: str = "CT"
    n: int = 5
    seed: str = "series"
    study_seed: str = "study"
    transfer_syntax: str = uid.ExplicitVRLittleEndian
    rows: int = 64
    columns: int = 64
    orientation: tuple[float, ...] | None = AXIAL
    first_position: tuple[float, float, float] = (-25.0, -25.0, -100.0)
    step_mm: float = 5.0
    pixel_spacing_mm: tuple[float, float] | None = (0.8, 0.8)
    body_part: str | None = "CHEST"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    series_description: str = "Synthetic"
    patient_id: str = "SYN0001"
    patient_name: str = "Synthetic^Series"
    pixels: Pattern = blob
    overrides: Mapping[str, object] = field(default_factory=dict)
    private: tuple[tuple[int, str, object], ...] = ()

    @property
    def series_uid(self) -> str:
        """Series Instance UID of every image of this recipe."""
        return uid.generate_uid(entropy_srcs=["series", self.modality, self.seed])

    def instance_uid(self, index: int) -> str:
        """SOP Instance UID of image `index`."""
        return uid.generate_uid(entropy_srcs=["instance", self.modality, self.seed, f"/{index}"])


def dataset(recipe: Recipe, index: int = 0) -> Dataset:
    """Build image `index` of a recipe, file meta information included, ready for `save_as` or C-STORE."""
    ds = Dataset()
    _identify(ds, recipe, index)
    _place(ds, recipe, index)
    encoded = recipe.transfer_syntax not in _NATIVE
    _draw(ds, recipe, index, ">" if recipe.transfer_syntax == uid.ExplicitVRBigEndian else "<")
    for keyword, value in recipe.overrides.items():
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            delattr(ds, keyword)
    for element, vr, value in recipe.private:
        ds.private_block(0x0029, "BODYTAG TEST", create=True).add_new(element, vr, value)
    ds.file_meta = _meta(ds, uid.ExplicitVRLittleEndian if encoded else recipe.transfer_syntax)
    if encoded:
        ds.compress(recipe.transfer_syntax, generate_instance_uid=False)
    return ds


def series(folder: Path, modality: str = "CT", n: int = 5, **options: Any) -> list[Path]:
    """Write a series as valid Part 10 files into `folder` and return their paths in build order.

    `options` are the fields of `Recipe`: `series(tmp_path, "MR", 3, body_part=None)`.
    """
    return write(folder, Recipe(modality=modality, n=n, **options))


def write(folder: Path, recipe: Recipe) -> list[Path]:
    """Write a recipe's images into `folder`, one file each named by SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(recipe.n):
        path = folder / f"{recipe.instance_uid(index)}.dcm"
        dataset(recipe, index).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def bundled(name: str) -> Path:
    """Path of a real file that pydicom ships in its wheel; never downloads."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    if not path.is_file():
        raise FileNotFoundError(f"pydicom does not ship {name}")
    return path


def published() -> list[Path]:
    """Paths of the files of the package pydicom-data: real objects too large for pydicom's own wheel."""
    found = find_spec("data_store")
    assert found is not None, "pydicom-data is missing; run: make dev"
    assert found.origin is not None
    return sorted((Path(found.origin).parent / "data").glob("*.dcm"))


def real_images() -> list[Path]:
    """Paths of the real single-frame grey CT and MR images that pydicom ships, one per encoding."""
    return [bundled(name) for name in _REAL]


def real_series() -> dict[str, list[Path]]:
    """Real series of the data folder by folder name ("ct/sts042_knee"); empty where there is none.

    The folder is `../shared/data` beside the repository, or the environment's BODYTAG_DATA.
    """
    default = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("BODYTAG_DATA", default)) / "dicom"
    found: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*/*/*")):
        if path.is_file():
            found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    return found


_NATIVE: Final = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_REAL: Final = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
)


def _meta(ds: Dataset, transfer_syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.UID(transfer_syntax)
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", uid.CTImageStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    meta.ImplementationClassUID = uid.PYDICOM_IMPLEMENTATION_UID
    return meta


def _identify(ds: Dataset, recipe: Recipe, index: int) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = list(recipe.image_type)
    ds.SOPClassUID = SOP_CLASS.get(recipe.modality, uid.SecondaryCaptureImageStorage)
    ds.SOPInstanceUID = recipe.instance_uid(index)
    ds.StudyInstanceUID = uid.generate_uid(entropy_srcs=["study", recipe.study_seed])
    ds.SeriesInstanceUID = recipe.series_uid
    ds.FrameOfReferenceUID = uid.generate_uid(entropy_srcs=["frame", recipe.study_seed])
    ds.StudyDate = ds.SeriesDate = "20240229"
    ds.StudyTime = ds.SeriesTime = "120000"
    ds.StudyID = "1"
    ds.AccessionNumber = "A1"
    ds.Modality = recipe.modality
    ds.Manufacturer = "Synthetic"
    ds.SeriesDescription = recipe.series_description
    ds.PatientName = recipe.patient_name
    ds.PatientID = recipe.patient_id
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.ReferringPhysicianName = ""
    ds.PatientPosition = "HFS"
    ds.SeriesNumber = 1
    ds.InstanceNumber = index + 1
    if recipe.body_part is not None:
        ds.BodyPartExamined = recipe.body_part


def _place(ds: Dataset, recipe: Recipe, index: int) -> None:
    """Write the image plane; an orientation of None leaves position and orientation out."""
    ds.SliceThickness = f"{abs(recipe.step_mm) or 1:g}"
    if recipe.pixel_spacing_mm is not None:
        ds.PixelSpacing = [f"{value:g}" for value in recipe.pixel_spacing_mm]
    if recipe.orientation is None:
        return
    cosines = np.asarray(recipe.orientation, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    position = np.asarray(recipe.first_position) + index * recipe.step_mm * normal
    ds.ImagePositionPatient = [f"{value:.4f}" for value in position]
    ds.ImageOrientationPatient = [f"{value:.6g}" for value in cosines]


def _draw(ds: Dataset, recipe: Recipe, index: int, byte_order: Literal["<", ">"]) -> None:
    pixels = recipe.pixels(index, recipe.rows, recipe.columns)
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = pixels.shape[0]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = 8 if pixels.dtype.itemsize == 1 else 16
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    if recipe.modality == "CT":
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    raw = pixels.astype(pixels.dtype.newbyteorder(byte_order)).tobytes()
    ds.add_new("PixelData", "OW", raw + b"\0" * (len(raw) % 2))
