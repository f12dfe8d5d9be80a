"""Requests for storage commitment, and whether the asker was told."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table of requests."""
    op.create_table(
        "commitments",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("failures", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_comment", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('asked', 'decided', 'reported', 'failed')", name=op.f("ck_commitments_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint(
            "calling_ae_title",
            "transaction_uid",
            name=op.f("uq_commitments_calling_ae_title_transaction_uid"),
        ),
    )
    op.create_index("ix_commitments_state_next_attempt_at", "commitments", ["state", "next_attempt_at"])


def downgrade() -> None:
    """Drop it: whoever asked must ask again."""
    op.drop_table("commitments")
