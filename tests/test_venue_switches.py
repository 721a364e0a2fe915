"""What is not known for certain of an exchange is a switch of its simulated twin, drawn by the seed."""

import ast
import inspect
from typing import Any

import attrs
import pytest

from actors.chaos import BinanceVenue, BithumbVenue, UpbitVenue
from actors.chaos.plans import SWITCHES
from actors.chaos.venues import binance, upbit_family
from actors.exchange import Exchange
from actors.exchanges import BINANCE, BITHUMB, UPBIT

TWINS: dict[str, tuple[Exchange, Any, Any]] = {
    "upbit": (UPBIT, UpbitVenue, upbit_family),
    "bithumb": (BITHUMB, BithumbVenue, upbit_family),
    "binance": (BINANCE, BinanceVenue, binance),
}
ELSEWHERE = {"upbit": {"counts_messages"}, "bithumb": {"up_when_subscribed"}}
"""Fields that are unsure of the other exchange of the family only."""
UNSURE = {
    ("upbit", "heartbeats"): "ping_keeps_idle_timer",
    ("upbit", "limits.argument_bytes"): None,
    ("upbit", "limits.sockets"): None,
    ("bithumb", "limits.messages"): "counts_messages",
    ("bithumb", "limits.argument_bytes"): None,
    ("bithumb", "limits.sockets"): None,
    ("binance", "close_codes"): "messages_close",
    ("binance", "limits.argument_bytes"): None,
    ("binance", "limits.sockets"): None,
}
"""What a profile owns up to not knowing, and the switch; None where there is no limit that anybody knows."""


def unsure(module: Any, venue: type) -> set[str]:
    """The fields of a venue, inherited ones included, whose description says that they are unsure."""
    names = {each.__name__ for each in venue.__mro__}
    found: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and node.name in names:
            for field, text in zip(node.body, node.body[1:], strict=False):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                        found |= {name} if "Unsure" in words else set()
                    case _:
                        pass
    return found


@pytest.mark.parametrize("code", TWINS)
def test_what_is_unsure_is_drawn(code: str) -> None:
    """Each such field of a venue has a switch, and each switch has several values, the venue's own among them."""
    _, venue, module = TWINS[code]
    drawn = SWITCHES[code]
    assert unsure(module, venue) - set(drawn) <= ELSEWHERE.get(code, set())
    assert set(drawn) - unsure(module, venue) <= {"strict_format"}
    defaults = {field.name: field.default for field in attrs.fields(venue)}
    for name, values in drawn.items():
        assert len(set(values)) > 1
        assert defaults[name] in values


def test_what_a_profile_does_not_know_is_drawn() -> None:
    """Every source that says UNSURE stands here with its switch, and nothing else does."""
    said = {
        (code, field)
        for code, (profile, _, _) in TWINS.items()
        for field, source in profile.sources.items()
        if "UNSURE" in source
    }
    assert said == set(UNSURE)
    for (code, _), switch in UNSURE.items():
        assert switch is None or switch in SWITCHES[code]
