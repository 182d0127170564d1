"""The lexical embedding as Chroma knows it: registered, so that a reopened collection finds it."""

from typing import Any

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from memory.vectors.embeddings import DIMENSIONS, NAME, embed


class LexicalEmbedding(EmbeddingFunction[Documents]):
    """Wraps `embeddings.embed`; has no settings."""

    def __init__(self) -> None:
        """Nothing to set up: the embedding is a pure function."""

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma's name for it
        """The vectors of some texts, in order."""
        return [np.array(embed(text), dtype=np.float32) for text in input]

    @staticmethod
    def name() -> str:
        """The name collections store."""
        return NAME

    def default_space(self) -> Space:
        """Cosine distance."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Cosine distance only; `recall` reads it as 1 - similarity."""
        return ["cosine"]

    def get_config(self) -> dict[str, Any]:
        """What a collection stores to build this again."""
        return {"dimensions": DIMENSIONS}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "LexicalEmbedding":
        """The function a collection was made with.

        Raises:
            ValueError: it was made with another number of dimensions.
        """
        if config.get("dimensions") != DIMENSIONS:
            raise ValueError(f"This release embeds in {DIMENSIONS} dimensions, not as {config}.")
        return LexicalEmbedding()


register_embedding_function(LexicalEmbedding)  # type: ignore[no-untyped-call]
