"""The base under the name `flows` still imports it by; goes when `flows` reads `corpora._corpus`."""

from corpora._corpus import Corpus

__all__ = ["Corpus"]
