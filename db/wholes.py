"""What CT series are as wholes: label, axis and contrast, beside the verdicts on their regions."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Double, ForeignKey, Index, Select, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.columns import CleanText, RowId, UtcDateTime
from db.records import Whole
from db.tables import Base, Series


class WholeRow(Base):
    """One CT series as a whole; the fields are those of db.records.Whole."""

    __tablename__ = "series_wholes"
    __table_args__ = (
        Index("ix_series_wholes_part_series_id", "part", "series_id"),
        Index("ix_series_wholes_axis_series_id", "axis", "series_id"),
        Index("ix_series_wholes_contrast_series_id", "contrast", "series_id"),
    )

    series_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("series.id"), primary_key=True, autoincrement=False
    )
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    part: Mapped[str | None] = mapped_column(CleanText)
    part_confidence: Mapped[float] = mapped_column(Double)
    second: Mapped[str] = mapped_column(CleanText)
    second_confidence: Mapped[float] = mapped_column(Double)
    axis: Mapped[str] = mapped_column(CleanText)
    axis_from: Mapped[str] = mapped_column(CleanText)
    seen_axis: Mapped[str] = mapped_column(CleanText)
    seen_axis_confidence: Mapped[float] = mapped_column(Double)
    contradicts: Mapped[bool]
    contrast: Mapped[str | None] = mapped_column(CleanText)
    contrast_confidence: Mapped[float] = mapped_column(Double)
    weights_digest: Mapped[str] = mapped_column(CleanText)


_COLUMNS = tuple(getattr(WholeRow, name) for name in Whole.__dataclass_fields__)


def record_whole(session: Session, series_id: int, whole: Whole, now: datetime) -> None:
    """Store what a series is; in the transaction that stores its outcome, so it is stored once."""
    values = {name: getattr(whole, name) for name in Whole.__dataclass_fields__}
    session.execute(insert(WholeRow), [{"series_id": series_id, "decided_at": now, **values}])


def wholes(session: Session, wanted: Select[int] | Iterable[int]) -> dict[int, Whole]:
    """Return what series are, by their numbers; those without are left out."""
    rows = session.execute(select(WholeRow.series_id, *_COLUMNS).where(WholeRow.series_id.in_(wanted)))
    return {row[0]: Whole(*row[1:]) for row in rows}


def being(
    part: str | None, axis: str | None, contrast: str | None, contradicts: bool | None
) -> ColumnElement[bool]:
    """Ask for the series that are all of this; None asks for nothing."""
    mine = select(WholeRow.series_id)
    for column, value in (
        (WholeRow.part, part),
        (WholeRow.axis, axis),
        (WholeRow.contrast, contrast),
        (WholeRow.contradicts, contradicts),
    ):
        if value is not None:
            mine = mine.where(column == value)
    return Series.id.in_(mine)
