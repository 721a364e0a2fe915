"""Sessions of the toy exchanges: every way of being kept alive fits the shape of a profile."""

import json
from typing import Any

import attrs
import pytest
import trio

from actors.errors import ApplicationError, Reason
from actors.exchange import DATA, By, Exchange, Form, Kind, Subscription
from tests.toys import CLIENT_MESSAGE, SERVER_CONTROL, SERVER_MESSAGE, TOYS, token_toy

WANTED = (Subscription("trade", ("BTC/KRW", "eth-krw")), Subscription("book", "BTC/KRW"))


@attrs.define
class FakeHttp:
    """Answers each POST with the next of its answers."""

    answers: list[Any]
    asked: list[str] = attrs.field(factory=list[str])

    async def get_json(self, url: str) -> Any:
        raise AssertionError(url)

    async def post_json(self, url: str, body: Any = None) -> Any:
        assert body is None
        await trio.lowlevel.checkpoint()
        self.asked.append(url)
        return self.answers.pop(0)


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.code)
def test_subscribes_and_is_confirmed(toy: Exchange) -> None:
    """Each toy subscribes by channel, in its own spelling, and its acks confirm exactly what is pending."""
    session = toy.session(toy.native(WANTED))
    sent = [json.loads(frame) for frame in session.opened()]
    assert sent == [
        {"op": "subscribe", "channel": "trade", "codes": ["BTC-KRW", "ETH-KRW"]},
        {"op": "subscribe", "channel": "book", "codes": ["BTC-KRW"]},
    ]
    acks = [session.classify(json.dumps({"op": "subscribed", "channel": each})) for each in ("trade", "book")]
    assert [ack.kind for ack in acks] == [Kind.ACK, Kind.ACK]
    assert {key for ack in acks for key in ack.confirms} == session.pending() == {"trade", "book"}


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.code)
def test_tells_data_from_the_rest(toy: Exchange) -> None:
    """Each toy knows data, with channel and code, from a refusal and from nonsense."""
    session = toy.session(toy.native(WANTED))
    data = '{"channel":"trade","code":"BTC-KRW","price":1}'
    assert session.classify(data) is DATA
    assert toy.describe(data) == ("trade", "BTC-KRW")
    refused = session.classify('{"op":"refused","channel":"book","why":"closed"}')
    assert (refused.kind, refused.detail) == (Kind.REJECTED, "book: closed")
    assert session.classify("nonsense").kind is Kind.UNKNOWN
    assert session.classify(b"\xff").kind is Kind.UNKNOWN


def test_the_five_lives_are_all_there() -> None:
    """Between them the toys are kept alive from either side, in either form, and one needs a token."""
    rules = {(rule.by, rule.form) for toy in TOYS for rule in toy.heartbeats}
    assert rules == {(by, form) for by in By for form in Form}
    assert [toy.code for toy in TOYS if toy.endpoint] == ["toy-token"]


def test_numbered_messages() -> None:
    """A client's message may carry a running number, and its answer is a heartbeat, not data."""
    (rule,) = CLIENT_MESSAGE.heartbeats
    assert [rule.text(number) for number in (1, 2)] == ['{"op":"ping","n":1}', '{"op":"ping","n":2}']
    assert rule.answered
    assert CLIENT_MESSAGE.session().classify('{"op":"pong","n":2}').kind is Kind.HEARTBEAT


def test_server_control_pings_need_nothing_of_ours() -> None:
    """Where the server sends control pings the profile has no rule for the client to carry out."""
    assert [rule.by for rule in SERVER_CONTROL.heartbeats] == [By.SERVER]


def test_a_server_s_message_is_answered_with_its_token() -> None:
    """The answer brings the server's own token back, quotes included."""
    frame = SERVER_MESSAGE.session().classify('"toy::ping::1790139005374"')
    assert (frame.kind, frame.answer) == (Kind.HEARTBEAT, '"toy::pong::1790139005374"')


async def test_a_fresh_token_before_each_connect() -> None:
    """The endpoint asks for a token each time and puts it into the URL, escaped."""
    toy = token_toy("https://toy.invalid/bullet")
    http = FakeHttp([{"endpoint": "wss://a.invalid/ws", "token": token} for token in ("one", "t&o")])
    assert toy.endpoint is not None
    assert await toy.endpoint(http) == "wss://a.invalid/ws?token=one"
    assert await toy.endpoint(http) == "wss://a.invalid/ws?token=t%26o"
    assert http.asked == ["https://toy.invalid/bullet"] * 2


@pytest.mark.parametrize("answer", [{}, None, [], "text", {"token": "s3cret"}])
async def test_an_endpoint_without_token_is_the_exchange_s_fault(answer: object) -> None:
    """A malformed answer is an error with a reason, and shows nothing of what it held."""
    toy = token_toy("https://toy.invalid/bullet")
    assert toy.endpoint is not None
    with pytest.raises(ApplicationError) as caught:
        await toy.endpoint(FakeHttp([answer]))
    assert caught.value.reason is Reason.ENDPOINT
    assert "s3cret" not in str(caught.value)
