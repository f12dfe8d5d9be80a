"""Indexes for the backlog: the age of what waits, and what was put aside, without reading the table."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DUE = ["destination", "next_attempt_at", "series_id", "id"]
PENDING = "state = 'pending'"
FAILED = "state = 'failed'"


def upgrade() -> None:
    """Put the age into the index of what is due, and add one of what failed."""
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    _create("ix_deliveries_due", [*DUE, "armed_at"], PENDING)
    _create("ix_deliveries_failed", ["destination", "last_at"], FAILED)


def downgrade() -> None:
    """Go back to the index of what is due alone."""
    op.drop_index("ix_deliveries_failed", table_name="deliveries")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    _create("ix_deliveries_due", DUE, PENDING)


def _create(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "deliveries", columns, sqlite_where=condition, postgresql_where=condition)
