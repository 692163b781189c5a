"""What would have been sent, for people: one page without anything from elsewhere."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from finops_project.local.receivers.book import Message

NAMES = {"slack": "Slack", "pagerduty": "PagerDuty", "email": "Mail"}
SLACK_MARK = re.compile(r"<([^<>]*)>")
BOLD = re.compile(r"\*([^*\n]+)\*")
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid #8885; border-left: 5px solid #888; border-radius: 6px; padding: .6rem 1rem }
article { margin: 1rem 0 }
article.slack { border-left-color: #7c3f8c } article.pagerduty { border-left-color: #1f8a3b }
article.email { border-left-color: #2a6fc9 } article.refused { background: #d0302022 }
header { display: flex; gap: 1rem; opacity: .75; font-size: .85rem } h2 { font-size: 1.1rem; margin: .3rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .3rem 0 } dd { margin: 0 }
dt { opacity: .75 } p { margin: .3rem 0 } pre { white-space: pre-wrap; overflow-wrap: anywhere }
"""


def render(messages: Sequence[Message], incidents: Mapping[str, str]) -> str:
    """The newest first."""
    told = "".join(_article(message, incidents) for message in reversed(messages))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>What would have been sent ({len(messages)})</title><style>{STYLE}</style>"
        "<h1>What would have been sent</h1><p>Stand-ins for Slack, PagerDuty and a mail server keep here what the "
        "engine tells them; nothing left this machine. The latest first; the page looks again every five seconds.</p>"
        f"{told or '<p>Nothing yet.</p>'}</html>"
    )


def _article(message: Message, incidents: Mapping[str, str]) -> str:
    classes = message.channel + ("" if message.answer.is_accepted else " refused")
    verdict = "" if message.answer.is_accepted else f"refused: {html.escape(message.answer.body)}"
    time = f"{message.received_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f'<article class="{classes}"><header><b>{NAMES[message.channel]}</b><span>{time}</span>'
        f"<span>{verdict}</span></header>{_content(message, incidents)}</article>"
    )


def _content(message: Message, incidents: Mapping[str, str]) -> str:
    if not message.answer.is_accepted:
        return f"<pre>{html.escape(str(message.content))}</pre>"
    match message.channel:
        case "slack":
            return "".join(_slack(message.content))
        case "pagerduty":
            return "".join(_pagerduty(message.content, incidents))
        case _:
            return "".join(_mail(message.content, message.number))


def _slack(content: Mapping[str, Any]) -> Iterator[str]:
    blocks = content.get("blocks") or [{"type": "section", "text": {"text": content["text"]}}]
    for block in blocks:
        if block["type"] == "header":
            yield f"<h2>{html.escape(block['text']['text'])}</h2>"
        if block["type"] == "section" and "text" in block:
            yield f"<p>{_marked(block['text']['text'])}</p>"
        if fields := block.get("fields"):
            lines = [field["text"].partition("\n") for field in fields]
            yield _pairs((_marked(name), _marked(value)) for name, _, value in lines)
        for element in block.get("elements", []):
            yield f"<p><small>{_marked(element.get('text', ''))}</small></p>"


def _marked(text: str) -> str:
    """Slack's marks: <address|words>, <!date^…|words>, *bold*; &, < and > are entities already."""
    plain_and_marks = SLACK_MARK.split(text)
    plain = [_bold(html.escape(html.unescape(part))) for part in plain_and_marks[::2]]
    marks = [*map(_mark, plain_and_marks[1::2]), ""]
    return "".join(part + mark for part, mark in zip(plain, marks, strict=True)).replace("\n", "<br>")


def _bold(text: str) -> str:
    return BOLD.sub(r"<b>\1</b>", text)


def _mark(mark: str) -> str:
    target, _, words = mark.partition("|")
    return _link(html.unescape(target), html.unescape(words or target))


def _link(target: str, words: str) -> str:
    if not target.startswith(("http://", "https://")):
        return html.escape(words)
    return f'<a href="{html.escape(target)}" rel="noreferrer">{html.escape(words)}</a>'


def _pagerduty(event: Mapping[str, Any], incidents: Mapping[str, str]) -> Iterator[str]:
    key = event["dedup_key"]
    payload = event.get("payload") or {}
    yield f"<h2>{html.escape(event['event_action'])} {html.escape(str(payload.get('summary', '')))}</h2>"
    rows = {"Incident": key, "It is now": incidents.get(key, "unknown"), "Severity": payload.get("severity")}
    rows |= payload.get("custom_details") or {}
    yield _pairs(
        (html.escape(str(name)), html.escape(str(value))) for name, value in rows.items() if value not in (None, "")
    )
    for link in event.get("links") or []:
        yield f"<p>{_link(str(link.get('href', '')), str(link.get('text', 'link')))}</p>"


def _mail(mail: Mapping[str, Any], number: int) -> Iterator[str]:
    yield f"<h2>{html.escape(mail['subject'])}</h2>"
    yield f"<p><small>from {html.escape(mail['from'])} to {html.escape(', '.join(mail['to']))}</small></p>"
    yield f"<pre>{html.escape(mail['text'])}</pre>"
    if mail["html"]:
        yield f'<p><a href="/mail/{number}">As HTML</a></p>'


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values that are HTML already."""
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"
