"""Pages from templates: everything in them escaped, times in UTC, and what base.html needs."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from db.accounts import Role
from model.series_labels import TITLES
from node.version import VERSION
from node.web import charts, drawing
from node.web.access import identity_of
from node.web.pages import words
from node.web.secrets import proof

FOLDER: Final = Path(__file__).parent

NAVIGATION: Final = (
    ("/series", "Series"),
    ("/review", "Review"),
    ("/destinations", "Destinations"),
    ("/dashboard", "Dashboard"),
)
"""Paths and names of the pages in the bar; the page of users is added for admins."""


def utc(value: datetime | None) -> str:
    """Show a time in UTC, to the second; static/page.js shows it in the reader's zone, too."""
    if value is None:
        return "–"
    told = value.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        told.strftime("%Y-%m-%dT%H:%M:%SZ"), told.strftime("%Y-%m-%d %H:%M:%S")
    )


def environment() -> Environment:
    """Make the environment of the templates; what a template names must be there."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["utc"] = utc
    made.filters |= {"person": words.person, "study_day": words.study_day, "size": words.size}
    made.filters |= {"age": words.age, "region_css": drawing.css, "mini_band": drawing.mini_band}
    made.filters["series_part"] = lambda part: TITLES.get(part, part)
    made.globals["static"] = static
    made.globals["Role"] = Role
    made.globals["share"] = charts.share
    return made


@cache
def static(name: str) -> str:
    """Return the address of a static file; it changes with the content, so browsers may keep the file."""
    content = (FOLDER / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


_ENVIRONMENT: Final = environment()


def render(request: Request, name: str, /, status: int = 200, **values: Any) -> HTMLResponse:
    """Fill a template; beside the values it gets `user`, `csrf`, `path`, `navigation` and `version`."""
    identity = identity_of(request)
    secret = None if identity is None else identity.secret
    given: dict[str, Any] = {
        "user": None if identity is None else identity.user,
        "csrf": "" if secret is None else proof(secret),
        "may_log_out": identity is not None and identity.in_session,
        "path": request.url.path,
        "navigation": NAVIGATION,
        "version": VERSION,
    }
    return HTMLResponse(_ENVIRONMENT.get_template(name).render({**given, **values}), status)
