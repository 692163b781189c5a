"""What a persona said before: a small vector memory, so that the pipeline has real vector operations to pay for."""

import hashlib
import math
from dataclasses import dataclass, field

DIMENSIONS = 64

Vector = list[float]


@dataclass(slots=True)
class VectorMemory:
    """Nearest texts by the cosine of hashed word counts."""

    _items: list[tuple[Vector, str]] = field(default_factory=list)

    def add(self, text: str) -> None:
        self._items.append((embed(text), text))

    def nearest(self, text: str, count: int) -> list[str]:
        wanted = embed(text)
        ranked = sorted(self._items, key=lambda item: -sum(a * b for a, b in zip(item[0], wanted, strict=True)))
        return [text for _, text in ranked[:count]]


def embed(text: str) -> Vector:
    vector = [0.0] * DIMENSIONS
    for word in text.lower().split():
        vector[hashlib.blake2b(word.encode(), digest_size=1).digest()[0] % DIMENSIONS] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
