"""The peer of `collector.native_vs_cryptofeed`: what a frame costs in cryptofeed's handlers, and nothing else.

    .venv-bench/bin/python benchmarks/cryptofeed_handler.py FRAMES

Runs in an environment of its own (benchmarks/requirements.txt), without Daedalus. FRAMES holds Binance's combined-stream
frames, one a line; a line without a stream is a REST snapshot. Prints microseconds of CPU per frame. Its callbacks do nothing,
where a recorder would at least copy the best levels of each book; and it is given its own kind of trade (`aggTrade`).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptofeed.defines import L2_BOOK, TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbol, Symbols
from cryptofeed.types import OrderBook
from yapic import json

PAIR, MARKET = "BTC-USDT", "BTCUSDT"


async def nothing(_: object, __: float) -> None: ...


def lay(feed: Any, snapshot: bytes) -> None:
    """What its `_snapshot` does with the answer of REST."""
    answer = json.loads(snapshot, parse_float=Decimal)
    feed.last_update_id[PAIR] = answer["lastUpdateId"]
    bids, asks = ({Decimal(price): Decimal(amount) for price, amount in answer[side]} for side in ("bids", "asks"))
    feed._l2_book[PAIR] = OrderBook(feed.id, PAIR, max_depth=0, bids=bids, asks=asks)  # as it does


async def main(path: Path) -> None:
    Symbols.set(Binance.id, {PAIR: MARKET}, {"tick_size": {}, "instrument_type": {PAIR: Symbol("BTC", "USDT").type}})
    feed = Binance(symbols=[PAIR], channels=[TRADES, L2_BOOK], callbacks={TRADES: nothing, L2_BOOK: nothing})
    snapshot, *frames = path.read_text().splitlines()
    lay(feed, snapshot.encode())
    gc.collect()
    gc.freeze()
    handle, now, began = feed.message_handler, time.time(), time.process_time_ns()
    for frame in frames:
        await handle(frame, None, now)
    spent = time.process_time_ns() - began
    assert len(feed._l2_book) == 1, "its book was given up: the frames do not follow on each other"
    print(spent / len(frames) / 1e3)


asyncio.run(main(Path(sys.argv[1])))
