"""The main job on input: write posts, track every cost, import history, read it all back and check every total.

Then a persona goes mad, and who is on call hears of it: once when it begins, once when it is over. Another one runs
away, and the breaker stops it: throttled, switched to the cheaper model, paused, let back in; and what that saved is
added up. Run by `make demo` against the stack of `make up`. Nothing leaves this machine: the OpenAI server is
simulated, and stand-ins receive the alerts. With --trace it also replays a file of real messages and compares the
prices with those recorded in it.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import django

from examples.content_pipeline import incident, report, stopped, trace
from examples.content_pipeline.account import Account, Entry
from examples.content_pipeline.admin import Visitor
from examples.content_pipeline.history import DAYS, IMPORT_OPTIONS, write_history
from examples.content_pipeline.incident import Incident
from examples.content_pipeline.personas import NIGHT_OWL, NIGHT_OWL_GONE_MAD, PERFECTIONIST, PERSONAS, Persona
from examples.content_pipeline.progress import bar, step
from examples.content_pipeline.readback import Ledger, compare, wait_until_booked
from examples.content_pipeline.receivers import CHANNELS, Receivers
from examples.content_pipeline.simulated_openai import simulated_openai
from examples.content_pipeline.stopped import Breaker

ROOT = Path(__file__).resolve().parent.parent
STACK_FILE = ROOT / ".run" / "stack.json"
# Real traces are older than the 90 days that a producer may reach back: this process, and no other, may go further.
TRACE_OLDEST_DAYS = "5000"
TRACE_MODELS_SHOWN = 16
# The night owl's part is about who hears: the breaker notes what it would have done, and holds nobody back.
DRY_RUN = {"is_observing": True, "alert_human_operator": False}
# For a machine that is busy otherwise: it takes a tenth of it.
PAUSED_SECONDS, WRITTEN_SECONDS, CLOSED_SECONDS = 90, 120, 150
NORMAL_POSTS, POSTS_AFTERWARDS = 10, 2
VERIFY = ("verify_ledger", "verify_budgets")
OK = 200

Told = dict[str, Decimal]


def main() -> int:
    options = _options()
    running = stack()
    configure(running, reaching_back=options.trace is not None)
    ledger, run = Ledger(running["base_url"], running["api_key"]), uuid4().hex[:8]
    right = _demonstrate(running, ledger, run, options.posts, options.history)
    receivers = Receivers(running.get("receivers_url", ""))
    is_alerting = not options.no_alerts and _is_alone(receivers)
    if is_alerting:
        right = _alert(running, ledger, receivers, run) and right
    if options.trace:
        right = _replay(options.trace, ledger, run) and right
    right = _verify() and right
    if is_alerting:
        right = _look(running, run) and right
    return 0 if right else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=_file, help="messages with recorded costs, as .csv or .csv.gz")
    parser.add_argument("--posts", type=int, default=60)
    parser.add_argument("--history", type=int, default=20_000, help="how many events of history")
    parser.add_argument(
        "--no-alerts", action="store_true", help="leave out the parts that wait: alerts and the breaker"
    )
    return parser.parse_args()


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def stack() -> dict[str, Any]:
    if not STACK_FILE.exists():
        sys.exit("demo: there is no .run/stack.json: run `make up` first.")
    running: dict[str, Any] = json.loads(STACK_FILE.read_text())
    return running


def configure(running: Mapping[str, Any], *, reaching_back: bool = False) -> None:
    os.environ |= {
        "DATABASE_URL": running["database_url"],
        "REDIS_URL": running["redis_url"],
        "DJANGO_SETTINGS_MODULE": "finops_project.settings",
        "FINOPS_ROLE": "command",
    }
    if reaching_back:
        os.environ["FINOPS_ACCEPT_OLDEST_DAYS"] = TRACE_OLDEST_DAYS
    os.environ.setdefault("FINOPS_LOG_LEVEL", "WARNING")
    django.setup()


def _demonstrate(stack: Mapping[str, Any], ledger: Ledger, run: str, posts: int, history: int) -> bool:
    started, clock = datetime.now(UTC), time.monotonic()
    live = Account()
    with step(f"Writing {posts} posts with the real openai SDK on a simulated server; every cost is tracked"):
        told = _write_posts(run, posts, live)
    account = Account(dict(live.entries))
    with step(f"Importing {history:,} events of generated history, two weeks of it, with manage.py import_usage"):
        _import_history(run, history, started, account)
    start, end = started - timedelta(days=DAYS), datetime.now(UTC) + timedelta(minutes=1)
    with step(f"Waiting until the workers have booked all {len(account.entries):,} events"):
        complete = wait_until_booked(ledger, account, start, end, bar(len(account.entries)))
    with step(f"Reading {_posts_in(account):,} posts and all breakdowns over HTTP: do they say what was bought?"):
        comparison = compare(ledger, account, start, end, bar(_posts_in(account)))
    totals = live.totals(lambda entry: entry.post_id)
    for post_id, total in told.items():
        comparison.check("total told to the producer", post_id, total, totals[post_id])
    if not complete:
        comparison.differences.append("not every event was booked in time: is a worker running?")
    print(f"\nWhat was spent (run {run}, {time.monotonic() - clock:.0f} s)\n")
    print("\n".join(report.rows(account, live, comparison)), end="\n\n")
    print("\n".join(report.dearest(live, ledger, stack)))
    return not comparison.differences


def _write_posts(run: str, posts: int, live: Account, kind: str = "post", by: Sequence[Persona] = PERSONAS) -> Told:
    # Only now: the pipeline reaches the engine, whose models need the settings.
    from examples.content_pipeline.pipeline import assignments, write_posts

    with simulated_openai() as base_url:
        return asyncio.run(write_posts(run, base_url, live, assignments(run, posts, by, kind), bar(posts)))


def _import_history(run: str, events: int, until: datetime, account: Account) -> None:
    path = STACK_FILE.with_name(f"demo-history-{run}.csv.gz")
    write_history(path, run, [persona.id_in(run) for persona in (*PERSONAS, NIGHT_OWL)], until, events, account)
    command = [sys.executable, "manage.py", "import_usage", str(path), *IMPORT_OPTIONS]
    try:
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        sys.exit("The history was not imported; the lines above say why.")
    finally:
        path.unlink()


def _is_alone(receivers: Receivers) -> bool:
    """Whether nobody hears but stand-ins."""
    own = sorted(set(CHANNELS) - set(receivers.stands_in_for))
    if own:
        print(f"\nAlerts and the breaker are left out: they would reach your own {', '.join(own)}.")
    return not own


def _alert(stack: Mapping[str, Any], ledger: Ledger, receivers: Receivers, run: str) -> bool:
    """Whether everybody hears of a spike, once, and of its end; and whether a runaway is stopped meanwhile."""
    latest = max((message.number for message in receivers.messages()), default=0)
    found = Incident(receivers, NIGHT_OWL.id_in(run), latest)
    started = datetime.now(UTC)
    ledger.send("PUT", f"/controls/policies/{found.persona_id}", DRY_RUN)
    print(f"\nWho hears of it when {found.persona_id} goes mad\n")
    _spike(found, stack, run)
    calm_from = _calm(run)
    print(f"\nWhile that is watched until it is over: what stops {PERFECTIONIST.id_in(run)} when it runs away\n")
    is_stopped = _stop(ledger, receivers, run)
    print(f"\nWhen it is over for {found.persona_id}\n")
    _end(found, calm_from)
    print("\n".join(["", *incident.summary(found, run, [PERFECTIONIST.id_in(run)])]))
    observed = Breaker(ledger, found.persona_id).savings(started, datetime.now(UTC) + timedelta(minutes=1))
    print(f"  {stopped.dry_run(observed)}\n  all messages: {receivers.url}/")
    return not found.wrong and is_stopped


def _spike(found: Incident, stack: Mapping[str, Any], run: str) -> None:
    dear = Account()
    with step(f"Writing {incident.DEAR_POSTS} posts with a dearer model and a huge prompt, until everybody has heard"):
        _write_posts(run, incident.DEAR_POSTS, dear, "dear", [NIGHT_OWL_GONE_MAD])
        found.wait(found.begun, incident.HEARD_SECONDS, bar(incident.HEARD_SECONDS, "seconds at most"))
    with step(f"Waiting {incident.DOUBLES_SECONDS} seconds for messages that should not come; following the links"):
        time.sleep(incident.DOUBLES_SECONDS)
        found.check_begun(_visitor(stack).status_of)
    print("\n".join(incident.shown(found.begun(), _first_dear(dear).timestamp, "the first dear call")), end="\n\n")


def _calm(run: str) -> datetime:
    calm_from = datetime.now(UTC)
    with step(f"Writing {incident.CALM_POSTS} posts as ever: they push the dear ones out of its latest ten"):
        _write_posts(run, incident.CALM_POSTS, Account(), "calm", [NIGHT_OWL])
    return calm_from


def _end(found: Incident, calm_from: datetime) -> None:
    with step("Waiting for the end: calm for a minute, and a look every half minute"):
        found.wait(found.ended, incident.OVER_SECONDS, bar(incident.OVER_SECONDS, "seconds at most"))
        time.sleep(incident.DOUBLES_SECONDS)
        found.check_ended()
    print("\n".join(incident.shown(found.ended(), calm_from, "the calm began")))


def _stop(ledger: Ledger, receivers: Receivers, run: str) -> bool:
    """Whether a loop that obeys is stopped and let in again, and every cent of it is where it belongs."""
    account, started = Account(), datetime.now(UTC)
    breaker = Breaker(ledger, PERFECTIONIST.id_in(run))
    budget_id = breaker.prepare()
    _run_away(breaker, account, run)
    with step("Comparing what the API says with the producer's own account, to the last of 12 decimals"):
        outcome = stopped.outcome(breaker, budget_id, account, started)
        outcome.checks.check_told(receivers, breaker.persona_id)
    steps = outcome.checks.steps
    _tell("What the breaker did", stopped.timeline(stopped.phases(steps, account)))
    _tell("Who heard of it", stopped.told(receivers, breaker.persona_id, steps))
    _tell("What it saved, from GET /controls/savings", stopped.saved(outcome))
    print("\n".join(["", *stopped.summary(outcome.checks)]))
    return not outcome.checks.wrong


def _tell(title: str, lines: Iterable[str]) -> None:
    print("\n".join(["", title, "", *lines]))


def _run_away(breaker: Breaker, account: Account, run: str) -> None:
    from examples.content_pipeline.runaway import Runaway

    runaway = Runaway(run, PERFECTIONIST, account, breaker.level)
    with simulated_openai() as base_url:
        with step(
            "A loop rewrites one post again and again, every attempt in the next prompt; it asks before each call"
        ):
            runaway.loop(base_url, PAUSED_SECONDS, bar(PAUSED_SECONDS, "seconds at most"))
        with step(
            f"Somebody ends the loop: {NORMAL_POSTS} posts as ever, refused in the pause, let in slowly on trial"
        ):
            runaway.normal(base_url, NORMAL_POSTS, WRITTEN_SECONDS, bar(WRITTEN_SECONDS, "seconds at most"))
        with step("Waiting until the breaker has found it calm: a look every half minute"):
            runaway.wait("closed", CLOSED_SECONDS, bar(CLOSED_SECONDS, "seconds at most"))
        with step(f"Writing {POSTS_AFTERWARDS} more posts, with its own model again"):
            runaway.normal(base_url, POSTS_AFTERWARDS, WRITTEN_SECONDS, bar(WRITTEN_SECONDS, "seconds at most"))


def _first_dear(dear: Account) -> Entry:
    """The call that crosses the threshold: what a post buys before its draft costs next to nothing."""
    return min(
        (entry for entry in dear.entries.values() if entry.operation == "draft"), key=lambda entry: entry.timestamp
    )


def _replay(path: Path, ledger: Ledger, run: str) -> bool:
    from examples.content_pipeline import replay

    found = trace.messages(path)
    print(f"\nThe trace {path.name}: {len(found):,} real messages\n")
    with step("Replaying them through track_cost.delay(), at their own times"):
        replay.send(found, run, bar(len(found)))
    with step("Waiting until they are booked, and comparing each with the cost recorded in the file"):
        replay.wait(found, run, ledger, bar(len(found)))
        judged = trace.judge(found, run, ledger)
    print("\nHow the recorded messages were priced\n")
    print("\n".join(report.trace_rows(judged, TRACE_MODELS_SHOWN)))
    trace.write(judged, STACK_FILE.with_name("trace.csv"))
    print("  Every message with its recorded and its booked cost stands in .run/trace.csv.")
    return not any(judgement.verdict == "missing" for judgement in judged)


def _verify() -> bool:
    """Whether the counters and the budgets of the whole stack equal its ledger."""
    done = [
        subprocess.run([sys.executable, "manage.py", name], cwd=ROOT, capture_output=True, text=True, check=False)
        for name in VERIFY
    ]
    said = [f"  {line}" for each in done for line in (each.stdout + each.stderr).splitlines()]
    _tell("Do the counters and the budgets of the whole stack equal its ledger?", said)
    return not any(each.returncode for each in done)


def _look(stack: Mapping[str, Any], run: str) -> bool:
    """Whether the pages are there that a person is sent to."""
    pages, visitor = stopped.pages(stack["admin_url"], PERFECTIONIST.id_in(run)), _visitor(stack)
    _tell("Where to see what the breaker did", [f"  {what:<38} {url}" for what, url in pages.items()])
    answers = {url: visitor.status_of(url) for url in pages.values()}
    wrong = [f"  WRONG: {url} answers {status}" for url, status in answers.items() if status != OK]
    print("".join(f"{line}\n" for line in wrong), end="")
    return not wrong


def _visitor(stack: Mapping[str, Any]) -> Visitor:
    visitor = Visitor(stack["base_url"])
    visitor.log_in(stack["admin_user"], stack["admin_password"])
    return visitor


def _posts_in(account: Account) -> int:
    return len({entry.post_id for entry in account.entries.values()})


if __name__ == "__main__":
    sys.exit(main())
