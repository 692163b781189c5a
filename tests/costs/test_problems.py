"""Whatever goes wrong, a program reads one shape and a person reads a page."""

import json

import pytest
from django.test import Client
from django.test.client import MULTIPART_CONTENT

from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
PAGE = {"Accept": "text/html"}


@pytest.fixture
def stranger() -> Client:
    """A client that is checked for CSRF tokens, as a real one is."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


class TestProgramsReadProblems:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nowhere", 404),
            ("GET", "/costs/post/", 404),
            ("GET", "/costs/post/p", 401),
            ("POST", "/", 403),
            ("POST", "/health", 405),
            ("DELETE", "/ready", 405),
            ("OPTIONS", "/metrics", 405),
        ],
    )
    def test_of_every_kind(self, stranger: Client, method: str, path: str, status: int) -> None:
        response = stranger.generic(method, path)

        problem = json.loads(response.content)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert (response.status_code, problem["status"], problem["type"]) == (status, status, "about:blank")
        assert problem["title"]
        assert problem["detail"].endswith(".")

    @pytest.mark.parametrize(("method", "status"), [("put", 405), ("patch", 405), ("delete", 405)])
    def test_of_methods_that_a_path_does_not_know(self, method: str, status: int) -> None:
        caller = Caller.with_key()

        assert caller.call(method, "/costs/breakdown")[0] == status
        assert caller.headers["Content-Type"] == "application/problem+json"
        assert "GET" in caller.headers["Allow"]

    def test_of_a_host_that_is_not_served(self, stranger: Client) -> None:
        response = stranger.get("/health", headers={"Host": "evil.example"})

        assert response.status_code == 400
        assert "DJANGO_ALLOWED_HOSTS" in json.loads(response.content)["detail"]

    def test_of_a_fault_of_our_own_without_its_details(self, stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("finops_project.health.encode", lambda _: 1 / 0)

        response = stranger.get("/health")

        assert response.status_code == 500
        assert "division" not in response.content.decode()
        assert json.loads(response.content)["title"] == "Internal Server Error"


class TestPeopleReadPages:
    @pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/admin/login/", 403)])
    def test_in_the_browser(self, stranger: Client, method: str, path: str, status: int) -> None:
        response = stranger.generic(method, path, content_type=MULTIPART_CONTENT, headers=PAGE)

        assert response.status_code == status
        assert response.headers["Content-Type"].startswith("text/html")
