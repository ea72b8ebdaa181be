"""A column of cells that list labels, read as a whole: one cell doesn't show what its numbers and separators mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.label_cells import MULTI_HOT, CellError, check_labels, is_plain_text, list_items, says_missing
from kdh_ray.data.label_separators import find_separator
from kdh_ray.data.label_surplus import surplus
from kdh_ray.data.messages import Faults

_NUMBER = re.compile(r"\d{1,9}(\.0)?")
_BITS = re.compile(r"[01]{2,}")
_BINARY_WORDS = ({"0", "1"}, {"0.0", "1.0"}, {"yes", "no"}, {"true", "false"}, {"y", "n"}, {"x"})
MISSING = "must hold labels, or an empty list (see data.missing); missing or NaN"


@dataclass
class LabelColumn:
    """Cells of one column, in which numbers, separators and missing values have one meaning.

    Attributes:
        column: Its name.
        data: Says what separates labels, and what missing cells mean.
        names: Names of all labels, in the order to which numbers refer; empty if they are not known.
        faults: Receives what is wrong.
        note: How numbers were read; empty where there are none.
    """

    column: str
    data: DataConfig
    names: Sequence[str]
    faults: Faults
    note: str = ""
    _missing: int = 0  # cells that were read as no label, or without an item of theirs

    def read(self, rows: Sequence[str], cells: Sequence[Any]) -> list[list[str] | None]:
        """Return the labels of each cell as they are written, or None where its document is to be dropped.

        Args:
            rows: Names of the cells' rows, for messages. Cells of a document's parts have the same.
            cells: The cells.
        """
        items = [self._items(row, cell) for row, cell in zip(rows, cells, strict=True)]
        listed = [each for each in items if each]
        named = self._named_numbers(rows, items) if self.names else items
        if not self.names and _is_multi_hot_column(listed):
            self._refuse_numbers(rows, items)
            return [[] for _ in rows]
        labels = [self._labels(row, each) for row, each in zip(rows, named, strict=True)]
        self._check_separator(
            [(row, each) for row, cell, each in zip(rows, cells, items, strict=True) if each and is_plain_text(cell)]
        )
        self._check_words(labels)
        self._check_names(labels)
        return self._whole_numbers(labels)

    def warnings(self) -> list[str]:
        """Return a line for each thing that a reader of the column may not expect."""
        line = f"column {self.column!r}: cells with a missing value, read as no label: {self._missing}"
        return [line] if self._missing else []

    def _fault(self, rule: str, row: str, needs_form: bool = True) -> None:
        hint = (
            f"""a cell lists labels as ["a", "b"], or as names with {self.data.label_separator!r} between them """
            "(data.label_separator)"
        )
        self.faults.add(f"column {self.column!r}: {rule}", row, hint if needs_form else "")

    def _items(self, row: str, cell: Any) -> list[Any] | None:
        """Return what a cell lists, without missing items; None where its document is to be dropped."""
        drop, negative = self.data.missing == "drop", self.data.missing == "negative"
        if self._is_missing(cell):
            if not drop and not negative:
                self._fault(MISSING, row, False)
            self._missing += negative
            return None if drop else []
        if drop and isinstance(cell, str) and not cell.strip():
            return None
        try:
            items = list_items(cell, self.data.label_separator)
        except CellError as error:
            self._fault(str(error), row)
            return []
        present = [item for item in items if not self._is_missing(item)]
        if len(present) == len(items):
            return items
        if drop:
            return None
        if negative:
            self._missing += 1
            return present
        rule = "labels must be non-empty strings" if None in items else MISSING
        self._fault(rule, row, False)
        return []

    def _is_missing(self, value: Any) -> bool:
        return says_missing(value) and not (isinstance(value, str) and value.strip() in self.names)

    def _labels(self, row: str, items: list[Any] | None) -> list[str] | None:
        if items is None:
            return None
        try:
            return check_labels(items)
        except CellError as error:
            self._fault(str(error), row)
            return []

    def _named_numbers(self, rows: Sequence[str], items: Sequence[list[Any] | None]) -> list[list[Any] | None]:
        """Return the items with numbers turned into names, unless names are numbers themselves."""
        if any(_NUMBER.fullmatch(name) for name in self.names):
            return list(items)
        bits = [_split_bits(each, len(self.names)) for each in items]
        listed = [each for each in bits if each and all(map(_is_number, each))]
        is_multi_hot = all(len(each) == len(self.names) and _are_digits(each) for each in listed)
        if listed:
            meaning = "0 and 1 for each of" if is_multi_hot else "places, counted from 0, in"
            self.note = f"column {self.column!r}: numbers are {meaning} data.label_names"
        return [self._named(row, each, is_multi_hot) for row, each in zip(rows, bits, strict=True)]

    def _named(self, row: str, items: list[Any] | None, is_multi_hot: bool) -> list[Any] | None:
        if not items or not all(map(_is_number, items)):
            return items
        values = [int(float(item)) for item in items]
        if is_multi_hot:
            return [name for name, value in zip(self.names, values, strict=True) if value]
        n = len(self.names)
        if len(set(values)) < len(values) or any(isinstance(item, bool) for item in items):
            self._fault(f"lists of 0 and 1 need one for each of the {n} data.label_names; got {len(items)}", row)
        elif max(values) >= n:
            self._fault(f"numbers are places in data.label_names, from 0 to {n - 1}; got a greater one", row)
        else:
            return [self.names[value] for value in values]
        return []

    def _refuse_numbers(self, rows: Sequence[str], items: Iterable[list[Any] | None]) -> None:
        for row, each in zip(rows, items, strict=True):
            if each:
                self._fault(MULTI_HOT, row, False)

    def _check_separator(self, plain: Iterable[tuple[str, list[str]]]) -> None:
        """Note the rows whose labels are separated by something else than ``data.label_separator``.

        Args:
            plain: Rows, and the labels of their cells of plain text.
        """
        lowered = [(row, [label.lower() for label in labels]) for row, labels in plain]  # "Pain, cough" and "pain"
        labels_found = (label for _, labels in lowered for label in labels)
        found = find_separator(labels_found, (name.lower() for name in self.names))
        if found is None:
            return
        separator, compounds = found
        rule = (
            f"column {self.column!r}: labels must be separated by {self.data.label_separator!r}, the "
            f"data.label_separator; got {separator!r} between labels (set data.label_separator, or write cells as "
            """lists such as ["a", "b"], or name all labels in data.label_names)"""
        )
        for row, labels in lowered:
            if not compounds.isdisjoint(labels):
                self.faults.add(rule, row)

    def _whole_numbers(self, labels: list[list[str] | None]) -> list[list[str] | None]:
        """Return labels such as ``3.0`` as ``3`` if all are of this kind; programs write missing values' columns so."""
        used = {label for each in labels for label in each or ()}
        if not used or not all(_NUMBER.fullmatch(label) for label in used):
            return labels
        numbers = sorted({int(float(label)) for label in used})
        if not self.names:
            self._check_class_numbers(numbers)
        return [None if each is None else [label.removesuffix(".0") for label in each] for each in labels]

    def _check_class_numbers(self, numbers: Sequence[int]) -> None:
        """Refuse the numbers of classes without names, which begin at 0 and have few gaps. Codes such as 401 are names.

        Args:
            numbers: All labels, which are whole numbers, in their order.
        """
        if numbers[0] == 0 and 1 < numbers[-1] < 2 * len(numbers):
            self.faults.add(
                f"column {self.column!r}: labels must be names; got only numbers from 0 to {numbers[-1]}, as of classes"
                " (data.label_names gives their names, in the order of the numbers; where numbers are meant, it lists"
                """ them: ["0", "1", "2"])"""
            )

    def _check_words(self, labels: Iterable[list[str] | None]) -> None:
        """Refuse a column that says yes or no to one label: its words would become labels."""
        words = {label.lower() for each in labels for label in each or ()}
        if words and not self.names and any(words <= binary for binary in _BINARY_WORDS):
            self.faults.add(
                f"column {self.column!r}: must hold names of labels; got only {', '.join(sorted(words))} (a column of "
                "one label's 0 and 1 belongs in data.label_columns; data.label_names gives numbers their names)"
            )

    def _check_names(self, labels: Sequence[list[str] | None]) -> None:
        """Refuse labels with values, numbers, brackets or markup, of which each variant would become a label."""
        found = "" if self.names else surplus({label for each in labels for label in each or ()})
        if found:
            self.faults.add(
                f"column {self.column!r}: labels must be plain names; got {found} (where these are the names,"
                " data.label_names lists them)"
            )


def _is_multi_hot_column(items: Sequence[Sequence[Any]]) -> bool:
    """Return whether all lists have one length, above 1, and hold only 0 and 1."""
    lists = [_split_bits(each, None) or [] for each in items]
    return bool(lists) and len(lists[0]) > 1 and all(len(each) == len(lists[0]) and _are_digits(each) for each in lists)


def _split_bits(items: Sequence[Any] | None, length: int | None) -> list[Any] | None:
    """Return the digits of ``101`` one by one, if that is all there is, and they are as many as labels."""
    if items is None:
        return None
    is_bits = len(items) == 1 and isinstance(items[0], str) and _BITS.fullmatch(items[0])
    return list(items[0]) if is_bits and length in (None, len(items[0])) else list(items)


def _is_number(item: Any) -> bool:
    """Return whether an item is a whole number that is not negative, as a number or text."""
    if isinstance(item, float):
        return item >= 0 and item.is_integer()
    return isinstance(item, int | str) and bool(_NUMBER.fullmatch(str(int(item) if isinstance(item, bool) else item)))


def _are_digits(items: Sequence[Any]) -> bool:
    return all(_is_number(item) and int(float(item)) in (0, 1) for item in items)
