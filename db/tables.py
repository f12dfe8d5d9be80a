"""The tables: series, instances, spans, crashes, deliveries, destinations, attempts, commitments, users.

A state is changed only by a conditional UPDATE (see moves.py); the unique constraints here are what keeps
concurrent runners from doubling a series, an instance, a delivery or an attempt.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import CleanText, KeyText, RowId, UtcDateTime
from db.states import STORED, CommitmentState, DeliveryState, State

PENDING_SQL: Final = f"'{DeliveryState.PENDING}'"
"""Written out, not bound, in every WHERE: a bound value hides a partial index from both planners."""

FAILED_SQL: Final = f"'{DeliveryState.FAILED}'"

KEPT_SQL: Final = f"state = '{State.DELIVERED}' AND files > 0"
"""The condition of the partial index on delivered series whose files are still in the spool."""


class Base(DeclarativeBase):
    """The metadata, with names for all constraints, which later migrations need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Series(Base):
    """A registered series: what its headers say, where it stands, and its decision once there is one.

    `files` counts its files in the spool, `registered` all that ever came. `reason` says why there is no
    verdict, `failure` why the deliveries failed. `disagrees` is None where there is no incoming value or no
    term to compare, and where the value is only vague (rules/terms.py). `review`: the verdict has no term,
    or a remark. `radiograph_group` is one of model/radiographs.GROUPS, None for other images and in doubt.
    """

    __tablename__ = "series"
    __table_args__ = (
        UniqueConstraint("study_instance_uid", "series_instance_uid"),
        CheckConstraint(f"state IN ({', '.join(repr(str(state)) for state in STORED)})", name="state"),
        Index(
            "ix_series_kept",
            "changed_at",
            "id",
            sqlite_where=text(KEPT_SQL),
            postgresql_where=text(KEPT_SQL),
        ),
        Index("ix_series_disagrees_modality", "disagrees", "modality", "study_date", "id"),
        Index("ix_series_study_date_id", "study_date", "id"),
        Index("ix_series_patient_name_id", "patient_name", "id"),
        Index("ix_series_confidence_id", "confidence", "id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    state: Mapped[str] = mapped_column(Text, index=True)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    files: Mapped[int]
    registered: Mapped[int]
    study_instance_uid: Mapped[str] = mapped_column(KeyText)
    series_instance_uid: Mapped[str] = mapped_column(KeyText, index=True)
    frame_of_reference_uid: Mapped[str] = mapped_column(KeyText, index=True)
    modality: Mapped[str] = mapped_column(CleanText, index=True)
    patient_id: Mapped[str] = mapped_column(CleanText, index=True)
    patient_name: Mapped[str] = mapped_column(CleanText)
    accession_number: Mapped[str] = mapped_column(CleanText)
    study_date: Mapped[str] = mapped_column(CleanText)
    study_description: Mapped[str] = mapped_column(CleanText)
    series_description: Mapped[str] = mapped_column(CleanText)
    incoming_body_part: Mapped[str] = mapped_column(CleanText)
    incoming_laterality: Mapped[str] = mapped_column(CleanText)
    calling_ae_title: Mapped[str] = mapped_column(CleanText, index=True)
    manufacturer: Mapped[str] = mapped_column(CleanText)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    term: Mapped[str | None] = mapped_column(CleanText, index=True)
    code_value: Mapped[str | None] = mapped_column(CleanText)
    code_meaning: Mapped[str | None] = mapped_column(CleanText)
    paired: Mapped[bool]
    radiograph_group: Mapped[str | None] = mapped_column(CleanText)
    confidence: Mapped[float | None] = mapped_column(Double)
    rule: Mapped[str | None] = mapped_column(CleanText)
    flags: Mapped[list[str]] = mapped_column(JSON)
    disagrees: Mapped[bool | None]
    review: Mapped[bool] = mapped_column(index=True)
    reason: Mapped[str | None] = mapped_column(CleanText)
    failure: Mapped[str | None] = mapped_column(CleanText)
    weights_digest: Mapped[str | None] = mapped_column(CleanText)
    software_version: Mapped[str | None] = mapped_column(CleanText)
    correction_id: Mapped[int | None] = mapped_column(RowId, index=True)
    corrected_term: Mapped[str | None] = mapped_column(CleanText, index=True)


class CorrectionRow(Base):
    """What a person said of a series, beside its verdict; the one that `Series.correction_id` names holds.

    `carried_from` is the correction of another series of the same Frame of Reference that this one follows.
    """

    __tablename__ = "corrections"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"), index=True)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    made_by: Mapped[str] = mapped_column(CleanText)
    note: Mapped[str] = mapped_column(CleanText)
    carried_from: Mapped[int | None] = mapped_column(RowId, ForeignKey("corrections.id"))
    term: Mapped[str | None] = mapped_column(CleanText)
    code_value: Mapped[str | None] = mapped_column(CleanText)
    code_meaning: Mapped[str | None] = mapped_column(CleanText)
    paired: Mapped[bool]
    software_version: Mapped[str] = mapped_column(CleanText)


class CorrectionSpan(Base):
    """One range of a correction, from the feet up, in mm along the patient's z axis; None for all of it."""

    __tablename__ = "correction_spans"
    __table_args__ = (
        UniqueConstraint("correction_id", "ordinal"),
        Index("ix_correction_spans_region_correction_id", "region", "correction_id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    correction_id: Mapped[int] = mapped_column(RowId, ForeignKey("corrections.id"))
    ordinal: Mapped[int]
    region: Mapped[str] = mapped_column(CleanText)
    low_mm: Mapped[float | None] = mapped_column(Double)
    high_mm: Mapped[float | None] = mapped_column(Double)


class Instance(Base):
    """A file of a series, and what was found in it.

    `conflict` says why the file is kept but neither classified nor delivered; `judged` whether the
    series' outcome spoke of it (a late instance is not judged). `removed_at`: since when its file is no
    longer in the spool; its `path` then begins with `removed`, so that the same name may come again.
    `frames` holds what was found in each frame of a multi-frame object, with the fields of a FrameResult.
    `position_mm` lies along the normal of the planes, `z_mm` is the patient's own height (None before 0008).
    """

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("series_id", "path"),
        Index(
            "uq_instances_sop_instance_uid_without_conflict",
            "sop_instance_uid",
            unique=True,
            sqlite_where=text("conflict IS NULL"),
            postgresql_where=text("conflict IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"))
    sop_instance_uid: Mapped[str] = mapped_column(KeyText)
    sop_class_uid: Mapped[str] = mapped_column(KeyText)
    transfer_syntax_uid: Mapped[str] = mapped_column(KeyText)
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    conflict: Mapped[str | None] = mapped_column(CleanText)
    judged: Mapped[bool]
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    region: Mapped[str | None] = mapped_column(CleanText)
    confidence: Mapped[float | None] = mapped_column(Double)
    position_mm: Mapped[float | None] = mapped_column(Double)
    z_mm: Mapped[float | None] = mapped_column(Double)
    reason: Mapped[str | None] = mapped_column(CleanText)
    frames: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))


class SpanRow(Base):
    """One span of a verdict; `ordinal` counts from 0 in the verdict's order."""

    __tablename__ = "spans"
    __table_args__ = (
        UniqueConstraint("series_id", "ordinal"),
        Index("ix_spans_region_series_id", "region", "series_id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"))
    ordinal: Mapped[int]
    region: Mapped[str] = mapped_column(CleanText)
    first_mm: Mapped[float] = mapped_column(Double)
    last_mm: Mapped[float] = mapped_column(Double)
    images: Mapped[int]
    confidence: Mapped[float] = mapped_column(Double)


class Crash(Base):
    """One crash of a worker over a series."""

    __tablename__ = "crashes"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(CleanText)


class Delivery(Base):
    """One instance for one destination.

    `attempts` counts since `armed_at` (and spaces the next try), `tries` since ever (and numbers them).
    Copies are made by the correction of `correction_id`, or by the verdict where that is None.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("instance_id", "destination"),
        CheckConstraint(f"state IN ({', '.join(repr(str(state)) for state in DeliveryState)})", name="state"),
        Index("ix_deliveries_series_id_state", "series_id", "state"),
        Index(
            "ix_deliveries_due",
            "destination",
            "next_attempt_at",
            "series_id",
            "id",
            "armed_at",
            sqlite_where=text(f"state = {PENDING_SQL}"),
            postgresql_where=text(f"state = {PENDING_SQL}"),
        ),
        Index(
            "ix_deliveries_failed",
            "destination",
            "last_at",
            sqlite_where=text(f"state = {FAILED_SQL}"),
            postgresql_where=text(f"state = {FAILED_SQL}"),
        ),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(RowId, ForeignKey("series.id"))
    instance_id: Mapped[int] = mapped_column(RowId, ForeignKey("instances.id"))
    destination: Mapped[str] = mapped_column(CleanText)
    policy: Mapped[str] = mapped_column(CleanText)
    correction_id: Mapped[int | None] = mapped_column(RowId)
    state: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    tries: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    armed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_status: Mapped[int | None]
    last_comment: Mapped[str | None] = mapped_column(CleanText)


class DestinationRow(Base):
    """What an admin last said about a destination: `paused_at` is None where it goes on."""

    __tablename__ = "destinations"

    name: Mapped[str] = mapped_column(CleanText, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(CleanText)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Attempt(Base):
    """One try to deliver: `number` counts from 1, `status` is the C-STORE status, None without an answer."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(RowId, ForeignKey("deliveries.id"))
    number: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int | None]
    comment: Mapped[str] = mapped_column(CleanText)


class Commitment(Base):
    """A request for storage commitment.

    `asked` lists SOP Class and Instance UIDs until it is closed; `failures` those of them that are not
    committed, with the reason, and is None until it is decided.
    """

    __tablename__ = "commitments"
    __table_args__ = (
        UniqueConstraint("calling_ae_title", "transaction_uid"),
        CheckConstraint(
            f"state IN ({', '.join(repr(str(state)) for state in CommitmentState)})", name="state"
        ),
        Index("ix_commitments_state_next_attempt_at", "state", "next_attempt_at"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    calling_ae_title: Mapped[str] = mapped_column(CleanText)
    transaction_uid: Mapped[str] = mapped_column(KeyText)
    state: Mapped[str] = mapped_column(Text)
    asked: Mapped[list[list[str]]] = mapped_column(JSON)
    failures: Mapped[list[list[Any]] | None] = mapped_column(JSON(none_as_null=True))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int]
    last_comment: Mapped[str | None] = mapped_column(CleanText)


class UserRow(Base):
    """Somebody who may log in; the hash is Argon2's, None for who logs in elsewhere.

    `subject` names the user where it logs in: a provider's issuer and subject, or the name a proxy gives.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
        CheckConstraint("origin IN ('local', 'oidc', 'proxy')", name="origin"),
        UniqueConstraint("origin", "subject"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(KeyText, unique=True)
    role: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(KeyText)
    password_hash: Mapped[str | None] = mapped_column(Text)
    must_change: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionRow(Base):
    """A browser that is logged in, known by the SHA-256 of its cookie; `origin` says how it logged in."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    origin: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class TokenRow(Base):
    """A bearer token of a program, known by its SHA-256; it may no more than its user and its own role."""

    __tablename__ = "tokens"
    __table_args__ = (CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(CleanText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NoticeRow(Base):
    """A trouble as one way of telling admins sees it; the fields are those of db.notices.Notice."""

    __tablename__ = "notices"

    way: Mapped[str] = mapped_column(CleanText, primary_key=True)
    kind: Mapped[str] = mapped_column(CleanText, primary_key=True)
    subject: Mapped[str] = mapped_column(CleanText, primary_key=True)
    sentence: Mapped[str] = mapped_column(CleanText)
    measure: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_measure: Mapped[int]
