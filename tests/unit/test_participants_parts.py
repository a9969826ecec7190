from __future__ import annotations

from uuid import UUID

import pytest
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.business import HoldRequest
from participants.card_tokens import CardToken, limit_minor, read_token
from participants.database import normalise_url
from participants.errors import FenceError, InvalidPageToken, InvalidRequest
from participants.listing import list_page
from participants.serve import ServeOptions, parse_seeds, serve
from participants.service import require_valid, status_of


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_bare_postgresql_url_means_psycopg2(scheme: str) -> None:
    assert normalise_url(f"{scheme}://u@h/d") == "postgresql+psycopg2://u@h/d"


def test_seeds_are_names_with_opening_balances() -> None:
    assert parse_seeds(["alice=10000", "shop"]) == {"alice": 10_000, "shop": 0}


@pytest.mark.parametrize("text", ["=5", "alice=-1", "alice=ten", "alice=1.5", "alice=¹"])
def test_a_malformed_seed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME"):
        parse_seeds([text])


@pytest.mark.parametrize("token", list(CardToken))
def test_a_token_may_have_a_suffix(token: CardToken) -> None:
    assert read_token(token) is token
    assert read_token(f"{token}-123") is token
    assert read_token(f"{token}x") is None


def test_a_limit_stands_in_the_token() -> None:
    assert read_token("tok_limit_500-1") is CardToken.LIMIT
    assert (limit_minor("tok_limit_500-1"), limit_minor("tok_limit-7")) == (500, 200)


@pytest.mark.parametrize("account", ["tok_limit_", "tok_limit_0", "tok_limit_-1", "tok_limit_x"])
def test_a_limit_that_is_no_amount_makes_an_unknown_card(account: str) -> None:
    assert read_token(account) is None


@pytest.mark.parametrize(
    "wrong",
    [{"threads": 0}, {"poll_s": 0.0}, {"slow_reply_s": -1.0}, {"customer_action_s": -1.0}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ServeOptions(**wrong)  # type: ignore[arg-type]  # the names are the parameters


def test_an_unknown_participant_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no participant 'bank'"):
        serve("bank", listen="127.0.0.1:0", database_url="postgresql://nowhere/x")


def test_a_malformed_request_names_every_field_that_is_wrong() -> None:
    request = pb.TryRequest(transaction_id="x", phase="p", amount=pb.Money(minor_units=1))
    with pytest.raises(InvalidRequest) as caught:
        require_valid(request)
    named = [field for field, _ in caught.value.violations]
    assert named == ["transaction_id", "amount.currency_code", "account"]


def test_only_a_refund_may_have_no_account() -> None:
    request = pb.TryRequest(transaction_id=world.new_transaction_id(), phase="p")
    request.amount.CopyFrom(pb.Money(currency_code="JPY", minor_units=1))
    with pytest.raises(InvalidRequest) as caught:
        require_valid(request)
    assert [field for field, _ in caught.value.violations] == ["account"]
    request.refund_of.CopyFrom(
        pb.OriginalStep(transaction_id=world.new_transaction_id(), phase="p")
    )
    require_valid(request)
    request.refund_of.transaction_id = "x"
    with pytest.raises(InvalidRequest) as caught:
        require_valid(request)
    assert [field for field, _ in caught.value.violations] == ["refund_of.transaction_id"]


def test_a_well_formed_request_passes() -> None:
    require_valid(pb.QueryRequest(transaction_id=world.new_transaction_id(), phase="p"))


def test_an_unexpected_failure_is_internal_and_tells_nothing() -> None:
    status = status_of(FenceError("internal error"))
    assert status.code == 13
    assert status.message == "internal error"


def test_the_account_is_not_in_the_text_of_a_request() -> None:
    request = HoldRequest(UUID(int=1), "p", "JPY", 1, "tok_secret")
    assert "tok_secret" not in repr(request)


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "=" * 5, "f" * 500, "A" * 32 + "AA=="])
def test_a_made_up_page_token_is_refused(token: str) -> None:
    request = pb.ListTransactionsRequest(page_token=token)
    with pytest.raises(InvalidPageToken):
        list_page(None, request)  # type: ignore[arg-type]  # refused before any query
