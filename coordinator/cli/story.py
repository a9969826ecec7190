"""The story of `kessai demo`: its chapters, in order."""

from __future__ import annotations

from coordinator.cli import chapters_paying as paying
from coordinator.cli import chapters_recovering as recovering
from coordinator.cli import chapters_refunding as refunding
from coordinator.cli import chapters_reserving as reserving
from coordinator.cli.telling import Chapter

CHAPTERS = (
    Chapter("600 points and 400 yen by card", paying.both),
    Chapter("600 points from a wallet that has 50", paying.points_short),
    Chapter("A card that its bank declines", paying.card_declined),
    Chapter("A card whose bank asks its customer first", paying.customer_acts),
    Chapter("A capture whose answer is lost after it was done", paying.reply_lost),
    Chapter("A Try that times out, and arrives after all was released", paying.try_times_out),
    Chapter("The same idempotency key twice", paying.same_key),
    Chapter("The same idempotency key with another amount", paying.key_reused),
    Chapter("Two payments for one order at once", paying.one_order),
    Chapter("A reservation of which only a part is captured", reserving.captured_in_part),
    Chapter("A reservation that is cancelled", reserving.reserved_and_cancelled),
    Chapter("A reservation that nobody captures in time", reserving.reservation_expires),
    Chapter("Two refunds divided in different ways, then the rest", refunding.refunded_in_parts),
    Chapter("A refund of more than is left", refunding.refunded_too_much),
    Chapter("A refund that its merchant cannot pay", refunding.merchant_cannot_pay),
    Chapter("A participant that stops, and comes back", recovering.participant_stops),
    Chapter("The coordinator killed with 200 payments under way", recovering.coordinator_killed),
)
