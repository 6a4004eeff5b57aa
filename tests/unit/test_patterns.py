"""Patterns: what a text means as a program, and the folding table that the programs are run with."""

import fnmatch
import re
import runpy
import struct
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidField
from fusion.patterns import ANY, CLASS, NEGATED_CLASS, STAR, Pattern, compile_pattern

ROOT = Path(__file__).resolve().parents[2]
FOLD_HEADER = ROOT / "fusion" / "_core" / "fold.h"

# No letters: case is the engine's business.
ALPHABET = "0159-!]^[*?_.\\ \n"


def words(pattern: Pattern) -> list[int]:
    return list(struct.unpack(f"<{len(pattern.program) // 4}I", pattern.program))


def program(text: str | bytes) -> list[int | str]:
    """The program with code points as characters."""
    items: list[int | str] = []
    rest = words(compile_pattern(text))
    while rest:
        word = rest.pop(0)
        if word in (CLASS, NEGATED_CLASS):
            n_ranges = rest.pop(0)
            ranges = [chr(rest.pop(0)) for _ in range(2 * n_ranges)]
            items += [word, *map("".join, zip(ranges[::2], ranges[1::2], strict=True)), "end"]
        else:
            items.append(chr(word) if word < STAR else word)
    return items


def as_regex(text: str) -> re.Pattern[str]:
    parts = []
    rest = words(compile_pattern(text))
    while rest:
        word = rest.pop(0)
        if word == STAR:
            parts.append(".*")
        elif word == ANY:
            parts.append(".")
        elif word in (CLASS, NEGATED_CLASS):
            codes = [rest.pop(0) for _ in range(2 * rest.pop(0))]
            pairs = zip(codes[::2], codes[1::2], strict=True)
            members = {chr(code) for low, high in pairs for code in range(low, high + 1)}
            alternatives = [re.escape(c) for c in ALPHABET if (c in members) == (word == CLASS)]
            parts.append(f"(?:{'|'.join(alternatives)})" if alternatives else "(?!)")
        else:
            parts.append(re.escape(chr(word)))
    return re.compile("".join(parts), re.DOTALL)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("ab", [STAR, "a", "b", STAR]),
        ("]-!^", [STAR, "]", "-", "!", "^", STAR]),
        ("日本", [STAR, "日", "本", STAR]),
        ("*.txt", [STAR, ".", "t", "x", "t"]),
        ("a**?*b", ["a", STAR, ANY, STAR, "b"]),
        ("*", [STAR]),
        ("[a-c]x", [CLASS, "ac", "end", "x"]),
        ("[!a-c_]", [NEGATED_CLASS, "ac", "__", "end"]),
        ("[]]", [CLASS, "]]", "end"]),
        ("[!]]", [NEGATED_CLASS, "]]", "end"]),
        ("[-a]", [CLASS, "--", "aa", "end"]),
        ("[a-]", [CLASS, "aa", "--", "end"]),
        ("[a-c-e]", [CLASS, "ac", "--", "ee", "end"]),
        ("[a!]", [CLASS, "aa", "!!", "end"]),
        ("[*]", [CLASS, "**", "end"]),
        ("[z-a]", [CLASS, "end"]),
        ("[!z-a]", [NEGATED_CLASS, "end"]),
        ("[", ["["]),
        ("[!", ["[", "!"]),
        ("[]", ["[", "]"]),
        ("[!]", ["[", "!", "]"]),
        ("a[b", ["a", "[", "b"]),
        ("\\*", ["\\", STAR]),
    ],
)
def test_program(text: str, items: list[int | str]) -> None:
    assert program(text) == items


@pytest.mark.parametrize("pattern", ["", b""])
def test_an_empty_pattern_is_refused(pattern: str | bytes) -> None:
    with pytest.raises(InvalidField) as caught:
        compile_pattern(pattern)
    assert caught.value.pointer == "/pattern"
    assert caught.value.status == 422


@pytest.mark.parametrize("pattern", ["\ud800", "a\udfff", "*\udc00"])
def test_a_surrogate_that_escapes_no_byte_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidField) as caught:
        compile_pattern(pattern)
    assert caught.value.pointer == "/pattern"


def test_bytes_and_text_of_the_same_name_are_the_same_pattern() -> None:
    assert compile_pattern(b"\xff\xc3\xa4*") == compile_pattern("\udcffä*")
    assert compile_pattern("\udcff").text == "\udcff"


def test_escapes_that_spell_a_character_are_that_character() -> None:
    assert compile_pattern("\udcc3\udca4") == compile_pattern("ä")


@given(st.text(ALPHABET, min_size=1, max_size=12), st.text(ALPHABET, max_size=8))
def test_globs_mean_what_fnmatch_means(text: str, name: str) -> None:
    expected = fnmatch.fnmatchcase(name, text) if set("*?[") & set(text) else text in name
    assert bool(as_regex(text).fullmatch(name)) == expected


# ---- the folding table ----


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "generate_fold.py"))


@pytest.fixture(scope="module")
def folding(generator: dict[str, Any]) -> dict[int, int]:
    return generator["simple_folding"]()


@pytest.mark.parametrize(
    ("character", "folded"),
    [
        ("A", "a"),
        ("Ä", "ä"),
        ("\N{KELVIN SIGN}", "k"),
        ("\N{LATIN SMALL LETTER LONG S}", "s"),
        ("\N{GREEK SMALL LETTER FINAL SIGMA}", "σ"),
        ("\N{MICRO SIGN}", "μ"),
        ("\N{LATIN CAPITAL LETTER SHARP S}", "ß"),
        ("\N{GREEK CAPITAL LETTER ALPHA WITH PSILI AND PROSGEGRAMMENI}", "ᾀ"),
        ("\N{GREEK SMALL LETTER IOTA WITH DIALYTIKA AND OXIA}", "\u0390"),
        ("\N{CHEROKEE SMALL LETTER A}", "\N{CHEROKEE LETTER A}"),
        ("\N{DESERET CAPITAL LETTER LONG I}", "\N{DESERET SMALL LETTER LONG I}"),
    ],
)
def test_folding(folding: dict[int, int], character: str, folded: str) -> None:
    assert folding[ord(character)] == ord(folded)


@pytest.mark.parametrize("character", "aäßıİŉ日-\u0307")
def test_folding_leaves_alone(folding: dict[int, int], character: str) -> None:
    assert ord(character) not in folding


def test_folding_is_done_at_once(folding: dict[int, int]) -> None:
    assert not set(folding) & set(folding.values())


def test_the_table_is_what_its_generator_writes(generator: dict[str, Any], folding: dict[int, int]) -> None:
    header = FOLD_HEADER.read_text("utf-8")
    if f"Unicode {unicodedata.unidata_version}." not in header:
        pytest.skip("the table was written from another version of Unicode than this interpreter's")
    assert header == generator["render"](folding)
