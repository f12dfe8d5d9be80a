"""Attribute values: read from the bytes where they are plain text, by the library where they are not."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from model.attributes import integer, numbers, text, texts


def _read(ds: Dataset) -> Dataset:
    """Return a data set as it is read: nothing of it converted yet."""
    file = BytesIO()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, ds)
    file.seek(0)
    return dcmread(file, force=True)


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG-LL.dcm"],
)
def test_plain_values_are_those_of_the_library(name: str) -> None:
    """Each element of real files, little and big endian, gives what the library's own conversion gives."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.fail(f"the library comes without {name}")
    raw, converted = dcmread(path), dcmread(path)
    keywords = [element.keyword for element in converted if element.keyword and element.VR != "SQ"]
    assert len(keywords) > 20
    for keyword in keywords:
        assert texts(raw, keyword) == texts(converted, keyword), keyword


def test_what_is_no_plain_text_is_left_to_the_library() -> None:
    """Other alphabets are decoded, padding is cut off, several values are told apart, nothing is missing."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SeriesDescription = "Schädel"
    ds.ImageType = ["ORIGINAL", "PRIMARY "]
    ds.Rows, ds.NumberOfFrames, ds.ProtocolName = 70, 3, ""
    ds.ImagePositionPatient = ["1.5", "-2", "1e2"]
    found = _read(ds)
    assert text(found, "SeriesDescription") == "Schädel"
    assert texts(found, "ImageType") == ("ORIGINAL", "PRIMARY")
    assert (integer(found, "Rows"), integer(found, "NumberOfFrames")) == (70, 3)
    assert numbers(found, "ImagePositionPatient", 3) == (1.5, -2.0, 100.0)
    assert texts(found, "ProtocolName") == texts(found, "StudyDescription") == ()


def test_an_attribute_that_does_not_exist_is_a_mistake_of_ours() -> None:
    """A keyword that the dictionary lacks is never taken for one that is missing."""
    with pytest.raises(LookupError, match="no attribute NoSuchThing"):
        texts(Dataset(), "NoSuchThing")
