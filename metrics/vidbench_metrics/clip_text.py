"""Embeddings of prompts by CLIP's text tower: each computed once a process, the tower loaded when one is asked for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.clip_model import ClipSource, text_tower
from vidbench_metrics.extractors.threads import one_thread

KEPT = 4096
"""Prompts kept: 3 kB each."""


@dataclass(frozen=True, slots=True)
class PromptEmbedding:
    """One text as CLIP sees it."""

    vector: NDArray[np.float32]
    """(embed_dim,), not normalised."""
    tokens: int
    """Of the text, its start and end included, before anything was cut off."""
    room: int
    """Tokens that the model takes."""

    @property
    def cut(self) -> bool:
        """Whether the model saw only the beginning of the text."""
        return self.tokens > self.room


def tokens_of(text: str, room: int, *, keep_end: bool = True) -> tuple[list[int], int]:
    """The text's tokens, at most `room`, and how many there were.

    Args:
        text: any.
        room: the model's context length.
        keep_end: a text that is cut still ends with the end token, as in OpenAI's `tokenize(truncate=True)`. Without
            it, CLIP reads its embedding off the start token, so that all long texts have the same one.
    """
    tokenizer = _tokenizer()
    tokens = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
    kept = tokens[:room]
    if keep_end and len(tokens) > room:
        kept[-1] = tokenizer.eot_token_id
    return kept, len(tokens)


def embed_prompt(source: ClipSource, text: str, *, keep_end: bool = True) -> PromptEmbedding:
    """The embedding of a text.

    Raises:
        WeightsError: the published weights are missing or wrong.
        InputError: the user's own file or model cannot be read.
        PluginError: the weights are not the model's, or its texts need another tokenizer.
    """
    return _embed(source, source.checksum(), text, keep_end)


@functools.lru_cache(maxsize=KEPT)
def _embed(source: ClipSource, checksum: str, text: str, keep_end: bool) -> PromptEmbedding:
    import torch

    tower = _tower(source, checksum)
    kept, count = tokens_of(text, tower.context_length, keep_end=keep_end)
    padded = torch.zeros(1, tower.context_length, dtype=torch.long)
    padded[0, : len(kept)] = torch.tensor(kept)
    with torch.inference_mode(), one_thread():
        vector = np.asarray(tower(padded)[0].numpy(), np.float32)
    vector.setflags(write=False)
    return PromptEmbedding(vector, count, int(tower.context_length))


@functools.lru_cache(maxsize=1)
def _tower(source: ClipSource, checksum: str) -> Any:
    return text_tower(source, source.read())


@functools.lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
