"""Requests made up from the API's own description: every answer is one that the description knows."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema

from db.accounts import Role
from node.web.server import application
from tests.web.serving import make_token
from tests.web.test_api import fill, open_context

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 15

Described = tuple[BaseSchema, dict[str, str]]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """The API's description over a database of five series, and what an operator's program shows."""
    with open_context(tmp_path_factory.mktemp("api")) as context:
        fill(context)
        shown = {"Authorization": f"Bearer {make_token(context.database, Role.OPERATOR)}"}
        app = application(context)
        yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=shown), shown


def test_every_answer_is_described(described: Described) -> None:
    """Whatever is asked, the answer has a documented status, type and shape, and no fault is the server's."""
    schema, shown = described
    asked = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        asked.append(operation.label)

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        def made_up(case: Case[Any]) -> None:
            case.call_and_validate(headers=shown, checks=CHECKS)

        made_up()
    assert {"GET /api/v1/series", "POST /api/v1/series/{series_id}/corrections"} <= set(asked)
    assert len(asked) >= 11
