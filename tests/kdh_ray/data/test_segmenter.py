from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdh_ray.data.segmenter import Segmenter
from kdh_ray.errors import DataError


def parts(rule: str, text: str) -> list[str]:
    (spans,) = Segmenter(rule).spans([text]) or [[]]  # type: ignore[arg-type]
    return [text[begin:end] for begin, end in spans]


def test_sentences_end_at_full_stops() -> None:
    text = "Mr. Smith took 5.0 mg/kg (i.v.) of p53 inhibitor. It worked! Fig. 2 shows E. coli growth."
    assert parts("sentences", text) == [
        "Mr. Smith took 5.0 mg/kg (i.v.) of p53 inhibitor.", "It worked!", "Fig. 2 shows E. coli growth.",
    ]  # fmt: skip


def test_a_line_end_within_a_sentence_is_white_space() -> None:
    assert parts("sentences", "It was hard\nwrapped here. Next.") == ["It was hard\nwrapped here.", "Next."]


def test_lines_leave_out_blank_ones() -> None:
    assert parts("lines", "  HISTORY\n\n \nfever, cough \n") == ["HISTORY", "fever, cough"]


def test_no_rule_gives_no_spans() -> None:
    assert Segmenter("none").spans(["One. Two."]) is None


@pytest.mark.parametrize("rule", ["sentences", "lines"])
@given(text=st.text())
def test_spans_hold_every_character_but_spaces(rule: str, text: str) -> None:
    (spans,) = Segmenter(rule).spans([text]) or []  # type: ignore[arg-type]
    ends = [0, *spans.ravel().tolist(), len(text)]
    assert ends == sorted(ends)
    left_out = "".join(text[end:begin] for end, begin in zip(ends[::2], ends[1::2], strict=True))
    assert not left_out.strip()
    assert all(text[begin:end] == text[begin:end].strip() != "" for begin, end in spans)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(DataError, match="half a surrogate pair"):
        Segmenter("sentences").spans(["a\ud800b. c"])
