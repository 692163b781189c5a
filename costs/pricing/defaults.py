"""The rates that ship with the engine. All are overridden by rows of the same bucket that are more specific."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from costs.pricing.rates import Rate

_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)

# Public on-demand list prices of AWS in us-east-1, as round defaults until the real bill is known.
_INFRASTRUCTURE: tuple[tuple[str, str, int], ...] = (
    ("cpu_core_hours", "0.04048", 1),  # AWS Fargate, Linux/x86: per vCPU-hour
    ("memory_gb_hours", "0.004445", 1),  # AWS Fargate, Linux/x86: per GB-hour
    ("vector_reads", "16", 1_000_000),  # Pinecone serverless on AWS us-east-1, standard plan: read units
    ("vector_writes", "4", 1_000_000),  # Pinecone serverless on AWS us-east-1, standard plan: write units
    ("storage_gb_months", "0.023", 1),  # Amazon S3 Standard, first 50 TB
    ("transfer_gb", "0.085", 1),  # Amazon CloudFront to the United States, Canada and Europe, first 10 TB
)


def default_rates() -> list[Rate]:
    """Infrastructure rates, and corrections of what genai-prices has wrong at some time."""
    return [*_infrastructure(), *_deepseek(), *_fireworks(), *_claude_haiku(), *_gemini_experiments()]


def _infrastructure() -> Iterator[Rate]:
    for bucket, price, per in _INFRASTRUCTURE:
        yield Rate("rate", None, None, None, bucket, Decimal(price), per, _BEGIN, None, f"default:{bucket}")


def _correction(
    provider: str, model: str, begin: datetime, end: datetime | None, dollars_per_million: Mapping[str, str]
) -> Iterator[Rate]:
    for bucket, price in dollars_per_million.items():
        version = f"default:{model}:{begin:%Y-%m-%d}:{bucket}"
        yield Rate("correction", None, provider, model, bucket, Decimal(price), 1_000_000, begin, end, version)


def _fireworks() -> Iterator[Rate]:
    """https://fireworks.ai/pricing in early 2025: the list has forgotten what it no longer sells. Later is unpriced."""
    begin, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
    for model, price in (("deepseek-v3", "0.90"), ("deepseek-r1", "8.00")):
        yield from _correction("fireworks", model, begin, end, {"input_tokens": price, "output_tokens": price})


def _deepseek() -> Iterator[Rate]:
    """The list knows deepseek-chat and deepseek-reasoner only as they were from February to September 2025."""
    # https://api-docs.deepseek.com/news/news1226: V3 is sold at the price of V2.5 until 2025-02-08 16:00 UTC.
    # https://api-docs.deepseek.com/news/news0905: deepseek-coder and deepseek-chat are one model since V2.5.
    opening_ends = datetime(2025, 2, 8, 16, tzinfo=UTC)
    # https://api-docs.deepseek.com/quick_start/pricing on that day: the night discount begins.
    nights_begin = datetime(2025, 2, 26, 16, 30, tzinfo=UTC)
    # https://api-docs.deepseek.com/news/news250821: one price for both, no night discount, from 2025-09-05 16:00 UTC.
    v3_1 = datetime(2025, 9, 5, 16, tzinfo=UTC)
    # https://api-docs.deepseek.com/news/news250929: V3.2-Exp, "prices drop 50%+, effective immediately".
    v3_2 = datetime(2025, 9, 29, tzinfo=UTC)
    # https://api-docs.deepseek.com/updates (2026-04-24): both names stand for V4-Flash until they are withdrawn on
    # 2026-07-24. No end here: what the list would say afterwards is the price of 2025.
    v4 = datetime(2026, 4, 24, tzinfo=UTC)
    # https://api-docs.deepseek.com/news/news260813: peak hours from 2026-08-17 Beijing time; the list applies the
    # peak prices to the time before too.
    peaks_begin = datetime(2026, 8, 16, 16, tzinfo=UTC)

    chat, coder, reasoner = "deepseek-chat", "deepseek-coder", "deepseek-reasoner"
    begin = datetime(2024, 8, 1, tzinfo=UTC)
    for model in (chat, coder):
        yield from _correction("deepseek", model, begin, opening_ends, _in("0.14", "0.014", "0.28"))
    yield from _correction("deepseek", chat, opening_ends, nights_begin, _in("0.27", "0.07", "1.10"))
    reasoner_begins = datetime(2025, 1, 20, tzinfo=UTC)
    yield from _correction("deepseek", reasoner, reasoner_begins, nights_begin, _in("0.55", "0.14", "2.19"))
    for model in (chat, reasoner):
        yield from _correction("deepseek", model, v3_1, v3_2, _in("0.56", "0.07", "1.68"))
        yield from _correction("deepseek", model, v3_2, v4, _in("0.28", "0.028", "0.42"))
        yield from _correction("deepseek", model, v4, None, _in("0.14", "0.0028", "0.28"))
    yield from _correction("deepseek", "deepseek-v4-flash", v4, peaks_begin, _in("0.14", "0.0028", "0.28"))
    yield from _correction("deepseek", "deepseek-v4-pro", v4, peaks_begin, _in("0.435", "0.003625", "0.87"))


def _in(miss: str, hit: str, output: str) -> dict[str, str]:
    return {"input_tokens": miss, "cache_read_tokens": hit, "output_tokens": output}


def _claude_haiku() -> Iterator[Rate]:
    """Claude 3.5 Haiku opened at $1/$5 and was cut to what the list says after a month, everywhere."""
    # https://www.anthropic.com/news/3-5-models-and-computer-use (2024-11-04) and
    # https://www.anthropic.com/news/trainium2-and-distillation (2024-12-03).
    begin, end = datetime(2024, 11, 4, tzinfo=UTC), datetime(2024, 12, 3, tzinfo=UTC)
    opening = {"input_tokens": "1", "cache_read_tokens": "0.1", "cache_write_tokens": "1.25", "output_tokens": "5"}
    yield from _correction("anthropic", "claude-3-5-haiku-latest", begin, end, opening)
    yield from _correction("aws", "regional.anthropic.claude-3-5-haiku-20241022-v1:0", begin, end, opening)
    yield from _correction("google", "claude-3-5-haiku", begin, end, opening)


# https://ai.google.dev/gemini-api/docs/models/experimental-models: experimental models were free of charge, without a
# paid tier; the list gives them the price of the model that came of them, or none.
_GEMINI_EXPERIMENTS = (
    "gemini-1.5-pro-exp-0801",
    "gemini-1.5-pro-exp-0827",
    "gemini-1.5-flash-exp-0827",
    "gemini-1.5-flash-8b-exp-0827",
    "gemini-1.5-flash-8b-exp-0924",
    "gemini-exp-1114",
    "gemini-exp-1121",
    "gemini-exp-1206",
    "gemini-2.0-flash-exp",
    "gemini-2.0-flash-thinking-exp",
    "gemini-2.0-flash-thinking-exp-1219",
    "gemini-2.0-flash-thinking-exp-01-21",
    "gemini-2.0-pro-exp-02-05",
    "gemini-2.5-pro-exp-03-25",
)


def _gemini_experiments() -> Iterator[Rate]:
    begin = datetime(2024, 8, 1, tzinfo=UTC)
    for model in _GEMINI_EXPERIMENTS:
        yield from _correction("google", model, begin, None, _in("0", "0", "0"))
