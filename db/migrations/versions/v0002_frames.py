"""What was found in each frame of a multi-frame object."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the frames' results to the instances."""
    op.add_column("instances", sa.Column("frames", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Drop the frames' results."""
    op.drop_column("instances", "frames")
