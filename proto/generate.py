"""Makes the generated Python from the .proto files, and lints them.

    python proto/generate.py            write the generated files
    python proto/generate.py --check    exit 1 and name the files that are not current
    python proto/generate.py --lint     lint with buf

protovalidate's wheel carries the descriptor of buf/validate/validate.proto but not its text, so the
descriptor is taken from the wheel and handed to protoc; nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

HERE = Path(__file__).resolve().parent
THIRD_PARTY = "buf/validate/validate.proto"
HEADER = "# ruff: noqa\n# mypy: ignore-errors\n"


def sources() -> list[str]:
    """Every .proto of ours, relative to this folder."""
    return sorted(str(path.relative_to(HERE)) for path in HERE.glob("kessai/**/*.proto"))


def write_third_party_descriptors(path: Path) -> None:
    """Writes validate.proto and what it imports as one FileDescriptorSet."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    path.write_bytes(files.SerializeToString())


def run_protoc(arguments: list[str], descriptors: Path) -> None:
    """Runs protoc over our folder; raises SystemExit with its status when it fails."""
    status = protoc.main(
        ["protoc", f"--proto_path={HERE}", f"--descriptor_set_in={descriptors}", *arguments]
    )
    if status:
        raise SystemExit(status)


def generate(into: Path) -> None:
    """Writes every generated file below `into`."""
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch) / "third-party.binpb"
        write_third_party_descriptors(descriptors)
        services = [name for name in sources() if "\nservice " in (HERE / name).read_text()]
        out = [f"--python_out={into}", f"--pyi_out={into}"]
        run_protoc([*out, *sources(), THIRD_PARTY], descriptors)
        run_protoc([f"--grpc_python_out={into}", *services], descriptors)
    for path in generated(into):
        path.write_text(HEADER + path.read_text())


def generated(root: Path) -> list[Path]:
    """The generated files below `root`."""
    return sorted(path for path in root.glob("**/*_pb2*") if path.suffix in {".py", ".pyi"})


def check() -> int:
    """Compares what stands here with what would be generated; returns the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh_root = Path(scratch)
        generate(fresh_root)
        fresh = {path.relative_to(fresh_root): path.read_bytes() for path in generated(fresh_root)}
        present = {path.relative_to(HERE): path.read_bytes() for path in generated(HERE)}
    stale = sorted(
        str(name) for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name)
    )
    for name in stale:
        print(f"not current: proto/{name}; run `make proto`", file=sys.stderr)
    return 1 if stale else 0


def lint() -> int:
    """Lints with buf, over an image that protoc made, so that no module registry is asked."""
    buf = Path(sys.executable).parent / "buf"
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch) / "third-party.binpb"
        image = Path(scratch) / "image.binpb"
        write_third_party_descriptors(descriptors)
        run_protoc(
            [
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={image}",
                *sources(),
            ],
            descriptors,
        )
        command = str(buf) if buf.exists() else shutil.which("buf") or "buf"
        arguments = [command, "lint", str(image), "--config", str(HERE / "buf.yaml")]
        return subprocess.run(arguments, check=False).returncode


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    if "--lint" in sys.argv:
        sys.exit(lint())
    generate(HERE)
