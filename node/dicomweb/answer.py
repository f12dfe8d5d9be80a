"""The answer to STOW-RS: HTTP status and Store Instances Response Module (PS3.18 section 10.5.3)."""

import json
from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree

from node.dicomweb.stow import Result
from node.status import DATA_SET_MISMATCH, OUT_OF_RESOURCES

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"

_KEYWORDS: Final = {
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081190": "RetrieveURL",
    "00081197": "FailureReason",
    "00081198": "FailedSOPSequence",
    "00081199": "ReferencedSOPSequence",
    "0008119A": "OtherFailuresSequence",
}

Attributes = dict[str, dict[str, Any]]
"""The DICOM JSON model (PS3.18 Annex F)."""


def http_status(results: Sequence[Result]) -> int:
    """Return the status of PS3.18 Table 10.5.3-1 for what became of the parts; 400 where there was none."""
    if not results:
        return 400
    if all(each.stored for each in results):
        return 200
    if any(each.stored for each in results):
        return 202
    reasons = {each.status for each in results}
    if OUT_OF_RESOURCES in reasons:
        return 503
    return 409 if DATA_SET_MISMATCH in reasons else 400


def response(results: Sequence[Result]) -> Attributes:
    """Return the Store Instances Response: what is stored, what is not, and what could not even be named.

    Retrieve URL is empty: instances cannot be retrieved from the node.
    """
    known = [each for each in results if each.sop_instance_uid]
    stored = [_reference(each) | _empty_url() for each in known if each.stored]
    failed = [_reference(each) | _reason(each) for each in known if not each.stored]
    other = [_reason(each) for each in results if not each.sop_instance_uid]
    sequences = {"00081199": stored, "00081198": failed, "0008119A": other}
    return _empty_url() | {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def encoded(attributes: Attributes, media_type: str) -> bytes:
    """Return the response as DICOM JSON or as the Native DICOM Model in XML (PS3.19 Annex A)."""
    if media_type == JSON:
        return json.dumps(attributes).encode()
    root = ElementTree.Element("NativeDicomModel")
    _add(root, attributes)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def acceptable(accept: str | None) -> str | None:
    """Return the media type that the client takes, JSON where it takes both; None where it takes neither."""
    asked = [each.split(";")[0].strip().lower() for each in (accept or "*/*").split(",")]
    if any(each in (JSON, "application/json", "application/*", "*/*", "") for each in asked):
        return JSON
    return XML if XML in asked else None


def _reference(result: Result) -> Attributes:
    return {
        "00081150": {"vr": "UI", "Value": [result.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [result.sop_instance_uid]},
    }


def _reason(result: Result) -> Attributes:
    return {"00081197": {"vr": "US", "Value": [result.status]}}


def _empty_url() -> Attributes:
    return {"00081190": {"vr": "UR"}}


def _add(parent: ElementTree.Element, attributes: Attributes) -> None:
    for tag, attribute in sorted(attributes.items()):
        told = {"tag": tag, "vr": attribute["vr"], "keyword": _KEYWORDS[tag]}
        element = ElementTree.SubElement(parent, "DicomAttribute", told)
        for number, value in enumerate(attribute.get("Value", ()), 1):
            kind = "Item" if isinstance(value, dict) else "Value"
            child = ElementTree.SubElement(element, kind, number=str(number))
            if isinstance(value, dict):
                _add(child, value)
            else:
                child.text = str(value)
