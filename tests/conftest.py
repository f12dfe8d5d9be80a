"""Fixtures for all tests: real databases of both kinds; and how a test process ended before its time."""

from typing import Any

import pytest

from tests.postgres import database_url, empty_database_url, postgres_url

__all__ = ["database_url", "empty_database_url", "postgres_url"]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process that ran tests ended before its time: xdist says only that it did."""
    if error:
        status = node.gateway._io.popen.wait(10)
        print(f"{node.gateway.id} ended with status {status}, negative: by that signal", flush=True)
