"""The disjoint buckets that usage is counted in, and where each finds its price."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """`units` are the library's price keys, the first known one counts; without any, `parent`'s price holds.

    `shown_in` lists the plain names (see architecture.md, usage) whose total contains this bucket.
    """

    units: tuple[str, ...]
    shown_in: tuple[str, ...]
    parent: str | None = None


INPUT, OUTPUT = "input_tokens", "output_tokens"

# A bucket with a parent is billed at its parent's price where the list knows no special one: this is how providers
# bill that do not price caching apart. Cache writes for an hour, and audio, image and video that a model puts out,
# always cost more than the plain token, so there a missing price means unpriced. Audio and video put in: see
# library.MODALITIES_AT_TEXT_PRICE.
TOKENS: Mapping[str, Bucket] = {
    "input_tokens": Bucket(("input_mtok",), (INPUT,)),
    "cache_read_tokens": Bucket(("cache_read_mtok",), (INPUT, "cache_read_tokens"), INPUT),
    "cache_write_tokens": Bucket(("cache_write_5m_mtok", "cache_write_mtok"), (INPUT, "cache_write_tokens"), INPUT),
    "cache_write_1h_tokens": Bucket(("cache_write_1h_mtok",), (INPUT, "cache_write_tokens", "cache_write_1h_tokens")),
    "input_audio_tokens": Bucket(("input_audio_mtok",), (INPUT, "input_audio_tokens")),
    "input_image_tokens": Bucket(("input_image_mtok",), (INPUT, "input_image_tokens"), INPUT),
    "input_video_tokens": Bucket(("input_video_mtok",), (INPUT, "input_video_tokens")),
    "cache_read_audio_tokens": Bucket(
        ("cache_audio_read_mtok",), (INPUT, "cache_read_tokens", "input_audio_tokens", "cache_read_audio_tokens")
    ),
    "cache_read_image_tokens": Bucket(
        ("cache_image_read_mtok",),
        (INPUT, "cache_read_tokens", "input_image_tokens", "cache_read_image_tokens"),
        "cache_read_tokens",
    ),
    "cache_read_video_tokens": Bucket(
        ("cache_video_read_mtok",), (INPUT, "cache_read_tokens", "input_video_tokens", "cache_read_video_tokens")
    ),
    "output_tokens": Bucket(("output_mtok",), (OUTPUT,)),
    "reasoning_tokens": Bucket(("output_reasoning_mtok",), (OUTPUT, "reasoning_tokens"), OUTPUT),
    "citation_tokens": Bucket(("output_citation_mtok",), (OUTPUT, "citation_tokens"), OUTPUT),
    "output_audio_tokens": Bucket(("output_audio_mtok",), (OUTPUT, "output_audio_tokens")),
    "output_image_tokens": Bucket(("output_image_mtok",), (OUTPUT, "output_image_tokens")),
    "output_video_tokens": Bucket(("output_video_mtok",), (OUTPUT, "output_video_tokens")),
}

# Counted in whole pieces beside the tokens. The library has no price per image: only a rate can give one.
PIECES: Mapping[str, Bucket] = {
    "images": Bucket((), ("images",)),
    "web_search_requests": Bucket(("web_searches_kcount",), ("web_search_requests",)),
}

# Fractions are normal here; prices come from rates only.
INFRASTRUCTURE: Mapping[str, Bucket] = {
    name: Bucket((), (name,))
    for name in (
        "cpu_core_hours",
        "memory_gb_hours",
        "vector_reads",
        "vector_writes",
        "storage_gb_months",
        "transfer_gb",
    )
}

# A fee per request that some models add to their tokens: the book adds it, usage never reports it.
REQUESTS = "requests"

BUCKETS: Mapping[str, Bucket] = {
    **TOKENS,
    **PIECES,
    **INFRASTRUCTURE,
    REQUESTS: Bucket(("requests_kcount",), ()),
}
INPUT_BUCKETS = frozenset(name for name, bucket in TOKENS.items() if INPUT in bucket.shown_in)
