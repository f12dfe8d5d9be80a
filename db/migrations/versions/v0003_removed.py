"""When the file of an instance was removed from the spool, and the index of the series that have files."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEPT = "state = 'delivered' AND files > 0"


def upgrade() -> None:
    """Add the time of removal, and the index that retention walks."""
    op.add_column("instances", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_series_kept",
        "series",
        ["changed_at", "id"],
        sqlite_where=sa.text(KEPT),
        postgresql_where=sa.text(KEPT),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_series_kept", table_name="series")
    op.drop_column("instances", "removed_at")
