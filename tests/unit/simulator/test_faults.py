"""Each fault does on the wire what it says."""

import asyncio
import itertools
import time

import aiohttp
import msgspec
import pytest

from simulator import Fault, Rates, Simulator
from simulator import coinbase as coinbase_module
from simulator import connection as connection_module
from unit.simulator.wire import (
    BINANCE,
    BYBIT,
    COINBASE,
    KRAKEN,
    OKX,
    WAIT_SECONDS,
    get,
    message,
    messages,
    opened,
    rest,
    subscribed_binance,
    subscribed_coinbase,
)

STILL = Rates(0, 0, 0)
HANDSHAKE = (
    f"GET /{COINBASE} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


async def test_close_sends_a_close_frame_1001_to_every_connection_of_that_exchange() -> None:
    """Other exchanges stay connected."""
    async with Simulator(rates=STILL) as simulator:
        async with (
            opened(simulator, COINBASE) as first,
            opened(simulator, COINBASE) as second,
            opened(simulator, BINANCE) as other,
        ):
            assert simulator.fault(Fault("coinbase", "close")) == 2
            for socket in (first, second):
                frame = await socket.receive(timeout=2)
                assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1001)
            assert await subscribed_binance(other, "btcusdt@trade")
        assert simulator.counts().connections["coinbase"].accepted == 2


async def test_reset_is_a_tcp_reset_without_a_close_frame() -> None:
    """A raw socket sees ECONNRESET."""
    async with Simulator(["coinbase"], rates=STILL) as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        writer.write(HANDSHAKE)
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        while not simulator.fault(Fault("coinbase", "reset")):
            await asyncio.sleep(0.01)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        async with asyncio.timeout(2):
            while simulator.counts().connections["coinbase"].open:
                await asyncio.sleep(0.01)


async def test_freeze_answers_pings_only_and_what_was_missed_shows_in_the_sequence() -> None:
    """The missed frames count as dropped, not as sent; a new connection is served at once."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "level2", "BTC-USD")
        simulator.fault(Fault("coinbase", "freeze", seconds=0.6))
        await simulator.burst("coinbase", "orderbook", 5)
        await socket.ping()
        assert not await rest(socket)
        async with opened(simulator, COINBASE) as other:
            assert await subscribed_coinbase(other, "level2", "BTC-USD")
        await asyncio.sleep(0.5)
        await simulator.burst("coinbase", "orderbook", 1)
        assert (await message(socket))["sequence_num"] == 7
        count = simulator.count("coinbase", "orderbook", "BTC/USD")
        assert (count.frames, count.records, count.dropped_frames, count.dropped_records) == (3, 3, 5, 5)


async def test_freeze_stops_coinbase_s_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pongs are no sign of life of the data."""
    monkeypatch.setattr(coinbase_module, "HEARTBEAT_NS", 100_000_000)
    async with (
        Simulator(["coinbase"]) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/{COINBASE}", autoping=False) as socket,
    ):
        await subscribed_coinbase(socket, "heartbeats")
        simulator.fault(Fault("coinbase", "freeze"))
        await socket.ping(b"?")
        assert (await socket.receive(timeout=2)).type is aiohttp.WSMsgType.PONG
        with pytest.raises(asyncio.TimeoutError):
            await socket.receive(timeout=0.7)


async def test_garbage_is_one_frame_that_no_parser_takes() -> None:
    """The data before and after it is whole, and the sequence numbers have no gap."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "ticker", "BTC-USD")
        simulator.fault(Fault("coinbase", "garbage"))
        await simulator.burst("coinbase", "ticker", 1)
        with pytest.raises(msgspec.DecodeError):
            await message(socket)
        assert (await message(socket))["sequence_num"] == 2


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        ("coinbase", COINBASE, {"type": "error"}),
        ("binance", BINANCE, {"id": None}),
        ("kraken", KRAKEN, {"success": False}),
        ("okx", OKX, {"event": "error"}),
        ("bybit", BYBIT, {"success": False}),
    ],
)
async def test_error_is_an_error_frame_of_the_protocol(name: str, address: str, expected: dict[str, object]) -> None:
    """The connection stays open."""
    async with Simulator([name], rates=STILL) as simulator, opened(simulator, address) as socket:
        simulator.fault(Fault(name, "error"))
        frames = await rest(socket)
        assert expected.items() <= frames[-1].items()
        assert not socket.closed


async def test_a_sequence_gap_withholds_one_frame_at_coinbase() -> None:
    """sequence_num jumps by two, once; the frame counts as dropped."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "level2", "BTC-USD")
        simulator.fault(Fault("coinbase", "sequence_gap"))
        await simulator.burst("coinbase", "orderbook", 4)
        assert [entry["sequence_num"] for entry in await messages(socket, 3)] == [3, 4, 5]
        count = simulator.count("coinbase", "orderbook", "BTC/USD")
        assert (count.records, count.dropped_records) == (4, 1)


async def test_a_sequence_gap_withholds_one_delta_at_binance() -> None:
    """U no longer follows u, and a gap of another channel strikes that channel only."""
    async with Simulator(["binance"], rates=STILL) as simulator, opened(simulator, BINANCE) as socket:
        await subscribed_binance(socket, "btcusdt@depth", "btcusdt@trade")
        snapshot = await get(simulator, "api.binance.com/api/v3/depth?symbol=BTCUSDT")
        simulator.fault(Fault("binance", "sequence_gap"))
        await simulator.burst("binance", "trade", 2)
        await simulator.burst("binance", "orderbook", 3)
        simulator.fault(Fault("binance", "sequence_gap", channel="trade"))
        await simulator.burst("binance", "trade", 2)
        frames = await messages(socket, 5)
    updates = [frame for frame in frames if frame["e"] == "depthUpdate"]
    assert updates[0]["U"] > snapshot["lastUpdateId"] + 1
    assert updates[1]["U"] == updates[0]["u"] + 1
    ids = [frame["t"] for frame in frames if frame["e"] == "trade"]
    assert [after - before for before, after in itertools.pairwise(ids)] == [1, 2]


async def test_slow_delays_every_frame_until_it_is_ended() -> None:
    """Seconds before each frame; 0 ends it."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "ticker", "BTC-USD")
        simulator.fault(Fault("coinbase", "slow", seconds=0.1))
        began = time.monotonic()
        await simulator.burst("coinbase", "ticker", 4)
        assert time.monotonic() - began > 0.35
        simulator.fault(Fault("coinbase", "slow", seconds=0))
        began = time.monotonic()
        await simulator.burst("coinbase", "ticker", 4)
        assert time.monotonic() - began < 0.3
        assert len(await messages(socket, 8)) == 8


@pytest.mark.parametrize(("retry_after", "status"), [(None, 503), (3, 429)])
async def test_refuse_turns_new_clients_away(retry_after: int | None, status: int) -> None:
    """With 503 or 429 and Retry-After, for so long; connections that exist stay."""
    async with Simulator(["coinbase", "binance"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        assert simulator.fault(Fault("coinbase", "refuse", seconds=0.3, retry_after=retry_after)) == 1
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            async with opened(simulator, COINBASE):
                pass
        assert error.value.status == status
        assert error.value.headers is not None
        assert error.value.headers.get("Retry-After") == (str(retry_after) if retry_after else None)
        assert simulator.counts().connections["coinbase"].refused == 1
        async with opened(simulator, BINANCE):
            assert await subscribed_coinbase(socket, "ticker", "BTC-USD")
        await asyncio.sleep(0.3)
        async with opened(simulator, COINBASE):
            pass


@pytest.mark.parametrize(
    ("name", "address", "subscribe", "expected"),
    [
        ("binance", BINANCE, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7}, {"id": 7}),
        ("bybit", BYBIT, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"], "req_id": "7"}, {"success": False}),
        ("coinbase", COINBASE, {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]}, {"type": "error"}),
        ("kraken", KRAKEN, {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}, "req_id": 7},
         {"success": False, "req_id": 7}),
        ("okx", OKX, {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]}, {"event": "error"}),
    ],
)  # fmt: skip
async def test_a_refused_subscribe_is_answered_with_an_error_until_it_ends(
    name: str, address: str, subscribe: dict[str, object], expected: dict[str, object]
) -> None:
    """The connection stays open, and the same request is taken afterwards."""
    async with Simulator([name], rates=STILL) as simulator, opened(simulator, address) as socket:
        simulator.fault(Fault(name, "refuse_subscribe"))
        await socket.send_json(subscribe)
        (answer,) = [frame for frame in await rest(socket) if frame.get("channel") != "status"]
        assert expected.items() <= answer.items()
        assert simulator.counts().subscriptions[name] == {}
        simulator.fault(Fault(name, "refuse_subscribe", seconds=0))
        await socket.send_json(subscribe)
        await rest(socket)
        assert simulator.counts().subscriptions[name]


async def test_accept_then_close_opens_the_door_and_shuts_it_at_once() -> None:
    """Who is in stays; REST goes on; afterwards a new connection lives."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as before:
        simulator.fault(Fault("coinbase", "accept_then_close"))
        async with opened(simulator, COINBASE) as socket:
            frame = await socket.receive(timeout=2)
            assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        assert "products" in await get(simulator, "api.coinbase.com/api/v3/brokerage/market/products")
        simulator.fault(Fault("coinbase", "accept_then_close", seconds=0))
        async with opened(simulator, COINBASE) as after:
            for socket in (before, after):
                assert await subscribed_coinbase(socket, "ticker", "BTC-USD")
        assert simulator.counts().connections["coinbase"].accepted == 3


async def test_a_client_that_does_not_read_is_not_counted_for_what_it_never_got() -> None:
    """What is still queued when it goes away was not sent."""
    async with Simulator(["coinbase"], rates=STILL) as simulator:
        async with opened(simulator, COINBASE) as socket:
            await subscribed_coinbase(socket, "ticker", "BTC-USD")
            simulator.fault(Fault("coinbase", "slow", seconds=0.05))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(simulator.burst("coinbase", "ticker", 1_000), 0.5)
        async with asyncio.timeout(2):
            while simulator.counts().connections["coinbase"].open:
                await asyncio.sleep(0.01)
        await simulator.flush()
        assert 1 <= simulator.count("coinbase", "ticker", "BTC/USD").frames < 30


async def test_a_slow_consumer_is_disconnected_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not read is cut off when its outbox is full, though it takes no part in a close handshake."""
    monkeypatch.setattr(connection_module, "OUTBOX_BYTES", 1_000_000)
    monkeypatch.setattr(connection_module, "COMFORTABLE_BYTES", 2_000_000)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.2)
    async with Simulator(["coinbase"], rates=STILL, levels=5_000) as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port, limit=1_000)
        writer.write(HANDSHAKE)
        subscribe = b'{"type":"subscribe","channel":"level2","product_ids":["BTC-USD"]}'
        mask = bytes(4)
        for _ in range(30):
            writer.write(bytes([0x81, 0x80 | len(subscribe)]) + mask + subscribe)
        async with asyncio.timeout(WAIT_SECONDS):
            while not simulator.counts().connections["coinbase"].accepted:
                await asyncio.sleep(0.01)
            while simulator.counts().connections["coinbase"].open:
                await asyncio.sleep(0.01)
        assert simulator.count("coinbase", "orderbook", "BTC/USD").frames < 30
        writer.close()
        del reader
