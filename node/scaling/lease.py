"""A process among others: its name, its signs of life, and the claims that these keep."""

import secrets
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db import claims
from db.session import Database
from node.version import VERSION

log = structlog.get_logger()


def new_name(role: str) -> str:
    """Make up a name that no process has or had: where it runs, what it does, and chance."""
    host = "".join(each if each.isalnum() else "-" for each in socket.gethostname())[:40]
    return f"{host}-{role}-{secrets.token_hex(4)}"


class Lease:
    """Keeps the claims of this process by signs of life; safe for any number of threads."""

    def __init__(self, database: Database, name: str, role: str, lease_s: float) -> None:
        self.name = name
        self._database = database
        self._role = role
        self._lease_s = lease_s

    def sign(self) -> None:
        """Give a sign of life; raises SQLAlchemyError."""
        with self._database.session() as session:
            claims.sign_of_life(session, self.name, self._role, VERSION, self._lease_s)

    def run(self, stop: threading.Event) -> None:
        """Give signs of life until `stop` is set: six within a lease, so that a few may fail."""
        while not stop.wait(self._lease_s / 6):
            try:
                self.sign()
            except SQLAlchemyError as error:
                log.warning("no sign of life could be given", reason=type(error).__name__)

    def farewell(self) -> None:
        """Free all that this process has claimed, now that it ends properly."""
        try:
            with self._database.session() as session:
                claims.farewell(session, self.name)
        except SQLAlchemyError as error:
            log.warning("claims are left to lapse", reason=type(error).__name__)

    def claim(self, kind: str, subjects: Collection[str]) -> list[str]:
        """Claim what is free of these."""
        with self._database.session() as session:
            return claims.claim(session, kind, subjects, self.name, self._lease_s)

    def claim_one_of(self, kind: str, subjects: list[str]) -> str | None:
        """Claim the first of these that is free."""
        with self._database.session() as session:
            return claims.claim_one_of(session, kind, subjects, self.name, self._lease_s)

    def times(self, kind: str, subject: str) -> int:
        """Return how often something was claimed without being finished."""
        with self._database.reading() as session:
            return claims.times(session, kind, subject)

    def has(self, kind: str, subject: str) -> bool:
        """Tell whether this process has something, or can have it."""
        with self._database.session() as session:
            if claims.claim(session, kind, [subject], self.name, self._lease_s):
                return True
            return claims.owner(session, kind, subject) == self.name

    def release(self, kind: str, subjects: Collection[str]) -> None:
        """Give claims back; without a database they lapse."""
        try:
            with self._database.session() as session:
                claims.release(session, kind, subjects, self.name)
        except SQLAlchemyError as error:
            log.warning("a claim is left to lapse", kind=kind, reason=type(error).__name__)

    @contextmanager
    def holding(self, kind: str, subjects: list[str]) -> Iterator[str | None]:
        """Claim one of these for a block; gives None where all are taken."""
        got = self.claim_one_of(kind, subjects)
        try:
            yield got
        finally:
            if got is not None:
                self.release(kind, [got])
