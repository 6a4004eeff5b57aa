"""Histograms of the files below a path: how many, and how many bytes, by size or by age."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fusion.errors import InvalidField

if TYPE_CHECKING:
    from fusion import PathIndex

HOUR, DAY = 3600, 86400
YEAR = 365 * DAY

# Where buckets begin; each ends where the next one begins, the last one never.
# Bytes: 0, then powers of 4 up to 4 TiB.
SIZES = [0, *(4**power for power in range(22))]
# Seconds. Before the first one lie times in the future.
AGES = [0, HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, YEAR, 2 * YEAR, 5 * YEAR, 10 * YEAR]


def histogram(index: PathIndex, path: str | bytes, by: str, now: float) -> dict[str, Any]:
    """The files at or below `path` in buckets, at one instant.

    by: "size", in bytes, or "age", in seconds from the modified time to `now` (seconds since the epoch).
    Returns a dict of `by`, `total` (files), `bytes` (the sum of their sizes) and `buckets`: a list of dicts
    with `from` (inclusive) and `to` (exclusive), None where there is no bound, `files` and `bytes`. Empty
    buckets are among them. Sums are exact.

    Raises KeyError for an unknown path, InvalidField (a ValueError) for another `by` or a `now` that is not
    finite.
    """
    if by not in ("size", "age"):
        raise InvalidField(f"by: one of size, age is needed, not {by!r}", pointer="/by")
    if not math.isfinite(now):
        raise InvalidField(f"now: a finite number is needed, not {now!r}", pointer="/now")
    bounds: list[int | None] = [*SIZES, None] if by == "size" else [None, *AGES, None]
    edges = np.array(SIZES, np.int64) if by == "size" else np.array(AGES, np.float64)
    buckets = len(bounds) - 1
    files = [0] * buckets
    sums = [0] * buckets
    for sizes, modified_times in index.file_columns(path):
        if by == "size":
            places = np.searchsorted(edges, sizes, side="right") - 1
        else:
            places = np.searchsorted(edges, _ages(modified_times, now), side="right")
        counts = np.bincount(places, minlength=buckets)
        # Halves of 32 bits: their sums over 65,536 files are exact as doubles.
        low = np.bincount(places, weights=sizes & 0xFFFFFFFF, minlength=buckets)
        high = np.bincount(places, weights=sizes >> 32, minlength=buckets)
        for bucket in range(buckets):
            files[bucket] += int(counts[bucket])
            sums[bucket] += (int(high[bucket]) << 32) + int(low[bucket])
    return {
        "by": by,
        "total": sum(files),
        "bytes": sum(sums),
        "buckets": [
            {"from": bounds[bucket], "to": bounds[bucket + 1], "files": files[bucket], "bytes": sums[bucket]}
            for bucket in range(buckets)
        ],
    }


def _ages(modified_times: npt.NDArray[np.float64], now: float) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):  # an age may be larger than any double
        return now - modified_times
