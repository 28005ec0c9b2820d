"""The lean import, each time in a process of its own: what is in `sys.modules` stays there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daedalus.exchanges import EXCHANGE_IDS
from daedalus_collector import loader


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_exchange_loads() -> None:
    """All ids that the configuration accepts: a class of ccxt.pro with that id, made into an instance."""
    code = """
from daedalus.exchanges import EXCHANGE_IDS
from daedalus_collector.loader import load
for exchange_id in EXCHANGE_IDS:
    exchange = load(exchange_id)()
    assert exchange.id == exchange_id, (exchange.id, exchange_id)
    assert callable(exchange.watch_multiple) and exchange.has
print(len(EXCHANGE_IDS))
"""
    assert int(_run(code)) == len(EXCHANGE_IDS) == 76


def test_one_exchange_is_loaded_alone() -> None:
    """Kraken brings its own three modules and no other exchange; the process stays under 65 MiB."""
    code = """
import sys
from daedalus_collector.loader import load
load("kraken")()
from daedalus_collector import ccxt_feed
import psutil
exchanges = {name.rsplit(".", 1)[1] for name in sys.modules if name.startswith("ccxt.") and name.count(".") == 2}
print("ccxt.binance" in sys.modules, "ccxt.async_support.binance" in sys.modules, "kraken" in exchanges)
print(psutil.Process().memory_info().rss // 2**20)
"""
    found, megabytes = _run(code).splitlines()
    assert found == "False False True"
    assert int(megabytes) < 65


def test_what_only_trading_needs_is_not_imported() -> None:
    """Signing and ccxt's HTTP without asyncio take 13 MiB; ccxt names itself to exchanges as it does with them."""
    code = """
import sys
from daedalus_collector.loader import load
exchange = load("kraken")()
assert not {"cryptography", "requests", "urllib3"} & {name.partition(".")[0] for name in sys.modules}
import requests.utils
assert exchange.userAgent == requests.utils.default_user_agent()
"""
    _run(code)


def test_what_is_imported_later_signs() -> None:
    """The key of an exchange account: Coinbase's (ECDSA), an RSA one and an Ed25519 one; the public key agrees."""
    code = """
import base64
from daedalus_collector.loader import load
exchange = load("coinbase")()
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
def pem(key):
    private = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
key = ec.generate_private_key(ec.SECP256R1())
signed = exchange.ecdsa("text", pem(key), "p256", "sha256")
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
der = encode_dss_signature(int(signed["r"], 16), int(signed["s"], 16))
key.public_key().verify(der, b"text", ec.ECDSA(hashes.SHA256()))
key = rsa.generate_private_key(65537, 1024)
signed = base64.b64decode(exchange.rsa("text", pem(key).decode(), "sha256", "pss"))
pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
key.public_key().verify(signed, b"text", pss, hashes.SHA256())
key = ed25519.Ed25519PrivateKey.generate()
key.public_key().verify(base64.b64decode(exchange.eddsa(b"text", pem(key))), b"text")
"""
    _run(code)


def test_errors_are_the_same_classes() -> None:
    """What an exchange raises can be caught by the class from ccxt.base.errors; the version is told."""
    code = """
import daedalus_collector, ccxt, ccxt.pro, ccxt.async_support
from ccxt.base.errors import NetworkError
assert ccxt.NetworkError is ccxt.pro.NetworkError is ccxt.async_support.NetworkError is NetworkError
assert len(ccxt.pro.exchanges) == 76
print(ccxt.__version__)
"""
    assert _run(code) == "4.5.90"


def test_an_unknown_exchange_has_no_class() -> None:
    """The configuration refuses it before; the loader does too."""
    with pytest.raises(AttributeError, match="nosuchexchange"):
        loader.load("nosuchexchange")


def test_a_native_feed_never_loads_ccxt() -> None:
    """What a collector with a native feed imports does not bring ccxt in, which is half of its memory."""
    code = (
        "import sys, daedalus_collector.__main__, daedalus_collector.native as native\n"
        "assert native.FEEDS\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'ccxt'))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
