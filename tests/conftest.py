"""Fixtures for all tests: real databases of both kinds."""

from tests.postgres import database_url, empty_database_url, postgres_url

__all__ = ["database_url", "empty_database_url", "postgres_url"]
