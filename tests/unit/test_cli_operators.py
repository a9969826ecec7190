"""`kessai flow`, `participants` and `doctor` against a fake AdminService in this process."""

from __future__ import annotations

import json
from datetime import timedelta

import grpc
import pytest
from kessai.admin.v1 import admin_pb2 as pb

from coordinator import config
from coordinator.domain.errors import ConfigurationError
from tests.support.cli import FakeAdmin, Kessai, Refusal, refuse
from tests.support.operators import NOW

PAUSED = pb.Flow(
    name="card_only",
    phases=["merchant_credit", "card_charge", "notify"],
    participants=["card", "merchant"],
    served=True,
    pause=pb.Pause(operator="alice", reason="card is down", since_time=NOW),
)
OPEN = pb.Flow(name="points_only", phases=["points_reserve"], served=True)
AWAY = ("--admin-address", "127.0.0.1:1")


def test_flows_are_listed_with_who_paused_them_and_why(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.ListFlowsResponse(flows=[PAUSED, OPEN, pb.Flow(name="old")])
    shown = operate("flow", "list")
    assert shown.exit_code == 0, shown.output
    paused, is_open, old = [
        line for line in shown.stdout.splitlines() if "_" in line or "old" in line
    ]
    assert "paused by alice: card is down (since 2026-11-21 12:00:00.000 UTC)" in paused
    assert "open" in is_open
    assert "not served" in old
    assert (
        json.loads(operate("flow", "list", "-o", "json").stdout)[0]["pause"]["operator"] == "alice"
    )


def test_a_pause_that_ends_by_itself_says_when(admin: FakeAdmin, operate: Kessai) -> None:
    pause = pb.Pause(operator="kessai", reason="too many fail", since_time=NOW, until_time=NOW)
    admin.answer = pb.ListFlowsResponse(flows=[pb.Flow(name="f", served=True, pause=pause)])
    assert "until 2026-11-21 12:00:00.000 UTC" in operate("flow", "list").stdout


def test_a_flow_is_paused_for_a_reason_without_asking(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.PauseFlowResponse(flow=PAUSED)
    result = operate("flow", "pause", "card_only", "--reason", "card is down")
    assert result.exit_code == 0, result.output
    assert admin.asked == [pb.PauseFlowRequest(flow="card_only", reason="card is down")]
    assert "paused by alice" in result.stdout
    without = operate("flow", "pause", "card_only")
    assert without.exit_code == 2
    assert "--reason" in without.stderr


def test_a_flow_is_resumed_and_it_is_told_if_it_was_not_paused(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = pb.ResumeFlowResponse(flow=OPEN, changed=True)
    assert operate("flow", "resume", "points_only").stderr == ""
    admin.answer = pb.ResumeFlowResponse(flow=OPEN)
    result = operate("flow", "resume", "points_only")
    assert result.exit_code == 0
    assert "it was not paused" in result.stderr


def test_participants_show_who_is_away_and_who_waits(admin: FakeAdmin, operate: Kessai) -> None:
    away = pb.Participant(
        name="card", address="card:1", phases=["card_charge"], breaker=pb.BREAKER_STATE_HALF_OPEN,
        calls_in_flight=3, reachability=pb.REACHABILITY_UNREACHABLE, detail="no answer", waiting=41,
    )  # fmt: skip
    away.oldest_waiting.FromTimedelta(timedelta(minutes=7))
    well = pb.Participant(
        name="points", breaker=pb.BREAKER_STATE_CLOSED, reachability=pb.REACHABILITY_SERVING
    )
    admin.answer = pb.ListParticipantsResponse(participants=[away, well])
    shown = operate("participants")
    assert shown.exit_code == 0, shown.output
    card = next(line.split() for line in shown.stdout.splitlines() if "card" in line)
    assert card == [
        "card", "card:1", "card_charge", "unreachable", "half", "open", "3", "41", "7m",
        "no", "answer",
    ]  # fmt: skip
    points = next(line.split() for line in shown.stdout.splitlines() if "points" in line)
    assert points == ["points", "serving", "closed", "0", "0"]
    lines = operate("participants", "-o", "jsonl").stdout.splitlines()
    assert json.loads(lines[0])["oldest_waiting"] == "420s"


def check(name: str, status: str, finding: str = "found", advice: str = "") -> pb.Check:
    return pb.Check(name=name, status=f"CHECK_STATUS_{status}", finding=finding, advice=advice)


def test_a_doctor_that_finds_nothing_wrong_exits_0(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.CheckHealthResponse(
        checks=[check("database", "OK"), check("broker", "WARNING")]
    )
    result = operate("doctor")
    assert result.exit_code == 0, result.output
    assert "1 warning" in result.stderr
    assert f"it answers at {admin.address}" in result.stdout
    admin.answer = pb.CheckHealthResponse(checks=[check("database", "OK")])
    assert "all is well" in operate("doctor").stderr


def test_a_doctor_that_finds_something_wrong_says_what_to_do_and_exits_1(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = pb.CheckHealthResponse(
        checks=[check("schema", "FAILED", "it is at 0004", "run `kessai migrate`")]
    )
    result = operate("doctor")
    assert result.exit_code == 1
    assert "→ run `kessai migrate`" in result.stdout
    assert "1 failed" in result.stderr
    [service, schema] = json.loads(operate("doctor", "-o", "json").stdout)
    assert (service["name"], service["status"]) == ("service", "ok")
    assert schema == {
        "name": "schema", "status": "failed", "finding": "it is at 0004",
        "advice": "run `kessai migrate`",
    }  # fmt: skip


def test_a_doctor_without_the_right_key_is_refused(admin: FakeAdmin, operate: Kessai) -> None:
    refuse(admin, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert operate("doctor").exit_code == 4


def test_a_service_that_is_away_is_a_finding_and_so_are_settings_that_are_not_here(
    operate: Kessai, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_settings(**_flags: object) -> config.Settings:
        raise ConfigurationError("KESSAI_DATABASE_URL: Field required")

    monkeypatch.setattr(config, "load", no_settings)
    result = operate("doctor", *AWAY, "-o", "json")
    assert result.exit_code == 1
    service, settings = json.loads(result.stdout)
    assert (service["status"], settings["status"]) == ("failed", "warning")
    assert "cannot reach 127.0.0.1:1" in service["finding"]
    assert "KESSAI_ADMIN_ADDRESS" in service["advice"]
    assert "KESSAI_DATABASE_URL" in settings["finding"]


def test_a_service_that_is_there_and_says_nothing_is_not_to_be_started_once_more(
    admin: FakeAdmin, operate: Kessai, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_settings(**_flags: object) -> config.Settings:
        raise ConfigurationError("none here")

    monkeypatch.setattr(config, "load", no_settings)
    admin.error = (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", [])
    service = json.loads(operate("doctor", "-o", "json").stdout)[0]
    assert "did not answer in time" in service["finding"]
    assert "start" not in service["advice"]
    assert "look at its log" in service["advice"]


def settings_of(**changes: str) -> config.Settings:
    """Of a service whose every part is away."""
    return config.Settings.model_validate(
        {
            "database_url": "postgresql://nobody@127.0.0.1:1/none",
            "participants": {"card": "127.0.0.1:1"},
            "callers": {"shop": "0" * 64},
            "seal_keys": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
            "nats_url": "nats://127.0.0.1:1",
            **changes,
        }
    )


def test_faults_that_the_settings_inject_are_told_from_here_as_well(
    operate: Kessai, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(profile="staging", faults="slow@store,nth=3")
    monkeypatch.setattr(config, "load", lambda **_flags: settings)
    result = operate("doctor", *AWAY, "-o", "jsonl")
    found = {each["name"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert found["faults"]["status"] == "warning"
    assert "slow@store,from=3,count=1" in found["faults"]["finding"]


def test_where_the_settings_are_what_the_service_stands_on_is_looked_at_from_here(
    operate: Kessai, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of()
    monkeypatch.setattr(config, "load", lambda **_flags: settings)
    result = operate("doctor", *AWAY, "-o", "jsonl")
    assert result.exit_code == 1
    found = {each["name"]: each["status"] for each in map(json.loads, result.stdout.splitlines())}
    assert found == {
        "service": "failed", "settings": "ok", "database": "failed", "broker": "failed",
        "participant:card": "failed",
    }  # fmt: skip


def test_an_unknown_flow_is_the_servers_refusal(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "flow: no such")
    assert operate("flow", "resume", "nonsense").exit_code == 2
