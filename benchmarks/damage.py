"""What a process makes of a log whose file was damaged: `damage.py DIRECTORY` prints a JSON object.

Each time a process opens a copy of what a killed one left, reads it all, appends and trims. Tells for each
file and kind of damage how many processes ended how: `sound` when all records were as they had been,
`reported` when an exception told, `unnoticed` when none did, or the signal that ended the process.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

from logs import LMDB_0, LMDB_1, LOGS, SQLITE, BareLog

FILES = {SQLITE: ["log.sqlite3", "log.sqlite3-wal"], LMDB_0: ["data.mdb"], LMDB_1: ["data.mdb"]}
TRIALS = 40
RECORDS = 400  # SQLite's are in the database and in the write-ahead log then
TRIMMED = 100
APPENDS = 5
RECORD_BYTES = (60, 60, 2000, 23_000)
BLOCK_BYTES = 4096
HANG_SECONDS = 30
SOUND, REPORTED, UNNOTICED = OUTCOMES = ("sound", "reported", "unnoticed")


class Damage(NamedTuple):
    """`do` is given the file and a place in it, from 0 to 1. `while_open`: of a log that is open."""

    do: Callable[[Path, float], None]
    while_open: bool = False


def flip_a_bit(file: Path, place: float) -> None:
    data = bytearray(file.read_bytes())
    byte, bit = divmod(int(place * len(data) * 8), 8)
    data[byte] ^= 1 << bit
    file.write_bytes(data)


def zero_a_block(file: Path, place: float) -> None:
    with file.open("r+b") as opened:
        opened.seek(int(place * file.stat().st_size) // BLOCK_BYTES * BLOCK_BYTES)
        opened.write(bytes(BLOCK_BYTES))


def cut_short(file: Path, place: float) -> None:
    os.truncate(file, int(place * file.stat().st_size))


DAMAGES = {
    "a bit flipped": Damage(flip_a_bit),
    "4 KiB of zeros": Damage(zero_a_block),
    "cut short": Damage(cut_short),
    "cut short while open": Damage(cut_short, while_open=True),
}


def main(directory: Path) -> None:
    rng = random.Random(3)
    records = [rng.randbytes(rng.choice(RECORD_BYTES)) for _ in range(RECORDS)]
    copy = directory / "copy"
    found = []
    for name, files in FILES.items():
        left = directory / name
        left.mkdir()
        log = LOGS[name](left)
        for number, record in enumerate(records):
            log.append([record], number)
            log.trim(min(number, TRIMMED))
        for file, (kind, damage) in product(files, DAMAGES.items()):
            counts: Counter[str] = Counter()
            for _ in range(TRIALS):
                shutil.copytree(left, copy)
                counts[_outcome(LOGS[name], copy, copy / file, damage, rng.random(), records)] += 1
                shutil.rmtree(copy)
            found.append({"log": name, "file": file, "damage": kind, "outcomes": counts})
        log.close()
    print(json.dumps(found))


def _outcome(
    open_log: Callable[[Path], BareLog], directory: Path, file: Path, damage: Damage, place: float,
    records: list[bytes],
) -> str:  # fmt: skip
    """How a process ends that meets the damage."""
    pid = os.fork()
    if not pid:
        signal.alarm(HANG_SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # assertions that fail are printed
        outcome = REPORTED
        try:
            if not damage.while_open:
                damage.do(file, place)
            log = open_log(directory)
            if damage.while_open:
                damage.do(file, place)
            outcome = _use(log, records)
        except Exception:
            pass
        finally:
            os._exit(OUTCOMES.index(outcome))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return OUTCOMES[status] if status >= 0 else signal.Signals(-status).name


def _use(log: BareLog, records: list[bytes]) -> str:
    if log.last_sequence < RECORDS:
        return REPORTED  # by the mark of the newest acknowledged record, which any log would need beside it
    found = [record for _, record in log.read(TRIMMED)]
    log.trim(RECORDS)
    for sequence in range(RECORDS, RECORDS + APPENDS):
        log.append([bytes(max(RECORD_BYTES))], sequence)
    return SOUND if found == records[TRIMMED:] else UNNOTICED


if __name__ == "__main__":
    main(Path(sys.argv[1]))
