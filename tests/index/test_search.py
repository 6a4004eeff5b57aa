"""Name search of the compiled index against its slow twin, case and globs included."""

import json
from collections.abc import Iterable

import pytest
import search_oracle
from hypothesis import example, given
from hypothesis import strategies as st

from fusion import PathIndex
from fusion.errors import InvalidField

# Case in all its lengths and directions, bytes that are not UTF-8 and halves of characters among them.
ATOMS = [
    *map(str.encode, "abkstiABKSTI019._-!]^ äÄåÅßẞſıİрРтТωΩιΙσςΣﬅﬆ日本😀"),
    *map(str.encode, ["\u212a", "\u212b", "\u2126", "\u0345", "\u1fbe", "ᲄ", "ⱥ", "Ⱥ", "𐐀", "𐐨", "\u2103"]),
    *(
        b"\xff",
        b"\xc3",
        b"\xa4",
        b"\xe2\x84",
        b"\xaa",
        b"\xc5",
        b"\xbf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(b"\xc0\xaf", b"\xe0\x80\x80", b"\xf0\x9f"),
]
WORDS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=12).map(b"".join)
NAMES = WORDS.filter(lambda name: name not in (b".", b".."))
CLASSES = st.tuples(
    st.sampled_from([b"[", b"[!"]),
    st.lists(st.sampled_from([*ATOMS, b"-", b"]", b"a-t", b"A-T", b"Z-a"]), max_size=4).map(b"".join),
    st.sampled_from([b"]", b"]", b""]),
).map(b"".join)
GLOBS = st.lists(st.one_of(st.sampled_from([b"*", b"?"]), WORDS, CLASSES), min_size=1, max_size=6).map(
    b"".join
)
PATTERNS = st.one_of(WORDS, GLOBS)


def index_of(names: Iterable[bytes]) -> PathIndex:
    """An index with a file of each name in its root."""
    index = PathIndex()
    paths = [b"/" + name for name in names]
    zeros = [0.0] * len(paths)
    index.upsert(paths, [0] * len(paths), zeros, zeros, [False] * len(paths))
    return index


def found(index: PathIndex, pattern: str | bytes, limit: int | None = None) -> list[bytes]:
    return [node.name.encode("utf-8", "surrogateescape") for node in index.search(pattern, limit)]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("port", "Report.PDF", True),
        ("PORT", "report", True),
        ("reports", "report", False),
        ("*.pdf", "Report.PDF", True),
        ("*.pdf", "report.pdf.gz", False),
        ("report*", "my report", False),
        ("report*", "REPORT", True),
        ("*port*", "report", True),
        ("*.txt", "a.txt.txt", True),
        ("r?port", "report", True),
        ("r?port", "reeport", False),
        ("?", "ä", True),
        ("?", "日", True),
        ("??", "日", False),
        ("?", b"\xe4", True),
        ("?", b"\xe4\xf6", False),
        ("[a-c]x", "BX", True),
        ("[A-C]x", "bx", True),
        ("[!a-c]x", "Bx", False),
        ("[!a-c]x", "dx", True),
        ("[ä]", "Ä", True),
        ("[!Ä]", "ä", False),
        ("[k]", "\u212a", True),
        ("[[]x", "[x", True),
        ("[", "[", True),
        ("[", "a[", False),
        ("[x", "[X", True),
        ("[z-a]", "m", False),
        ("[!z-a]", "m", True),
        ("*", "anything", True),
        ("ä", "ÄRGER", True),
        ("ÄRGER", "ärger", True),
        ("a\u0308", "ä", False),
        ("дорога", "ДОРОГА", True),
        ("σας", "ΣΑΣ", True),
        ("k", "\u212aelvin", True),
        ("\u212aelvin", "KELVIN", True),
        ("kelvin", "0 \u212aelvin", True),
        ("wise", "wi\u017fe", True),
        ("WI\u017fE", "wise", True),
        ("sas", "\u017fA\u017f", True),
        ("ss", "ß", False),
        ("ß", "ẞ", True),
        ("i", "İ", False),
        ("i", "ı", False),
        ("å", "\u212b", True),
        ("\u2126", "ω", True),
        (b"\xff", b"a\xff", True),
        (b"\xa4", "ä", False),
        (b"\xc3", "ä", False),
        (b"\xc3\xa4", "Ä", True),
        ("\udcff*", b"\xffa", True),
        ("\udcc3\udca4", "ä", True),
        (b"*\x84", "Ä", False),
        (".", "a.b", True),
        ("a.b", "axb", False),
        ("a\nb", "A\nB", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("x" * 300, "X" * 300, True),
        ("x" * 300, "X" * 299, False),
        ("*" + "xy" * 40 + "*", "0" + "XY" * 40 + "1", True),
    ],
)
def test_matches(pattern: str | bytes, name: str | bytes, matches: bool) -> None:
    name = name.encode() if isinstance(name, str) else name
    others = [b"0", b"other name"]
    assert (name in found(index_of([others[0], name, others[1]]), pattern)) == matches
    assert search_oracle.matcher(pattern)(name) == matches


@given(st.lists(NAMES, unique=True, max_size=30), st.lists(PATTERNS, min_size=1, max_size=4))
@example([b"sks", "\u017fk\u017f".encode(), b"SKS"], [b"sks", b"s*", b"*ks"])
@example([b"\xe2\x84", "\u212a".encode(), b"\xaa"], [b"k", b"\xe2\x84", b"\xaa"])
def test_finds_what_the_oracle_finds(names: list[bytes], patterns: list[bytes]) -> None:
    index = index_of(names)
    for pattern in patterns:
        assert sorted(found(index, pattern)) == sorted(search_oracle.search(names, pattern))
    index._check()


def test_every_length_and_place_of_a_name() -> None:
    names = [b"y" * before + b"Needle" + b"z" * after for before in range(70) for after in (0, 1, 7, 31, 64)]
    index = index_of(names)
    assert found(index, "needle") == names
    assert found(index, "*needle") == [name for name in names if name.endswith(b"Needle")]
    assert found(index, "needle*") == [name for name in names if name.startswith(b"Needle")]


def test_names_over_many_blocks_of_the_arena() -> None:
    names = [b"%06d" % number for number in range(40_000)]
    for number in range(0, 40_000, 4_001):
        names[number] += b" rare"
    index = index_of(names)
    rare = [name for name in names if name.endswith(b"rare")]
    assert found(index, "RARE") == rare
    assert found(index, "*rare") == rare
    assert found(index, "[0-9]*e") == rare
    assert found(index, "?" * 11) == rare
    assert len(found(index, "0")) == sum(b"0" in name for name in names)


def test_names_longer_than_a_block_of_the_arena() -> None:
    names = [letter * 65_000 + b"end" for letter in (b"a", b"b", b"c", b"d")] + [b"the end"]
    index = index_of(names)
    assert found(index, "END") == names
    assert found(index, "c*end") == [names[2]]
    assert found(index, "the") == [b"the end"]


def test_directories_are_not_found() -> None:
    index = PathIndex()
    index.upsert([b"/data/data.txt", b"/data/sub"], [1, 0], [1.0, 2.0], [1.0, 2.0], [False, True])
    assert [node.path for node in index.search("data")] == ["/data/data.txt"]
    assert index.search("sub") == []


def test_deleted_names_are_not_found_and_their_room_is_searched_again() -> None:
    index = index_of([b"alpha", b"beta1", b"gamma"])
    index.delete(b"/beta1")
    assert found(index, "beta") == []
    assert sorted(found(index, "*")) == [b"alpha", b"gamma"]
    index.upsert([b"/betaX"], [0], [0.0], [0.0], [False])
    assert found(index, "betax") == [b"betaX"]
    assert len(found(index, "*")) == 3


def test_names_are_found_after_most_of_them_went() -> None:
    names = [b"a rather long name of file %06d" % number for number in range(60_000)]
    index = index_of(names)
    for name in names[1_000:]:
        index.delete(b"/" + name)
    index.upsert([b"/fresh"], [0], [0.0], [0.0], [False])
    index._check()
    assert sorted(found(index, "file 000")) == names[:1_000]
    assert found(index, "FRESH") == [b"fresh"]


def test_limit() -> None:
    names = [b"n%03d" % number for number in range(100)]
    index = index_of(names)
    assert found(index, "n", 7) == names[:7]
    assert found(index, "n", 0) == []
    assert found(index, "n", 1_000) == names


def test_nothing_is_found_in_an_empty_index() -> None:
    assert PathIndex().search("*") == []
    assert PathIndex().search("a") == []


def test_json_holds_the_same_nodes() -> None:
    index = index_of([b"a.txt", "Ä.TXT".encode(), b"b.bin", b"\xff.txt"])
    answer = json.loads(index.search_json("*.txt"))
    assert [node["path"] for node in answer] == ["/a.txt", "/Ä.TXT", "/\ufffd.txt"]
    assert len(json.loads(index.search_json("*.txt", 2))) == 2
    assert json.loads(index.search_json("nothing")) == []


@pytest.mark.parametrize("pattern", ["", b"", "\ud800"])
def test_a_wrong_pattern_is_refused(pattern: str | bytes) -> None:
    index = index_of([b"a"])
    with pytest.raises(InvalidField):
        index.search(pattern)
    with pytest.raises(InvalidField):
        index.search_json(pattern)
