"""Recorded frames played again."""

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from simulator import Recording, Simulator
from simulator.recording import RecordedFrame
from simulator.replay import ReplayedBook
from unit.simulator.wire import (
    BINANCE,
    BINANCE_COMBINED,
    WAIT_SECONDS,
    Socket,
    get,
    message,
    opened,
    rest,
    subscribed_binance,
)

FRAMES = Path(os.environ.get("DAEDALUS_FRAMES", Path(__file__).parents[4] / "shared" / "frames"))
NAME = "binance-spot-btcusdt-20240808.gz"
DEPTH = "api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
STREAMS = frozenset({"btcusdt@trade", "btcusdt@depth@100ms"})


def _trade(number: int) -> str:
    return f'{{"e":"trade","s":"BTCUSDT","t":{number}}}'


def _delta(first: int, last: int, price: str, amount: str) -> str:
    return f'{{"e":"depthUpdate","s":"BTCUSDT","U":{first},"u":{last},"b":[["{price}","{amount}"]],"a":[]}}'


def _enveloped(stream: str, payload: str) -> str:
    return f'{{"stream":"{stream}","data":{payload}}}'


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A recording made here: six frames over 0.5 s, a snapshot among them."""
    lines = [
        f"1000000000 {_enveloped('btcusdt@depth@100ms', _delta(1, 4, '9', '1'))}",
        f"1000000000 {_enveloped('btcusdt@trade', _trade(1))}",
        '1000000000 {"lastUpdateId":5,"bids":[["10","1"],["8","2"]],"asks":[["11","3"]]}',
        f"1000000000 {_enveloped('btcusdt@depth@100ms', _delta(5, 7, '10', '0'))}",
        f"1200000000 {_enveloped('btcusdt@bookTicker', '{}')}",
        f"1500000000 {_enveloped('btcusdt@trade', _trade(2))}",
        f"1500000000 {_enveloped('btcusdt@depth@100ms', _delta(8, 9, '7', '4'))}",
    ]
    path = tmp_path / "made.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_a_recording_yields_the_frames_without_their_envelopes(made: Path) -> None:
    """In order, with the time of receipt; a REST answer has no stream."""
    frames = list(Recording(made))
    assert [frame.stream.partition("@")[2] for frame in frames] == [
        "depth@100ms", "trade", "", "depth@100ms", "bookTicker", "trade", "depth@100ms",
    ]  # fmt: skip
    assert frames[1] == RecordedFrame(1_000_000_000, "btcusdt@trade", _trade(1).encode())


def test_cryptofeed_s_captures_are_read_too(tmp_path: Path) -> None:
    """Received frames only: not what was sent, not REST, not connects."""
    path = tmp_path / "capture"
    path.write_text(
        'wss://x <-> 1618677816.8\nwss://x <- 1618677817.02: {"a":1}\n1618677817.061845: {"type":"match"}\n'
    )
    assert list(Recording(path)) == [RecordedFrame(1_618_677_817_061_845_000, "", b'{"type":"match"}')]


def test_a_late_snapshot_holds_the_deltas_that_were_sent() -> None:
    """Levels replaced, removed and added; deltas that the snapshot holds already are passed over."""
    book = ReplayedBook(b'{"lastUpdateId":5,"bids":[["10","1"],["8","2"]],"asks":[["11","3"]]}')
    for delta in (_delta(1, 4, "9", "1"), _delta(5, 7, "10", "0"), _delta(8, 9, "7", "4")):
        book.sent(delta.encode())
    assert book.body(10) == b'{"lastUpdateId":9,"bids":[["8","2"],["7","4"]],"asks":[["11","3"]]}'
    assert book.body(1) == b'{"lastUpdateId":9,"bids":[["8","2"]],"asks":[["11","3"]]}'


async def test_a_replay_waits_for_its_streams_and_for_the_snapshot(made: Path) -> None:
    """Then the frames come unchanged; deltas that the snapshot holds are sent but are no book states."""
    async with (
        Simulator(["binance"], replay=Recording(made), speed="full", start_when=STREAMS) as simulator,
        opened(simulator, BINANCE) as socket,
    ):
        await subscribed_binance(socket, "btcusdt@trade")
        assert not await rest(socket)
        await subscribed_binance(socket, "btcusdt@depth@100ms")
        assert not await rest(socket)
        assert (await get(simulator, DEPTH))["lastUpdateId"] == 5
        served_at = asyncio.get_running_loop().time()
        frames = [await message(socket)]
        assert asyncio.get_running_loop().time() - served_at > 0.2, "a client needs a moment to parse the snapshot"
        frames += [await message(socket) for _ in range(4)]
        await asyncio.wait_for(simulator.replay_done.wait(), 2)
        assert not await rest(socket)
    assert [frame.get("t", frame.get("u")) for frame in frames] == [4, 1, 7, 2, 9]
    trades, book = (simulator.count("binance", channel, "BTC/USDT") for channel in ("trade", "orderbook"))
    assert (trades.frames, trades.records) == (2, 2)
    assert (book.frames, book.records) == (3, 3)


async def test_a_replay_at_recorded_speed_keeps_the_recorded_distances(made: Path) -> None:
    """Half a second between the trades, more while paused; the combined envelope is put back on."""
    loop = asyncio.get_running_loop()
    async with (
        Simulator(["binance"], replay=Recording(made)) as simulator,
        opened(simulator, BINANCE_COMBINED) as socket,
    ):
        await subscribed_binance(socket, "btcusdt@trade")
        first, first_at = await message(socket), loop.time()
        await simulator.pause()
        await asyncio.sleep(0.3)
        simulator.resume()
        second, second_at = await message(socket), loop.time()
    assert second_at - first_at > 0.7
    assert (first["stream"], first["data"]["t"], second["data"]["t"]) == ("btcusdt@trade", 1, 2)


def test_a_recording_without_a_simulated_product_is_refused(made: Path) -> None:
    """Rather than a replay that never begins."""
    with pytest.raises(ValueError, match="found none"):
        Simulator(["binance"], symbols={"binance": ["ETH/USDT"]}, replay=Recording(made))
    with pytest.raises(ValueError, match="not among the exchanges"):
        Simulator(["coinbase"], replay=Recording(made))


@pytest.mark.skipif(not (FRAMES / NAME).exists(), reason=f"{NAME} is not in {FRAMES}: set DAEDALUS_FRAMES")
async def test_a_recorded_file_is_delivered_whole_at_full_speed() -> None:
    """All 9,757 trades and 3,451 deltas, in order, their payloads as recorded."""
    recording = Recording(FRAMES / NAME)
    expected: dict[str, list[bytes]] = {"trade": [], "depth@100ms": []}
    for frame in recording:
        expected.get(frame.stream.partition("@")[2], []).append(frame.payload)
    received: dict[str, list[bytes]] = {"trade": [], "depth@100ms": []}
    async with Simulator(["binance"], replay=recording, speed="full", start_when=STREAMS) as simulator:
        async with opened(simulator, BINANCE) as trades, opened(simulator, BINANCE) as depth:

            async def read(socket: Socket, name: str) -> None:
                while len(received[name]) < len(expected[name]):
                    received[name].append((await socket.receive_str(timeout=WAIT_SECONDS)).encode())

            await subscribed_binance(trades, "btcusdt@trade")
            await subscribed_binance(depth, "btcusdt@depth@100ms")
            snapshot = await get(simulator, DEPTH)
            await asyncio.gather(read(trades, "trade"), read(depth, "depth@100ms"))
            await asyncio.wait_for(simulator.replay_done.wait(), 2)
            assert not await rest(trades)
            assert not await rest(depth)
        assert received == expected
        assert (len(expected["trade"]), len(expected["depth@100ms"])) == (9_757, 3_451)
        assert len(snapshot["bids"]) == len(snapshot["asks"])
        assert simulator.count("binance", "trade", "BTC/USDT").records == 9_757
        # Two deltas of the file are older than its snapshot.
        assert simulator.count("binance", "orderbook", "BTC/USDT").records == 1 + 3_451 - 2
