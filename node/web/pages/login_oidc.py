"""The login at the OpenID provider: the way there, and the way back."""

from typing import Final
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from db.accounts import Origin, User
from node.auditing.users import USER_AUTHENTICATION, logged_in
from node.web import cookies
from node.web.access import address_of
from node.web.context import Context, ContextDep
from node.web.elsewhere import NotLetInError, admitted
from node.web.openid import Begun, ProviderError
from node.web.pages.login import form, local_path
from node.web.sessions import start

log = structlog.get_logger()
router = APIRouter()

_LASTS_S: Final = 600


@router.get("/login/oidc")
def to_provider(request: Request, context: ContextDep, next: str = "/") -> Response:  # noqa: A002
    """Send the browser to the provider, with what must come back kept in a cookie."""
    if context.provider is None:
        return form(request, context, "/", "There is no login elsewhere.", status=404)
    try:
        begun = context.provider.begin()
    except ProviderError as error:
        log.error("the OpenID provider cannot be used", reason=str(error))
        return form(request, context, local_path(next), _sentence(error), status=502)
    answer = RedirectResponse(begun.url, 303)
    kept = ".".join((begun.state, begun.nonce, begun.verifier, quote(local_path(next), safe="")))
    cookies.write(request, answer, cookies.OIDC, kept, _LASTS_S)
    return answer


@router.get("/login/oidc/callback")
def from_provider(request: Request, context: ContextDep) -> Response:
    """Log in who comes back from the provider."""
    state, nonce, verifier, to = [*cookies.read(request, cookies.OIDC).split(".", 3), "", "", "", ""][:4]
    begun, address = Begun("", state or "?", nonce, verifier), address_of(request)
    try:
        user = _user(context, dict(request.query_params), begun)
    except (ProviderError, NotLetInError) as error:
        context.alerts.alert("login failed", address, USER_AUTHENTICATION, way=Origin.OIDC, why=str(error))
        answer = form(request, context, "/", _sentence(error), status=403)
        cookies.drop(request, answer, cookies.OIDC)
        return answer
    done = RedirectResponse(local_path(unquote(to)), 303)
    cookies.drop(request, done, cookies.OIDC)
    start(request, done, context, user, Origin.OIDC)
    logged_in(context.trail, user.name, address, Origin.OIDC)
    return done


def _user(context: Context, answer: dict[str, str], begun: Begun) -> User:
    settings = context.config.web.oidc
    if context.provider is None or settings is None:
        raise ProviderError("there is no login elsewhere")
    person = context.provider.finish(answer, begun)
    role = settings.roles.highest(person.values) or settings.role
    return admitted(context, Origin.OIDC, person.subject, person.name, role, keep_role=False)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
