"""Coverage-guided fuzzing of the whole service, from raw bytes to answers; see README.md.

Whatever comes over a connection: no 5xx, errors in the contract's form, nothing logged as an error, and no
change of the tree without a 204.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "service"))

with atheris.instrument_imports(include=["fusion", "sanic", "multidict"]):
    from in_process import InProcess, give_up
    from requests_at_random import MOST_BYTES, SEEDS, mutated, pieces

    from fusion.api.patience import Patience

# What was answered with something else than 400, to start from.
taken = list(SEEDS)
MOST_TAKEN = 4096


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The bytes changed as libFuzzer does it, or requests changed by parts of the format."""
    source = random.Random(seed)
    kind = seed % 4
    if kind == 0:
        return bytes(atheris.Mutate(data, max_size))
    return mutated(source, data if kind == 1 else source.choice(taken))[:max_size]


def main() -> None:
    Patience.sleep = give_up  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as directory, InProcess(Path(directory)) as service:

        def check(data: bytes) -> None:
            found = service.check(*pieces(data))
            if any(answer.status != 400 for answer in found):
                if len(taken) < MOST_TAKEN:
                    taken.append(data)
                else:
                    taken[random.randrange(len(SEEDS), MOST_TAKEN)] = data

        atheris.Setup([*sys.argv, f"-max_len={MOST_BYTES}"], check, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
