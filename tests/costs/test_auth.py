"""Keys: shown once, stored as a hash, limited in what, for whom and how often."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from costs import auth, urls
from costs.api import KeyedView
from costs.models import ApiKey, Scope
from tests.costs.http import Caller

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db
PATHS = ["/costs/post/p", "/costs/post/p/summary", "/costs/events/e/explain", "/costs/breakdown", "/costs/events"]


def forget_recent_keys() -> None:
    auth._Recent.keys.clear()


class TestWhoMayCall:
    @pytest.mark.parametrize("path", PATHS)
    def test_a_stranger_is_asked_for_a_key(self, path: str) -> None:
        stranger = Caller()

        status, problem = stranger.get(path)

        assert (status, problem["title"]) == (401, "Unauthorized")
        assert stranger.headers["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("secret", ["wrong", "fin_", "x" * 5000, "ünïcode"])
    def test_an_unknown_secret_is_refused(self, secret: str) -> None:
        assert Caller(secret).get("/costs/post/p")[0] == 401

    def test_a_key_without_the_scope_is_refused(self) -> None:
        assert Caller.with_key(scopes=[Scope.EVENTS_WRITE]).get("/costs/post/p")[0] == 403

    def test_the_admin_scope_covers_every_other(self) -> None:
        assert Caller.with_key(scopes=[Scope.ADMIN]).get("/costs/post/p")[0] == 404

    def test_a_revoked_key_stops_working(self) -> None:
        key, secret = ApiKey.issue(name="test", scopes=[Scope.COSTS_READ])
        caller = Caller(secret)
        assert caller.get("/costs/post/p")[0] == 404

        key.revoke(NOW)
        forget_recent_keys()

        assert caller.get("/costs/post/p")[0] == 401

    def test_no_path_of_the_ledger_is_open_to_strangers(self) -> None:
        for pattern in urls.urlpatterns:
            view = pattern.callback.view_class  # type: ignore[attr-defined]  # what as_view() adds
            assert issubclass(view, KeyedView), pattern
            assert view.permission_classes == [auth.HasScope], pattern


class TestDocumentation:
    def test_a_key_opens_it(self) -> None:
        assert Caller.with_key().get("/schema/?format=json")[0] == 200

    @pytest.mark.parametrize("path", ["/schema/", "/docs/"])
    def test_a_stranger_is_asked_for_a_key(self, path: str) -> None:
        assert Caller().get(path)[0] == 401

    def test_a_person_is_asked_to_log_in_and_comes_back(self, client: Client) -> None:
        response = client.get("/docs/", headers={"Accept": "text/html"})

        assert (response.status_code, response.headers["Location"]) == (302, "/admin/login/?next=/docs/")

    @pytest.mark.parametrize(("is_staff", "status"), [(True, 200), (False, 403)])
    def test_only_people_of_the_admin_read_it(self, client: Client, is_staff: bool, status: int) -> None:
        client.force_login(User.objects.create_user("person", is_staff=is_staff))

        assert client.get("/docs/").status_code == status
        assert client.get("/schema/").status_code == status

    def test_the_page_asks_no_other_host(self, client: Client) -> None:
        client.force_login(User.objects.create_user("person", is_staff=True))

        page = client.get("/docs/").content.decode()

        assert "swagger-ui" in page
        assert "https://" not in page
        assert "http://" not in page

    def test_a_persons_session_reads_no_costs(self, client: Client) -> None:
        client.force_login(User.objects.create_superuser("person"))

        assert client.get("/costs/post/p").status_code == 401


class TestSecrets:
    def test_the_secret_stands_nowhere_in_the_database(self) -> None:
        key, secret = ApiKey.issue(name="test", scopes=[Scope.COSTS_READ])

        stored = ApiKey.objects.filter(pk=key.pk).values().get()

        assert secret not in str(stored)
        assert ApiKey.objects.find(secret) == key

    def test_a_key_with_an_unknown_scope_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            ApiKey.issue(name="test", scopes=["everything"])


class TestBoundKeys:
    def test_a_bound_key_has_event_ids_of_its_own(self) -> None:
        with pytest.raises(ValidationError, match="source of its own"):
            ApiKey.issue(name="test", scopes=[Scope.EVENTS_WRITE], personas=["ai_jesus"])

        ApiKey.issue(name="test", scopes=[Scope.EVENTS_WRITE], personas=["ai_jesus"], source="studio")


class TestRateLimits:
    def test_the_surplus_is_told_when_to_come_back(self) -> None:
        caller = Caller.with_key(rate_limit=1)
        answers = [caller.get("/costs/post/p")[0] for _ in range(2)]

        assert answers == [404, 429]
        assert 1 <= int(caller.headers["Retry-After"]) <= 60

    def test_requests_are_granted_at_the_keys_rate(self) -> None:
        key, _ = ApiKey.issue(name="test", scopes=[Scope.COSTS_READ], rate_limit=60)

        granted = sum(key.wait(NOW + timedelta(seconds=second / 10)) is None for second in range(600))

        assert 60 <= granted <= 71


class TestCommands:
    def test_a_key_is_made_and_its_secret_is_the_last_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command(
            "create_api_key", name="studio", scopes="events:write,costs:read", source="studio", persona=["ai_jesus"]
        )

        secret = capsys.readouterr().out.strip().splitlines()[-1]
        key = ApiKey.objects.find(secret)
        assert key
        assert (key.source, key.scopes, key.personas) == ("studio", ["events:write", "costs:read"], ["ai_jesus"])

    def test_a_bound_key_without_a_source_takes_its_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("create_api_key", name="studio", scopes="costs:read", persona=["ai_jesus"])

        key = ApiKey.objects.find(capsys.readouterr().out.strip().splitlines()[-1])
        assert key
        assert key.source == "studio"

    def test_an_unknown_scope_is_a_sentence(self) -> None:
        with pytest.raises(CommandError, match="not a valid choice"):
            call_command("create_api_key", name="studio", scopes="everything")

    def test_a_key_is_revoked_by_its_prefix(self) -> None:
        key, secret = ApiKey.issue(name="test", scopes=[Scope.COSTS_READ])

        call_command("revoke_api_key", key.prefix)

        assert ApiKey.objects.find(secret) is None
        with pytest.raises(CommandError, match="No live key"):
            call_command("revoke_api_key", key.prefix)
