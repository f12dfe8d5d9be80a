"""A runner for the tests of races: one process that does one step as soon as its peers are ready.

Run as `python -m tests.db.runner URL STEP NAME`; it says "ready", waits for a line, and says the result.
"""

import sys
from dataclasses import replace

from db.deliveries import due, resend, succeeded
from db.records import Outcome
from db.results import record_outcome
from db.series import next_stable, register
from db.session import Database, open_database
from tests.db.values import NOW, ROUTES, instance, instances, outcome, series_facts


def named_outcome(name: str) -> Outcome:
    """Find what everybody finds, with the name of the runner as the weights' digest."""
    return replace(outcome(20), weights_digest=name)


def step(database: Database, what: str, name: str) -> str:
    """Do one step and say what came of it."""
    if what == "register":
        with database.session() as session:
            return str(len(register(session, series_facts(), instances(20), ROUTES, NOW).added))
    if what == "steal":
        number = int(name)
        stolen = [instance(1, 1, path=f"{name}.dcm"), instance(2, 1, path=f"{name}-2.dcm")]
        with database.session() as session:
            return str(
                len(
                    register(
                        session, series_facts(number), stolen[:: 1 if number % 2 else -1], ROUTES, NOW
                    ).added
                )
            )
    if what == "outcome":
        with database.session() as session:
            series_id = next_stable(session) or 1
            return str(record_outcome(session, series_id, named_outcome(name), ROUTES, NOW))
    if what == "resend":
        with database.session() as session:
            return str(resend(session, [1, 2, 3], None, False, ROUTES, NOW))
    return str(deliver(database, name))


def deliver(database: Database, name: str) -> int:
    """Deliver everything, one transaction a delivery, and count what this runner was first to settle.

    Runners go through the destinations of each series in different orders, so that two of them often
    settle the last two deliveries of a series in the same moment.
    """
    with database.reading() as session:
        work = [one for route in ROUTES for one in due(session, route.destination, NOW, 1000)]
    turn = 1 if int(name) % 2 else -1
    settled = 0
    for one in sorted(work, key=lambda one: (one.series_id, turn * one.delivery_id)):
        with database.session() as session:
            settled += succeeded(session, one.delivery_id, 0, NOW)
    return settled


if __name__ == "__main__":
    opened = open_database(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    print(step(opened, sys.argv[2], sys.argv[3]), flush=True)
    opened.close()
