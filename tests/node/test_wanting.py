"""Tests of the conditions of a destination: which series go there, now, later and when sent again."""

from typing import Any

import pytest

from db.queries import Filters, series_rows
from db.session import Database
from node import site
from node.delivery.resend import resend
from node.settings.config import Config
from node.storage.spool import Spool
from rules.site import Facts, Found
from tests.node.deciding import Sure, decided

CT = Facts("CT", "CT1", "CHEST", "", "thin")


def config(when: dict[str, Any], *rules: dict[str, Any]) -> Config:
    """Make a configuration with a destination that takes all, and one with conditions."""
    place = {"ae_title": "A", "host": "localhost", "port": 104}
    destinations = [{"name": "all"} | place, {"name": "some", "when": when} | place]
    return Config.model_validate(
        {"receive": {"promiscuous": True}, "destinations": destinations, "site_rules": rules}
    )


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ({"modality": ["CT"]}, ["all", "some"]),
        ({"modality": ["MR"]}, ["all"]),
        ({"verdict": ["HEAD"], "confidence_from": 0.9}, ["all", "some"]),
        ({"verdict": ["KNEE"]}, ["all"]),
        ({"not_verdict": ["HEAD"]}, ["all"]),
        ({"source": ["CT1"], "series_description": "^thin$"}, ["all", "some"]),
    ],
)
def test_series_go_where_they_are_wanted(when: dict[str, Any], names: list[str]) -> None:
    """A destination gets a series only if all its conditions hold, those on the verdict, too."""
    found = site.destinations(config(when), None, CT, Found("HEAD", 0.95))
    assert [each.name for each in found] == names


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ({"modality": ["CT"]}, ["all", "some"]),
        ({"modality": ["MR"]}, ["all"]),
        ({"not_verdict": ["HEAD"]}, ["all"]),
    ],
)
def test_late_instances_go_nowhere_unasked(when: dict[str, Any], names: list[str]) -> None:
    """Where a series went nowhere, its late instances go only where no verdict is asked for."""
    assert [each.name for each in site.unasked(config(when), CT)] == names


def test_a_route_and_conditions_must_both_allow(spool: Spool, database: Database) -> None:
    """The worker sends a series where its rule and the destination agree; so does resending, unless named."""
    settings = config(
        {"verdict": ["KNEE"]}, {"name": "to some", "when": {"modality": ["CT"]}, "route": ["some"]}
    )
    row = decided(spool, database, settings, Sure())
    assert (row.deliveries, row.state) == ((), "delivered")
    assert resend(settings, database, Filters(), (), only_failed=False) == 0
    assert resend(settings, database, Filters(), ("some",), only_failed=False) == 3
    with database.reading() as session:
        assert [each.destination for each in series_rows(session, Filters())[0].deliveries] == ["some"]
