"""Texts that stay in their files."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
import pytest

from kdh_ray.data import stored_texts
from kdh_ray.data.stored_texts import StoredTexts
from kdh_ray.data.text_blocks import plan_blocks, read_documents


@pytest.mark.parametrize("name", ["notes.csv", "notes.csv.gz"])
def test_stored_texts_read_as_a_list(name: str, tmp_path: Path) -> None:
    import pandas as pd

    written = [f"note {i}" for i in range(20)]
    pd.DataFrame({"text": written}).to_csv(tmp_path / name, index=False)
    blocks = plan_blocks([str(tmp_path / name)], 6)
    rows = np.array([0, 3, 6, 11, 19])
    texts, expected = StoredTexts(blocks, "text", rows), [written[row] for row in rows]
    assert list(texts) == expected
    assert texts[1:4] == expected[1:4]
    assert [texts[place] for place in (4, 0, -1)] == [expected[place] for place in (4, 0, -1)]
    assert len(texts) == 5
    assert copy(texts) == expected  # as pickle and Ray copy it: another machine may not have the file


def test_reading_in_order_opens_each_block_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.csv").write_text("text\n" + "".join(f"note {i}\n" for i in range(9)))
    blocks = plan_blocks([str(tmp_path / "notes.csv")], 3)
    read: list[int] = []
    monkeypatch.setattr(
        stored_texts, "read_documents", lambda block, *rest: read.append(block.first) or read_documents(block, *rest)
    )
    assert len(list(StoredTexts(blocks, "text", np.arange(9)))) == 9
    assert read == [0, 3, 6]
