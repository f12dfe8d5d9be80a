"""Tests that the conformance statement says what the code does."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from model.regions import REGIONS, Region
from node import status
from node.coercion import RELABELLED_MODALITIES
from node.config import Destination, Receive, Relabel, Retry
from node.encoded import MAXIMUM_DEPTH, name
from node.part10 import IMPLEMENTATION_CLASS_UID
from node.relabel import write_copy
from node.scu import MAXIMUM_CONTEXTS, MAXIMUM_PDU_BYTES
from node.tags import DIGITAL_SIGNATURES, IMAGE_LATERALITY
from node.version import VERSION
from rules.terms import COMBINATIONS, LOWER_LIMB, PELVIS_LEGS, UPPER_LIMB, WHOLE_BODY, SeriesTerm
from tests.builders import Recipe, write
from tests.relabelled import MODIFIER, WORK

TEXT = (Path(__file__).parents[1] / "CONFORMANCE.md").read_text(encoding="utf-8")
SENTENCES = " ".join(TEXT.split())
SERIES_TERMS = (*COMBINATIONS.values(), UPPER_LIMB, LOWER_LIMB, PELVIS_LEGS, WHOLE_BODY)


def section(number: str) -> str:
    """Return the text of a section without the following one."""
    found = re.search(rf"^##+ {re.escape(number)} .*?(?=^##+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


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
    assert set(statuses("3.3")) == {f"{code:04X}" for code in answered}
    assert f"at most {status.ERROR_COMMENT_CHARACTERS} characters" in TEXT
    assert f"deeper than {MAXIMUM_DEPTH}" in TEXT


def test_statuses_read() -> None:
    """Each status of a destination is called in the table what the node calls it in the database."""
    table = statuses("4.2")
    codes = (status.SUCCESS, *status.WARNINGS, 0xA700, 0xA900, 0xC000, 0x0110, 0x0122, 0x0124)
    for code in codes:
        [meaning] = [text for key, text in table.items() if key.split("–")[0] == f"{code:04X}"]
        assert meaning == status.meaning(code)
    assert len(table) == len(codes) + 1
    assert all(status.is_warning(code) for code in (0x0001, 0x0107, 0x0116, 0xBFFF))


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
def test_terms_of_images(region: Region) -> None:
    """Each region stands in the table with term, code, meaning and whether it is paired."""
    assert line(SeriesTerm(region.term, region.code, region.paired)) in section("7")


@pytest.mark.parametrize("term", SERIES_TERMS, ids=lambda term: term.term)
def test_terms_of_series(term: SeriesTerm) -> None:
    """Each term of several regions stands in the table with code, meaning and whether it is paired."""
    assert line(term) in section("7")


def test_no_other_terms() -> None:
    """The tables hold no term that the code does not know."""
    rows = re.findall(r"^\| ([A-Z]+) \| \d+ \|", section("7"), re.MULTILINE)
    assert len(rows) == len(REGIONS) + len(SERIES_TERMS)


@pytest.mark.parametrize("given", [None, "", "CHEST", "illegal, in lower case"])
@pytest.mark.parametrize("paired", [True, False])
def test_coerced_attributes(tmp_path: Path, given: str | None, paired: bool) -> None:
    """Each tag that a relabelled copy has got stands in the section on coercion."""
    recipe = Recipe(n=1, body_part=None if given == "illegal, in lower case" else given)
    [source] = write(tmp_path, recipe)
    if given == "illegal, in lower case":
        _put_raw(source, given)
    work = replace(
        WORK, term="KNEE", paired=paired, image_region="knee", transfer_syntax_uid=recipe.transfer_syntax
    )
    assert write_copy(work, source, tmp_path / "copy.dcm", MODIFIER)
    before = dcmread(source, stop_before_pixels=True)
    after = dcmread(tmp_path / "copy.dcm", stop_before_pixels=True)
    changed = Dataset()
    for element in after:
        if element.tag not in before or before[element.tag] != element:
            changed.add(element)
    found = set(tags(changed))
    assert len(found) > 15
    assert [name(tag) for tag in sorted(found) if name(tag) not in section("6")] == []


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
    assert all(name(tag) in section("6") for tag in (DIGITAL_SIGNATURES, IMAGE_LATERALITY))


@pytest.mark.parametrize(
    ("prefix", "model"),
    [
        ("receive", Receive),
        ("destinations", Destination),
        ("destinations.retry", Retry),
        ("relabel", Relabel),
    ],
)
def test_parameters(prefix: str, model: type[BaseModel]) -> None:
    """Each parameter of the network and of coercion is named."""
    assert [field for field in model.model_fields if f"`{prefix}.{field}" not in TEXT] == []


def test_numbers_of_the_requestor() -> None:
    """The limits of associations that the node opens are those of the code."""
    assert f"| Maximum PDU size received | {MAXIMUM_PDU_BYTES} |" in section("4.1")
    assert f"at most {MAXIMUM_CONTEXTS}." in section("4.1")
