"""An OpenID provider for the tests: a real server that checks client, code and PKCE, and cheats when told."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.harness import free_port, wait_until

CLIENT: Final = "bodytag"
SECRET: Final = "a-secret-of-the-client"


@dataclass
class Provider:
    """What the provider says of whoever comes: `claims`; `cheat` changes the next ID tokens."""

    issuer: str
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    cheat: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: new_key())
    signing: RSAKey | None = None
    refuse: bool = False

    def id_token(self, nonce: str) -> str:
        """Sign what is known of the person."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "sub": "s1",
        }
        key = self.signing or self.key
        header = {"alg": self.cheat.get("alg", "RS256"), "kid": self.key.kid}
        told = {name: value for name, value in self.cheat.items() if name != "alg"}
        return jwt.encode(header, claims | self.claims | told, key)


def new_key() -> RSAKey:
    """Make a key to sign with."""
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})


def provider_app(provider: Provider) -> FastAPI:
    """Make the provider's four resources; everybody who comes is logged in at once."""
    app = FastAPI()
    issuer = provider.issuer

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        return {"issuer": issuer, **{name: f"{issuer}/{name}" for name in names}}

    @app.get("/jwks_uri")
    def keys() -> Any:
        return KeySet([provider.key]).as_dict(private=False)

    @app.get("/authorization_endpoint")
    def authorize(
        client_id: str, redirect_uri: str, state: str, nonce: str, code_challenge: str,
        code_challenge_method: str, response_type: str,
    ) -> RedirectResponse:  # fmt: skip
        if (client_id, code_challenge_method, response_type) != (CLIENT, "S256", "code"):
            raise HTTPException(400)
        code = secrets.token_urlsafe()
        provider.codes[code] = {"challenge": code_challenge, "to": redirect_uri, "nonce": nonce}
        answer = {"error": "access_denied"} if provider.refuse else {"code": code}
        return RedirectResponse(f"{redirect_uri}?{urlencode({**answer, 'state': state})}", 302)

    @app.post("/token_endpoint")
    def token(
        code: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        authorization: Annotated[str, Header()],
    ) -> dict[str, Any]:
        begun = provider.codes.pop(code, None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if begun is None or authorization != f"Basic {basic}" or begun["to"] != redirect_uri:
            raise HTTPException(400)
        hashed = hashlib.sha256(code_verifier.encode()).digest()
        if base64.urlsafe_b64encode(hashed).decode().rstrip("=") != begun["challenge"]:
            raise HTTPException(400)
        return {"access_token": "at", "token_type": "Bearer", "id_token": provider.id_token(begun["nonce"])}

    @app.get("/userinfo_endpoint")
    def userinfo(authorization: Annotated[str, Header()]) -> dict[str, Any]:
        if authorization != "Bearer at":
            raise HTTPException(401)
        return provider.userinfo

    return app


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Run a provider on this machine until the block ends."""
    port = free_port()
    provider = Provider(f"http://127.0.0.1:{port}")
    config = uvicorn.Config(
        provider_app(provider), host="127.0.0.1", port=port, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, "the provider answers")
        yield provider
    finally:
        server.should_exit = True
        thread.join(30)
