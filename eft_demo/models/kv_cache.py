"""The KV cache: rows of different lengths without padding, which join and leave; rollback sets a length.

Rows are kept dense (the last row moves into a gap), so that all rows of a step are one view of the storage
rather than a gather. Several models of the same shape may share a cache, each with its own section; sections
follow each other without a gap. Knows no token ids and no library: the code that runs a forward calls `begin`
before it, `write` in each layer and `commit` after it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from eft_demo.models.protocol import SavedRow, Slot

FIRST_ROWS = 4  # storage starts with this many rows and doubles
CPU = torch.device("cpu")


class SlotCache:
    """Storage (slots, context, 2, kv_heads, head_dim) per layer and the handles of the rows in use.

    Each token's keys and values are contiguous within a layer, so that one copy writes a whole block.
    `devices` gives each layer's device (default: the CPU); tokens enter on the first one.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        context: int,
        dtype: torch.dtype,
        devices: Sequence[torch.device] = (),
        sections: int = 1,
    ) -> None:
        self.context, self.dtype = context, dtype
        self.devices = tuple(devices) or (CPU,) * layers
        shape = (FIRST_ROWS, context, 2, kv_heads, head_dim)
        # One tensor per layer, so that layers can be on different devices and growing copies one at a time.
        self.store = [torch.zeros(shape, dtype=dtype, device=device) for device in self.devices]
        # Views prepared in advance: for a tiny model, creating a view costs as much as an addition.
        self._by_token = [_by_token(store) for store in self.store]
        self._by_head = [_by_head(store) for store in self.store]
        self.growths = 0  # how often a layer's storage has moved
        self.slots: list[Slot] = []
        self._sizes = [0] * sections  # rows in each
        # Set by begin():
        self.rows: slice | Tensor = slice(0, 0)  # which storage rows the forward reads
        self.positions = torch.zeros(0, 1, dtype=torch.int64)  # (rows, block)
        self._places: dict[torch.device, tuple[slice | Tensor, Tensor]] = {}  # rows, and the block's places
        self.end = 0  # length of the longest row after the block

    def join(self, section: int = 0) -> Slot:
        """Add an empty row at the end of the section. If this raises, all other rows are unchanged."""
        end = len(self.slots)
        if end == len(self.store[-1]):
            self._grow(end)
        slot = Slot(end)
        self.slots.append(slot)
        self._sizes[-1] += 1
        try:
            for later in reversed(range(section + 1, len(self._sizes))):
                self._change_places(slot, slot.index + 1 - self._sizes[later])
                self._hand_over(later, later - 1)
            for store in self.store:
                # A NaN left by an earlier row would get past the mask (0 * NaN), so clear the row.
                store[slot.index].zero_()
        except BaseException:
            self.leave(slot)
            raise
        return slot

    @torch.inference_mode(False)  # a tensor made in inference mode can only be written to in that mode
    def _grow(self, rows: int) -> None:
        """Double the storage. If a layer runs out of memory, the next call continues with that layer."""
        for layer, store in enumerate(self.store):
            if rows == len(store):
                self.store[layer] = grown = torch.cat([store, torch.zeros_like(store)])
                self._by_token[layer], self._by_head[layer] = _by_token(grown), _by_head(grown)
                self.growths += 1
        if any(device.type == "cuda" for device in self.devices):
            torch.cuda.empty_cache()  # the old storage, which torch would keep for tensors of its size

    def leave(self, slot: Slot) -> None:
        """Free the row. The last row of its section takes its place, and likewise in the sections after it.

        If this raises, all other rows are unchanged and it may be called again. Freeing a free row does
        nothing.
        """
        if slot.index < 0:
            return
        end = 0
        for section, size in enumerate(self._sizes):
            end += size
            if slot.index < end:
                # Move it to the end of its section, then into the next one: rows stay in order throughout.
                self._change_places(slot, end - 1)
                if section + 1 < len(self._sizes):
                    self._hand_over(section, section + 1)
                    end -= 1
        self._sizes[-1] -= 1
        self.slots.pop()
        slot.index = -1

    def reset(self) -> None:
        """Free every row."""
        for slot in self.slots:
            slot.index = -1
        self.slots.clear()
        self._sizes = [0] * len(self._sizes)

    def _change_places(self, slot: Slot, target: int) -> None:
        """Swap a row whose content may be lost with the row at `target`, which keeps its content."""
        source, other = slot.index, self.slots[target]
        if other is not slot:
            for store in self.store:
                store[source] = store[target]
            self.slots[source], self.slots[target] = other, slot
            other.index, slot.index = source, target

    def _hand_over(self, section: int, neighbour: int) -> None:
        """Reassign the row on the border between two sections to the neighbouring one."""
        self._sizes[section] -= 1
        self._sizes[neighbour] += 1

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Copy the keys and values of `source` to `target`."""
        n = source.length
        for store in self.store:
            store[target.index, :n] = store[source.index, :n]
        target.length = n

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """Copy the row's keys and values to CPU memory; None if they take more than `most_bytes`."""
        size = slot.length * sum(store[0, 0].nbytes for store in self.store)
        if size > most_bytes:
            return None
        content = [store[slot.index, : slot.length].to(CPU, copy=True) for store in self.store]
        return SavedRow(content, size, slot.length)

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens."""
        for store, kept in zip(self.store, saved.content, strict=True):
            store[slot.index, :length] = kept[:length]
        slot.length = length

    def begin(self, slots: Sequence[Slot], block: int) -> Tensor | None:
        """Prepare to append `block` tokens to each row; return the attention mask.

        The mask is bool (rows, 1, block, end), True where a token may attend, or None for everywhere.
        Raises ValueError if a row would outgrow the context; the engine ends rows before that.
        """
        lengths = [slot.length for slot in slots]
        indices = [slot.index for slot in slots]
        self.end = max(lengths) + block
        if self.end > self.context:
            raise ValueError(f"a row of {self.end} tokens exceeds the context of {self.context}")
        start, count = indices[0], len(indices)
        dense = indices == list(range(start, start + count))
        rows = slice(start, start + count) if dense else torch.tensor(indices)
        steps = range(block)
        firsts = [slot.index * self.context + slot.length for slot in slots]
        # (rows * block,) indices into slots and context as one dimension
        places = torch.tensor([first + step for first in firsts for step in steps])
        self._places = {
            device: (rows if isinstance(rows, slice) else rows.to(device), places.to(device))
            for device in dict.fromkeys(self.devices)
        }
        self.rows = self._places[self.devices[0]][0]
        positions = torch.tensor([[length + step for step in steps] for length in lengths])
        self.positions = positions.to(self.devices[0])  # (rows, block)
        if block == 1 and min(lengths) == max(lengths):
            return None
        return self._causal_mask()

    def begin_at(self, rows: slice, positions: Tensor, places: Tensor, end: int) -> Tensor:
        """Like `begin`, with tensors that are on the only device already, where a graph reads them again.

        `positions` is (rows, block), `places` (rows * block,) as in `begin`, and `end` at least the longest
        row after the block.
        """
        self._places = dict.fromkeys(self.devices, (rows, places))
        self.rows, self.positions, self.end = rows, positions, end
        return self._causal_mask()

    def _causal_mask(self) -> Tensor:
        keys = torch.arange(self.end, device=self.positions.device)
        return keys <= self.positions[:, None, :, None]

    def write(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values (rows * block, 2, kv_heads, head_dim) of one layer at the rows' positions.

        Returns the rows' keys and values, each (rows, kv_heads, end, head_dim).
        """
        rows, places = self._places[self.devices[layer]]
        self._by_token[layer].index_copy_(0, places, new)
        keys, values = self._by_head[layer][:, rows, :, : self.end].unbind(0)
        return keys, values

    def commit(self, slots: Sequence[Slot], block: int) -> None:
        """Count the block as part of the rows, after the forward succeeded."""
        for slot in slots:
            slot.length += block


def _by_token(store: Tensor) -> Tensor:
    return store.flatten(0, 1)  # (slots * context, 2, kv_heads, head_dim)


def _by_head(store: Tensor) -> Tensor:
    return store.permute(2, 0, 3, 1, 4)  # (2, slots, kv_heads, context, head_dim)
