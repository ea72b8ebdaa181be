"""Delimited text through the csv module, and recognition of its delimiter.

pandas pads a short row and cuts a long one without a word; the csv module, in its strict mode, hands every row over as
it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from kdh_ray.data.encodings import LONGEST_LINE

CANDIDATES = (",", ";", "\t", "|")
SAMPLE_LINES = 1000
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # Excel's own, before the header


def delimited_records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the fields of each record, without blank lines and Excel's ``sep=;``.

    Raises:
        csv.Error: If a quoted field has no end, or is followed by something else than a delimiter.
    """
    csv.field_size_limit(LONGEST_LINE)  # the module's own 128 KiB are too few for a long note
    is_first = True
    for fields in csv.reader(lines, delimiter=delimiter, strict=True):
        if fields and not (is_first and _is_separator_line(fields)):
            yield fields
        is_first = False


def _is_separator_line(fields: list[str]) -> bool:
    return fields[0] == "sep=" and not any(fields[1:])  # the delimiter itself has cut the line in two


def recognise_delimiter(lines: Iterable[str], usual: str) -> str:
    """Return the delimiter of a table, or ``usual`` if none is certain.

    A delimiter is certain if it gives every record of the sample as many fields as the header has, two at least, and
    no other one does. The usual one of the file's format is taken first.

    Args:
        lines: Lines from the start of the file. Only :data:`SAMPLE_LINES` are read.
        usual: The comma for CSV, the tab for TSV; empty if the format has none.
    """
    sample = list(islice(lines, SAMPLE_LINES + 1))
    is_cut = len(sample) > SAMPLE_LINES
    stated = _SEPARATOR_LINE.fullmatch(sample[0]) if sample else None
    if stated:
        return stated[1]
    fitting = [each for each in CANDIDATES if _fits(sample, each, is_cut)]
    return fitting[0] if len(fitting) == 1 and usual not in fitting else usual


def _fits(sample: list[str], delimiter: str, is_cut: bool) -> bool:
    """Return whether all records of a sample have as many fields as the first one, and two at least."""
    counts: list[int] = []
    try:
        counts.extend(len(fields) for fields in delimited_records(sample, delimiter))
    except csv.Error:
        if not is_cut:
            return False  # otherwise the sample may end within quotes
    if is_cut:
        counts = counts[:-1]
    return len(counts) > 1 and counts[0] > 1 and len(set(counts)) == 1
