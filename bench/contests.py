"""The registry: which figure is measured against which yardstick, and with how many events."""

from collections.abc import Mapping
from functools import partial

from bench.alerting import EVENTS_PER_SECOND, SPECIFIED_SECONDS, Alerting
from bench.breaking import SPECIFIED_SECONDS as ENFORCED_SECONDS
from bench.breaking import Breaking
from bench.deciding import CLIENTS, PER_SECOND, PERSONAS, Bare, Deciding
from bench.delaying import PER_SECOND as DELAYS_PER_SECOND
from bench.delaying import PRODUCERS, Delaying
from bench.delaying import SPECIFIED_MS as SPECIFIED_DELAY_MS
from bench.engine import Engine, Stage
from bench.loaded import BATCH, KINDS, SHARES, Loaded
from bench.loaded import EVENTS_PER_SECOND as LOAD_PER_SECOND
from bench.plain.celery import KEPT_QUEUE, STOCK_QUEUE
from bench.reading import Reading
from bench.rounds import Contest, Trial
from bench.seeing import POSTS, SPECIFIED_RECORD_US, SPECIFIED_SCRAPE_MS, Seeing, record
from bench.specified import (
    AT_ONCE,
    HALF_OF_THE_MACHINE,
    POSTS_PER_MINUTE,
    QUERIES_PER_SECOND,
    SUB_SECOND_MS,
    SpecifiedLoad,
)
from bench.supply import Supply
from bench.yardsticks import Yardsticks
from tests.servers import Server

# Before what is measured of reading; `make bench-scale` has ten million.
LINES = 100_000
ALLOWED_MB = 150.0


def contests(supply: Supply, running: Mapping[str, Server]) -> list[Contest]:
    """`running` are the servers, whose processor time counts as the service's."""
    return [
        *(_delays(supply, threads) for threads in (1, 4)),
        _waiting(supply),
        _drain(supply),
        _booked(supply),
        _memory(supply),
        _reads(supply),
        _alerts(supply),
        _breaker(supply),
        *_decisions(),
        *_metrics(),
        # Last: they leave a million lines and fifty budgets, which the others would not expect.
        _specified_load(supply, running),
        _reads_under_load(supply),
    ]


def _delays(supply: Supply, threads: int) -> Contest:
    suffix, said = ("", "1 thread") if threads == 1 else (f"_{threads}", f"{threads} threads")
    stock = partial(Yardsticks(supply).stock_delay, threads=threads)
    single = partial(Engine(supply).delay_single, threads=threads)
    return Contest(
        Trial(f"stock_delay{suffix}", stock, 2_000, f"stock .delay() of an empty task to Redis, {said}, not durable"),
        [Trial(f"delay_single{suffix}", single, 2_000, f"track_cost.delay(), {said}, durable on return, no workers")],
    )


def _waiting(supply: Supply) -> Contest:
    stage, each = Delaying(supply), "one track_cost.delay(), durable on return, beside 2 worker processes that book"
    due = f"{DELAYS_PER_SECOND} a second from {PRODUCERS} threads, from when each was due"
    return Contest(
        Trial("allowed_delay", lambda _: SPECIFIED_DELAY_MS, 2_000, "not measured: what is allowed", "ms"),
        [
            Trial("delay_p99", stage.p99, 2_000, f"{each}, {due}", "ms"),
            Trial("delay_closed_p99", stage.closed_p99, 2_000, f"{each}, one thread, one after the other", "ms"),
        ],
        stage,
    )


def _drain(supply: Supply) -> Contest:
    copy = "COPY of priced lines over one connection, encoded by Python, all indexes and triggers"
    said = "one process, inbox filled beforehand with rows of {}, pricing and counters included"
    engine = Engine(supply)
    return Contest(
        Trial("raw_copy", Yardsticks(supply).raw_copy, 50_000, copy),
        [
            Trial("drain", partial(engine.drain, batch=1000), 20_000, said.format("1,000 events")),
            Trial("drain_single", partial(engine.drain, batch=1), 5_000, said.format("1 event")),
        ],
    )


def _booked(supply: Supply) -> Contest:
    engine, stage = Engine(supply), Stage(supply)
    naive = "one Celery task with one objects.create() for each event, priced before, 2 worker processes"
    stock = partial(Yardsticks(supply).naive_celery_orm, queue=STOCK_QUEUE)
    kept = partial(Yardsticks(supply).naive_celery_orm, queue=KEPT_QUEUE)
    until = "until booked by 2 worker processes"
    http = [
        Trial(f"http_{batch}", partial(stage.http, batch=batch), events, f"POST of {batch:,}, 4 clients, {until}")
        for batch, events in ((1, 2_000), (100, 10_000), (1000, 20_000))
    ]
    return Contest(
        Trial("naive_celery_orm", stock, 1_000, f"{naive}, stock settings: a database connection for each task"),
        [
            Trial("naive_celery_orm_kept", kept, 2_000, f"{naive}, connections kept by CELERY_DB_REUSE_MAX"),
            Trial("delay_priced", engine.delay_priced, 2_000, f"track_cost.delay(), 1 thread, {until}"),
            *http,
            Trial("ingest_batch", engine.ingest_batch, 20_000, f"accept in batches of 1,000, {until}"),
            Trial("ingest_minute", engine.ingest_batch, 900_000, f"the same for a minute and longer, {until}"),
        ],
        stage,
    )


def _memory(supply: Supply) -> Contest:
    stage = Stage(supply)
    said = "largest of 2 worker processes and their parent, after batches of 1,000"
    return Contest(
        Trial("allowed_rss", lambda _: ALLOWED_MB, 20_000, "not measured: what is allowed", "MB"),
        [Trial("worker_rss", stage.worker_rss, 20_000, said, "MB")],
        stage,
    )


def _reads(supply: Supply) -> Contest:
    stage, behind = Reading(supply, LINES), f"{LINES:,} lines of 60 days in the ledger"
    return Contest(
        Trial(
            "line_by_index_p99", stage.select_p99, 500, f"one line by the index of its post, no HTTP, {behind}", "ms"
        ),
        [
            Trial("post_total_p99", stage.summary_p99, 500, f"GET of a post's summary, one client, {behind}", "ms"),
            Trial(
                "breakdown_p95", stage.breakdown_p95, 70, f"30 days by each group in turn, one client, {behind}", "ms"
            ),
            Trial("http_single_p99", stage.single_p99, 2_000, f"POST of one event, 200 a second, {behind}", "ms"),
        ],
        stage,
    )


def _reads_under_load(supply: Supply) -> Contest:
    stage = Loaded(supply, LINES)
    said = {
        "summary": "GET of a post's summary",
        "breakdown": "GET of 30 days by persona",
        "decision": "POST /controls/decision with a hold",
    }
    quiet, *more = (
        Trial(
            f"{kind}_quiet_{name}",
            partial(stage.quiet, kind=kind, share=share),
            100,
            f"{said[kind]}, nothing else comes",
            "ms",
        )
        for kind in KINDS
        for name, share in SHARES.items()
    )
    beside = f"while {LOAD_PER_SECOND:,} events/s are sent in batches of {BATCH} and booked"
    loaded = [
        Trial(
            f"{kind}_loaded_{name}",
            partial(stage.loaded, kind=kind, share=share),
            100,
            f"{said[kind]}, {beside}",
            "ms",
            beside=f"{kind}_quiet_{name}",
        )
        for kind in KINDS
        for name, share in SHARES.items()
    ]
    reached = partial(Trial, events=100, beside="specified_events", counted="reads of each kind")
    return Contest(
        quiet,
        [
            *more,
            *loaded,
            reached("specified_events", lambda _: float(LOAD_PER_SECOND), conditions="not measured", beside=""),
            reached("load_accepted", stage.accepted, conditions="accepted over HTTP during these reads"),
            reached("load_booked", stage.booked, conditions="booked by 2 worker processes during these reads"),
        ],
        stage,
    )


def _specified_load(supply: Supply, running: Mapping[str, Server]) -> Contest:
    stage, count = SpecifiedLoad(supply, LINES, running), 30 * QUERIES_PER_SECOND
    said, same = "not measured: what the specification names", "of the same run"
    load = (
        f"{AT_ONCE} posts at once, {POSTS_PER_MINUTE} a minute, one event a call, {QUERIES_PER_SECOND} GETs of a post's"
        " summary a second; Postgres and Redis included, clients not"
    )
    specified = {
        "specified_posts": (POSTS_PER_MINUTE, "posts/min"),
        "specified_at_once": (AT_ONCE, "posts"),
        "specified_queries": (QUERIES_PER_SECOND, "queries/s"),
        "specified_query": (SUB_SECOND_MS, "ms"),
    }
    return Contest(
        Trial("half_of_the_machine", lambda _: HALF_OF_THE_MACHINE, count, "not measured: what is allowed", "cores"),
        [
            *(
                Trial(name, partial(_given, value), count, said, unit, counted="queries")
                for name, (value, unit) in specified.items()
            ),
            Trial("load_cores", stage.cores, count, load, "cores"),
            Trial("load_cores_web", stage.cores_of_web, count, f"of these the web processes', {same}", "cores"),
            Trial("load_cores_servers", stage.cores_of_servers, count, f"of these Postgres and Redis, {same}", "cores"),
            Trial("load_posts", stage.posts, count, f"ended, {same}", "posts/min", "specified_posts"),
            Trial("load_at_once", stage.at_once, count, f"on average, {same}", "posts", "specified_at_once"),
            Trial("load_queries", stage.queries, count, f"answered in time, {same}", "queries/s", "specified_queries"),
            Trial(
                "load_query_p95",
                stage.query_p95,
                count,
                f"from when each was due, {same}",
                "ms",
                "specified_query",
                "queries",
            ),
            Trial("posts_cores", stage.cores_without_queries, count, "the same posts without the queries", "cores"),
        ],
        stage,
    )


def _given(value: float, _: int) -> float:
    return value


def _alerts(supply: Supply) -> Contest:
    stage = Alerting(supply)
    said = (
        "from the commit of the event that crosses a threshold to the message at a local Slack that takes more than"
        f" one a second, beside {EVENTS_PER_SECOND} events/s of 50 personas, so many incidents of personas of their own"
    )
    return Contest(
        Trial("specified_alert", lambda _: SPECIFIED_SECONDS, 24, "not measured: what the specification allows", "s"),
        [
            Trial("detect_to_alert_p95", stage.p95, 24, said, "s"),
            Trial("detect_to_alert_p50", stage.p50, 24, "of the same incidents", "s"),
        ],
        stage,
    )


def _breaker(supply: Supply) -> Contest:
    stage = Breaking(supply)
    said = (
        "from the commit of the event that crosses a threshold to a throttle that decisions obey, beside"
        f" {EVENTS_PER_SECOND} events/s of 50 personas, so many runaways of personas of their own"
    )
    return Contest(
        Trial("specified_breaker", lambda _: ENFORCED_SECONDS, 24, "not measured: what the specification allows", "s"),
        [
            Trial("breaker_p95", stage.p95, 24, said, "s"),
            Trial("breaker_p50", stage.p50, 24, "of the same runaways", "s"),
        ],
        stage,
    )


def _decisions() -> list[Contest]:
    bare, deciding = Bare(), Deciding()
    closed = f"{CLIENTS} clients one call after the other"
    over_http = "POST /controls/decision with a hold, 2 web processes"
    due = f"{PER_SECOND} a second, from when each was due"
    return [
        Contest(
            Trial("indexed_select", bare.select, 10_000, f"one row by its index, {closed}", "calls/s"),
            [
                Trial("redis_get", bare.redis, 10_000, f"GET of an absent key, {closed}", "calls/s"),
                Trial(
                    "decision_hold",
                    deciding.per_second,
                    5_000,
                    f"{over_http}, {PERSONAS} personas, {closed}",
                    "calls/s",
                ),
                Trial(
                    "decision_hot", deciding.hot_per_second, 5_000, f"{over_http}, one hard budget, {closed}", "calls/s"
                ),
            ],
            deciding,
        ),
        Contest(
            Trial("indexed_select_p99", bare.select_p99, 6_000, f"one row by its index, {due}", "ms"),
            [Trial("decision_p99", deciding.p99, 6_000, f"{over_http}, {PERSONAS} personas, {due}", "ms")],
            deciding,
        ),
    ]


def _metrics() -> list[Contest]:
    stage, allowed = Seeing(), "not measured: what is allowed"
    behind = f"with {POSTS:,} posts of three days, 50 personas, 12 models and 10 operations behind it"
    return [
        Contest(
            Trial("allowed_scrape", lambda _: SPECIFIED_SCRAPE_MS, 40, allowed, "ms"),
            [
                Trial(
                    "scrape_p95",
                    stage.scrape_p95,
                    40,
                    f"GET /metrics of 2 web processes, a worker and beat, {behind}",
                    "ms",
                ),
                Trial("refresh_gauges", stage.refresh, 1, f"the task that reads what a scrape cannot, {behind}", "ms"),
            ],
            stage,
        ),
        Contest(
            Trial("allowed_record", lambda _: SPECIFIED_RECORD_US, 10_000, allowed, "us"),
            [Trial("record_operation", record, 10_000, "one latency into its histogram", "us")],
        ),
    ]
