"""Fixtures for all tests: real databases of both kinds; and how a test process ended before its time."""

from types import ModuleType
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that start nodes first: they take minutes, and one that begins last keeps all waiting."""
    items.sort(key=lambda item: not (isinstance(item, pytest.Function) and _starts_nodes(item.module)))


def _starts_nodes(module: ModuleType) -> bool:
    return any(getattr(each, "__module__", None) == "tests.harness" for each in vars(module).values())
