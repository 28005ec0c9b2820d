"""The control API and the command line."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from simulator import Rates, Simulator
from unit.simulator.wire import COINBASE, WAIT_SECONDS, get, messages, opened, post, rest, subscribed_coinbase

TESTS = Path(__file__).parents[2]
STILL = Rates(0, 0, 0)


async def test_counts_say_what_was_sent_and_who_is_there() -> None:
    """Exchange, channel, symbol; connections; subscriptions."""
    async with Simulator(["coinbase", "kraken"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "ticker", "BTC-USD", "ETH-USD")
        report = await get(simulator, "sim/counts")
        assert await get(simulator, "sim/healthz") == {"status": "ok"}
    one = {"frames": 1, "records": 1, "repeats": 0, "dropped_frames": 0, "dropped_records": 0}
    assert report == {
        "counts": {"coinbase": {"ticker": {"BTC/USD": one, "ETH/USD": one}}, "kraken": {}},
        "connections": {
            "coinbase": {"open": 1, "accepted": 1, "refused": 0},
            "kraken": {"open": 0, "accepted": 0, "refused": 0},
        },
        "subscriptions": {"coinbase": {"ticker": ["BTC/USD", "ETH/USD"]}, "kraken": {}},
        "paused": False,
        "replay_done": False,
    }


async def test_pause_stops_the_market_and_resume_goes_on_without_catching_up() -> None:
    """The counts that pause returns are final until resume."""
    async with Simulator(["coinbase"], rates=Rates(tickers=100)) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "ticker", "BTC-USD")
        await messages(socket, 5)
        _, report = await post(simulator, "sim/pause")
        assert report["paused"] is True
        first = report["counts"]["coinbase"]["ticker"]["BTC/USD"]["frames"]
        assert 1 + 5 + len(await rest(socket)) == first
        await asyncio.sleep(0.7)
        assert (await get(simulator, "sim/counts"))["counts"] == report["counts"]
        await post(simulator, "sim/resume")
        await asyncio.sleep(0.1)
        _, after = await post(simulator, "sim/pause")
        assert 2 < after["counts"]["coinbase"]["ticker"]["BTC/USD"]["frames"] - first < 60


async def test_a_burst_may_be_asked_for_over_http() -> None:
    """Exactly so many frames; the answer has the counts."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "level2", "BTC-USD")
        status, report = await post(
            simulator, "sim/burst", {"exchange": "coinbase", "channel": "orderbook", "frames": 70}
        )
        assert status == 200
        assert len(await messages(socket, 70)) == 70
    assert report["counts"]["coinbase"]["orderbook"]["BTC/USD"]["frames"] == 71


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sim/fault", {"exchange": "coinbase", "fault": "earthquake"}),
        ("sim/fault", {"exchange": "nowhere", "fault": "close"}),
        ("sim/fault", {"exchange": "coinbase", "fault": "close", "second": 1}),
        ("sim/burst", {"exchange": "coinbase", "channel": "trade", "frames": 1}),
        ("sim/burst", {"exchange": "nowhere", "channel": "trade", "frames": 1}),
    ],
)
async def test_a_mistake_is_answered_with_400_and_its_reason(path: str, body: dict[str, object]) -> None:
    """Nothing happens."""
    async with Simulator(["coinbase"]) as simulator:
        status, answer = await post(simulator, path, body)
    assert status == 400
    assert answer["error"]


async def test_faults_may_be_asked_for_over_http() -> None:
    """The answer says how many connections were struck."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        status, answer = await post(simulator, "sim/fault", {"exchange": "coinbase", "fault": "close"})
        assert (status, answer) == (200, {"connections": 1})
        assert (await socket.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE


async def test_an_unknown_host_or_path_is_404() -> None:
    """With a reason, so that a missing route is easy to find."""
    async with Simulator(["coinbase"]) as simulator:
        for path in ("www.example.com/x", "api.coinbase.com/no/such", "api.binance.com/api/v3/ping"):
            assert "is not simulated" in (await get(simulator, path))["error"]


def test_wrong_arguments_are_refused() -> None:
    """With what was expected and what was found."""
    with pytest.raises(ValueError, match=r"exchanges.*'mtgox'"):
        Simulator(["mtgox"])
    with pytest.raises(ValueError, match=r"symbols.*'kraken'"):
        Simulator(["coinbase"], symbols={"kraken": ["BTC/USD"]})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_prints_one_line_when_ready_and_ends_on_a_signal(number: signal.Signals) -> None:
    """With status 0, though a client is connected."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "--port", "0", "--exchange", "coinbase", "--symbol", "coinbase:XRP/USD",
        env={**os.environ, "PYTHONPATH": str(TESTS)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), WAIT_SECONDS)).decode()
    assert line.startswith("simulator ready on http://127.0.0.1:")
    url = line.split()[-1]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/{COINBASE}") as socket:
        await subscribed_coinbase(socket, "ticker", "XRP-USD")
        process.send_signal(number)
        while (await socket.receive(timeout=WAIT_SECONDS)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1001
    assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
    assert await process.stdout.read() == b""
