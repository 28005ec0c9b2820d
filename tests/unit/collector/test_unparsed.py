from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from daedalus.config import Exchange
from daedalus.records import RawFrame
from daedalus_collector import loader
from daedalus_collector.ccxt_feed import make_exchange
from daedalus_collector.raw_frames import RawFrames
from daedalus_collector.unparsed import unparsed


class Frames:
    def __init__(self) -> None:
        self.count = 0

    def frame(self, frame: RawFrame) -> None:
        self.count += 1

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None: ...


class Nothing:
    """A listener that hears of no result, no error and no bad frame."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.mark.parametrize(
    ("exchange_id", "url", "data", "control"),
    [
        (
            "binance",
            "wss://stream.binance.com:9443/ws/0",
            {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "b": [], "a": []},
            {"result": None, "id": 1},
        ),
        (
            "kraken",
            "wss://ws.kraken.com/v2",
            {
                "channel": "book",
                "type": "snapshot",
                "data": [{"symbol": "BTC/USD", "bids": [], "asks": [], "checksum": 5}],
            },
            {"method": "pong", "req_id": 1},
        ),
        (
            "okx",
            "wss://ws.okx.com:8443/ws/v5/public",
            {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [{"instId": "BTC-USDT", "px": "x"}]},
            {"event": "subscribe", "arg": {"channel": "trades", "instId": "BTC-USDT"}},
        ),
        (
            "bybit",
            "wss://stream.bybit.com/v5/public/spot",
            {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": 1, "data": {"symbol": "BTCUSDT"}},
            {"success": True, "ret_msg": "pong", "op": "ping"},
        ),
    ],
)
async def test_data_are_noted_and_not_read(exchange_id: str, url: str, data: object, control: object) -> None:
    """No market is known, and nothing fails; acknowledgements and pongs reach ccxt, and are no data."""
    frames = Frames()
    raw = RawFrames(frames, "run", itertools.count(), only=True)
    exchange = make_exchange(exchange_id, Exchange(), {}, Nothing(), raw=raw)
    client = exchange.client(url)
    client.handle_message(WSMessage(WSMsgType.TEXT, json.dumps(control), None))
    assert client.last_data_ns == 0
    client.handle_message(WSMessage(WSMsgType.TEXT, json.dumps(data), None))
    assert client.last_data_ns > 0
    assert frames.count == 2
    await exchange.close()


@pytest.mark.parametrize("exchange_id", ["binance", "bitstamp", "coinbase", "gate", "htx", "kucoin", "mexc"])
def test_ccxts_handlers_of_data_are_known(exchange_id: str) -> None:
    """Trades and books of each are not read; what asks for a snapshot over REST is none of its business any more."""
    exchange_class = loader.load(exchange_id)
    ours = unparsed(exchange_class)
    replaced = {name for name in dir(ours) if getattr(ours, name) is not getattr(exchange_class, name, None)}
    assert any(name.startswith("handle_trade") for name in replaced)
    assert any(name.startswith("handle_order_book") for name in replaced)
    assert not {name for name in replaced if "my_" in name or "unsub" in name or "error" in name}
