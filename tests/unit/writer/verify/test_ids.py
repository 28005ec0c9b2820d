"""Ids of trades, once each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daedalus_writer.verify import ids as module
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.ids import Ids


@given(st.lists(st.one_of(st.none(), st.integers(0, 60).map(str)), max_size=24), st.sampled_from([1, 4, 1 << 20]))
def test_repeated_id_is_found(values: list[str | None], at_once: int) -> None:
    """An id that comes twice is found, however many are looked at together; None is no id."""
    known = [value for value in values if value is not None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        ids = Ids()
        ids.add(values)
        if len(known) == len(set(known)):
            ids.check(lambda: values)
        else:
            with pytest.raises(Defect, match="each id once") as caught:
                ids.check(lambda: values)
            assert caught.value.kind == "doubled"


def test_equal_hashes_are_no_equal_ids() -> None:
    """Where two hashes agree the ids decide."""
    ids = Ids()
    ids.add(["a", "a"])  # as if b had the hash of a
    ids.check(lambda: ["a", "b"])
