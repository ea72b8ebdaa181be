"""A corpus as one Parquet file that loads again without further settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line, write_parquet


def write_corpus(corpus: Corpus, output: str, overwrite: bool = False) -> None:
    """Write a corpus with the columns id, text, labels, split and, where it has labelled parts, segments.

    Args:
        corpus: The corpus. Its splits are kept, those that were made on reading included.
        output: Path or URL of the file.
        overwrite: Replace the file if it exists.

    Raises:
        DataError: If the file exists, or its name doesn't end in ``.parquet``.
        UnavailableError: If it can't be written.
    """
    import pyarrow as pa
    import pyarrow.fs

    if not output.endswith(".parquet"):
        raise DataError(f"{output}: the file must end in .parquet")
    filesystem, target = locate(output)
    try:
        if not overwrite and filesystem.get_file_info(target).type != pyarrow.fs.FileType.NotFound:
            raise DataError(f"{output}: exists already; --overwrite replaces it")
        part = pa.struct({"text": pa.string(), "labels": pa.list_(pa.string()), "begin": pa.int64()})
        columns = {"id": pa.string(), "text": pa.string(), "labels": pa.list_(pa.string()), "split": pa.string()}
        if all(split.segments is not None for split in corpus.splits.values()):
            columns["segments"] = pa.list_(part)
        rows = [row for name, split in corpus.splits.items() for row in _rows(name, split, corpus.labels)]
        write_parquet(filesystem, target, pa.Table.from_pylist(rows, schema=pa.schema(columns)), compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise UnavailableError(f"{output}: can't be written ({one_line(error)})") from None


def _rows(name: str, split: Split, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for i, (id_, text, target) in enumerate(zip(split.ids, split.texts, split.targets, strict=True)):
        row: dict[str, Any] = {"id": id_, "text": text, "labels": _names(target, labels), "split": name}
        if split.segments is not None:
            spans, targets = split.segments.spans[i], split.segments.targets[i]
            row["segments"] = [
                {"text": text[begin:end], "labels": _names(own, labels), "begin": int(begin)}
                for (begin, end), own in zip(spans, targets, strict=True)
            ]
        yield row


def _names(target: NDArray[np.int8], labels: Sequence[str]) -> list[str]:
    return [labels[j] for j in np.flatnonzero(target).tolist()]
