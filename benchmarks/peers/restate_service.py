"""A payment as a Restate handler: the ASGI application that granian serves to Restate's server.

Runs in the peers' environment.
"""

from __future__ import annotations

import restate

Order = dict[str, int | str]

payments = restate.Service("payments")


async def ask(participant: str, operation: str, merchant: str) -> str:
    """A participant's answer, which comes at once."""
    return f"{participant} {operation} {merchant}"


@payments.handler()
async def pay(ctx: restate.Context, order: Order) -> str:
    """Six calls, each a durable step; those that need not wait for each other run together."""
    merchant = str(order["merchant"])
    tries = [
        ctx.run_typed(f"try {name}", ask, participant=name, operation="try", merchant=merchant)
        for name in ("points", "card", "merchant")
    ]
    await restate.gather(*tries)
    await ctx.run_typed(
        "confirm card", ask, participant="card", operation="confirm", merchant=merchant
    )
    confirms = [
        ctx.run_typed(
            f"confirm {name}", ask, participant=name, operation="confirm", merchant=merchant
        )
        for name in ("points", "merchant")
    ]
    await restate.gather(*confirms)
    return "PAID"


app = restate.app(services=[payments])
