"""Reads a YAML file and remembers the line of each value, so that errors can name it.

Knows files and types; does not know what a family is.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eft_demo.errors import FamilyError
from eft_demo.families.files import MAX_YAML_BYTES, read_text
from eft_demo.settings import show_value

MAX_ENTRIES = 5_000
HALF = re.compile("[\ud800-\udfff]")  # YAML can write one as "\\ud83d"
MERGE, TEXT, BOOL, INT, FLOAT = (  # merge: the key <<
    f"tag:yaml.org,2002:{kind}" for kind in ("merge", "str", "bool", "int", "float")
)
KIND_NAMES: Mapping[type[Any], str] = {
    str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table of entries"
}  # fmt: skip


class _Loader(yaml.SafeLoader):
    """YAML as people write it: every name of an entry is a text, and only true and false are booleans.

    YAML 1.1 also reads on, off, yes and no as booleans, so that a role `on` would be called True, and numbers
    in what people write as text: 12:30 would be 750, and 007 or 0x7 would be 7.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, INT, FLOAT)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        assert isinstance(node, yaml.MappingNode)
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag != MERGE:
                name.tag = TEXT
        return node


_Loader.add_implicit_resolver(BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(INT, re.compile("[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"(?:[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A value of a YAML file: plain data, its place in the file, and the advice for errors."""

    value: Any
    line: int  # 1 is the first
    path: Path
    name: str  # such as roles.large_base.repo
    advice: str
    parts: Mapping[Any, "Part"]  # of a table by key, of a list by index

    def error(self, problem: str) -> FamilyError:
        """An error that names the file, the line, the problem and what to do."""
        return FamilyError(f"{self.path}, line {self.line}: {problem} {self.advice}".strip())

    def table(self, known: Collection[str], required: Collection[str] = ()) -> Mapping[str, "Part"]:
        """The entries of a table. Raises FamilyError for an unknown or missing key."""
        self.expect(dict)
        for key, part in self.parts.items():
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f"Did you mean {near[0]}?" if near else f"Known entries: {', '.join(known)}."
                raise part.error(f"{show_value(key)} is not a known entry of {self.name}. {hint}")
        if missing := [key for key in required if key not in self.parts]:
            raise self.error(f"{self.name} has no {missing[0]}. Please add it.")
        return self.parts

    def expect(self, kind: type[Any], low: int = 0) -> Any:
        """Return the value if it has this type. Texts must not be empty, numbers not below `low`.

        Raises FamilyError.
        """
        value: Any = self.value
        if value is None:
            raise self.error(f"{self.name} is empty; it must be {KIND_NAMES[kind]}.")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{self.name} must be {KIND_NAMES[kind]}; it is {show_value(value)}.")
        if kind is str and not value.strip():
            raise self.error(f"{self.name} is empty.")
        if kind is int and value < low:
            raise self.error(f"{self.name} must be at least {low}; it is {value}.")
        return value

    def texts(self) -> tuple[str, ...]:
        """The value as a list of texts."""
        self.expect(list)
        return tuple(part.expect(str) for part in self.parts.values())


def read_yaml(path: Path, advice: str) -> Part:
    """Read the whole file. Raises FamilyError, with the line, if it cannot be read or is not valid YAML."""
    try:
        text = read_text(path, MAX_YAML_BYTES)
        root, value = yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)
        if root is not None:
            return _part(root, value, path, "the file", advice, [MAX_ENTRIES])
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise FamilyError(f"{path}, line {line}: this is not YAML ({error.problem}). {advice}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FamilyError(
            f"{path}, line {line}: it contains the invisible character U+{int(error.character):04X}, "
            f"which no YAML file may have. {advice}"
        ) from None
    except RecursionError:
        raise FamilyError(
            f"{path} has an entry that contains itself or is nested too deeply. {advice}"
        ) from None
    # Constructors of dates, numbers etc. raise Python's own exceptions.
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise FamilyError(f"{path} cannot be read ({reason}). {advice}") from None
    raise FamilyError(f"{path} is empty. {advice}")


def _part(node: yaml.Node, value: Any, path: Path, name: str, advice: str, left: list[int]) -> Part:
    """`left` limits the number of entries, because a few lines of nested aliases expand to millions."""
    left[0] -= 1
    line = node.start_mark.line + 1
    if left[0] < 0:
        raise FamilyError(
            f"{path}, line {line}: with its aliases (*name) expanded, the file has more than {MAX_ENTRIES:,} "
            f"entries. {advice}"
        )
    parts: dict[Any, Part] = {}
    prefix = "" if name == "the file" else f"{name}."
    kind = {yaml.MappingNode: dict, yaml.SequenceNode: list}.get(type(node))
    if kind is not None and not isinstance(value, kind):
        raise FamilyError(f"{path}, line {line}: {name} has the unsupported tag {node.tag}. {advice}")
    if isinstance(node, yaml.MappingNode):
        if len(node.value) != len(value):
            raise FamilyError(f"{path}, line {_lost_entry(node, prefix)} {advice}")
        for (key_node, value_node), key in zip(node.value, value, strict=True):
            _check_whole(key, key_node, path, f"a name in {name}", advice)
            # Use the line of the key, where an unknown or empty entry is easiest to find.
            child = _part(value_node, value[key], path, f"{prefix}{str(key)[:40]}", advice, left)
            parts[key] = Part(
                child.value, key_node.start_mark.line + 1, path, child.name, advice, child.parts
            )
    elif isinstance(node, yaml.SequenceNode):
        for index, (item, inner) in enumerate(zip(node.value, value, strict=True)):
            parts[index] = _part(item, inner, path, f"{prefix}{index + 1}", advice, left)
    _check_whole(value, node, path, name, advice)
    return Part(value, line, path, name, advice, parts)


def _check_whole(value: Any, node: yaml.Node, path: Path, name: str, advice: str) -> None:
    if isinstance(value, str) and HALF.search(value):
        raise FamilyError(
            f"{path}, line {node.start_mark.line + 1}: {name} has half of a surrogate "
            f"pair, which is no text. {advice}"
        )


def _lost_entry(node: yaml.MappingNode, prefix: str) -> str:
    """The line and name of an entry that is in a table twice, or that stands for those of another table."""
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line, shown = key.start_mark.line + 1, f"{prefix}{str(key.value)[:40]}"
        if key.tag == MERGE:
            return f"{line}: {shown} merges another table, which is not supported. Please write its entries."
        if (same := (key.tag, str(key.value))) in seen:
            return f"{line}: {shown} is there twice, first in line {seen[same]}."
        seen[same] = line
    return (
        f"{node.start_mark.line + 1}: two entries of {prefix.rstrip('.') or 'the file'} have the same name."
    )
