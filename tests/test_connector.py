"""One session of a connector: the five lives, whose word counts at the end, and the guide's methods."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import MemoryNetwork, SimulatedExchange, UpbitVenue
from actors.chaos.conversation import Conversation
from actors.connector import Connector
from actors.errors import ConnectorError, Reason, ReconnectRequested, Way, leaves
from actors.events import Event, Failed, Live, Noticed, Origin, Quiet, Reconnecting, Unconfirmed
from actors.exchange import DATA, By, Exchange, Form, Frame, Heartbeat, Http, Kind, Session, Subscription
from actors.exchanges import UPBIT
from actors.feed import Feed
from actors.items import Batch, FeedFailed, Message
from actors.stats import ConnectorStats
from actors.transport import Gate
from tests.scenes import scene, wall, watch
from tests.toy_server import ToyServer, said
from tests.toys import CLIENT_CONTROL, CLIENT_MESSAGE, SERVER_CONTROL, SERVER_MESSAGE, ToySession, token_toy

HOST = CLIENT_CONTROL.host
LIVES = {1: CLIENT_CONTROL, 2: CLIENT_MESSAGE, 3: SERVER_CONTROL, 4: SERVER_MESSAGE}


@pytest.mark.parametrize("life", LIVES)
async def test_each_life_is_kept_alive(autojump_clock: trio.testing.MockClock, life: int) -> None:
    """An hour under a server that hangs up on the first missed heartbeat: one session, no gap, every message."""
    server = ToyServer(life)
    async with scene({HOST: server}) as (feeds, _, seen):
        feed = feeds.open(LIVES[life], trade="BTC/KRW")
        await watch(feeds, feed, seen, 3600.5)
    assert not seen.of(Failed)
    assert len(seen.of(Live)) == 1
    assert [message.json()["n"] for message in seen.messages] == list(range(1, 3601))
    if life == 2:
        assert [ping["n"] for ping in said(server, "ping")] == list(range(1, 182))


@pytest.mark.parametrize("life", LIVES)
async def test_without_its_heartbeat_each_life_ends(autojump_clock: trio.testing.MockClock, life: int) -> None:
    """The servers above do hang up: with the profile of another life the session is cut within 70 s."""
    wrong = attrs.evolve(LIVES[life], heartbeats=(), make_session=ToySession)
    server = ToyServer(life)
    async with scene({HOST: server}) as (feeds, _, seen):
        feeds.open(wrong, trade="BTC/KRW")
        await trio.sleep(70)
    # control pings are answered below the profile, so life 3 needs none
    assert len(seen.of(Failed)) == (0 if life == 3 else 1)


async def test_a_token_is_fetched_before_each_connect(autojump_clock: trio.testing.MockClock) -> None:
    """Life 5: the endpoint is asked once a dial, and the URL it gives is dialled."""
    asked: list[str] = []

    class FakeHttp:
        async def get_json(self, url: str) -> Any:
            raise NotImplementedError

        async def post_json(self, url: str, body: Any = None) -> Any:
            asked.append(url)
            if len(asked) == 2:
                await trio.sleep_forever()
            return {"endpoint": "wss://toy.invalid/5", "token": f"t{len(asked)}"}

    @asynccontextmanager
    async def http() -> AsyncGenerator[Http]:
        yield FakeHttp()

    server = ToyServer(5)
    rig = Rig(token_toy("https://toy.invalid/bullet"), server, "trade", http=http)
    async with server.serving():
        for _ in range(3):
            with trio.move_on_after(61) as scope:
                await rig.run()
            assert scope.cancelled_caught or asked[1:]
    assert len(asked) == 3
    paths = [entry.data for entry in server.ledger if entry.what == "opened"]
    assert paths == ["/5?token=t1", "/5?token=t3"]
    assert [event.reason for event in rig.of(Failed)] == [Reason.ENDPOINT]


class Rig:
    """A connector by itself: no supervisor, one server in memory."""

    def __init__(self, exchange: Exchange, server: Any, channel: str = "trade", **options: Any) -> None:
        self.events: list[Event] = []
        origin = Origin("test", exchange.code, exchange.name_ko, exchange.name_en, exchange.host)
        wanted = exchange.native([Subscription(channel, "BTC-KRW")])
        self.stats = ConnectorStats(origin)
        self.feed = Feed("test", exchange, wanted, stats=self.stats, emit=self.events.append)
        self.connector = Connector(
            self.feed,
            network=MemoryNetwork({exchange.host: server}),
            gate=Gate(),
            emit=self.events.append,
            wall=wall,
            **options,
        )

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def run(self) -> BaseException | None:
        """One incarnation; its only error, though several tasks may have met it, without the group around it."""
        try:
            await self.connector.run()
        except Exception as error:
            (only,) = {repr(leaf): leaf for leaf in leaves(error)}.values()
            return only
        return None


async def test_an_error_message_outranks_the_close_after_it(autojump_clock: trio.testing.MockClock) -> None:
    """Upbit says WRONG_FORMAT, then closes with 1000: the reason is what it said, and the way back quarantine."""
    bad = attrs.evolve(UPBIT, on_open=("this is no JSON",))
    sim = SimulatedExchange(UpbitVenue(), port=None, random=random.Random(1), wall=wall)
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feeds.open(bad, trade="KRW-BTC")
        await trio.sleep(5)
    (failed,) = seen.of(Failed)
    assert failed.reason is Reason.APP_ERROR
    assert "WRONG_FORMAT" in failed.detail
    assert seen.of(Reconnecting)[0].delay >= 300
    assert "error: WRONG_FORMAT" in seen.of(Noticed)[0].detail


async def test_messages_over_the_limit_three_times_in_a_row(autojump_clock: trio.testing.MockClock) -> None:
    """W5, W6: one is an accident; after the third the next attempt is a slow one; any other end forgets."""
    sim = SimulatedExchange(UpbitVenue(), port=None, wall=wall, random=random.Random(7))
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feeds.open(attrs.evolve(UPBIT, max_message_size=2048), trade="KRW-BTC")
        for act in ("say", "say", "cut", "say", "say", "say"):
            await trio.sleep(100)
            sim.cut() if act == "cut" else sim.say("x" * 3000)
        await trio.sleep(1)
    over = Reason.WS_TOO_BIG
    assert [event.reason for event in seen.of(Failed)] == [over, over, Reason.EOF, over, over, over]
    ways = [event.way for event in seen.of(Reconnecting)]
    assert ways[-1] is Way.QUARANTINE
    assert Way.QUARANTINE not in ways[:-1]


async def test_a_rejected_subscription_is_named_and_quarantined(autojump_clock: trio.testing.MockClock) -> None:
    """The exchange's refusal is the reason, with its words."""

    class Asks(ToySession):
        def subscribe(self) -> list[str | bytes]:
            return ['{"op":"subscribe","channel":"nothing"}']

    rig = Rig(attrs.evolve(CLIENT_CONTROL, make_session=Asks), server := ToyServer(1))
    async with server.serving():
        error = await rig.run()
    assert isinstance(error, ConnectorError)
    assert error.reason is Reason.SUB_REJECTED
    assert error.detail == "nothing: no such channel"


async def test_unconfirmed_subscriptions_are_warned_of_while_data_flows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A link that brings data is kept, although one channel was never confirmed."""

    class Half(ToySession):
        def pending(self) -> frozenset[str]:
            return frozenset({"trade", "never"})

    rig = Rig(attrs.evolve(CLIENT_CONTROL, make_session=Half), server := ToyServer(1))
    async with server.serving():
        with trio.move_on_after(30):
            await rig.run()
    assert [event.channels for event in rig.of(Unconfirmed)] == [("never",)]
    assert not rig.of(Failed)


async def test_notices_and_unknown_frames_are_told_not_delivered(autojump_clock: trio.testing.MockClock) -> None:
    """Only data reaches the consumer; what else was said is an event."""

    class Talks(Conversation):
        def opened(self) -> None:
            for text in ("data", "notice", "unknown"):
                self.link.send(text)

    class Hears(Session):
        def classify(self, data: str | bytes) -> Frame:
            kinds = {"notice": Frame(Kind.NOTICE, "soon"), "unknown": Frame(Kind.UNKNOWN, "what")}
            return kinds.get(str(data), DATA)

    rig = Rig(attrs.evolve(CLIENT_CONTROL, make_session=Hears), server := ToyServer(1, Talks))
    async with server.serving():
        with trio.move_on_after(5):
            await rig.run()
    item = await rig.feed.__anext__()
    assert isinstance(item, Message)
    assert item.data == "data"
    assert [event.detail for event in rig.of(Noticed)] == ["notice: soon", "unknown: what"]
    assert rig.stats.messages == 1


class Marked(ToySession):
    """Takes ``?…`` for a server's ping, ``!…`` for a notice, ``#…`` for a refusal; the rest is data."""

    def classify(self, data: str | bytes) -> Frame:
        match str(data)[0]:
            case "?":
                return Frame(Kind.HEARTBEAT, answer=f"answer to {data}")
            case "!":
                return Frame(Kind.NOTICE, str(data))
            case "#":
                return Frame(Kind.REJECTED, str(data))
            case _:
                return DATA


async def test_a_batch_is_taken_in_runs_and_answered_afterwards(autojump_clock: trio.testing.MockClock) -> None:
    """Data between other frames reaches the feed in order, a run at a time; answers go out before the next read."""
    exchange = attrs.evolve(CLIENT_CONTROL, make_session=Marked)
    rig = Rig(exchange, server := ToyServer(1, Conversation))
    async with server.serving(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(0.5)
        take = rig.connector._take  # pyright: ignore[reportPrivateUsage]
        assert take(["a", "b"]) is None
        rest = take(["c", "?1", "d", "e", "!soon", "?2", "f"])
        assert rest is not None
        await rest
        await trio.sleep(0.1)
        with pytest.raises(ConnectorError, match="#no"):
            take(["g", "#no", "h"])
        nursery.cancel_scope.cancel()
    rig.feed.fail("the test is over")
    taken: list[Any] = []
    with suppress(FeedFailed):
        while True:
            taken.append(await rig.feed.next_batch())
    assert [item.frames for item in taken if isinstance(item, Batch)] == [["a", "b"], ["c"], ["d", "e"], ["f"], ["g"]]
    received = [str(entry.data) for entry in server.ledger if entry.what == "received"]
    assert [said for said in received if said.startswith("answer")] == ["answer to ?1", "answer to ?2"]
    assert [event.detail for event in rig.of(Noticed)] == ["notice: !soon"]


async def test_raw_frames_can_be_listened_to(autojump_clock: trio.testing.MockClock) -> None:
    """receive_raw gives what comes off the wire while the feed gets it too, and at the end says why it ended."""
    rig = Rig(CLIENT_CONTROL, server := ToyServer(1))
    heard: list[str | bytes] = []
    async with server.serving(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(0.5)

        async def listen() -> None:
            with suppress(ConnectorError):
                while True:
                    heard.extend(await rig.connector.receive_raw())

        nursery.start_soon(listen)
        await trio.sleep(3)
        await rig.connector.disconnect()
    assert len(heard) == 3
    delivered = [await rig.feed.__anext__() for _ in range(rig.stats.messages)]
    assert [item.data for item in delivered if isinstance(item, Message)][-3:] == heard
    with pytest.raises(ConnectorError, match="stopped"):
        await rig.connector.receive_raw()


async def test_disconnect_ends_normally_and_reconnect_by_its_error(autojump_clock: trio.testing.MockClock) -> None:
    """Both end the session from within, also while it is still dialling; the caller is never cancelled."""
    server = ToyServer(1)
    rig = Rig(CLIENT_CONTROL, server)
    async with server.serving():
        for end, kind in ((rig.connector.disconnect, type(None)), (rig.connector.reconnect, ReconnectRequested)):
            for seconds in (0, 5):
                results: list[Any] = []

                async def run(results: list[Any] = results) -> None:
                    results.append(await rig.run())

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run)
                    await trio.sleep(seconds)
                    await trio.testing.wait_all_tasks_blocked()
                    await end()
                assert [type(result) for result in results] == [kind]
                await trio.testing.wait_all_tasks_blocked()
                assert server.ledger.open == 0


async def test_without_a_session_nothing_can_be_sent_or_received() -> None:
    """Both say so at once."""
    rig = Rig(CLIENT_CONTROL, ToyServer(1))
    with pytest.raises(trio.ClosedResourceError, match="test is not connected"):
        await rig.connector.send_message("x")
    with pytest.raises(trio.ClosedResourceError, match="test is not connected"):
        await rig.connector.receive_raw()


async def test_pings_that_are_off_are_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    """ping_interval 0 sends none, when_idle sends none while data flows."""
    silent = attrs.evolve(CLIENT_MESSAGE, ping_interval=0.0)
    idle = attrs.evolve(
        CLIENT_MESSAGE,
        heartbeats=(Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload='{"op":"ping","n":1}', when_idle=True),),
    )
    for exchange in (silent, idle):
        server = ToyServer(3)
        async with scene({HOST: server}) as (feeds, _, seen):
            feeds.open(exchange, trade="BTC-KRW")
            await trio.sleep(200)
        assert not said(server, "ping")
        assert not seen.of(Failed)


async def test_an_unanswered_application_ping_ends_the_session(autojump_clock: trio.testing.MockClock) -> None:
    """The answer is owed within ping_timeout."""
    server = ToyServer(3)  # does not answer application pings
    async with scene({HOST: server}) as (feeds, _, seen):
        feeds.open(CLIENT_MESSAGE, trade="BTC-KRW")
        await trio.sleep(11)
    assert [(event.at, event.reason) for event in seen.of(Failed)] == [(10, Reason.PING_TIMEOUT)]


async def test_a_quiet_code_is_a_warning_and_no_restart(autojump_clock: trio.testing.MockClock) -> None:
    """One code of two goes silent: it is named once, the link is kept."""
    watched = attrs.evolve(UPBIT, quiet_after=45.0)
    sim = SimulatedExchange(UpbitVenue(), quiet=("KRW-USDS",), rate=1, port=None, wall=wall)
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feeds.open(watched, trade=("KRW-BTC", "KRW-USDS"))
        await trio.sleep(200)
    assert [(event.at, event.channel, event.code, event.seconds) for event in seen.of(Quiet)] == [
        (45, "trade", "KRW-USDS", 45)
    ]
    assert not seen.of(Failed)


async def test_an_endpoint_that_gives_no_usable_url(autojump_clock: trio.testing.MockClock) -> None:
    """It is the exchange's fault, and a reason of its own; a profile whose own URL can never be dialled is ours."""

    async def nonsense(http: Http) -> str:
        return "https://example.com/?token=secret"

    @asynccontextmanager
    async def http() -> AsyncGenerator[Any]:
        yield None

    rig = Rig(attrs.evolve(CLIENT_CONTROL, endpoint=nonsense), ToyServer(5), http=http)
    error = await rig.run()
    assert isinstance(error, ConnectorError)
    assert error.reason is Reason.ENDPOINT
    assert "secret" not in str(error)
    with pytest.raises(ValueError, match="ws:// is unencrypted"):
        Rig(attrs.evolve(CLIENT_CONTROL, ws_url="ws://example.com/"), ToyServer(1))
