"""`profile` measures tracking and deciding, and leaves nothing behind."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from costs.models import CostEvent, EventKey, InboxRow


def profile(*arguments: str) -> str:
    said = StringIO()
    call_command("profile", *arguments, stdout=said)
    return said.getvalue()


@pytest.mark.django_db
class TestProfile:
    def test_time_by_function(self) -> None:
        said = profile("--cpu", "--calls", "20", "--most", "5")

        assert said.startswith("20 events made into lines and 20 decisions read: ")
        assert "Ordered by: internal time" in said

    def test_memory_by_line(self) -> None:
        said = profile("--memory", "--calls", "20", "--most", "3")

        assert "Peak: " in said
        assert "Objects that nobody can free: 0." in said
        assert len(said.splitlines()) == 7

    def test_nothing_is_written(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM controls_hold")
            before = cursor.fetchone()

            profile("--cpu", "--calls", "5")

            cursor.execute("SELECT count(*) FROM controls_hold")
            assert cursor.fetchone() == before
        assert [model for model in (CostEvent, EventKey, InboxRow) if model._default_manager.exists()] == []

    def test_no_calls_are_no_profile(self) -> None:
        with pytest.raises(CommandError, match="at least 1"):
            profile("--cpu", "--calls", "0")
