"""What the database is told of a series and of an instance, read from a file of the spool."""

from pathlib import Path
from typing import Final

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from db.records import InstanceFacts, SeriesFacts
from model.attributes import BROKEN
from node.intake.intake import Arrival
from node.relabelling.part10 import meta_end
from node.storage.spool import SeriesKey, Spool, data_set_digest

log = structlog.get_logger()

_KEYWORDS: Final[dict[str, str]] = {
    "modality": "Modality",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "incoming_body_part": "BodyPartExamined",
    "incoming_laterality": "Laterality",
    "manufacturer": "Manufacturer",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}


def of_arrival(arrival: Arrival) -> InstanceFacts:
    """Return what the receiver already knows of an instance."""
    stored = arrival.stored
    return InstanceFacts(
        sop_instance_uid=stored.sop_instance_uid,
        sop_class_uid=arrival.sop_class_uid,
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        path=stored.path,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )


def of_file(spool: Spool, relative: str) -> InstanceFacts:
    """Read again what the receiver knew; for instances found in the spool at start."""
    path = spool.path(relative)
    meta = read_file_meta_info(path)
    start = meta_end(path)
    return InstanceFacts(
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        path=relative,
        size_bytes=path.stat().st_size - start,
        sha256=data_set_digest(path, start),
    )


def of_series(spool: Spool, key: SeriesKey, relative: str) -> SeriesFacts:
    """Read what all instances of a series share from one of them; what cannot be read is empty."""
    return of_path(spool.path(relative), key.study_instance_uid, key.series_instance_uid)


def of_path(path: Path, study_uid: str = "", series_uid: str = "") -> SeriesFacts:
    """Read the same from any file; the UIDs are given, as those of the spool are checked ones."""
    values = dict.fromkeys(_KEYWORDS, "")
    try:
        data_set = dcmread(path, stop_before_pixels=True, specific_tags=list(_KEYWORDS.values()))
        values = {name: text(data_set, keyword) for name, keyword in _KEYWORDS.items()}
    except BROKEN as error:  # whatever a header does to the parser, its series must go on
        log.warning("the header of a series cannot be read", file=path.name, error=type(error).__name__)
    return SeriesFacts(
        study_instance_uid=study_uid,
        series_instance_uid=series_uid,
        calling_ae_title=_source(path),
        **values,
    )


def text(data_set: Dataset, keyword: str) -> str:
    """Return a value as one text, several values joined by a backslash."""
    value = data_set.get(keyword)
    if value is None:
        return ""
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return "\\".join(str(part) for part in value)
    return str(value).strip()


def _source(path: Path) -> str:
    return str(read_file_meta_info(path).get("SourceApplicationEntityTitle", "")).strip()
