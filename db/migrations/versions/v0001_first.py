"""The first schema: series, instances, spans, crashes, deliveries, attempts.

Written out in full, because a migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create all tables."""
    _create_series()
    _index_series()
    _create_crashes()
    _create_instances()
    _create_spans()
    _create_deliveries()
    _create_attempts()


def downgrade() -> None:
    """Drop all tables: everything stored is lost."""
    op.drop_table("attempts")
    op.drop_table("deliveries")
    op.drop_table("spans")
    op.drop_table("instances")
    op.drop_table("crashes")
    op.drop_table("series")


def _create_series() -> None:
    op.create_table(
        "series",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("study_date", sa.Text(), nullable=False),
        sa.Column("study_description", sa.Text(), nullable=False),
        sa.Column("series_description", sa.Text(), nullable=False),
        sa.Column("incoming_body_part", sa.Text(), nullable=False),
        sa.Column("incoming_laterality", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("manufacturer", sa.Text(), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("term", sa.Text(), nullable=True),
        sa.Column("code_value", sa.Text(), nullable=True),
        sa.Column("code_meaning", sa.Text(), nullable=True),
        sa.Column("paired", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("disagrees", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("weights_digest", sa.Text(), nullable=True),
        sa.Column("software_version", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('stable', 'classified', 'delivered', 'failed')", name=op.f("ck_series_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "study_instance_uid",
            "series_instance_uid",
            name=op.f("uq_series_study_instance_uid_series_instance_uid"),
        ),
    )


def _index_series() -> None:
    op.create_index(op.f("ix_series_patient_id"), "series", ["patient_id"], unique=False)
    op.create_index(op.f("ix_series_received_at"), "series", ["received_at"], unique=False)
    op.create_index(op.f("ix_series_series_instance_uid"), "series", ["series_instance_uid"], unique=False)
    op.create_index(op.f("ix_series_state"), "series", ["state"], unique=False)


def _create_crashes() -> None:
    op.create_table(
        "crashes",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("series_id", ROW_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_crashes_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crashes")),
    )
    op.create_index(op.f("ix_crashes_series_id"), "crashes", ["series_id"], unique=False)


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("series_id", ROW_ID, nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("conflict", sa.Text(), nullable=True),
        sa.Column("judged", sa.Boolean(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("position_mm", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instances_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("series_id", "path", name=op.f("uq_instances_series_id_path")),
    )
    op.create_index(
        "uq_instances_sop_instance_uid_without_conflict",
        "instances",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=sa.text("conflict IS NULL"),
        postgresql_where=sa.text("conflict IS NULL"),
    )


def _create_spans() -> None:
    op.create_table(
        "spans",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("series_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("first_mm", sa.Double(), nullable=False),
        sa.Column("last_mm", sa.Double(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_spans_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spans")),
        sa.UniqueConstraint("series_id", "ordinal", name=op.f("uq_spans_series_id_ordinal")),
    )
    op.create_index(op.f("ix_spans_region"), "spans", ["region"], unique=False)


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("series_id", ROW_ID, nullable=False),
        sa.Column("instance_id", ROW_ID, nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("armed_at", TIME, nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_comment", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'sent', 'failed')", name=op.f("ck_deliveries_state")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_deliveries_instance_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_deliveries_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("instance_id", "destination", name=op.f("uq_deliveries_instance_id_destination")),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["destination", "next_attempt_at", "series_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_deliveries_series_id_state", "deliveries", ["series_id", "state"], unique=False)


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("delivery_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_attempts_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("delivery_id", "number", name=op.f("uq_attempts_delivery_id_number")),
    )
