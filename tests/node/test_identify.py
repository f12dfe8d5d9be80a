"""Tests of what makes a received data set acceptable."""

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_dataset

from node.intake.identify import Identity, check_command, identify
from node.relabelling.encoded import deflate
from node.relabelling.part10 import meta_end
from node.status import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, Rejection
from node.storage.spool import SeriesKey
from tests.builders import Recipe, bundled, dataset

LITTLE = uid.ExplicitVRLittleEndian
CAP = 1 << 20


def encoded(data_set: Dataset) -> bytes:
    """Encode in explicit VR little endian, whatever the values."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    plain = Dataset()
    plain.update(data_set)
    write_dataset(out, plain)
    return out.getvalue()


def changed(**overrides: object) -> bytes:
    """Encode a synthetic CT image with attributes changed; None leaves one out."""
    return encoded(dataset(Recipe(overrides=overrides)))


def refused(data: bytes) -> Rejection:
    """Return why a data set is refused."""
    with pytest.raises(Rejection) as rejection:
        identify(data, LITTLE, CAP)
    return rejection.value


def test_reads_the_uids() -> None:
    """The four UIDs come out as text, padding removed."""
    recipe = Recipe()
    image = dataset(recipe)
    key = SeriesKey(image.StudyInstanceUID, recipe.series_uid)
    expected = Identity(key, uid.CTImageStorage, recipe.instance_uid(0))
    assert identify(encoded(image), LITTLE, CAP) == expected
    assert identify(b"".join(deflate([encoded(image)])), uid.DeflatedExplicitVRLittleEndian, CAP) == expected


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_without_sop_uids_it_does_not_match(keyword: str, value: str | None) -> None:
    """A missing or empty SOP UID is answered with 0xA900."""
    assert refused(changed(**{keyword: value})).status == DATA_SET_MISMATCH


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
)
def test_a_path_as_uid_is_refused(keyword: str) -> None:
    """`../` in any UID is answered with 0xC000."""
    data = changed()
    value = str(dataset(Recipe())[keyword].value).encode()
    hostile = b"../../../../etc/cron.d/x"
    hostile += b"1" * (len(value) - len(hostile))
    answer = refused(data.replace(value, hostile))
    assert answer.status == CANNOT_UNDERSTAND
    assert "is not a valid UID" in answer.comment


def test_objects_without_a_series_stand_alone() -> None:
    """Without study and series the instance's own UID groups it."""
    recipe = Recipe()
    found = identify(changed(StudyInstanceUID=None, SeriesInstanceUID=None), LITTLE, CAP)
    assert found.key == SeriesKey(recipe.instance_uid(0), recipe.instance_uid(0))


def test_implicit_data_under_an_explicit_syntax_is_taken() -> None:
    """An object that is not encoded as it announces is understood where that can be told."""
    path = bundled("SC_rgb_jpeg.dcm")
    meta = read_file_meta_info(path)
    data = path.read_bytes()[meta_end(path) :]
    found = identify(data, str(meta.TransferSyntaxUID), CAP)
    assert found.sop_instance_uid == meta.MediaStorageSOPInstanceUID


def test_garbage_is_refused() -> None:
    """Bytes that are no data set are answered with 0xC000."""
    assert refused(b"this is not DICOM at all, is it?").status == CANNOT_UNDERSTAND
    assert refused(changed()[:-10]).status == CANNOT_UNDERSTAND


def test_the_command_must_match() -> None:
    """Another SOP class or instance in the command than in the data set is answered with 0xA900."""
    found = identify(changed(), LITTLE, CAP)
    check_command(found, found.sop_class_uid, found.sop_instance_uid)
    for affected in ((uid.MRImageStorage, found.sop_instance_uid), (found.sop_class_uid, "1.2.3")):
        with pytest.raises(Rejection) as rejection:
            check_command(found, *affected)
        assert rejection.value.status == DATA_SET_MISMATCH
