"""JetStream's answer to a published message. Pure."""

from __future__ import annotations

import msgspec


class Refusal(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Acknowledgement(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


_decoder = msgspec.json.Decoder(Acknowledgement)


def read(answer: bytes) -> Acknowledgement:
    """What cannot be read is a refusal."""
    if not answer:  # no responders: there is no such stream, or JetStream is not ready
        return Acknowledgement(error=Refusal(503, 0, "no stream takes this subject"))
    try:
        return _decoder.decode(answer)
    except msgspec.DecodeError as error:
        return Acknowledgement(error=Refusal(0, 0, f"unreadable answer: {error}"))
