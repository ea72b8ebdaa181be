"""Groups of documents: values of a column of their table, such as the site or the ward that they come from."""

from __future__ import annotations

from kdh_ray.config import DataConfig
from kdh_ray.data.annotations import interpret
from kdh_ray.data.messages import check_columns_exist
from kdh_ray.data.table_corpus import reading_of
from kdh_ray.data.table_documents import read_column
from kdh_ray.data.table_files import read_tables
from kdh_ray.errors import DataError

MOST_GROUPS = 50  # more look like ids, which no report should show
WITHOUT = "(none)"


def read_groups(data: DataConfig, column: str) -> dict[str, str]:
    """Return the group of each document, by its id.

    Args:
        data: Names the table.
        column: Holds the group; a blank cell becomes :data:`WITHOUT`.

    Raises:
        DataError: If the corpus is no table, has no such column, or the column has more than :data:`MOST_GROUPS`
            values. Messages name the column, and never a value.
    """
    if data.corpus != "table" or data.path is None:
        raise DataError(f"groups are read from a column of a table; the corpus is {data.corpus}")
    if column in (data.text_column, data.id_column):
        raise DataError(f"groups can't be texts or ids; got column {column!r}")
    tables, data, _ = interpret(read_tables(data.path, reading_of(data)), data)
    for table in tables:
        check_columns_exist(table.source, [column], table.columns, table.has_json_keys)
    cells = read_column(tables, data, column)
    groups = {id_: str(cell).strip() if cell is not None else "" for id_, cell in cells.items()}
    number = len(set(groups.values()))
    if number > MOST_GROUPS:
        raise DataError(f"column {column!r} must have at most {MOST_GROUPS} values to be groups; it has {number}")
    return {id_: group if group not in ("", "nan") else WITHOUT for id_, group in groups.items()}
