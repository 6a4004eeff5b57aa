"""Writers beside each other, and the books from which the tree that has to be there follows."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from service import Server, Store, walk

Files = dict[str, tuple[int, float]]  # path: size, mtime

# How many batches of a writer are in the tree: an older one is deleted with each new one.
KEPT_BATCHES = 20
SNAPSHOT_ROWS = 50
# Of the pushes of a snapshot writer.
SNAPSHOT_SHARE = 0.5


class Answer(NamedTuple):
    status: int
    document: dict[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """One push: files that come, directories that go after that, perhaps the end of a snapshot.

    gone: also what a snapshot's end takes away. carried: rows that change nothing. index: of the files.
    """

    files: Files
    gone: Sequence[str] = ()
    carried: Files = field(default_factory=dict)
    source: str = "message"
    end: bool = False
    index: int = 0

    def body(self, session: str) -> bytes:
        rows = [
            {"path": path, "size": size, "modified_time": mtime, "created_time": mtime, "is_dir": False}
            for path, (size, mtime) in (self.files | self.carried).items()
        ]
        events: list[dict[str, Any]] = []
        if rows:
            events.append({"event_type": "update", "index": self.index, "rows": rows})
        if self.gone and not self.end:
            events.append({"event_type": "delete", "rows": [{"path": path} for path in self.gone]})
        document = {
            "session_id": session,
            "source_type": self.source,
            "is_snapshot_end": self.end,
            "events": events,
        }
        return json.dumps(document).encode()

    def applied_to(self, files: Files) -> Files:
        gone = tuple(f"{directory}/" for directory in self.gone)
        return {p: values for p, values in (files | self.files).items() if not p.startswith(gone)}


class Book:
    """The files of a writer by what was acknowledged, and the batches since then that were not.

    Those may be there or not, each as a whole, until the next one is acknowledged: then they are gone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: Files = {}
        self.acknowledged = 0
        self._doubtful: list[Batch] = []

    def send(self, batch: Batch) -> None:
        self._doubtful.append(batch)

    def acknowledge(self) -> None:
        """The last one sent."""
        self.files = self._doubtful.pop().applied_to(self.files)
        self._doubtful.clear()
        self.acknowledged += 1

    def settle(self, found: Files) -> None:
        """What was found is one of the trees there may be, and is certain from here on."""
        possible = [self.files]
        for batch in self._doubtful:
            possible += [batch.applied_to(files) for files in possible]
        assert found in possible, "\n".join(difference(self.name, files, found) for files in possible)
        self.files = found
        self._doubtful.clear()

    def certain(self, found: Files) -> None:
        """What was found is what was acknowledged, nothing else."""
        assert found == self.files, difference(self.name, self.files, found)


def difference(name: str, expected: Files, found: Files) -> str:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    other = sorted(path for path in expected.keys() & found.keys() if expected[path] != found[path])
    return f"{name}: missing {missing}, too many {extra}, other values {other}"


class Line:
    """A connection for pushes, which ends with the server at the latest."""

    def __init__(self, server: Server, key: str) -> None:
        self._connection = server.connection()
        self._headers = {"X-API-Key": key}

    def push(self, *body: bytes, encoding: str = "identity") -> Answer:
        """The body may come in parts. Raises OSError or HTTPException when there is no answer."""
        more = {"Content-Length": str(sum(map(len, body))), "Content-Encoding": encoding}
        self._connection.request("POST", "/ingestor-api/v1/events/", body, self._headers | more)
        answer = self._connection.getresponse()
        data = answer.read()
        return Answer(answer.status, json.loads(data) if data else {}, answer.headers)

    def close(self) -> None:
        self._connection.close()


class Writer:
    """Sends one batch after the other over one connection, below `/<name>`, and keeps the book.

    The files of a batch are new ones and one that every batch writes, with its number as size and as the
    index of the batch. `last_words`: codes of errors that end
    it, as the end of the server does.
    """

    def __init__(
        self,
        name: str,
        session: str,
        key: str,
        seed: int,
        *,
        rows: int = 4,
        last_words: Collection[str] = (),
    ) -> None:
        self.book = Book(name)
        self.session = session
        self._key = key
        self._random = random.Random(seed)
        self._rows = rows
        self._last_words = last_words
        self._sent = 0
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._stopping = False

    def next_batch(self) -> Batch:
        self._sent += 1
        name, number = self.book.name, self._sent
        values = (number, 1000.0 + number)
        files = {f"/{name}/{number}/{n}": values for n in range(self._random.randint(1, self._rows))}
        gone = [f"/{name}/{number - KEPT_BATCHES}"] if number > KEPT_BATCHES else []
        return Batch(files | {f"/{name}/last": values}, gone, index=number)

    def push(self, line: Line, batch: Batch) -> Answer:
        """Raises like the line."""
        self.book.send(batch)
        answer = line.push(batch.body(self.session))
        if answer.status == 204:
            self.book.acknowledge()
        return answer

    def start(self, server: Server) -> None:
        """Send batches until the server is gone, or `stop`."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, args=(server,))
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, server: Server) -> None:
        line = Line(server, self._key)
        try:
            while not self._stopping:
                status, document, _ = self.push(line, self.next_batch())
                if document.get("code") in self._last_words:
                    return
                assert status == 204, document
        except (OSError, http.client.HTTPException):
            pass  # it was killed
        except BaseException as error:
            self._failure = error
        finally:
            line.close()


class SnapshotWriter(Writer):
    """Sends one snapshot after the other of everything there is, with messages in between.

    A snapshot changes nothing but its own stray file: it carries a new one, and its end takes the one of the
    snapshot before. Whatever was refused or is in doubt is sent again.
    """

    def __init__(self, name: str, session: str, key: str, seed: int) -> None:
        super().__init__(name, session, key, seed)
        self._snapshots = 0
        self._pending: list[Batch] = []

    def begin(self, server: Server, files: Files) -> None:
        """While nobody writes: the first push of a snapshot, unless one is on the way."""
        if self._pending:
            return
        self._snapshots += 1
        old, new = (f"/{self.book.name}/stray-{n}" for n in (self._snapshots - 1, self._snapshots))
        carried = [item for item in files.items() if not item[0].startswith(f"{old}/")]
        chunks = [dict(carried[at : at + SNAPSHOT_ROWS]) for at in range(0, len(carried), SNAPSHOT_ROWS)]
        self._pending = [Batch({f"{new}/f": (1, 1.0)}, source="snapshot")]
        self._pending += [Batch({}, carried=chunk, source="snapshot") for chunk in chunks]
        self._pending.append(Batch({}, [old], source="snapshot", end=True))
        line = Line(server, self._key)
        status, document, _ = self.push(line, self._pending[0])
        assert status == 204, document
        line.close()

    def next_batch(self) -> Batch:
        if self._pending and self._random.random() < SNAPSHOT_SHARE:
            return self._pending[0]
        return super().next_batch()

    def push(self, line: Line, batch: Batch) -> Answer:
        answer = super().push(line, batch)
        if answer.status == 204 and self._pending and batch is self._pending[0]:
            self._pending.pop(0)
        return answer


def files_of(store: Store) -> Files:
    """All files of the tree as shown with 200.

    Directories are there for their files alone, and each node is counted once.
    """
    nodes = walk(store.tree())
    files = {
        node["path"]: (node["size"], node["modified_time"])
        for node in nodes
        if node["content_type"] == "file"
    }
    directories = {node["path"] for node in nodes if node["content_type"] == "directory"}
    assert directories == {"/"} | {above for path in files for above in parents(path)}
    assert store.counts() == (len(files), len(directories))
    return files


def parents(path: str) -> Iterable[str]:
    while path := path.rpartition("/")[0]:
        yield path


def settle(store: Store, writers: Iterable[Writer], *, certain: bool = False) -> Files:
    """The tree is one that the books allow, which are certain afterwards; returns it.

    certain: only what was acknowledged may be there.
    """
    found = files_of(store)
    for writer in writers:
        name = f"/{writer.book.name}/"
        own = {path: values for path, values in found.items() if path.startswith(name)}
        (writer.book.certain if certain else writer.book.settle)(own)
    assert found == {path: values for writer in writers for path, values in writer.book.files.items()}
    return found
