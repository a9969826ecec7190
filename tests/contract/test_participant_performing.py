"""The reference services over one stream: what is answered together holds up nobody."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import grpc
import pytest
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.conformance_probe import CheckOptions
from participants.conformance_stream import StreamProbe
from participants.database import make_engine
from participants.ledger import ACCOUNTS
from participants.serve import ServeOptions, running
from participants.totals import ledger_breaks, ledger_totals

NewDatabase = Callable[[], str]
_WAITS = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
SLOW_S = 60.0
"""Longer than any of these tests waits."""


def options(account: str) -> CheckOptions:
    return CheckOptions(account=account, timeout_s=20.0)


def status(raw: bytes) -> str:
    return pb.Status.Name(pb.TryResponse.FromString(raw).answer.status)


def test_who_waits_for_a_locked_wallet_holds_up_no_other(new_database: NewDatabase) -> None:
    url, seeds = new_database(), {"locked": 1_000, "free": 1_000}
    engine = make_engine(url)
    with (
        running("points", database_url=url, seeds=seeds) as address,
        grpc.insecure_channel(address) as channel,
        engine.connect() as somebody,
    ):
        locked = sa.select(ACCOUNTS).where(ACCOUNTS.c.account == "wallet:locked")
        somebody.execute(locked.with_for_update())
        probe = StreamProbe(channel, options("free"))
        names = [world.new_transaction_id() for _ in range(6)]
        wallets = ["free", "locked", "free", "free", "locked", "free"]
        tries = [
            ("Try", probe.try_request(name, account=wallet))
            for name, wallet in zip(names, wallets, strict=True)
        ]
        futures = probe.ask_in_one_message(*tries)
        quick = [
            status(future.result(5.0))
            for future, wallet in zip(futures, wallets, strict=True)
            if wallet == "free"
        ]
        waiting = [future.done() for future in futures]
        somebody.rollback()
        every = [status(future.result(20.0)) for future in futures]
        probe.end()
    assert quick == ["STATUS_HELD"] * 4
    assert waiting == [wallet == "free" for wallet in wallets]
    assert every == ["STATUS_HELD"] * 6
    assert ledger_breaks(engine) == []
    assert ledger_totals(engine).open_holds_minor == 600
    engine.dispose()


def test_one_that_cannot_be_done_leaves_those_of_its_transaction_done(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    with (
        running("points", database_url=url, seeds={"rich": 1_000}) as address,
        grpc.insecure_channel(address) as channel,
    ):
        probe = StreamProbe(channel, options("rich"))
        paid, other = world.new_transaction_id(), world.new_transaction_id()
        assert probe.try_(paid).text == "HELD"
        assert probe.confirm(paid).text == "CONFIRMED"
        asked = probe.ask_in_one_message(
            ("Try", probe.try_request(other)),
            ("Cancel", probe.cancel_request(paid)),
            ("Confirm", probe.confirm_request(other)),
        )
        held = status(asked[0].result(5.0))
        with pytest.raises(grpc.RpcError, match="a refund gives it back"):
            asked[1].result(5.0)
        probe.end()
    assert held == "STATUS_HELD"
    engine = make_engine(url)
    assert ledger_breaks(engine) == []
    engine.dispose()


@pytest.mark.parametrize("token", ["tok_timeout_after_try", "tok_late_try"])
def test_an_answer_that_is_kept_back_keeps_back_no_other(
    new_database: NewDatabase, token: str
) -> None:
    slow = ServeOptions(slow_reply_s=SLOW_S, late_try_s=SLOW_S, grace_s=0.2)
    with (
        running("card", database_url=new_database(), options=slow) as address,
        grpc.insecure_channel(address) as channel,
    ):
        probe = StreamProbe(channel, options("tok_ok"))
        names = [world.new_transaction_id() for _ in range(3)]
        tokens = ["tok_ok", token, "tok_ok"]
        tries = [
            ("Try", probe.try_request(name, account=each))
            for name, each in zip(names, tokens, strict=True)
        ]
        futures = probe.ask_in_one_message(*tries)
        quick = [status(futures[0].result(5.0)), status(futures[2].result(5.0))]
        assert not futures[1].done()
    assert quick == ["STATUS_HELD"] * 2


def test_a_service_that_stops_answers_what_was_asked_and_ends_its_streams(
    new_database: NewDatabase,
) -> None:
    patient = ServeOptions(grace_s=SLOW_S)
    url = new_database()
    engine = make_engine(url)
    started = world.elapsed_s()
    service = running("points", database_url=url, seeds={"rich": 1_000}, options=patient)
    with grpc.insecure_channel(service.__enter__()) as channel, engine.connect() as somebody:
        probe = StreamProbe(channel, options("rich"))
        assert probe.try_(world.new_transaction_id()).text == "HELD"
        somebody.execute(sa.select(ACCOUNTS).with_for_update())
        [future] = probe.ask_in_one_message(("Try", probe.try_request(world.new_transaction_id())))
        with engine.connect() as eye:
            while not eye.execute(_WAITS).scalar_one():
                eye.rollback()
        stopping = Thread(target=service.__exit__, args=(None, None, None))
        stopping.start()
        somebody.rollback()
        stopping.join()
        answered = status(future.result(5.0))
        ended = probe.end()
    assert (answered, ended) == ("STATUS_HELD", "")
    assert world.elapsed_s() - started < SLOW_S / 2
    engine.dispose()
