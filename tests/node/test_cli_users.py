"""The commands about users: what they keep, print and refuse."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from db.session import migrate
from node.cli.app import app
from node.settings.config import load

PASSWORD = "a-password-for-tests"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with an empty database."""
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump({"receive": {"promiscuous": True}}))
    migrate(load(path).database.url)
    return path


def user(config: Path, *arguments: str, said: str = "", status: int = 0) -> str:
    """Run `bodytag user` and return what it printed."""
    result = CliRunner().invoke(app, ["user", *arguments, "-c", str(config)], input=said)
    assert result.exit_code == status, result.output
    return result.output


def test_users_are_added_listed_changed_and_removed(config: Path) -> None:
    """A user's life by commands, with a line in the audit trail for each of them."""
    assert (
        user(config, "add", "Nina", "--role", "operator", said=f"{PASSWORD}\n")
        == "Nina is added as operator\n"
    )
    user(config, "role", "nina", "admin")
    token = user(config, "token", "nina", "--purpose", "notebook", "--days", "7").strip()
    assert token.startswith("bodytag_")
    (found,) = json.loads(user(config, "list", "--json"))
    assert (found["name"], found["role"], found["origin"]) == ("nina", "admin", "local")
    assert [(each["purpose"], each["role"]) for each in found["tokens"]] == [("notebook", "viewer")]
    assert token not in user(config, "list")
    user(config, "token", "nina", "--remove", str(found["tokens"][0]["id"]))
    user(config, "password", "nina", "--generate")
    user(config, "remove", "NINA")
    assert json.loads(user(config, "list", "--json")) == []
    trail = [json.loads(line) for line in (config.parent / "audit.jsonl").read_text().splitlines()]
    whats = ["added", "role", "token", "token removed", "password", "removed"]
    assert [each["what"] for each in trail] == whats
    assert not any(secret in json.dumps(trail) for secret in (PASSWORD, token))


@pytest.mark.parametrize(
    ("arguments", "said", "sentence"),
    [
        (("add", "a b"), PASSWORD, "a name has 1 to 64 characters"),
        (("add", "nina"), "short", "a password has at least 12 characters"),
        (("add", "OTTO"), PASSWORD, "there is a user 'otto' already"),
        (("add", "nina", "--origin", "oidc"), "", "are added when they log in"),
        (("password", "nobody"), PASSWORD, "there is no user 'nobody'"),
        (("password", "proxied"), PASSWORD, "logs in elsewhere and has no password here"),
        (("token", "otto", "--role", "admin"), "", "a token of it cannot have admin"),
        (("token", "otto", "--remove", "99"), "", "there is no token 99"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    config: Path, arguments: tuple[str, ...], said: str, sentence: str
) -> None:
    """Bad names, short passwords, unknown users: status 2 and the reason."""
    user(config, "add", "otto", said=f"{PASSWORD}\n")
    user(config, "add", "proxied", "--origin", "proxy")
    assert sentence in user(config, *arguments, said=f"{said}\n", status=2)
