"""`kessai up` and `kessai demo` as a newcomer runs them: real processes, from the outside."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest
import sqlalchemy as sa
from kessai.payments.v1 import payments_pb2 as pb
from typer.testing import CliRunner

from coordinator import config
from coordinator.cli import story, telling
from coordinator.cli.client import Client
from coordinator.cli.main import app
from coordinator.cli.show import state_name
from coordinator.cli.stack import PARTICIPANTS, Plan, Stack
from coordinator.cli.up import OPTIONS
from participants import ledger
from participants.merchant import CLEARING

KESSAI = (sys.executable, "-m", "coordinator.cli")
LIMIT_S = 60
PAYMENT = (
    *("payments", "create", "--flow", "points_and_card", "--amount", "1000"),
    *("--currency", "JPY", "--merchant", "shop-1", "--output", "json"),
    *("--tender", "points_reserve:alice:600", "--tender", "card_charge:tok_ok:400"),
)


class Up:
    """A running `kessai up` in a session of its own, as a terminal would have it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*KESSAI, "up", "--port", "0", "--output", "jsonl", *arguments],
            env=config.child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout is not None
        with ThreadPoolExecutor(1) as pool:
            try:
                line = pool.submit(self.process.stdout.readline).result(LIMIT_S)
            except TimeoutError:
                self.process.kill()
                raise
        if not line:
            raise AssertionError(self.process.communicate(timeout=LIMIT_S)[1])
        self.record: dict[str, Any] = json.loads(line)
        self.pids = {name: item["pid"] for name, item in self.record["processes"].items()}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `kessai`, as the demo caller."""
        env = config.child_environment(
            KESSAI_ADDRESS=self.record["address"], KESSAI_API_KEY=self.record["api_key"]
        )
        return subprocess.run(
            [*KESSAI, *arguments],
            env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said on stderr."""
        _, said = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, said


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    """Starts `kessai up`; whatever a failed test left running is stopped by its ID."""
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        started.append(Up(*arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.communicate(timeout=LIMIT_S)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside home folders; the embedded PostgreSQL opens those above it to others."""
    path = Path(tempfile.mkdtemp(prefix="kessai-tests-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def alive(pid: int) -> bool:
    """Whether the process runs. One that waits to be reaped by init does not."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


def assert_all_end(pids: dict[str, int], limit_s: float = 10) -> None:
    for _ in range(round(limit_s / 0.1)):
        left = {name for name, pid in pids.items() if alive(pid)}
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left}")


def test_ctrl_c_after_a_payment_leaves_nothing_behind(up: Callable[..., Up]) -> None:
    running = up("--fresh")
    made = running.run(*PAYMENT)
    assert made.returncode == 0, made.stderr
    payment = json.loads(made.stdout)
    assert payment["state"] == "PAYMENT_STATE_PAID"
    listed = running.run("payments", "list", "--output", "jsonl")
    assert payment["payment_id"] in listed.stdout

    os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    status, said = running.end()
    assert status == 0, said
    assert "stopped" in said
    assert_all_end(running.pids)
    assert not Path(running.record["folder"]).exists()


def test_a_part_is_captured_and_a_part_of_that_given_back_from_the_shell(
    up: Callable[..., Up],
) -> None:
    running = up("--fresh")
    reserved = running.run(*PAYMENT, "--capture", "manual", "--reserve-for", "5m")
    assert reserved.returncode == 0, reserved.stderr
    payment_id = json.loads(reserved.stdout)["payment_id"]
    taken = running.run(
        *("payments", "capture", payment_id, "--amount", "700", "--output", "json"),
        *("--split", "order:points_reserve"),
    )
    assert taken.returncode == 0, taken.stderr
    finals = {
        step["phase"]: step.get("final_amount", {}).get("minor_units")
        for step in json.loads(taken.stdout)["steps"]
    }
    assert (finals["points_reserve"], finals["card_charge"]) == ("600", "100")
    split = ("--split", "exact:points_reserve=20,card_charge=100")
    made = running.run("refunds", "create", payment_id, *split, "--output", "json")
    assert made.returncode == 0, made.stderr
    refund = json.loads(made.stdout)
    assert refund["amount"]["minor_units"] == "120"
    too_much = running.run("refunds", "create", payment_id, "--amount", "581", "-o", "json")
    assert too_much.returncode == 4
    assert json.loads(too_much.stderr)["error"] == "REFUND_EXCEEDS_PAYMENT"
    followed = running.run("refunds", "watch", refund["refund_id"])
    assert (followed.returncode, "SUCCEEDED" in followed.stdout) == (0, True)
    shown = running.run("payments", "get", payment_id)
    assert "700 JPY" in shown.stdout
    assert "120 JPY" in shown.stdout
    running.process.send_signal(signal.SIGINT)
    assert running.end()[0] == 0


def test_every_reference_participant_keeps_the_rules_and_most_can_be_checked(
    up: Callable[..., Up],
) -> None:
    running = up("--fresh")
    unchecked: dict[str, set[str]] = {}
    for name in PARTICIPANTS:
        address = running.record["processes"][name]["address"]
        checked = running.run("participant", "check", address, "--output", "json")
        assert checked.returncode == 0, checked.stderr
        results = json.loads(checked.stdout)
        absent = {item["rule"][:2] for item in results if item["verdict"] == "not applicable"}
        assert absent == ({"11", "12"} if name == "stock" else set())
        assert {item["verdict"] for item in results} <= {"kept", "not checkable", "not applicable"}
        unchecked[name] = {
            item["seen"]
            for item in results
            if item["verdict"] == "not checkable" and "from outside" not in item["seen"]
        }
    assert unchecked["points"] == unchecked["card"] == unchecked["stock"] == set()
    # A merchant's balance never runs out.
    assert unchecked["merchant"] == {"the account does not have exactly twice the amount"}
    running.process.terminate()
    status, said = running.end()
    assert status == 0, said
    assert_all_end(running.pids)


def in_a_terminal(*command: str, until: bytes, columns: int = 80) -> tuple[Any, str]:
    """The command in a terminal of that width, and what it showed up to `until`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, env=config.child_environment(TERM="xterm"),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while until not in shown and select.select([ours], [], [], LIMIT_S)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # it ended
            break
    process.ours = ours  # type: ignore[attr-defined] # closed when the process is
    return process, re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_what_up_prints_can_be_pasted_from_a_terminal_of_80_columns() -> None:
    process, shown = in_a_terminal(*KESSAI, "up", "--fresh", "--port", "0", until=b"press Ctrl-C")
    try:
        assert "press Ctrl-C" in shown, shown
        commands = shown[shown.index("export ") : shown.index("press Ctrl-C")]
        assert [line.split("=")[0] for line in commands.splitlines()[:2]] == [
            "export KESSAI_ADDRESS", "export KESSAI_API_KEY",
        ]  # fmt: skip
        pasted = subprocess.run(
            ["sh", "-c", commands],
            env=config.child_environment(),
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert pasted.returncode == 0, pasted.stderr
        assert "PAID" in pasted.stdout
        logs = [line.strip() for line in shown.splitlines() if line.startswith("  /")]
        assert len(logs) == len(PARTICIPANTS) + 3  # and the coordinator, NATS, PostgreSQL
        assert all(Path(log).exists() for log in logs)
    finally:
        process.terminate()
        while True:  # what it still says must be read, or it waits
            try:
                if not os.read(process.ours, 4096):
                    break
            except OSError:
                break
        process.wait(LIMIT_S)
        os.close(process.ours)


GIFT_CARD = """
import phases.flows, phases.registry
from coordinator.domain.flow import FlowRow
from coordinator.domain.phase import Phase, Role
gift_card = Phase("gift_card", title="Gift card", role=Role.TAKES, participant="gift_card")
phases.registry.PHASES = {**phases.registry.PHASES, "gift_card": gift_card}
stages = (("merchant_credit",), ("gift_card",))
row = FlowRow("gift_only", try_stages=stages, announce="notify")
phases.flows.FLOW_ROWS = (*phases.flows.FLOW_ROWS, row)
"""


def test_a_phase_with_a_participant_of_its_own_is_served_once_its_address_is_given(
    up: Callable[..., Up], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sitecustomize.py").write_text(GIFT_CARD)  # as if it were in phases/
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    gift: tuple[str, ...] = (
        "payments",
        "create",
        "--flow",
        "gift_only",
        "--amount",
        "100",
        "--currency",
        "JPY",
    )
    gift += ("--tender", "gift_card:alice:100", "--merchant", "shop-1", "--output", "json")
    first = up("--fresh")
    assert first.run(*PAYMENT).returncode == 0
    assert first.run(*gift).returncode == 2
    # Any participant will do: the wallets of the running one take gift cards as well.
    address = first.record["processes"]["points"]["address"]
    second = up("--fresh", "--participant", f"gift_card={address}")
    paid = second.run(*gift)
    assert paid.returncode == 0, paid.stderr
    assert json.loads(paid.stdout)["state"] == "PAYMENT_STATE_PAID"
    for running in (second, first):
        running.process.send_signal(signal.SIGINT)
        status, said = running.end()
        assert status == 0, said
        assert ("flow gift_only is not served" in said) is (running is first)


def test_data_and_keys_are_kept_and_a_folder_has_one_user(
    up: Callable[..., Up], folder: Path
) -> None:
    first = up("--data-dir", str(folder))
    assert first.run(*PAYMENT, "--key", "kept").returncode == 0
    second = subprocess.run(
        [*KESSAI, "up", "--port", "0", "--data-dir", str(folder)],
        env=config.child_environment(),
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "another `kessai up`" in second.stderr
    first.process.send_signal(signal.SIGINT)
    assert first.end()[0] == 0

    again = up("--data-dir", str(folder))
    assert again.record["api_key"] == first.record["api_key"]
    replayed = again.run(*PAYMENT, "--key", "kept")
    assert replayed.returncode == 0
    assert "used before" in replayed.stderr
    again.process.send_signal(signal.SIGINT)
    assert again.end()[0] == 0
    assert_all_end(again.pids)


@pytest.mark.parametrize("victim", ["card", "nats"])
def test_when_a_process_dies_up_says_which_and_stops_the_others(
    up: Callable[..., Up], victim: str
) -> None:
    running = up("--fresh")
    os.kill(running.pids[victim], signal.SIGKILL)
    status, said = running.end()
    assert status == 1
    assert f"{victim} ended by itself" in said
    assert f"{victim}.log" in said
    assert "Traceback" not in said
    assert_all_end(running.pids)


def test_when_up_is_killed_all_of_it_stops_and_the_next_one_leaves_nothing_either(
    up: Callable[..., Up], folder: Path
) -> None:
    killed = up("--data-dir", str(folder))
    killed.process.kill()
    killed.end()
    again = up("--data-dir", str(folder))
    assert not alive(killed.pids["nats"])
    assert again.run(*PAYMENT).returncode == 0
    again.process.send_signal(signal.SIGINT)
    assert again.end()[0] == 0
    assert_all_end(killed.pids, limit_s=20)
    assert_all_end(again.pids)


def test_a_killed_up_leaves_nothing_running(up: Callable[..., Up], folder: Path) -> None:
    killed = up("--data-dir", str(folder))
    killed.process.kill()
    killed.end()
    assert_all_end(killed.pids, limit_s=30)


def test_the_demo_tells_its_story_and_the_money_balances() -> None:
    told = subprocess.run(
        [*KESSAI, "demo"],
        env=config.child_environment(),
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    for chapter in story.CHAPTERS:
        assert chapter.title in told.stdout
    assert "Money in = money out: 6,120 points + 3,280 JPY by card = 9,400 JPY" in told.stdout
    assert "Given back: 900 points + 400 JPY by card = 1,300 JPY" in told.stdout
    assert "What is left: 5,220 + 2,880 = 8,100." in told.stdout
    assert "Events at NATS: 224" in told.stdout
    assert "Total time" in told.stdout
    assert "\x1b" not in told.stdout + told.stderr


def test_the_demo_fails_when_money_was_made_from_nothing(monkeypatch: Any) -> None:
    def one_yen_too_much(world: telling.World) -> str:
        told = telling.pay(world, telling.request("demo-both", card="tok_ok", yen=400))
        key = ledger.Key(uuid5(ledger._OPENINGS, told.payment.payment_id), "merchant_credit")
        engine: sa.Engine = world.ledgers._engines["merchant"]
        with engine.begin() as connection:
            postings = {"merchant:shop-1": 1, CLEARING: -1}
            ledger.post(connection, key, "confirm", "JPY", postings)
        return "One yen came from nowhere."

    monkeypatch.setattr(story, "CHAPTERS", (telling.Chapter("A theft", one_yen_too_much),))
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "1,000 was taken, but 1,001 was given to the merchant" in result.stderr
    assert "Money in = money out" not in result.stdout


def test_a_killed_coordinator_comes_back_at_its_address_and_finishes_its_payments(
    folder: Path,
) -> None:
    options = {**OPTIONS, "card": ("--slow-reply-s=5",)}
    with Stack(Plan(folder, options=options, settings={"KESSAI_LEASE_S": "3"})) as stack:
        address = stack.address
        with Client(address, stack.keys.api_key, 1.0) as client:
            asked = telling.request("killed", card="tok_timeout_after_capture", yen=400)
            made = client.create(asked).payment
            assert state_name(made) not in {"PAID", "FAILED"}
        stack.children["coordinator"].kill()
        stack.restart("coordinator")
        assert stack.address == address
        with Client(address, stack.keys.api_key, 60.0) as client:
            seen = [state_name(payment) for payment in client.watch(made.payment_id)]
            assert seen[-1] == "PAID"
            assert len(client.search(pb.ListPaymentsRequest(), limit=10)) == 1
