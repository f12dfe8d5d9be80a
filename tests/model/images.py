"""What the tests of reading share: the encodings that can be written, and one image's header."""

from pathlib import Path

from pydicom import uid

from model.read import ImageHeader, read_header
from tests.builders import series

ENCODINGS = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
)


def one(folder: Path, modality: str = "MR", **options: object) -> ImageHeader:
    """Write one image and read its header."""
    return read_header(series(folder, modality, 1, **options)[0])
