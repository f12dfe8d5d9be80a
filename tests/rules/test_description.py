"""Tests of reading free text: regions and sides in descriptions, and how they stand to a verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.regions import REGIONS
from rules.description import Agreement, agreement, named_terms, regions_of, sides, text_remarks
from rules.synonyms import NOT_IN_TEXT, SHORT_IN_TEXT
from rules.terms import read_term


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("CT CHEST ABD PELVIS W CONTRAST", ("CHESTABDPELVIS",)),
        ("MRI KNEE LT W/O", ("KNEE",)),
        ("Thorax/Abdomen 5.0 B30f", ("CHESTABDOMEN",)),
        ("t2_tse_ax LWS", ("LSPINE",)),
        ("HRCT Lunge", ("CHEST", "LUNG")),
        ("DE_Becken-Bein", ("PELVISLOWEXTREMT",)),
        ("IRM GENOU GAUCHE", ("KNEE",)),
        ("TORAX-ABDOMEN-PELVIS C/C", ("CHESTABDPELVIS",)),
        ("CT ANGIO HEAD AND NECK", ("HEADNECK",)),
        ("CHEST, UPPER ABDOMEN", ("CHEST", "ABDOMEN")),
        ("Łokieć prawy", ("ELBOW",)),
        ("CT PE PROTOCOL", ()),
        ("head first supine", ()),
        ("69536005", ()),
        ("heart rate 60", ("HEART",)),
        ("ARTERIAL PHASE 1.25", ()),
    ],
)
def test_what_a_description_names(text: str, terms: tuple[str, ...]) -> None:
    """The longest name at each place; what lies, is injected or counted is no body part."""
    assert named_terms(text) == terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("KNEE LT", "L"), ("Knie re sag", "R"), ("GENOU GAUCHE", "L"), ("RODILLA DERECHA", "R"),
        ("both knees", ""), ("L SPINE", ""), ("LEFT AND RIGHT HIP", "LR"), ("T2 TRA", ""),
    ],
)  # fmt: skip
def test_sides_are_read_from_words(text: str, found: str) -> None:
    """Words of side in several languages; a bare letter is none."""
    assert "".join(sorted(sides(text))) == found


@pytest.mark.parametrize(
    ("text", "term", "how"),
    [
        ("CT CHEST W CONTRAST", "CHEST", Agreement.AGREES),
        ("liver 4 phases", "ABDOMEN", Agreement.AGREES),
        ("LOWER EXTREMITY", "KNEE", Agreement.AGREES),
        ("SPINE", "LSPINE", Agreement.AGREES),
        ("CT CHEST ABD PELVIS", "CHEST", Agreement.PARTLY),
        ("CT CHEST", "CHESTABDPELVIS", Agreement.PARTLY),
        ("NECK SOFT TISSUE", "CSPINE", Agreement.PARTLY),
        ("ELBOW", "UPPERLIMB", Agreement.PARTLY),
        ("WHOLE BODY", "CHESTABDPELVIS", Agreement.PARTLY),
        ("KNEE", "CHEST", Agreement.CONTRADICTS),
        ("EXTREMITY", "HEAD", Agreement.CONTRADICTS),
        ("axial 5 mm", "HEAD", Agreement.SILENT),
        ("KNEE", None, Agreement.SILENT),
    ],
)
def test_agreement_with_a_verdict(text: str, term: str | None, how: Agreement) -> None:
    """The same or finer agrees, coarser limbs too; more, less or the same level is half right."""
    assert agreement(text, term) == how


def test_every_region_is_read_from_its_own_name() -> None:
    """Each region's term names that region alone."""
    for region in REGIONS:
        assert regions_of(region.term) == {region.key}
        assert agreement(region.term, region.term) == Agreement.AGREES


def test_exceptions_of_running_text_are_spellings() -> None:
    """The lists of words that count only in a tag, or in spite of their shortness, hold real spellings."""
    assert all(read_term(word).term for word in NOT_IN_TEXT | SHORT_IN_TEXT)
    assert max(map(len, SHORT_IN_TEXT)) < 4 <= min(map(len, NOT_IN_TEXT))


def test_what_a_reviewer_is_told() -> None:
    """A contradiction of the series' description, or of the study's where that is silent; and of sides."""
    assert text_remarks(("Knie", "CT CHEST"), "CHEST", {""}) == (
        "the description 'Knie' names KNEE, the images show CHEST",
    )
    assert text_remarks(("CHEST 5 mm", "KNEE"), "CHEST", {""}) == ()
    assert text_remarks(("5 mm", "KNEE"), "CHEST", ()) == (
        "the description 'KNEE' names KNEE, the images show CHEST",
    )
    assert text_remarks(("KNEE RIGHT", ""), "KNEE", {"L"}) == (
        "Laterality says L, the description says right",
    )
    assert text_remarks(("KNEE LEFT AND RIGHT", ""), "KNEE", {"L"}) == ()
    assert text_remarks(("KNEE RIGHT", ""), "KNEE", {"L", "R"}) == ()
    assert text_remarks(("", ""), None, {"L"}) == ()


@given(st.text(max_size=60), st.sampled_from(["CHEST", "KNEE", "UPPERLIMB", None]))
def test_any_text_can_be_compared(text: str, term: str | None) -> None:
    """No text raises; what names nothing is silent."""
    assert (agreement(text, term) == Agreement.SILENT) == (term is None or not named_terms(text))
