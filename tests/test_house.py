"""Tests of the house itself: sizes, first lines, layout, and documents that keep up with the code."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main

from node.cli.app import app

ROOT = Path(__file__).parents[1]
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
SOURCES = [path for path in TRACKED if path.suffix == ".py"]
TEXTS = [path for path in TRACKED if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ""}]


def names(path: Path) -> str:
    """Name a file as the repository does."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """List the functions and methods of a module."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_files_and_functions_are_small(path: Path) -> None:
    """No file has over 400 lines, no function over 50."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    lines = {each.name: (each.end_lineno or 0) - each.lineno + 1 for each in functions(ast.parse(text))}
    assert [name for name, count in lines.items() if count > 50] == []


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_files_say_what_they_are(path: Path) -> None:
    """Each file begins with a docstring of one sentence; `__init__.py` holds nothing else."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring
    assert len(docstring.splitlines()[0]) <= 110
    if path.name == "__init__.py":
        assert len(tree.body) == 1


@pytest.mark.parametrize("path", [path for path in SOURCES if "tests" in path.parts], ids=names)
def test_tests_do_not_sleep(path: Path) -> None:
    """Tests wait for something with a deadline; every test says in a docstring what it holds."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [each for each in called if isinstance(each, ast.Attribute) and each.attr == "sleep"]
    assert not [
        each.name for each in functions(tree) if each.name.startswith("test_") and not ast.get_docstring(each)
    ]


def test_broad_excepts_stand_at_the_edges_only() -> None:
    """Every exception is caught only in the handlers and in the loops."""
    names_of_loops = ("series", "delivery/dispatch", "delivery/forward", "storage/retention",
                      "intake/commitment", "intake/desk", "intake/door", "intake/clerks",
                      "notifying/notifier", "listening", "scaling/sweeper")  # fmt: skip
    loops = {f"node/{name}.py" for name in names_of_loops}
    edges = loops | {
        "node/intake/scp.py",
        "node/delivery/transcode.py",
        "node/worker.py",
        "node/ahead.py",
        "node/glance.py",
    }
    broad = {
        names(path)
        for path in SOURCES
        if "tests" not in path.parts and re.search(r"except( Exception|:)", path.read_text(encoding="utf-8"))
    }
    assert broad <= edges


def test_top_level_is_the_owners() -> None:
    """The top folders are those that were agreed on."""
    folders = {path.relative_to(ROOT).parts[0] for path in TRACKED if path.parent != ROOT}
    assert folders == {".ci", "db", "docker", "model", "node", "rules", "tests"}


def test_readme_names_every_command() -> None:
    """Each command of `bodytag` stands in the README's table."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert commands
    assert [name for name in commands if f"`bodytag {name}" not in readme] == []


@pytest.mark.parametrize("path", [path for path in TRACKED if path.suffix == ".md"], ids=names)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links in the documents point to files that are there."""
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_contributing_explains_every_dependency() -> None:
    """Each package of pyproject.toml has its line in CONTRIBUTING.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["postgresql"]
    packages = [re.split(r"[>\[]", requirement)[0] for requirement in listed]
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in packages if name not in contributing] == []


def test_weights_stay_small() -> None:
    """No file of the repository is over 30 MB."""
    assert [names(path) for path in TRACKED if path.stat().st_size > 30e6] == []
