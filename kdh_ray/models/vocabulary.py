"""Tokenizers that can't be an encoder's own: without words, with every word unknown, or larger than the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.tiktoken", "tekken.json", "merges.txt")
_SAMPLE = 200  # words of the vocabulary that are tokenised


def check_words(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Check that a tokenizer knows words.

    Args:
        tokenizer: The encoder's own.
        name: The encoder, for messages.

    Raises:
        CheckpointError: If it knows none; says how to mend that.
    """
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        raise lacks_tokenizer(name)
    if knows_no_word(tokenizer):
        raise CheckpointError(
            f"{name}: the tokenizer does not know the words of its own vocabulary, which would all be read as"
            f" {tokenizer.unk_token}: give the encoder the tokenizer that it was trained with"
        )


def check_size(tokenizer: PreTrainedTokenizerBase, name: str, embeddings: int) -> list[str]:
    """Check that each token has an embedding; return a warning if most embeddings have no token.

    Args:
        tokenizer: The encoder's own.
        name: The encoder, for messages.
        embeddings: Number of tokens for which the encoder has an embedding.

    Raises:
        CheckpointError: If the tokenizer has more tokens; says how to mend that.
    """
    tokens = max(tokenizer.get_vocab().values()) + 1
    if tokens > embeddings:
        raise CheckpointError(
            f"{name}: the tokenizer has {tokens} tokens, the encoder embeddings for {embeddings}: give it the"
            " tokenizer that it was trained with, or call resize_token_embeddings(len(tokenizer)) and save it again"
        )
    if 2 * tokens < embeddings:
        only = f"the tokenizer has only {tokens} tokens, and the encoder embeddings for {embeddings}"
        return [f"warning: {name}: {only}: is it the encoder's own?"]
    return []


def unknown_share(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, most: int = 1000) -> float:
    """Return the share of tokens, 0..1, that are the unknown token.

    Args:
        texts: The texts.
        tokenizer: Any tokenizer; without an unknown token the share is 0.
        most: Texts to look at, from the first on.
    """
    ids = tokenizer(list(texts[:most]), add_special_tokens=False, verbose=False)["input_ids"]
    unknown: list[bool] = [token == tokenizer.unk_token_id for row in ids for token in row]
    return sum(unknown) / max(1, len(unknown))


def lacks_tokenizer(name: str) -> CheckpointError:
    """Return the refusal of an encoder without a tokenizer."""
    return CheckpointError(
        f"{name} has no tokenizer, or one without words: write the one that the encoder was trained with:"
        f" AutoTokenizer.from_pretrained(ORIGIN).save_pretrained({name!r})"
    )


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has a file that may be a tokenizer's vocabulary."""
    return any(file for pattern in _VOCABULARIES for file in folder.glob(pattern))


def knows_no_word(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return True if every word of the vocabulary becomes the unknown token.

    A vocabulary with words in capitals under a tokenizer that lowers case is an example, or one that was read with
    the line ends of another system.
    """
    unknown, special = tokenizer.unk_token_id, set(tokenizer.all_special_tokens)
    tokens = sorted(tokenizer.get_vocab().keys() - special)
    words = (tokenizer.convert_tokens_to_string([token]).strip().removeprefix("##") for token in tokens)
    own = [word for word in words if word.isalpha()]
    sample = own[:: max(1, len(own) // _SAMPLE)]
    if unknown is None or not sample:
        return False
    return all(set(ids) == {unknown} for ids in tokenizer(sample, add_special_tokens=False)["input_ids"])
