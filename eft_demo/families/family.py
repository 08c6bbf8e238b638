"""A loaded family: checkpoints by role, the shared vocabulary, prompt formats and stop tokens.

Reads the folders named in a family file and checks that they are complete and consistent. Knows files and
tokens; does not know how a model runs. Missing or damaged files raise a FamilyError with the file's name and
what to do.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE

from eft_demo.errors import FamilyError
from eft_demo.families import checkpoint as checkpoints
from eft_demo.families.catalogue import (
    AUTO_BOS,
    BUNDLED_FILE,
    EXAMPLES,
    Behaviour,
    Entry,
    Example,
    RoleEntry,
    find_entry,
    known_files,
)
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.files import is_file
from eft_demo.families.gguf_model import gguf_codec, gguf_token_bytes, gguf_vocabulary
from eft_demo.families.hub import cached_folder
from eft_demo.families.prompt import ChatTemplate, around, render_prompt
from eft_demo.families.server import NO_FILES
from eft_demo.families.tokens import Codec, read_codec
from eft_demo.families.vocabulary import compare_bytes, compare_vocabularies
from eft_demo.method.roles import LARGE_BASE, SMALL_BASE
from eft_demo.runs.conversation import Pair
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.text import without_surrogates
from eft_demo.settings import Settings


@dataclass(frozen=True, slots=True)
class Family:
    """Models that share a vocabulary. `token_bytes[id]` are a token's bytes, empty for control tokens."""

    name: str
    title: str
    licence: str
    roles: Mapping[str, Checkpoint]
    behaviours: tuple[Behaviour, ...]
    prompts: Mapping[str, PromptFormat]  # by role
    stop_ids: frozenset[int]  # every token that ends an answer for any role
    context: int  # tokens, prompt and answer together
    codec: Codec
    token_bytes: tuple[bytes, ...]  # only the ids that all roles share
    bos_id: int | None = None  # first token of every prompt that no chat template writes
    banned_ids: frozenset[int] = frozenset()  # control tokens other than stop tokens: never sampled
    templates: Mapping[str, ChatTemplate] = field(default_factory=dict)  # by role
    examples: tuple[Example, ...] = EXAMPLES
    captions: Mapping[str, str] = field(default_factory=dict)  # by role, as in the family file

    @property
    def vocab(self) -> int:
        """The number of token ids that all roles share."""
        return len(self.token_bytes)

    def captions_of(self, family: str) -> Mapping[str, str]:
        """The captions for a run of the family with that name: none, unless it is this one."""
        return self.captions if family == self.name else {}

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer shared by all roles."""
        return self.codec.tokenizer


def load_family(family: str | Entry, settings: Settings, folders: Mapping[str, Path] | None = None) -> Family:
    """Read a family whose files are local: in the assets, in folders or in the hub's cache.

    `folders` gives the folder of each role to include; default: all roles that are not optional. Raises
    FamilyError.
    """
    entry = find_entry(family, settings) if isinstance(family, str) else family
    where = local_folders(entry) if folders is None else folders
    roles = {role: _checkpoint(entry.roles[role], path, entry) for role, path in where.items()}
    codec, length = _vocabulary(entry, roles)
    for checkpoint in roles.values():
        if checkpoint.adapter_of is None:
            checkpoints.check(checkpoint, length)
        else:
            checkpoints.check_adapter(checkpoint, roles)
    stop_ids = _stop_ids(entry, roles, codec, length)
    token_bytes = codec.token_bytes[:length]
    templates = _templates(entry, roles)
    return Family(
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        roles=roles,
        behaviours=tuple(b for b in entry.behaviours if b.role in roles),
        prompts={role: entry.roles[role].prompt for role in roles},
        stop_ids=stop_ids,
        context=entry.context,
        codec=codec,
        token_bytes=token_bytes,
        bos_id=_bos_id(entry, codec),
        banned_ids=frozenset(i for i, piece in enumerate(token_bytes) if not piece) - stop_ids,
        templates=templates,
        examples=entry.examples,
        captions=entry.captions,
    )


def bundled_tokens(name: str, settings: Settings) -> tuple[bytes, ...]:
    """The token bytes of a bundled family, loaded or not; empty if it is missing or damaged."""
    path = known_files(settings).get(name)
    if path is None or path.name != BUNDLED_FILE:
        return ()
    try:
        entry = find_entry(name, settings)
        return read_codec(entry.file.parent / entry.tokenizer, entry.advice).token_bytes
    except FamilyError:
        return ()


def no_family() -> Family:
    """A family without models, for a page that only replays recorded runs."""
    tokenizer = Tokenizer(BPE())
    codec = Codec(tokenizer, tokenizer, (), {}, None)
    return Family("none", "No model", "", {}, (), {}, frozenset(), 0, codec, ())


def local_folders(entry: Entry, roles: Iterable[str] | None = None) -> dict[str, Path]:
    """The local folder of each role. Raises FamilyError for a repository that is not downloaded yet."""
    return {role: _local_folder(entry.roles[role]) for role in chosen_roles(entry, roles)}


def chosen_roles(entry: Entry, roles: Iterable[str] | None = None) -> tuple[str, ...]:
    """The requested roles, both bases and the models they are loaded with; default: all non-optional roles.

    Raises FamilyError for an unknown role.
    """
    wanted = dict.fromkeys((LARGE_BASE, SMALL_BASE, *(roles_for(entry) if roles is None else roles)))
    if unknown := [role for role in wanted if role not in entry.roles]:
        raise FamilyError(f"The family {entry.title} has no {unknown[0]}; it has {', '.join(entry.roles)}.")
    bases = dict.fromkeys(base for role in wanted if (base := entry.roles[role].loaded_with) in entry.roles)
    return tuple(role for role in entry.roles if role in wanted or role in bases)


def roles_for(entry: Entry, named: Collection[str] = ()) -> list[str]:
    """The roles to load for recipes that name these: of the optional ones, only the named."""
    return [role.role for role in entry.roles.values() if not role.optional or role.role in named]


def encode_prompt(
    family: Family,
    role: str,
    text: str,
    prompt_format: PromptFormat | None = None,
    turns: Sequence[Pair] = (),
    system: str = "",
) -> list[int]:
    """The token ids of the prompt with the question `text` for `role`, in its own or the given format.

    `turns` are earlier questions with their answers, `system` the system prompt of a chat format without one
    of its own. Control tokens typed in any of these stay text, and lone surrogates become U+FFFD. Raises
    FamilyError for an unknown role or a format that it cannot use.
    """
    if role not in family.roles:
        raise FamilyError(f"The family {family.title} has no {role}; it has {', '.join(family.roles)}.")
    chosen = family.prompts[role] if prompt_format is None else prompt_format
    rendered = render_prompt(chosen, family.templates.get(role), text, turns, system)
    ids = family.codec.encode_around(rendered.fixed, tuple(map(without_surrogates, rendered.texts)))
    # Chat templates write the bos token themselves if the model needs one.
    if chosen.kind != "chat" and family.bos_id is not None and ids[:1] != [family.bos_id]:
        ids.insert(0, family.bos_id)
    if strange := [token_id for token_id in ids if token_id >= family.vocab]:
        raise FamilyError(
            f"The prompt for {role} contains token {strange[0]}, which not all models of {family.title} "
            "know. Please choose the plain format for this role."
        )
    return ids


def _checkpoint(role: RoleEntry, folder: Path, entry: Entry) -> Checkpoint:
    """The checkpoint of a role, with the advice for damaged files."""
    if entry.bundled:
        advice = entry.advice
    elif role.repo is not None:
        # A snapshot folder only links to the files, which are stored next to it.
        snapshots = next((place for place in folder.parents if place.name == "snapshots"), None)
        cached = snapshots.parent if snapshots else folder
        advice = f"Please delete {cached} and start again to download it anew."
    else:
        what = "file" if role.is_gguf else "folder"
        advice = f"Please restore the file, or set another {what} in {entry.file}."
    return Checkpoint(role.role, folder, role.adapter_of, advice, role.repo or "", role.same_as, role.server)


def _local_folder(role: RoleEntry) -> Path:
    if role.server is not None:
        return NO_FILES
    if role.path is not None:
        return role.path
    folder = cached_folder(str(role.repo), role.revision, role.adapter_of is not None, role.gguf)
    if folder is None:
        raise FamilyError(
            f"{role.source}, the model {role.role}, is not downloaded yet. To download it, choose the family "
            "on the page or start the app with --family."
        )
    return folder


def _vocabulary(entry: Entry, roles: Mapping[str, Checkpoint]) -> tuple[Codec, int]:
    """The family's tokenizer, and the number of ids that all roles share."""
    owner = roles.get(entry.tokenizer)
    if owner is None:
        path, advice = entry.file.parent / entry.tokenizer, entry.advice
    else:
        path, advice = owner.path / "tokenizer.json", owner.advice
    is_rebuilt = owner is not None and owner.is_gguf
    codec = _rebuilt(owner) if owner is not None and is_rebuilt else read_codec(path, advice)
    vocabularies = {entry.tokenizer: codec.tokenizer.get_vocab(with_added_tokens=True)}
    seen = set() if is_rebuilt else {path.read_bytes()}
    token_bytes: dict[str, dict[int, bytes]] = {}  # of the GGUF files, by role
    for role, checkpoint in roles.items():
        other = checkpoint.path / "tokenizer.json"
        if checkpoint.is_gguf:
            vocabularies[role] = checkpoints.from_gguf(checkpoint, gguf_vocabulary)
            token_bytes[role] = checkpoints.from_gguf(checkpoint, gguf_token_bytes)
        # Adapters often have none, and most tokenizers of a family are the same file.
        elif owner is not None and is_file(other) and (content := other.read_bytes()) not in seen:
            seen.add(content)
            tokenizer = read_codec(other, checkpoint.advice).tokenizer
            vocabularies[role] = tokenizer.get_vocab(with_added_tokens=True)
    length = compare_vocabularies(vocabularies)
    for role, own in token_bytes.items():
        compare_bytes(entry.tokenizer, codec.token_bytes, role, own)
    return codec, length


def _rebuilt(checkpoint: Checkpoint) -> Codec:
    """The tokenizer of a GGUF file. Raises FamilyError if it is damaged or of an unknown kind."""
    file = checkpoints.open_gguf(checkpoint)
    try:
        return gguf_codec(file)
    except (KeyboardInterrupt, SystemExit, FamilyError):
        raise
    except BaseException as error:  # a panic of the library's Rust code is not an Exception
        raise checkpoints.damaged(checkpoint, error) from None


def _stop_ids(entry: Entry, roles: Mapping[str, Checkpoint], codec: Codec, length: int) -> frozenset[int]:
    """The stop tokens of the family file and of all roles, limited to the shared ids."""
    named: set[int] = set()
    for token in entry.stop:
        token_id = codec.tokenizer.token_to_id(token)
        if token_id is None:
            raise FamilyError(
                f"The stop token {token} of {entry.file} is not in the tokenizer. {entry.advice}"
            )
        named.add(token_id)
    if not entry.bundled:
        for checkpoint in roles.values():
            named |= checkpoints.stop_ids(checkpoint, codec)
    return frozenset(token_id for token_id in named if 0 <= token_id < length)  # -1 stands for none


def _templates(entry: Entry, roles: Mapping[str, Checkpoint]) -> dict[str, ChatTemplate]:
    """Every role's chat template. Raises FamilyError if it cannot render the role's own prompt.

    An adapter folder as PEFT writes it has no tokenizer, so it uses its base's template.
    """
    found = {role: checkpoints.chat_template(checkpoint) for role, checkpoint in roles.items()}
    for role, checkpoint in roles.items():
        if found[role] is None and checkpoint.adapter_of is not None:
            found[role] = found[checkpoint.adapter_of]
    for role in roles:
        try:
            around(entry.roles[role].prompt, found[role])
        except FamilyError as error:
            raise FamilyError(f"The prompt of {role} in {entry.file} cannot be used. {error}") from None
    return {
        role: replace(template, thinking=entry.roles[role].thinking)
        for role, template in found.items()
        if template is not None
    }


def _bos_id(entry: Entry, codec: Codec) -> int | None:
    if entry.bos is None:
        return None
    if entry.bos == AUTO_BOS:
        return codec.bos_id
    token_id = codec.tokenizer.token_to_id(entry.bos)
    if token_id is None:
        raise FamilyError(
            f"The bos token {entry.bos} of {entry.file} is not in the tokenizer. {entry.advice}"
        )
    return token_id
