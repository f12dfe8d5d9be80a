"""The table of states, and that the database holds to it whatever order the calls come in."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.deliveries import due, failed, postponed, resend, skip_destinations, succeeded
from db.moves import move
from db.results import record_outcome
from db.series import register
from db.session import migrate, open_database
from db.states import IllegalMoveError, State, legal
from db.tables import Attempt, Delivery, Instance, Series
from tests.db.values import MINUTE, NOW, ROUTES, instance, outcome, series_facts

STEPS = ("register", "outcome", "success", "failure", "postpone", "resend", "resend failed", "skip")


def test_the_life_of_a_series() -> None:
    """A series goes forward one state at a time, and back only to be delivered again."""
    moves = {f"{before} > {after}" for before in State for after in State if legal(before, after)}
    assert moves == {
        "received > stable",
        "stable > classified",
        "classified > delivered",
        "classified > failed",
        "delivered > classified",
        "failed > classified",
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [("stable", "delivered"), ("classified", "stable"), ("delivered", "failed"), ("stable", "stable")],
)
def test_illegal_moves_are_errors(before: str, after: str) -> None:
    """A move that the table does not hold is refused before the database is asked."""
    with Session() as session, pytest.raises(IllegalMoveError, match=f"from {before} to {after}"):
        move(session, 1, State(before), State(after), NOW)


def _step(session: Session, step: str, number: int) -> None:
    """Do one thing to the series that any runner might do, in whatever state it is."""
    series_id = session.scalar(select(func.max(Series.id))) or 0
    work = due(session, ROUTES[number % 2].destination, NOW + MINUTE, 1)
    if step == "register":
        register(session, series_facts(), [instance(number)], ROUTES, NOW)
    elif step == "outcome":
        record_outcome(session, series_id, outcome(2), ROUTES, NOW)
    elif step.startswith("resend"):
        resend(session, [series_id], None, step == "resend failed", ROUTES, NOW)
    elif step == "skip":
        skip_destinations(session, ["reader"], NOW)
    for one in work:
        if step == "success":
            succeeded(session, one.delivery_id, 0, NOW)
        elif step == "failure":
            failed(session, one.delivery_id, 0xA700, "full", NOW)
        elif step == "postpone":
            postponed(session, one.delivery_id, None, "refused", NOW + MINUTE, NOW)


def _check(session: Session) -> None:
    """Compare the state of the series with its deliveries, and every count with its rows."""
    row = session.execute(select(Series.id, Series.state, Series.files, Series.failure)).one_or_none()
    if row is None:
        return
    states = session.scalars(select(Delivery.state)).all()
    expected = "classified" if "pending" in states else "failed" if "failed" in states else "delivered"
    assert row.state == (expected if states else "stable")
    assert (row.failure is not None) == (row.state == "failed")
    files = session.scalar(select(func.count(Instance.id))) or 0
    assert row.files == files
    assert len(states) == (0 if row.state == "stable" else files * len(ROUTES))
    tries = session.scalar(select(func.sum(Delivery.tries))) or 0
    assert tries == session.scalar(select(func.count(Attempt.id)))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated SQLite file, to be copied instead of migrating one for each example."""
    path = tmp_path_factory.mktemp("states") / "template.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 3)), max_size=25))
def test_any_order_of_calls_keeps_the_books(template: Path, steps: list[tuple[str, int]]) -> None:
    """After each call, in any order, the series stands where its deliveries say, and no row is doubled."""
    with TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{shutil.copy(template, folder)}")
        for step, number in [("register", 1), *steps]:
            with database.session() as session:
                _step(session, step, number)
                _check(session)
        database.close()
