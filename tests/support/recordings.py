"""What each recording is to a collector: markets, what may be subscribed, frames with their streams, and what they say.

The markets over REST are the recorded ones where their form is still that of today, else the least that the protocol has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from simulator.recorded_exchange import Rest, Speech
from simulator.recording import Recording, rest_answers
from support.frames import FRAMES
from support.independent import binance, bitstamp, coinbase_exchange, gemini, okx
from support.independent.said import Said

REST = "REST"
LINES = 10_000
"""Of Binance's 41,249 and 93,954: the rest costs seconds and says nothing new."""
LAID_AFTER = 7
"""ccxt asks Bitstamp for a book when it has had so many changes (`snapshotDelay` of ccxt/pro/bitstamp.py is 6)."""


class Replay(NamedTuple):
    """One recording. `frames`: (stream, payload), where a REST answer has the stream 'REST' and its path for a payload, and
    what everybody gets has the stream ''.
    """

    speech: Speech
    rest: Rest
    frames: Sequence[tuple[str, bytes]]
    symbols: Sequence[str]
    said: Said
    first_books: Mapping[int, str] = {}
    """Number of a frame → symbol: its book begins with it, and the next frames wait for that. So the states can be counted:
    what comes meanwhile a client lays on the snapshot in one go.
    """
    secrets: Mapping[str, str] = {}


class Source(NamedTuple):
    read: Callable[[], Replay]
    files: Sequence[str]

    def missing(self) -> list[str]:
        """Files that are not there."""
        return [name for name in self.files if not (FRAMES / name).exists()]


def _payloads(name: str) -> list[bytes]:
    return [frame.payload for frame in Recording(FRAMES / name)]


def _binance(name: str, streams: Sequence[str], *, futures: bool) -> Replay:
    base, symbol = ("/fapi/v1", "BTC/USDT:USDT") if futures else ("/api/v3", "BTC/USDT")
    frames = [
        (frame.stream.replace("@depth@0ms", "@depth@100ms"), frame.payload)  # as it is subscribed
        for frame in islice(Recording(FRAMES / name), LINES)
        if not frame.stream or any(stream in frame.stream for stream in streams)
    ]
    said = binance.said(frames, symbol, futures=futures)
    market: dict[str, object] = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "filters": [],
    }
    if futures:
        market |= {"contractType": "PERPETUAL", "marginAsset": "USDT", "deliveryDate": 4133404800000}
    place = next(number for number, (stream, _) in enumerate(frames) if not stream)
    answers = {f"{base}/exchangeInfo": json.dumps({"symbols": [market]}).encode(), f"{base}/depth": frames[place][1]}
    frames[place] = REST, f"{base}/depth".encode()
    speech = Speech(lambda asked: asked["params"], lambda asked: [{"result": None, "id": asked["id"]}])
    return Replay(speech, lambda path, _: answers.get(path), frames, [symbol], said, {place: symbol})


def _binance_spot() -> Replay:
    """Without the trades: they are compared in test_replay.py."""
    return _binance("binance-spot-btcusdt-20240808.gz", ["@depth", "@bookTicker"], futures=False)


def _binance_futures() -> Replay:
    return _binance("binance-usdm-btcusdt-20240808.gz", ["@depth", "@bookTicker", "@trade"], futures=True)


def _coinbase_exchange() -> Replay:
    answers = rest_answers(FRAMES / "cryptofeed-COINBASE.0.gz") | {"/currencies": b"[]"}
    channels = {"match": "matches", "last_match": "matches", "ticker": "ticker"}
    channels |= dict.fromkeys(("snapshot", "l2update"), "level2")
    frames = []
    for payload in _payloads("cryptofeed-COINBASE.ws.28.0.gz"):
        frame = json.loads(payload)
        if frame["type"] in channels:
            frames.append((f"{channels[frame['type']]}:{frame['product_id']}", payload))

    def answer(asked: Any) -> list[object]:
        return [{"type": "subscriptions", "channels": [{"name": asked["channels"][0], **asked}]}]

    speech = Speech(lambda asked: [f"{asked['channels'][0]}:{product}" for product in asked["product_ids"]], answer)
    said = coinbase_exchange.said(payload for _, payload in frames)
    secrets = {"api_key": "key", "api_secret": "c2VjcmV0", "password": "phrase"}  # ccxt wants them for level2
    return Replay(speech, lambda path, _: answers.get(path), frames, list(said.orderbook), said, {}, secrets)


def _okx() -> Replay:
    symbols = {"BTC-USD-220527": "BTC/USD:BTC-220527", "UNI-USD-SWAP": "UNI/USD:UNI", "BTC-USDT": "BTC/USDT"}
    instruments = {
        "FUTURES": {"instId": "BTC-USD-220527", "uly": "BTC-USD", "settleCcy": "BTC", "expTime": "1653638400000"},
        "SWAP": {"instId": "UNI-USD-SWAP", "uly": "UNI-USD", "settleCcy": "UNI"},
        "SPOT": {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT"},
    }

    def rest(path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/api/v5/public/instruments":
            return None
        kind = query["instType"]
        data = [{"instType": kind, "state": "live", **instruments[kind]}] if kind in instruments else []
        return json.dumps({"code": "0", "msg": "", "data": data}).encode()

    def name(argument: Mapping[str, str]) -> str:
        return f"{argument['channel']}:{argument['instId']}"

    speech = Speech(
        lambda asked: [name(argument) for argument in asked["args"]],
        lambda asked: [{"event": "subscribe", "arg": argument} for argument in asked["args"]],
    )
    payloads = [payload for payload in _payloads("cryptofeed-OKX.ws.1.0.gz") if b'"data"' in payload]
    frames = [(name(json.loads(payload)["arg"]), payload) for payload in payloads]
    return Replay(speech, rest, frames, list(symbols.values()), okx.said(payloads, symbols))


def _bitstamp() -> Replay:
    """A market of which nothing was said has no book."""
    recorded = rest_answers(FRAMES / "cryptofeed-BITSTAMP.http.0.0.gz")
    snapshots = {path.rpartition("/")[2]: body for path, body in recorded.items()}
    symbols = {name: f"{name[:-3]}/{name[-3:]}".upper() for name in snapshots}
    answers = recorded | {"/api/v2/markets": json.dumps([_bitstamp_market(*one) for one in symbols.items()]).encode()}
    speech = Speech(
        lambda asked: [asked["data"]["channel"]],
        lambda asked: [{"event": "bts:subscription_succeeded", "channel": asked["data"]["channel"], "data": {}}],
    )
    payloads = [payload for payload in _payloads("cryptofeed-BITSTAMP.ws.1.0.gz") if b'"bts:' not in payload]
    frames = [(json.loads(payload)["channel"], payload) for payload in payloads]
    changes, first_books = Counter[str](), {}
    for number, (stream, _) in enumerate(frames):
        changes[stream] += 1
        if stream.startswith("diff_order_book_") and changes[stream] == LAID_AFTER:
            first_books[number] = symbols[stream.rpartition("_")[2]]
    said = bitstamp.said(payloads, snapshots, symbols, LAID_AFTER)
    return Replay(speech, lambda path, _: answers.get(path), frames, list(symbols.values()), said, first_books)


def _bitstamp_market(name: str, symbol: str) -> dict[str, object]:
    base, quote = symbol.split("/")
    return {
        "name": symbol,
        "market_symbol": name,
        "base_currency": base,
        "counter_currency": quote,
        "base_decimals": 8,
        "counter_decimals": 8,
        "minimum_order_value": "10",
        "trading": "Enabled",
        "description": f"{base} / {quote}",
        "market_type": "SPOT",
    }


def _gemini() -> Replay:
    answers = rest_answers(FRAMES / "cryptofeed-GEMINI.0.gz")
    details = [json.loads(body) for path, body in answers.items() if "/details/" in path]
    symbols = {market["symbol"]: f"{market['base_currency']}/{market['quote_currency']}" for market in details}
    speech = Speech(
        lambda asked: [market for one in asked["subscriptions"] for market in one["symbols"]],
        lambda _: [],  # the answer is the first message of each market
    )
    payloads = _payloads("cryptofeed-GEMINI.ws.1.0.gz")
    frames = [(json.loads(payload).get("symbol", ""), payload) for payload in payloads]
    said = gemini.said(payloads, symbols)
    return Replay(speech, lambda path, _: answers.get(path), frames, list(said.orderbook), said)


SOURCES: dict[str, Source] = {
    "binance": Source(_binance_spot, ["binance-spot-btcusdt-20240808.gz"]),
    "binanceusdm": Source(_binance_futures, ["binance-usdm-btcusdt-20240808.gz"]),
    "coinbaseexchange": Source(_coinbase_exchange, ["cryptofeed-COINBASE.ws.28.0.gz", "cryptofeed-COINBASE.0.gz"]),
    "okx": Source(_okx, ["cryptofeed-OKX.ws.1.0.gz"]),
    "bitstamp": Source(_bitstamp, ["cryptofeed-BITSTAMP.ws.1.0.gz", "cryptofeed-BITSTAMP.http.0.0.gz"]),
    "gemini": Source(_gemini, ["cryptofeed-GEMINI.ws.1.0.gz", "cryptofeed-GEMINI.0.gz"]),
}
"""By ccxt's id of the exchange."""
