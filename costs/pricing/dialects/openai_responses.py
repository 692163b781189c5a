"""OpenAI responses, images and speech: input_tokens include the cached ones, output_tokens include reasoning."""

from costs.pricing.usage import Quantities, Usage, count, quantities, require, section, tier


def read(usage: Usage) -> Quantities:
    require(usage, "input_tokens")
    inputs, into = section(usage, "input_tokens_details"), "usage.input_tokens_details"
    outputs, out_of = section(usage, "output_tokens_details"), "usage.output_tokens_details"
    totals = {
        "input_tokens": count(usage, "input_tokens"),
        "cache_read_tokens": count(inputs, "cached_tokens", into),
        "cache_write_tokens": count(inputs, "cache_write_tokens", into),
        "input_audio_tokens": count(inputs, "audio_tokens", into),
        "input_image_tokens": count(inputs, "image_tokens", into),
        "output_tokens": count(usage, "output_tokens"),
        "reasoning_tokens": count(outputs, "reasoning_tokens", out_of),
        "output_audio_tokens": count(outputs, "audio_tokens", out_of),
        "output_image_tokens": count(outputs, "image_tokens", out_of),
    }
    return quantities(totals, tier(usage, "service_tier"))
