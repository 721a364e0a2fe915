"""The public API as a type checker sees it: never run, only checked. Each line states what a user relies on."""

import random
from collections.abc import Sequence
from typing import Any, Protocol, assert_type

import attrs
import trio

from actors import (
    BLOCK,
    Actor,
    Batch,
    Connector,
    ConnectorError,
    ConnectorStats,
    Consumer,
    Context,
    Down,
    Exchange,
    Feed,
    Gap,
    Mailbox,
    Message,
    Name,
    Overflow,
    Reason,
    ReconnectStrategy,
    Registry,
    Reply,
    Session,
    Subscription,
)
from actors.actor import NO_CONTEXT
from actors.chaos import MemoryNetwork, SimulatedExchange, UpbitVenue
from actors.events import ChildExited, Event
from actors.exchange import DATA, Frame, Kind
from actors.exchanges import EXCHANGES, UPBIT, find
from supervisors import (
    AutoShutdown,
    ChildInfo,
    ChildSpec,
    Counts,
    Feeds,
    Instance,
    Intensity,
    Restart,
    Strategy,
    Supervisor,
    open_feeds,
)


class Book(Protocol):
    """What a consumer brings."""

    def apply(self, code: str, data: Any) -> None:
        """Take an update."""

    def distrust(self, since: int, until: int) -> None:
        """Something may be missing."""


async def consume(feed: Feed, book: Book) -> None:
    """What iteration yields is a closed union."""
    async for item in feed:
        assert_type(item, Message | Down | Gap)
        match item:
            case Message():
                assert_type(item.data, str | bytes)
                book.apply(item.code, item.json())
            case Down():
                assert_type(item.reason, Reason)
                assert_type(item.next_attempt, int | None)
            case Gap():
                book.distrust(item.since, item.until)


async def consume_in_batches(feed: Feed) -> int:
    """The same with the messages in batches."""
    count = 0
    async for item in feed.batches():
        assert_type(item, Batch | Down | Gap)
        if isinstance(item, Batch):
            assert_type(item.frames, Sequence[str | bytes])
            count += len(item.frames)
    return count


async def consume_the_newest(feed: Feed) -> None:
    """One consumer of several, with a policy of its own."""
    with feed.consumer(Overflow("conflate", messages=100, key=UPBIT.describe)) as newest:
        assert_type(newest, Consumer)
        async for item in newest:
            assert_type(item, Message | Down | Gap)
        async for batch in newest.batches():
            assert_type(batch, Batch | Down | Gap)


async def embed(book: Book) -> None:
    """`open_feeds` with everything that can be passed in."""
    network = MemoryNetwork({UPBIT.host: SimulatedExchange(UpbitVenue(), port=None)})
    events: list[Event] = []
    async with open_feeds(network=network, random=random.Random(7), wall=lambda: 0, on_event=events.append) as feeds:
        assert_type(feeds, Feeds)
        feed = feeds.open(UPBIT, trade=("KRW-BTC", "KRW-ETH"), book="KRW-BTC", name="krw", overflow=BLOCK)
        assert_type(feed, Feed)
        assert_type(feed.stats, ConnectorStats)
        assert_type(feeds["krw"], Feed)
        feeds.open(find("binance"), Subscription("depth@100ms", ("BTCUSDT",)))
        await feed.live(10)
        with trio.move_on_after(1):
            await consume(feed, book)
        await feeds.reconnect("krw", "fresh books")
        await feeds.close("krw")


def settle() -> Exchange:
    """A profile is a value; a setting is overridden, never changed in place."""
    assert_type(EXCHANGES["upbit"], Exchange)
    patient = attrs.evolve(UPBIT, message_timeout=90, reconnect=ReconnectStrategy(max_delay=120))
    assert_type(patient.session(), Session)
    assert_type(patient.reconnect.next_delay(), float | None)
    return patient


class LoudSession(Session):
    """A protocol of one's own."""

    def classify(self, data: str | bytes) -> Frame:
        """Everything is data but text, which is a notice."""
        return Frame(Kind.NOTICE, detail=data) if isinstance(data, str) else DATA


class Ticker:
    """An actor of one's own, which is asked for its count."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mailbox: Mailbox[Reply[int]] = Mailbox(8)

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Count the questions."""
        task_status.started()
        with self.mailbox.serving():
            for count in range(10):
                question = await self.mailbox.receive()
                question.answer(count)
        task_status.healthy()

    async def count(self) -> int:
        """Ask, and wait two seconds at most."""

        def question(reply: Reply[int]) -> Reply[int]:
            return reply

        return await self.mailbox.ask(question, timeout=2)


async def supervise() -> None:
    """A supervisor is an actor, and takes any."""
    ticker = Ticker("ticker")
    actor: Actor = ticker
    spec = ChildSpec(id=actor.name, run=actor.run, restart=Restart.TRANSIENT, intensity=Intensity(5, 300.0))
    supervisor = Supervisor("mine", [spec])
    nested: Actor = supervisor
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nested.run)
        assert_type(await ticker.count(), int)
        assert_type(supervisor.which_children(), list[ChildInfo])
        supervisor.stop()


async def pool(names: Registry) -> None:
    """Instances of a template, a name that outlives them, and somebody who watches."""
    prices: Name[int] = Name("prices", 64)

    async def serve(limit: int, *, task_status: Context) -> None:
        with names.serve(prices, holder="a pool") as mailbox:
            assert_type(mailbox, Mailbox[int])
            task_status.started(limit)
            assert_type(await mailbox.receive(), int)

    template = ChildSpec(id="server", run=serve, restart=Restart.TEMPORARY)
    supervisor = Supervisor("pool", [template], strategy=Strategy.SIMPLE_ONE_FOR_ONE, max_children=10)
    Supervisor(
        "ordered", strategy="rest_for_one", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT, every_restart_counts=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        made = await supervisor.start_instance(3)
        assert_type(made, Instance)
        ended: Mailbox[ChildExited] = Mailbox(1)
        supervisor.watch(made.id, ended.tell)()
        assert_type(names.mailbox(prices), Mailbox[int])
        assert_type(supervisor.count_children(), Counts)
        assert_type(supervisor.get_childspec(made.id), ChildSpec)
        supervisor.stop()


async def command(connector: Connector, nursery: trio.Nursery) -> None:
    """The guide's names."""
    try:
        await connector.connect(nursery)
        await connector.send_message("PING")
        assert_type(await connector.receive_raw(), Sequence[str | bytes])
        await connector.reconnect()
    except ConnectorError as error:
        assert_type(error.reason, Reason)
    await connector.disconnect()
