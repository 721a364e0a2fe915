"""The documented rules of Upbit, Bithumb and Binance, in virtual time, on both settings of what is unsure."""

import json
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import (
    SIMULATED,
    BinanceVenue,
    BithumbVenue,
    MemoryNetwork,
    Role,
    Shape,
    SimulatedExchange,
    SimulatedVenue,
    Unknown,
    UpbitVenue,
    What,
)
from actors.chaos.board import Venue
from actors.chaos.market import Market, Topic
from actors.chaos.venues.upbit_frames import SHORT, java_number, plain_number
from actors.exchange import Exchange, Frame, Kind, Rate, Session, Subscription
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from tests.sim_client import Client, routed, upgrade

HOST = "exchange.test"
START = 1_790_134_742_000_000_000
both = pytest.mark.parametrize("venue", [UpbitVenue(), BithumbVenue()], ids=["upbit", "bithumb"])


@asynccontextmanager
async def session(
    venue: Venue, *, path: str | None = None, rate: float = 10, quiet: tuple[str, ...] = ()
) -> AsyncGenerator[tuple[SimulatedExchange, Client]]:
    """A simulated exchange in memory, and one connection to it."""
    sim = SimulatedExchange(
        venue,
        port=None,
        rate=rate,
        quiet=quiet,
        random=random.Random(1),
        wall=lambda: START + int(trio.current_time() * 1e9),
    )
    async with sim.serving(), routed(MemoryNetwork({HOST: sim}), HOST, venue.path if path is None else path) as client:
        yield sim, client


def request(*types: dict[str, Any], ticket: str = "t", **extra: Any) -> str:
    return json.dumps([{"ticket": ticket}, *types, *([extra] if extra else [])])


def trade(*codes: str, **options: Any) -> dict[str, Any]:
    return {"type": "trade", "codes": codes, **options}


def decoded(frames: list[str | bytes]) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames]


def streams(frames: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(frame["type"], frame["code"]) for frame in frames}


# -- Upbit and Bithumb ----------------------------------------------------------------------------------------------


@both
async def test_snapshot_first_then_realtime_in_binary(autojump_clock: trio.testing.MockClock, venue: Venue) -> None:
    """A subscription is answered by data alone, in binary frames: a snapshot of each code, then what happens."""
    async with session(venue) as (sim, client):
        await client.send(request(trade("KRW-BTC"), {"type": "orderbook", "codes": ["KRW-ETH"]}))
        heard = await client.listen(10)
        assert all(isinstance(frame, bytes) for frame in heard)
        frames = decoded(heard)
        kinds = [frame["stream_type"] for frame in frames]
        assert kinds[:2] == ["SNAPSHOT", "SNAPSHOT"]
        assert set(kinds[2:]) == {"REALTIME"}
        assert streams(frames) == {("trade", "KRW-BTC"), ("orderbook", "KRW-ETH")}
        trades = [frame for frame in frames if frame["type"] == "trade"]
        ids = [frame["sequential_id"] for frame in trades]
        assert ids == sorted(set(ids))
        assert len({frame["trade_price"] for frame in trades}) > 5
        assert heard == [entry.data for entry in sim.ledger.sent(1)]


async def test_bithumb_spells_numbers_and_times_its_own_way(autojump_clock: trio.testing.MockClock) -> None:
    """Books count microseconds and have 15 levels, trades are dated in Korea, and ids exceed a double."""
    async with session(BithumbVenue()) as (_, client):
        await client.send(request(trade("KRW-BTC"), {"type": "orderbook", "codes": ["KRW-ETH.30", "KRW-XRP.5"]}))
        frames = decoded(await client.listen(2))
        books = {frame["code"]: frame for frame in frames if frame["type"] == "orderbook"}
        assert len(books["KRW-ETH"]["orderbook_units"]) == 15
        assert len(books["KRW-XRP"]["orderbook_units"]) == 5
        assert len(str(books["KRW-ETH"]["timestamp"])) == 16
        sold = next(frame for frame in frames if frame["type"] == "trade" and frame["stream_type"] == "REALTIME")
        assert (sold["trade_date"], sold["trade_time"][:5]) == ("2026-09-23", "12:39")
        assert sold["sequential_id"] > 1 << 53


async def test_bithumb_repeats_books(autojump_clock: trio.testing.MockClock) -> None:
    """Nearly half of the book frames repeat the one before byte for byte, each under a number of its own."""
    async with session(BithumbVenue()) as (sim, client):
        await client.send(request({"type": "orderbook", "codes": ["KRW-BTC"], "isOnlyRealtime": True}))
        heard = await client.listen(60)
        repeats = sum(one == two for one, two in pairwise(heard))
        assert 0.35 < repeats / len(heard) < 0.55
        assert [entry.number for entry in sim.ledger.sent()] == list(range(1, len(heard) + 1))


async def test_upbit_spells_numbers_and_times_its_own_way(autojump_clock: trio.testing.MockClock) -> None:
    """Large doubles look as Java prints them, dates are UTC, and a book has as many levels as were asked for."""
    async with session(UpbitVenue()) as (_, client):
        codes = ["KRW-BTC", "KRW-ETH.5", "KRW-XRP.7", "KRW-SOL.15"]
        await client.send(request(trade("KRW-BTC", is_only_snapshot=True), {"type": "orderbook", "codes": codes}))
        heard = await client.listen(0.05)
        assert re.search(r'"trade_price":1\.[0-9]+E8,', str(heard[0]))
        assert decoded(heard)[0]["trade_date"] == "2026-09-23"
        levels = {frame["code"]: len(frame["orderbook_units"]) for frame in decoded(heard[1:])}
        assert levels == {"KRW-BTC": 30, "KRW-ETH": 5, "KRW-XRP": 30, "KRW-SOL": 15}
        assert len(str(decoded(heard[1:])[0]["timestamp"])) == 13


@both
async def test_a_second_subscription_replaces_the_first(autojump_clock: trio.testing.MockClock, venue: Venue) -> None:
    """Nothing of the first list arrives after the second; what it would have been is lost."""
    async with session(venue) as (sim, client):
        await client.send(request(trade("KRW-BTC")))
        await client.listen(5)
        await client.send(request({"type": "ticker", "codes": ["KRW-ETH"]}))
        assert streams(decoded(await client.listen(5))) == {("ticker", "KRW-ETH")}
        assert {(entry.channel, entry.code, entry.connection) for entry in sim.ledger.lost()} == {
            ("trade", "KRW-BTC", 0)
        }


@both
async def test_unknown_and_lower_case_codes_are_passed_over(
    autojump_clock: trio.testing.MockClock, venue: Venue
) -> None:
    """They bring no error and no data, and the others of the list deliver."""
    async with session(venue) as (_, client):
        await client.send(request(trade("KRW-NOPE", "krw-btc", "KRW-BTC")))
        assert streams(decoded(await client.listen(5))) == {("trade", "KRW-BTC")}


@pytest.mark.parametrize(
    ("venue", "option", "works"),
    [
        (UpbitVenue(), "is_only_{}", True),
        (UpbitVenue(), "isOnly{}", False),
        (BithumbVenue(), "isOnly{}", True),
        (BithumbVenue(), "is_only_{}", False),
    ],
)
async def test_options_are_spelled_differently(
    autojump_clock: trio.testing.MockClock, venue: Venue, option: str, works: bool
) -> None:
    """Each exchange knows its own spelling of the options and ignores the other's."""
    async with session(venue) as (_, client):
        for word, expected in (("snapshot", {"SNAPSHOT"}), ("realtime", {"REALTIME"})):
            name = option.format(word if "_" in option else word.capitalize())
            await client.send(request(trade("KRW-BTC", **{name: True})))
            kinds = {frame["stream_type"] for frame in decoded(await client.listen(3))}
            assert kinds == (expected if works else {"SNAPSHOT", "REALTIME"})


@both
@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("nonsense", "WRONG_FORMAT"),
        ('{"ticket":"t"}', "WRONG_FORMAT"),
        ("[1]", "WRONG_FORMAT"),
        ('[{"type":"trade","codes":["KRW-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":"t"}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"type":"trade"}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"nosuch","codes":["KRW-BTC"]}]', "INVALID_PARAM"),
    ],
)
async def test_an_error_and_then_a_close_1000(
    autojump_clock: trio.testing.MockClock, venue: Venue, message: str, name: str
) -> None:
    """A bad request is named, and 150 ms later the connection is closed with 1000; nothing more is answered."""
    async with session(venue) as (_, client):
        await client.send(message)
        assert (await client.json())["error"]["name"] == name
        await client.send(request(trade("KRW-BTC")))
        begun = trio.current_time()
        assert await client.ended() == 1000
        assert trio.current_time() - begun == pytest.approx(0.15)
        assert len(client.heard) == 1


async def test_formats(autojump_clock: trio.testing.MockClock) -> None:
    """The short names, the lists, and an unknown format, which only Upbit minds."""
    async with session(UpbitVenue()) as (_, client):
        types = [{"type": name, "codes": ["KRW-BTC"], "is_only_snapshot": True} for name in ("trade", "orderbook")]
        others = [{"type": name, "codes": ["KRW-BTC"], "is_only_snapshot": True} for name in ("ticker", "candle.1s")]
        await client.send(request(*types, *others, format="SIMPLE"))
        frames = decoded(await client.listen(1))
        assert [frame["ty"] for frame in frames] == ["trade", "orderbook", "ticker", "candle.1s"]
        assert all(key in SHORT.values() for frame in frames for key in frame)
        assert isinstance(frames[1]["obu"][0]["ap"], int)
        await client.send(request(*types, format="JSON_LIST"))
        assert [frame[0]["type"] for frame in decoded(await client.listen(1))] == ["trade", "orderbook"]  # pyright: ignore[reportArgumentType]
        await client.send(request(*types, format="FANCY"))
        assert (await client.json())["error"]["name"] == "WRONG_FORMAT"
    async with session(BithumbVenue()) as (_, client):
        await client.send(request(trade("KRW-BTC"), format="FANCY"))
        assert (await client.json())["type"] == "trade"


@both
async def test_list_subscriptions(autojump_clock: trio.testing.MockClock, venue: Venue) -> None:
    """What is subscribed to can be asked for, also in a binary frame, and it replaces nothing."""
    async with session(venue, rate=0) as (_, client):
        await client.send(request(trade("KRW-BTC", "KRW-ETH"), {"type": "ticker", "codes": ["KRW-BTC"]}))
        await client.listen(1)
        await client.send(request({"method": "LIST_SUBSCRIPTIONS"}, ticket="mine").encode())
        assert await client.json() == {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [{"type": "trade", "codes": ["KRW-BTC", "KRW-ETH"]}, {"type": "ticker", "codes": ["KRW-BTC"]}],
            "ticket": "mine",
        }


@both
async def test_a_quiet_code_has_a_snapshot_and_no_more(autojump_clock: trio.testing.MockClock, venue: Venue) -> None:
    """Each time it is asked for it is the same snapshot again, with the time of the last change."""
    async with session(venue, quiet=("KRW-QUIET",), rate=100) as (sim, client):
        for _ in range(2):
            await client.send(request(trade("KRW-QUIET")))
            await client.listen(20)
        assert len(client.heard) == 2
        assert client.heard[0] == client.heard[1]
        assert [(entry.number, entry.code) for entry in sim.ledger.sent()] == [(0, "KRW-QUIET")] * 2


@both
async def test_text_ping_is_answered_every_ten_seconds(
    autojump_clock: trio.testing.MockClock, venue: UpbitVenue
) -> None:
    """After the first PING comes UP, and again every ten seconds, however many PINGs are sent."""
    async with session(venue) as (sim, client):
        begun = trio.current_time()
        await client.send("PING", "PING")
        assert await client.json() == {"status": "UP"}
        low, high = venue.first_up
        assert low <= trio.current_time() - begun <= high
        first = trio.current_time()
        await client.json(11)
        assert trio.current_time() - first == pytest.approx(10)
        assert {entry.role for entry in sim.ledger.of(What.SENT)} == {Role.HEARTBEAT}
        # and these keep the connection alive
        await client.listen(300)
        assert sim.ledger.open == 1


@both
@pytest.mark.parametrize("answered", [True, False])
async def test_up_on_a_subscribed_socket_is_a_switch(
    autojump_clock: trio.testing.MockClock, venue: UpbitVenue, answered: bool
) -> None:
    """Whether a PING is answered where something is subscribed to can be set either way."""
    async with session(attrs.evolve(venue, up_when_subscribed=answered), rate=0) as (_, client):
        await client.send(request(trade("KRW-BTC")), "PING")
        frames = decoded(await client.listen(30))
        assert ({"status": "UP"} in frames) is answered


@both
@pytest.mark.parametrize("seconds", [60.0, 120.0])
@pytest.mark.parametrize("code", [None, 1001])
async def test_idle_connections_are_dropped(
    autojump_clock: trio.testing.MockClock, venue: UpbitVenue, seconds: float, code: int | None
) -> None:
    """After a snapshot and then nothing for so long TCP ends, without a Close frame, or with one if so set."""
    async with session(attrs.evolve(venue, idle_timeout=seconds, idle_close=code), rate=0) as (_, client):
        await client.send(request(trade("KRW-BTC")))
        await client.next()
        assert await client.ended(1_000) == (code or 1006)
        assert client.ear.end == ("" if code else "eof")
        assert trio.current_time() == pytest.approx(seconds, abs=0.01)


@both
@pytest.mark.parametrize("keeps", [True, False])
async def test_whether_a_control_ping_keeps_the_idle_timer_is_a_switch(
    autojump_clock: trio.testing.MockClock, venue: UpbitVenue, keeps: bool
) -> None:
    """A client that only sends protocol pings lives, or does not; one that sends text PINGs always lives."""
    for text in (False, True):
        async with session(attrs.evolve(venue, ping_keeps_idle_timer=keeps), rate=0) as (sim, client):
            with trio.move_on_after(300):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.ended, 1_000)
                    while not nursery.cancel_scope.cancel_called and sim.ledger.open:
                        await client.ws.ping() if not text else await client.send("PING")
                        await trio.sleep(20)
                        if client.ws.closed:
                            break
            assert (client.ws.closed is None) is (keeps or text)


@both
async def test_a_silent_server_drops_no_idle_connection(autojump_clock: trio.testing.MockClock, venue: Venue) -> None:
    """Under a silence without pongs TCP stays up for ever; after resume the rules hold again."""
    async with session(venue, rate=0) as (sim, client):
        await client.send(request(trade("KRW-BTC")))
        await client.next()
        sim.silence(pongs=False)
        await client.silence(500)
        assert sim.ledger.open == 1
        sim.resume()
        assert await client.ended(100) == 1006


# -- Binance ---------------------------------------------------------------------------------------------------------


def ask(method: str, *params: Any, number: Any = 1) -> str:
    return json.dumps({"method": method, "params": list(params), "id": number})


async def test_requests_are_acknowledged_by_number(autojump_clock: trio.testing.MockClock) -> None:
    """Subscribing, listing, unsubscribing and properties are each answered under their own id."""
    async with session(BinanceVenue()) as (_, client):
        await client.send(ask("SUBSCRIBE", "btcusdt@trade", "ethusdt@depth@100ms", number=7))
        assert await client.next() == '{"result":null,"id":7}'
        frames = decoded(await client.listen(3))
        assert {frame["stream"] for frame in frames} == {"btcusdt@trade", "ethusdt@depth@100ms"}
        await client.send(ask("LIST_SUBSCRIPTIONS", number="abc"))
        listed = [frame for frame in decoded(await client.listen(0.5)) if "id" in frame]
        assert listed == [{"result": ["btcusdt@trade", "ethusdt@depth@100ms"], "id": "abc"}]
        await client.send(ask("UNSUBSCRIBE", "btcusdt@trade", "nosuch@trade", number=2))
        await client.listen(0.5)
        await client.send(ask("SET_PROPERTY", "combined", False, number=3), ask("GET_PROPERTY", "combined", number=4))
        frames = decoded(await client.listen(3))
        assert [frame for frame in frames if "id" in frame] == [{"result": None, "id": 3}, {"result": False, "id": 4}]
        data = [frame for frame in frames if "id" not in frame]
        assert {frame["e"] for frame in data[1:]} == {"depthUpdate"}
        assert {frame["s"] for frame in data[1:]} == {"ETHUSDT"}


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("{", {"code": 3}),
        ("[]", {"code": 2, "id": None}),
        (ask("NOSUCH", number=5), {"code": 2, "id": 5}),
        (ask("SUBSCRIBE", "btcusdt@trade", number=1.5), {"code": 2, "id": None}),
        ('{"method":"SUBSCRIBE","params":"btcusdt@trade","id":1}', {"code": 2, "id": 1}),
        (ask("SUBSCRIBE"), {"code": 2, "id": 1}),
        (ask("SUBSCRIBE", *(f"s{n}@trade" for n in range(1_025))), {"code": 2, "id": 1}),
        (ask("SET_PROPERTY", "colour", True), {"code": 0, "id": 1}),
        (ask("GET_PROPERTY", "colour"), {"code": 0, "id": 1}),
    ],
)
async def test_bad_requests_of_binance(
    autojump_clock: trio.testing.MockClock, message: str, answer: dict[str, Any]
) -> None:
    """Each is answered by a code and a message, and the connection goes on."""
    async with session(BinanceVenue()) as (_, client):
        await client.send(message)
        got = await client.json()
        assert got.pop("msg")
        assert got == answer
        await client.ws.ping()


@pytest.mark.parametrize("acks", [True, False])
async def test_an_unknown_symbol_is_a_switch(autojump_clock: trio.testing.MockClock, acks: bool) -> None:
    """It is acknowledged and silent, or refused with all the others of the request."""
    async with session(BinanceVenue(acks_unknown=acks)) as (_, client):
        await client.send(ask("SUBSCRIBE", "nosuch@trade", "BTCUSDT@trade", "btcusdt@nosuch", "btcusdt@trade"))
        first = await client.json()
        assert ("result" in first) is acks
        await client.send(ask("LIST_SUBSCRIPTIONS", number=2))
        frames = decoded(await client.listen(2))
        listed = next(frame for frame in frames if "id" in frame)["result"]
        assert listed == (["btcusdt@trade", "nosuch@trade", "BTCUSDT@trade", "btcusdt@nosuch"] if acks else [])
        assert {frame["stream"] for frame in frames if "stream" in frame} == ({"btcusdt@trade"} if acks else set())


@pytest.mark.parametrize(
    ("path", "combined"),
    [
        ("/stream?streams=btcusdt@trade/ethusdt@bookTicker", True),
        ("/ws/btcusdt@trade/ethusdt@bookTicker", False),
        ("/ws/btcusdt%40trade/ethusdt@bookTicker?timeUnit=MICROSECOND", False),
    ],
)
async def test_streams_by_url(autojump_clock: trio.testing.MockClock, path: str, combined: bool) -> None:
    """Streams named in the URL begin without an ack; only the combined path wraps them."""
    async with session(BinanceVenue(), path=path) as (_, client):
        frames = decoded(await client.listen(3))
        assert all(("stream" in frame) is combined for frame in frames)
        data = [frame["data"] for frame in frames] if combined else frames
        assert {frame["s"] for frame in data} == {"BTCUSDT", "ETHUSDT"}
        trades = [frame for frame in data if frame.get("e") == "trade"]
        assert [frame["t"] for frame in trades] == list(range(1, len(trades) + 1))
        assert len(str(trades[0]["E"])) == (16 if "MICRO" in path else 13)


async def test_any_other_path_is_not_found(autojump_clock: trio.testing.MockClock) -> None:
    """Paths besides /ws and /stream are answered with 404."""
    sim = SimulatedExchange(BinanceVenue(), port=None)
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 443)
        assert (await upgrade(await network.connect(address), "/streams"))[0] == 404


async def test_every_stream_has_frames_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """All the streams of the documentation are served, and depth updates join without a gap."""
    names = (
        "trade aggTrade depth depth@100ms depth5 depth20@100ms bookTicker miniTicker ticker ticker_1h avgPrice kline_1m"
    )
    async with session(BinanceVenue()) as (_, client):
        await client.send(ask("SUBSCRIBE", *(f"btcusdt@{name}" for name in names.split())))
        await client.next()
        frames = decoded(await client.listen(5))
        by_name = {frame["stream"].partition("@")[2]: frame["data"] for frame in frames}
        assert sorted(by_name) == sorted(names.split())
        assert by_name["kline_1m"]["k"]["i"] == "1m"
        assert by_name["ticker_1h"]["e"] == "1hTicker"
        assert [len(by_name[name]["bids"]) for name in ("depth5", "depth20@100ms")] == [5, 20]
        updates = [frame["data"] for frame in frames if frame["stream"] == "btcusdt@depth"]
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(updates))


async def test_a_late_pong_settles_the_pings_before_it(autojump_clock: trio.testing.MockClock) -> None:
    """Of three pings the last one's pong is enough; the pong of a ping that is settled already does no harm."""
    sim = SimulatedExchange(BinanceVenue(), port=None, wall=lambda: int(trio.current_time() * 1e9))
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 443)
        stream = await network.connect(address)
        assert (await upgrade(stream, "/ws"))[0] == 101
        for _ in range(10):
            pings = [await stream.receive_some() for _ in range(3)]
            pongs = [b"\x8a" + bytes([0x80 | ping[1]]) + b"\0\0\0\0" + ping[2:] for ping in pings]
            await stream.send_all(pongs[2] + pongs[0])
        assert trio.current_time() == 600
        assert sim.ledger.open == 1


@pytest.mark.parametrize("code", [None, 1008])
async def test_a_missing_pong_ends_the_connection(autojump_clock: trio.testing.MockClock, code: int | None) -> None:
    """Pings come every 20 s; 60 s after one that is not answered the connection ends, unasked pongs or not."""
    sim = SimulatedExchange(BinanceVenue(pong_close=code), port=None, wall=lambda: int(trio.current_time() * 1e9))
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 443)
        stream = await network.connect(address)
        assert (await upgrade(stream, "/ws"))[0] == 101
        ended, opened = b"", trio.current_time()
        while piece := await stream.receive_some():
            ended = piece
            await stream.send_all(b"\x8a\x80\0\0\0\0")
        pings = [entry.at - opened for entry in sim.ledger.of(What.SENT) if entry.shape is Shape.PING]
        assert pings in ([20, 40, 60], [20, 40, 60, 80])
        (end,) = [entry.at for entry in sim.ledger.of(What.SENT) if entry.shape is Shape.CLOSE] or [opened + 80]
        assert end == opened + 80
        assert ended.startswith(b"\x88") is (code is not None)
        assert sim.ledger.counts[What.RECEIVED] >= 3


async def test_answered_pings_keep_the_connection_for_a_day(autojump_clock: trio.testing.MockClock) -> None:
    """A client whose library answers pings lives 24 hours, and not longer."""
    async with session(BinanceVenue(ping_every=2_000), rate=0) as (sim, client):
        assert await client.ended(100_000) == 1006
        assert trio.current_time() == 86_400
        assert sum(entry.shape is Shape.PONG for entry in sim.ledger.of(What.RECEIVED)) == 43


async def test_one_pong_answers_the_pings_before_it(autojump_clock: trio.testing.MockClock) -> None:
    """A silence in which pings are withheld owes nothing, and a late pong settles earlier pings."""
    async with session(BinanceVenue(), rate=0) as (sim, client):
        await client.listen(50)
        sim.silence(pongs=False)
        await client.listen(200)
        sim.resume()
        await client.listen(200)
        assert sim.ledger.open == 1


async def test_the_end_of_life_may_have_a_close_code(autojump_clock: trio.testing.MockClock) -> None:
    """Whether the end after a day has a Close frame can be set."""
    async with session(BinanceVenue(max_life=100, life_close=1001), rate=0) as (_, client):
        assert await client.ended(1_000) == 1001


@pytest.mark.parametrize("how", ["requests", "pings", "pongs"])
async def test_more_than_five_messages_a_second_are_too_many(autojump_clock: trio.testing.MockClock, how: str) -> None:
    """Requests, pings and pongs count together; five a second are well, the sixth brings a Close 1008."""
    async with session(BinanceVenue(), rate=0) as (sim, client):

        async def say(times: int) -> None:
            for _ in range(times):
                match how:
                    case "requests":
                        await client.send(ask("LIST_SUBSCRIPTIONS"))
                    case "pings":
                        await client.ws.ping()
                    case _:
                        await client.ws.pong(b"")

        for _ in range(3):
            await say(5)
            await trio.sleep(1.01)
        assert sim.ledger.open == 1
        await say(5)
        with trio.move_on_after(1):
            await say(1)
        assert await client.ended() == 1008


async def test_connects_have_a_limit_at_each_venue(autojump_clock: trio.testing.MockClock) -> None:
    """What the exchanges publish is what is let in: 5 and 10 a second, 300 in five minutes."""
    limits = [(UpbitVenue(), 5, 1), (BithumbVenue(), 10, 1), (BinanceVenue(), 300, 300), (SimulatedVenue(), 400, 1)]
    for venue, count, seconds in limits:
        sim = SimulatedExchange(venue, port=None)
        network = MemoryNetwork({HOST: sim})
        async with sim.serving():
            (address,) = await network.resolve(HOST, 443)
            statuses: list[int] = []
            for _ in range(count + 1):
                stream = await network.connect(address)
                statuses.append((await upgrade(stream, venue.path))[0])
                await stream.aclose()
            assert statuses[:count] == [101] * count
            assert statuses[count] == (101 if isinstance(venue, SimulatedVenue) else 429)
            await trio.sleep(seconds)
            assert (await upgrade(await network.connect(address), venue.path))[0] == 101


# -- our own, and all together ---------------------------------------------------------------------------------------


async def test_the_simulated_exchange_speaks_its_own_profile(autojump_clock: trio.testing.MockClock) -> None:
    """Acks confirm requests, probes are answered, errors are errors, and data tells its channel and code."""
    wanted = SIMULATED.native([Subscription("book", ("BTC/USD",)), Subscription("trade", ("eth-usd",))])
    talk = SIMULATED.session(wanted)
    assert talk.pending() == {"1", "2"}
    async with session(SimulatedVenue()) as (_, client):
        await client.send(*talk.opened())
        frames = [(frame, talk.classify(frame)) for frame in await client.listen(2)]
        assert {key for _, frame in frames for key in frame.confirms} == {"1", "2"}
        assert talk.pending() == frozenset()
        data = [SIMULATED.describe(raw) for raw, frame in frames if frame.kind is Kind.DATA]
        assert set(data) == {("book", "BTC-USD"), ("trade", "ETH-USD")}
        await client.send(*talk.probe())
        answers = [talk.classify(frame) for frame in await client.listen(0.5)]
        assert [frame.probe for frame in answers if frame.kind is Kind.CONTROL] == [True]
        await client.send("nonsense", b"{}", '{"op":"subscribe","channel":"nosuch","codes":[]}')
        answers = [talk.classify(frame) for frame in await client.listen(0.5)]
        assert [frame.kind for frame in answers if frame.kind is not Kind.DATA] == [Kind.ERROR] * 3
    assert talk.classify(b"\xff").kind is Kind.UNKNOWN
    assert SIMULATED.describe("{}") == ("", "")
    assert SIMULATED.limits.gate == Rate(10_000, 1)


async def told(talk: Session, client: Client, *sent: str | bytes) -> tuple[list[Frame], set[tuple[str, str]]]:
    """What comes in a second after ``sent``: the frames that are no data, and the channels and codes of data."""
    await client.send(*sent)
    heard = await client.listen(1)
    frames = [talk.classify(frame) for frame in heard]
    assert Kind.UNKNOWN not in {frame.kind for frame in frames}
    data = {talk.exchange.describe(raw) for raw, frame in zip(heard, frames, strict=True) if frame.kind is Kind.DATA}
    return [frame for frame in frames if frame.kind is not Kind.DATA], data


@pytest.mark.parametrize(
    ("exchange", "venue", "codes"),
    [
        (SIMULATED, SimulatedVenue(), ("BTC-USD", "ETH-USD", "XRP-USD")),
        (BINANCE, BinanceVenue(), ("btcusdt", "ethusdt", "xrpusdt")),
        (UPBIT, UpbitVenue(), ("KRW-BTC", "KRW-ETH", "KRW-XRP")),
        (BITHUMB, BithumbVenue(), ("KRW-BTC", "KRW-ETH", "KRW-XRP")),
    ],
    ids=["simulated", "binance", "upbit", "bithumb"],
)
async def test_a_live_session_is_changed(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue, codes: tuple[str, str, str]
) -> None:
    """One code goes and one comes on the same connection; the third goes on."""
    first, second, third = codes
    talk = exchange.session((Subscription("trade", (first, second)),))
    async with session(venue) as (sim, client):
        _, data = await told(talk, client, *talk.opened())
        assert {code.lower() for _, code in data} == {first.lower(), second.lower()}
        sent = talk.change((Subscription("trade", (second, third)),))
        assert sent is not None
        await told(talk, client, *sent)
        others, data = await told(talk, client)
        assert {code.lower() for _, code in data} == {second.lower(), third.lower()}
        assert others == []
        assert [link.number for link in sim.connections] == [1]


@pytest.mark.parametrize(
    ("unknown", "rejects", "codes"),
    [
        (Unknown.PASSED_OVER, [], {"BTC-USD"}),
        (Unknown.NAMED, [(Subscription("trade", "NO-CODE"),)], {"BTC-USD"}),
        (Unknown.REFUSED, [(Subscription("trade", ("BTC-USD", "NO-CODE")),)], set[str]()),
    ],
)
async def test_a_code_that_does_not_exist_is_a_switch(
    autojump_clock: trio.testing.MockClock,
    unknown: Unknown,
    rejects: list[tuple[Subscription, ...]],
    codes: set[str],
) -> None:
    """It is passed over, or named, or refused without a name, with all that was asked for at once."""
    talk = SIMULATED.session((Subscription("trade", ("BTC-USD", "NO-CODE")),))
    async with session(SimulatedVenue(unknown=unknown)) as (_, client):
        others, data = await told(talk, client, *talk.opened())
        assert [frame.rejects for frame in others if frame.kind is Kind.REJECTED] == rejects
        assert {code for _, code in data} == codes


async def test_a_code_that_does_not_exist_may_kill_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    """Without a word about why."""
    talk = SIMULATED.session((Subscription("trade", ("BTC-USD", "NO-CODE")),))
    async with session(SimulatedVenue(unknown=Unknown.FATAL)) as (_, client):
        await client.send(*talk.opened())
        assert await client.ended(1) == 1006


@pytest.mark.parametrize(
    ("exchange", "venue", "codes"),
    [
        (UPBIT, UpbitVenue(), ("BTC/KRW", "KRW-ETH")),
        (BITHUMB, BithumbVenue(), ("BTC/KRW", "KRW-ETH")),
        (BINANCE, BinanceVenue(), ("BTC/USDT", "ETHUSDT")),
    ],
    ids=["upbit", "bithumb", "binance"],
)
async def test_profiles_and_simulators_understand_each_other(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue, codes: tuple[str, ...]
) -> None:
    """What a profile sends is understood, and each frame that comes back is classified: none is unknown."""
    wanted = exchange.native(Subscription(channel, codes) for channel in ("trade", "book", "ticker"))
    talk = exchange.session(wanted)
    pending = talk.pending()
    async with session(venue) as (_, client):
        await client.send(*talk.opened())
        heard = await client.listen(5)
        frames = [talk.classify(frame) for frame in heard]
        assert {frame.kind for frame in frames} <= {Kind.DATA, Kind.ACK}
        assert {key for frame in frames for key in frame.confirms} >= pending
        assert talk.pending() == frozenset()
        described = {
            exchange.describe(raw) for raw, frame in zip(heard, frames, strict=True) if frame.kind is Kind.DATA
        }
        assert len(described) == 6
        assert all(channel and code for channel, code in described)
        if isinstance(venue, UpbitVenue):
            await client.send("PING")
            assert Kind.HEARTBEAT in {talk.classify(frame).kind for frame in await client.listen(20)}


async def test_a_probe_of_a_quiet_code_is_known_by_the_profile(autojump_clock: trio.testing.MockClock) -> None:
    """The snapshot that answers a probe repeats the first, so the profile does not deliver it twice."""
    talk = UPBIT.session(UPBIT.native([Subscription("trade", ("KRW-QUIET",))]))
    async with session(UpbitVenue(), quiet=("KRW-QUIET",)) as (sim, client):
        await client.send(*talk.opened())
        assert talk.classify(await client.next()).kind is Kind.DATA
        await client.send(*talk.probe())
        assert talk.classify(await client.next()).probe
        sim.mute_probe()
        await client.send(*talk.probe())
        await client.silence(10)


@pytest.mark.parametrize(
    ("value", "java", "plain"),
    [
        (0.0, "0.0", "0"),
        (116539000.0, "1.16539E8", "116539000"),
        (20000000.0, "2.0E7", "20000000"),
        (1235000.0, "1235000.0", "1235000"),
        (-12345678.9, "-1.23456789E7", "-1.23456789E7"),
        (0.00079276, "7.9276E-4", "7.9276E-4"),
        (0.001, "0.001", "0.001"),
        (0.02054761, "0.02054761", "0.02054761"),
    ],
)
def test_numbers_as_the_exchanges_spell_them(value: float, java: str, plain: str) -> None:
    """Doubles look as Java prints them; whole numbers may lose their fraction."""
    assert java_number(value) == java
    assert plain_number(value) == plain


def test_prices_stay_prices() -> None:
    """A walk of many steps keeps the price positive, its day's range around it, and its time rising."""
    market = Market(("KRW-XRP", "WHATEVER"), random.Random(3), lambda: START)
    for code in ("KRW-XRP", "WHATEVER"):
        topic, last = Topic("trade", code), 0
        for _ in range(20_000):
            quote = market.move(topic)
            assert 0 < quote.low <= quote.price <= quote.high
            assert quote.at // 1_000_000 > last
            last = quote.at // 1_000_000
