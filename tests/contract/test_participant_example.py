"""The example in docs/participants.md is a whole service, and keeps every rule."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from participants.card_tokens import CardToken
from participants.conformance import CheckOptions, Verdict, check
from participants.fence import Fence
from participants.server import OnReady, run_in_thread, serve_until
from participants.service import ParticipantService

DOCS = Path(__file__).parents[2] / "docs" / "participants.md"


def _example() -> dict[str, Any]:
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], str(DOCS), "exec"), names)
    return names


def test_the_example_in_the_docs_keeps_every_rule(new_database: Callable[[], str]) -> None:
    example, url = _example(), new_database()

    def serve_in_test(fence: Fence, *, listen: str) -> None:
        with fence._engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO gift_cards VALUES ('rich', 10000), ('scarce', 200), ('poor', 1)"
                )
            )

        async def run(stop: asyncio.Event, on_ready: OnReady) -> None:
            with ThreadPoolExecutor(8) as executor:
                service = ParticipantService(fence, executor)
                await serve_until(stop, service, listen=listen, on_ready=on_ready, grace_s=0.1)

        options = CheckOptions(
            "rich", other_account="poor", refused_account="poor", scarce_account="scarce"
        )
        with run_in_thread(run) as address:
            reports.append(check(address, options))
        fence._engine.dispose()

    reports: list[Any] = []
    example["serve_fence"] = serve_in_test
    example["main"](url, "127.0.0.1:0")
    (report,) = reports
    assert report.ok, report.results
    unchecked = {r.rule for r in report.results if r.verdict is Verdict.NOT_CHECKABLE}
    assert unchecked == {"7"}


def test_the_docs_list_every_test_token() -> None:
    listed = set(re.findall(r"^\| `(tok_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert listed == set(CardToken)
