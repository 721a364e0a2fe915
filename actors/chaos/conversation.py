"""What one connection says and hears, apart from how the bytes get there."""

from typing import TYPE_CHECKING

from actors.chaos.ledger import Shape

if TYPE_CHECKING:
    from actors.chaos.link import Link


class Conversation:
    """The server's side of one connection: a venue's rules override the hooks. This one listens in silence.

    Hooks are synchronous and quick; they talk back through ``link``.
    """

    def __init__(self, link: "Link") -> None:
        self.link = link

    def opened(self) -> None:
        """The 101 is out."""

    def received(self, data: str | bytes) -> None:
        """A whole message arrived."""
        del data

    def control(self, shape: Shape, payload: bytes) -> None:
        """A ping or pong arrived; a ping has been answered already."""
        del shape, payload

    def retiring(self) -> None:
        """The server is about to end the connection: the moment to say so, where the venue has words for it."""

    def closed(self) -> None:
        """The connection ends here and now; called exactly once."""
