"""OpenAI chat completions, and the many providers that answer in their shape.

prompt_tokens include the cached ones, completion_tokens include reasoning. xAI and Gemini's compatible endpoint
leave reasoning out of completion_tokens but in total_tokens: what total_tokens has beyond the two is output.
Perplexity counts citations and reasoning beside completion_tokens, and in no total.
"""

from costs.pricing.usage import (
    Quantities,
    Usage,
    UsageError,
    count,
    first_count,
    quantities,
    require,
    section,
    tier,
)

_SPELLED = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def read(usage: Usage) -> Quantities:
    require(usage, "prompt_tokens")
    totals = {
        **_input(usage),
        **_output(usage),
        "web_search_requests": count(usage, "num_search_queries"),
    }
    return quantities(totals, tier(usage, "service_tier"), _SPELLED)


def _input(usage: Usage) -> dict[str, int]:
    details, path = section(usage, "prompt_tokens_details"), "usage.prompt_tokens_details"
    prompt = count(usage, "prompt_tokens")
    audio = count(details, "audio_tokens", path)
    images = count(details, "image_tokens", path)
    # DeepSeek and Moonshot give the hits beside, not inside, the details.
    cached = count(details, "cached_tokens", path) or first_count(usage, ["prompt_cache_hit_tokens", "cached_tokens"])
    writes = count(details, "cache_write_tokens", path)
    # Audio may be cached too, and this shape does not say how much of it: the overlap is what cannot be otherwise.
    cached_audio = min(audio, cached, max(0, audio + images + cached + writes - prompt))
    return {
        "input_tokens": prompt,
        "cache_read_tokens": cached,
        "cache_write_tokens": writes,
        "input_audio_tokens": audio,
        "input_image_tokens": images,
        "cache_read_audio_tokens": cached_audio,
    }


def _output(usage: Usage) -> dict[str, int]:
    details, path = section(usage, "completion_tokens_details"), "usage.completion_tokens_details"
    citations = count(usage, "citation_tokens")
    apart = citations + (count(usage, "reasoning_tokens") if citations else 0)
    return {
        "output_tokens": _completion(usage) + apart,
        "reasoning_tokens": count(details, "reasoning_tokens", path) or count(usage, "reasoning_tokens"),
        "citation_tokens": citations,
        "output_audio_tokens": count(details, "audio_tokens", path),
        "output_image_tokens": count(details, "image_tokens", path),
    }


def _completion(usage: Usage) -> int:
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    if usage.get("total_tokens") is None:
        return completion
    total = count(usage, "total_tokens")
    if total < prompt + completion:
        raise UsageError("usage.total_tokens", "is less than prompt_tokens + completion_tokens")
    return total - prompt
