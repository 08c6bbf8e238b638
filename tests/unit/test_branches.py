"""The tree of branches: what hypothesis does to it, it stays a tree, and undo gives back what was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo import branches
from eft_demo.branches import Branch, History
from eft_demo.errors import InputError

steps = st.lists(
    st.tuples(st.sampled_from(["branch", "select", "remove", "text"]), st.integers(0, 9), st.integers(0, 50)),
    max_size=30,
)


def begun(*ids: int) -> History:
    return History.start(seed=3).with_text(0, ids)


def apply(history: History, kind: str, which: int, number: int) -> History:
    known = history.tree.branches
    branch = known[which % len(known)]
    if kind == "select":
        return history.select(branch.id)
    if kind == "text":
        return history.with_text(branch.id, history.forced(branch.id) + tuple(range(number % 5)))
    if kind == "remove" and branch.parent is not None:
        return history.remove(branch.id)
    length = len(history.texts[history.tree.current])
    return history.branch(number % (length + 1), None if which == 9 else number, seed=number)


@given(steps)
def test_whatever_is_done_it_stays_a_tree_and_undo_gives_back_what_was(
    todo: list[tuple[str, int, int]],
) -> None:
    history = begun(5, 6, 7)
    trees = [history.tree]
    for step in todo:
        history = apply(history, *step)
        if history.tree != trees[-1]:
            trees.append(history.tree)
        ids = [branch.id for branch in history.tree.branches]
        assert len(set(ids)) == len(ids)
        assert history.tree.current in history.tree
        for branch in history.tree.branches:
            path = history.tree.path(branch.id)
            assert path[0].parent is None
            assert path[-1] == branch
            assert history.texts[branch.id][: len(history.forced(branch.id))] == history.forced(branch.id)
            assert all(child.parent == branch.id for child in history.tree.children(branch.id))
    for tree in reversed(trees):
        assert history.tree == tree
        history = history.undo()
    assert history.undo() == history
    for tree in trees[1:]:
        history = history.redo()
        assert history.tree == tree
    assert history.redo() == history


def test_a_branch_keeps_what_came_before_and_its_forced_token() -> None:
    history = begun(5, 6, 7).branch(2, 9, seed=4)
    assert history.tree.branches[1] == Branch(1, 0, 2, 9, 4)
    assert history.forced(1) == (5, 6, 9)
    history = history.with_text(1, (5, 6, 9, 1))
    assert history.branch(3, None, seed=8).forced(2) == (5, 6, 9)


def test_tokens_that_come_late_find_their_branch_after_undo() -> None:
    history = begun(5, 6).branch(1, 9, seed=1).undo()
    history = history.branch(0, 8, seed=1)
    assert [b.id for b in history.tree.branches] == [0, 2]
    history = history.with_text(1, (5, 9, 9))
    assert history.texts == {0: (5, 6), 1: (5, 9, 9), 2: (8,)}


def test_removing_takes_the_children_along_and_the_view_to_the_parent() -> None:
    history = begun(5, 6).branch(1, 9, seed=1).branch(2, 8, seed=1)
    history = history.remove(1)
    assert [b.id for b in history.tree.branches] == [0]
    assert history.tree.current == 0
    assert history.undo().tree.current == 2


@pytest.mark.parametrize("position", [-1, 4, True, 1.0, None])
def test_a_position_outside_the_text_is_a_sentence(position: object) -> None:
    with pytest.raises(InputError, match="from 1 to 4"):
        begun(5, 6, 7).branch(position, 1, seed=0)


def test_unknown_branches_and_the_first_text_are_sentences() -> None:
    for act in (lambda h: h.select(7), lambda h: h.with_text(7, ()), lambda h: h.remove(7)):
        with pytest.raises(InputError, match="no branch 7"):
            act(begun())
    with pytest.raises(InputError, match="first text"):
        begun().remove(0)


def test_there_is_an_end_to_branching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "MAX_BRANCHES", 2)
    history = begun(5).branch(0, 1, seed=0).undo()
    with pytest.raises(InputError, match="2 branches already"):
        history.branch(0, 1, seed=0)


def test_undo_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "MAX_STEPS", 2)
    history = begun(5)
    for token in range(3):
        history = history.branch(0, token, seed=0)
    assert history.undo().undo().undo().tree.current == 1
