"""Embeddings of prompts by ViCLIP's text tower: each computed once a process."""

from __future__ import annotations

import functools

import numpy as np

from vidbench import weights
from vidbench_metrics.clip_text import KEPT, PromptEmbedding, tokens_of
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import viclip


def embed_prompt(text: str) -> PromptEmbedding:
    """The embedding of a text, cut to 32 tokens with its end token kept.

    Raises:
        WeightsError: the weights are missing or wrong.
        PluginError: they are not ViCLIP's.
    """
    return _embed(weights.require(viclip.ROW).checksum(), text)


@functools.lru_cache(maxsize=KEPT)
def _embed(checksum: str, text: str) -> PromptEmbedding:
    import torch

    kept, count = tokens_of(text, viclip.CONTEXT)
    padded = torch.zeros(viclip.CONTEXT, dtype=torch.long)
    padded[: len(kept)] = torch.tensor(kept)
    with one_thread():
        vector = np.asarray(_tower(checksum)(padded).numpy(), np.float32)
    vector.setflags(write=False)
    return PromptEmbedding(vector, count, viclip.CONTEXT)


@functools.lru_cache(maxsize=1)
def _tower(checksum: str) -> viclip.TextTower:
    """The tower of the weights with that checksum."""
    data, found = weights.read(viclip.ROW)
    return viclip.TextTower(viclip.load(data, found.path.name))
