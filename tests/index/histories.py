"""Random histories for an index: hypothesis strategies that like to collide."""

from __future__ import annotations

from typing import Any

from bodies import deletes, directory, file, upserts
from hypothesis import strategies as st

PLAIN_NAMES = ["a", "b", "c"]
NASTY_NAMES = [
    "A", "ß", "SS", "\u1e9e", "k", "\u212a", "ä", "Ä", "e\u0301", "ſ", "I", "ı", "İ",
    '"', "\\", "\\u0041", "\n", "\t", "\x01", "\x1f", "\x7f", "\x80", "\u2028", "\ufeff",
    " ", "*", "[a]", "?", "...", "..a", "🎉", "👩‍🚀", "\ufffd", "\ufffd\ufffd", "\udcff",
    "\udcfe", "\udcff\udcff", "a\udce2\udc82",
    "\udced\udca0\udc80", "\udcc3\udca9", "é", "x" * 255, "🎉" * 63, "y" * 5000,
]  # fmt: skip
MODIFIED_TIMES = [0, 50, 99, 100, 100.5, 101, 150, 200]
ODD_TIMES = [
    -1.5,
    -0.0,
    1e-7,
    1705832400.25,
    1705832400.1234567,
    1e16,
    1e22,
    123456789012345680.0,
    5e-324,
    1e308,
]

any_name = st.text(min_size=1, max_size=6).filter(
    lambda name: (
        "/" not in name
        and "\0" not in name
        and name not in (".", "..")
        and not any(0xD800 <= ord(char) <= 0xDFFF for char in name)
    )
)
names = st.one_of(
    st.sampled_from(PLAIN_NAMES), st.sampled_from(PLAIN_NAMES), st.sampled_from(NASTY_NAMES), any_name
)
times = st.one_of(
    st.sampled_from(MODIFIED_TIMES),
    st.sampled_from(MODIFIED_TIMES),
    st.sampled_from(ODD_TIMES),
    st.floats(allow_nan=False, allow_infinity=False),
)
sizes = st.one_of(st.integers(0, 9), st.integers(0, 2**48))


@st.composite
def some_paths(draw: st.DrawFn, *, root: bool = True) -> str:
    """Mostly short and often met again, sometimes deep, nasty or not normalised."""
    if draw(st.integers(0, 19)) == 0:
        spelling = draw(st.sampled_from(["a/", "//a//b/", "a/./b", "/a/../b", "/a/b/../../c/d", "/../a"]))
        return spelling
    if draw(st.integers(0, 39)) == 0:
        return "/" + "/".join(draw(st.sampled_from("ab")) for _ in range(draw(st.integers(8, 40))))
    depth = draw(st.integers(0 if root else 1, 4))
    return "/" + "/".join(draw(names) for _ in range(depth))


@st.composite
def some_rows(draw: st.DrawFn) -> dict[str, Any]:
    is_dir = draw(st.booleans())
    path = draw(some_paths(root=is_dir))
    make = directory if is_dir else file
    return make(path, draw(times), draw(sizes)) | {"created_time": draw(times)}


@st.composite
def some_events(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.integers(0, 3)) == 0:
        index = draw(st.sampled_from([-1, 0, 50_000, 100_000, 150_000]))
        return deletes(*draw(st.lists(some_paths(), max_size=3)), index=index)
    return upserts(*draw(st.lists(some_rows(), max_size=6)))


event_lists = st.lists(some_events(), max_size=4)
arrivals = st.sampled_from([50.0, 100.0, 150.0])
patterns = st.one_of(
    names,
    st.sampled_from(
        ["*", "a*", "*b", "?", "??", "[ab]", "[!a]", "[a-c]*", "[", "[]", "a[", "*\udcff*", "x*x", "y"]
    ),
)
