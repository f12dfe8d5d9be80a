"""The tables that several machines share: claims, processes, series that still grow, journeys, outages.

A node on one machine leaves them empty. Only the clock of the database counts here (db/instants.py), so that
machines need not agree on the time to a second.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import CleanText, KeyText, RowId, UtcDateTime
from db.tables import Base


class ClaimRow(Base):
    """What one process works on, so that no other does: `until` is moved on while it lives.

    `times` counts how often it was claimed without being finished.
    """

    __tablename__ = "claims"
    __table_args__ = (Index("ix_claims_owner", "owner"),)

    kind: Mapped[str] = mapped_column(KeyText, primary_key=True)
    subject: Mapped[str] = mapped_column(KeyText, primary_key=True)
    owner: Mapped[str] = mapped_column(KeyText)
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    times: Mapped[int]


class ProcessRow(Base):
    """A process of the installation; `seen_at` is its last sign of life."""

    __tablename__ = "processes"

    name: Mapped[str] = mapped_column(KeyText, primary_key=True)
    role: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(CleanText)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GatheringRow(Base):
    """A series of which instances may still come, by any receiver; `last_at` is when the last ones did."""

    __tablename__ = "gathering"

    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"), primary_key=True)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class JourneyRow(Base):
    """What belongs to a series on its way: the name of its journey in logs, and how urgent it is."""

    __tablename__ = "journeys"
    __table_args__ = (Index("ix_journeys_priority_series_id", "priority", "series_id"),)

    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"), primary_key=True)
    correlation_id: Mapped[str] = mapped_column(KeyText, index=True)
    priority: Mapped[int]


class OutageRow(Base):
    """A destination that did not answer: it is left alone until `not_before`, by every forwarder."""

    __tablename__ = "outages"

    destination: Mapped[str] = mapped_column(CleanText, primary_key=True)
    misses: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    why: Mapped[str] = mapped_column(CleanText)
