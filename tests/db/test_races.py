"""Races: threads and processes that do the same at the same time, of which exactly one may win."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from subprocess import PIPE, Popen
from threading import Barrier

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.session import Database, open_database
from db.tables import Attempt, Delivery, Instance, Series
from tests.db.runner import step
from tests.db.values import ROUTES, add_classified, add_series, state_of

RUNNERS = 3
Race = Callable[[str, str], list[str]]


def _threads(url: str, what: str) -> list[str]:
    """Let threads of one process, with one pool of connections, do a step at once."""
    database = open_database(url)
    barrier = Barrier(RUNNERS, timeout=60)

    def run(name: str) -> str:
        barrier.wait()
        return step(database, what, name)

    with closing(database), ThreadPoolExecutor(RUNNERS) as pool:
        return list(pool.map(run, map(str, range(1, RUNNERS + 1))))


def _processes(url: str, what: str) -> list[str]:
    """Let processes do a step at once; closing their input ends those that a failure leaves waiting."""
    command = [sys.executable, "-m", "tests.db.runner", url, what]
    with ExitStack() as stack:
        runners = [
            stack.enter_context(
                Popen([*command, str(number)], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
            )
            for number in range(1, RUNNERS + 1)
        ]
        for runner in runners:
            assert runner.stdout is not None
            assert runner.stdout.readline() == "ready\n"
        for runner in runners:
            assert runner.stdin is not None
            runner.stdin.write("go\n")
            runner.stdin.flush()
        outputs = [runner.communicate(timeout=200) for runner in runners]
    assert [error for _, error in outputs] == [""] * RUNNERS
    return [output.strip() for output, _ in outputs]


@pytest.fixture(params=[_threads, _processes], ids=["threads", "processes"])
def race(request: pytest.FixtureRequest) -> Race:
    """Give the way to run a step several times at once."""
    chosen: Race = request.param
    return chosen


def _count(session: Session, column: object) -> int:
    return session.scalar(select(func.count(column))) or 0  # type: ignore[arg-type]


def test_one_registers_a_series(database: Database, database_url: str, race: Race) -> None:
    """Of runners that register the same files one adds them all, the others none."""
    assert sorted(race(database_url, "register"), key=int) == ["0", "0", "20"]
    with database.reading() as session:
        assert (_count(session, Series.id), _count(session, Instance.id)) == (1, 20)
        assert session.scalars(select(Series.files)).one() == 20


def test_one_series_gets_an_instance(database: Database, database_url: str, race: Race) -> None:
    """Of series that come with the same SOP Instance UIDs at once one gets each, the others a conflict."""
    assert sum(map(int, race(database_url, "steal"))) == 2
    with database.reading() as session:
        assert _count(session, Instance.id) == 2 * RUNNERS
        assert _count(session, Instance.conflict) == 2 * RUNNERS - 2


def test_one_outcome_is_stored(database: Database, database_url: str, race: Race) -> None:
    """Of runners that classified the same series one stores its outcome, whole."""
    with database.session() as session:
        series_id = add_series(session, count=20)
    results = race(database_url, "outcome")
    assert sorted(results) == ["False", "False", "True"]
    with database.reading() as session:
        assert session.scalars(select(Series.weights_digest)).one() == str(results.index("True") + 1)
        assert _count(session, Delivery.id) == 20 * len(ROUTES)
        assert state_of(session, series_id) == "classified"


def test_deliveries_are_settled_once(database: Database, database_url: str, race: Race) -> None:
    """Runners that deliver the same work settle each delivery once, and every series is moved on."""
    with database.session() as session:
        series = [add_classified(session, number, 1) for number in range(1, 41)]
    assert sum(map(int, race(database_url, "deliver"))) == 80
    with database.reading() as session:
        assert _count(session, Attempt.id) == 80
        assert [state_of(session, series_id) for series_id in series] == ["delivered"] * 40


def test_resending_at_once_doubles_nothing(database: Database, database_url: str, race: Race) -> None:
    """Two admins who press the button together arm the same deliveries."""
    with database.session() as session:
        for number in (1, 2, 3):
            add_classified(session, number, 4)
    assert race(database_url, "resend") == ["24"] * RUNNERS
    with database.reading() as session:
        assert _count(session, Delivery.id) == 24
