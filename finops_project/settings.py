"""All settings. Every value an operator may change is an environment variable, read once, here."""

from pathlib import Path
from typing import Any

from celery.schedules import crontab
from django.templatetags.static import static
from django.urls import reverse_lazy
from kombu.entity import Queue

from costs.deadline import HastyConnection
from costs.polled import PolledConnection
from finops_project import logs
from finops_project.environment import Environment, database, password

env = Environment()
BASE_DIR = Path(__file__).resolve().parent.parent

FINOPS_ENV = env.choice("FINOPS_ENV", "development", {"development", "production", "test"})
FINOPS_ROLE = env.choice("FINOPS_ROLE", "command", {"web", "worker", "beat", "flower", "command"})
PRODUCTION = FINOPS_ENV == "production"

DEBUG = False
SECRET_KEY = env.secret("DJANGO_SECRET_KEY", "insecure-development-key", required=PRODUCTION)
ALLOWED_HOSTS = env.words("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("DJANGO_CSRF_TRUSTED_ORIGINS", "")

# The pages of the admin, with all that they import, take ten MB of a process; workers and beat show none.
HAS_PAGES = FINOPS_ROLE in {"web", "command"}
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin" if HAS_PAGES else "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "costs",
    "alerts",
    "controls",
    "anomalies",
]

MIDDLEWARE = [
    "finops_project.access.AccessLog",
    "django.middleware.security.SecurityMiddleware",
    "finops_project.metrics.operations.Measured",
    "finops_project.express.Bulkhead",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "finops_project.metrics.operations.Framework",
]

ROOT_URLCONF = "finops_project.urls"
WSGI_APPLICATION = "finops_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database. Web processes pool, behind PgBouncer too: else each of their threads would keep two of its clients for ever.
# A prefork child holds one connection.
DATABASE_URL = env.text("DATABASE_URL", "postgresql://finops@127.0.0.1:5432/finops")
DATABASE_REPLICA_URL = env.text("DATABASE_REPLICA_URL")
FINOPS_DB_POOL_MIN = env.integer("FINOPS_DB_POOL_MIN", 1)
# Half of the requests that a web process serves at once (finops_project/express.py), so that two of them stay below
# twenty with workers and decisions. Who asks many slow reports at once raises it: events wait two seconds behind them.
FINOPS_DB_POOL_MAX = env.integer("FINOPS_DB_POOL_MAX", 4, least=1)
# Four of one server are as fast as it gets, and web has two processes.
FINOPS_DECISION_POOL = env.integer("FINOPS_DECISION_POOL", 2 if FINOPS_ROLE == "web" else 4, least=1)
FINOPS_PGBOUNCER = env.switch("FINOPS_PGBOUNCER", False)
FINOPS_STATEMENT_TIMEOUT_MS = env.integer("FINOPS_STATEMENT_TIMEOUT_MS", 60_000)


def _connection(url: str = DATABASE_URL) -> dict[str, Any]:
    # A server that vanished without a word is noticed after 15 seconds, whether we wait for it or speak to it.
    alive = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}
    options: dict[str, Any] = {"connect_timeout": 5, **alive}
    if not FINOPS_PGBOUNCER:
        options["options"] = f"-c statement_timeout={FINOPS_STATEMENT_TIMEOUT_MS} -c lock_timeout=10000"
        # And the other way round: a client that vanished in a booking would hold up all others for hours.
        options["options"] += " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
        options["options"] += " -c tcp_user_timeout=15000"
    pooled = FINOPS_ROLE == "web"
    if pooled:
        # Without Postgres a request hears so after 2 seconds; by default the pauses between new tries double each time.
        # What a burst opened is closed again, one every three seconds in which it was too many.
        life = {"timeout": 2, "reconnect_timeout": 1, "max_idle": 3, "connection_class": PolledConnection}
        options["pool"] = {"min_size": FINOPS_DB_POOL_MIN, "max_size": FINOPS_DB_POOL_MAX, **life}
    entry = database(url, role=FINOPS_ROLE, options=options)
    entry["CONN_MAX_AGE"] = 0 if pooled else None
    # A connection that broke while nobody used it is replaced before the next use, not by an error.
    entry["CONN_HEALTH_CHECKS"] = True
    entry["DISABLE_SERVER_SIDE_CURSORS"] = FINOPS_PGBOUNCER
    return entry


def _hasty_connection() -> dict[str, Any]:
    """Pooled in every process. More connections answer no faster: they wait for each other's rows and for the disk."""
    entry = _connection()
    life = {"timeout": 0.15, "reconnect_timeout": 1, "max_waiting": 100, "connection_class": HastyConnection}
    if not FINOPS_PGBOUNCER:
        # Below the deadline of a statement: who waits for a row hears that it is busy, not that Postgres is away.
        entry["OPTIONS"]["options"] += " -c lock_timeout=400"
    entry["OPTIONS"] |= {
        "connect_timeout": 2,
        "pool": {"min_size": FINOPS_DECISION_POOL, "max_size": FINOPS_DECISION_POOL, **life},
    }
    entry["CONN_MAX_AGE"] = 0
    # Decisions notice a broken connection by themselves; a round trip before each would cost them a tenth.
    entry["CONN_HEALTH_CHECKS"] = False
    return entry


DATABASES = {
    "default": _connection(),
    # The same database on a connection of its own: a cost is kept even when the caller rolls back.
    "inbox": _connection() | {"TEST": {"MIRROR": "default"}},
    # The same on few connections that never make anybody wait: who asks before a paid call must hear something.
    "decisions": _hasty_connection() | {"TEST": {"MIRROR": "default"}},
}
if DATABASE_REPLICA_URL:
    # For reports only, and only where they ask for it.
    DATABASES["replica"] = _connection(DATABASE_REPLICA_URL) | {"TEST": {"MIRROR": "default"}}
DATABASE_ROUTERS = ["costs.reports.ReportRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("DJANGO_STATIC_ROOT", str(BASE_DIR / "staticfiles")))
WHITENOISE_USE_FINDERS = not PRODUCTION
# Tests make hundreds of handlers: none of them should list all static files first.
WHITENOISE_AUTOREFRESH = FINOPS_ENV == "test"
LOGIN_REDIRECT_URL = "/admin/"
LOGIN_URL = "/admin/login/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_SSL_REDIRECT = PRODUCTION and env.switch("FINOPS_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_HSTS_SECONDS = env.integer("FINOPS_HSTS_SECONDS", 31_536_000) if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
X_FRAME_OPTIONS = "DENY"

# HTTP
APPEND_SLASH = True
CSRF_FAILURE_VIEW = "costs.problems.csrf_failure"
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("FINOPS_MAX_BODY_BYTES", 8 * 1024 * 1024)
FINOPS_METRICS_TOKEN = env.text("FINOPS_METRICS_TOKEN")
# Read by Prometheus' library itself: the folder in which the processes of a machine count together.
if PROMETHEUS_MULTIPROC_DIR := env.text("PROMETHEUS_MULTIPROC_DIR"):
    Path(PROMETHEUS_MULTIPROC_DIR).mkdir(parents=True, exist_ok=True)
# Where every process listens for Prometheus; 0: nowhere.
FINOPS_METRICS_PORT = env.integer("FINOPS_METRICS_PORT", 0)
FINOPS_METRICS_HOST = env.text("FINOPS_METRICS_HOST", "127.0.0.1")
# What the ledger says is the same from every process, so of all that are scraped only one kind may tell it.
FINOPS_METRICS_LEDGER = env.switch("FINOPS_METRICS_LEDGER", FINOPS_ROLE == "web")
FINOPS_METRICS_PERSONAS = env.integer("FINOPS_METRICS_PERSONAS", 50, least=1)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["costs.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["costs.auth.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["costs.auth.KeyRateLimit"],
    "DEFAULT_RENDERER_CLASSES": ["costs.rendering.ExactJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["costs.rendering.ExactJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "costs.problems.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "FinOps engine",
    "DESCRIPTION": "A cost ledger with guardrails for teams that produce content with LLMs.",
    "VERSION": "1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": ["costs.auth.ApiKeyAuthentication", "rest_framework.authentication.SessionAuthentication"],
    "SERVE_PERMISSIONS": ["costs.auth.KeyOrStaff"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "DISABLE_ERRORS_AND_WARNINGS": False,
}

# Celery: the broker carries nudges, never money; so it may lose everything at any moment.
CELERY_BROKER_URL = env.broker("FINOPS_BROKER_URL") or env.broker("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "socket_connect_timeout": 1,
    # A worker's socket must outlive the blocking poll; a producer must never hang.
    "socket_timeout": 5 if FINOPS_ROLE in {"worker", "flower"} else 1,
    "health_check_interval": 25,
}
if CELERY_BROKER_URL.startswith("amqp"):
    # The same for RabbitMQ. Who consumes waits without an end, and a worker notices by heartbeats that nobody is there.
    CELERY_BROKER_CONNECTION_TIMEOUT = 1
    CELERY_BROKER_HEARTBEAT = 10
    CELERY_BROKER_TRANSPORT_OPTIONS = (
        {"write_timeout": 5} if FINOPS_ROLE in {"worker", "flower"} else {"read_timeout": 1, "write_timeout": 1}
    )
    # Beat keeps one channel for ever, and only a second try opens a new one after RabbitMQ was away. Others have pools.
    CELERY_TASK_PUBLISH_RETRY = FINOPS_ROLE == "beat"
    CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Who drains takes the first queue, who watches the second, who tells people the third; a worker that is told nothing
# takes all three.
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("celery", "watch", "tell")]  # type: ignore[no-untyped-call]
CELERY_TASK_ROUTES = {
    "costs.tasks.refresh_metrics": {"queue": "watch"},
    "costs.tasks.verify_ledger": {"queue": "watch"},
    "anomalies.tasks.*": {"queue": "watch"},
    "controls.tasks.*": {"queue": "watch"},
    "alerts.tasks.*": {"queue": "tell"},
}
CELERY_TASK_SOFT_TIME_LIMIT = env.integer("FINOPS_TASK_TIMEOUT_SECONDS", 30, least=1)
CELERY_TASK_TIME_LIMIT = 60
CELERY_WORKER_MAX_MEMORY_PER_CHILD = env.integer("FINOPS_MEMORY_THRESHOLD_MB", 400) * 1024
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_TASK_SEND_SENT_EVENT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Celery closes the database connection around every task unless this is set.
CELERY_DB_REUSE_MAX = 10_000
CELERY_BEAT_SCHEDULE_FILENAME = env.text("FINOPS_BEAT_SCHEDULE", "/tmp/finops-beat-schedule")  # noqa: S108
CELERY_BEAT_SCHEDULER = "finops_project.beat:FixedScheduler"
# Every window of time below is also a row in Postgres, so a second beat or a missed tick changes nothing.
FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS = env.integer("FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS", 30, least=1)
CELERY_BEAT_SCHEDULE = {
    "inbox-sweep": {"task": "costs.tasks.sweep_inbox", "schedule": 1.0, "options": {"expires": 5}},
    "partitions": {"task": "costs.tasks.ensure_partitions", "schedule": 3600.0, "options": {"expires": 600}},
    "metrics": {"task": "costs.tasks.refresh_metrics", "schedule": 5.0, "options": {"expires": 10}},
    "verify-ledger": {"task": "costs.tasks.verify_ledger", "schedule": 3600.0, "options": {"expires": 600}},
    "savings": {"task": "controls.tasks.measure_savings", "schedule": 60.0, "options": {"expires": 55}},
    "reprice-unpriced": {"task": "costs.tasks.reprice_unpriced", "schedule": 300.0, "options": {"expires": 250}},
    "anomaly-sweep": {
        "task": "anomalies.tasks.sweep",
        "schedule": float(FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS),
        "options": {"expires": FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS},
    },
    "budget-check": {"task": "anomalies.tasks.check_budgets", "schedule": 60.0, "options": {"expires": 55}},
    "controls-sweep": {"task": "controls.tasks.sweep", "schedule": 1.0, "options": {"expires": 5}},
    "controls-forget": {"task": "controls.tasks.forget", "schedule": 3600.0, "options": {"expires": 600}},
    "alert-sweep": {"task": "alerts.tasks.sweep", "schedule": 2.0, "options": {"expires": 5}},
    "heartbeat": {"task": "alerts.tasks.heartbeat", "schedule": 60.0, "options": {"expires": 55}},
    "daily-digest": {
        "task": "alerts.tasks.daily_digest",
        "schedule": crontab(hour=str(env.integer("FINOPS_DIGEST_HOUR", 8)), minute="0"),
        "options": {"expires": 3600},
    },
}

# What the specification calls the engine's config: each key is also an environment variable FINOPS_<KEY>.
FINOPS_COST_THRESHOLD_PER_POST = env.number("FINOPS_COST_THRESHOLD_PER_POST", "0.02")
FINOPS_ALERT_THRESHOLD_MULTIPLIER = env.number("FINOPS_ALERT_THRESHOLD_MULTIPLIER", "2.0")
FINOPS_STORAGE_LATENCY_TARGET_MS = env.integer("FINOPS_STORAGE_LATENCY_TARGET_MS", 500)
FINOPS_ANOMALY_DETECTION_ENABLED = env.switch("FINOPS_ANOMALY_DETECTION_ENABLED", True)
FINOPS_DISK_BYTES = env.integer("FINOPS_DISK_BYTES", 0)
FINOPS_DRAIN_RATE_EVENTS = env.integer("FINOPS_DRAIN_RATE_EVENTS", 10000, least=1)
FINOPS_COST_PER_FOLLOW_TARGET = env.number("FINOPS_COST_PER_FOLLOW_TARGET", "0.01")
FINOPS_ANOMALY_CHECK = "anomalies.detect.check"

# Alerts. A channel without its secret, here or in the admin, is not configured and says nothing.
FINOPS_PUBLIC_URL = env.text("FINOPS_PUBLIC_URL", "http://127.0.0.1:8080")
# Where people reach Flower; the sidebar has no link to it while this is empty.
FINOPS_FLOWER_URL = env.text("FINOPS_FLOWER_URL")
FINOPS_SLACK_WEBHOOK_URL = env.text("FINOPS_SLACK_WEBHOOK_URL")
FINOPS_PAGERDUTY_ROUTING_KEY = env.text("FINOPS_PAGERDUTY_ROUTING_KEY")
FINOPS_PAGERDUTY_URL = env.text("FINOPS_PAGERDUTY_URL")
FINOPS_ALERT_EMAIL_TO = env.words("FINOPS_ALERT_EMAIL_TO", "")
FINOPS_ALERT_REPEAT_SECONDS = env.integer("FINOPS_ALERT_REPEAT_SECONDS", 3600, least=60)
FINOPS_ALERT_ESCALATE_SECONDS = env.integer("FINOPS_ALERT_ESCALATE_SECONDS", 1800, least=60)
FINOPS_HEARTBEAT_URL = env.text("FINOPS_HEARTBEAT_URL")
FINOPS_APPRISE_ENABLED = env.switch("FINOPS_APPRISE_ENABLED", False)
# Origins such as http://127.0.0.1:8123 that stand in for the vendors; `check --deploy` refuses them.
ALERT_TEST_ENDPOINTS = env.words("FINOPS_ALERT_TEST_ENDPOINTS", "")
EMAIL_HOST = env.text("FINOPS_SMTP_HOST", "localhost")
EMAIL_PORT = env.integer("FINOPS_SMTP_PORT", 25, least=1)
EMAIL_HOST_USER = env.text("FINOPS_SMTP_USER")
EMAIL_HOST_PASSWORD = env.text("FINOPS_SMTP_PASSWORD")
EMAIL_USE_TLS = env.switch("FINOPS_SMTP_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("FINOPS_EMAIL_FROM", "finops@localhost")

FINOPS_ACCEPT_OLDEST_DAYS = env.integer("FINOPS_ACCEPT_OLDEST_DAYS", 90, least=1)
FINOPS_COST_EVENT_BATCH_SIZE = env.integer("FINOPS_COST_EVENT_BATCH_SIZE", 4000, least=1)
# How long a process keeps the prices that it has resolved; a change of a row ends them at once.
FINOPS_CACHE_TTL_SECONDS = env.integer("FINOPS_CACHE_TTL_SECONDS", 300, least=1)
FINOPS_MAX_CONCURRENT_TASKS = env.integer("FINOPS_MAX_CONCURRENT_TASKS", 50, least=1)
FINOPS_WORKER_POOL_SIZE = env.integer("FINOPS_WORKER_POOL_SIZE", 10, least=1)
# A call whose model has no known price is held at the dearest of its provider, or refused by hard budgets.
FINOPS_UNKNOWN_MODELS = env.choice("FINOPS_UNKNOWN_MODELS", "hold", {"hold", "deny"})
FINOPS_INBOX_LEASE_SECONDS = env.integer("FINOPS_INBOX_LEASE_SECONDS", 20, least=1)


def _page(title: str, icon: str, name: str, permission: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{name}"),
        # Every page of the same thing: its list, one of it, its history.
        "active": lambda request: f"{request.resolver_match.url_name}_".startswith(name.removesuffix("changelist")),
        "permission": lambda request: request.user.has_perm(permission),
    }


def _elsewhere(title: str, icon: str, url: str, permission: str) -> list[dict[str, Any]]:
    """A page with a login of its own, if there is one; admin.js opens it in a new tab."""
    page = {
        "title": title,
        "icon": icon,
        "link": url,
        "active": lambda request: False,
        "permission": lambda request: request.user.has_perm(permission),
    }
    return [page] if url else []


UNFOLD = {
    "SITE_TITLE": "FinOps engine",
    "SITE_HEADER": "FinOps engine",
    "SITE_SUBHEADER": "Cost ledger",
    "SITE_SYMBOL": "payments",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("costs/favicon.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "anomalies.admin.overview.context",
    "STYLES": [
        lambda request: static("costs/admin.css"),
        lambda request: static("alerts/admin.css"),
        lambda request: static("controls/admin.css"),
    ],
    "SCRIPTS": [lambda request: static("costs/admin.js")],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Audit",
                "items": [
                    {"title": "Overview", "icon": "home", "link": reverse_lazy("admin:index")},
                    _page("Posts", "article", "costs_post_changelist", "costs.view_costevent"),
                    _page("Outcomes", "trending_up", "costs_outcome_changelist", "costs.view_outcome"),
                    _page("Archive", "archive", "costs_archivedpartition_changelist", "costs.view_archivedpartition"),
                    _page("Ledger lines", "receipt_long", "costs_costevent_changelist", "costs.view_costevent"),
                ],
            },
            {
                "title": "Detection",
                "items": [
                    _page("Anomalies", "troubleshoot", "anomalies_anomaly_changelist", "anomalies.view_anomaly"),
                    _page("Rule policies", "tune", "anomalies_rulepolicy_changelist", "anomalies.view_rulepolicy"),
                    _page("Tolerances", "thumb_up", "anomalies_tolerance_changelist", "anomalies.view_tolerance"),
                ],
            },
            {
                "title": "Alerts",
                "items": [
                    _page("Incidents", "notifications", "alerts_alertgroup_changelist", "alerts.view_alertgroup"),
                    _page("Deliveries", "outgoing_mail", "alerts_delivery_changelist", "alerts.view_delivery"),
                    _page("Channels", "campaign", "alerts_channel_changelist", "alerts.view_channel"),
                    _page("Routes", "alt_route", "alerts_route_changelist", "alerts.view_route"),
                    _page("Silences", "notifications_off", "alerts_silence_changelist", "alerts.view_silence"),
                    _page("Not said", "voice_over_off", "alerts_decision_changelist", "alerts.view_decision"),
                ],
            },
            {
                "title": "Controls",
                "items": [
                    _page("Breaker", "speed", "controls_control_changelist", "controls.view_control"),
                    _page("Overrides", "pan_tool", "controls_override_changelist", "controls.view_override"),
                    _page("Transitions", "stairs", "controls_controltransition_changelist", "controls.view_control"),
                    _page("Budgets", "account_balance_wallet", "controls_budget_changelist", "controls.view_budget"),
                    _page("Holds", "lock_clock", "controls_hold_changelist", "controls.view_hold"),
                    _page("Refusals", "block", "controls_refusal_changelist", "controls.view_refusal"),
                    _page("Savings", "savings", "controls_savings_changelist", "controls.view_hold"),
                    _page("Breaker policies", "rule_settings", "controls_policy_changelist", "controls.view_policy"),
                    _page("Model switches", "swap_horiz", "controls_switch_changelist", "controls.view_switch"),
                    _page(
                        "Setting changes", "history", "controls_settingchange_changelist", "controls.view_settingchange"
                    ),
                ],
            },
            {
                "title": "Intake",
                "items": [
                    _page("Dead letters", "report", "costs_deadletter_changelist", "costs.view_deadletter"),
                    _page("Inbox", "inbox", "costs_inboxrow_changelist", "costs.view_inboxrow"),
                ],
            },
            {
                "title": "Running",
                "items": [
                    _page("Schedule", "schedule", "costs_scheduledrun_changelist", "costs.view_scheduledrun"),
                    *_elsewhere("Flower", "local_florist", FINOPS_FLOWER_URL, "costs.view_scheduledrun"),
                ],
            },
            {
                "title": "Prices",
                "items": [
                    _page("Prices", "sell", "costs_pricerate_changelist", "costs.view_pricerate"),
                    _page("Price sheets", "request_quote", "costs_pricesheet_changelist", "costs.view_pricesheet"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _page("API keys", "key", "costs_apikey_changelist", "costs.view_apikey"),
                    _page("Users", "person", "auth_user_changelist", "auth.view_user"),
                    _page("Groups", "group", "auth_group_changelist", "auth.view_group"),
                ],
            },
        ],
    },
}

# The first page asks it what /ready knows and no page shows.
FINOPS_FIRST_PAGE_CHECKS = "finops_project.health.without_a_page"

FINOPS_LOG_FORMAT = env.choice("FINOPS_LOG_FORMAT", logs.JSON if PRODUCTION else logs.PRETTY, {logs.JSON, logs.PRETTY})
# They never come out, neither in a line nor where tasks are watched.
SECRETS = (
    *(SECRET_KEY, FINOPS_METRICS_TOKEN, FINOPS_PAGERDUTY_ROUTING_KEY, EMAIL_HOST_PASSWORD),
    *(FINOPS_SLACK_WEBHOOK_URL, FINOPS_HEARTBEAT_URL, password(DATABASE_URL), password(CELERY_BROKER_URL)),
)
LOGGING_CONFIG = "finops_project.logs.configure"
LOGGING = logs.settings(
    FINOPS_LOG_FORMAT,
    # A command says on its standard output what it did.
    env.choice(
        "FINOPS_LOG_LEVEL",
        "WARNING" if FINOPS_ROLE == "command" else "INFO",
        {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"},
    ),
    secrets=SECRETS,
)
