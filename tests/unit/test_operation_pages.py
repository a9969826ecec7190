"""The pages of docs/operations: their calls can be made, their reasons and links exist."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import kessai as library
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from tests.support.cli import KEY, Fake, Kessai

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "docs" / "operations" / f"{name}.md"
    for name in (
        "create", "capture", "cancel", "refund", "customer-action", "expire", "watch-and-list",
    )
]  # fmt: skip
ID = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
OF_PARTICIPANTS = {
    "CAPTURE_DECLINED", "CARD_DECLINED", "CUSTOMER_DECLINED", "INSUFFICIENT_BALANCE",
    "INSUFFICIENT_POINTS", "NOTHING_TO_REFUND", "UNKNOWN_MERCHANT",
}  # fmt: skip
"""Codes of the reference services that the pages name; docs/participants.md has them."""
OTHER_WORDS = {"CANCEL_PREVIOUS", "PAYMENT_ID", "REFUND_ID", "PAYMENT_OR_REFUND_ID"}


def blocks(page: Path, language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)
    assert found, f"{page.name} shows its call in {language}"
    return "\n".join(found)


def commands() -> list[list[str]]:
    """Every command of every page, as a shell would split it."""
    text = "\n".join(blocks(page, "sh") for page in PAGES)
    found = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [words for words in found if words]


def answer(request: Any) -> Any:
    """Something that every call of the pages goes on with."""
    yen = pb.Money(currency_code="JPY", minor_units=1000)
    payment = pb.Payment(payment_id=ID, state=pb.PAYMENT_STATE_PAID, amount=yen, version=1)
    refund = pb.Refund(refund_id=ID, state=pb.REFUND_STATE_SUCCEEDED, amount=yen, version=1)
    name = type(request).__name__.removesuffix("Request")
    if name.startswith("Watch"):
        made = getattr(pb, f"{name}Response")
        return [made(refund=refund) if name == "WatchRefund" else made(payment=payment)]
    if name.startswith("List"):
        return getattr(pb, f"{name}Response")()
    if "Refund" in name:
        return getattr(pb, f"{name}Response")(refund=refund)
    return getattr(pb, f"{name}Response")(payment=payment)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_pages_can_be_run(
    fake: Fake, kessai: Kessai, words: list[str]
) -> None:
    fake.answer = answer
    assert words[0] == "kessai"
    result = kessai(*(ID if word in OTHER_WORDS else word for word in words[1:]))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_call_of_the_pages_can_be_made(fake: Fake, kessai: Kessai, page: Path) -> None:
    fake.answer = answer
    kessai("payments", "get", ID)  # the fake is there
    code = compile(blocks(page, "python"), page.name, "exec")
    with grpc.insecure_channel(fake.address) as channel:
        client = library.Client(channel=channel, api_key=KEY)
        names = {"kessai": library, "pb": pb, "timedelta": timedelta}
        exec(code, {**names, "client": client, "payment_id": ID, "refund_id": ID})
    assert len(fake.asked) > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_reason_of_the_pages_is_one_that_there_is(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    named = set(re.findall(r"(?<![A-Z_`])[A-Z]+(?:_[A-Z]+)+(?![A-Z_])", prose))
    errors = (ROOT / "docs" / "errors.md").read_text()
    participants = (ROOT / "docs" / "participants.md").read_text()
    unknown = {
        name
        for name in named - OTHER_WORDS
        if not name.startswith("KESSAI_")
        and name not in errors
        and not (name in OF_PARTICIPANTS and name in participants)
    }
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_the_pages_leads_somewhere_and_the_readme_leads_to_them(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link
    assert f"docs/operations/{page.name}" in (ROOT / "README.md").read_text()
