"""Wrong tags by modality: an index that answers what is asked most often without a look at the table."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COLUMNS = ["disagrees", "modality", "study_date", "id"]


def upgrade() -> None:
    """Put the longer index in the place of the one on a column."""
    op.drop_index("ix_series_disagrees", table_name="series")
    op.create_index("ix_series_disagrees_modality", "series", COLUMNS)


def downgrade() -> None:
    """Put the one on a column back."""
    op.drop_index("ix_series_disagrees_modality", table_name="series")
    op.create_index("ix_series_disagrees", "series", COLUMNS[:1])
