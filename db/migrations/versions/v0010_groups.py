"""The group of a series of radiographs: abdomen, adult or pediatric chest, spine, others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the group; series decided before have none."""
    op.add_column("series", sa.Column("radiograph_group", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the groups."""
    op.drop_column("series", "radiograph_group")
