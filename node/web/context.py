"""What every route gets: the configuration, the database, the clock and the audit trail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from db.session import Database
from node.auditing.audit import Alerts, Trail
from node.clock import utc_now
from node.settings.config import Config
from node.web.attempts import Attempts
from node.web.openid import Provider
from node.web.secrets import new_secret


@dataclass(frozen=True, slots=True)
class Context:
    """Made once for a process; `database` may be used from any thread, `clock` gives aware UTC times.

    `ask_metrics` asks the node for what it counts, in Prometheus' text format; it raises OSError.
    """

    config: Config
    database: Database
    trail: Trail
    alerts: Alerts
    clock: Callable[[], datetime] = utc_now
    attempts: Attempts = field(default_factory=Attempts)
    provider: Provider | None = None
    key: str = field(default_factory=new_secret, repr=False)
    ask_metrics: Callable[[], bytes] = bytes


def make_context(config: Config, database: Database, clock: Callable[[], datetime] = utc_now) -> Context:
    """Make the context of a configuration and its opened database."""
    trail = Trail(config.audit.file)
    web = config.web
    provider = None if web.oidc is None or web.url is None else Provider(web.oidc, web.url)
    return Context(config, database, trail, Alerts(trail), clock, provider=provider)


def context_of(request: Request) -> Context:
    """Return the context that the application was made with."""
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101 - make_app put it there
    return context


ContextDep = Annotated[Context, Depends(context_of)]
