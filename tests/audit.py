"""`make audit`: an SBOM of what is installed, and its known weaknesses as far as a database can be asked.

Exit status: 0 nothing is known, 1 something is, 2 nobody could be asked.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "build" / "sbom.cdx.json"
PATIENCE_S = 600


@dataclass(frozen=True)
class Weakness:
    """A known weakness of an installed package."""

    package: str
    version: str
    name: str
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = ", ".join(self.mended_in) or "no version yet"
        return f"{self.package} {self.version}: {self.name}, mended in {mended}"


class NobodyToAsk(Exception):  # noqa: N818 - no fault of the program
    """Neither of the databases answered; the message is what was said last."""


def write_sbom(path: Path) -> int:
    """Write the SBOM in CycloneDX JSON; return how many components it lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["environment", "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(path), sys.executable]
    subprocess.run([sys.executable, "-m", "cyclonedx_py", *arguments], check=True, timeout=PATIENCE_S)
    return len(json.loads(path.read_text(encoding="utf-8"))["components"])


def ask(service: str) -> tuple[int, list[Weakness], list[str]]:
    """Ask a database; return how many packages it knows, what is weak, and what could not be looked up.

    Raises NobodyToAsk.
    """
    options = ["-s", service, "-f", "json", "--skip-editable", "--timeout", "30"]
    asked = subprocess.run(
        [sys.executable, "-m", "pip_audit", *options], capture_output=True, text=True, timeout=PATIENCE_S
    )
    try:
        found = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = [line for line in asked.stderr.splitlines() if line.strip()] or ["no answer"]
        raise NobodyToAsk(lines[-1][:300]) from None
    return read(found)


def read(found: list[dict[str, object]]) -> tuple[int, list[Weakness], list[str]]:
    """Read pip-audit's list of packages."""
    weak = []
    skipped = [f"{each['name']}: {each['skip_reason']}" for each in found if "skip_reason" in each]
    for each in found:
        known = each.get("vulns", [])
        assert isinstance(known, list)
        for one in known:
            weakness = Weakness(
                str(each["name"]), str(each["version"]), str(one["id"]), tuple(one["fix_versions"])
            )
            weak.append(weakness)
    return len(found) - len(skipped), weak, skipped


def main() -> int:
    """Write the SBOM, ask one database after the other until one answers, and say what was found."""
    print(f"{SBOM.relative_to(ROOT)}: {write_sbom(SBOM)} components (CycloneDX)")
    for service in ("pypi", "osv"):
        try:
            count, weak, skipped = ask(service)
        except (NobodyToAsk, subprocess.TimeoutExpired) as error:
            print(f"the database '{service}' cannot be asked: {error}")
            continue
        if not count:
            print(f"the database '{service}' knows none of {len(skipped)} packages")
            continue
        for line in (*skipped, *weak):
            print(line)
        print(f"'{service}': {count} packages, {len(weak)} known weaknesses, {len(skipped)} not looked up")
        return 1 if weak else 0
    print("NOT AUDITED: no network, or no index that knows of weaknesses. Audit the SBOM elsewhere.")
    return 2


if __name__ == "__main__":
    sys.exit(main())
