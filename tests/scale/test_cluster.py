"""An installation behind a real balancer: one AE title, one series, one decision, one name of its journey."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from pydicom import dcmread
from sqlalchemy import select, text

from db.session import head, open_database
from db.tables import Series
from tests.chaos.ledger import Ledger
from tests.chaos.objects import next_number, series, series_uid, write
from tests.chaos.sender import insist
from tests.harness import wait_until
from tests.scale.balancer import balancer
from tests.scale.cluster import Cluster, cluster

pytestmark = [pytest.mark.alone, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    """Two receivers, a worker and a forwarder with Redis; what has the name STAT is urgent."""
    urgent = {"urgent": [{"series_description": "^STAT"}]}
    with cluster("redis", scaling=urgent, series={"stable_age_s": 3}) as found:
        found.start_all(receiver=2, worker=1, forwarder=1)
        yield found


def decided(made: Cluster) -> dict[str, Any]:
    """Return every decided series by its UID: when, and what."""
    database = open_database(made.database.url)
    try:
        with database.reading() as session:
            columns = (Series.series_instance_uid, Series.decided_at, Series.term, Series.registered)
            rows = session.execute(select(*columns).where(Series.decided_at.is_not(None)))
            return {row.series_instance_uid: row for row in rows}
    finally:
        database.close()


def arrived(made: Cluster, files: list[Path]) -> bool:
    """Tell whether the archive has all of these."""
    there = {each.uid for each in made.archive.copies()}
    return {path.name.split("+")[0] for path in files} <= there


def test_one_series_behind_a_balancer(made: Cluster) -> None:
    """A series in two associations over two receivers is decided once, whole, under one name to the end."""
    receivers = [(made.ports[name], made.status_ports[name]) for name in ("receiver-1", "receiver-2")]
    number = next_number()
    files = [write(made.folder / "in", number, number * 1000 + index) for index in range(6)]
    with balancer(made.folder, receivers) as port:
        insist(port, files[:3], Ledger())
        insist(port, files[3:], Ledger())
    wait_until(lambda: arrived(made, files), "all is delivered")
    assert decided(made)[series_uid(number)].registered == 6
    parts = made.lines(event="instances registered", series_instance_uid=series_uid(number))
    assert len({each["transfer"] for each in parts}) == 2
    [name] = {each["correlation_id"] for each in parts}
    wanted = {"instances registered", "series stable", "series done", "delivery tried"}
    wait_until(
        lambda: wanted <= {each["event"] for each in made.lines(correlation_id=name)}, "all is told of it"
    )


def test_both_receivers_get_their_share(made: Cluster) -> None:
    """The balancer gives the next association to another receiver."""
    found = [made.asked(name, "/metrics") for name in ("receiver-1", "receiver-2")]
    assert all('bodytag_received_instances_total{source="other",way="dicom"}' in each for each in found)


def test_late_images_get_the_stored_decision(made: Cluster) -> None:
    """What comes through another receiver after the decision is delivered with it, not decided anew."""
    number = next_number()
    files = [write(made.folder / "in", number, number * 1000 + index) for index in range(3)]
    insist(made.ports["receiver-1"], files[:2], Ledger())
    before = wait_until(lambda: decided(made).get(series_uid(number)), "the series is decided")
    insist(made.ports["receiver-2"], files[2:], Ledger())
    wait_until(lambda: arrived(made, files), "the late image is delivered")
    assert decided(made)[series_uid(number)][1:3] == before[1:3]
    assert len(made.lines(event="late instances registered")) == 1


def test_urgent_series_overtake(made: Cluster) -> None:
    """With a queue before the worker, a series that the configuration calls urgent is among the next two."""
    made.kill("worker-1")
    numbers = [next_number() for _ in range(7)]
    for number in numbers:
        named = "STAT head" if number == numbers[-1] else "head"
        file = write(made.folder / "in", number, number * 1000)
        insist(made.port(), [renamed(file, named)], Ledger())
    wait_until(lambda: len(made.lines(event="series stable")) >= 9, "all are stable")
    made.start("worker-1")
    uids = [series_uid(number) for number in numbers]
    wait_until(lambda: set(uids) <= set(decided(made)), "all are decided")
    order = sorted(uids, key=lambda uid: decided(made)[uid].decided_at)
    assert order.index(uids[-1]) < 2


def test_tasks_that_the_broker_lost_are_found(made: Cluster) -> None:
    """The broker forgets all it has while nobody works; what waits is published anew from the database."""
    for name in ("worker-1", "forwarder-1"):
        assert made.stop(name) == 0
    files, before = series(made.folder / "in", 2), len(made.lines(event="series stable"))
    insist(made.port(), files, Ledger())
    wait_until(lambda: len(made.lines(event="series stable")) > before, "it is stable")
    with redis.Redis.from_url(made.broker.url) as client:
        client.flushall()
    made.start("worker-1")
    made.start("forwarder-1")
    wait_until(lambda: arrived(made, files), "it is delivered")
    assert made.lines(event="tasks are published anew")


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_what_a_receiver_leaves_is_taken_up(made: Cluster, ending: str) -> None:
    """A receiver that is gone for good, before it told anybody of what it took, leaves nothing behind."""
    name = f"receiver-{ending}"
    made.start(name, register_s=600)
    wait_until(lambda: made.answers(name), "the receiver answers")
    files = series(made.folder / "in", 2)
    insist(made.ports[name], files, Ledger())
    if ending == "stop":
        assert made.stop(name) == 0
    else:
        made.kill(name)
    del made.ports[name], made.processes[name]
    wait_until(lambda: arrived(made, files), "it is delivered")


def test_processes_of_the_version_before_go_on(made: Cluster) -> None:
    """After a later version has migrated the tables, a process of this one may even start again and work."""
    database = open_database(made.database.url)
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        session.execute(text("ALTER TABLE series ADD COLUMN of_a_later_version TEXT"))
    assert made.stop("worker-1") == 0
    made.start("worker-1")
    files = series(made.folder / "in", 2)
    insist(made.port(), files, Ledger())
    wait_until(lambda: arrived(made, files), "it is delivered")
    with database.session() as session:
        session.execute(text("ALTER TABLE series DROP COLUMN of_a_later_version"))
        session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head()})
    database.close()


def test_a_flush_makes_a_series_stable_at_once(made: Cluster) -> None:
    """What the command asks of the spool is seen by one receiver, and holds for the parts of all."""
    made.settings["series"] = {"stable_age_s": 3600}
    for name in ("receiver-1", "receiver-2", "worker-1", "forwarder-1"):
        made.stop(name)
        made.start(name)
    wait_until(lambda: all(map(made.answers, made.ports)), "the receivers answer")
    number = next_number()
    files = [write(made.folder / "in", number, number * 1000 + index) for index in range(2)]
    insist(made.ports["receiver-1"], files[:1], Ledger())
    insist(made.ports["receiver-2"], files[1:], Ledger())
    uid = series_uid(number)
    wait_until(lambda: len(made.lines(series_instance_uid=uid)) == 2, "both parts are registered")
    (made.folder / "spool/requests/flush-1").write_text(uid)
    wait_until(lambda: arrived(made, files), "it is delivered")


def test_each_process_tells_how_it_is(made: Cluster) -> None:
    """Who watches learns at the status port that a process lives and works, and what it counts."""
    for name in made.processes:
        wait_until(partial(made.asked, name, "/ready"), f"{name} is ready")
        assert made.asked(name, "/ready") == "ready\n"
        assert made.asked(name, "/live") == "alive\n"
        assert 'bodytag_build_info{version="' in made.asked(name, "/metrics")
    leads = sum("bodytag_leads 1.0" in made.asked(name, "/metrics") for name in made.processes)
    assert leads <= 1
    assert made.asked("worker-1", "/else") == ""


def renamed(path: Path, description: str) -> Path:
    """Give a file another Series Description."""
    data_set = dcmread(path)
    data_set.SeriesDescription = description
    data_set.save_as(path)
    return path
