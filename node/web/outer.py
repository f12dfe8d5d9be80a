"""What stands around the application: trusted proxies, limits of a request, and headers of every answer."""

import asyncio
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from node.settings.web import Web

CONTENT_SECURITY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, and nothing written into a page: no script, no style, no frame (CSP level 3)."""

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_HSTS: Final = "max-age=31536000"
_KEPT: Final = "public, max-age=31536000, immutable"
FROM_PROXY: Final = "bodytag_from_proxy"
"""Key of the scope: the request came by a trusted proxy, whose word on who asks counts."""


def outer(app: ASGIApp, web: Web) -> ASGIApp:
    """Put everything around an application that each request passes through."""
    believed = ProxyHeadersMiddleware(_headers(_limits(app, web)), trusted_hosts=list(web.proxy.addresses))  # type: ignore[arg-type]
    plain = _headers(_limits(app, web))

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        trusted = scope["type"] == "http" and is_proxy(web, (scope.get("client") or ("",))[0])
        scope[FROM_PROXY] = trusted
        await (believed if trusted else plain)(scope, receive, send)  # type: ignore[arg-type]

    return told


def is_proxy(web: Web, address: str) -> bool:
    """Tell whether an address is one of the trusted proxies'."""
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in ip_network(each) for each in web.proxy.addresses)


def _is_static(scope: Scope, message: Message) -> bool:
    return str(scope.get("path", "")).startswith("/static/") and message["status"] in (200, 304)


def _headers(app: ASGIApp) -> ASGIApp:
    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def to_client(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _KEPT if _is_static(scope, message) else "no-store")
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        await app(scope, receive, to_client)

    return with_headers


def _limits(app: ASGIApp, web: Web) -> ASGIApp:
    """Refuse large bodies before they fill the memory, and end what takes too long."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > web.maximum_request_bytes:
                raise HTTPException(413, "the request is larger than web.maximum_request_bytes")
            return message

        async def to_client(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(web.request_timeout_s):
                await app(scope, counted, to_client)
        except TimeoutError:
            if started:
                raise
            await PlainTextResponse("The request took too long.\n", 503)(scope, receive, send)

    return limited
