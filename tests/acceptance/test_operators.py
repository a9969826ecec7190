"""What an operator does when a participant hangs, with real processes and the real command line."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator import config
from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.show import state_name
from coordinator.cli.stack import COORDINATOR, Plan, Stack
from coordinator.cli.up import OPTIONS

KESSAI = (sys.executable, "-m", "coordinator.cli")
LIMIT_S = 60


class Operator:
    """Runs `kessai` against one stack, as its operator."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.environment = config.child_environment(
            KESSAI_ADMIN_ADDRESS=stack.admin_address,
            KESSAI_OPERATOR_KEY=stack.keys.operator_key,
        )

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command without a terminal."""
        return subprocess.run(
            [*KESSAI, *arguments],
            env={**self.environment, **more},
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        """What one command tells a program."""
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def typing(self, prompt: bytes, typed: str, *arguments: str) -> tuple[int, str]:
        """One command on a terminal, where `typed` is answered to the prompt."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*KESSAI, *arguments],
            env=self.environment,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        shown, answered = b"", False
        while select.select([ours], [], [], LIMIT_S)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # it ended
                break
            if not answered and prompt in shown:
                os.write(ours, f"{typed}\n".encode())
                answered = True
        os.close(ours)
        return process.wait(LIMIT_S), shown.decode()

    def until(self, state: str, transaction_id: str) -> None:
        """Returns when the transaction got there."""
        with Client(self.stack.address, self.stack.keys.api_key, LIMIT_S) as client:
            last = list(client.watch(transaction_id))[-1]
        assert state_name(last) == state

    def story(self, transaction_id: str) -> Any:
        """What explain tells a program."""
        return self.json("tx", "explain", transaction_id)


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    settings = {
        "KESSAI_PATIENCE_S": "0.1",
        "KESSAI_LEASE_S": "5",
        "KESSAI_PARTICIPANT_LIMITS": '{"card": {"timeout_s": 0.5, "breaker_failures": 0}}',
    }
    with (
        tempfile.TemporaryDirectory(prefix="kessai-operators-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=OPTIONS, settings=settings)) as stack,
    ):
        yield Operator(stack)


def reserved(operator: Operator, key: str) -> str:
    """A payment by points and card, held everywhere."""
    request = telling.request(key, points=60, card="tok_ok", yen=40)
    request.capture = pb.CAPTURE_MODE_MANUAL
    with Client(operator.stack.address, operator.stack.keys.api_key, 30.0) as client:
        payment = client.create(request).payment
    assert state_name(payment) == "RESERVED"
    return payment.payment_id


def stuck(operator: Operator, payment_id: str) -> None:
    """Captures it, and returns once a first attempt has failed."""
    with Client(operator.stack.address, operator.stack.keys.api_key, 2.0) as client:
        client.capture(pb.CapturePaymentRequest(payment_id=payment_id, idempotency_key=payment_id))
    for _ in range(20):
        if operator.json("tx", "list", "--participant", "card"):
            return
    raise AssertionError(operator.story(payment_id))


def acts(operator: Operator, transaction_id: str) -> list[str]:
    """What operators did with it, oldest first."""
    lines = operator.story(transaction_id)["journal"]
    return [line["event"] for line in lines if line["kind"] == "operator"]


@contextmanager
def hanging(stack: Stack, name: str) -> Iterator[None]:
    """The participant is stopped where it stands."""
    os.kill(stack.children[name].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.children[name].pid, signal.SIGCONT)


def test_a_payment_that_waits_for_a_participant_is_found_explained_and_resumed(
    operator: Operator,
) -> None:
    payment_id = reserved(operator, "waits")
    with hanging(operator.stack, "card"):
        stuck(operator, payment_id)
        [found] = operator.json("tx", "list", "--live", "--state", "CAPTURING")
        assert found["transaction_id"] == payment_id
        told = operator.run("tx", "explain", payment_id)
        assert told.returncode == 0, told.stderr
        for part in ("CAPTURING", "It waits for", "card_charge confirm 1", "unknown", "RETRY"):
            assert part in told.stdout
        card = next(each for each in operator.json("participants") if each["name"] == "card")
        assert card["reachability"] == "REACHABILITY_UNREACHABLE"
        assert card["waiting"] == "1"
        doctor = operator.run("doctor", "--output", "json")
        assert doctor.returncode == 1
        failed = [each["name"] for each in json.loads(doctor.stdout) if each["status"] == "failed"]
        assert failed == ["participant:card"]
        # Whether it waits or is just being asked again when a command comes is a matter of luck.
        by_filter = ("tx", "resume", "--participant", "card")
        dry = operator.run(*by_filter, "--dry-run")
        assert (dry.returncode, payment_id in dry.stdout) == (0, True)
        assert "resume" not in acts(operator, payment_id)
        resumed = [operator.run(*by_filter, "-y", "--reason", "now") for _ in range(5)]
        assert {each.returncode for each in resumed} == {0}
        outcomes = {" ".join(each.stdout.split()[1:3]) for each in resumed}
        assert outcomes <= {"resumed CAPTURING", "not needed"}
        assert ("resume" in acts(operator, payment_id)) is ("resumed CAPTURING" in outcomes)
    operator.until("PAID", payment_id)
    nothing = operator.run(*by_filter, "-y")
    assert nothing.returncode == 6
    assert operator.run("doctor").returncode == 0


def test_a_held_payment_is_resolved_by_typing_the_end_of_its_id(operator: Operator) -> None:
    payment_id = reserved(operator, "resolved")
    arguments = ("tx", "resolve", payment_id, "--step", "card_charge", "--reason", "ticket 812")
    prompt = b"to go on: "
    with hanging(operator.stack, "card"):
        stuck(operator, payment_id)
        held = operator.run("tx", "hold", payment_id, "--reason", "asking the processor")
        assert held.returncode == 0, held.stderr
        refused = operator.run("tx", "resume", payment_id)
        assert refused.returncode == 4
        assert "HELD_BY_OPERATOR" in refused.stderr
        assert operator.run(*arguments, "--as", "captured").returncode == 2  # nobody to ask
        status, shown = operator.typing(prompt, "nonsense", *arguments, "--as", "captured")
        assert (status, "nothing was done" in shown) == (1, True)
        typed = (prompt, payment_id[-6:])
        status, shown = operator.typing(*typed, *arguments, "--as", "captured")
        assert (status, "EVIDENCE_REQUIRED" in shown) == (4, True)
        status, shown = operator.typing(*typed, *arguments, "--as", "not-captured")
        assert (status, "PARTICIPANT_SILENT" in shown) == (4, True)
        impossible = (*arguments, "--as", "captured", "--yes")
        wrong = operator.run(
            *(word.replace("card_charge", "points_reserve") for word in impossible)
        )
        assert (wrong.returncode, "ANSWER_NOT_POSSIBLE" in wrong.stderr) == (4, True)
        # The processor's own books, say, have it.
        status, shown = operator.typing(
            *typed, *arguments, "--as", "captured", "--evidence", "ch_8"
        )
        assert status == 0, shown
        assert "CONFIRMED" in shown
    lines = operator.story(payment_id)["journal"]
    done = [(each["event"], each["actor"], each["evidence"]) for each in lines if each["actor"]]
    assert done == [("hold", "operator", ""), ("resolve", "operator", "ch_8")]
    unheld = operator.run("tx", "unhold", payment_id)
    assert unheld.returncode == 0, unheld.stderr
    operator.until("PAID", payment_id)


def test_a_reserved_payment_is_cancelled_on_a_terminal_and_not_twice(operator: Operator) -> None:
    payment_id = reserved(operator, "cancelled")
    arguments = ("tx", "cancel", payment_id, "--reason", "the till broke down")
    assert operator.run(*arguments).returncode == 2
    status, shown = operator.typing(b"[y/N] ", "y", *arguments)
    assert status == 0, shown
    operator.until("FAILED", payment_id)
    settled = operator.run("tx", "hold", payment_id, "--reason", "too late", "-o", "json")
    assert settled.returncode == 4
    assert json.loads(settled.stderr)["error"] == "ALREADY_SETTLED"


def test_a_paused_flow_refuses_new_payments_until_it_is_resumed(operator: Operator) -> None:
    paused = operator.run("flow", "pause", "points_only", "--reason", "points are being moved")
    assert paused.returncode == 0, paused.stderr
    pay = (
        *("payments", "create", "--flow", "points_only", "--amount", "5", "--currency", "JPY"),
        *("--tender", "points_reserve:alice:5", "--merchant", "shop-1"),
    )
    caller = {
        "KESSAI_ADDRESS": operator.stack.address,
        "KESSAI_API_KEY": operator.stack.keys.api_key,
    }
    refused = operator.run(*pay, **caller)
    assert refused.returncode == 4
    assert "points are being moved" in refused.stderr
    flows = {each["name"]: "pause" in each for each in operator.json("flow", "list")}
    assert [name for name, is_paused in flows.items() if is_paused] == ["points_only"]
    assert operator.run("flow", "resume", "points_only").returncode == 0
    assert operator.run(*pay, **caller).returncode == 0


def test_only_an_operators_key_opens_it(operator: Operator) -> None:
    refused = operator.run("tx", "list", KESSAI_OPERATOR_KEY=operator.stack.keys.api_key)
    assert refused.returncode == 4
    assert "KESSAI_OPERATOR_KEY" in refused.stderr


def test_a_doctor_looks_from_here_when_the_service_is_down(operator: Operator) -> None:
    coordinator = operator.stack.children[COORDINATOR]
    coordinator.kill()
    try:
        settings = {
            name: value
            for name, value in coordinator.environment.items()
            if name.startswith("KESSAI_")
        }
        done = operator.run("doctor", "--output", "json", **settings)
        assert done.returncode == 1
        found = {each["name"]: each["status"] for each in json.loads(done.stdout)}
        assert found.pop("service") == "failed"
        assert {"settings", "database", "clock", "schema", "broker"} <= found.keys()
        assert set(found.values()) == {"ok"}
        without = operator.run("doctor")
        assert without.returncode == 1
        assert "where `kessai serve` has its settings" in without.stdout
    finally:
        operator.stack.restart(COORDINATOR)
