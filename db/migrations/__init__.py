"""The schema's history, run by Alembic from wherever the package is installed."""
