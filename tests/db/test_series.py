"""Registering series: idempotence, conflicts, late instances, crashes."""

from datetime import timedelta, timezone

import pytest
from sqlalchemy import select

from db.deliveries import due, failed, succeeded
from db.records import Route
from db.results import record_outcome
from db.series import (
    Registered,
    facts,
    instance_counts,
    known_paths,
    next_stable,
    paths,
    record_crash,
    register,
)
from db.session import Database
from db.tables import Instance, Series
from tests.db.values import (
    MINUTE,
    NOW,
    ROUTES,
    add_classified,
    add_series,
    deliveries_of,
    instance,
    instances,
    no_verdict,
    series_facts,
    state_of,
)


def test_a_new_series_is_stable(database: Database) -> None:
    """A first registration stores all files and waits for the worker."""
    with database.session() as session:
        done = register(session, series_facts(), instances(3), ROUTES, NOW)
    with database.reading() as session:
        assert done == Registered(done.series_id, ("1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"), (), late=False)
        assert state_of(session, done.series_id) == "stable"
        assert next_stable(session) == done.series_id
        assert paths(session, done.series_id) == ("1.2.1.1.1.dcm", "1.2.1.1.2.dcm", "1.2.1.1.3.dcm")
        assert deliveries_of(session, done.series_id) == 0


def test_registering_again_adds_only_what_is_new(database: Database) -> None:
    """Known files are left alone and new ones of a series that waits are simply added."""
    with database.session() as session:
        first = add_series(session, count=2)
        assert register(session, series_facts(), instances(2), ROUTES, NOW) == Registered(
            first, (), (), late=False
        )
        again = register(session, series_facts(), instances(3), ROUTES, NOW + MINUTE)
        assert again == Registered(first, ("1.2.1.1.3",), (), late=False)
        assert instance_counts(session) == {("1.2.1", "1.2.1.1"): 3}
        assert deliveries_of(session, first) == 0


def test_same_content_under_another_path_is_no_conflict(database: Database) -> None:
    """A copy counts as a known file but is neither classified, delivered nor reported."""
    with database.session() as session:
        first = add_series(session, count=1)
        copy = instance(1, path="copy.dcm")
        assert register(session, series_facts(), [copy], ROUTES, NOW) == Registered(first, (), (), late=False)
        assert paths(session, first) == ("1.2.1.1.1.dcm",)
        assert known_paths(session, "1.2.1", "1.2.1.1") == {"1.2.1.1.1.dcm", "copy.dcm"}
        assert instance_counts(session) == {("1.2.1", "1.2.1.1"): 2}


def test_other_content_under_the_same_uid_is_a_conflict(database: Database) -> None:
    """The first content stays, the second is kept aside with the reason and gets no delivery."""
    with database.session() as session:
        other = instance(1, path="other.dcm", content="other")
        done = register(session, series_facts(), [instance(1), other], ROUTES, NOW)
        assert (done.added, done.conflicts) == (("1.2.1.1.1",), ("1.2.1.1.1",))
        assert paths(session, done.series_id) == ("1.2.1.1.1.dcm",)
        assert session.scalars(select(Instance.conflict).where(Instance.path == "other.dcm")).one() == (
            "other content under the SOP Instance UID of 1.2.1.1.1.dcm"
        )
        assert record_outcome(session, done.series_id, no_verdict(), ROUTES, NOW)
        assert deliveries_of(session, done.series_id) == len(ROUTES)
        assert register(session, series_facts(), [instance(1), other], ROUTES, NOW).conflicts == ()


def test_a_uid_of_another_series_is_a_conflict(database: Database) -> None:
    """An instance that another series has already is kept aside, even with the same content."""
    with database.session() as session:
        add_series(session, 1, count=2)
        stolen = instance(1, series=1, path="stolen.dcm")
        done = register(session, series_facts(2), [stolen, instance(1, series=2)], ROUTES, NOW)
        assert (done.added, done.conflicts) == (("1.2.2.1.1",), ("1.2.1.1.1",))
        assert session.scalars(select(Instance.conflict).where(Instance.path == "stolen.dcm")).one() == (
            "the series 1.2.1.1 has this SOP Instance UID already"
        )


@pytest.mark.parametrize("settled", ["classified", "delivered", "failed"])
def test_late_instances_are_delivered_with_the_stored_decision(database: Database, settled: str) -> None:
    """After the decision, new instances get deliveries at once and take the series back to `classified`."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        for route in ROUTES if settled != "classified" else ():
            for work in due(session, route.destination, NOW, 9):
                if settled == "delivered":
                    succeeded(session, work.delivery_id, 0, NOW)
                else:
                    failed(session, work.delivery_id, None, "refused", NOW)
        assert state_of(session, series_id) == settled
        done = register(session, series_facts(), instances(2), ROUTES, NOW + MINUTE)
        assert done == Registered(series_id, ("1.2.1.1.2",), (), late=True)
        assert state_of(session, series_id) == "classified"
        late = due(session, "archive", NOW + MINUTE, 9)[-1]
        assert (late.path, late.term, late.image_region) == ("1.2.1.1.2.dcm", "CHEST", None)
        assert (late.decided_at, late.armed_at) == (NOW, NOW + MINUTE)
        assert deliveries_of(session, series_id) == 2 * len(ROUTES)


def test_late_instances_are_treated_as_their_series_was(database: Database) -> None:
    """They go where the series went, with its policy; not alone to where a site rule or time kept it from."""
    with database.session() as session:
        add_classified(session, count=1)
        now_configured = (Route("archive", "never"), Route("new", "never"))
        register(session, series_facts(), instances(2), now_configured, NOW)
        assert [work.policy for work in due(session, "archive", NOW, 9)] == ["when_missing_or_wrong"] * 2
        assert due(session, "new", NOW, 9) == ()


def test_late_instances_go_everywhere_where_nothing_went_before(database: Database) -> None:
    """A series that was decided without a destination gives its late instances to those configured now."""
    with database.session() as session:
        series_id = add_series(session, count=1)
        assert record_outcome(session, series_id, no_verdict(), (), NOW)
        register(session, series_facts(), instances(2), (Route("new", "never"),), NOW)
        assert [work.policy for work in due(session, "new", NOW, 9)] == ["never"]


def test_facts_come_back_as_registered(database: Database) -> None:
    """What the headers said is there for the rules of a site."""
    with database.session() as session:
        assert facts(session, add_series(session, count=1)) == series_facts()


def test_late_instances_without_routes_change_no_state(database: Database) -> None:
    """With nowhere to deliver to, a delivered series stays delivered."""
    with database.session() as session:
        series_id = add_series(session, count=1)
        assert record_outcome(session, series_id, no_verdict(), (), NOW)
        assert register(session, series_facts(), instances(2), (), NOW).late
        assert state_of(session, series_id) == "delivered"


def test_next_stable_is_the_oldest_that_is_not_excluded(database: Database) -> None:
    """Series wait in the order of their registration."""
    with database.session() as session:
        first, second = add_series(session, 1, 1), add_series(session, 2, 1)
        assert next_stable(session) == first
        assert next_stable(session, exclude={first}) == second
        assert next_stable(session, exclude=(first, second)) is None


def test_crashes_are_counted_until_the_decision(database: Database) -> None:
    """Each crash of a worker counts, one that is reported after the decision does not."""
    with database.session() as session:
        series_id, other = add_series(session, 1, 1), add_series(session, 2, 1)
        assert record_crash(session, other, "signal 9", NOW) == 1
        assert record_crash(session, series_id, "signal 11", NOW) == 1
        assert record_crash(session, series_id, "signal 11", NOW) == 2
        record_outcome(session, series_id, no_verdict("worker crashed (signal 11) twice"), ROUTES, NOW)
        assert record_crash(session, series_id, "signal 11", NOW) == 2


def test_hostile_strings_are_stored(database: Database) -> None:
    """NUL, lone surrogates and endless values neither raise nor merge two series into one."""
    hostile = "a\x00b\udc80" + "ü" * 100_000
    changes = dict.fromkeys(series_facts().__dataclass_fields__, hostile)
    with database.session() as session:
        first = register(session, series_facts(1, **changes), instances(1), ROUTES, NOW)
        changes["series_instance_uid"] = hostile + "2"
        second = register(session, series_facts(1, **changes), instances(1, series=2), ROUTES, NOW)
        assert first.series_id != second.series_id
        assert known_paths(session, hostile, hostile) == {"1.2.1.1.1.dcm"}
        assert register(session, series_facts(1, **changes), instances(1, series=2), ROUTES, NOW).added == ()
        stored = session.scalars(select(Series.patient_id).where(Series.id == first.series_id)).one()
        assert stored == "ab?" + "ü" * 508 + "…"


def test_times_come_back_in_utc(database: Database) -> None:
    """A time of any zone is the same moment when read, with its zone; one without zone is refused."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    with database.session() as session:
        done = register(session, series_facts(), instances(1), ROUTES, elsewhere)
        stored = session.scalars(select(Series.received_at).where(Series.id == done.series_id)).one()
    assert stored == NOW
    assert stored.utcoffset() == timedelta(0)


def test_time_without_zone_is_refused(database: Database) -> None:
    """The database never guesses in which zone a clock runs."""
    with database.session() as session, pytest.raises(Exception, match="without a time zone"):
        register(session, series_facts(), instances(1), ROUTES, NOW.replace(tzinfo=None))
