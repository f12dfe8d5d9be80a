"""The application: its routers, one file each, and who may use them at all."""

from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from node.version import VERSION
from node.web import health, metrics
from node.web.access import Viewer, unforged, viewer
from node.web.api import corrections as api_corrections
from node.web.api import export as api_export
from node.web.api import queues as api_queues
from node.web.api import series as api_series
from node.web.context import Context
from node.web.errors import add_handlers
from node.web.pages import (
    account,
    correction,
    dashboard,
    destinations,
    login,
    login_oidc,
    series_list,
    series_page,
    users,
)
from node.web.rendering import FOLDER

OPEN: Final[tuple[APIRouter, ...]] = (
    health.router,
    metrics.router,
    login.router,
    login_oidc.router,
    account.router,
)
"""Routers that decide themselves who may use them: each of their routes must say so."""

PAGES: Final[tuple[APIRouter, ...]] = (
    series_list.router,
    series_page.router,
    correction.router,
    destinations.router,
    dashboard.router,
    users.router,
)
"""Routers of pages; all need a viewer, routes may ask for more. None of them is in the OpenAPI."""

API: Final[tuple[APIRouter, ...]] = (
    api_series.router,
    api_corrections.router,
    api_export.router,
    api_queues.router,
)
"""Routers of the API, each with a path below /api/v1; all need a viewer, and stand in the OpenAPI."""

FIRST_PAGE: Final = "/series"


def make_app(context: Context) -> FastAPI:
    """Make the application on a database whose tables are up to date."""
    app = FastAPI(
        title="bodytag",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(unforged)],
    )
    app.state.context = context
    for router in OPEN:
        app.include_router(router, include_in_schema=False)
    for router in PAGES:
        app.include_router(router, include_in_schema=False, dependencies=[Depends(viewer)])
    for router in API:
        app.include_router(router, dependencies=[Depends(viewer)])
    app.include_router(_own, include_in_schema=False, dependencies=[Depends(viewer)])
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    add_handlers(app)
    return app


_own = APIRouter()


@_own.get("/")
def first_page() -> RedirectResponse:
    """Lead to the series."""
    return RedirectResponse(FIRST_PAGE, 303)


@_own.get("/api/v1/openapi.json")
def openapi(request: Request, user: Viewer) -> dict[str, Any]:
    """Describe the API (OpenAPI 3.1)."""
    del user
    app: FastAPI = request.app
    return app.openapi()
