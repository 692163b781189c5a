"""Anthropic messages: input_tokens exclude cache reads and cache writes; thinking lies within output_tokens."""

from costs.pricing.usage import Quantities, Usage, UsageError, count, quantities, require, section, tier

# Fetching a page has no fee of its own: what it brings is counted in the input tokens.
_FREE_TOOLS = frozenset(["web_fetch_requests"])


def read(usage: Usage) -> Quantities:
    require(usage, "input_tokens")
    reads = count(usage, "cache_read_input_tokens")
    writes, lasting_an_hour = _cache_writes(usage)
    details = section(usage, "output_tokens_details")
    totals = {
        "input_tokens": count(usage, "input_tokens") + reads + writes,
        "cache_read_tokens": reads,
        "cache_write_tokens": writes,
        "cache_write_1h_tokens": lasting_an_hour,
        "output_tokens": count(usage, "output_tokens"),
        "reasoning_tokens": count(details, "thinking_tokens", "usage.output_tokens_details"),
        **_tools(usage),
    }
    return quantities(totals, _tier(usage))


def _cache_writes(usage: Usage) -> tuple[int, int]:
    """All cache writes, and those of them that last an hour."""
    creation, path = section(usage, "cache_creation"), "usage.cache_creation"
    lasting_an_hour = count(creation, "ephemeral_1h_input_tokens", path)
    parts = count(creation, "ephemeral_5m_input_tokens", path) + lasting_an_hour
    if usage.get("cache_creation_input_tokens") is None:
        return parts, lasting_an_hour
    total = count(usage, "cache_creation_input_tokens")
    if parts > total:
        raise UsageError("usage.cache_creation", "adds up to more than cache_creation_input_tokens")
    return total, lasting_an_hour


def _tools(usage: Usage) -> dict[str, int]:
    """Every server tool is a bucket of its own name, so that one without a known price is unpriced, not free."""
    tools = section(usage, "server_tool_use")
    return {name: count(tools, name, "usage.server_tool_use") for name in tools if name not in _FREE_TOOLS}


def _tier(usage: Usage) -> str | None:
    """Service tier, fast mode and US-only inference all change the price."""
    parts = [tier(usage, "service_tier"), tier(usage, "speed")]
    geo = tier(usage, "inference_geo")
    if geo not in (None, "global"):
        parts.append(f"geo-{geo}")
    return "+".join(part for part in parts if part) or None
