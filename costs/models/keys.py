"""API keys: random, shown once, stored as a hash."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connections, models

DEFAULT_SOURCE = "default"


class Scope(models.TextChoices):
    EVENTS_WRITE = "events:write"
    DECISIONS_WRITE = "decisions:write"
    COSTS_READ = "costs:read"
    CONTROLS_WRITE = "controls:write"
    ADMIN = "admin"


def digest_of(secret: str) -> str:
    # The secret is 256 random bits, so one round of SHA-256 is as strong as a slow hash and costs nothing.
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def find(self, secret: str) -> "ApiKey | None":
        """The live key of this secret, or None for an unknown or revoked one."""
        return self.filter(digest=digest_of(secret), revoked_at=None).first()


class ApiKey(models.Model):
    """A caller of the HTTP API: what it may do, under which source its event ids live, for which personas."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False, help_text="The first characters, to recognise a key.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    source = models.CharField(
        max_length=100,
        default=DEFAULT_SOURCE,
        help_text="The namespace of this caller's event ids: two sources may use the same id.",
    )
    scopes = ArrayField(models.CharField(max_length=30, choices=Scope), default=list)
    personas = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Bound to these personas, the key sees and writes only them. Empty: all personas.",
    )
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, verbose_name="requests per minute", help_text="Empty: no limit."
    )
    # The GCRA's theoretical arrival time: the whole state of the rate limit.
    next_free_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(condition=~models.Q(source=""), name="costs_apikey_has_a_source"),
            # Else it could claim the event ids of in-process calls for other personas.
            models.CheckConstraint(
                condition=models.Q(personas=[]) | ~models.Q(source=DEFAULT_SOURCE),
                name="costs_apikey_bound_has_its_own_source",
                violation_error_message="A key that is bound to personas needs a source of its own.",
            ),
            models.CheckConstraint(
                condition=models.Q(rate_limit=None) | models.Q(rate_limit__gt=0),
                name="costs_apikey_rate_limit_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(cls, **fields: object) -> tuple[Self, str]:
        """Create a key and return it with its secret, which is stored nowhere."""
        secret = f"fin_{secrets.token_urlsafe(32)}"
        key = cls(prefix=secret[:10], digest=digest_of(secret), **fields)
        key.full_clean()
        key.save()
        return key, secret

    def revoke(self, at: datetime) -> None:
        self.revoked_at = at
        self.save(update_fields=["revoked_at"])

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def visible_personas(self) -> list[str] | None:
        """The personas that this key sees; None means all."""
        return self.personas or None

    def wait(self, at: datetime, *, using: str = DEFAULT_DB_ALIAS) -> timedelta | None:
        """Take one request from the rate limit; None when granted, else how long to wait (GCRA, bursts of 10 s)."""
        if self.rate_limit is None:
            return None
        interval, burst = timedelta(minutes=1) / self.rate_limit, timedelta(seconds=10)
        with connections[using].cursor() as cursor:
            cursor.execute(
                "UPDATE costs_apikey SET next_free_at = GREATEST(next_free_at, %(at)s) + %(interval)s::interval"
                " WHERE id = %(id)s AND COALESCE(next_free_at, %(at)s) <= %(latest)s",
                {"at": at, "interval": str(interval), "latest": at + burst, "id": self.pk},
            )
            if cursor.rowcount:
                return None
        self.refresh_from_db(using=using, fields=["next_free_at"])
        return max((self.next_free_at or at) - at - burst, timedelta(seconds=1))
