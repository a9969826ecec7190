"""What an operator is refused, and why. See `domain.errors` for the tree that these belong to."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.domain.errors import CallerError


class CredentialExpired(CallerError):
    """The operator's key is known, but its time is over."""

    code = "CREDENTIAL_EXPIRED"

    def __init__(self, operator: str, expired: str) -> None:
        super().__init__(
            f"the key of operator {operator} expired at {expired}; make a new one with "
            "`kessai keygen --operator`, and have it put into KESSAI_OPERATORS",
            operator=operator,
            expired=expired,
        )


class TransactionNotFound(CallerError):
    """There is no such payment or refund, of any caller."""

    code = "TRANSACTION_NOT_FOUND"

    def __init__(self, transaction_id: str) -> None:
        super().__init__(
            f"there is no transaction {transaction_id}, of any caller; check the ID",
            transaction_id=transaction_id,
        )


class NotAllowed(CallerError):
    """The transaction does not allow this act as it stands; nothing was changed.

    Never raised itself: each reason has a code of its own.
    """

    code = "NOT_ALLOWED"

    def __init__(self, transaction_id: str, reason: str, **facts: str) -> None:
        super().__init__(reason, transaction_id=transaction_id, **facts)


class AlreadySettled(NotAllowed):
    """It has ended; nothing moves by itself any more."""

    code = "ALREADY_SETTLED"


class AlreadyDecided(NotAllowed):
    """It is decided to be paid; the only way is forward."""

    code = "ALREADY_DECIDED"


class AlreadyReleased(NotAllowed):
    """It is being released already."""

    code = "ALREADY_RELEASED"


class HeldByOperator(NotAllowed):
    """An operator holds it."""

    code = "HELD_BY_OPERATOR"


class NotHeld(NotAllowed):
    """Nobody holds it."""

    code = "NOT_HELD"


class BeingDriven(NotAllowed):
    """A process is driving it at this moment, and waits for nothing."""

    code = "BEING_DRIVEN"


class NothingToRetry(NotAllowed):
    """No step of it waits for another attempt."""

    code = "NOTHING_TO_RETRY"


class AnswerNotPossible(NotAllowed):
    """The step's answer is not one of those that ExplainTransaction lists."""

    code = "ANSWER_NOT_POSSIBLE"


class ContradictedByParticipant(NotAllowed):
    """The participant says otherwise, and what it says wins."""

    code = "CONTRADICTED_BY_PARTICIPANT"


class EvidenceRequired(NotAllowed):
    """The participant cannot be asked, so that the answer needs something to rest on."""

    code = "EVIDENCE_REQUIRED"


class ParticipantSilent(CallerError):
    """The participant did not do what the answer needs; nothing was changed. Repeat it."""

    code = "PARTICIPANT_SILENT"

    def __init__(self, transaction_id: str, phase: str, said: str) -> None:
        super().__init__(
            f"{phase} has to be cancelled at its participant before it can count as not "
            f"captured, and that was not done ({said}); repeat it when the participant answers",
            transaction_id=transaction_id,
            phase=phase,
        )


class ChangedMeanwhile(CallerError):
    """Somebody else acted on the transaction since the operator looked; nothing was changed."""

    code = "CHANGED_MEANWHILE"

    def __init__(self, transaction_id: str, version: int, since: Sequence[str]) -> None:
        self.since = tuple(since)
        super().__init__(
            f"transaction {transaction_id} changed meanwhile and is at version {version}: "
            f"{'; '.join(since) or 'it was taken up, and nothing else'}; explain it again, then "
            "decide again",
            transaction_id=transaction_id,
            version=str(version),
        )
