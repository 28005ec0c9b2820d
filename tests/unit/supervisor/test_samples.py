"""Metrics by their Prometheus names."""

from __future__ import annotations

from daedalus_supervisor.samples import Samples

SAMPLES = Samples(
    {
        'daedalus_collector_gaps_total{exchange="kraken",cause="silent"}': 2.0,
        'daedalus_collector_gaps_total{exchange="kraken",cause="lost"}': 3.0,
        "daedalus_memory_bytes": 7.0,
        "daedalus_ratio": float("nan"),
        "not a metric": 1.0,
    }
)


def test_total_adds_up_over_labels() -> None:
    """A family's total is the sum over all its labels."""
    assert SAMPLES.total("daedalus_collector_gaps_total") == 5


def test_total_of_some_labels() -> None:
    """Labels that are asked for choose the samples."""
    assert SAMPLES.total("daedalus_collector_gaps_total", cause="lost") == 3


def test_absent_family_is_none() -> None:
    """A metric that a process does not have is no error, and not 0."""
    assert SAMPLES.total("daedalus_collector_outbox_records") is None


def test_not_a_number_is_left_out() -> None:
    """A NaN does not reach the report."""
    assert SAMPLES.total("daedalus_ratio") is None


def test_label_values_over_families() -> None:
    """The values of a label are found in every family that begins so."""
    assert SAMPLES.label_values("daedalus_collector_", "cause") == ("lost", "silent")
