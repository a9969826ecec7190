"""The contracts in proto/: commented, linted, and the generated Python current."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
ADMIN = Path("kessai/admin/v1/admin.proto")
EVENTS = Path("kessai/events/v1/events.proto")
PAYMENTS = Path("kessai/payments/v1/payments.proto")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """proto/ as it is, where it may be spoiled."""
    folder = tmp_path / "proto"
    shutil.copytree(PROTO, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def generate(folder: Path, option: str) -> subprocess.CompletedProcess[str]:
    """Runs the folder's own generate.py."""
    return subprocess.run(
        [sys.executable, folder / "generate.py", option],
        capture_output=True,
        text=True,
        check=False,
    )


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_generated_python_is_current() -> None:
    result = generate(PROTO, "--check")
    assert result.returncode == 0, result.stderr


def test_the_contracts_pass_buf_lint() -> None:
    result = generate(PROTO, "--lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_check_names_the_file_that_is_not_current(copy: Path) -> None:
    spoil(copy / EVENTS, "string flow = 4;", "string flow = 14;")
    result = generate(copy, "--check")
    assert result.returncode == 1
    assert "kessai/events/v1/events_pb2.py" in result.stderr
    assert "payments_pb2" not in result.stderr


def test_the_check_names_a_generated_file_that_has_no_source(copy: Path) -> None:
    (copy / "kessai/events/v1/gone_pb2.py").write_text("")
    result = generate(copy, "--check")
    assert result.returncode == 1
    assert "gone_pb2.py" in result.stderr


@pytest.mark.parametrize(
    ("path", "old", "new", "complaint"),
    [
        (
            EVENTS,
            "  // The flow it followed.\n",
            "",
            'Field "flow" should have a non-empty comment',
        ),
        (
            PAYMENTS,
            "  // Same as REJECT.\n",
            "",
            '"ORDER_CONFLICT_UNSPECIFIED" should have a non-empty comment',
        ),
        (
            PAYMENTS,
            "  // Reads one payment.\n",
            "",
            '"GetPayment" should have a non-empty comment',
        ),
        (
            ADMIN,
            "  // CancelTransaction.\n",
            "",
            '"OPERATOR_ACTION_CANCEL" should have a non-empty comment',
        ),
        (EVENTS, "string flow = 4;", "string Flow = 4;", '"Flow" should be lower_snake_case'),
        (PAYMENTS, "  ORDER_CONFLICT_REJECT = 1;", "  REJECT = 1;", '"REJECT" should be prefixed'),
    ],
)
def test_buf_lint_can_fail(copy: Path, path: Path, old: str, new: str, complaint: str) -> None:
    spoil(copy / path, old, new)
    result = generate(copy, "--lint")
    assert result.returncode != 0
    assert complaint in result.stdout


def uncommented(folder: Path, scratch: Path) -> list[str]:
    """Every field, value, message, enum, service and method without a comment before it.

    Found without buf, so that neither its rules nor an ignore comment decide.
    """
    spec = importlib.util.spec_from_file_location("generate_script", folder / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    third_party, image = scratch / "third.binpb", scratch / "image.binpb"
    script.write_third_party_descriptors(third_party)
    out = ["--include_source_info", f"--descriptor_set_out={image}"]
    script.run_protoc([*out, *script.sources()], third_party)
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    found = []
    for file in files.file:
        commented = {
            tuple(place.path)
            for place in file.source_code_info.location
            if place.leading_comments.strip()
        }
        found += [f"{file.name}: {name}" for path, name in _elements(file) if path not in commented]
    return sorted(found)


def _elements(file: descriptor_pb2.FileDescriptorProto) -> list[tuple[tuple[int, ...], str]]:
    """(path in the descriptor, name); the numbers are descriptor.proto's field numbers."""
    found: list[tuple[tuple[int, ...], str]] = []
    for i, message in enumerate(file.message_type):
        found += _parts(message, (4, i), message.name)
    for i, enum in enumerate(file.enum_type):
        found.append(((5, i), enum.name))
        found += [((5, i, 2, j), f"{enum.name}.{v.name}") for j, v in enumerate(enum.value)]
    for i, service in enumerate(file.service):
        found.append(((6, i), service.name))
        found += [((6, i, 2, j), f"{service.name}.{m.name}") for j, m in enumerate(service.method)]
    return found


def _parts(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...], name: str
) -> list[tuple[tuple[int, ...], str]]:
    """A message, its fields, and the messages in it."""
    assert not message.enum_type, "nested enums are not looked into"
    found = [(path, name)]
    found += [((*path, 2, j), f"{name}.{f.name}") for j, f in enumerate(message.field)]
    for k, nested in enumerate(message.nested_type):
        found += _parts(nested, (*path, 3, k), f"{name}.{nested.name}")
    return found


def test_everything_in_the_contracts_has_a_comment(tmp_path: Path) -> None:
    assert uncommented(PROTO, tmp_path) == []


def test_a_missing_comment_is_found(copy: Path, tmp_path: Path) -> None:
    spoil(copy / EVENTS, "  // The flow it followed.\n", "")
    spoil(copy / PAYMENTS, "  // Same as REJECT.\n", "")
    assert uncommented(copy, tmp_path) == [
        "kessai/events/v1/events.proto: PaymentSettled.flow",
        "kessai/payments/v1/payments.proto: OrderConflict.ORDER_CONFLICT_UNSPECIFIED",
    ]
