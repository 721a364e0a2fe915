"""What runs: connectors and feeds, exchanges, the notifier, and the kit that actors are made of."""

from actors.actor import Actor, ActorEnded, Context, Mailbox, MailboxFull, Reply
from actors.backoff import ReconnectStrategy
from actors.connector import Connector
from actors.consumer import Consumer
from actors.errors import ConnectorError, Escalate, GiveUp, Reason, ReconnectRequested
from actors.exchange import Channel, Exchange, Heartbeat, Limits, Rate, Session, Subscription
from actors.feed import Feed
from actors.items import BLOCK, DROP_OLDEST, FAIL, Batch, Down, FeedFailed, Gap, Message, Overflow
from actors.registry import Name, NameTaken, Registry
from actors.stats import ConnectorStats

__all__ = [
    "BLOCK",
    "DROP_OLDEST",
    "FAIL",
    "Actor",
    "ActorEnded",
    "Batch",
    "Channel",
    "Connector",
    "ConnectorError",
    "ConnectorStats",
    "Consumer",
    "Context",
    "Down",
    "Escalate",
    "Exchange",
    "Feed",
    "FeedFailed",
    "Gap",
    "GiveUp",
    "Heartbeat",
    "Limits",
    "Mailbox",
    "MailboxFull",
    "Message",
    "Name",
    "NameTaken",
    "Overflow",
    "Rate",
    "Reason",
    "ReconnectRequested",
    "ReconnectStrategy",
    "Registry",
    "Reply",
    "Session",
    "Subscription",
]
