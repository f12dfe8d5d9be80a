"""Tests of the configuration."""

from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from node.settings.config import Config, ConfigError, load
from node.settings.site import When

ROOT = Path(__file__).parents[2]
ARCHIVE = {"name": "archive", "ae_title": "ARCHIVE", "host": "localhost", "port": 104}
GOOD: dict[str, object] = {
    "receive": {"callers": [{"ae_title": "CT1", "hosts": ["10.0.0.0/8"]}]},
    "destinations": [ARCHIVE],
}


def write(folder: Path, settings: object) -> Path:
    """Write a configuration file."""
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def site_rule(**settings: object) -> dict[str, list[dict[str, object]]]:
    """Make the section of one site rule, for CT unless told otherwise."""
    return {"site_rules": [{"name": "a", "when": {"modality": ["CT"]}} | settings]}


def web(**settings: object) -> dict[str, list[dict[str, object]]]:
    """Make the section of one DICOMweb destination."""
    return {"destinations": [{"name": "a", "type": "dicomweb", "url": "https://host"} | settings]}


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """List the dotted keys of a section and of those below it."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        sections = [part for part in parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]
        below = [keys(section, f"{prefix}{name}.") for section in sections]
        found |= set().union(*below) if below else {prefix + name}
    return found


def parts(kind: object) -> list[object]:
    """List what a type is made of, itself included."""
    return [kind, *(part for each in getattr(kind, "__args__", ()) for part in parts(each))]


def given(value: object, prefix: str = "") -> set[str]:
    """List the dotted keys of a file, positions in lists left out."""
    if isinstance(value, list):
        return set().union(*(given(item, prefix) for item in value)) or {prefix.rstrip(".")}
    if isinstance(value, dict):
        return set().union(*(given(item, f"{prefix}{key}.") for key, item in value.items()))
    return {prefix.rstrip(".")}


def examples(text: str, before: str) -> list[object]:
    """Return the items of a list that stand commented out below a line, as the file would hold them."""
    return list(example(text, before))


def example(text: str, before: str) -> Any:
    """Return what stands commented out below a line, as the file would hold it."""
    lines = text.split(before, 1)[1].splitlines()[1:]
    commented = [line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines)]
    return yaml.safe_load("\n".join(commented))


def test_the_shipped_file_is_complete_and_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """node.yaml loads, its commented examples too, and every key that the schema knows stands in it."""
    shipped = ROOT / "node.yaml"
    load(shipped)
    whole = yaml.safe_load(shipped.read_text())
    whole["site_rules"] = examples(shipped.read_text(), "site_rules: []")
    whole["destinations"] += examples(shipped.read_text(), "    tls: null")
    whole["dicomweb"]["clients"] = examples(shipped.read_text(), "  clients: []")
    whole["commitment"]["peers"] = examples(shipped.read_text(), "  peers: []")
    whole["web"]["proxy"] |= example(shipped.read_text(), "    login: null") | {"addresses": ["10.0.0.1"]}
    whole["web"] |= example(shipped.read_text(), "  oidc: null") | {"url": "https://bodytag.example"}
    whole["notify"] |= example(shipped.read_text(), "  email: null")
    whole["notify"]["webhooks"] = examples(shipped.read_text(), "  webhooks: []")
    nothing = {"destinations.when", "destinations.tls", "scaling.urgent"}  # null in the first destination
    conditions = {f"destinations.when.{key}" for key in keys(When)}  # shown with the site's rules
    conditions |= {f"scaling.urgent.{key}" for key in keys(When)}
    assert given(whole) - nothing - conditions == keys(Config) - conditions
    monkeypatch.setenv("CLOUD_PASSWORD", "a")
    monkeypatch.setenv("CLOUD_TOKEN", "b")
    monkeypatch.setenv("BODYTAG_APP1_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("BODYTAG_APP3_PASSWORD", "0123456789abcdef")
    complete = load(write(tmp_path, whole))
    assert len(complete.site_rules) > 3
    assert [each.type for each in complete.destinations] == ["dicom", *["dicomweb"] * 3, "folder"]


def test_the_shipped_file_shows_the_defaults() -> None:
    """What node.yaml says is what the node does without it, but for callers, destinations and paths."""
    shipped = load(ROOT / "node.yaml")
    for name in ("dicomweb", "web", "commitment", "series", "classify", "rules", "relabel", "notify", "log",
                 "dispatch", "scaling"):  # fmt: skip
        assert getattr(shipped, name) == getattr(Config.standalone(), name), name
    bare = Config.standalone().receive.model_copy(update={"promiscuous": False})
    assert shipped.receive.model_copy(update={"callers": ()}) == bare


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"recieve": {}}, "recieve: is no known key"),
        ({"series": {"stable_age": 3}}, "series.stable_age: is no known key"),
        ({"series": {"stable_age_s": "soon"}}, "series.stable_age_s: Input should be a valid number"),
        ({"receive": {"promiscuous": True, "port": 70000}}, "receive.port: a port lies between 0 and 65535"),
        (
            {"receive": {"promiscuous": True, "ae_title": "X" * 17}},
            "receive.ae_title: an AE title has",
        ),
        ({"receive": {}}, "receive.callers: nobody may send"),
        (
            {"classify": {"runtime": "onnxruntime", "precision": "bfloat16"}},
            "classify: onnxruntime computes in single precision alone",
        ),
        ({"receive": {"callers": [{"ae_title": "A", "hosts": ["nowhere"]}]}}, "receive.callers.0.hosts.0: "),
        ({"rules": ["magic"]}, "rules: there is no rule 'magic'; known are abdomen_chest"),
        ({"forward_to": ["arcive"]}, "forward_to.0: there is no destination 'arcive'"),
        ({"destinations": [ARCHIVE, ARCHIVE]}, "destinations: two destinations are named 'archive'"),
        ({"destinations": [{"name": "a"}]}, "destinations.0.ae_title: Field required"),
        ({"destinations": [{"name": "a", "type": "ftp"}]}, "destinations.0: type must be dicom, dicomweb or"),
        (web(user="me"), "destinations.0: user and password go together"),
        (web(token="x", token_file="y"), "destinations.0: only one of user, token and token_file can log in"),
        (web(url="https://me:secret@host"), "destinations.0.url: an address holds no password"),
        (web(url="ftp://host"), "destinations.0.url: an address begins with https://"),
        (web(url="http://host", tls={"ca": "ca.pem"}), "destinations.0: tls needs an address that begins"),
        (web(tls={"key": "a.key"}), "destinations.0.tls: certificate and key go together"),
        (web(concurrency=17), "destinations.0.concurrency: Input should be less than or equal to 16"),
        (web(when={"modality": "CT"}), "destinations.0.when.modality: "),
        ({"database": {"url": "${NO_SUCH_NAME}"}}, "database.url: the environment variable NO_SUCH_NAME"),
        ({"rules": ["order", "smooth"]}, "rules: 'order' decides; it must be the last rule"),
        ({"site_rules": [{"name": "a", "when": {}, "keep": True}]}, "site_rules.0: when: a rule without a"),
        (
            {"site_rules": [{"name": "a", "when": {"modality": ["CT"]}}]},
            "site_rules.0: a rule must say what to do",
        ),
        (site_rule(set="KNEE", keep=True), "site_rules.0: a rule cannot set the term and keep the tags"),
        (site_rule(set="LEG"), "site_rules.0.set: 'LEG' is no term that can be written"),
        (site_rule(route=["nowhere"]), "site_rules.0.route: no series goes to a destination 'nowhere'"),
        (
            site_rule(skip=True, when={"verdict": ["KNEE"]}),
            "site_rules.0: a rule that skips the images cannot",
        ),
        (site_rule(keep=True, when={"verdict": ["knee"]}), "site_rules.0.when.verdict.0: 'knee' is no term"),
        (
            site_rule(keep=True, when={"series_description": "(a"}),
            "site_rules.0.when.series_description: the pattern '(a' cannot be used: missing )",
        ),
        (
            site_rule(keep=True, when={"series_description": "a" * 201}),
            "site_rules.0.when.series_description: a pattern has at most 200 characters",
        ),
        (
            {"site_rules": [*site_rule(keep=True)["site_rules"], *site_rule(keep=True)["site_rules"]]},
            "site_rules.1: another rule is named 'a'",
        ),
        (
            {"relabel": {"fill_confidence": 1.5}},
            "relabel.fill_confidence: Input should be less",
        ),
    ],
)
def test_mistakes_are_sentences_with_the_path(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    """Each mistake names the file, the key's path and what is wrong."""
    path = write(tmp_path, GOOD | change)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert f"{path}: {sentence}" in str(error.value)


@pytest.mark.parametrize(("text", "sentence"), [("- a", "must hold keys"), ("a: [", "is not valid YAML")])
def test_files_that_are_no_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    """A list and broken YAML are named as such, in one line."""
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """A path that does not exist is said to be unreadable."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "node.yaml")


def test_environment_variables_stand_for_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """${NAME} inside a value is replaced."""
    monkeypatch.setenv("SECRET", "s3cret")
    path = write(tmp_path, GOOD | {"database": {"url": "postgresql://u:${SECRET}@db/x"}})
    assert load(path).database.url == "postgresql://u:s3cret@db/x"


def test_relative_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool, database and weights lie beside the configuration, wherever the node is started."""
    monkeypatch.chdir("/")
    config = load(write(tmp_path, GOOD | {"classify": {"weights": {"CT": "mine.npz"}}}))
    assert config.spool.folder == tmp_path / "spool"
    assert config.database.url == f"sqlite:///{tmp_path}/bodytag.sqlite"
    assert config.weights()["CT"] == tmp_path / "mine.npz"
    assert config.weights()["MR"].is_file()


def test_forwarding_defaults_to_all_destinations(tmp_path: Path) -> None:
    """Without forward_to every destination gets every series; an empty list means none."""
    assert [each.name for each in load(write(tmp_path, GOOD)).forwarded] == ["archive"]
    assert load(write(tmp_path, GOOD | {"forward_to": []})).forwarded == ()


def test_nothing_can_be_changed_after_loading(tmp_path: Path) -> None:
    """The configuration is frozen."""
    config = load(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        config.series.stable_age_s = 1


def test_callers_are_admitted_by_title_and_address(tmp_path: Path) -> None:
    """Both the AE title and, where networks are listed, the address must fit."""
    [caller] = load(write(tmp_path, GOOD)).receive.callers
    assert caller.admits("CT1", "10.9.9.9")
    assert caller.admits("CT1", "::ffff:10.9.9.9")
    assert not caller.admits("CT2", "10.9.9.9")
    assert not caller.admits("CT1", "192.168.0.1")


def test_secrets_show_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords and tokens are in no dump of the configuration, and in no sentence about a mistake."""
    monkeypatch.setenv("SECRET", "tell-nobody")
    settings = web(user="me", password="${SECRET}")["destinations"]
    settings += web(name="b", token="${SECRET}")["destinations"]
    database = {"url": "postgresql+psycopg://me:${SECRET}@host/db"}
    config = load(write(tmp_path, GOOD | {"destinations": settings, "database": database}))
    assert "tell-nobody" in config.database.url
    for dump in (repr(config), str(config), config.model_dump_json(exclude={"database"})):
        assert "tell-nobody" not in dump
    settings[0]["password"] = ["${SECRET}"]
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, GOOD | {"destinations": settings}))
    assert "tell-nobody" not in str(error.value)
