"""Answers to what cannot be done: a page for people, JSON for programs, and a way to the login."""

from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from node.web.access import Forbidden, LoginNeeded, PasswordDue
from node.web.rendering import render

_TITLES: Final = {
    400: "That could not be read",
    403: "You may not do that",
    404: "There is nothing here",
    405: "That cannot be done here",
    429: "Too many tries",
    500: "Something went wrong",
}


def add_handlers(app: FastAPI) -> None:
    """Make an application answer in whole sentences."""
    app.add_exception_handler(LoginNeeded, _login_needed)
    app.add_exception_handler(PasswordDue, _password_due)
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _fault)


def for_people(request: Request) -> bool:
    """Tell whether the answer is read by a person in a browser."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def sentence(request: Request, status: int, why: str) -> Response:
    """Answer with a status and one sentence."""
    if not for_people(request):
        return JSONResponse({"detail": why}, status)
    title = _TITLES.get(status, "That did not work")
    return render(request, "error.html", status=status, title=title, why=why)


def _elsewhere(request: Request, path: str) -> Response:
    """Send the browser to another page; htmx needs a header, or it would put the page into its place."""
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


async def _login_needed(request: Request, _: Exception) -> Response:
    if not for_people(request):
        why = "log in, or show a token: Authorization: Bearer ..."
        return JSONResponse({"detail": why}, 401, {"WWW-Authenticate": 'Bearer realm="bodytag"'})
    if request.method != "GET" or request.headers.get("hx-request"):
        return _elsewhere(request, "/login")
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return _elsewhere(request, "/login" if asked == "/" else f"/login?next={quote(asked, safe='')}")


async def _password_due(request: Request, _: Exception) -> Response:
    if not for_people(request):
        return sentence(request, 403, "choose a new password first")
    return _elsewhere(request, "/account")


async def _forbidden(request: Request, error: Exception) -> Response:
    return sentence(request, 403, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if not for_people(request):
        return await http_exception_handler(request, error)
    why = "The address leads nowhere." if error.status_code == 404 else str(error.detail)
    answer = sentence(request, error.status_code, why)
    answer.headers.update(error.headers or {})
    return answer


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    if not for_people(request):
        return await request_validation_exception_handler(request, error)
    found = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
    return sentence(request, 400, "; ".join(found))


async def _fault(request: Request, _: Exception) -> Response:
    return sentence(request, 500, "The fault is in the node's log. Nothing that was received is lost.")
