"""The columns are float64. Does that keep prices and amounts as exchanges print them? Asked of every recorded frame."""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

FRAMES = Path(os.environ.get("DAEDALUS_FRAMES", Path(__file__).parents[3] / "shared" / "frames"))
FILES = sorted(FRAMES.glob("*.gz"))

# A decimal number in JSON, in quotes or not, with the key it stands under, if any. Whole numbers are left out: as
# prices they have a few digits and are exact, and the long ones are ids and times.
NUMBER = re.compile(rb'(?:"(\w+)":\s*|(?<=[\[,"\s]))"?(-?\d+\.\d+(?:[eE][+-]?\d+)?)(?="?\s*[,\]}])')

VOLUMES = {"vol24h", "volCcy24h", "volume_24h", "volume_30d", "volume"}
"""Sums over a day or a month: no price, no amount of a trade or a level."""


def numbers(path: Path) -> Iterator[Counter[tuple[str, str]]]:
    """How often each (key, number) is in the next megabyte of a recording."""
    with gzip.open(path) as file:
        while lines := file.readlines(1 << 20):
            found: Counter[tuple[str, str]] = Counter()
            for (key, number), count in Counter(NUMBER.findall(b"".join(lines))).items():
                found[key.decode(), number.decode()] += count
            yield found


def comes_back(text: str) -> bool:
    """Whether float64, printed as short as it can be, is the same number."""
    return Decimal(repr(float(text))) == Decimal(text)


@pytest.mark.skipif(not FILES, reason=f"no recorded frames in {FRAMES}: set DAEDALUS_FRAMES")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".gz"))
def test_prices_and_amounts_come_back_as_printed(path: Path) -> None:
    """Every price and every amount is the same number after float64; a volume of 17 digits is the nearest float64."""
    seen, exceptions, volumes = 0, Counter[str](), Counter[str]()
    for found in numbers(path):
        for (key, number), count in found.items():
            seen += count
            if not comes_back(number):
                (volumes if key in VOLUMES else exceptions)[f"{key} {number}"] += count
                assert abs(Decimal(float(number)) / Decimal(number) - 1) <= Decimal(2) ** -53
    if not seen:
        pytest.skip("a recording without prices")
    print(f"{path.name}: {seen:,} numbers, {volumes.total():,} volumes rounded")  # `pytest -rP` shows it
    assert not exceptions, f"{exceptions.total():,} of {seen:,} numbers: {exceptions.most_common(5)}"


def test_what_would_be_an_exception() -> None:
    """Up to 15 digits always come back, 17 often do not: the check can fail."""
    assert all(map(comes_back, ["0.1", "61737.63000000", "1E-8", "123456789.012345", "0.00000000000001"]))
    assert not any(map(comes_back, ["525802970.81244424", "9007199254740993.5"]))
    line = b'1.5: {"px":"1.50","sz":"2","a":[["3.25","4.0",5.125]],"t":17.5,"volCcy24h": "6.5"}\n'
    found = [(key.decode(), number.decode()) for key, number in NUMBER.findall(line)]
    assert found == [("px", "1.50"), ("", "3.25"), ("", "4.0"), ("", "5.125"), ("t", "17.5"), ("volCcy24h", "6.5")]
