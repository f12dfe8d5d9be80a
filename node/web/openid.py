"""Logging in at an OpenID provider: authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636).

The provider is found by its issuer (OpenID Connect Discovery 1.0). Authlib makes the requests and looks at
the claims of the ID token (section 3.1.3.7), joserfc at its signature.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from node.settings.weblogin import OpenIdConnect

_ALGORITHMS: Final = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
"""Signatures alone: a MAC would make the client's secret a key, and "none" proves nothing."""

_TIMEOUT_S: Final = 10
_LEEWAY_S: Final = 60
_METADATA_LASTS_S: Final = 3600
_HERE: Final = ("localhost", "127.0.0.1", "::1")


class ProviderError(Exception):
    """The provider cannot be used, or did not log anybody in; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that was begun: where the browser goes, and what is kept of it until it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in: `subject` never changes, `name` is for people, `values` are those of the role claim."""

    subject: str
    name: str
    values: frozenset[str]


class Provider:
    """The configured provider; safe for any number of threads."""

    def __init__(self, settings: OpenIdConnect, page_url: str) -> None:
        self._settings = settings
        self._redirect_uri = f"{page_url}/login/oidc/callback"
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")

    def begin(self) -> Begun:
        """Make the address of a login; raises ProviderError."""
        endpoint = self._endpoint("authorization_endpoint")
        nonce, verifier = generate_token(32), generate_token(64)
        with self._session() as session:
            url, state = session.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
        return Begun(str(url), str(state), nonce, verifier)

    def finish(self, answer: Mapping[str, str], begun: Begun) -> Person:
        """Return who logged in, by what the browser brought back; raises ProviderError."""
        if (
            answer.get("state") != begun.state
            or answer.get("iss", self._settings.issuer) != self._settings.issuer
        ):
            raise ProviderError("the login was begun elsewhere, or too long ago; try again")
        if "code" not in answer:
            raise ProviderError(f"the provider refused: {answer.get('error', 'without a reason')[:80]}")
        try:
            with self._session() as session:
                token = session.fetch_token(
                    self._endpoint("token_endpoint"), code=answer["code"], code_verifier=begun.verifier
                )
                claims = self._claims(token, begun.nonce)
                if not self._is_complete(claims) and "userinfo_endpoint" in self._metadata:
                    claims |= self._userinfo(session, claims["sub"])
        except (requests.RequestException, AuthlibBaseError, JoseError, ValueError, KeyError) as error:
            raise ProviderError(f"the provider's answer is not accepted ({type(error).__name__})") from error
        return self._person(claims)

    def _session(self) -> OAuth2Session:
        settings = self._settings
        try:
            secret = settings.secret()
        except OSError as error:
            raise ProviderError("web.oidc.client_secret_file cannot be read") from error
        session = OAuth2Session(
            settings.client_id,
            secret,
            scope=" ".join(settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            default_timeout=_TIMEOUT_S,
        )
        session.verify = True if settings.ca is None else str(settings.ca)
        session.trust_env = False
        return session

    def _endpoint(self, name: str) -> str:
        """Return an address of the provider, read from its metadata at most once an hour."""
        with self._lock:
            if time.monotonic() > self._read_at + _METADATA_LASTS_S:
                self._read_metadata()
        url = str(self._metadata.get(name, ""))
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
            raise ProviderError(f"the provider's {name} is no https address")
        return url

    def _read_metadata(self) -> None:
        issuer = self._settings.issuer
        found = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ProviderError("the provider calls itself otherwise than web.oidc.issuer")
        self._metadata, self._read_at, self._keys = found, time.monotonic(), {}

    def _get(self, url: str) -> dict[str, Any]:
        ca = True if self._settings.ca is None else str(self._settings.ca)
        try:
            answer = requests.get(url, timeout=_TIMEOUT_S, verify=ca, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise ProviderError(f"the provider does not answer ({type(error).__name__})") from error
        if not isinstance(found, dict):
            raise ProviderError("the provider's answer is no JSON object")
        return found

    def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Check the ID token and return its claims."""
        try:
            decoded = self._decoded(str(token["id_token"]))
        except InvalidKeyIdError:  # the provider has new keys
            self._keys = {}
            decoded = self._decoded(str(token["id_token"]))
        wanted: Any = {"iss": {"essential": True, "value": self._settings.issuer},
                       "aud": {"essential": True, "value": self._settings.client_id}}  # fmt: skip
        known = {"nonce": nonce, "client_id": self._settings.client_id}
        claims = CodeIDToken(decoded.claims, decoded.header, wanted, known)
        claims.validate(leeway=_LEEWAY_S)
        return dict(claims)

    def _decoded(self, token: str) -> jwt.Token:
        if not self._keys:
            self._keys = self._get(self._endpoint("jwks_uri"))
        keys: Any = self._keys
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        return jwt.decode(token, KeySet.import_key_set(keys), registry=registry)

    def _is_complete(self, claims: Mapping[str, Any]) -> bool:
        return self._settings.name_claim in claims and self._settings.role_claim in claims

    def _userinfo(self, session: OAuth2Session, subject: str) -> dict[str, Any]:
        """Ask for more of the same person (section 5.3)."""
        answer = session.get(self._endpoint("userinfo_endpoint"))
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict) or found.get("sub") != subject:
            raise ProviderError("the provider's userinfo is of somebody else")
        return found

    def _person(self, claims: Mapping[str, Any]) -> Person:
        name = str(claims.get(self._settings.name_claim) or claims["sub"])
        said = claims.get(self._settings.role_claim, ())
        values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        return Person(f"{claims['iss']} {claims['sub']}", name, frozenset(map(str, values)))
