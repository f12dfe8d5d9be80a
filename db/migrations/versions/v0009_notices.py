"""What admins were told of troubles, by which way."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of troubles and of what was told of them."""
    op.create_table(
        "notices",
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("measure", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_measure", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("way", "kind", "subject", name="pk_notices"),
    )


def downgrade() -> None:
    """Drop it: what lasts is told again."""
    op.drop_table("notices")
