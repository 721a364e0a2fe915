"""From a URL to whole messages: the network seam, dialling, TLS, the WebSocket session, and the gate before it all."""

from actors.transport.bans import Bans as Bans
from actors.transport.gate import Gate as Gate
from actors.transport.gate import GateState as GateState
from actors.transport.gate import Turn as Turn
from actors.transport.http import HttpClient as HttpClient
from actors.transport.network import Address as Address
from actors.transport.network import Network as Network
from actors.transport.network import SystemNetwork as SystemNetwork
from actors.transport.proxy import ProxyNetwork as ProxyNetwork
from actors.transport.websocket import Link as Link
from actors.transport.websocket import find_link as find_link
