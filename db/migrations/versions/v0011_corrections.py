"""Corrections beside the verdicts, and the views for those who ask in SQL."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

VIEWS = {
    "series_regions": """
        SELECT s.id AS series_id, s.study_instance_uid, s.series_instance_uid, s.patient_id, s.modality,
            s.study_date, 'verdict' AS source, p.ordinal, p.region, p.first_mm AS from_mm, p.last_mm AS to_mm,
            p.images AS images, p.confidence, s.decided_at, CAST(NULL AS TEXT) AS decided_by
        FROM series s JOIN spans p ON p.series_id = s.id
        WHERE s.correction_id IS NULL
        UNION ALL
        SELECT s.id, s.study_instance_uid, s.series_instance_uid, s.patient_id, s.modality,
            s.study_date, 'correction', r.ordinal, r.region, r.low_mm, r.high_mm,
            CAST(NULL AS INTEGER), 1.0, c.made_at, c.made_by
        FROM series s JOIN corrections c ON c.id = s.correction_id
            JOIN correction_spans r ON r.correction_id = c.id
    """,
    "delivery_results": """
        SELECT d.id AS delivery_id, d.series_id, s.study_instance_uid, s.series_instance_uid,
            i.sop_instance_uid, d.destination, d.policy, d.state, d.tries, d.created_at, d.next_attempt_at,
            d.last_at, d.last_status, d.last_comment, d.correction_id
        FROM deliveries d JOIN instances i ON i.id = d.instance_id JOIN series s ON s.id = d.series_id
    """,
    "disagreements": """
        SELECT s.id AS series_id, s.study_instance_uid, s.series_instance_uid, s.patient_id, s.modality,
            s.calling_ae_title, s.manufacturer, s.study_date, s.received_at, s.study_description,
            s.series_description, s.incoming_body_part, s.term, s.confidence, s.corrected_term
        FROM series s
        WHERE s.disagrees
    """,
}


def upgrade() -> None:
    """Add tables, columns and views."""
    _create_corrections()
    _create_spans()
    for table, column in (
        ("series", sa.Column("correction_id", ROW_ID, nullable=True)),
        ("series", sa.Column("corrected_term", sa.Text(), nullable=True)),
        ("deliveries", sa.Column("correction_id", ROW_ID, nullable=True)),
    ):
        op.add_column(table, column)
    op.create_index("ix_series_correction_id", "series", ["correction_id"])
    op.create_index("ix_series_corrected_term", "series", ["corrected_term"])
    for name, asked in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {asked}")


def downgrade() -> None:
    """Drop all of it: what people said is lost."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_index("ix_series_corrected_term", table_name="series")
    op.drop_index("ix_series_correction_id", table_name="series")
    op.drop_column("deliveries", "correction_id")
    op.drop_column("series", "corrected_term")
    op.drop_column("series", "correction_id")
    op.drop_table("correction_spans")
    op.drop_table("corrections")


def _create_corrections() -> None:
    op.create_table(
        "corrections",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("series_id", ROW_ID, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("carried_from", ROW_ID, nullable=True),
        sa.Column("term", sa.Text(), nullable=True),
        sa.Column("code_value", sa.Text(), nullable=True),
        sa.Column("code_meaning", sa.Text(), nullable=True),
        sa.Column("paired", sa.Boolean(), nullable=False),
        sa.Column("software_version", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_corrections_series_id")),
        sa.ForeignKeyConstraint(
            ["carried_from"], ["corrections.id"], name=op.f("fk_corrections_carried_from")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_index("ix_corrections_series_id", "corrections", ["series_id"])


def _create_spans() -> None:
    op.create_table(
        "correction_spans",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("correction_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("low_mm", sa.Double(), nullable=True),
        sa.Column("high_mm", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["corrections.id"], name=op.f("fk_correction_spans_correction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction_spans")),
        sa.UniqueConstraint(
            "correction_id", "ordinal", name=op.f("uq_correction_spans_correction_id_ordinal")
        ),
    )
    op.create_index(
        "ix_correction_spans_region_correction_id", "correction_spans", ["region", "correction_id"]
    )
