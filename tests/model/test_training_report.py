"""Reports: the page shows what was found, the JSON is read back, tables stand between their markers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from model.regions import CT_CLASSES
from model.training import card, page, pictures, report
from model.training.bootstrap import Figure
from model.training.cases import Case, Part
from model.training.compare import Difference
from model.training.evaluate import Judged, Scored, outcome, score, worst
from model.training.provenance import Origin, table
from model.training.stages import NETWORK, Decided, Stage

SECOND = Stage("paper", "after the paper's rules", NETWORK.decide, resolves=True)


def part() -> Part:
    """Return a part with two slices of every region in one volume each, and one single image."""
    rng = np.random.default_rng(1)
    volumes = [
        Case(f"v/{region}", f"subject {number % 7}", f"source {number % 2}", (region, region),
             tuple(rng.integers(0, 255, (2, 20, 24)).astype(np.uint8)), (1.0, 1.0), np.array([0.0, 20.0]),
             factors={"source": f"source {number % 2}"})
        for number, region in enumerate(CT_CLASSES)
    ]  # fmt: skip
    image = Case("i", "subject 9", "source 0", ("knee",), (np.zeros((9, 9), np.int16),), None, None,
                 factors={"source": "source 0"})  # fmt: skip
    return Part("evaluation", "Evaluation: sources never trained on", (*volumes, image), "A note.")


def judged(one: Part, stage: Stage) -> Judged:
    """Return a stage that takes every third case for a foot, rather confidently."""
    decided = []
    for number, each in enumerate(one.cases):
        regions = tuple("foot" if number % 3 == 0 else str(label) for label in each.truth)
        decided.append(Decided(regions, np.linspace(0.9, 0.7, len(regions)) - 0.01 * number))
    return Judged(stage, tuple(decided), outcome("CT", one.cases, decided, stage))


def scored() -> Scored:
    """Return the figures of two stages."""
    one = part()
    return score(one, [judged(one, NETWORK), judged(one, SECOND)])


def made() -> report.Report:
    """Return a report with everything in it."""
    definition = {"network": "n", "size": 32, "preprocessing": "body"}
    weights = report.About("ct/ct.npz", "0" * 64, "CT", definition, 1.5, {"config": {"steps": 5}})
    incoming = report.Incoming(
        "s", ("KNEE",), "EXTREMITY", False, "CT KNEE", "KNEE", True, "KNEE", True, 3, 3, 2, {"localizer": 1}
    )
    change = Difference("accuracy", 0.5, 0.75, Figure(0.25, 0.0, 0.5))
    return report.Report("0", weights, CT_CLASSES, 0.5, (scored(),), (incoming,), weights,
                         {"evaluation": {"paper": (change,)}})  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> report.Report:
    """A report with everything in it."""
    return made()


@pytest.fixture(scope="module")
def html(whole: report.Report) -> str:
    """The page of the report, with a picture of each mistake and each region."""
    strip = pictures.strip([np.eye(12, dtype=np.float32)] * 8)
    cases = part().cases
    shots = [pictures.mistake(cases[m.case], m.image) for m in whole.parts[0].stages[-1].mistakes]
    return page.render(whole, page.Pictures({"evaluation": shots}, dict.fromkeys(CT_CLASSES, strip)))


def test_page_shows_every_region_and_stage(html: str) -> None:
    """Each region has its row in the matrix and its strip; both stages are named."""
    for region in CT_CLASSES:
        assert f"<th>{region}</th>" in html
        assert f"<b>{region}</b>" in html
    assert "after the paper&#39;s rules" in html
    assert "network alone" in html


def test_page_stands_alone(html: str) -> None:
    """Nothing is fetched: no script, no link or picture from elsewhere, drawings in the page itself."""
    assert "<script" not in html
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources
    assert [one for one in sources if not one.startswith(("data:image/jpeg;base64,", "#"))] == []
    assert html.count("<svg") == 4
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_page_takes_names_from_data_as_text(whole: report.Report) -> None:
    """A source named like markup does not become markup."""
    text = report.to_json(whole).replace(b"source 0", b"<b>x</b>")
    shown = page.render(report.from_json(text), page.Pictures())
    assert "<b>x</b>" not in shown
    assert "&lt;b&gt;x&lt;/b&gt;" in shown


def test_json_is_read_back(whole: report.Report) -> None:
    """What was written is read back as it was, and holds no NaN."""
    text = report.to_json(whole)
    assert report.to_json(report.from_json(text)) == text
    assert "NaN" not in text.decode()
    plain = json.loads(text)
    assert [stage["name"] for stage in plain["parts"][0]["stages"]] == ["network", "paper"]


def test_worst_mistakes_are_confident_and_of_several_subjects() -> None:
    """The list descends in confidence, holds wrong slices alone, and no more than three of a subject."""
    one = part()
    found = worst(one.cases, judged(one, NETWORK).outcome)
    confidences = [each.confidence for each in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(each.predicted != each.truth for each in found)
    assert max(sum(each.subject == other.subject for other in found) for each in found) <= 3


def test_matrix_leaves_out_what_is_empty(whole: report.Report) -> None:
    """Columns and rows without an image are not shown; grave confusions are marked."""
    found = page.matrix(whole.parts[0].stages[0], CT_CLASSES)
    assert "unknown" not in found.columns
    assert page.kind("knee", "foot") == "far"
    assert page.kind("knee", "calf") == "near"
    assert page.kind("knee", "unknown") == "unknown"
    cells = {cell.kind for _, _, row in found.rows for cell in row if cell.images}
    assert cells == {"right", "far"}


def test_share_at_the_minimum_confidence(whole: report.Report) -> None:
    """All images reach a confidence of 0.2; of those above 0.8 fewer are there."""
    stage = whole.parts[0].stages[0]
    assert page.at_confidence(stage, 0.2)[0] == pytest.approx(1.0)
    assert page.at_confidence(stage, 0.8)[0] < 1.0


def test_tables_have_both_stages_and_every_region(whole: report.Report) -> None:
    """The Markdown has a row for each region and says what has no slice; the baseline stands under it."""
    text = card.tables(whole)
    for region in CT_CLASSES:
        assert f"| {region} |" in text
    assert "sensitivity % after the paper's rules" in text
    assert (
        "| s | KNEE | EXTREMITY (wrong) | KNEE (right) | KNEE (right) | 2 of 3 right; localizer 1 |" in text
    )
    assert "| **right** |  | **0 of 1** | **1 of 1** | **1 of 1** |" in text
    assert "| evaluation | paper | accuracy | 50.0 | 75.0 | +25.0 (+0.0 to +50.0) |" in card.comparison(
        whole.comparison
    )


def test_regions_without_slices_are_named(whole: report.Report) -> None:
    """A region that has no slice is named as such."""
    assert card.absent(whole.parts[0].stages[0].figures, (*CT_CLASSES, "breast")) == ["breast"]


def test_plain_figures_have_no_nan(whole: report.Report) -> None:
    """What goes into the card is JSON: numbers or null, never NaN."""
    assert "NaN" not in json.dumps(card.plain(whole))


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    """Inserting twice leaves one copy, and the text around it as it was."""
    path = tmp_path / "card.md"
    path.write_text("before\n<!-- CT data: begin -->\nold\n<!-- CT data: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        card.insert(path, "CT data", "new")
    text = path.read_text(encoding="utf-8")
    assert text.count("new") == 1
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_missing_markers_are_an_error(tmp_path: Path) -> None:
    """A model card without markers is not written to."""
    path = tmp_path / "card.md"
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the markers"):
        card.insert(path, "MR data", "new")


def test_origins_show_their_licence() -> None:
    """The table of sources has the licence of each."""
    assert "| here | CC0 | images | 2 | 7 |" in table([Origin("here", "CC0", "images", 2, 7)])


def test_flat_keeps_what_says_something() -> None:
    """Nested records become lines with dotted keys; what is empty is left out."""
    plain = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": []}
    assert page.flat(plain) == {"a.b": "1", "d": "1, 2"}
