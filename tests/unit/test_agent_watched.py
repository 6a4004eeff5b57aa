"""Where watched directories are, after any history of renames."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.agent.watched import WatchedTree


@pytest.mark.parametrize(("root", "expected"), [("/", "/a/b"), ("/srv/data", "/srv/data/a/b")])
def test_paths(root: str, expected: str) -> None:
    tree = WatchedTree(root)
    tree.put(1, root)
    tree.put(2, expected)
    assert (tree.path(1), tree.path(2), tree.path(3)) == (root, expected, None)
    tree.put(2, expected)
    assert len(tree) == 2


NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/r/" + "/".join(names))
STEPS = st.one_of(
    st.tuples(st.just("make"), PATHS, PATHS),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("remove"), PATHS, PATHS),
    st.tuples(st.just("leave"), PATHS, PATHS),
)


@given(st.lists(STEPS, max_size=40))
def test_every_history_of_renames(steps: list[tuple[str, str, str]]) -> None:
    """A plain dict of paths is the twin."""
    tree = WatchedTree("/r")
    twin: dict[str, int] = {"/r": 1}  # path -> descriptor
    tree.put(1, "/r")
    for descriptor, (step, path, to) in enumerate(steps, start=2):
        parent = os.path.dirname(path)
        below = [known for known in twin if known == path or known.startswith(path + "/")]
        if step == "make" and parent in twin and path not in twin:
            tree.put(descriptor, path)
            twin[path] = descriptor
        elif path not in twin:
            continue
        elif step == "remove":
            for known in sorted(below, reverse=True):
                tree.forget(twin.pop(known))
        elif step == "leave":
            taken = tree.take(twin[parent], os.path.basename(path))
            assert taken is not None
            assert {tree.path(twin[known]) for known in below} == {None}
            assert set(tree.drop(taken)) == {twin.pop(known) for known in below}
        elif step == "move" and os.path.dirname(to) in twin and to not in twin and to not in below:
            if (os.path.dirname(to) + "/").startswith(path + "/"):
                continue  # no directory can be moved below itself
            taken = tree.take(twin[parent], os.path.basename(path))
            assert taken is not None
            tree.graft(taken, twin[os.path.dirname(to)], os.path.basename(to))
            for known in below:
                twin[to + known.removeprefix(path)] = twin.pop(known)
        assert {known: tree.path(known) for known in twin.values()} == {d: p for p, d in twin.items()}
        assert len(tree) == len(twin)


def test_a_directory_found_elsewhere_is_cut_off_with_what_is_below() -> None:
    tree = WatchedTree("/r")
    for descriptor, path in enumerate(["/r", "/r/a", "/r/a/b"], start=1):
        tree.put(descriptor, path)
    tree.put(2, "/r/c")
    assert (tree.path(2), tree.path(3)) == ("/r/c", None)
    tree.put(3, "/r/c/b")
    assert tree.path(3) == "/r/c/b"


def test_another_directory_at_the_same_place() -> None:
    tree = WatchedTree("/r")
    tree.put(1, "/r")
    tree.put(2, "/r/a")
    tree.put(3, "/r/a")
    assert (tree.path(2), tree.path(3)) == (None, "/r/a")
    tree.forget(2)
    assert tree.path(3) == "/r/a"


def test_nothing_is_put_below_itself() -> None:
    tree = WatchedTree("/r")
    for descriptor, path in enumerate(["/r", "/r/a", "/r/a/b"], start=1):
        tree.put(descriptor, path)
    taken = tree.take(1, "a")
    assert taken is not None
    tree.graft(taken, 3, "c")
    assert tree.path(2) is None and tree.path(3) is None
