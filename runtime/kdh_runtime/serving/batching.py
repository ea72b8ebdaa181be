"""Dynamic batching: one call of a classifier for the texts of several requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kdh_runtime.serving.interface import MOST_PER_CALL, TextResult

Call = tuple[list[str], "asyncio.Future[list[TextResult]]"]


class Batcher:
    """Joins calls that arrive while the classifier is busy into one batch.

    A free classifier takes all that is waiting, up to a batch, and starts at once. Under load, batches fill while the
    one before is computed; a single client waits for nobody. Batching by a timer (``ray.serve.batch``) delays single
    clients, and closes a batch before the classifier is free to take it.

    Args:
        predict: Returns a result per text; runs in a thread of its own, one batch at a time.
        batch_size: Texts per batch, if no single call has more.
    """

    def __init__(self, predict: Callable[[list[str]], list[TextResult]], batch_size: int = MOST_PER_CALL) -> None:
        self._predict = predict
        self._batch_size = batch_size
        self._thread = ThreadPoolExecutor(1, "classifier")
        self._calls: deque[Call] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, texts: list[str]) -> list[TextResult]:
        """Return a result per text."""
        future: asyncio.Future[list[TextResult]] = asyncio.get_running_loop().create_future()
        self._calls.append((texts, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Compute batches until no call is waiting."""
        while self._calls:
            batch = self._next_batch()
            try:
                await self._compute(batch)
            except Exception as error:
                if len(batch) == 1:
                    _fail(batch[0], error)
                    continue
                for call in batch:  # one by one, so that only the call that can't be computed fails
                    try:
                        await self._compute([call])
                    except Exception as own:
                        _fail(call, own)

    def _next_batch(self) -> list[Call]:
        batch = [self._calls.popleft()]
        size = len(batch[0][0])
        while self._calls and size + len(self._calls[0][0]) <= self._batch_size:
            batch.append(self._calls.popleft())
            size += len(batch[-1][0])
        return batch

    async def _compute(self, batch: list[Call]) -> None:
        texts = [text for call, _ in batch for text in call]
        results = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, texts)
        begin = 0
        for call, future in batch:
            if not future.done():  # a client that hung up cancels its call
                future.set_result(results[begin : begin + len(call)])
            begin += len(call)


def _fail(call: Call, error: Exception) -> None:
    if not call[1].done():
        call[1].set_exception(error)
