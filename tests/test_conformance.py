"""Tests that the conformance statement says what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pynetdicom import AE

from db.records import ImageResult, Outcome
from model.frames import ENHANCED, MAXIMUM_FRAMES, read_headers
from model.gate import MINIMUM_PIXELS
from model.regions import REGIONS, Region
from node import status
from node.delivery.scu import MAXIMUM_CONTEXTS
from node.delivery.wire import MAXIMUM_PDU_BYTES
from node.relabelling.anatomy import SIDES
from node.relabelling.coercion import NEW_SERIES, RELABELLED_MODALITIES, WRITE
from node.relabelling.derived import DERIVATION
from node.relabelling.encoded import MAXIMUM_DEPTH, name
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID
from node.relabelling.report import PROCEDURES, SERIES_NUMBER, SOP_CLASS_UID, TRANSFER_SYNTAX_UID, build
from node.relabelling.tags import DIGITAL_SIGNATURES, FRAME_ANATOMY, IMAGE_LATERALITY
from node.settings.commitment import CommitmentSection
from node.settings.config import Relabel, Series
from node.settings.destinations import DicomDestination, FolderDestination, Retry, Tls, WebDestination
from node.settings.dicomweb import DicomWeb
from node.settings.receive import Receive
from node.version import VERSION
from rules.terms import (
    COMBINATIONS,
    FINER_TERMS,
    LOWER_LIMB,
    PELVIS_LEGS,
    UPPER_LIMB,
    WHOLE_BODY,
    SeriesTerm,
)
from tests.builders import Recipe, write
from tests.multiframe import Enhanced, write_enhanced
from tests.relabelled import WORK, relabel

TEXT = (Path(__file__).parents[1] / "CONFORMANCE.md").read_text(encoding="utf-8")
SENTENCES = " ".join(TEXT.split())
SERIES_TERMS = (*COMBINATIONS.values(), UPPER_LIMB, LOWER_LIMB, PELVIS_LEGS, WHOLE_BODY, *FINER_TERMS)


def section(number: str) -> str:
    """Return the text of a section with those within it."""
    heading = re.search(rf"^(#+) {re.escape(number)} ", TEXT, re.MULTILINE)
    assert heading, number
    end = re.compile(rf"^#{{2,{len(heading[1])}}} ", re.MULTILINE).search(TEXT, heading.end())
    return TEXT[heading.start() : end.start() if end else None]


def statuses(number: str) -> dict[str, str]:
    """Return the rows of a section's table by their first cell."""
    rows = re.findall(r"^\| ([0-9A-F]{4}[^|]*?) \| ([^|]*?) \|", section(number), re.MULTILINE)
    return dict(rows)


def line(term: SeriesTerm) -> str:
    """Write a term as the tables do."""
    assert term.code is not None
    return f"| {term.term} | {term.code.value} | {term.code.meaning} | {'yes' if term.paired else 'no'} |"


def tags(data_set: Dataset) -> Iterator[int]:
    """List the tags of a data set and of all items in it."""
    for element in data_set:
        yield int(element.tag)
        for item in element.value if element.VR == "SQ" else ():
            yield from tags(item)


def test_identity() -> None:
    """The implementation class UID and version names are those of the code."""
    assert f"| Implementation Class UID | {IMPLEMENTATION_CLASS_UID} |" in TEXT
    assert f"For version {VERSION}," in TEXT
    assert f"| BODYTAG_{VERSION} |"[:16] in TEXT
    assert str(AE().implementation_version_name).startswith("PYNETDICOM_")


def test_statuses_answered() -> None:
    """The table of C-STORE responses holds exactly the statuses that the node answers."""
    answered = {status.SUCCESS, status.OUT_OF_RESOURCES, status.DATA_SET_MISMATCH, status.CANNOT_UNDERSTAND}
    assert set(statuses("4.2.5")) == {f"{code:04X}" for code in answered}
    assert f"at most {status.ERROR_COMMENT_CHARACTERS} characters" in TEXT
    assert f"deeper than {MAXIMUM_DEPTH}" in TEXT


def test_statuses_read() -> None:
    """Each status of a destination is called in the table what the node calls it in the database."""
    table = statuses("4.2.3")
    codes = (status.SUCCESS, *status.WARNINGS, 0xA700, 0xA900, 0xC000, 0x0110, 0x0122, 0x0124)
    for code in codes:
        [meaning] = [text for key, text in table.items() if key.split("–")[0] == f"{code:04X}"]
        assert meaning == status.meaning(code)
    assert len(table) == len(codes) + 1
    assert all(status.is_warning(code) for code in (0x0001, 0x0107, 0x0116, 0xBFFF))


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
def test_terms_of_images(region: Region) -> None:
    """Each region stands in the table with term, code, meaning and whether it is paired."""
    assert line(SeriesTerm(region.term, region.code, region.paired)) in section("8.3.1")


@pytest.mark.parametrize("term", SERIES_TERMS, ids=lambda term: term.term)
def test_terms_of_series(term: SeriesTerm) -> None:
    """Each term of several regions stands in the table with code, meaning and whether it is paired."""
    assert line(term) in section("8.3.1")


def test_no_other_terms() -> None:
    """The tables hold no term that the code does not know."""
    rows = re.findall(r"^\| ([A-Z]+) \| \d+ \|", section("8.3.1"), re.MULTILINE)
    assert len(rows) == len(REGIONS) + len(SERIES_TERMS)


def changed(before: Dataset, after: Dataset) -> set[int]:
    """List the tags that a copy has got, those within sequences too."""
    new = Dataset()
    for element in after:
        if element.tag not in before or before[element.tag] != element:
            new.add(element)
    return set(tags(new))


@pytest.mark.parametrize("given", [None, "", "CHEST", "illegal, in lower case"])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_coerced_attributes(tmp_path: Path, given: str | None, paired: bool, policy: str) -> None:
    """Each tag that a relabelled copy has got stands in the section on coercion."""
    overrides = {"ImageLaterality": "B", "InstanceCreationDate": "20200101"}
    recipe = Recipe(n=1, body_part=None if given == "illegal, in lower case" else given, overrides=overrides)
    [source] = write(tmp_path, recipe)
    if given == "illegal, in lower case":
        _put_raw(source, given)
    copy = tmp_path / "copy.dcm"
    assert relabel(source, copy, term="KNEE", paired=paired, image_region="knee", policy=policy)
    found = changed(dcmread(source, stop_before_pixels=True), dcmread(copy, stop_before_pixels=True))
    assert len(found) > 15
    assert [name(tag) for tag in sorted(found) if name(tag) not in section("8.2")] == []


@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_coerced_attributes_of_frames(tmp_path: Path, policy: str) -> None:
    """Each tag that a copy of an Enhanced object has got, but for the groups that stay, stands there, too."""
    source, copy = write_enhanced(tmp_path, Enhanced(Recipe(n=2))), tmp_path / "copy.dcm"
    assert relabel(source, copy, frame_regions=("chest", "abdomen"), policy=policy)
    before, after = (dcmread(path, stop_before_pixels=True) for path in (source, copy))
    found = changed(before, after) - set(tags(before))
    assert FRAME_ANATOMY in found
    assert [name(tag) for tag in sorted(found) if name(tag) not in section("8.2")] == []


def test_reports(tmp_path: Path) -> None:
    """SOP class, transfer syntax, templates, codes and attributes of a report are as the annex says."""
    headers = [header for path in write(tmp_path, Recipe(n=2)) for header in read_headers(path)]
    images = tuple(
        ImageResult(header.sop_instance_uid, "chest", 0.9, float(number), None)
        for number, header in enumerate(headers)
    )
    document = build(headers, Outcome(None, images, None, "d" * 64, VERSION), WORK.decided_at, "BODYTAG")
    assert document is not None
    told = section("8.1.1")
    assert document.SOPClassUID == SOP_CLASS_UID in told
    assert document.file_meta.TransferSyntaxUID == TRANSFER_SYNTAX_UID in told
    assert document.SeriesNumber == SERIES_NUMBER
    assert f" {SERIES_NUMBER}," in told
    content = {0x0040A040, 0x0040A043, 0x0040A050, 0x0040A504, 0x0040A730}
    named = {int(each.tag) for each in document if not each.is_empty} - content - {0x00080016, 0x00080018}
    assert [name(tag) for tag in sorted(named) if name(tag) not in told] == []
    codes = {str(each.value) for each in document.iterall() if each.keyword == "CodeValue"}
    ours = codes - {REGIONS[3].code.value}
    assert {"126000", "91723000", "410668003", "111012", "121112", "25045-6"} < ours
    assert all(code.value in section("8.3.1") for code in PROCEDURES.values())


def test_what_is_classified() -> None:
    """SOP classes and limits of what is classified are those of the gate and of reading."""
    told = " ".join(section("8.4").split())
    classified = {uid.CTImageStorage, uid.MRImageStorage, *ENHANCED} - {uid.EnhancedMRColorImageStorage}
    assert [each for each in classified if each not in told] == []
    assert f"at most {MAXIMUM_FRAMES}," in told
    assert f"at least {MINIMUM_PIXELS} pixels" in told


def test_codes() -> None:
    """The codes beside the regions are those that the copies carry."""
    told = section("8.3.1")
    assert all(value in told and meaning in told for value, meaning in SIDES.values())
    assert all(part in told for part in DERIVATION)


@pytest.mark.parametrize(
    "heading",
    [
        "1 Conformance statement overview", "2 Table of contents", "3 Introduction", "4 Networking",
        "4.1 Implementation model", "4.2 Application entity", "4.3 Network interfaces", "4.4 Configuration",
        "5 Media interchange", "6 Support of character sets", "7 Security", "8 Annexes",
    ],
)  # fmt: skip
def test_layout(heading: str) -> None:
    """The sections of the template of PS3.2 are there, in its order."""
    assert re.search(rf"^##+ {re.escape(heading)}", TEXT, re.MULTILINE)
    numbers = re.findall(r"^##+ ([0-9.]+) ", TEXT, re.MULTILINE)
    assert numbers == sorted(numbers, key=lambda number: [int(part) for part in number.split(".")])


def test_sections_that_are_named_are_there() -> None:
    """Every reference to a section leads to one."""
    found = set(re.findall(r"sections? ([0-9.]*[0-9])", TEXT)) | set(re.findall(r" and ([0-9]\.[0-9])", TEXT))
    assert found
    assert all(section(number) for number in found)


def _put_raw(path: Path, text: str) -> None:
    """Write a Body Part Examined that is no legal CS into a file."""
    data_set = dcmread(path)
    data_set.add_new(0x00180015, "LO", text)
    data_set.save_as(path)


def test_rules_of_coercion() -> None:
    """The modalities and exceptions of the section on coercion are those of the code."""
    said = re.search(r"modalities other than ([A-Z, ]+) and ([A-Z]+);", SENTENCES)
    assert said
    assert {*said[1].split(", "), said[2]} == RELABELLED_MODALITIES
    assert all(name(tag) in section("8.2") for tag in (DIGITAL_SIGNATURES, IMAGE_LATERALITY))


@pytest.mark.parametrize(
    ("prefix", "model"),
    [
        ("receive", Receive),
        ("destinations", DicomDestination),
        ("destinations", WebDestination),
        ("destinations", FolderDestination),
        ("destinations.tls", Tls),
        ("destinations.retry", Retry),
        ("relabel", Relabel),
        ("series", Series),
        ("dicomweb", DicomWeb),
        ("commitment", CommitmentSection),
    ],
)
def test_parameters(prefix: str, model: type[BaseModel]) -> None:
    """Each parameter of the network and of coercion is named."""
    assert [field for field in model.model_fields if f"`{prefix}.{field}" not in TEXT] == []


def test_numbers_of_the_requestor() -> None:
    """The limits of associations that the node opens are those of the code."""
    assert f"| Maximum PDU size received | {MAXIMUM_PDU_BYTES} |" in section("4.2.1")
    assert f"at most {MAXIMUM_CONTEXTS}." in section("4.2.2")
