"""Commands about the users of the page: adding, listing, passwords, roles, tokens, removing."""

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from db.accounts import Account, Origin, Role
from db.session import open_migrated
from node.auditing.audit import Trail
from node.cli.options import ConfigOption, JsonOption, fail, sentences, terminal
from node.settings.config import load
from node.web.passwords import PasswordError, new_password
from node.web.users import UserError, Users

user = typer.Typer(
    help="Manage who may log in to the page, and the tokens of programs.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="the user")]
Generate = Annotated[
    bool, typer.Option("--generate", help="make a password, print it, and ask for another at the first login")
]


@user.command()
def add(
    name: Name,
    config: ConfigOption = Path("node.yaml"),
    role: Annotated[Role, typer.Option(help="what the user may")] = Role.VIEWER,
    origin: Annotated[
        Origin, typer.Option(help="where the user logs in: here, or at a proxy")
    ] = Origin.LOCAL,
    generate: Generate = False,
) -> None:
    """Add a user; the password is asked for, or read from the standard input."""
    if origin is Origin.OIDC:
        fail("users of the OpenID provider are added when they log in")
    with _users(config) as users:
        password = _password(generate) if origin is Origin.LOCAL else None
        users.add(name, role, password, origin, generate)
    _tell(f"{name} is added as {role}", password if generate else None)


@user.command()
def password(name: Name, config: ConfigOption = Path("node.yaml"), generate: Generate = False) -> None:
    """Replace a user's password; wherever the user is logged in, that ends."""
    with _users(config) as users:
        users.named(name)
        new = _password(generate)
        users.set_password(name, new, generate)
    _tell(f"{name} has a new password", new if generate else None)


@user.command()
def role(
    name: Name, role: Annotated[Role, typer.Argument()], config: ConfigOption = Path("node.yaml")
) -> None:
    """Give a user another role; it counts at once."""
    with _users(config) as users:
        users.set_role(name, role)
    print(f"{name} is {role}")


@user.command()
def remove(name: Name, config: ConfigOption = Path("node.yaml")) -> None:
    """Remove a user, with all logins and tokens."""
    with _users(config) as users:
        users.remove(name)
    print(f"{name} is removed")


@user.command("list")
def list_users(config: ConfigOption = Path("node.yaml"), as_json: JsonOption = False) -> None:
    """List users and tokens."""
    with _users(config) as users:
        found, tokens = users.all(), users.tokens()
    lines = [
        _plain(each) | {"tokens": [_token(one) for one in tokens if one.user_name == each.user.name]}
        for each in found
    ]
    if as_json:
        print(json.dumps(lines))
        return
    table = Table()
    for heading in ("user", "role", "logs in", "last login", "tokens"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        told = "\n".join(f"{one['id']}: {one['role']}, {one['purpose']}" for one in line["tokens"])
        table.add_row(line["name"], line["role"], line["origin"], line["last_login_at"] or "never", told)
    terminal().print(table)


@user.command()
def token(
    name: Name,
    config: ConfigOption = Path("node.yaml"),
    role: Annotated[Role, typer.Option(help="what the token may, at most what its user may")] = Role.VIEWER,
    purpose: Annotated[str, typer.Option(help="what it is for, for those who look later")] = "",
    days: Annotated[float | None, typer.Option(min=0.01, help="for how long; none: for good")] = None,
    drop: Annotated[
        int | None, typer.Option("--remove", help="remove the token of this number instead")
    ] = None,
) -> None:
    """Make a bearer token for a program, and print it: it cannot be seen again."""
    with _users(config) as users:
        if drop is not None:
            users.remove_token(drop, users.named(name).id)
            print(f"token {drop} is removed")
            return
        print(users.new_token(name, role, purpose, days))


@contextmanager
def _users(config: Path) -> Iterator[Users]:
    with sentences():
        settings = load(config)
        database = open_migrated(settings.database.url)
        try:
            yield Users(database, Trail(settings.audit.file), _who())
        except (UserError, PasswordError) as error:
            fail(str(error))
        finally:
            database.close()


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _password(generate: bool) -> str:
    if generate:
        return new_password()
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("password", hide_input=True, confirmation_prompt=True))


def _tell(what: str, generated: str | None) -> None:
    print(what if generated is None else f"{what}; password, to be changed at the first login: {generated}")


def _plain(account: Account) -> dict[str, Any]:
    return {
        "name": account.user.name,
        "role": account.user.role,
        "origin": account.user.origin,
        "created_at": _text(account.created_at),
        "last_login_at": _text(account.last_login_at),
    }


def _token(one: Any) -> dict[str, Any]:
    times = {"created_at": one.created_at, "expires_at": one.expires_at, "used_at": one.used_at}
    told = {name: _text(time) for name, time in times.items()}
    return {"id": one.id, "role": one.role, "purpose": one.purpose, **told}


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
