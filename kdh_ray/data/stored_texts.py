"""Texts that stay in their files: a million documents are read block by block whenever they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.text_blocks import TextBlock, read_documents


class StoredTexts(Sequence[str]):
    """Texts of some documents of files, one block of them in memory at a time. Reading in order takes one pass.

    Pickled, they become a list: another machine may not have the files.

    Args:
        blocks: All blocks of the files, in order.
        text_column: Column of the text.
        rows: (n_texts,) numbers of the documents in the blocks together, from 0, in ascending order.
    """

    def __init__(self, blocks: Sequence[TextBlock], text_column: str, rows: NDArray[np.int64]) -> None:
        self._blocks, self._text_column, self._rows = blocks, text_column, rows
        self._starts = np.cumsum([0, *(block.count for block in blocks)])  # block i: [starts[i], starts[i + 1])
        self._number = -1  # of the block that is in memory
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (self._text(int(row)) for row in self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._text(int(row)) for row in self._rows[index]]
        return self._text(int(self._rows[index]))

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _text(self, row: int) -> str:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if number != self._number:
            self._texts = read_documents(self._blocks[number], self._text_column, None).texts
            self._number = number
        return self._texts[row - int(self._starts[number])]
