"""The tree of texts that a person makes by branching, with undo and redo.

A branch keeps the first tokens of its parent and then goes its own way. Pure, immutable data: every step
returns a new value, so undo is the old one. Knows token ids; knows no models, runs or pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from eft_demo.errors import InputError
from eft_demo.settings import show_value

MAX_BRANCHES = 500  # more than anybody looks at; a page that branches in a loop must end somewhere
MAX_STEPS = 200  # of undo


@dataclass(frozen=True, slots=True)
class Branch:
    """One text. It shares `position` tokens with its parent; then comes `token`, or whatever is drawn."""

    id: int
    parent: int | None  # None: the text that everything began with
    position: int  # tokens kept
    token: int | None  # forced behind them; None: drawn
    seed: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Branches in the order they were made, and the one that is looked at."""

    branches: tuple[Branch, ...]
    current: int

    def __contains__(self, branch_id: object) -> bool:
        return any(branch.id == branch_id for branch in self.branches)

    def find(self, branch_id: int) -> Branch:
        """The branch of that id. Raises InputError."""
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        raise InputError(f"There is no branch {show_value(branch_id)} here. Please choose one that is shown.")

    def children(self, branch_id: int) -> tuple[Branch, ...]:
        """The branches made from this one, oldest first."""
        return tuple(branch for branch in self.branches if branch.parent == branch_id)

    def path(self, branch_id: int) -> tuple[Branch, ...]:
        """From the first text to this branch."""
        branch = self.find(branch_id)
        before = () if branch.parent is None else self.path(branch.parent)
        return (*before, branch)

    def without(self, branch_id: int) -> "Tree":
        """The tree without this branch and all that grew from it; the view moves to its parent if it must.

        Raises InputError for the first text, which cannot go.
        """
        parent = self.find(branch_id).parent
        if parent is None:
            raise InputError("The first text cannot be removed. Please press Run for a new one.")
        kept = tuple(b for b in self.branches if all(step.id != branch_id for step in self.path(b.id)))
        seen = any(branch.id == self.current for branch in kept)
        return Tree(kept, self.current if seen else parent)


@dataclass(frozen=True, slots=True)
class History:
    """The tree now, the trees before and after it, and the tokens of every branch there ever was.

    Tokens arrive while undo goes to and fro, so they stand beside the trees. An id is never used twice:
    tokens that come late cannot land in another branch.
    """

    tree: Tree
    texts: Mapping[int, tuple[int, ...]]
    past: tuple[Tree, ...] = ()
    future: tuple[Tree, ...] = field(default=())

    @classmethod
    def start(cls, seed: int) -> "History":
        """One text, number 0, with no tokens yet."""
        return cls(Tree((Branch(0, None, 0, None, seed),), 0), {0: ()})

    def branch(self, position: int, token: int | None, seed: int) -> "History":
        """Keep `position` tokens of the current text, force `token` behind them, and look at that branch.

        Raises InputError if the text is shorter, or if there are too many branches.
        """
        length = len(self.texts[self.tree.current])
        if type(position) is not int or not 0 <= position <= length:
            raise InputError(
                f"A branch must begin at a token from 1 to {length + 1:,}; got {show_value(position)}."
            )
        if len(self.texts) >= MAX_BRANCHES:
            raise InputError(f"There are {MAX_BRANCHES} branches already. Please press Run to begin anew.")
        made = Branch(len(self.texts), self.tree.current, position, token, seed)
        kept = self.texts[self.tree.current][:position] + (() if token is None else (token,))
        grown = replace(self, texts={**self.texts, made.id: kept})
        return grown._step(Tree((*self.tree.branches, made), made.id))

    def select(self, branch_id: int) -> "History":
        """Look at another branch."""
        found = self.tree.find(branch_id)
        return self if found.id == self.tree.current else self._step(replace(self.tree, current=found.id))

    def remove(self, branch_id: int) -> "History":
        """Take a branch away, with all that grew from it."""
        return self._step(self.tree.without(branch_id))

    def forced(self, branch_id: int) -> tuple[int, ...]:
        """The tokens a branch was given: what `RunRequest.forced` takes to write it (again)."""
        branch = self.tree.find(branch_id)
        return self.texts[branch_id][: branch.position + (branch.token is not None)]

    def with_text(self, branch_id: int, ids: tuple[int, ...]) -> "History":
        """The same with all tokens of a branch, which may be one that undo has hidden. No step of undo."""
        if branch_id not in self.texts:
            raise InputError(f"There is no branch {show_value(branch_id)} here.")
        return replace(self, texts={**self.texts, branch_id: ids})

    def undo(self) -> "History":
        """One step back; the same at the beginning."""
        if not self.past:
            return self
        return replace(self, tree=self.past[-1], past=self.past[:-1], future=(self.tree, *self.future))

    def redo(self) -> "History":
        """One step forward again; the same at the end."""
        if not self.future:
            return self
        return replace(self, tree=self.future[0], past=(*self.past, self.tree), future=self.future[1:])

    def _step(self, tree: Tree) -> "History":
        return replace(self, tree=tree, past=(*self.past, self.tree)[-MAX_STEPS:], future=())
