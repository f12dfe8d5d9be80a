"""CT series as wholes: label, axis, contrast."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; series decided before are not in it."""
    text = sa.Text()
    share: sa.Double[float] = sa.Double()
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "series_wholes",
        sa.Column("series_id", number, nullable=False, autoincrement=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("part", text, nullable=True),
        sa.Column("part_confidence", share, nullable=False),
        sa.Column("second", text, nullable=False),
        sa.Column("second_confidence", share, nullable=False),
        sa.Column("axis", text, nullable=False),
        sa.Column("axis_from", text, nullable=False),
        sa.Column("seen_axis", text, nullable=False),
        sa.Column("seen_axis_confidence", share, nullable=False),
        sa.Column("contradicts", sa.Boolean(), nullable=False),
        sa.Column("contrast", text, nullable=True),
        sa.Column("contrast_confidence", share, nullable=False),
        sa.Column("weights_digest", text, nullable=False),
        sa.PrimaryKeyConstraint("series_id", name="pk_series_wholes"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_series_wholes_series_id"),
    )
    for column in ("part", "axis", "contrast"):
        op.create_index(f"ix_series_wholes_{column}_series_id", "series_wholes", [column, "series_id"])


def downgrade() -> None:
    """Drop it: what the series were is lost, the verdicts stay."""
    op.drop_table("series_wholes")
