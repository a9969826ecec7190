"""What is shipped: a wheel of every package of ours, typed, with its contracts; and the image.

Docker is not needed: the image is judged by its Dockerfile, whose commands are run here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "adapters": ROOT / "adapters",
    "benchmarks": ROOT / "benchmarks",
    "buf": ROOT / "proto/buf",
    "coordinator": ROOT / "coordinator",
    "fault_injection": ROOT / "fault_injection",
    "kessai": ROOT / "proto/kessai",
    "participants": ROOT / "participants",
    "phases": ROOT / "phases",
}
"""The folder of each package that is installed."""
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SHIPPED = {".py", ".pyi", ".proto", ".mako", ".typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel, built from a copy: nothing is left in the repository."""
    copy, into = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("tests", "proto", *PACKAGES.keys() - {"buf", "kessai"}):
        skip = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / folder, copy / folder, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", into, copy],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = into.glob("kessai-*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def source_of(package: str) -> set[str]:
    """The files of a package that belong into the wheel, as they are named there."""
    folder = PACKAGES[package]
    return {
        f"{package}/{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.is_file()
        and (path.suffix in SHIPPED or path.name == "py.typed")
        and "peers" not in path.parts  # of the benchmarks: they run from a checkout alone
    }


def test_the_wheel_holds_every_file_of_our_packages_and_no_other(wheel: set[str]) -> None:
    assert wheel == set().union(*map(source_of, PACKAGES))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str, wheel: set[str]) -> None:
    assert f"{package}/py.typed" in wheel


@pytest.mark.parametrize("name", ["admin", "events", "participant", "payments"])
def test_a_contract_comes_with_its_python_and_its_types(name: str, wheel: set[str]) -> None:
    folder = f"kessai/{name}/v1/{name}"
    assert {f"{folder}.proto", f"{folder}_pb2.py", f"{folder}_pb2.pyi"} <= wheel


def test_the_migrations_and_their_template_are_installed(wheel: set[str]) -> None:
    assert "adapters/postgres/migrations/env.py" in wheel
    assert "adapters/postgres/migrations/script.py.mako" in wheel
    assert any(name.startswith("adapters/postgres/migrations/versions/r0001") for name in wheel)


def test_no_tests_are_installed(wheel: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel} == set(PACKAGES)


# --- the image -----------------------------------------------------------------------------


def healthcheck(address: str) -> int:
    """The exit status of the image's own check, for a server at `address`."""
    found = re.search(r"HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"KESSAI_LISTEN": address},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


@contextmanager
def serving(status: health_pb2.HealthCheckResponse.ServingStatus) -> Iterator[str]:
    """A server that says this of itself; gives its address as a container would listen."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", status)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"0.0.0.0:{port}"
    finally:
        server.stop(None).wait()


def test_a_server_that_serves_is_healthy() -> None:
    with serving(health_pb2.HealthCheckResponse.SERVING) as address:
        assert healthcheck(address) == 0


def test_a_server_that_drains_is_not_healthy() -> None:
    with serving(health_pb2.HealthCheckResponse.NOT_SERVING) as address:
        assert healthcheck(address) != 0


def test_a_port_where_nothing_listens_is_not_healthy() -> None:
    assert healthcheck("0.0.0.0:1") != 0


@pytest.mark.parametrize(
    "line", [line for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines() if "pip" in line]
)
def test_the_image_installs_nothing_that_is_not_pinned_by_hash(line: str) -> None:
    for command in line.split("&&"):
        if "pip install" in command:
            own = command.rstrip().endswith("/wheels/*.whl")
            assert own or "--require-hashes -r requirements/" in command


@pytest.mark.parametrize("text", [DOCKERFILE, (ROOT / "Makefile").read_text()])
def test_no_install_looks_for_versions_newer_than_the_pinned_ones(text: str) -> None:
    # Without --no-deps, pip takes the newest of what is asked for with an extra (coverage[toml]),
    # and refuses it for want of a hash as soon as it is newer than the pinned one.
    installs = re.findall(r"pip install [^&\n]*", text)
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


def test_the_pinned_list_is_complete() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_the_build_takes_setuptools_alone_out_of_the_pinned_list() -> None:
    found = re.search(r"RUN (sed .*) > requirements/build.txt", DOCKERFILE)
    assert found is not None
    built = subprocess.run(
        ["sh", "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^\S+", built, re.MULTILINE) == re.findall(
        r"^setuptools==\S+", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE
    )
    assert built.count("--hash=sha256:") >= 1
