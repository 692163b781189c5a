"""Gemini's usageMetadata: thoughts are counted apart from candidates, tool results apart from the prompt."""

from costs.pricing.usage import Quantities, Usage, UsageError, count, first_count, quantities, require, tier

_KINDS = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
_TRAFFIC = {"on_demand_priority": "priority", "on_demand_flex": "flex", "traffic_type_unspecified": None}
_SPELLED = {"input_tokens": "promptTokenCount", "output_tokens": "candidatesTokenCount"}


def read(usage: Usage) -> Quantities:
    require(usage, "promptTokenCount")
    thoughts = count(usage, "thoughtsTokenCount")
    # Live sessions call the candidates a response.
    answer = first_count(usage, ["candidatesTokenCount", "responseTokenCount"])
    totals = {
        "input_tokens": count(usage, "promptTokenCount") + count(usage, "toolUsePromptTokenCount"),
        "cache_read_tokens": count(usage, "cachedContentTokenCount"),
        **_by_kind(usage, "input_{}_tokens", "promptTokensDetails", "toolUsePromptTokensDetails"),
        **_by_kind(usage, "cache_read_{}_tokens", "cacheTokensDetails"),
        "output_tokens": answer + thoughts,
        "reasoning_tokens": thoughts,
        **_by_kind(usage, "output_{}_tokens", "candidatesTokensDetails", "responseTokensDetails"),
    }
    return quantities(totals, _tier(usage), _SPELLED)


def _by_kind(usage: Usage, bucket: str, *fields: str) -> dict[str, int]:
    """Tokens that are not text; documents are billed as images."""
    counts: dict[str, int] = {}
    for field in fields:
        rows = usage.get(field) or []
        if not isinstance(rows, list):
            raise UsageError(f"usage.{field}", "must be a list")
        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                raise UsageError(f"usage.{field}[{i}]", "must be an object")
            if kind := _KINDS.get(str(row.get("modality"))):
                name = bucket.format(kind)
                counts[name] = counts.get(name, 0) + count(row, "tokenCount", f"usage.{field}[{i}]")
    return counts


def _tier(usage: Usage) -> str | None:
    served = tier(usage, "serviceTier", "service_tier", "trafficType")
    return _TRAFFIC.get(served, served) if served else None
