"""A frame on its way out of a server, and how it is entered into the ledger."""

import attrs
from wsproto.events import Event

from actors.chaos.ledger import Ledger, Role, Shape, What


@attrs.frozen(kw_only=True)
class Outgoing:
    """What wsproto is to send, and what the ledger is to say of it."""

    event: Event
    shape: Shape
    role: Role
    data: str | bytes
    channel: str = ""
    code: str = ""
    number: int = 0

    def record(self, ledger: Ledger, what: What, connection: int, at: float | None = None) -> None:
        """Write down what became of it. Only data is ever lost: anything else is withheld."""
        ledger.write(
            What.WITHHELD if what is What.LOST and self.role is not Role.DATA else what,
            connection,
            data=self.data,
            shape=self.shape,
            role=self.role,
            channel=self.channel,
            code=self.code,
            number=self.number,
            at=at,
        )
