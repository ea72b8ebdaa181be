"""Rows of Excel workbooks, through openpyxl."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from kdh_ray.data.opening import check_expansion, open_seekable
from kdh_ray.data.text_files import shown_name
from kdh_ray.errors import DataError
from kdh_ray.extras import require


def excel_rows(file: str, sheet: str | None) -> Iterator[list[Any]]:
    """Yield the rows of a sheet that are not blank, the header first.

    Args:
        file: Path or URL of a workbook.
        sheet: Name of the sheet; the only one that isn't hidden or empty if None.

    Raises:
        DataError: If the workbook is damaged, has no such sheet or several with content, or the sheet is empty.
        UnavailableError: If openpyxl is missing.
    """
    require("an Excel workbook", "excel", "openpyxl", "defusedxml")
    import openpyxl

    with open_seekable(file) as source:
        try:
            _check_archive(file, source)
            book = openpyxl.load_workbook(source, read_only=True, data_only=True)
            yield from _rows(_sheet(file, book, sheet))
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, IndexError, SyntaxError) as error:
            # what openpyxl raises for a damaged workbook; a SyntaxError for its XML
            raise DataError(f"{shown_name(file)}: is not a readable Excel workbook ({type(error).__name__})") from None


def _check_archive(file: str, source: BinaryIO) -> None:
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        check_expansion(file, sum(each.file_size for each in members), sum(each.compress_size for each in members))


def _sheet(file: str, book: Any, name: str | None) -> Any:
    sheets = {each.title: each for each in book.worksheets}
    if name is not None:
        if name not in sheets:
            raise DataError(f"{shown_name(file)}: has no sheet {name!r}; it has {len(sheets)}")
        return sheets[name]
    shown = [each for each in sheets.values() if each.sheet_state == "visible"]
    filled = [each for each in shown if next(_rows(each), None) is not None]
    if len(filled) != 1:
        raise DataError(
            f"{shown_name(file)}: "
            + (f"has {len(filled)} sheets with content; name one as data.sheet" if filled else "is empty")
        )
    return filled[0]


def _rows(sheet: Any) -> Iterator[list[Any]]:
    sheet.reset_dimensions()  # some programs write wrong ones
    for row in sheet.iter_rows(values_only=True):
        if any(cell is not None and cell != "" for cell in row):
            yield list(row)
