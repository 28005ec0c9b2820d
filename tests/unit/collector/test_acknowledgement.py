from __future__ import annotations

from daedalus_collector import acknowledgement


def test_what_jetstream_answers() -> None:
    """Stored, stored before, and refused with the reason."""
    assert acknowledgement.read(b'{"stream": "MD-0", "seq": 7}').error is None
    assert acknowledgement.read(b'{"stream": "MD-0", "seq": 7, "duplicate": true}').duplicate
    refused = acknowledgement.read(
        b'{"error": {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}}'
    )
    assert refused.error is not None
    assert (refused.error.err_code, refused.error.description) == (10077, "maximum bytes exceeded")


def test_what_is_no_answer_is_a_refusal() -> None:
    """Nobody listens, or something else does: the batch is sent again."""
    for answer in (b"", b"+OK", b"[]"):
        assert acknowledgement.read(answer).error is not None
