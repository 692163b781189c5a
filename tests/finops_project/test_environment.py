"""Reading the environment: a bad value stops the start with a sentence."""

from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured

from finops_project.environment import Environment


class TestNumbers:
    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-1", "1,5", "two"])
    def test_what_is_no_number_of_at_least_zero_is_refused(self, text: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="TARGET must be"):
            Environment({"TARGET": text}).number("TARGET", "0.02")

    def test_an_empty_value_is_the_default(self) -> None:
        assert Environment({"TARGET": ""}).number("TARGET", "0.02") == Decimal("0.02")


class TestSecrets:
    @pytest.mark.parametrize("text", ["", "x" * 49])
    def test_production_does_not_start_without_a_long_secret(self, text: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="at least 50 characters"):
            Environment({"SECRET": text}).secret("SECRET", "public", required=True)

    def test_elsewhere_the_default_will_do(self) -> None:
        assert Environment({}).secret("SECRET", "public", required=False) == "public"


class TestSwitches:
    @pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("Off", False), ("", True)])
    def test_they_are_true_or_false(self, text: str, value: bool) -> None:
        assert Environment({"SWITCH": text}).switch("SWITCH", True) is value

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="true or false"):
            Environment({"SWITCH": "maybe"}).switch("SWITCH", True)


class TestBrokers:
    @pytest.mark.parametrize("url", ["redis://a:1/0", "rediss://a", "amqp://a", "amqps://a", ""])
    def test_redis_and_rabbitmq_are(self, url: str) -> None:
        assert Environment({"BROKER": url}).broker("BROKER") == url

    @pytest.mark.parametrize("url", ["sentinel://a:26379", "localhost:6379", "sqs://"])
    def test_another_is_refused_without_showing_its_password(self, url: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^BROKER must begin with one of redis, [^/]*://\.$"):
            Environment({"BROKER": url}).broker("BROKER")
