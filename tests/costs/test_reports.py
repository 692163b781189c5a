"""Only what is asked within a report may be read from a replica."""

import pytest
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from costs.models import DailyCost
from costs.reports import REPLICA, ReportRouter, from_replica, reading

ROUTER = ReportRouter()


@pytest.fixture
def with_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES, REPLICA, settings.DATABASES[DEFAULT_DB_ALIAS])


@pytest.mark.usefixtures("with_a_replica")
class TestWithAReplica:
    def test_a_report_is_read_there(self) -> None:
        with from_replica():
            assert ROUTER.db_for_read(DailyCost) == REPLICA

    def test_everything_else_is_the_primary_s(self) -> None:
        assert ROUTER.db_for_read(DailyCost) is None
        assert reading().alias == DEFAULT_DB_ALIAS

    def test_so_it_is_again_after_a_report_that_failed(self) -> None:
        with pytest.raises(ZeroDivisionError), from_replica():
            _ = 1 / 0

        assert ROUTER.db_for_read(DailyCost) is None

    def test_nothing_is_written_or_migrated_there(self) -> None:
        with from_replica():
            assert not hasattr(ROUTER, "db_for_write")
        assert ROUTER.allow_migrate(REPLICA, "costs") is False
        assert ROUTER.allow_migrate(DEFAULT_DB_ALIAS, "costs") is None


def test_without_a_replica_reports_are_read_from_the_primary() -> None:
    with from_replica():
        assert ROUTER.db_for_read(DailyCost) is None
        assert reading().alias == DEFAULT_DB_ALIAS
