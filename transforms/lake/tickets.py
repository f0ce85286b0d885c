"""Writes that happen once, and not at all once their writer is fenced off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delta.exceptions import ConcurrentTransactionException

from transforms.errors import LostClaims


@dataclass(frozen=True)
class Ticket:
    """Lets a write happen once: Delta commits what `writer` writes to a table only if `number` is above all that this
    writer had committed there before, and leaves it out silently otherwise. A writer's numbers go up, a commit after
    the other."""

    writer: str
    number: int

    @property
    def options(self) -> dict[str, str]:
        """As Delta's writers take it (its documentation: idempotent table writes)."""
        return {"txnAppId": self.writer, "txnVersion": str(self.number)}


def as_conf(ticket: Ticket | None) -> dict[str, str]:
    """MERGE takes its ticket from the session."""
    return {f"spark.databricks.delta.write.{key}": value for key, value in (ticket.options if ticket else {}).items()}


@contextmanager
def fenced_off(ticket: Ticket | None) -> Iterator[None]:
    """Delta refuses a commit with a ticket if another of the same writer, as a fence is, came while it was made."""
    try:
        yield
    except ConcurrentTransactionException as error:
        writer = ticket.writer if ticket else "a writer without a ticket"
        raise LostClaims(
            f"another run has taken over the recordings of {writer}; what it had published is kept, and nothing more "
            "is written. Nothing is to be done; if this happens often, raise run.claim_minutes"
        ) from error
