"""What the demo says at the end, for a person; money is rounded here and nowhere else."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from examples.content_pipeline.account import Account, Entry
from examples.content_pipeline.readback import Comparison, Ledger
from examples.content_pipeline.trace import Judgement

TARGET, ALERT = Decimal("0.02"), Decimal("0.04")
DIFFERENCES_SHOWN = 5
MATCHES = {
    "post": "posts",
    "post by cost_type": "posts by cost type",
    "audit trail": "audit trails",
    "persona_id": "personas",
    "model": "models x persona",
    "cost_type": "cost types x persona",
    "sum of groups": "breakdown sums",
}


def rows(account: Account, live: Account, comparison: Comparison) -> Iterator[str]:
    """Some 15 lines: what was spent, by whom, on what, and whether the ledger agrees."""
    posts, events = len(live.totals(_post)), len(live.entries)
    past_posts, past_events = len(account.totals(_post)) - posts, len(account.entries) - events
    yield f"  written now   {posts:>6,} posts, {events:>6,} events: the real openai SDK, a simulated server"
    yield f"  imported      {past_posts:>6,} posts, {past_events:>6,} events: generated history of two weeks"
    yield f"  spent         ${account.total():f} in all, ${live.total():f} of it now"
    yield ""
    yield "  post written now, by persona   posts      mean   dearest   over $0.02   over $0.04"
    yield from _personas(live)
    yield f"  by type    {_shares(account.totals(lambda entry: entry.cost_type))}"
    yield f"  by model   {_shares(account.totals(lambda entry: entry.model or 'no model'))}"
    yield ""
    yield "  ledger against the producer's own account, to the last of 12 decimals:"
    yield from _verdict(comparison)


def dearest(live: Account, ledger: Ledger, stack: Mapping[str, Any]) -> Iterator[str]:
    """Why the dearest post written now cost what it cost, and where to look further."""
    totals = live.totals(_post)
    post_id = max(totals, key=lambda post: totals[post])
    yield f"Why the dearest post, {post_id}, cost ${totals[post_id].normalize():f}"
    yield ""
    entries = [entry for entry in live.entries.values() if entry.post_id == post_id]
    for entry in sorted(entries, key=lambda entry: -entry.cost):
        yield f"  {_short(entry.cost):>12}  {entry.model or entry.cost_type}, {entry.operation}"
        yield f"                {_formula(ledger, entry)}"
    yield ""
    yield "Where to look further"
    yield ""
    yield f"  this post    {stack['admin_url']}costs/costevent/post/?{urlencode({'id': post_id})}"
    yield f"  the admin    {stack['admin_url']}   user {stack['admin_user']}, admin_password of .run/stack.json"
    yield f"  the workers  {stack['flower_url']}   the same user and password"
    yield f"  the API      {stack['base_url']}/docs/   for whoever is logged in to the admin"


def _formula(ledger: Ledger, entry: Entry) -> str:
    status, body = ledger.get(f"/costs/events/{quote(entry.event_id, safe='')}/explain", source="default")
    return str(body["price"]["formula"]) if status == 200 else f"GET explain answered {status}"


def _personas(live: Account) -> Iterator[str]:
    costs: dict[str, list[Decimal]] = {}
    for (persona, _), cost in sorted(live.totals(lambda entry: (entry.persona_id, entry.post_id)).items()):
        costs.setdefault(persona, []).append(cost)
    for persona, found in costs.items():
        mean = sum(found, Decimal(0)) / len(found)
        over, alerting = (sum(cost > limit for cost in found) for limit in (TARGET, ALERT))
        yield f"    {persona:<29} {len(found):>4}   ${mean:.4f}   ${max(found):.4f}   {over:>10}   {alerting:>10}"


def _shares(totals: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{name} {_short(cost)}" for name, cost in sorted(totals.items(), key=lambda item: -item[1]))


def _short(cost: Decimal) -> str:
    """Four decimals, or two digits of what would be 0.0000."""
    rounded = cost if not cost else round(cost, max(4, 1 - cost.adjusted()))
    return f"${rounded:f}"


def _verdict(comparison: Comparison) -> Iterator[str]:
    texts = [f"{comparison.matched[kind]:,} {name}" for kind, name in MATCHES.items()]
    yield f"    equal: {', '.join(texts[:4])},"
    yield f"    {', '.join(texts[4:])}"
    if not comparison.differences:
        yield "    different: none"
        return
    yield f"    DIFFERENT: {len(comparison.differences):,}"
    yield from (f"      {difference}" for difference in comparison.differences[:DIFFERENCES_SHOWN])


def trace_rows(judged: Iterable[Judgement], shown: int) -> Iterator[str]:
    """A table of models, the rarest in one line, and the share of exact prices with how it is counted."""
    by_model: dict[str, Counter[str]] = {}
    for judgement in judged:
        by_model.setdefault(judgement.message.model, Counter())[judgement.verdict] += 1
    ranked = sorted(by_model.items(), key=lambda item: -item[1].total())
    whole = sum(by_model.values(), Counter[str]())
    yield f"  {'model':<52} messages   exact  different  unpriced"
    for model, counts in ranked[:shown]:
        yield _trace_row(model, counts)
    if rest := ranked[shown:]:
        yield _trace_row(f"{len(rest)} other models", sum((counts for _, counts in rest), Counter[str]()))
    yield _trace_row("all", whole)
    counted = whole["exact"] + whole["different"]
    share = Decimal(100 * whole["exact"]) / counted if counted else Decimal(0)
    yield ""
    yield f"  {share:.2f} % of {counted:,} messages are priced exactly as recorded, to 12 decimals. Counted are"
    yield "  messages whose model is named and has a list price, and whose recorded cost is above zero. Not counted:"
    yield (
        f"  {whole['unnamed']:,} redacted or nameless, {whole['unpriced']:,} without a list price, "
        f"{whole['free']:,} recorded as free, {whole['missing']:,} missing."
    )


def _trace_row(model: str, counts: Counter[str]) -> str:
    return (
        f"  {model:<52} {counts.total():>8,} {counts['exact']:>7,} {counts['different']:>10,} {counts['unpriced']:>9,}"
    )


def _post(entry: Entry) -> str:
    return entry.post_id
