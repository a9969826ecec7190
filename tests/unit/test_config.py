"""Settings: precedence, and errors that name the setting and keep secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.bootstrap import checked_flows
from coordinator.config import as_environment, load
from coordinator.domain.errors import ConfigurationError
from phases.registry import PHASES

PARTICIPANTS = sorted({phase.participant for phase in PHASES.values()} - {""})
ADDRESSES = dict.fromkeys(PARTICIPANTS, "a:1") | {"merchant": "[::1]:3"}
GOOD: dict[str, Any] = {
    "database_url": "postgresql://user:hunter2@db/kessai",
    "participants": ADDRESSES,
    "callers": {"shop": "0" * 64},
    "seal_keys": (base64.b64encode(b"k" * 32).decode(),),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KESSAI_CONFIG",
        "KESSAI_LISTEN",
        "KESSAI_PARTICIPANTS",
        "KESSAI_FLOWS",
        "KESSAI_LIMITS",
        "KESSAI_PARTICIPANT_LIMITS",
    ):
        monkeypatch.delenv(name, raising=False)


def test_flag_beats_environment_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load(**GOOD).listen == "127.0.0.1:7300"
    file = tmp_path / "kessai.toml"
    file.write_text('listen = "127.0.0.1:1"\n')
    monkeypatch.setenv("KESSAI_CONFIG", str(file))
    assert load(**GOOD).listen == "127.0.0.1:1"
    monkeypatch.setenv("KESSAI_LISTEN", "127.0.0.1:2")
    assert load(**GOOD).listen == "127.0.0.1:2"
    assert load(**GOOD, listen="127.0.0.1:3").listen == "127.0.0.1:3"


def test_faults_are_refused_in_production_which_is_the_default() -> None:
    assert load(**GOOD).profile == "production"
    for profile in ({}, {"profile": "production"}):
        with pytest.raises(ConfigurationError, match="KESSAI_FAULTS: faults are never injected"):
            load(**GOOD, **profile, faults="slow@store")


@pytest.mark.parametrize("profile", ["staging", "development"])
def test_faults_are_taken_in_every_other_profile(profile: str) -> None:
    assert load(**GOOD, profile=profile, faults=" slow@store ").faults == "slow@store"


def test_an_unknown_profile_is_no_way_around_it() -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_PROFILE"):
        load(**GOOD, profile="Staging", faults="slow@store")


def test_a_mapping_comes_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KESSAI_PARTICIPANTS", json.dumps({"points": "x:9"}))
    flags = {name: value for name, value in GOOD.items() if name != "participants"}
    assert load(**flags).participants == {"points": "x:9"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "nowhere"),
        ("listen", "host:99999"),
        ("participants", {"points": "no port"}),
        ("callers", {"shop": "not a digest"}),
        ("callers", {"a b": "0" * 64}),
        ("seal_keys", ()),
        ("seal_keys", ("c2hvcnQ=",)),
        ("seal_keys", ("not base64!",)),
        ("lease_s", 0),
        ("max_in_flight", 0),
        ("limits", {"shop": {"max_live": 0}}),
        ("limits", {"shop": {"max_live": 100_001}}),
        ("limits", {"shop": {"max_live": True}}),
        ("limits", {"shop": {"max_live": "5"}}),
        ("limits", {"shop": {"max_amount_minor": 0}}),
        ("limits", {"shop": {"max_amount_minor": 1.5}}),
        ("limits", {"shop": {"per_second": 0}}),
        ("limits", {"shop": {"per_second": float("nan")}}),
        ("limits", {"shop": {"per_second": float("inf")}}),
        ("limits", {"shop": 5}),
        ("limits", []),
        ("participant_limits", {"card": {"max_in_flight": 0}}),
        ("participant_limits", {"card": {"max_in_flight": 2.5}}),
        ("participant_limits", {"card": {"timeout_s": 0}}),
        ("participant_limits", {"card": {"timeout_s": float("nan")}}),
        ("participant_limits", {"card": {"breaker_failures": -1}}),
        ("participant_limits", {"card": {"breaker_open_s": 0}}),
        ("participant_limits", {"card": {"breaker_open_s": 16}}),
        ("participant_limits", {"card": {"streams": "no"}}),
        ("participant_limits", {"card": 5}),
        ("log_format", "xml"),
        ("colour", "blue"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"KESSAI_{name.upper()}"):
        load(**(GOOD | {name: value}))


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_DATABASE_URL"):
        load(**{name: value for name, value in GOOD.items() if name != "database_url"})


def test_what_is_wrong_with_a_setting_is_said_without_pydantics_words() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(**(GOOD | {"callers": {}}))
    assert "Value error" not in str(caught.value)


def test_secrets_show_neither_in_the_settings_nor_in_errors() -> None:
    assert "hunter2" not in repr(load(**GOOD))
    assert GOOD["seal_keys"][0] not in repr(load(**GOOD))
    with pytest.raises(ConfigurationError) as caught:
        load(**(GOOD | {"seal_keys": ("my-secret-seal-key",)}))
    assert "my-secret-seal-key" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "kessai.toml"
    file.write_text("listen = ")
    monkeypatch.setenv("KESSAI_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=f"KESSAI_CONFIG: {file}: no TOML: Invalid"):
        load(**GOOD)


def test_a_setting_in_the_file_that_does_not_exist_is_refused_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "kessai.toml"
    file.write_text("leas_s = 3")
    monkeypatch.setenv("KESSAI_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match="KESSAI_LEAS_S: no such setting"):
        load(**GOOD)


@pytest.mark.parametrize("name", ["missing.toml", ""])
def test_a_file_that_is_not_there_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name  # without a name: the folder itself
    monkeypatch.setenv("KESSAI_CONFIG", str(path))
    with pytest.raises(ConfigurationError, match=f"KESSAI_CONFIG: {path}"):
        load(**GOOD)


def test_flows_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(**GOOD).flows == ()
    monkeypatch.setenv("KESSAI_FLOWS", '["points_only"]')
    assert load(**GOOD).flows == ("points_only",)


def test_a_flow_whose_participant_has_no_address_is_refused_at_start() -> None:
    missing = ", ".join(name for name in PARTICIPANTS if name != "points")
    needed = f"no address for {missing}, which the flows need; KESSAI_FLOWS chooses"
    with pytest.raises(ConfigurationError, match=needed):
        checked_flows(load(**(GOOD | {"participants": {"points": "a:1"}})))


def test_a_lease_shorter_than_the_longest_call_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_LEASE_S: must be above 2 s"):
        checked_flows(load(**(GOOD | {"lease_s": 2.0})))


def test_a_flow_that_does_not_exist_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_FLOWS: unknown barter"):
        checked_flows(load(**(GOOD | {"flows": ("barter",)})))


def test_participants_of_flows_that_are_not_served_need_no_address() -> None:
    partial = {"points": "a:1", "merchant": "b:2"}
    flows = checked_flows(load(**(GOOD | {"participants": partial, "flows": ("points_only",)})))
    assert list(flows) == ["points_only"]


def test_limits_come_from_the_environment_as_json_and_what_is_left_out_does_not_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(**GOOD).limits == {}
    monkeypatch.setenv("KESSAI_LIMITS", '{"shop": {"max_live": 2}, "*": {"per_second": 0.5}}')
    limits = load(**GOOD).limits
    assert limits["shop"].max_live == 2
    assert limits["shop"].per_second is None
    assert limits["*"].per_second == 0.5


def test_limits_of_a_caller_that_does_not_exist_are_refused_saying_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"KESSAI_LIMITS: .*caller shopp; .*_CALLERS"):
        load(**(GOOD | {"limits": {"shopp": {"max_live": 2}, "*": {}}}))


def test_a_limit_that_is_spelled_wrong_is_refused_saying_how_it_is_spelled() -> None:
    with pytest.raises(ConfigurationError, match=r"KESSAI_LIMITS\.SHOP: .*max_life; .*max_live"):
        load(**(GOOD | {"limits": {"shop": {"max_life": 2}}}))


def test_a_setting_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KESSAI_LIMITS", "{shop: many}")
    with pytest.raises(ConfigurationError, match="KESSAI_LIMITS: must be JSON"):
        load(**GOOD)


def test_a_server_needs_callers_and_a_worker_does_not() -> None:
    without = {name: value for name, value in GOOD.items() if name != "callers"}
    for role in ("all", "serve"):
        with pytest.raises(ConfigurationError, match=r"KESSAI_CALLERS: .*unless the role is work"):
            load(**without, role=role)
        with pytest.raises(ConfigurationError, match="KESSAI_CALLERS"):
            load(**without, role=role, callers={})
    assert load(**without, role="work").callers == {}


def test_a_role_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match=r"KESSAI_ROLE: .*'all', 'serve' or 'work'"):
        load(**GOOD, role="boss")


DIGEST = "a" * 64


def test_operators_come_from_the_environment_as_json_with_or_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"alice": DIGEST, "bob": {"sha256": "b" * 64, "expires": "2027-01-01T00:00:00Z"}}
    monkeypatch.setenv("KESSAI_OPERATORS", json.dumps(given))
    operators = load(**GOOD).operators
    assert (operators["alice"].sha256, operators["alice"].expires) == (DIGEST, None)
    expires = operators["bob"].expires
    assert expires is not None
    assert expires.isoformat() == "2027-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "operators",
    [
        {"alice": "short"},
        {"alice": {"sha256": DIGEST, "expires": "soon"}},
        {"alice": {"sha256": DIGEST, "expires": "2027-01-01T00:00:00"}},
        {"alice": {"sha256": DIGEST, "expire": "2027-01-01T00:00:00Z"}},
        {"a b": DIGEST},
        {"kessai": DIGEST},
        {"alice": DIGEST, "bob": DIGEST},
        {"alice": GOOD["callers"]["shop"]},
    ],
)
def test_a_bad_operator_is_refused_at_start(operators: object) -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_OPERATORS"):
        load(**(GOOD | {"operators": operators}))


def test_an_admin_port_without_operators_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match=r"KESSAI_OPERATORS: .*KESSAI_ADMIN_LISTEN"):
        load(**GOOD, admin_listen="127.0.0.1:7301")
    with pytest.raises(ConfigurationError, match="KESSAI_ADMIN_LISTEN"):
        load(**GOOD, admin_listen="here", operators={"alice": DIGEST})
    assert load(**GOOD).admin_listen == ""


def test_settings_handed_to_a_child_by_its_environment_are_the_same_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = load(
        **GOOD,
        role="serve",
        flows=("points_only",),
        callback_keys={"card": GOOD["seal_keys"][0]},
        limits={"shop": {"max_live": 2, "per_second": 0.5}},
        operators={"alice": DIGEST, "bob": {"sha256": "b" * 64, "expires": "2027-01-01T00:00:00Z"}},
        reflection=True,
        drain_s=2.5,
    )
    for name, value in as_environment(given).items():
        monkeypatch.setenv(name, value)
    assert load() == given
    assert given.worker is None
    monkeypatch.setenv("KESSAI_WORKER", "3")
    assert load().worker == 3


def test_an_unknown_participant_or_limit_of_one_is_told_with_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match="unknown participant bank; use names that KESSAI"):
        load(**GOOD, participant_limits={"bank": {}})
    with pytest.raises(
        ConfigurationError,
        match=r"PARTICIPANT_LIMITS\.CARD: .*unknown timeout; a participant's limits are max_in_fl",
    ):
        load(**GOOD, participant_limits={"card": {"timeout": 3}})


def test_a_participant_without_limits_of_its_own_has_everybodys() -> None:
    settings = load(
        **GOOD, participant_limits={"card": {"timeout_s": 7}, "*": {"max_in_flight": 9}}
    )
    assert settings.participant_limit("card").timeout_s == 7
    assert settings.participant_limit("card").max_in_flight == 512
    assert settings.participant_limit("points").max_in_flight == 9
    assert load(**GOOD).participant_limit("points").breaker_failures == 10


def test_a_participants_timeout_is_that_of_its_phases_and_below_the_lease() -> None:
    flows = checked_flows(load(**GOOD, participant_limits={"card": {"timeout_s": 7}}))
    timeouts = {phase.participant: phase.retry.timeout_s for phase in flows["card_only"].called}
    assert timeouts == {"card": 7, "merchant": 2}
    with pytest.raises(ConfigurationError, match=r"KESSAI_LEASE_S: must be above 40 s"):
        checked_flows(load(**GOOD, participant_limits={"card": {"timeout_s": 40}}))


def test_every_flow_raises_attention_at_the_age_that_was_asked_for() -> None:
    assert {flow.attention_after_s for flow in checked_flows(load(**GOOD)).values()} == {900}
    flows = checked_flows(load(**GOOD, attention_after_s=60))
    assert {flow.refund.attention_after_s for flow in flows.values()} == {60}
