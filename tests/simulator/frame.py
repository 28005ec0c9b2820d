"""One WebSocket frame on its way out, together with what a lossless client can read from it."""

from aiohttp import WSMsgType
from msgspec import Struct


class Frame(Struct, frozen=True):
    """``channel`` is empty for what is not data: acknowledgements, heartbeats, errors, pings."""

    payload: bytes
    channel: str = ""
    """``trade``, ``ticker``, ``orderbook``, or ``bidask`` for Binance's bookTicker."""
    symbol: str = ""
    records: int = 1
    """Tickers or book states; of trades the ids are counted instead."""
    trade_ids: tuple[int, ...] = ()
    opcode: WSMsgType = WSMsgType.TEXT
    pong: bool = False
    """The answer to a ping that is text: a frozen connection still gives it."""


PING = Frame(b"simulator", opcode=WSMsgType.PING)
