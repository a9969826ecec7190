"""What is in the repository: pinned requirements, no hosts or machine paths, a current diagram."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from coordinator.domain.machine import mermaid

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

# Written in halves, so that this file does not name what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("maven", "org"),
        ("buf", "build"),
    )
)
MACHINE_PATH = re.compile(
    r"(?<![\w.$}~-])/(?:home|Users|root|work|private|mnt)/[A-Za-z0-9._-]+|[A-Z]:\\\\?Users"
)


def tracked() -> list[Path]:
    """Every file that is in git or would be added; outside a checkout, every file there is."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and not _is_local(path)]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _is_local(path: Path) -> bool:
    return any(
        part.startswith(".") or part == "__pycache__" for part in path.parts[len(ROOT.parts) :]
    )


def foreign_names(text: str) -> list[str]:
    """Registry hosts and absolute paths of somebody's machine that the text names."""
    hosts = [host for host in REGISTRY_HOSTS if re.search(rf"\b{re.escape(host)}\b", text)]
    return hosts + MACHINE_PATH.findall(text)


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found = {}
    for path in tracked():
        try:
            names = foreign_names(path.read_text())
        except UnicodeDecodeError:
            continue
        if names:
            found[str(path.relative_to(ROOT))] = names
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        f"index-url = https://{REGISTRY_HOSTS[0]}/simple",
        f"https://files.{REGISTRY_HOSTS[1]}/packages/x.whl",
        "GOPROXY=" + REGISTRY_HOSTS[3],
        "cd /" + "home/alice/kessai",
        "open('/" + "Users/alice/x')",
        "file:///" + "root/x",
        "python /" + "work/main/x.py",
    ],
)
def test_a_registry_or_a_machine_path_is_found(text: str) -> None:
    assert foreign_names(text)


@pytest.mark.parametrize(
    "text",
    ["/tmp/kessai", "/usr/bin/env", "docs/home/x", "~/home/x", "${HOME}/home/x", "/home", "a.io"],
)
def test_a_harmless_path_is_left_alone(text: str) -> None:
    assert foreign_names(text) == []


def loose_requirements(text: str) -> list[str]:
    """The requirements that are not pinned by version and hash, and every URL and option."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    pinned = re.compile(
        r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+( ;[^#]*?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    )
    return [
        line for line in lines if line and not line.startswith("#") and not pinned.fullmatch(line)
    ] + re.findall(r"\w+://\S+", text)


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_by_hash_and_name_no_host(path: Path) -> None:
    text = path.read_text()
    assert "--hash=sha256:" in text
    assert loose_requirements(text) == []


def test_there_are_requirements_for_running_for_developing_for_mutants_and_for_peers() -> None:
    names = ["dev.txt", "mutants.txt", "peers.txt", "runtime.txt"]
    assert [path.name for path in REQUIREMENTS] == names
    # The peers have an environment of their own: nothing of theirs has to agree with ours.
    dev, mutants, _, runtime = (
        set(re.findall(r"^[\w.-]+==\S+", p.read_text(), re.MULTILINE)) for p in REQUIREMENTS
    )
    assert runtime < dev < mutants


def test_the_packages_of_npm_are_pinned_by_hash_and_name_no_host() -> None:
    text = (ROOT / "benchmarks/peers/package-lock.json").read_text()
    packages = {name: has for name, has in json.loads(text)["packages"].items() if name}
    assert packages
    assert [name for name, has in packages.items() if "sha512-" not in has["integrity"]] == []
    assert "://" not in text


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        "grpcio",
        "grpcio>=1.85",
        "grpcio==1.85.1",
        f"grpcio>=1.85 {HASH}",
        f"grpcio==1.85.1 {HASH[:-1]}",
        f"grpcio @ https://example.test/x.whl {HASH}",
        "--index-url https://example.test/simple",
        "-e .",
    ],
)
def test_a_loose_requirement_is_found(line: str) -> None:
    assert loose_requirements(f"{line}\n")
    assert loose_requirements(f"ok==1 \\\n    {HASH}\n") == []
    assert (
        loose_requirements(f"ok==1 ; sys_platform != 'win32' \\\n    {HASH} \\\n    {HASH}") == []
    )


def diagram(text: str) -> str:
    """The Mermaid source between the markers of a document."""
    blocks = re.findall(
        r"<!-- machine -->\s*```mermaid\n(.*?)\n```\s*<!-- /machine -->", text, re.DOTALL
    )
    assert len(blocks) == 1, "a document shows the machine once"
    return str(blocks[0])


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_the_documents_show_the_machine_as_it_is(name: str) -> None:
    assert diagram((ROOT / name).read_text()) == mermaid()


def test_an_old_diagram_is_found() -> None:
    def page(source: str) -> str:
        return f"# A\n<!-- machine -->\n```mermaid\n{source}\n```\n<!-- /machine -->\nb\n"

    assert diagram(page(mermaid())) == mermaid()
    assert diagram(page(mermaid().replace("CREATED --> RESERVED", "CREATED --> PAID"))) != mermaid()
    with pytest.raises(AssertionError, match="once"):
        diagram("no diagram")
    with pytest.raises(AssertionError, match="once"):
        diagram(page("a") + page("b"))


def test_no_fixture_comes_back_to_a_database_that_it_has_used() -> None:
    # On several cores a worker may set a module's fixtures up a second time.
    shared = re.compile(r"\bpostgres\.ensure_database\(")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if shared.search(path.read_text()) and path.name != "conftest.py"
    ]
    assert [path for path in found if path != "tests/architecture/test_repository.py"] == []
