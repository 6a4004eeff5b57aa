"""Records as bytes."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion._index import Batch
from fusion.errors import DamagedRecord
from fusion.records import (
    Anomaly,
    EndSession,
    ExpireSession,
    OpenSession,
    Push,
    Record,
    Reset,
    decode,
    encode,
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.floats(0, 1e11)
RECORDS = st.one_of(
    st.builds(OpenSession, texts, texts, texts, st.integers(1, 10**9), times),
    st.builds(EndSession, texts, times),
    st.builds(ExpireSession, texts, times),
    st.builds(Anomaly, texts, st.none() | texts, times),
    st.builds(Reset, times),
)


@given(record=RECORDS)
def test_a_record_is_read_back(record: Record) -> None:
    assert decode(encode(record)) == record


def test_a_push_is_read_back() -> None:
    row = {"path": "/a/b", "size": 3, "modified_time": 1.5, "created_time": -0.0, "is_dir": False}
    body = {
        "session_id": "one",
        "source_type": "snapshot",
        "is_snapshot_end": True,
        "events": [{"event_type": "update", "index": 7, "rows": [row]}],
    }
    batch = Batch.decode(json.dumps(body).encode())
    found = decode(encode(Push(batch, 12.5)))
    assert isinstance(found, Push)
    assert found.at == 12.5
    assert found.batch.to_list() == batch.to_list()
    assert (found.batch.session_id, found.batch.is_snapshot_end) == ("one", True)


@given(record=RECORDS, data=st.data())
def test_a_record_cut_short_is_told(record: Record, data: st.DataObject) -> None:
    encoded = encode(record)
    with pytest.raises(DamagedRecord):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize("rest", [b"", b"{", b"[]", b'{"session_id":"a"}', b'{"at":1}', b'{"more":1}'])
def test_other_fields_than_a_records_are_told(rest: bytes) -> None:
    with pytest.raises(DamagedRecord):
        decode(encode(OpenSession("a", "b", "c", 1, 2.0))[:9] + rest)


@given(data=st.binary(max_size=60))
def test_anything_else_is_a_record_or_told(data: bytes) -> None:
    with contextlib.suppress(DamagedRecord):
        decode(data)
