"""The tokens that prove a Coinbase account, checked with the public half of their key."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64decode
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry

from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.errors import ConfigError
from daedalus_collector.feed import Pair
from daedalus_collector.feeds import make
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.coinbase_jwt import Signer
from daedalus_collector.native.coinbase_session import CoinbaseSession
from support.handlers import Kept, _Link

NAME = "organizations/o/apiKeys/k"


def parts(token: str) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes]:
    """What was signed, the head, the claims, the signature."""
    signed, _, signature = token.rpartition(".")
    head, claims, sign = (urlsafe_b64decode(f"{text}==") for text in (*signed.split("."), signature))
    return signed.encode(), msgspec.json.decode(head), msgspec.json.decode(claims), sign


def pem(curve: Any) -> tuple[Any, str]:
    key = generate_private_key(curve)
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@pytest.mark.parametrize("newline", ["\n", "\\n"])
def test_an_ec_key_signs_with_es256(newline: str) -> None:
    """Also when the environment has the key's lines joined by a written \\n, as Coinbase's file has them."""
    key, text = pem(SECP256R1())
    signed, head, claims, signature = parts(Signer(NAME, text.replace("\n", newline)).token(1_000))
    assert (head["alg"], head["kid"], len(head["nonce"])) == ("ES256", NAME, 32)
    assert claims == {"iss": "cdp", "sub": NAME, "nbf": 1_000, "exp": 1_120}
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.public_key().verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(encode_dss_signature(r, s), signed + b"x", ECDSA(SHA256()))


def test_an_ed25519_key_signs_with_eddsa() -> None:
    """Private and public half together in base64, as Coinbase shows it."""
    key = Ed25519PrivateKey.generate()
    secret = b64encode(key.private_bytes_raw() + key.public_key().public_bytes_raw()).decode()
    signed, head, _, signature = parts(Signer(NAME, secret).token(1_000))
    assert head["alg"] == "EdDSA"
    key.public_key().verify(signature, signed)


@pytest.mark.parametrize("secret", ["s3cr3t", "BEGIN s3cr3t", pem(SECP384R1())[1], "c2hvcnQ="])
def test_another_secret_is_one_clear_error(secret: str) -> None:
    """At the start, with the name of the variable, and without the secret."""
    settings = Exchange(channels=Channels(trade=["BTC/USD"]))
    metrics = Metrics(CollectorRegistry(), "coinbase")
    with pytest.raises(ConfigError) as told:
        make("coinbase", settings, Ingestion(), {"api_key": NAME, "api_secret": secret}, Kept(), metrics, None)
    assert "DAEDALUS_COINBASE_API_SECRET: expected an EC private key in PEM" in str(told.value)
    assert secret not in str(told.value)
    assert told.value.__suppress_context__


def test_every_message_has_a_token_of_its_own() -> None:
    """It holds for two minutes only, so a message that is sent again later gets a new one."""
    tokens = iter(("one", "two", "three"))
    pairs = [Pair("trade", "BTC/USD")]
    session = CoinbaseSession(_Link(Kept()), pairs, {"BTC/USD": "BTC-USD"}, 10, ExchangeOptions(), lambda: next(tokens))
    heartbeats, trades = session.requests
    sent = [msgspec.json.decode(session.sent(request)) for request in (heartbeats, trades, trades)]
    assert [message.pop("jwt") for message in sent] == ["one", "two", "three"]
    assert sent[0] == {"type": "subscribe", "channel": "heartbeats"}
    assert sent[1] == sent[2] == {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD"]}
