"""Dynamic batching of concurrent calls."""

from __future__ import annotations

import asyncio
import threading

import pytest
from kdh_runtime.serving.batching import Batcher
from kdh_runtime.serving.interface import TextResult


def result(text: str) -> TextResult:
    return TextResult([text], [1.0])


class Gate:
    """A classifier whose first batch waits until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, texts: list[str]) -> list[TextResult]:
        self.sizes.append(len(texts))
        self.open.wait(10)
        if "poison" in texts:
            raise ValueError("poison")
        return [result(text) for text in texts]


async def call_all(gate: Gate, batcher: Batcher, calls: list[list[str]]) -> list[list[TextResult] | BaseException]:
    tasks = [asyncio.create_task(batcher(["first"]))]
    await asyncio.sleep(0.05)  # the first call is being computed
    tasks += [asyncio.create_task(batcher(texts)) for texts in calls]
    await asyncio.sleep(0.05)
    gate.open.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_calls_that_wait_are_joined() -> None:
    gate = Gate()
    calls = [[str(number)] for number in range(10)]
    answers = asyncio.run(call_all(gate, Batcher(gate, 4), calls))
    assert answers == [[result("first")], *([result(text)] for (text,) in calls)]
    assert gate.sizes == [1, 4, 4, 2]


def test_a_large_call_is_a_batch_of_its_own() -> None:
    gate = Gate()
    answers = asyncio.run(call_all(gate, Batcher(gate, 4), [["a", "b"], ["c"] * 9, ["d"]]))
    assert [len(answer) for answer in answers if isinstance(answer, list)] == [1, 2, 9, 1]
    assert gate.sizes == [1, 2, 9, 1]


def test_only_the_call_that_fails_fails() -> None:
    gate = Gate()
    first, good, bad, other = asyncio.run(call_all(gate, Batcher(gate, 8), [["a"], ["poison"], ["b"]]))
    assert first == [result("first")]
    assert (good, other) == ([result("a")], [result("b")])
    assert isinstance(bad, ValueError)


def test_a_client_that_hangs_up_holds_nobody() -> None:
    async def scenario() -> list[TextResult]:
        gate = Gate()
        batcher = Batcher(gate)
        gone, other = asyncio.create_task(batcher(["a"])), asyncio.create_task(batcher(["b"]))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await other

    assert asyncio.run(scenario()) == [result("b")]
