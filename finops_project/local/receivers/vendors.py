"""What Slack and PagerDuty say to a request, by their documentation. Pure: a body in, an answer and its content out."""

import json
from collections.abc import Iterator
from typing import Any

from finops_project.local.receivers.book import STATES, Answer

MOST_BLOCKS, MOST_FIELDS, MOST_ELEMENTS = 50, 10, 10
LONGEST_HEADER, LONGEST_SECTION, LONGEST_FIELD = 150, 3_000, 2_000
KEY_LENGTH, LONGEST_DEDUP_KEY, LONGEST_SUMMARY = 32, 255, 1_024
SEVERITIES = {"critical", "error", "warning", "info"}

Answered = tuple[Answer, dict[str, Any]]


def slack(body: bytes) -> Answered:
    """An incoming webhook: `ok`, or a plain word for what is wrong."""
    message = _object(body)
    if not message.get("text") and not message.get("blocks"):
        return Answer(400, "no_text"), message
    try:
        is_good = _are_blocks(message.get("blocks", []))
    except (AttributeError, KeyError, TypeError):
        is_good = False
    return (Answer(200, "ok") if is_good else Answer(400, "invalid_blocks")), message


def pagerduty(body: bytes) -> Answered:
    """The Events API v2. The routing key is a secret at the vendor, so it is kept nowhere here either."""
    event = _object(body)
    errors = list(_errors(event))
    content = {name: value for name, value in event.items() if name != "routing_key"}
    if errors:
        return Answer(
            400, json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        ), content
    said = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
    return Answer(202, json.dumps(said)), content


def _object(body: bytes) -> dict[str, Any]:
    """Empty for what is no JSON object."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _are_blocks(blocks: list[dict[str, Any]]) -> bool:
    return len(blocks) <= MOST_BLOCKS and all(map(_is_block, blocks))


def _is_block(block: dict[str, Any]) -> bool:
    match block["type"]:
        case "header":
            return block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= LONGEST_HEADER
        case "section":
            fields = block.get("fields", [])
            texts = [block["text"]["text"]] if "text" in block else []
            return (
                bool(texts or fields)
                and all(0 < len(text) <= LONGEST_SECTION for text in texts)
                and len(fields) <= MOST_FIELDS
                and all(0 < len(field["text"]) <= LONGEST_FIELD for field in fields)
            )
        case "context":
            return 0 < len(block["elements"]) <= MOST_ELEMENTS
        case "divider":
            return True
        case _:
            return False


def _errors(event: dict[str, Any]) -> Iterator[str]:
    if len(str(event.get("routing_key", ""))) != KEY_LENGTH:
        yield f"Length of 'routing_key' is incorrect (should be {KEY_LENGTH} characters)"
    if event.get("event_action") not in STATES:
        yield "'event_action' is invalid (must be 'trigger', 'acknowledge' or 'resolve')"
    # Theirs makes a key for a trigger that has none; ours always sends one, and the incident is known by it.
    if not 0 < len(str(event.get("dedup_key", ""))) <= LONGEST_DEDUP_KEY:
        yield f"'dedup_key' is missing or longer than {LONGEST_DEDUP_KEY} characters"
    if event.get("event_action") == "trigger":
        yield from _payload_errors(event.get("payload"))


def _payload_errors(payload: Any) -> Iterator[str]:
    if not isinstance(payload, dict):
        yield "'payload' is missing or blank"
        return
    if not 0 < len(str(payload.get("summary", ""))) <= LONGEST_SUMMARY:
        yield f"'payload.summary' is missing or longer than {LONGEST_SUMMARY} characters"
    if not payload.get("source"):
        yield "'payload.source' is missing or blank"
    if payload.get("severity") not in SEVERITIES:
        yield "'payload.severity' is invalid"
