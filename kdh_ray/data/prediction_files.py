"""The output of ``kdh-ray predict``: a folder of files, one per block of documents, that other programs read.

.plan.json             labels, files, blocks and columns of what is predicted
block-000000.parquet   id, labels, probability.LABEL, with ``--logits`` logit.LABEL, and error

The plan's name begins with a dot, since pandas, Spark and Hugging Face's datasets all pass over such names; the last of
them reads names that begin with an underscore. Folders that earlier versions wrote have a ``plan.json``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from kdh_ray.data.file_rows import Reading
from kdh_ray.data.prediction_rows import csv_content, csv_rows, json_content, read_csv, read_json
from kdh_ray.data.text_blocks import TextBlock
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, make_parent, one_line, write_file, write_parquet

PLAN = ".plan.json"
OLD_PLAN = "plan.json"
FORMAT = 3
"""Version of the plan. Without an id column, an id is the file's path below the folder that all files share, and the
row's number from 1. In formats 1 and 2 the first row is 0; in format 1 ids have the file's name only, and blocks have
no errors."""
FORMS = ("parquet", "csv", "jsonl")


def as_planned(block: TextBlock, plan: Mapping[str, Any]) -> TextBlock:
    """Return a block of a plan's files whose documents have the ids of the plan's format."""
    name = PurePosixPath(block.source.file).name if plan["format"] == 1 else block.name
    return replace(block, name=name, counted_from=0 if plan["format"] < 3 else 1)


def reading_of(plan: Mapping[str, Any]) -> Reading:
    """Return how a plan's files are to be read."""
    return Reading(**(plan.get("reading") or {}))


@dataclass(frozen=True)
class BlockSummary:
    """Content of a finished block, as far as it is counted.

    Attributes:
        ids: Of the documents.
        labels: Of each document; none where there is an error.
        errors: Whether each document has an error.
    """

    ids: list[str]
    labels: list[list[str]]
    errors: list[bool]


@dataclass(frozen=True)
class PredictionFolder:
    """A folder or bucket with predictions.

    Attributes:
        place: Path or URL.
        form: Format of the blocks: one of :data:`FORMS`.
    """

    place: str
    form: str = "parquet"

    @property
    def _located(self) -> tuple[Any, PurePosixPath]:
        filesystem, root = locate(self.place)
        return filesystem, PurePosixPath(root)

    def file_name(self, number: int) -> str:
        """Return the name of the file that holds block ``number``."""
        return f"block-{number:06d}.{self.form}"

    def path(self, name: str) -> tuple[Any, str]:
        """Return the file system and the path of a file in the folder."""
        filesystem, root = self._located
        return filesystem, str(root / name)

    def plan(self) -> dict[str, Any] | None:
        """Return the plan; None if there is none.

        Raises:
            UnavailableError: If it can't be read.
            DataError: If it is not the plan of a prediction.
        """
        try:
            for name in (PLAN, OLD_PLAN):
                filesystem, path = self.path(name)
                if filesystem.get_file_info(path).is_file:
                    return self._checked(json.loads(filesystem.open_input_stream(path).read()))
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self.place}: can't be used ({one_line(error)})") from None
        return None

    def _checked(self, content: Any) -> dict[str, Any]:
        version = content.get("format") if isinstance(content, dict) else None
        if version not in range(1, FORMAT + 1):
            raise DataError(f"{self.place}: format must be 1 to {FORMAT}; got {version!r}")
        return dict(content)

    def write_plan(self, content: Mapping[str, Any]) -> None:
        """Write the plan, in place of one under its old name.

        Raises:
            UnavailableError: If it can't be written.
        """
        filesystem, path = self.path(PLAN)
        old = self.path(OLD_PLAN)[1]
        try:
            make_parent(filesystem, path)
            write_file(filesystem, path, lambda stream: stream.write((json.dumps(content, indent=1) + "\n").encode()))
            if filesystem.get_file_info(old).is_file:
                filesystem.delete_file(old)
        except OSError as error:
            raise UnavailableError(f"{self.place}: can't be used ({one_line(error)})") from None

    def files(self) -> set[str]:
        """Return the names of the files in the folder.

        Raises:
            UnavailableError: If it can't be listed.
        """
        import pyarrow.fs

        filesystem, root = self._located
        try:
            entries = filesystem.get_file_info(pyarrow.fs.FileSelector(str(root), allow_not_found=True))
        except OSError as error:
            raise UnavailableError(f"{self.place}: can't be used ({one_line(error)})") from None
        return {entry.base_name for entry in entries}

    def write(self, number: int, table: Any) -> None:
        """Write the table of a block.

        Raises:
            UnavailableError: If it can't be written.
        """
        filesystem, path = self.path(self.file_name(number))
        try:
            if self.form == "parquet":
                write_parquet(filesystem, path, table)
            else:
                content = csv_content(csv_rows(table)) if self.form == "csv" else json_content(table)
                write_file(filesystem, path, lambda stream: stream.write(content))
        except OSError as error:
            raise UnavailableError(f"{self.place}: can't be written ({one_line(error)})") from None

    def summary(self, number: int) -> BlockSummary:
        """Return what a finished block holds.

        Raises:
            UnavailableError: If it can't be read.
        """
        import pyarrow as pa

        try:
            with self._opened(number) as source:
                rows = self._rows(source)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise UnavailableError(
                f"{self.place}/{self.file_name(number)}: can't be read ({one_line(error)})"
            ) from None
        return BlockSummary(
            [id_ for id_, _, _ in rows], [found for _, found, _ in rows], [faulty for *_, faulty in rows]
        )

    def _rows(self, source: Any) -> list[tuple[str, list[str], bool]]:
        """Return (id, labels, has an error) of each document."""
        import pyarrow.parquet as pq

        if self.form != "parquet":
            return read_csv(source.read()) if self.form == "csv" else read_json(source.read())
        file = pq.ParquetFile(source)
        rows = file.read(["id", "labels", *({"error"} & {*file.schema_arrow.names})]).to_pylist()
        return [(row["id"], row["labels"] or [], row.get("error") is not None) for row in rows]

    def join(self, target: str, blocks: int) -> None:
        """Write all blocks, one after the other, into one file of the folder's format.

        Raises:
            UnavailableError: If a block can't be read or the file not written.
        """
        import pyarrow as pa

        filesystem, path = locate(target)
        write = self._write_tables if self.form == "parquet" else self._write_lines
        try:
            write_file(filesystem, path, lambda stream: write(stream, blocks))
        except (pa.ArrowException, OSError) as error:
            raise UnavailableError(f"{target}: can't be written ({one_line(error)})") from None

    def _write_tables(self, stream: Any, blocks: int) -> None:
        import pyarrow.parquet as pq

        with ExitStack() as stack:
            writer = None
            for number in range(blocks):
                with self._opened(number) as source:
                    table = pq.ParquetFile(source).read()
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(stream, table.schema, write_page_checksum=True))
                writer.write_table(table)

    def _write_lines(self, stream: Any, blocks: int) -> None:
        for number in range(blocks):
            with self._opened(number) as source:
                content = source.read()
            if self.form == "csv" and number:
                rows = csv.reader(io.StringIO(content.decode(), newline=""))
                content = csv_content(islice(rows, 1, None))  # without the header
            stream.write(content)

    def _opened(self, number: int) -> Any:
        filesystem, path = self.path(self.file_name(number))
        return filesystem.open_input_file(path)

    def remove(self) -> None:
        """Remove the folder.

        Raises:
            UnavailableError: If it can't be removed.
        """
        filesystem, root = self._located
        try:
            filesystem.delete_dir(str(root))
        except OSError as error:
            raise UnavailableError(f"{self.place}: can't be removed ({one_line(error)})") from None
