"""Evaluation from weights to figures: parts, predictions that are kept, calibration, experiments."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.classify import Classifier
from model.regions import CT_CLASSES
from model.training import card, experiments, predictions, provenance, session, split
from model.training.cases import EvaluationError, Part, left_out, part, synthetic
from model.training.evaluate import Judged, calibrate, judge, outcome, score
from model.training.report import from_json, to_json
from model.training.sampler import Choice, choice_of
from model.training.stages import NETWORK, SeriesOutput
from model.weights_file import read_card
from tests.model.evaluation import data_folder, weights

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four volumes."""
    return data_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, one of which left a source out."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, (name, config) in enumerate({
        "light": {"steps": 5, "network": "small_residual", "out": "a"},
        "longer": {"steps": 9, "network": "small_residual", "out": "b"},
        "without-one": {"steps": 5, "network": "small_residual", "without": ["one"]},
    }.items()):  # fmt: skip
        weights(folder / name / "ct.npz", seed, {"config": config})
    return folder


def quiet(name: str, count: int) -> Callable[[], None]:
    """Show no progress, but see that there is something to show."""
    assert name
    assert count
    return lambda: None


def test_cases_keep_slices_without_a_label(data: Path) -> None:
    """A volume is one case with all of its slices; slice 3 has no truth; heights and factors are there."""
    found = part(data, "CT", "evaluation", split.read(), Choice())
    (case,) = found.cases
    assert case.truth[3] is None
    assert case.scored == (0, 1, 2, 4, 5, 6, 7, 8)
    assert case.positions_mm is not None
    assert case.positions_mm.tolist() == [5.0 * index for index in range(9)]
    assert case.factors == {
        "source": "three", "contrast": "no", "slice spacing": "5 mm and more", "label confidence": "high",
        "Hounsfield units": "yes",
    }  # fmt: skip
    assert found.count == len(list(found.images())) == 9
    assert case.image(0).spacing_mm == (1.0, 1.0)


def test_parts_hold_the_subjects_of_their_side(data: Path) -> None:
    """Validation has both of its subjects, and none that trained."""
    found = part(data, "CT", "validation", split.read(), Choice())
    assert {case.subject for case in found.cases} == set(sorted(split.read().validation)[:2])
    with pytest.raises(ValueError, match="no part 'training'"):
        part(data, "CT", "training", split.read(), Choice())


def test_left_out_source_holds_no_subject_that_trained(data: Path) -> None:
    """A source left out is scored whole, a source trained on only beyond the training subjects of others."""
    divided = split.read()
    without = left_out(data, "CT", "two", divided, Choice(without=("two",)))
    assert {case.subject for case in without.cases} == {
        sorted(divided.validation)[1], sorted(divided.train)[0],
    }  # fmt: skip
    assert without.note == "This source was left out of training."
    trained = left_out(data, "CT", "two", divided, Choice())
    assert "no test" in trained.note


def test_part_is_known_by_its_pixels(data: Path) -> None:
    """The digest of a part changes with a pixel, and not with the labels."""
    found = part(data, "CT", "evaluation", split.read(), Choice())
    (case,) = found.cases
    other = Part(found.name, "other title", found.cases)
    assert found.digest == other.digest
    changed = case.pixels[0].copy()
    changed[0, 0] += 1
    moved = type(case)(case.name, case.subject, case.source, case.truth, (changed, *case.pixels[1:]),
                       case.spacing_mm, case.positions_mm)  # fmt: skip
    assert Part(found.name, found.title, (moved,)).digest != found.digest


def test_predictions_are_kept(
    data: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is predicted again, and the outputs are those of the classifier."""
    one = part(data, "CT", "validation", split.read(), Choice())
    path, ticks = runs / "light" / "ct.npz", []
    first = predictions.Network(path, tmp_path)
    first.logits(one, lambda: ticks.append(1))
    assert len(ticks) == one.count
    classifier = Classifier.load({"CT": path})
    asked = classifier.predict("CT", one.images())
    monkeypatch.setattr(Classifier, "load", lambda *_: pytest.fail("predicted again"))
    again = predictions.Network(path, tmp_path)
    outputs = again.outputs(one)
    assert [len(each.probabilities) for each in outputs] == [9, 9]
    probabilities = np.concatenate([each.probabilities for each in outputs])
    assert probabilities == pytest.approx(asked.probabilities, abs=1e-4)
    energies = np.concatenate([each.energy for each in outputs if each.energy is not None])
    assert asked.energy is not None
    assert energies == pytest.approx(asked.energy, abs=1e-3)


def test_calibration_softens_a_network_that_knows_nothing(data: Path, runs: Path) -> None:
    """The temperature and the largest energy are fitted on the labelled slices, and used from then on."""
    network = predictions.Network(runs / "light" / "ct.npz", None)
    one = part(data, "CT", "validation", split.read(), Choice())
    calibrate(network, one, lambda energies, subjects: float(energies.max()) + 0 * len(set(subjects)))
    assert network.temperature >= 1.0
    output = network.outputs(one)[0]
    assert output.maximum_energy is not None
    assert output.steadied[list(one.cases[0].scored)].max() <= output.maximum_energy + 1e-3


def test_parts_follow_from_the_training() -> None:
    """Weights are judged on what they were not trained on: sources and anatomies left out."""
    assert session.parts_of(Choice()) == ("evaluation", "validation")
    choice = choice_of(
        {"config": {"without": ["heads"], "bodies": ["AM", "BP3D"]}, "before": {"without": []}}
    )
    assert session.parts_of(choice) == ("evaluation", "validation", "source:heads", "anatomy:AF")
    assert session.parts_of(choice_of({"images": "real"}))[2:] == ("anatomy:AF",)
    assert choice_of(None) == Choice()


def test_origins_follow_the_choice(data: Path) -> None:
    """What was left out in training is no origin of the weights; the licences of the bodies follow them."""
    divided = split.read()
    everything = provenance.all_origins(data, "CT", divided)
    assert everything[0].source == "two"
    assert len(everything) == 3
    without = provenance.all_origins(data, "CT", divided, Choice(without=("two",), bodies=("AM",)))
    assert [one.use for one in without] == ["synthetic slices"]
    assert without[0].source.startswith("ICRP")
    assert provenance.all_origins(data, "CT", divided, Choice("real", without=("two",))) == ()


def test_whole_evaluation(data: Path, runs: Path, tmp_path: Path) -> None:
    """From weights to report, model card and the weights' own card, with a comparison."""
    path = weights(tmp_path / "mine" / "ct.npz", 7)
    request = session.Request(path, data, before=runs / "light" / "ct.npz", cache=tmp_path)
    found = session.evaluate(request, (NETWORK,), quiet, lambda energies, _: float(energies.max()))
    made = session.report(found, "0", 0.5)
    assert [one.name for one in made.parts] == ["evaluation", "validation"]
    assert made.parts[1].stages[0].figures.slices == 16
    assert set(made.comparison) == {"evaluation", "validation"}
    assert to_json(from_json(to_json(made))) == to_json(made)
    shown = session.shown(found, made, data)
    assert len(shown.mistakes["validation"]) == len(made.parts[1].stages[0].mistakes)
    model_card = tmp_path / "card.md"
    names = ("figures", "data", "comparison")
    model_card.write_text(
        "".join(f"<!-- CT {n}: begin --><!-- CT {n}: end -->" for n in names), encoding="utf-8"
    )
    session.update_card(found, made, data, model_card)
    assert card.tables(made) in model_card.read_text(encoding="utf-8")
    assert read_card(path)["figures"]["validation"]["network"]["slices"] == 16
    assert read_card(path)["temperature"] == found.network.temperature
    assert read_card(path)["maximum_energy"] == pytest.approx(found.network.maximum_energy)


def test_an_anatomy_left_out_has_a_place_of_its_own(data: Path, runs: Path, tmp_path: Path) -> None:
    """Synthetic slices of a body never enter the figures of real ones, nor the weights' card."""
    path = runs / "light" / "ct.npz"
    before = path.read_bytes()
    found = session.evaluate(session.Request(path, data, names=("validation",)), (NETWORK,), quiet)
    body = replace(found.parts["validation"], name="anatomy:AF", synthetic=True)
    judged = {"anatomy:AF": judge(found.network, body, (NETWORK,))}
    made = session.report(replace(found, parts={body.name: body}, judged=judged), "0", 0.5)
    model_card = tmp_path / "card.md"
    places = "<!-- CT anatomy left out: begin --><!-- CT anatomy left out: end -->"
    model_card.write_text(f"<!-- CT figures: begin --><!-- CT figures: end -->{places}", encoding="utf-8")
    session.update_card(found, made, data, model_card)
    figures, _, left_out = model_card.read_text(encoding="utf-8").partition("<!-- CT anatomy left out: begin")
    assert figures == "<!-- CT figures: begin --><!-- CT figures: end -->"
    assert card.tables(made) in left_out
    assert path.read_bytes() == before


def test_sources_left_out_have_a_place_of_their_own(data: Path, runs: Path, tmp_path: Path) -> None:
    """Weights that never saw a source are scored on it for the card, and touch no other figures."""
    path = runs / "without-one" / "ct.npz"
    before = read_card(path)
    found = session.evaluate(session.Request(path, data), (NETWORK,), quiet)
    made = session.report(found, "0", 0.5)
    model_card = tmp_path / "card.md"
    places = "<!-- CT sources left out: begin --><!-- CT sources left out: end -->"
    model_card.write_text(f"<!-- CT figures: begin --><!-- CT figures: end -->{places}", encoding="utf-8")
    session.update_card(found, made, data, model_card)
    text = model_card.read_text(encoding="utf-8")
    figures = made.parts[-1].stages[0].figures
    share = card.percent(figures.weighted["sensitivity"])
    assert made.parts[-1].name == "source:one"
    assert text.startswith("<!-- CT figures: begin --><!-- CT figures: end -->")
    assert f"| one | all | 8 | 1 | {share} | {share} |" in text
    assert read_card(path) == before
    with pytest.raises(EvaluationError, match="no source that was left out of training was scored"):
        session.update_card(found, replace(made, parts=made.parts[:2]), data, model_card)
    assert model_card.read_text(encoding="utf-8") == text


def test_experiments_are_compared_on_the_same_slices(data: Path, runs: Path, tmp_path: Path) -> None:
    """One row a run, the reference first; what a run left out is scored for it and the reference."""
    known = experiments.find(runs, "CT")
    assert list(known) == ["light", "longer", "without-one"]
    found = experiments.run(known, data, "longer", quiet, tmp_path)
    assert [one.name for one in found] == ["longer", "light", "without-one"]
    assert found[0].differs == {}
    assert found[1].differs == {"steps": "5"}
    assert found[2].differs == {"steps": "5", "without": "one"}
    assert [trial.part for trial in found[2].trials] == ["validation", "evaluation", "source:one"]
    assert found[0].trials[0].change == ()
    assert found[1].trials[0].change[0].measure == "accuracy"
    text = experiments.markdown(found)
    assert "| longer | the reference |" in text
    assert "| without-one | source:one | 8 / 1 |" in text


def test_experiments_need_runs(tmp_path: Path, runs: Path, data: Path) -> None:
    """An empty folder and an unknown reference are sentences."""
    with pytest.raises(ValueError, match="no weights for CT"):
        experiments.find(tmp_path, "CT")
    with pytest.raises(ValueError, match="no run 'other'"):
        experiments.run(experiments.find(runs, "CT"), data, "other", quiet, None)


@pytest.mark.skipif(not (SHARED / "anatomy").is_dir(), reason="the anatomies of ../shared/data are not here")
def test_synthetic_part_has_every_region() -> None:
    """Each region is drawn as often, the same each time, and it is said that they are synthetic."""
    found = synthetic(SHARED, "CT", "AF", Choice(), each=2)
    drawn = [case.truth[0] for case in found.cases]
    assert {region: drawn.count(region) for region in CT_CLASSES} == dict.fromkeys(CT_CLASSES, 2)
    assert found.digest == synthetic(SHARED, "CT", "AF", Choice(), each=2).digest
    assert found.note.startswith("Synthetic slices")
    assert found.note.endswith("no test of them.")
    output = SeriesOutput(CT_CLASSES, np.eye(len(CT_CLASSES), dtype=np.float32)[:1], None)
    decided = (NETWORK.decide(output),) * len(found.cases)
    heads = Judged(NETWORK, decided, outcome("CT", found.cases, decided, NETWORK))
    scored = score(found, [heads])
    assert scored.stages[0].figures.subjects == 1
    assert scored.stages[0].figures.weighted["sensitivity"].value == pytest.approx(1 / len(CT_CLASSES))
    assert scored.sources == {"AF": (2 * len(CT_CLASSES), 1)}


def test_unknown_anatomy_is_a_sentence(data: Path) -> None:
    """An anatomy that does not exist is named."""
    with pytest.raises(ValueError, match="no anatomy 'XY'"):
        part(data, "CT", "anatomy:XY", split.read(), Choice())
