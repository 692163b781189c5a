"""What an event may be: both sides of every bound, and the sentence for what is refused."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costs.events import InvalidEvent, amount_of, canonical, check_window, completed, digest, encode, parse, stored
from tests.costs.conftest import amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def refusal(body: bytes) -> str:
    with pytest.raises(InvalidEvent) as raised:
        parse(body)
    return str(raised.value)


class TestParsing:
    def test_only_the_cost_type_and_one_of_usage_and_amount_are_required(self) -> None:
        assert amount_of(parse(b'{"cost_type": "cdn", "amount": 1}')) == 1
        assert parse(encode(usage_event())).usage == {"input_tokens": 1000, "output_tokens": 500}

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            (b"", "Input data was truncated"),
            (b"[]", "Expected `object`, got `array`"),
            (b"{}", "cost_type: is required"),
            (b'{"cost_type": "cdn"}', "usage or amount: one of them is required"),
            (b'{"cost_type": "", "amount": 1}', "cost_type: Expected `str` of length >= 1"),
            (b'{"cost_type": "cdn", "amount": 1, "colour": "red"}', "colour: is no field of an event"),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": "2026-11-24T12:00:00"}', "timestamp: "),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": 1764000000}', "timestamp: Expected `datetime"),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": "0000-01-01T00:00:00Z"}', "timestamp: "),
            (b'{"cost_type": "cdn", "amount": 1, "currency": "EUR"}', "currency: only USD is accepted"),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "a\\u0000b"}', "NUL"),
            (b'{"cost_type": "cdn", "amount": 1, "metadata": {"a\\u0000": 1}}', "NUL"),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "\\ud800 and more"}', "surrogate"),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "\xff"}', "no valid UTF-8"),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "p/summary"}', "post_id: must not end in /summary"),
            (b'{"cost_type": "cdn", "usage": {}}', "usage: must not be empty"),
            (b'{"cost_type": "cdn", "usage": {"input_tokenz": 1}}', "usage.input_tokenz: is not a known usage field"),
            (b'{"cost_type": "cdn", "usage": {"input_tokens": -1}}', "usage.input_tokens: "),
            (b'{"cost_type": "cdn", "usage": {"input_tokens": 1.5}}', "usage.input_tokens: must be a whole number"),
            (b'{"cost_type": "cdn", "usage": {"dialect": "klingon"}}', "usage.dialect: must be one of"),
            (b'{"cost_type": "cdn", "usage": {"dialect": ["plain"]}}', "usage.dialect: must be one of"),
        ],
    )
    def test_what_is_wrong_is_one_sentence_with_its_path(self, body: bytes, sentence: str) -> None:
        assert sentence in refusal(body)

    @pytest.mark.parametrize(
        ("field", "longest"),
        [("post_id", 255), ("event_id", 255), ("cost_type", 100), ("persona_id", 100), ("operation", 100)],
    )
    def test_names_have_a_longest_length(self, field: str, longest: int) -> None:
        parse(encode(amount_event("1") | {field: "x" * longest}))

        assert field in refusal(encode(amount_event("1") | {field: "x" * (longest + 1)}))

    def test_metadata_is_bounded_in_size_and_depth(self) -> None:
        parse(encode(amount_event("1", metadata={"a": {"b": {"c": {"d": 1}}}})))
        parse(encode(amount_event("1", metadata={"note": "x" * 8000})))

        assert "5 levels deep" in refusal(encode(amount_event("1", metadata={"a": {"b": {"c": {"d": {"e": {}}}}}})))
        assert "8 KB" in refusal(encode(amount_event("1", metadata={"note": "x" * 8200})))

    def test_json_that_is_a_thousand_levels_deep_is_refused(self) -> None:
        deep = b'{"cost_type": "cdn", "amount": 1, "metadata": {"a": ' + b"[" * 1000 + b"]" * 1000 + b"}}"

        assert refusal(deep)

    def test_four_byte_text_is_kept(self) -> None:
        event = parse(encode(amount_event("1", post_id="💸")))

        assert event.post_id == "💸"

    def test_a_providers_own_usage_keeps_fields_that_nobody_knows(self) -> None:
        usage = {"dialect": "openai_chat", "prompt_tokens": 1, "completion_tokens": 1, "brand_new": {"x": 1}}

        assert parse(encode(usage_event(usage=usage))).usage == usage


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "value"),
        [
            ("0", "0"),
            ('"0.0125"', "0.0125"),
            ("0.1", "0.1"),
            ("1e-12", "0.000000000001"),
            ("999999999.999999999999", "999999999.999999999999"),
            ("1.0000000000000000", "1"),
        ],
    )
    def test_plain_decimals_are_taken_to_the_last_digit(self, amount: str, value: str) -> None:
        event = parse(f'{{"cost_type": "cdn", "amount": {amount}}}'.encode())

        assert amount_of(event) == Decimal(value)

    @pytest.mark.parametrize(
        "amount",
        [
            *(
                "NaN",
                "Infinity",
                "-0",
                "-0.0",
                "-1",
                '"-1"',
                "1e400",
                "1000000000",
                "0.0000000000001",
                "0.1000000000000000000000000000001",
                "true",
                "[]",
                '""',
            ),
            *('"NaN"', '"Infinity"', '"1_0"', '" 1"', '"1 "', '"0x1"', '"1e400"', '"1e999999999"'),
            '"\N{FULLWIDTH DIGIT ONE}"',
        ],
    )
    def test_everything_else_is_refused_with_a_sentence(self, amount: str) -> None:
        assert refusal(f'{{"cost_type": "cdn", "amount": {amount}}}'.encode())


class TestDigests:
    def test_an_honest_retry_has_the_same_digest_however_it_is_spelled(self) -> None:
        first = b'{"cost_type":"cdn","amount":0.10,"timestamp":"2026-11-24T12:00:00Z","metadata":{"b":1.0,"a":2}}'
        again = b'{"metadata":{"a":2,"b":1},"timestamp":"2026-11-24T13:00:00+01:00","amount":"0.1","cost_type":"cdn"}'

        assert digest(parse(first)) == digest(parse(again))

    @pytest.mark.parametrize("change", [{"amount": "2"}, {"post_id": "p"}, {"metadata": {"a": 1}}])
    def test_another_body_has_another_digest(self, change: dict[str, Any]) -> None:
        assert digest(parse(encode(amount_event("1")))) != digest(parse(encode(amount_event("1") | change)))

    def test_the_defaults_that_the_engine_adds_do_not_count(self) -> None:
        event = parse(encode(amount_event("1")))

        assert digest(event) == digest(parse(encode(amount_event("1"))))
        assert digest(completed(event, NOW)) != digest(completed(event, NOW + timedelta(seconds=1)))


class TestStoring:
    def test_numbers_come_back_digit_by_digit(self) -> None:
        event = completed(parse(encode(amount_event("0.123456789012", metadata={"x": Decimal("0.1")}))), NOW)

        (again,) = stored(f"[{canonical(event)}]")

        assert amount_of(again) == Decimal("0.123456789012")
        assert again.metadata == {"x": Decimal("0.1")}
        assert again.timestamp == NOW

    def test_not_even_a_number_of_forty_digits_is_rounded(self) -> None:
        number = Decimal("123456789012345678901234567890.1234567891")
        event = completed(parse(encode(amount_event("1", metadata={"x": number}))), NOW)

        (again,) = stored(f"[{canonical(event)}]")

        assert again.metadata == {"x": number}

    def test_an_event_without_an_id_gets_one_in_the_order_of_time(self) -> None:
        event = parse(encode(amount_event("1")))

        earlier, later = completed(event, NOW), completed(event, NOW + timedelta(seconds=1))

        assert earlier.event_id
        assert later.event_id
        assert earlier.event_id < later.event_id

    def test_what_cannot_be_json_is_refused(self) -> None:
        with pytest.raises(InvalidEvent, match="cannot be written as JSON"):
            encode({"cost_type": "cdn", "metadata": {"x": object()}})


class TestTheWindow:
    @pytest.mark.parametrize(
        ("moment", "refused"),
        [
            (NOW + timedelta(minutes=10), ""),
            (NOW + timedelta(minutes=10, microseconds=1), "more than 10 minutes in the future"),
            (NOW - timedelta(days=90), ""),
            (NOW - timedelta(days=90, microseconds=1), "more than 90 days back"),
        ],
    )
    def test_an_event_lies_between_90_days_back_and_10_minutes_ahead(self, moment: datetime, refused: str) -> None:
        event = parse(encode(amount_event("1", timestamp=moment)))

        if not refused:
            check_window(event, NOW, timedelta(days=90))
            return
        with pytest.raises(InvalidEvent, match=refused):
            check_window(event, NOW, timedelta(days=90))

    @pytest.mark.parametrize("year", ["0001", "1969", "9999"])
    def test_imports_reach_back_further_but_not_to_year_one(self, year: str) -> None:
        event = parse(json.dumps(amount_event("1", timestamp=f"{year}-12-31T23:59:59Z")).encode())

        with pytest.raises(InvalidEvent, match="timestamp"):
            check_window(event, NOW, None)
