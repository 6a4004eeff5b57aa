"""Writes fusion/_core/fold.h: Unicode simple case folding, one code point to one.

    python tools/generate_fold.py > fusion/_core/fold.h

The interpreter knows full folding (str.casefold), which may yield several code points. Simple folding
(statuses C and S of Unicode's CaseFolding.txt) follows from it:

- where the full folding is one code point, it is the simple folding too;
- where it is several, code points with the same full folding fold together, to the smallest of them that is
  lower case: U+1E9E to U+00DF (full folding "ss"), U+1FD3 to U+0390. Alone in its class a code point folds to
  itself, like U+0130. (CaseFolding.txt folds U+FB05 to U+FB06, here it is the other way: one class as well.)

Foldings of assigned code points never change (Unicode's stability policy), so the table only grows.
"""

import sys
import unicodedata
from collections import defaultdict

BLOCK_BITS = 6
SURROGATES = range(0xD800, 0xE000)
LINE = 108


def simple_folding() -> dict[int, int]:
    """Code point to folded code point, of those that do not fold to themselves."""
    folding: dict[int, int] = {}
    by_full_folding: dict[str, list[int]] = defaultdict(list)
    for code in range(sys.maxunicode + 1):
        if code in SURROGATES:
            continue
        full = chr(code).casefold()
        if len(full) == 1:
            folding[code] = ord(full)
        else:
            by_full_folding[full].append(code)
    for codes in by_full_folding.values():
        target = min((code for code in codes if chr(code).lower() == chr(code)), default=None)
        if target is not None:
            folding.update(dict.fromkeys(codes, target))
    return {code: target for code, target in folding.items() if code != target}


def wrap(values: list[str]) -> str:
    lines = ["   "]
    for value in values:
        if len(lines[-1]) + len(value) + 2 > LINE:
            lines.append("   ")
        lines[-1] += f" {value},"
    return "\n".join(lines)


def table(declaration: str, values: list[str]) -> str:
    return f"static const {declaration}[{len(values)}] = {{\n{wrap(values)}\n}};\n"


def render(folding: dict[int, int]) -> str:
    size = 1 << BLOCK_BITS
    limit = (max(folding) // size + 1) * size
    deltas = sorted({0} | {target - code for code, target in folding.items()}, key=lambda d: (d != 0, d))
    assert len(deltas) <= 256
    delta_index = {delta: i for i, delta in enumerate(deltas)}

    blocks: dict[tuple[int, ...], int] = {}
    stage1: list[int] = []
    for start in range(0, limit, size):
        block = tuple(delta_index[folding.get(code, code) - code] for code in range(start, start + size))
        stage1.append(blocks.setdefault(block, len(blocks)))
    assert len(blocks) <= 256
    stage2 = [entry for block in blocks for entry in block]

    pairs = sorted((target, code) for code, target in folding.items())
    class_sizes: dict[int, int] = defaultdict(lambda: 1)
    for target, _ in pairs:
        class_sizes[target] += 1

    version = unicodedata.unidata_version
    return f"""/* Simple case folding of Unicode {version}. Written by tools/generate_fold.py. */
#ifndef FUSION_FOLD_H
#define FUSION_FOLD_H

#include <stdint.h>

#define FOLD_LIMIT 0x{limit:X}u /* code points from here on fold to themselves */
#define FOLD_MAX_VARIANTS {max(class_sizes.values())} /* most code points that fold alike */
#define FOLD_PAIRS {len(pairs)}

{table("uint8_t fold_blocks", [str(v) for v in stage1])}
{table("uint8_t fold_delta_of", [str(v) for v in stage2])}
{table("int32_t fold_deltas", [str(v) for v in deltas])}
/* {{folded, other code point that folds to it}}, sorted */
{table("uint32_t fold_pairs", [f"0x{v:X}" for pair in pairs for v in pair])}
static inline uint32_t fold_code_point(uint32_t c)
{{
    if (c < 0x80)
        return c - 'A' < 26 ? c + 32 : c;
    if (c >= FOLD_LIMIT)
        return c;
    uint32_t entry = (uint32_t)fold_blocks[c >> {BLOCK_BITS}] << {BLOCK_BITS} | (c & {size - 1});
    return c + (uint32_t)fold_deltas[fold_delta_of[entry]];
}}

/* All code points that fold like c, the folded one first; returns how many, 1..FOLD_MAX_VARIANTS. */
static inline int fold_variants(uint32_t c, uint32_t out[FOLD_MAX_VARIANTS])
{{
    int n = 0;
    uint32_t folded = fold_code_point(c);
    out[n++] = folded;
    uint32_t low = 0, high = FOLD_PAIRS;
    while (low < high) {{
        uint32_t middle = (low + high) / 2;
        if (fold_pairs[2 * middle] < folded)
            low = middle + 1;
        else
            high = middle;
    }}
    for (; low < FOLD_PAIRS && fold_pairs[2 * low] == folded; low++)
        out[n++] = fold_pairs[2 * low + 1];
    return n;
}}

#endif
"""


if __name__ == "__main__":
    sys.stdout.write(render(simple_folding()))
