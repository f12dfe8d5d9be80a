"""Tests of site rules at work: what the worker, the dispatcher and `check-config --try` make of them."""

from pathlib import Path
from typing import Any

from db.queries import Filters, SeriesRow, series_rows
from db.records import Outcome, Route
from db.results import record_outcome
from db.series import register
from db.session import Database
from node import facts, site
from node.cli.attempt import Trial, try_file
from node.clock import utc_now
from node.delivery.resend import resend
from node.explained import explanation
from node.relabelling.coercion import KEEP, WRITE
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool
from tests.builders import Recipe, write
from tests.node.deciding import Sure, decided, registered, stored

DESTINATIONS = [
    {"name": name, "ae_title": name.upper(), "host": "localhost", "port": 104}
    for name in ("archive", "research")
]


def config(*rules: dict[str, Any]) -> Config:
    """Make a configuration with two destinations and these site rules."""
    return Config.model_validate(
        {"receive": {"promiscuous": True}, "destinations": DESTINATIONS, "site_rules": rules}
    )


def policies(row: SeriesRow) -> dict[str, str]:
    """Return what happens at each destination."""
    return {each.destination: each.policy for each in row.deliveries}


def test_without_rules_nothing_changes(spool: Spool, database: Database) -> None:
    """The verdict is written everywhere."""
    networks = Sure()
    row = decided(spool, database, config(), networks)
    assert (row.term, networks.asked, policies(row)) == ("HEAD", 3, {"archive": WRITE, "research": WRITE})


def test_descriptions_that_contradict_are_flagged(spool: Spool, database: Database) -> None:
    """What the text names and the images do not show is told to a reviewer."""
    row = decided(spool, database, config(), series_description="Knie axial")
    assert "the description 'Knie axial' names KNEE, the images show HEAD" in row.flags


def test_a_term_is_set(spool: Spool, database: Database) -> None:
    """The site's term replaces the verdict's, is explained, and no image's region contradicts it."""
    rule = {"name": "dental", "when": {"source": ["CT1"], "series_description": "dent"}, "set": "SKULL"}
    row = decided(spool, database, config(rule), series_description="Dental 0.5")
    assert (row.term, row.code_value, row.rule) == ("SKULL", "89546000", "site:dental")
    assert policies(row) == {"archive": WRITE, "research": WRITE}
    assert "decided by the site rule 'dental'" in explanation(row)
    assert row.spans[0].region == "head"


def test_tags_are_kept(spool: Spool, database: Database) -> None:
    """The verdict is recorded, and no copy is changed, whatever the destination's policy."""
    rule = {"name": "own", "when": {"verdict": ["HEAD"], "confidence_from": 0.5}, "keep": True}
    row = decided(spool, database, config(rule))
    assert (row.term, policies(row)) == ("HEAD", {"archive": KEEP, "research": KEEP})
    assert "the site rule 'own' keeps the tags as received" in row.flags


def test_a_series_is_skipped_and_routed(spool: Spool, database: Database) -> None:
    """No image is shown to a network, the reason is on record, and one destination gets the series."""
    rule = {"name": "no", "when": {"modality": ["CT"]}, "skip": True, "route": ["archive"]}
    networks = Sure()
    row = decided(spool, database, config(rule), networks)
    assert (row.term, networks.asked, policies(row)) == (None, 0, {"archive": KEEP})
    assert row.reason == "not classified: the site rule 'no' says so"
    assert row.passed_on == ((row.reason, 3),)


def test_late_instances_and_resending_respect_the_route(spool: Spool, database: Database) -> None:
    """What was kept from a destination does not get there later by itself, but does when named."""
    rule = {"name": "no", "when": {"modality": ["CT"]}, "route": ["archive"]}
    settings = config(rule)
    row = decided(spool, database, settings)
    late = facts.of_file(spool, _written(spool, row))
    with database.session() as session:
        routes = [Route(each["name"], KEEP) for each in DESTINATIONS]  # type: ignore[arg-type]
        known = facts.of_series(spool, SeriesKey(row.study_instance_uid, row.series_instance_uid), late.path)
        register(session, known, [late], routes, utc_now())
    assert resend(settings, database, Filters(), (), only_failed=False) == 4
    with database.reading() as session:
        assert set(policies(series_rows(session, Filters())[0])) == {"archive"}
    assert resend(settings, database, Filters(), ("research",), only_failed=False) == 4


def _written(spool: Spool, row: SeriesRow) -> str:
    """Write one more file of a series into the spool and return its path there."""
    folder = spool.instances / row.study_instance_uid / row.series_instance_uid
    made = write(spool.folder / "late", Recipe(n=4))[3]
    return made.rename(folder / made.name).relative_to(spool.instances).as_posix()


def test_a_series_that_crashes_keeps_its_route(spool: Spool, database: Database) -> None:
    """Without a verdict, rules on the headers still say where a series may go, those on verdicts do not."""
    series_id = registered(spool, database, stored(spool, Recipe(n=1)))
    settings = config(
        {"name": "sure", "when": {"confidence_from": 0.1}, "route": ["research"]},
        {"name": "here", "when": {"source": ["CT1"]}, "route": ["archive"]},
    )
    with database.session() as session:
        record_outcome(session, series_id, Outcome(None, (), "crashed", None, "0"), (), utc_now())
        known = site.facts_of(series_rows(session, Filters())[0])
    rule = site.unclassified(settings, known)
    assert [each.name for each in site.destinations(settings, rule, known, site.NOTHING)] == ["archive"]


def tried(tmp_path: Path, source: str | None, *rules: dict[str, Any]) -> Trial:
    """Try one file of a series on a configuration."""
    return try_file(config(*rules), write(tmp_path, Recipe(n=1, series_description="Dental"))[0], source)


def test_try_says_which_rule_applies_and_why_not(tmp_path: Path) -> None:
    """Each rule is listed with its reason; the first that applies decides."""
    rules: list[dict[str, Any]] = [
        {"name": "mr", "when": {"modality": ["MR"]}, "keep": True},
        {"name": "dental", "when": {"source": ["CT9"], "series_description": "dent"}, "set": "SKULL"},
        {"name": "all", "when": {"modality": ["CT"]}, "keep": True},
    ]
    trial = tried(tmp_path, "CT9", *rules)
    assert trial.found is None
    lines = "\n".join(trial.lines)
    assert "site rule 'mr' does not apply: modality is 'CT', not MR" in lines
    assert "site rule 'dental' applies: sets SKULL" in lines
    assert "site rule 'all' does not apply: 'dental' decides" in lines
    other = "\n".join(tried(tmp_path, None, *rules).lines)
    assert "site rule 'dental' does not apply: source is" in other
    assert "site rule 'all' applies: keeps the tags as received" in other


def test_try_looks_at_the_image_only_where_a_rule_asks(tmp_path: Path) -> None:
    """A rule on the verdict has the image classified; one that cannot apply anyway does not."""
    asking = {"name": "low", "when": {"confidence_below": 1.0}, "keep": True}
    elsewhere = {"name": "low", "when": {"modality": ["MR"], "confidence_below": 1.0}, "keep": True}
    trial = tried(tmp_path, None, asking)
    assert trial.found is not None
    assert "verdict of this image alone" in "\n".join(trial.lines)
    assert tried(tmp_path, None, elsewhere).found is None
    assert "no site rule applies" in "\n".join(tried(tmp_path, None, elsewhere).lines)


def test_try_says_that_a_skipping_rule_decides_first(tmp_path: Path) -> None:
    """A rule that skips wins over one that stands before it, as it does in the node."""
    trial = tried(
        tmp_path,
        None,
        {"name": "keep", "when": {"modality": ["CT"]}, "keep": True},
        {"name": "skip", "when": {"modality": ["CT"]}, "skip": True},
    )
    assert [(each.rule, each.applies) for each in trial.rules] == [("keep", False), ("skip", True)]
