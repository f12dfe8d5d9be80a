"""`bodytag evaluate`: from weights to files and tables, and one sentence where that cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from model.training.stages import SeriesOutput
from model.weights_file import file_digest
from node.cli.app import app
from node.cli.baseline import telling
from node.cli.judging import ruled, stages
from tests.builders import Recipe, write
from tests.model.evaluation import data_folder, weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, weights, and a model card."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "data").mkdir()
    data_folder(folder / "data")
    weights(folder / "runs" / "one" / "ct.npz", 1)
    weights(folder / "runs" / "two" / "ct.npz", 2, {"config": {"steps": 5}})
    names = ("figures", "data", "comparison", "experiments")
    text = "".join(f"<!-- CT {name}: begin -->\n<!-- CT {name}: end -->\n" for name in names)
    (folder / "card.md").write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command on the folder's data; return its exit status and all that it printed."""
    where = ("--data", str(folder / "data"), "--cache", str(folder / "cache"))
    found = CliRunner().invoke(app, ["evaluate", *arguments, *where])
    return found.exit_code, found.output


def test_report_card_and_tables(folder: Path) -> None:
    """Weights are judged on both parts, and page, JSON, model card and comparison are written."""
    one, two = (str(folder / "runs" / name / "ct.npz") for name in ("one", "two"))
    status, text = run(folder, "--weights", one, "--compare", two, "--out", str(folder / "out"),
                       "--card", str(folder / "card.md"))  # fmt: skip
    assert status == 0, text
    assert "#### CT. Evaluation: sources never trained on" in text
    assert "| evaluation | network | accuracy |" in text
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "Validation: other subjects of the training sources" in page
    plain = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in plain["parts"][0]["stages"]] == [one.name for one in stages()]
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "| abdomen_chest |" in card
    assert "| one | CC0 | images |" not in card  # a validation subject's source trains nothing
    assert "| two | CC0 | images | 1 | 8 |" in card


def test_the_ladder(folder: Path) -> None:
    """Every stage stands beside the one asked for, which must be there; the model card gets the tables."""
    one = str(folder / "runs" / "one" / "ct.npz")
    asked = ("--weights", one, "--part", "validation", "--against")
    card = folder / "ladder.md"
    card.write_text("<!-- CT ladder: begin -->\n<!-- CT ladder: end -->\n", encoding="utf-8")
    status, text = run(folder, *asked, "paper", "--card", str(card))
    assert status == 0, text
    assert text.count("… against the paper's rules") == len(stages()) - 1
    assert "| the paper's rules |" in card.read_text(encoding="utf-8")
    status, text = run(folder, *asked, "nothing")
    assert status == 2
    assert "there is no stage 'nothing' to compare with" in text


def test_experiments(folder: Path) -> None:
    """A folder of runs becomes a table, on the screen and in the model card."""
    status, text = run(folder, "--experiments", str(folder / "runs"), "--reference", "two",
                       "--card", str(folder / "card.md"), "--out", str(folder / "trials"))  # fmt: skip
    assert status == 0, text
    assert "| two | the reference |" in text
    assert "| one | steps: - |" in (folder / "card.md").read_text(encoding="utf-8")
    assert (
        json.loads((folder / "trials" / "experiments.json").read_text(encoding="utf-8"))[0]["name"] == "two"
    )


def test_json_is_the_report(folder: Path) -> None:
    """With `--json` nothing but the report stands on standard output."""
    where = ("--data", str(folder / "data"), "--cache", str(folder / "cache"))
    one = str(folder / "runs" / "one" / "ct.npz")
    found = CliRunner().invoke(app, ["evaluate", "--weights", one, "--part", "validation", "--json", *where])
    assert [part["name"] for part in json.loads(found.stdout)["parts"]] == ["validation"]


def test_a_runs_file_stands_for_its_weights(folder: Path) -> None:
    """`--config` scores what the run made."""
    config = folder / "one.yaml"
    config.write_text("modality: CT\nsteps: 1\nout: runs/one\n", encoding="utf-8")
    status, text = run(
        folder, "--config", str(config), "--part", "validation", "--out", str(folder / "named")
    )
    assert status == 0, text
    made = json.loads((folder / "named" / "report.json").read_text(encoding="utf-8"))
    assert made["weights"]["digest"] == file_digest(folder / "runs" / "one" / "ct.npz")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--part", "moon"), "there is no part 'moon'"),
        (("--weights", "nowhere.npz"), "nowhere"),
        (("--experiments", "data"), "there are no weights for CT"),
        (("--modality", "MR"), "no manifest"),
        (("--folder", "data"), "--folder and --labels belong together"),
        (("--folder", "data", "--labels", "x.csv", "--card", "c.md"), "--card: the model card holds figures"),
        (("--folder", "data", "--labels", "x.csv"), "x.csv"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(folder: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """A part, weights, runs or data that are not there: status 2 and one sentence."""
    given = [str(folder / "data") if one == "data" else one for one in arguments]
    status, text = run(folder, *given)
    assert status == 2
    assert sentence in text
    assert "Traceback" not in text


def test_ones_own_folder(folder: Path, tmp_path: Path) -> None:
    """Labelled DICOM files are scored without the data folder, with what their attributes tell."""
    recipe = Recipe(n=6, step_mm=10.0, overrides={"Manufacturer": "GE MEDICAL SYSTEMS"})
    other = Recipe(n=6, step_mm=10.0, seed="other", overrides={"Manufacturer": "SIEMENS"})
    for each in (recipe, other):
        write(tmp_path / "mine" / each.seed, each)
    labels = tmp_path / "labels.csv"
    lines = [f"{each.series_uid},chest,-100,-50,{each.seed}" for each in (recipe, other)]
    labels.write_text("\n".join(["series_uid,region,from_mm,to_mm,subject", *lines]) + "\n", encoding="utf-8")
    mine = ("--folder", str(tmp_path / "mine"), "--labels", str(labels))
    one = ("--weights", str(folder / "runs" / "one" / "ct.npz"))
    found = CliRunner().invoke(
        app, ["evaluate", *one, *mine, "--data", "nowhere", "--out", str(tmp_path), "--cache", str(tmp_path)]
    )
    assert found.exit_code == 0, found.output
    assert "12 slices of 2 subjects (mine 12 slices / 2)" in found.output
    [part] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["parts"]
    assert part["name"] == "folder:mine"
    swaying = {each["factor"]: each["strata"] for each in part["stages"][0]["confounders"]}
    assert [stratum["value"] for stratum in swaying["manufacturer"]] == ["ge", "siemens"]


def test_stages_are_the_nodes_own_rules() -> None:
    """The network alone comes first, what the node ships last; rules see the whole series."""
    named = stages()
    assert named[0].name == "network"
    assert "as shipped" in named[-1].title
    assert len({stage.name for stage in named}) == len(named)
    classes = ("chest", "abdomen", "foot")
    likely = np.array([[0.9, 0.1, 0.0]] * 3 + [[0.1, 0.0, 0.9]] + [[0.9, 0.1, 0.0]] * 3, np.float32)
    output = SeriesOutput(classes, likely, np.arange(7, dtype=np.float64) * 5.0)
    assert ruled(("paper",))(output).regions == ("chest",) * 7
    alone = SeriesOutput(classes, likely[3:4], None)
    assert ruled(("paper",))(alone).regions == ("foot",)
    unsure = SeriesOutput(classes, np.array([[0.45, 0.35, 0.2]], np.float32), None)
    assert [stage.decide(unsure).regions for stage in named[-2:]] == [("unknown",), ("chest",)]


def test_the_first_telling_text_counts() -> None:
    """Of the texts of a series the first that names a body part is taken, none where none does."""
    assert telling(("5/5mm Plain", "CT KNEE LEFT", "CHEST")) == "CT KNEE LEFT"
    assert telling(("t1_tse_tra",)) == ""
