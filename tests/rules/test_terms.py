"""Tests of the series' term, its codes against machine-readable tables, and of reading incoming terms."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from model.regions import BY_KEY, REGIONS
from rules.synonyms import FINER, SYNONYMS
from rules.terms import (
    COMBINATIONS,
    FINER_TERMS,
    SeriesTerm,
    agrees,
    exact_term,
    named_term,
    read_term,
    series_term,
    vague,
)

CID_4, CID_4030, CID_4031 = 4, 4030, 4031


def table_l1() -> dict[str, list[str]]:
    """Read highdicom's copy of PS3.16 Table L-1: term -> scheme, code, meaning, paired."""
    spec = find_spec("highdicom")
    assert spec is not None, "the tests need highdicom installed"
    assert spec.origin is not None
    path = Path(spec.origin).parent / "_standard" / "anatomic_regions.json"
    table: dict[str, list[str]] = json.loads(path.read_text())
    return table


def every_term() -> Iterator[SeriesTerm]:
    """Yield every term that a series can get, by naming every run of every chain."""
    keys = [region.key for region in REGIONS]
    for size in (1, 2, 3):
        for chosen in combinations(keys, size):
            yield series_term(dict.fromkeys(chosen, 100.0))
    yield from COMBINATIONS.values()
    yield from FINER_TERMS
    yield series_term(dict.fromkeys(("head", "neck", "chest", "abdomen", "pelvis", "thigh"), 100.0))


def test_terms_and_codes_are_those_of_table_l1() -> None:
    """Every term that is written stands in Table L-1 with the same SNOMED CT code and pairing."""
    table = table_l1()
    seen = set()
    for named in every_term():
        if named.term is None or named.code is None:
            continue
        scheme, code, _, paired = table[named.term]
        assert (scheme, code, bool(paired)) == ("SCT", named.code.value, named.paired), named.term
        seen.add(named.term)
    assert len(seen) == 18 + 10 + 4 + 5


def test_codes_are_known_to_pydicom() -> None:
    """Every code is a concept of pydicom's dictionary, and its context groups hold those of the trunk."""
    entries = cast(dict[str, dict[str, tuple[str, list[int]]]], concepts["SCT"])
    groups = {code: cids for entry in entries.values() for code, (_, cids) in entry.items()}
    for named in every_term():
        if named.code is not None:
            assert named.code.value in groups, named.term
    for key in ("chest", "abdomen", "pelvis"):
        assert CID_4 in groups[BY_KEY[key].code.value]
    for keys in (("neck", "chest", "abdomen"), ("abdomen", "pelvis"), ("cspine", "tspine")):
        code = COMBINATIONS[keys].code
        assert code is not None
        assert {CID_4, CID_4030, CID_4031} <= set(groups[code.value])


@pytest.mark.parametrize(
    ("keys", "term"),
    [
        ("head neck", "HEADNECK"),
        ("neck chest", "NECKCHEST"),
        ("neck chest abdomen", "NECKCHESTABDOMEN"),
        ("neck chest abdomen pelvis", "NECKCHESTABDPELV"),
        ("chest abdomen", "CHESTABDOMEN"),
        ("pelvis chest abdomen", "CHESTABDPELVIS"),
        ("abdomen pelvis", "ABDOMENPELVIS"),
        ("pelvis thigh", "PELVISLOWEXTREMT"),
        ("pelvis thigh knee calf foot", "PELVISLOWEXTREMT"),
        ("cspine tspine", "CTSPINE"),
        ("tspine lspine", "TLSPINE"),
        ("cspine tspine lspine", "SPINE"),
        ("arm elbow", "UPPERLIMB"),
        ("shoulder arm elbow forearm hand", "UPPERLIMB"),
        ("thigh knee", "LOWERLIMB"),
        ("calf foot", "LOWERLIMB"),
        ("head neck chest abdomen pelvis thigh", "WHOLEBODY"),
        ("head neck chest abdomen pelvis thigh knee calf foot", "WHOLEBODY"),
        ("calf", "LOWERLEG"),
        ("arm", "UPPERARM"),
    ],
)
def test_combinations(keys: str, term: str) -> None:
    """The sets that have a term get it, without a flag, whatever their order and extents."""
    named = series_term({key: 10.0 * (i + 1) for i, key in enumerate(keys.split())})
    assert named.term == term
    assert named.flags == ()


@pytest.mark.parametrize(
    ("extents", "term"),
    [
        ({"head": 150, "neck": 100, "chest": 300}, "NECKCHEST"),
        ({"head": 250, "neck": 120, "chest": 60}, "HEADNECK"),
        ({"head": 100, "neck": 100, "chest": 300, "abdomen": 200}, "NECKCHESTABDOMEN"),
        ({"head": 100, "neck": 100, "chest": 300, "abdomen": 200, "pelvis": 200}, "NECKCHESTABDPELV"),
        ({"neck": 90, "chest": 300, "abdomen": 200, "pelvis": 200, "thigh": 200}, "NECKCHESTABDPELV"),
        ({"abdomen": 200, "pelvis": 200, "thigh": 400, "knee": 100, "calf": 300}, "PELVISLOWEXTREMT"),
    ],
)
def test_sets_without_a_term_name_their_largest_part(extents: dict[str, float], term: str) -> None:
    """A contiguous set that no term covers takes the term of its largest named part, and says so."""
    named = series_term(extents)
    assert named.term == term
    assert "largest part" in named.flags[0]


@pytest.mark.parametrize("keys", ["head pelvis", "thigh foot", "cspine lspine", "shoulder hand"])
def test_sets_with_a_hole_have_no_term(keys: str) -> None:
    """Regions that do not follow each other leave the tag as it came and are flagged."""
    named = series_term(dict.fromkeys(keys.split(), 50.0))
    assert named == SeriesTerm(None, None, False, named.flags)
    assert "not contiguous" in named.flags[0]


@pytest.mark.parametrize(
    ("extents", "term", "left_out"),
    [
        ({"cspine": 80, "neck": 60}, "CSPINE", "neck"),
        ({"cspine": 40, "neck": 60, "head": 60}, "HEADNECK", "cspine"),
        ({"chest": 90, "shoulder": 120}, "SHOULDER", "chest"),
        ({"chest": 300, "shoulder": 60}, "CHEST", "shoulder"),
        ({"abdomen": 200, "pelvis": 200, "hand": 100}, "ABDOMENPELVIS", "hand"),
        ({"breast": 150, "chest": 60}, "BREAST", "chest"),
        ({"neck": 50, "cspine": 50}, "NECK", "cspine"),
    ],
)
def test_of_two_chains_the_greater_extent_is_named(
    extents: dict[str, float], term: str, left_out: str
) -> None:
    """Spine, arm and breast beside the trunk: the majority in mm wins and the rest is flagged."""
    named = series_term(extents)
    assert named.term == term
    assert named.flags == (f"left out of the term: {left_out}",)


def test_terms_are_found_by_their_name() -> None:
    """Every term that a series can get, and no other text, can be named by a site."""
    for named in every_term():
        if named.term is not None and not named.flags:
            assert named_term(named.term) == named
    assert named_term("Knee") is None
    assert named_term("BRAIN") is None


def test_unknown_never_contributes() -> None:
    """`unknown`, however large, changes nothing; alone it names nothing."""
    assert series_term({"knee": 1.0, "unknown": 900.0}).term == "KNEE"
    assert series_term({"unknown": 900.0}) == SeriesTerm(None, None, paired=False)


@given(st.dictionaries(st.sampled_from([*BY_KEY, "unknown"]), st.floats(0.1, 2000)))
def test_any_set_gets_a_legal_value(extents: dict[str, float]) -> None:
    """A term is a legal CS value with a code; no term comes with a flag unless nothing is known."""
    named = series_term(extents)
    assert (named.term is None) == (named.code is None)
    if named.term is not None:
        assert re.fullmatch(r"[A-Z0-9 _]{1,16}", named.term)
    elif set(extents) - {"unknown"}:
        assert named.flags
    assert named == series_term(dict(reversed(extents.items())))


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("CAP", "CHESTABDPELVIS"), ("ABD PELV", "ABDOMENPELVIS"), ("CHEST_TO_PELVIS", "CHESTABDPELVIS"),
        ("LUMBO-SACRAL SPI", "LSSPINE"), ("NECKCHESTABDPEL", "NECKCHESTABDPELV"), ("TX", "CHEST"),
        ("THORAX", "CHEST"), ("Thorax", "CHEST"), ("SCHAEDEL", "SKULL"), ("Schädel", "SKULL"),
        ("KOPF", "HEAD"), ("BECKEN", "PELVIS"), ("KNIE", "KNEE"), ("GENOU", "KNEE"), ("RODILLA", "KNEE"),
        ("JOELHO", "KNEE"), ("GINOCCHIO", "KNEE"), ("HWS", "CSPINE"), ("BWS", "TSPINE"), ("LWS", "LSPINE"),
        ("C_SPINE", "CSPINE"), ("c-spine", "CSPINE"), ("L SPINE", "LSPINE"), ("CTLSPINE", "SPINE"),
        ("RACHIS LOMBAIRE", "LSPINE"), ("COLUNA LOMBAR", "LSPINE"), ("TETE", "HEAD"), ("Tête", "HEAD"),
        ("CABEZA", "HEAD"), ("CABEÇA", "HEAD"), ("HALS", "NECK"), ("COU", "NECK"),
        ("HEAD_NECK", "HEADNECK"), ("HEAD AND NECK", "HEADNECK"), ("BRAIN", "BRAIN"), ("GEHIRN", "BRAIN"),
        ("NNH", "SINUS"), ("ORBITA", "ORBIT"), ("ABDOMEN", "ABDOMEN"), ("ABDO", "ABDOMEN"),
        ("BAUCH", "ABDOMEN"), ("ADDOME", "ABDOMEN"), ("ABDOMEN_PELVIS", "ABDOMENPELVIS"),
        ("ABD/PEL", "ABDOMENPELVIS"), ("TAP", "CHESTABDPELVIS"), ("CHEST/ABD/PELVIS", "CHESTABDPELVIS"),
        ("THORAX ABDOMEN B", "CHESTABDPELVIS"), ("WHOLE BODY", "WHOLEBODY"), ("WB", "WHOLEBODY"),
        ("GANZKÖRPER", "WHOLEBODY"), ("UP_EXM", "UPPERLIMB"), ("LOW_EXM", "LOWERLIMB"),
        ("LEG", "LOWERLIMB"), ("BEIN", "LOWERLIMB"), ("CALF", "LOWERLEG"), ("UNTERSCHENKEL", "LOWERLEG"),
        ("OBERSCHENKEL", "THIGH"), ("FUß", "FOOT"), ("FUSS", "FOOT"), ("PIED", "FOOT"), ("ANKLE", "ANKLE"),
        ("OSG", "ANKLE"), ("HÜFTE", "HIP"), ("LEFT HIP", "HIP"), ("KNEE LT", "KNEE"), ("R KNEE", "KNEE"),
        ("HANDGELENK", "WRIST"), ("MUÑECA", "WRIST"), ("MANO", "HAND"), ("SCHULTER", "SHOULDER"),
        ("EPAULE", "SHOULDER"), ("OBERARM", "UPPERARM"), ("ELLENBOGEN", "ELBOW"), ("COUDE", "ELBOW"),
        ("UNTERARM", "FOREARM"), ("MAMMA", "BREAST"), ("BREASTS", "BREAST"), ("PROSTATA", "PROSTATE"),
        ("LEBER", "LIVER"), ("HERZ", "HEART"), ("CARDIAC", "HEART"), ("EXTREMITY", "EXTREMITY"),
        ("43799004", "CHEST"), ("51185008", "CHEST"), ("113345001", "ABDOMEN"), ("12921003", "PELVIS"),
        ("416949008", "ABDOMENPELVIS"), ("69536005", "HEAD"), ("T-D1100", "HEAD"), ("T-D3000", "CHEST"),
        ("T-D4000", "ABDOMEN"), ("T-D6000", "PELVIS"), ("T-11501", "CSPINE"), ("LUMBAR SPINE", "LSPINE"),
        ("CERVICAL SPINE", "CSPINE"), ("KNEE\0", "KNEE"), (" CHEST ", "CHEST"),
        ("CHEST W CONTRAST", "CHEST"), ("CT THORAX W CNT", "CHEST"), ("CTA CHEST", "CHEST"),
        ("J BRZUSZNA", "ABDOMEN"), ("KL_PIERSIOWA", "CHEST"), ("C_A_P", "CHESTABDPELVIS"),
        ("CHSTABDPELV", "CHESTABDPELVIS"), ("CHEST_ABDO_PELVI", "CHESTABDPELVIS"), ("ABDPL", "ABDOMENPELVIS"),
        ("BRAIN W/WO", "BRAIN"), ("PORT CHEST", "CHEST"), ("AP PORTABLE CHE", "CHEST"),
        ("FOOT_ANKLE", "FOOT"), ("LUMBO-SACRAL SP", "LSSPINE"), ("KNÄ", "KNEE"), ("BÄCKEN", "PELVIS"),
        ("MÓZG", "BRAIN"), ("ŁOKIEĆ", "ELBOW"), ("HOOFD", "HEAD"), ("DİZ", "KNEE"),
    ],
)  # fmt: skip
def test_spellings_of_practice(text: str, term: str) -> None:
    """What modalities, technologists and old standards write is read as the defined term it means."""
    assert read_term(text).term == term


@pytest.mark.parametrize(
    "text", [None, "", "   ", "PARTIALBODY", "UNKNOWN", "???", "DEFAULT", "LEFT", "CHESTX"]
)
def test_what_says_nothing_is_not_guessed(text: str | None) -> None:
    """Empty, meaningless and unknown texts have no term and agree with nothing."""
    assert read_term(text).term is None
    assert not agrees(text, "CHEST")
    assert not agrees(text, None)


@pytest.mark.parametrize(
    ("text", "term", "right"),
    [
        ("THORAX", "CHEST", True), ("BRAIN", "HEAD", True), ("SKULL", "HEAD", True),
        ("ORBIT", "HEAD", True), ("EYE", "HEAD", True), ("LIVER", "ABDOMEN", True),
        ("KIDNEY", "ABDOMEN", True), ("PROSTATE", "PELVIS", True), ("HIP", "PELVIS", True),
        ("WRIST", "HAND", True), ("THUMB", "HAND", True), ("ANKLE", "FOOT", True),
        ("LSSPINE", "LSPINE", True), ("CAP", "CHESTABDPELVIS", True), ("CHEST", "CHESTABDPELVIS", False),
        ("CHEST", "ABDOMEN", False), ("EXTREMITY", "KNEE", False), ("HEAD", "BRAIN", False),
        ("KNEE", "LOWERLIMB", False), ("CHEST", None, False),
    ],
)  # fmt: skip
def test_agreement(text: str, term: str | None, right: bool) -> None:
    """Equal and finer terms agree, coarser, partial and other ones do not."""
    assert agrees(text, term) is right


@pytest.mark.parametrize(
    ("text", "term", "is_vague"),
    [
        ("EXTREMITY", "KNEE", True), ("EXTREMITAET", "UPPERLIMB", True), ("LEG", "FOOT", True),
        ("UP_EXM", "HAND", True), ("WHOLEBODY", "KNEE", True), ("SPINE", "LSPINE", True),
        ("PARTIALBODY", "CHEST", True), ("UNKNOWN", "HEAD", True), ("LEFT", "KNEE", True),
        ("???", "KNEE", True), ("EXTREMITY", "CHEST", False), ("WHOLEBODY", "CHESTABDPELVIS", False),
        ("LEG", "HAND", False),
        ("KNEE", "KNEE", False), ("CHEST", "KNEE", False), ("CHESTX", "KNEE", False), ("", "KNEE", False),
        (None, "KNEE", False), ("EXTREMITY", None, False), ("頭部", "KNEE", False),
    ],
)  # fmt: skip
def test_vague_is_not_wrong(text: str | None, term: str | None, is_vague: bool) -> None:
    """What names nothing or blurs the verdict loses nothing when it is replaced; what is wrong does."""
    assert vague(text, term) is is_vague
    assert not (is_vague and agrees(text, term))


def test_terms_of_the_tables_are_defined_terms() -> None:
    """Synonyms and finer terms point to Table L-1, but for SINUS (not in it) and SPINE's parts that are."""
    known = set(table_l1()) | {"SINUS"}
    assert set(SYNONYMS) <= known
    assert set(FINER) | set(FINER.values()) <= known
    assert sum(map(len, SYNONYMS.values())) > 300


def test_no_spelling_means_two_terms() -> None:
    """Each spelling is read as the term under which the table lists it."""
    for term, texts in SYNONYMS.items():
        for text in (term, *texts):
            assert read_term(text).term == term, text


def test_srt_codes_mean_what_pydicom_says() -> None:
    """Each SRT code maps in pydicom's dictionary to Table L-1's code of its term, or to a retired one."""
    retired = {"CHEST": "51185008", "ABDOMEN": "113345001", "PELVIS": "12921003"}
    table = table_l1()
    codes = [
        (term, text) for term, texts in SYNONYMS.items() for text in texts if re.match(r"T-\w{5}$", text)
    ]
    assert len(codes) > 20
    for term, srt in codes:
        assert mapping["SRT"][srt] in (table[term][1], retired.get(term)), srt


def test_every_region_reads_itself() -> None:
    """The term and the code of every region are read as that term."""
    for region in REGIONS:
        named = exact_term((region.key,))
        assert named is not None
        assert read_term(region.term).term == region.term == read_term(region.code.value).term
        assert agrees(region.term, named.term)


@given(st.text(max_size=20))
def test_any_text_can_be_read(text: str) -> None:
    """No text raises, and what is understood agrees with itself."""
    found = read_term(text)
    assert found.term is None or agrees(text, found.term)
