"""A process that alerts: numbered messages to Telegram chats, through a spool, to be killed at any moment.

``python -m tests.alerter FOLDER URL PER_CHAT FIRST LAST CHAT...`` tells of the sessions FIRST to LAST and writes the
number of each to standard output once it lies in the spool; then it waits until all has been sent, and says ``done``.
"""

import sys
from pathlib import Path

import trio

from actors.actor import Context
from actors.events import Connected, Origin
from actors.notifier import Notifier, Pace, Secret, Telegram, courier, telegram
from tests.bot_api import TOKEN

FEEDS = [Origin(f"feed{n}", "upbit", "[업비트]", "[Upbit]", "api.upbit.com") for n in range(3)]


async def main(folder: Path, url: str, first: int, last: int, chats: list[int]) -> None:
    """Alert."""
    pace = Pace()
    channels = [
        Telegram(Secret(TOKEN), chat, name=f"c{chat}", base_url=url, ca_file=folder / "ca.pem", pace=pace)
        for chat in chats
    ]
    notifier = Notifier(channels, spool=folder / "spool.sqlite3")
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        for number in range(first, last + 1):
            notifier.hook(Connected(at=0, origin=FEEDS[number % 3], session=number, seconds=1))
            while _unposted(notifier):  # noqa: ASYNC110 - nobody else needs to know, so there is no event
                await trio.sleep(0.001)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
        context.stopping.set()
    sys.stdout.write("done\n")


def _unposted(notifier: Notifier) -> bool:
    return bool(len(notifier._mailbox) or notifier._outbox)  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    courier.QUARANTINE_DELAY = 1.0
    telegram._PER_CHAT = float(sys.argv[3])  # pyright: ignore[reportPrivateUsage]
    trio.run(
        main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[4]), int(sys.argv[5]), [int(chat) for chat in sys.argv[6:]]
    )
