"""The conformance kit passes the reference services and fails every kind of broken one, by name.

Each broken participant is the real one with one small override; each rule has at least one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from participants import world
from participants.conformance import RULES, CheckOptions, Report, Verdict, check
from participants.conformance_probe import Probe
from participants.conformance_steps import Rule
from participants.database import make_engine
from participants.serve import ServeOptions, running
from participants.stock import stock_breaks, stock_totals
from participants.totals import ledger_breaks, ledger_totals
from tests.support.participant_breakage import (
    BREAKAGES,
    Breakage,
    ForgetfulStreams,
    NoStreams,
    broken_points,
    says_no_refunds_to_large_ones,
)

NewDatabase = Callable[[], str]


@pytest.fixture(scope="module")
def database(new_database: Callable[[], str]) -> str:
    """One database for all of these; each test has wallets of its own."""
    return new_database()


def _seeds(name: str) -> dict[str, int]:
    return {f"rich-{name}": 1_000_000, f"scarce-{name}": 200, f"poor-{name}": 1}


def _options(name: str) -> CheckOptions:
    return CheckOptions(
        account=f"rich-{name}",
        other_account=f"poor-{name}",
        refused_account=f"poor-{name}",
        scarce_account=f"scarce-{name}",
    )


QUICK = ServeOptions(slow_reply_s=0.2, late_try_s=0.2, customer_action_s=0.2, grace_s=0.2)


def _verdicts(report: Report) -> dict[str, str]:
    return {result.rule: f"{result.verdict}: {result.seen}" for result in report.results}


def test_the_points_service_keeps_every_rule(database: str) -> None:
    with running("points", database_url=database, seeds=_seeds("points")) as address:
        report = check(address, _options("points"))
    assert report.ok, _verdicts(report)
    unchecked = {r.rule for r in report.results if r.verdict is Verdict.NOT_CHECKABLE}
    assert unchecked == {"7"}, _verdicts(report)


def test_the_card_service_keeps_every_rule(new_database: NewDatabase) -> None:
    options = CheckOptions(
        account="tok_ok-1", refused_account="tok_declined", scarce_account="tok_limit_200-1"
    )
    with running("card", database_url=new_database(), options=QUICK) as address:
        report = check(address, options)
    assert report.ok, _verdicts(report)
    unchecked = {r.rule for r in report.results if r.verdict is Verdict.NOT_CHECKABLE}
    assert unchecked == {"7"}, _verdicts(report)


def test_a_card_with_a_limit_gives_no_more_than_that_held_and_captured(
    new_database: NewDatabase,
) -> None:
    url, options = new_database(), CheckOptions(account="tok_limit_200-1")
    kept, undone, over, later = (world.new_transaction_id() for _ in range(4))
    with running("card", database_url=url) as address, grpc.insecure_channel(address) as channel:
        probe = Probe(channel, options)
        assert probe.try_(kept).text == "HELD"
        assert probe.try_(undone).text == "HELD"
        assert probe.confirm(kept).text == "CONFIRMED"
        assert probe.try_(over).text == "REFUSED (CARD_LIMIT_EXCEEDED)"
        assert probe.cancel(undone).text == "CANCELLED"
        assert probe.try_(later).text == "HELD"
        assert probe.try_(over, account="tok_limit_200-2").code is grpc.StatusCode.ALREADY_EXISTS
    engine = make_engine(url)
    totals = ledger_totals(engine)
    assert (totals.postings_minor, totals.open_holds_minor, totals.confirmed_minor) == (0, 100, 100)
    assert ledger_breaks(engine) == []
    engine.dispose()


def test_the_merchant_service_keeps_every_rule(new_database: NewDatabase) -> None:
    options = CheckOptions(account="shop", refused_account="nobody")
    with running("merchant", database_url=new_database(), seeds={"shop": 0}) as address:
        report = check(address, options)
    assert report.ok, _verdicts(report)


def test_the_stock_service_keeps_every_rule_and_says_that_it_has_no_refunds(
    new_database: NewDatabase,
) -> None:
    seeds = {"rich-stock": 1_000, "scarce-stock": 2, "poor-stock": 0}
    url = new_database()
    for _ in range(2):  # the scarce article ends as it began
        with running("stock", database_url=url, seeds=seeds) as address:
            report = check(address, _options("stock"))
        assert report.ok, _verdicts(report)
        kept = {r.rule for r in report.results if r.verdict is Verdict.KEPT}
        absent = {r.rule for r in report.results if r.verdict is Verdict.NOT_APPLICABLE}
        assert absent == {"11d", *(f"12{letter}" for letter in "abcefgh")}, _verdicts(report)
        assert kept == {rule.id for rule in RULES} - absent - {"7"}, _verdicts(report)
    engine = make_engine(url)
    assert stock_breaks(engine) == []
    assert stock_totals(engine, "scarce-stock").on_hand == 2
    assert stock_totals(engine).held == 0
    engine.dispose()


def test_a_service_that_gives_some_money_back_cannot_say_that_it_has_no_refunds(
    database: str,
) -> None:
    breakage = Breakage(try_=says_no_refunds_to_large_ones)
    with broken_points(breakage, database, _seeds("some")) as address:
        report = check(address, _options("some"))
    verdicts = {result.rule: result.verdict for result in report.results}
    assert Verdict.NOT_APPLICABLE not in verdicts.values(), _verdicts(report)
    refunds = {rule for rule, verdict in verdicts.items() if verdict is Verdict.BROKEN}
    assert refunds >= {f"12{letter}" for letter in "abcefgh"}, _verdicts(report)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id != "7"], ids=lambda r: r.id)
def test_a_participant_that_breaks_a_rule_is_told_so(rule: Rule, database: str) -> None:
    with broken_points(BREAKAGES[rule.id], database, _seeds(rule.id)) as address:
        report = check(address, _options(rule.id), [rule])
    assert [(result.rule, result.verdict) for result in report.results] == [
        (rule.id, Verdict.BROKEN)
    ], _verdicts(report)
    assert not report.ok


def test_every_rule_that_can_be_checked_has_a_participant_that_breaks_it() -> None:
    assert set(BREAKAGES) == {rule.id for rule in RULES} - {"7"}
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_the_unbroken_participant_of_these_tests_keeps_every_rule(database: str) -> None:
    with broken_points(Breakage(), database, _seeds("unbroken")) as address:
        report = check(address, _options("unbroken"))
    assert report.ok, _verdicts(report)


def test_an_address_where_nothing_listens_is_a_clear_error() -> None:
    report = check("127.0.0.1:1", CheckOptions(account="rich", timeout_s=0.3))
    assert not report.ok
    assert report.results == ()
    assert report.error == "127.0.0.1:1: nothing answers gRPC there within 0.3 s"


def test_what_is_broken_over_streams_alone_is_told_with_that(database: str) -> None:
    with running("points", database_url=database, seeds=_seeds("stream")) as address:
        kept = check(address, _options("stream"))
    breakage = Breakage(service=ForgetfulStreams)
    with broken_points(breakage, database, _seeds("forgetful")) as address:
        report = check(address, _options("forgetful"))
    assert kept.ok, _verdicts(kept)
    broken = {result.rule: result.seen for result in report.broken}
    assert broken["1a"].startswith("over Perform, "), _verdicts(report)


def test_a_service_without_streams_keeps_every_rule_and_is_told_that_it_has_none(
    database: str,
) -> None:
    with broken_points(Breakage(service=NoStreams), database, _seeds("single")) as address:
        report = check(address, _options("single"))
    assert report.ok, _verdicts(report)
    absent = {r.rule for r in report.results if r.verdict is Verdict.NOT_APPLICABLE}
    assert absent == {"13a", "13b"}


@contextmanager
def _bare_server() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_server_without_the_service_is_a_clear_error() -> None:
    with _bare_server() as address:
        report = check(address, _options("none"))
    assert report.error.endswith("there is no kessai.participant.v1.ParticipantService there")


def test_a_pending_account_leaves_rules_unchecked_and_none_broken(
    new_database: NewDatabase,
) -> None:
    options = ServeOptions(customer_action_s=None, grace_s=0.2)
    with running("card", database_url=new_database(), options=options) as address:
        report = check(address, CheckOptions(account="tok_customer_action"))
    verdicts = {result.rule: result.verdict for result in report.results}
    assert verdicts["0"] is Verdict.NOT_CHECKABLE
    assert verdicts["1a"] is Verdict.NOT_CHECKABLE
    assert verdicts["2a"] is Verdict.KEPT
    assert Verdict.BROKEN not in verdicts.values(), _verdicts(report)


def test_an_account_that_is_refused_breaks_the_rule_about_it_alone(database: str) -> None:
    with running("points", database_url=database) as address:
        report = check(address, CheckOptions(account="nobody-at-all"))
    broken = {result.rule for result in report.results if result.verdict is Verdict.BROKEN}
    assert broken == {"0"}, _verdicts(report)
