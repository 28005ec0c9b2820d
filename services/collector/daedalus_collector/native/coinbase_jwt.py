"""Coinbase's proof of identity, a token for each message: ES256 with an EC key in PEM, EdDSA with an Ed25519 key in base64.

Market data need none; with one, the limits of an account count in place of those of an address
(docs.cdp.coinbase.com, "Advanced Trade WebSocket authentication" and "CDP API key authentication", read 2026-11-23). A token
holds for two minutes.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TOKEN_SECONDS = 120


class Signer:
    """`key_name` is `organizations/…/apiKeys/…`. Raises ValueError, which tells nothing of the secret."""

    def __init__(self, key_name: str, secret: str) -> None:
        self._name = key_name
        self._algorithm, self._sign = _key(secret)

    def token(self, now_s: int) -> str:
        """A token that holds from now on, in seconds since 1970."""
        head = {"alg": self._algorithm, "typ": "JWT", "kid": self._name, "nonce": secrets.token_hex(16)}
        claims = {"iss": "cdp", "sub": self._name, "nbf": now_s, "exp": now_s + TOKEN_SECONDS}
        signed = b".".join(_text(msgspec.json.encode(part)) for part in (head, claims))
        return (signed + b"." + _text(self._sign(signed))).decode()


def _key(secret: str) -> tuple[str, Callable[[bytes], bytes]]:
    """The algorithm of a private key, and what signs with it."""
    expected = "expected an EC private key in PEM, or an Ed25519 private key in base64"
    try:
        if "BEGIN" not in secret:
            return "EdDSA", Ed25519PrivateKey.from_private_bytes(b64decode(secret, validate=True)[:32]).sign
        key: Any = load_pem_private_key(secret.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(expected) from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError(f"{expected}, of the curve P-256")

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return "ES256", sign


def _text(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
