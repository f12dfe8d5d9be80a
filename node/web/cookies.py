"""Cookies: for this host alone, not for scripts, and over TLS only where there is TLS."""

from typing import Final

from fastapi import Request, Response

SESSION: Final = "bodytag"
LOGIN_FORM: Final = "bodytag-login"
OIDC: Final = "bodytag-oidc"


def cookie_name(request: Request, name: str) -> str:
    """Return a cookie's full name: with TLS one that browsers take from this very host over TLS alone."""
    return f"__Host-{name}" if request.url.scheme == "https" else name


def read(request: Request, name: str) -> str:
    """Return a cookie's value, empty where there is none."""
    return request.cookies.get(cookie_name(request, name), "")


def write(request: Request, answer: Response, name: str, value: str, lasts_s: float) -> None:
    """Set a cookie; links from elsewhere carry it (Lax), forms from elsewhere do not."""
    answer.set_cookie(
        cookie_name(request, name),
        value,
        max_age=int(lasts_s),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def drop(request: Request, answer: Response, name: str) -> None:
    """Let the browser forget a cookie."""
    secure = request.url.scheme == "https"
    answer.delete_cookie(cookie_name(request, name), path="/", secure=secure, httponly=True, samesite="lax")
