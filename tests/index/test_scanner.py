"""The scanner against the complete decoder: it takes the usual shapes and reads nothing differently."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion._index import Batch
from fusion.errors import FusionError

pytestmark = pytest.mark.usefixtures("simd_level")

USUAL_KEYS = ["file_path", "size", "modified_time", "created_time", "is_dir"]
USUAL_FIELDS = b'"fields":["file_path","size","modified_time","created_time","is_dir"]'

Decoded = tuple[Any, ...]


def double_bits(value: float) -> bytes:
    return struct.pack("<d", value)


def rows_of(batch: Batch) -> list[tuple[Any, ...]]:
    """The rows, with times as bits: 0.0 and -0.0 differ."""
    return [
        (is_delete, index, path, size, double_bits(mtime), double_bits(ctime), is_dir)
        for is_delete, index, path, size, mtime, ctime, is_dir in batch.to_list()
    ]


def decoded(batch: Batch) -> Decoded:
    return (
        batch.session_id,
        batch.source_type,
        batch.is_snapshot_end,
        batch.max_index,
        batch.last_index,
        rows_of(batch),
    )


def scan_agreeing(body: bytes) -> Batch | None:
    """What the scanner makes of a body, after holding it against the complete decoder."""
    batch = Batch.scan(body)
    if batch is not None:
        assert decoded(batch) == decoded(Batch.parse(body)), body
    return batch


def accepted(body: bytes) -> list[tuple[Any, ...]]:
    batch = scan_agreeing(body)
    assert batch is not None, f"declined: {body!r}"
    return rows_of(batch)


def with_row(row: bytes, event: bytes = b'"event_type":"update"') -> bytes:
    return b'{"session_id":"s","source_type":"message","events":[{%s,"rows":[%s]}]}' % (event, row)


def with_path(text: bytes) -> bytes:
    return with_row(b'{"path":"%s","is_dir":true}' % text)


# Usual bodies


names = st.text(
    alphabet=st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=40
)
# Any bytes at all, as the surrogate escapes that stand for those that are no UTF-8.
raw_names = st.binary(min_size=1, max_size=40).map(
    lambda raw: raw.translate(None, b"\0/").decode("utf-8", "surrogateescape") or "x"
)
paths = st.lists(names | raw_names, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
times = (
    st.floats(min_value=0, max_value=2**33)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(min_value=-(2**63), max_value=2**64)
)
usual_rows = st.fixed_dictionaries(
    {
        "file_path": paths,
        "size": st.integers(min_value=0, max_value=2**63 - 1),
        "modified_time": times,
        "created_time": times,
        "is_dir": st.just(True) | st.booleans(),
    }
).filter(
    lambda row: row["is_dir"] or any(part not in (".", "..") for part in row["file_path"].split("/")[1:])
)


@st.composite
def usual_bodies(draw: st.DrawFn) -> bytes:
    """Pushes as clients write them, in any order of keys and any layout that json.dumps makes."""
    pushed = []
    for rows in draw(st.lists(st.lists(usual_rows, max_size=3), max_size=3)):
        event_type = draw(st.sampled_from(["update", "insert", "delete"]))
        if event_type == "delete":
            rows = [{"file_path": row["file_path"]} for row in rows]
        fields = draw(st.permutations(list(rows[0]))) if rows else USUAL_KEYS
        arrays = [draw(st.booleans()) for _ in rows]
        event = {
            "event_type": event_type,
            "rows": [
                [row[field] for field in fields] if array else dict(draw(st.permutations(list(row.items()))))
                for row, array in zip(rows, arrays, strict=True)
            ],
            "index": draw(st.integers(min_value=-1, max_value=2**63 - 1)),
            "event_schema": draw(names),
            "table": "files",
        }
        members = draw(st.permutations(list(event.items())))
        # before rows that are arrays, anywhere otherwise
        most = [key for key, _ in members].index("rows") if any(arrays) else len(members)
        members.insert(draw(st.integers(0, most)), ("fields", fields))
        pushed.append(dict(members))
    push = {
        "session_id": "68301bfb-f606-4623-b6d8-78a7e8e04fcd",
        "events": pushed,
        "source_type": draw(st.sampled_from(["snapshot", "message"])),
        "is_snapshot_end": draw(st.booleans()),
    }
    layout = draw(st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 2}]))
    return json.dumps(dict(draw(st.permutations(list(push.items())))), **layout).encode()


def may_climb_to_the_root(body: bytes) -> bool:
    """Whether ".." may have made a file's path the root, which is refused."""
    return b".." in body or b"\\u002e" in body


@given(usual_bodies())
def test_usual_bodies_are_accepted(body: bytes) -> None:
    if scan_agreeing(body) is None:
        assert may_climb_to_the_root(body), body
        with pytest.raises(FusionError):
            Batch.parse(body)


def test_a_snapshot_batch_of_the_public_agent() -> None:
    rows = [
        {
            "file_path": f"/data/small/top2/sub_1/data_{number:04d}.dat",
            "size": number,
            "modified_time": 1795461842.9020936 + number,
            "created_time": 1795461842.0 + number / 7,
            "is_dir": number % 30 == 0,
        }
        for number in range(1000)
    ]
    event = {
        "event_type": "update",
        "fields": USUAL_KEYS,
        "rows": rows,
        "index": 1795461925492,
        "event_schema": "/data/small",
        "table": "files",
    }
    push = {"session_id": "s", "events": [event], "source_type": "snapshot", "is_snapshot_end": False}
    for layout in ({"separators": (",", ":")}, {}):
        read = accepted(json.dumps(push, **layout).encode())
        assert read == [
            (
                False,
                1795461925492,
                row["file_path"].encode(),
                row["size"],
                double_bits(row["modified_time"]),
                double_bits(row["created_time"]),
                row["is_dir"],
            )
            for row in rows
        ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"session_id":"s","events":[],"source_type":"snapshot","is_snapshot_end":true}',
        b'{"session_id":"s","events":[{"event_type":"update","fields":[],"rows":[],"index":-1,'
        b'"event_schema":"bench-fs","table":"initial_trigger"}],"source_type":"message","is_snapshot_end":false}',
        b'{"session_id":"s","events":[{},{ }],"source_type":"message"}',
        b' \r\n\t{ "source_type" : "message" , "events" : [ ] , "session_id" : "\xc3\xa4" } \n',
        b'{"session_id":"s","events":[],"source_type":"message","is_snapshot_end":true,"is_snapshot_end":false}',
        with_row(b'{"path":"/a"},{"file_path":"/b","is_directory":true}'),
        with_row(b'{"path":"/a","size":null,"modified_time":null,"created_time":null}'),
        with_row(b'{"path":"/a","size":-0,"modified_time":-0,"created_time":-0.0}'),
        with_row(b'{"path":"/a","size":1,"size":2,"path":"/b","is_dir":true,"is_dir":false}'),
        with_row(b'{"path":"/a"}', b'"rows":[{"path":"/z"},{"path":"/y"}],"index":5,"index":6'),
        with_row(b'{"path":"/","size":5}', b'"event_type":"delete"'),
        b'{"session_id":"s","source_type":"message","events":[{"rows":[{"path":"/","size":5,"is_dir":true}],'
        b'"event_type":"delete"}]}',
        b'{"session_id":"s","source_type":"message","events":[{"rows":[{"path":"/a"}]}],"events":[{"index":3}]}',
        with_row(b'["/a",1,1.5,2.5,true],{"path":"/b"},["/c",null,null,-0,false]', USUAL_FIELDS),
        with_row(b' [ 5 , [ { "path" : 1 } ] , "/a" ] ', b'"fields" : [ "size" , "other" , "path" ]'),
        with_row(b'[true,"/a"]', b'"fields":["is_directory","path"],"event_type":"delete"'),
        with_row(b'["/a"]', b'"fields":["size"],"fields":["path"]'),
        with_row(b'["/a"]]},{"fields":["size","path"],"rows":[[1,"/b"]', b'"fields":["path"]'),
        with_row(b'["/a",1]]},{"fields":["path","eziz"],"rows":[["/b",[]]', b'"fields":["path","size"]'),
        with_row(b'["/a"]],"rows":[["/b"],["/c"]', b'"fields":["path"]'),
        with_row(b'["/a"]],"fields":["path"],"rows":[["/b"]', b'"fields":["path"]'),
        with_row(b'["/a"%s]' % (b",0" * 15), b'"fields":["path"%s]' % (b',"x"' * 15)),
        with_row(
            b'{"path":"/a","more":[{"a":["\\ud800\\"",-1.5e-3,true,false,null,{}],"b":{}},[],""],"x":0}'
        ),
    ],
    ids=range(23),
)
def test_unusual_bodies_are_accepted_too(body: bytes) -> None:
    accepted(body)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"/a b/c.d/..e/...", b"/a b/c.d/..e/..."),
        (b"//a/./b/../c/", b"/a/c"),
        (b"rel", b"/rel"),
        (b"", b"/"),
        (b"\\/a\\/..\\/b", b"/b"),
        (b'/\\"\\\\\\b\\f\\n\\r\\t', b'/"\\\b\f\n\r\t'),
        (b"/\\u00e4\\u4f60\\uD83D\\ude00\\u0001", "/ä你😀\1".encode()),
        ("/ä/你好/😀\x7f".encode(), "/ä/你好/😀\x7f".encode()),
        (b"/\\udc80\\udcff", b"/\x80\xff"),
        (b"/\\udcc3\\udca4", "/ä".encode()),
        (b"/" + b"n" * 65534, b"/" + b"n" * 65534),
        (b"n" * 65534, b"/" + b"n" * 65534),
        (b"/a/" + b"../a/" * 13000, b"/a"),
    ],
    ids=range(13),
)
def test_paths(text: bytes, path: bytes) -> None:
    assert accepted(with_path(text))[0][2] == path


def test_many_rewritten_paths_keep_apart() -> None:
    rows = b",".join(b'{"path":"x\\u00e9//%d"}' % number for number in range(2000))
    assert [row[2] for row in accepted(with_row(rows))] == [
        f"/xé/{number}".encode() for number in range(2000)
    ]


@pytest.mark.parametrize(
    "odd", [b"/", b"/.", b"//", b"/..", b"/.x", b"\\n", b"\xc3\xa4", b"\xc3", b"\t", b"\\u00e9"]
)
def test_every_place_of_something_odd_in_a_path(odd: bytes) -> None:
    for before in range(70):
        for after in (0, 1, 2, 6, 7, 8, 15, 16, 17, 30, 31, 32, 33, 62, 63, 64, 65):
            scan_agreeing(with_path(b"/" + b"a" * before + odd + b"b" * after))
            # the last thing in a body, after which no vector's worth of bytes is left
            path = b"/a" * before + odd + b"c" * after
            tail = b'{"source_type":"message","session_id":"s","events":[{"rows":[{"path":"%s"}]}]}' % path
            scan_agreeing(tail)
            scan_agreeing(b'{"source_type":"message","events":[],"session_id":"%s"}' % path)


@pytest.mark.parametrize("depth", [1, 59])
def test_nesting(depth: int) -> None:
    accepted(with_row(b'{"path":"/a","x":%s%s}' % (b"[" * depth, b"]" * depth)))


# What it leaves to the complete decoder


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"{}",
        b"[]",
        b'{"session_id":"s","source_type":"anomaly","events":[]}',
        b'{"session_id":"s","source_type":"message"}',
        b'{"session_id":"s","source_type":"message","events":null}',
        b'{"session_id":"s","source_type":"other","events":[]}',
        b'{"session_id":5,"source_type":"message","events":[]}',
        b'{"session_id":"\\ud800","source_type":"message","events":[]}',
        b'{"session_id":"s","source_type":"message","events":[]}}',
        b'{"session_id":"s","source_type":"message","events":[],}',
        b'{"session_id":"s","source_type":"message","events":[]}\0',
        b'{"session_id":"s","source_type":"message","events":[],"is_snapshot_end":null}',
        b'{"session_id":"s","source_type":"message","events":[],"event\\u0073":[{}]}',
        with_row(b"null"),
        with_row(b'["/a"]'),
        with_row(b"[]", b'"fields":[]'),
        with_row(b"[]", b'"fields":["path"]'),
        with_row(b"[5]", b'"fields":["size"]'),
        with_row(b'["/a"', b'"fields":["path"]'),
        with_row(b'["/a",]', b'"fields":["path"]'),
        with_row(b'["/a" 1]', b'"fields":["path","size"]'),
        with_row(b'["/a",1]', b'"fields":["path"]'),
        with_row(b'["/a"]', b'"fields":["path","size"]'),
        with_row(b'["/a","/b"]', b'"fields":["path","file_path"]'),
        with_row(b'["/a","/b"]', b'"fields":["path","path"]'),
        with_row(b'["/a",true,false]', b'"fields":["path","is_dir","is_directory"]'),
        with_row(b'["/a","/b"]', b'"fields":["path","p\\u0061th"]'),
        with_row(b'["/a",1]', b'"fields":["path","\xc3\xa4"]'),
        with_row(b'["/a"%s]' % (b",0" * 16), b'"fields":["path"%s]' % (b',"x"' * 16)),
        with_row(b'["/a",true]', b'"fields":["path","size"]'),
        with_row(b'["/a",1.0]', b'"fields":["path","size"]'),
        with_row(b'["/a","1"]', b'"fields":["path","created_time"]'),
        with_row(b'["/a",null]', b'"fields":["path","is_dir"]'),
        with_row(b'["/a",%s%s]' % (b"[" * 60, b"]" * 60), b'"fields":["path","x"]'),
        with_row(b'["/"]', b'"fields":["path"]'),
        with_row(b'["/a"]],"fields":["path"', b'"index":1'),
        with_row(b'["/a"]],"fields":["path","size"', b'"fields":["path"]'),
        with_row(b'["/a"]]},{"rows":[["/b"]', b'"fields":["path"]'),
        with_row(b'["/a"]', b'"fields":["path",]'),
        with_row(b"{}"),
        with_row(b'{"size":5}'),
        with_row(b'{"path":"/a"}}'),
        with_row(b'{"path":"/a"', b'"index":1'),
        with_row(b'{"path":"/a","file_path":"/b"}'),
        with_row(b'{"path":"/a","is_dir":true,"is_directory":true}'),
        with_row(b'{"path":"/a","siz\\u0065":7}'),
        with_row(b'{"path":null}'),
        with_row(b'{"path":"/a","is_dir":null}'),
        with_row(b'{"path":"/a","is_dir":1}'),
        with_row(b'{"path":"/a","is_dir":truer}'),
        with_row(b'{"path":"/a"}', b'"event_type":"upsert"'),
        with_row(b'{"path":"/a"}', b'"event_type":null'),
        with_row(b'{"path":"/a"}', b'"index":null'),
        with_row(b'{"path":"/a"}', b'"index":1.0'),
        with_row(b'{"path":"/a"}', b'"index":9223372036854775808'),
        with_row(b'{"path":"/a","x":%s%s}' % (b"[" * 60, b"]" * 60)),
        with_row(b'{"path":"/a","x":1e999}'),
        with_row(b'{"path":"/a","x":NaN}'),
        with_row(b'{"path":"/a","x":tru}'),
        with_row(b'{"path":"/a","x":"\\u12g4"}'),
        with_row(b'{"path":"/a","x":"\\x"}'),
        with_row(b'{"path":"/a","x":[1,]}'),
        with_row(b'{"path":"/a","x":{"a" 1}}'),
        with_row(b'{"path":"/a","x":[}'),
        *(
            with_row(b'{"path":"/a","size":%s}' % size)
            for size in (b"-1", b"1.0", b"1e2", b'"1"', b"true", b"9223372036854775808", b"01", b"+1", b"[]")
        ),
        *(
            with_row(b'{"path":"/a","modified_time":%s}' % time)
            for time in (
                b"1e999",
                b"NaN",
                b"-Infinity",
                b"true",
                b'"1"',
                b"1.",
                b".5",
                b"01.5",
                b"1e",
                b"0123456789.5",
            )
        ),
    ],
    ids=repr,
)
def test_declined(body: bytes) -> None:
    assert Batch.scan(body) is None


@pytest.mark.parametrize(
    "text",
    [
        b"/\\u0000",
        b"/\0",
        b"/\n",
        b"/\xff",
        b"/\xc0\xaf",
        b"/\xe0\x80\xaf",
        b"/\xed\xb2\x80",
        b"/\xf0\x80\x80\x80",
        b"/\xf4\x90\x80\x80",
        b"/\xf5\x80\x80\x80",
        b"/\xe4\xbd",
        b"/\\ud800",
        b"/\\ud800\\u0041",
        b"/\\udbff\\",
        b"/\\udc00",
        b"/\\udc7f",
        b"/\\udd00",
        b"/\\u12",
        b"/\\a",
        b"/" + b"n" * 65535,
        b"n" * 65535,
        b"/a/" + b"../a/" * 13107,
        b"/\\u00e4" + b"n" * 65533,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_declined_paths(text: bytes) -> None:
    assert Batch.scan(with_path(text)) is None


@pytest.mark.parametrize("path", [b"/", b"", b"/a/..", b"\\u002e"])
def test_the_root_as_a_file_is_declined(path: bytes) -> None:
    assert Batch.scan(with_row(b'{"path":"%s"}' % path)) is None
    assert Batch.scan(with_row(b'{"path":"%s"},{"path":"/a"}' % path, b'"event_type":"insert"')) is None


def test_every_beginning_of_a_body_is_declined() -> None:
    body = with_row(
        b'{"path":"/\xc3\xa4\\u00e4","size":12,"modified_time":1795461842.5,"is_dir":false,"x":[{}]},'
        b'["/\xc3\xa4\\u00e4",12,1795461842.5,null,false]',
        USUAL_FIELDS,
    )
    accepted(body)
    for length in range(len(body)):
        assert Batch.scan(body[:length]) is None


# Anything at all

tokens = st.sampled_from(
    [
        *b"null true false NaN 0 -0 -0.0 -1 01 1. 1.5 1e999 2.5e-324 1.7976931348623159e308".split(),
        *b"9223372036854775807 9223372036854775808 18446744073709551616 -9223372036854775808".split(),
        *b"9007199254740993 1795461842.9020936 1795461842.90209361234567 1795461842.5e1 1795461842.".split(),
        *b'[] {} {"a":[1]} "" "x" "\\ud800"'.split(),
        b"[" * 61 + b"]" * 61,
    ]
)
odd_paths = st.sampled_from(
    [
        *b"/ /a /a/ a /a/../b /.. /.a/b.. /\xc3\xa4 /\xff".split(),
        *b"/\\u00e4 /\\udc80 /\\ud83d\\ude00 /\\ud83d /\\u0000".split(),
        *(b"", b"/\x01", b"/" + b"y/" * 30),
    ]
).map(lambda path: b'"' + path + b'"')
times_text = st.floats(min_value=1e9, max_value=2e9).map(lambda time: repr(time).encode())
values = {
    b"file_path": odd_paths,
    b"path": odd_paths,
    b"size": st.integers(min_value=0, max_value=10**6).map(lambda size: b"%d" % size),
    b"modified_time": times_text,
    b"created_time": times_text,
    b"is_dir": st.sampled_from([b"true", b"false"]),
    b"is_directory": st.sampled_from([b"true", b"false"]),
    b"siz\\u0065": tokens,
    b"n\xc3\xa4me": tokens,
    b"other": tokens,
}


def mostly(usual: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.integers(min_value=0, max_value=19).flatmap(lambda dice: usual if dice else tokens)


def arrays(elements: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(elements, max_size=3).map(lambda texts: b"[" + b",".join(texts) + b"]")


@st.composite
def objects(draw: st.DrawFn, members: dict[bytes, st.SearchStrategy[bytes]], always: list[bytes]) -> bytes:
    """An object with all the keys of `always` and some others, in any order, some of them twice."""
    more = draw(st.lists(st.sampled_from(list(members)), max_size=4))
    keys = draw(st.permutations(always + more)) if more else always
    colon = draw(st.sampled_from([b":", b" : ", b":\n"]))
    return b"{" + b",".join(b'"%s"%s%s' % (key, colon, draw(mostly(members[key]))) for key in keys) + b"}"


rows = objects(values, [b"path"]) | objects(values, [b"file_path", b"size", b"modified_time", b"is_dir"])
any_events = objects(
    {
        b"event_type": st.sampled_from([b'"update"', b'"insert"', b'"delete"', b'"upd\\u0061te"']),
        b"rows": arrays(mostly(rows)),
        b"index": st.sampled_from([b"-1", b"1795461925492"]),
        b"fields": tokens,
    },
    [b"rows"],
)
any_bodies = objects(
    {
        b"session_id": st.sampled_from([b'"s"', b'"\\u0073"', b'"\\ud800"']),
        b"source_type": st.sampled_from([b'"message"', b'"snapshot"', b'"anomaly"']),
        b"events": arrays(mostly(any_events)),
        b"is_snapshot_end": st.sampled_from([b"true", b"false"]),
        b"other": tokens,
    },
    [b"session_id", b"source_type", b"events"],
)


@st.composite
def array_events(draw: st.DrawFn) -> bytes:
    """An event with array rows: mostly after fields that go with them, of which one row may have none."""
    plain = st.sampled_from([b'"/a"', b'"/b/c"', b'"d//e"'])
    ignored = st.sampled_from([b"1", b'[{"a":null}]', b'"x"'])
    cells = {
        **values, b"path": plain, b"file_path": plain,
        b"siz\\u0065": values[b"size"], b"n\xc3\xa4me": ignored, b"other": ignored,
    }  # fmt: skip
    path = draw(st.sampled_from([b"path", b"file_path"]))
    others = draw(st.lists(st.sampled_from(list(cells)), max_size=5, unique=draw(st.booleans())))
    names = draw(st.permutations([path, *others]))
    fields = b'"fields":[%s]' % b",".join(b'"%s"' % name for name in names)

    texts = []
    for _ in range(draw(st.integers(1, 3))):
        row = [draw(cells[name]) for name in names]
        change = draw(st.integers(0, 15))  # of which the ends are drawn most
        if change == 5:
            del row[-1]
        elif change == 6:
            row.append(b"0")
        elif change == 7:
            row[draw(st.integers(0, len(row) - 1))] = draw(tokens | odd_paths)
        texts.append(b"[" + b",".join(row) + b"]" if change != 8 else b'{"path":"/o"}')
    members = [fields, b'"rows":[%s]' % b",".join(texts)]
    more = st.sampled_from([fields, b'"fields":["path"]', b'"rows":[]', b'"event_type":"delete"', members[1]])
    for member in draw(st.lists(more, max_size=2)):
        members.insert(draw(st.integers(0, len(members))), member)
    if draw(st.integers(0, 15)) == 5:
        members.remove(fields)
    return b"{" + b",".join(members) + b"}"


array_bodies = st.lists(array_events(), min_size=1, max_size=3).map(
    lambda events: b'{"session_id":"s","source_type":"message","events":[%s]}' % b",".join(events)
)


@given(array_bodies)
def test_the_scanner_agrees_on_array_rows(body: bytes) -> None:
    scan_agreeing(body)


@given(any_bodies)
def test_the_scanner_agrees_on_any_body(body: bytes) -> None:
    scan_agreeing(body)


TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+|\s+|.', re.DOTALL)
NUMBER = re.compile(rb"-?[0-9]")
MUTATIONS = ["swap", "double", "drop", "nest", "cut", "number", "string", "byte", "member"]
escapes = st.sampled_from(
    [
        *rb"\" \\ \/ \b \f \n \r \t \x \u00e4 \u4F60 \u0000 \u12g4 \u002e".split(),
        *rb"\ud83d\ude00 \ud83d \udc80 \udcff \udc7f".split(),
        *(b"\\", b"/", b"/../", b"/.", b"\xc3\xa4", b"\xc3", b"\xed\xb2\x80", b"\n", b"\0", b'"'),
    ]
)


@st.composite
def mutations(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """A body with a few of its tokens swapped, doubled, dropped, nested, cut off or changed within."""
    found = TOKEN.findall(draw(bodies))

    def place(those: list[int] | None = None) -> int:
        return draw(st.sampled_from(those)) if those else draw(st.integers(0, len(found) - 1))

    for _ in range(draw(st.integers(1, 3))):
        if not found:
            break
        at = place()
        kind = draw(st.sampled_from(MUTATIONS))
        if kind == "swap":
            other = place()
            found[at], found[other] = found[other], found[at]
        elif kind == "double":
            found.insert(place(), found[at])
        elif kind == "drop":
            del found[at]
        elif kind == "nest":
            depth = draw(st.sampled_from([1, 2, 57, 58, 59, 60, 61, 62]))
            found[at] = b"[" * depth + found[at] + b"]" * depth
        elif kind == "cut":
            del found[at:]
        elif kind == "number":
            at = place([i for i, token in enumerate(found) if NUMBER.match(token)])
            cut = draw(st.integers(0, len(found[at])))
            insert = draw(st.text("0123456789.eE+-", max_size=12)).encode()
            found[at] = found[at][:cut] + insert + found[at][cut + draw(st.integers(0, 2)) :]
        elif kind == "string":
            at = place([i for i, token in enumerate(found) if token.startswith(b'"')])
            cut = draw(st.integers(1, max(1, len(found[at]) - 1)))
            found[at] = found[at][:cut] + draw(escapes) + found[at][cut:]
        elif kind == "byte" and found[at]:
            byte = draw(st.integers(0, len(found[at]) - 1))
            flipped = found[at][byte] ^ 1 << draw(st.integers(0, 7))
            found[at] = found[at][:byte] + bytes([flipped]) + found[at][byte + 1 :]
        elif kind == "member":  # a key once more, at the end of some object
            keys = [i for i, token in enumerate(found) if token == b":"]
            ends = [i for i, token in enumerate(found) if token == b"}"]
            if keys and ends:
                key, end = place(keys), place(ends)
                found[end:end] = [b",", found[key - 1], b":", draw(tokens | odd_paths)]
    return b"".join(found)


@given(mutations(any_bodies | array_bodies | usual_bodies()))
def test_the_scanner_agrees_on_mutated_bodies(body: bytes) -> None:
    scan_agreeing(body)


@given(any_bodies | array_bodies | usual_bodies(), st.data())
def test_the_scanner_agrees_on_damaged_bodies(body: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(min_value=0, max_value=len(body)))
    end = data.draw(st.integers(min_value=start, max_value=min(len(body), start + 4)))
    insert = data.draw(
        tokens | st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b",", b"}", b"]", b":"])
    )
    scan_agreeing(body[:start] + insert + body[end:])
