"""The catalogue of families: finds, reads and checks family files before anything is loaded.

There is one file per family: shipped with the app (assets/families), next to its weights (assets/atlas), or
the user's own. Knows files and names; opens no weights and no network.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eft_demo.errors import FamilyError, InputError, RecipeError
from eft_demo.families.files import YAML, expand_home, is_file, yaml_files
from eft_demo.families.gguf import SUFFIX, is_gguf
from eft_demo.families.schema import Part, read_yaml
from eft_demo.families.server import Server
from eft_demo.method.recipe import Recipe, blend
from eft_demo.method.roles import LARGE_BASE, SMALL_BASE, SMALL_TUNED
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import ALPHA, AUTO_FAMILY, NO_FAMILY, Settings, server_url, show_value

TRAIN_AGAIN = "Please restore the file from the repository or run `python -m eft_demo train-atlas`."
CORRECT_IT = "Please correct the file; the files in assets/families show all entries."
TOP = (
    "title",
    "licence",
    "gated",
    "note",
    "recommended",
    "prompt",
    "bos",
    "stop",
    "context",
    "tokenizer",
    "roles",
    "behaviours",
    "examples",
    "captions",
)
ROLE = (
    "path",
    "repo",
    "same_as",
    "gguf",
    "url",
    "model",
    "revision",
    "licence",
    "adapter_of",
    "prompt",
    "thinking",
    "optional",
    "gated",
    "shape",
)
NF4 = "nf4"  # the only format of stored weights whose size is known before the download
# Where a role's weights may be.
PLACES = ({"path"}, {"repo"}, {"gguf"}, {"repo", "gguf"}, {"same_as"}, {"url"})
SHAPE = ("parameters", "width", "hidden", "layers", "kv_heads", "head_dim")
AUTO_BOS = "auto"
BUNDLED_FILE = "family.yaml"  # beside its weights
MAX_EXAMPLES, MAX_EXAMPLE_CHARS, MAX_CAPTION_CHARS = 8, 200, 80
EXAMPLE = ("prompt", "shows", "behaviour", "alpha", "holds")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt that the page offers, with what to look for; the settings that it needs.

    `holds` is for tests: by name of a column, a pattern that its text contains, or does not after a "!".
    """

    prompt: str
    shows: str = ""
    behaviour: str = ""  # empty: as it is
    alpha: float | None = None
    holds: Mapping[str, str] = field(default_factory=dict)


# For families whose file has none: questions that any language model can answer.
EXAMPLES = tuple(
    Example(prompt)
    for prompt in (
        "What is the capital of Peru?",
        "Why is the sky blue?",
        "Write two sentences about autumn.",
        "How does a bicycle stay upright?",
    )
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's size as given in the family file, for planning memory before the download."""

    parameters: int
    width: int  # rows of the embedding: the vocabulary plus padding
    hidden: int
    layers: int
    kv_heads: int  # heads in the KV cache
    head_dim: int
    tied: bool = False  # input and output embedding are one matrix
    stored_bytes: int = 2  # per parameter in the repository's files
    quantised: str = ""  # nf4 if the files hold 4-bit weights already


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """One role's checkpoint: in a folder, a GGUF file or a repository of the hub, that of another role, or
    one that a server runs.

    With `same_as`, one model plays both roles and only the prompts differ: a difference of two prompts can be
    a term of a recipe.
    """

    role: str
    path: Path | None  # a local folder or GGUF file
    repo: str | None  # a repository, such as Qwen/Qwen2.5-7B
    revision: str | None  # a commit; None = the newest
    adapter_of: str | None
    prompt: PromptFormat
    optional: bool  # loaded only on request
    gated: bool
    shape: Shape | None
    licence: str = ""  # as on its model card; empty = the family's
    same_as: str | None = None
    gguf: str = ""  # the GGUF file in its repository; empty = safetensors, or a local path
    thinking: bool = False  # what its chat template gets as enable_thinking
    server: Server | None = None  # runs the model, which then has no files here

    @property
    def loaded_with(self) -> str | None:
        """The role whose model this one needs: the base of an adapter, or the model that also plays it."""
        return self.adapter_of or self.same_as

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file, which llama.cpp runs."""
        return bool(self.gguf) or (self.path is not None and is_gguf(self.path))

    @property
    def source(self) -> str:
        """The repository with its short revision, the folder or file, the role that has the same model, or
        the server.
        """
        if self.server is not None:
            return f"{self.server.model or 'a model'} at {self.server.address}"
        if self.same_as is not None:
            return f"same as {self.same_as}"
        if self.repo is None:
            return str(self.path)
        name = f"{self.repo}/{self.gguf}" if self.gguf else self.repo
        return f"{name}@{self.revision[:7]}" if self.revision else name


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a small model was tuned to: its role in recipes, a title and a description."""

    role: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One family file, checked."""

    name: str
    file: Path
    bundled: bool  # its weights are in the assets, next to the file
    title: str
    licence: str
    note: str
    recommended: bool  # whether `--family auto` may choose it
    context: int  # tokens, prompt and answer together
    bos: str | None  # the first token of every plain prompt; `auto` = the one that the tokenizer adds
    stop: tuple[str, ...]  # tokens that end an answer, in addition to the checkpoints' own
    tokenizer: str  # a file in the family's folder, or the role whose tokenizer is used
    roles: Mapping[str, RoleEntry]
    behaviours: tuple[Behaviour, ...]
    examples: tuple[Example, ...]
    captions: Mapping[str, str]  # what to say below a column of one model, by role or `small_tuned`

    @property
    def gated(self) -> bool:
        """Whether a repository requires accepting its licence first."""
        return any(role.gated for role in self.roles.values())

    @property
    def pinned(self) -> bool:
        """Whether every repository is pinned to a commit. Local folders need no pin."""
        return all(role.revision for role in self.roles.values() if role.repo)

    @property
    def advice(self) -> str:
        """What to do about a file that is missing or damaged."""
        return TRAIN_AGAIN if self.bundled else CORRECT_IT


def list_entries(settings: Settings) -> tuple[Entry, ...]:
    """All families, bundled ones first. Raises FamilyError for an invalid file."""
    return tuple(map(_read_known, known_files(settings).values()))


def readable_entries(settings: Settings) -> tuple[Entry, ...]:
    """All families whose files are valid."""
    found = []
    for path in known_files(settings).values():
        with suppress(FamilyError):
            found.append(_read_known(path))
    return tuple(found)


def known_files(settings: Settings) -> dict[str, Path]:
    """The family files in the assets, by family name."""
    bundled = {path.parent.name: path for path in sorted(settings.assets.glob(f"*/{BUNDLED_FILE}"))}
    others = {path.stem: path for path in yaml_files(settings.assets / "families")}
    return {**bundled, **others}


def find_entry(name: str, settings: Settings) -> Entry:
    """Find a family by name or by the path of its file, whatever that is called. Raises FamilyError."""
    files = known_files(settings)
    if name in files:
        return _on_server(_read_known(files[name]), settings)
    path = expand_home(name)
    if (listed := _listed(path, files)) is not None:
        return _on_server(_read_known(listed), settings)
    if path.suffix.lower() in YAML or path.name != name or is_file(path):
        return _on_server(replace(read_entry(path), name=_own_name(path, files)), settings)
    if name == AUTO_FAMILY:
        raise FamilyError("Only the start of the app takes --family auto. Please name a family instead.")
    raise FamilyError(
        f"There is no family {name!r} in {settings.assets}; found: {', '.join(files) or 'none'}. "
        "Choose one of these with --family, or pass your own file with --family-file."
    )


def _on_server(entry: Entry, settings: Settings) -> Entry:
    """The family with its large base on the server of EFT_BASE_URL, if that is set. Raises FamilyError.

    Its own files are then not used, so the small base gives the tokenizer.
    """
    if not settings.base_url:
        return entry
    adapters = [role.role for role in entry.roles.values() if role.adapter_of == LARGE_BASE]
    if adapters:
        raise FamilyError(
            f"EFT_BASE_URL is set, but {adapters[0]} of {entry.title} is an adapter on {LARGE_BASE}, which "
            "must then be on this machine. Please choose another family, or unset EFT_BASE_URL."
        )
    server = Server(settings.base_url, settings.base_model)
    nowhere = {"path": None, "repo": None, "revision": None, "shape": None, "gguf": "", "gated": False}
    moved = {
        name: replace(role, server=server, **nowhere)  # type: ignore[arg-type]
        for name, role in entry.roles.items()
        if LARGE_BASE in (name, role.same_as)
    }
    roles = {**entry.roles, **moved}
    tokenizer = _tokenizer_role(roles) if entry.tokenizer in moved else entry.tokenizer
    return replace(entry, roles=roles, tokenizer=tokenizer)


def names(settings: Settings) -> dict[str, str]:
    """Every family's name -> what `find_entry` finds it by: its name, or the path given at the start."""
    files = known_files(settings)
    known = {name: name for name in files}
    if settings.family not in (*known, NO_FAMILY):
        known[_own_name(Path(settings.family), files)] = settings.family
    return known


def _listed(path: Path, files: Mapping[str, Path]) -> Path | None:
    """The family file of the assets that this path leads to; a bundled one is no file of one's own."""
    if not is_file(path):
        return None
    return next((file for file in files.values() if file.exists() and file.samefile(path)), None)


def _own_name(path: Path, files: Mapping[str, Path]) -> str:
    """What a user's own family is called: a name that no family in the assets has."""
    return f"{path.stem} (own file)" if path.stem in files else path.stem


def _read_known(path: Path) -> Entry:
    """Read a file of `known_files`, among which those of bundled families have a name of their own."""
    return read_entry(path, bundled=path.name == BUNDLED_FILE)


def read_entry(path: Path, bundled: bool = False) -> Entry:
    """Read and check one family file. Raises FamilyError naming the line and what to do."""
    root = read_yaml(path, TRAIN_AGAIN if bundled else CORRECT_IT)
    top = root.table(TOP, ("title", "licence", "context", "roles", "behaviours"))
    roles = _roles(top["roles"], _prompt(top["prompt"]) if "prompt" in top else None, path.parent)
    behaviours = _behaviours(top["behaviours"], roles)
    _check_placeholder(top["roles"].parts, behaviours)
    tokenizer = _tokenizer(top, roles, path.parent, bundled)
    return Entry(
        name=path.parent.name if bundled else path.stem,
        file=path,
        bundled=bundled,
        title=top["title"].expect(str),
        licence=top["licence"].expect(str),
        note=_optional(top, "note", str, ""),
        recommended=_optional(top, "recommended", bool, False),
        context=top["context"].expect(int, low=16),
        bos=_bos(top, bundled),
        stop=top["stop"].texts() if "stop" in top else (),
        tokenizer=tokenizer,
        roles=roles,
        behaviours=behaviours,
        examples=_examples(top, [behaviour.role for behaviour in behaviours]),
        captions=_captions(top, roles),
    )


def _roles(part: Part, default: PromptFormat | None, folder: Path) -> dict[str, RoleEntry]:
    """The roles by name; `default` is the family's prompt, for roles that have none."""
    part.expect(dict)
    roles = {str(role): _role(str(role), inner, default, folder) for role, inner in part.parts.items()}
    if not {LARGE_BASE, SMALL_BASE} <= set(roles):
        raise part.error(f"A family needs the roles {LARGE_BASE} and {SMALL_BASE}.")
    return {str(role): _with_base(roles[str(role)], inner, roles) for role, inner in part.parts.items()}


def _behaviours(part: Part, roles: Mapping[str, RoleEntry]) -> tuple[Behaviour, ...]:
    part.expect(list)
    behaviours = tuple(_behaviour(inner, roles) for inner in part.parts.values())
    if not behaviours:
        raise part.error("A family needs at least one behaviour.")
    if all(roles[behaviour.role].optional for behaviour in behaviours):
        raise part.error("A family needs a behaviour whose role is not optional.")
    return behaviours


def _tokenizer(top: Mapping[str, Part], roles: Mapping[str, RoleEntry], folder: Path, bundled: bool) -> str:
    """A file in the family's folder, or the role whose tokenizer is used."""
    default = "tokenizer.json" if bundled else _tokenizer_role(roles)
    tokenizer: str = _optional(top, "tokenizer", str, default)
    if not bundled and tokenizer not in roles and not is_file(folder / tokenizer):
        raise top["tokenizer"].error(
            f"tokenizer must be one of the roles or a file in the same folder; {tokenizer!r} is neither."
        )
    return tokenizer


def _check_placeholder(roles: Mapping[str, Part], behaviours: Sequence[Behaviour]) -> None:
    """A model of the placeholder's name can only be what it stands for. Raises FamilyError."""
    other = next((behaviour.role for behaviour in behaviours if behaviour.role != SMALL_TUNED), None)
    if SMALL_TUNED in roles and other is not None:
        raise roles[SMALL_TUNED].error(
            f"{SMALL_TUNED} stands for the chosen behaviour in every recipe, so beside the behaviour {other} "
            "no recipe could name this model. Please rename the role."
        )


def _examples(top: Mapping[str, Part], behaviours: Sequence[str]) -> tuple[Example, ...]:
    if "examples" not in top:
        return EXAMPLES
    top["examples"].expect(list)
    examples = tuple(_example(part, behaviours) for part in top["examples"].parts.values())
    longest = max((len(text) for example in examples for text in (example.prompt, example.shows)), default=0)
    if not 1 <= len(examples) <= MAX_EXAMPLES or longest > MAX_EXAMPLE_CHARS:
        raise top["examples"].error(
            f"A family may have 1 to {MAX_EXAMPLES} examples of up to {MAX_EXAMPLE_CHARS} characters."
        )
    return examples


def _example(part: Part, behaviours: Sequence[str]) -> Example:
    """A prompt, or a table with what it shows and the settings that it needs."""
    if not isinstance(part.value, dict):
        return Example(part.expect(str))
    entries = part.table(EXAMPLE, ("prompt",))
    behaviour = _optional(entries, "behaviour", str, "")
    if behaviour and behaviour not in behaviours:
        raise entries["behaviour"].error(f"{show_value(behaviour)} is none of the family's behaviours.")
    alpha = entries["alpha"].value if "alpha" in entries else None
    if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, (int, float))):
        raise entries["alpha"].error("The alpha of an example must be a number.")
    if alpha is not None and not ALPHA.low <= alpha <= ALPHA.high:
        raise entries["alpha"].error(f"The alpha of an example is from {ALPHA.low:g} to {ALPHA.high:g}.")
    if "holds" in entries:
        entries["holds"].expect(dict)
    holds = entries["holds"].parts if "holds" in entries else {}
    return Example(
        prompt=entries["prompt"].expect(str),
        shows=_optional(entries, "shows", str, ""),
        behaviour=behaviour,
        alpha=alpha,
        holds={str(column): text.expect(str) for column, text in holds.items()},
    )


def _captions(top: Mapping[str, Part], roles: Mapping[str, RoleEntry]) -> dict[str, str]:
    if "captions" not in top:
        return {}
    captions = {}
    for role, part in top["captions"].table((*roles, SMALL_TUNED)).items():
        captions[str(role)] = part.expect(str)
        if len(part.value) > MAX_CAPTION_CHARS:
            raise part.error(f"A caption may have up to {MAX_CAPTION_CHARS} characters.")
    return captions


def _role(role: str, part: Part, default: PromptFormat | None, folder: Path) -> RoleEntry:
    """Parse `role: folder` or `role: {repo: owner/name, ...}`."""
    try:
        Recipe(role)
    except RecipeError as error:
        raise part.error(f"{part.name} cannot be used in a recipe. {error}") from None
    table: Mapping[str, Part] = {"path": part} if isinstance(part.value, str) else part.table(ROLE)
    gguf = _gguf(table)
    if {"path", "repo", "gguf", "same_as", "url"} & table.keys() not in PLACES:
        raise part.error(
            f"{part.name} needs one of these: a repo (owner/name), the path of a folder, a gguf file (alone "
            "or with its repo), the url of a server, or same_as (a role)."
        )
    prompt = _prompt(table["prompt"]) if "prompt" in table else default
    if prompt is None:
        raise part.error(f"{part.name} has no prompt, and the family has none either. Please add one.")
    local = table.get("path") or (None if "repo" in table else table.get("gguf"))
    path = (folder / expand_home(local.expect(str))) if local else None
    repo = table["repo"].expect(str) if "repo" in table else None
    if repo is not None and repo.count("/") != 1:
        raise table["repo"].error(f"{part.name}.repo must be owner/name; it is {show_value(repo)}.")
    return RoleEntry(
        role=role,
        path=path,
        repo=repo,
        revision=_optional(table, "revision", str, None),
        adapter_of=_optional(table, "adapter_of", str, None),
        prompt=prompt,
        optional=_optional(table, "optional", bool, False),
        gated=_optional(table, "gated", bool, False),
        shape=_shape(table["shape"]) if "shape" in table else None,
        licence=_optional(table, "licence", str, ""),
        same_as=_optional(table, "same_as", str, None),
        gguf=gguf if repo is not None else "",
        thinking=_thinking(table, prompt),
        server=_server(table),
    )


def _server(table: Mapping[str, Part]) -> Server | None:
    """The server that runs a role's model, if one does."""
    model = _optional(table, "model", str, "")
    if "url" not in table:
        if model:
            raise table["model"].error(f"{table['model'].name} is a name on a server. Please add its url.")
        return None
    if "adapter_of" in table:
        raise table["adapter_of"].error("A model on a server cannot be an adapter of one that is here.")
    try:
        return Server(server_url(table["url"].name, table["url"].expect(str)), model)
    except InputError as error:
        raise table["url"].error(str(error)) from None


def _thinking(table: Mapping[str, Part], prompt: PromptFormat) -> bool:
    """Whether the role's chat template is asked for thinking."""
    if "thinking" in table and prompt.kind != "chat":
        raise table["thinking"].error(
            f"{table['thinking'].name} is for chat templates, and the prompt of this role is "
            f"{prompt.kind}. Please add `prompt: chat`, or leave it out."
        )
    return bool(_optional(table, "thinking", bool, False))


def _gguf(table: Mapping[str, Part]) -> str:
    """The name of a role's GGUF file, or "" if it is none."""
    name: str = table["gguf"].expect(str) if "gguf" in table else ""
    outside = "repo" in table and (name.startswith("/") or "\\" in name or ".." in name.split("/"))
    if name and (not name.lower().endswith(SUFFIX) or outside):
        raise table["gguf"].error(
            f"{table['gguf'].name} must be the name of a {SUFFIX} file; it is {name!r}."
        )
    return name


def _tokenizer_role(roles: Mapping[str, RoleEntry]) -> str:
    """The role whose tokenizer is used: the first base with a tokenizer file, which a GGUF file lacks.

    Or else the first whose files are here.
    """
    here = [role for role in (LARGE_BASE, SMALL_BASE) if roles[role].server is None]
    return next((role for role in here if not roles[role].is_gguf), [*here, LARGE_BASE][0])


def _with_base(role: RoleEntry, part: Part, roles: Mapping[str, RoleEntry]) -> RoleEntry:
    """The role with the files of its model, if another role has the same one.

    Raises FamilyError unless the base of an adapter, or the model of `same_as`, is a full model.
    """
    if role.loaded_with is None:
        return role
    base, key = roles.get(role.loaded_with), "adapter_of" if role.adapter_of else "same_as"
    if base is None or base.loaded_with is not None:
        models = ", ".join(name for name, other in roles.items() if other.loaded_with is None)
        raise part.parts[key].error(
            f"The {key} of {role.role} is {role.loaded_with!r}, which is not a full model of this "
            f"family. Please choose one of {models}."
        )
    if base.server is not None and role.adapter_of is not None:
        raise part.parts[key].error(
            f"{role.role} cannot be an adapter of {base.role}, which runs on a server. Please let the server "
            "apply the adapter, and give this role its url and model."
        )
    if base.is_gguf or role.is_gguf:
        raise part.parts[key].error(
            f"{role.role} cannot share a model with {base.role}, because adapters, their bases and models in "
            "two roles must not be GGUF files. Please merge an adapter into its base and convert the result "
            "to GGUF (docs/models.md shows how)."
        )
    if role.same_as is None:
        return role
    if role.adapter_of is not None:
        raise part.parts["same_as"].error(f"{role.role} cannot be both an adapter and the same as a model.")
    same = {"path": base.path, "repo": base.repo, "revision": base.revision, "licence": base.licence}
    return replace(role, **same, shape=base.shape, gated=base.gated, server=base.server)  # type: ignore[arg-type]


def _shape(part: Part) -> Shape:
    table = part.table((*SHAPE, "tied", "stored_bytes", "quantised"), SHAPE)
    numbers = {name: table[name].expect(int, low=1) for name in (*SHAPE, "stored_bytes") if name in table}
    quantised = _optional(table, "quantised", str, "")
    if quantised not in ("", NF4):
        raise table["quantised"].error(f"quantised can only be {NF4}, not {show_value(quantised)}.")
    return Shape(**numbers, tied=_optional(table, "tied", bool, False), quantised=quantised)


def _prompt(part: Part) -> PromptFormat:
    """Parse a text with {prompt}, `chat`, or a table `{kind: few-shot, text: ...}`."""
    try:
        if isinstance(part.value, str):
            return PromptFormat("chat", "") if part.value == "chat" else PromptFormat("plain", part.value)
        table = part.table(("kind", "text"), ("kind",))
        return PromptFormat(table["kind"].expect(str), _optional(table, "text", str, ""))
    except InputError as error:
        raise part.error(str(error)) from None


def _behaviour(part: Part, roles: Mapping[str, RoleEntry]) -> Behaviour:
    table = part.table(("role", "title", "description"), ("role", "title", "description"))
    role = table["role"].expect(str)
    if role not in roles:
        known = ", ".join(roles)
        raise table["role"].error(f"The behaviour {show_value(role)} is not one of the roles {known}.")
    try:
        blend([role])  # checks the name of its slider
    except RecipeError as error:
        raise table["role"].error(f"{show_value(role)} is too long for a behaviour. {error}") from None
    return Behaviour(role, table["title"].expect(str), table["description"].expect(str))


def _bos(top: Mapping[str, Part], bundled: bool) -> str | None:
    if "bos" not in top:
        return None if bundled else AUTO_BOS
    return None if top["bos"].value is None else str(top["bos"].expect(str))


def _optional(table: Mapping[str, Part], key: str, kind: type, default: Any) -> Any:
    """The entry, or the default if it is missing or null."""
    return table[key].expect(kind) if key in table and table[key].value is not None else default
