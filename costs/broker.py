"""Celery's broker, asked how it is: Redis, or RabbitMQ where FINOPS_BROKER_URL is an amqp:// address."""

import redis
from amqp.exceptions import AMQPError, NotFound  # type: ignore[import-untyped]
from django.conf import settings
from kombu.connection import Connection
from kombu.exceptions import OperationalError


class Away(Exception):
    """The broker does not answer; the message says which one that is, and why."""


def queue_lengths(*, seconds: float) -> dict[str, int]:
    """How many messages wait in each queue. Raises Away when a connection or an answer takes longer than that."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    url = settings.CELERY_BROKER_URL
    return _of_rabbitmq(url, names, seconds) if url.startswith("amqp") else _of_redis(url, names, seconds)


def _of_redis(url: str, names: list[str], seconds: float) -> dict[str, int]:
    client = redis.Redis.from_url(url, socket_connect_timeout=seconds, socket_timeout=seconds)
    try:
        return {name: int(client.llen(name)) for name in names}
    except redis.RedisError as error:
        raise Away(f"Redis does not answer: {error}") from None
    finally:
        client.close()


def _of_rabbitmq(url: str, names: list[str], seconds: float) -> dict[str, int]:
    limits = {"read_timeout": seconds, "write_timeout": seconds}
    try:
        with Connection(url, connect_timeout=seconds, transport_options=limits) as connection:  # type: ignore[no-untyped-call]
            # Else it would be tried twice, two seconds apart.
            connection.ensure_connection(max_retries=0)
            return {name: _length(connection, name) for name in names}
    except (AMQPError, OperationalError, OSError) as error:
        raise Away(f"RabbitMQ does not answer: {error}") from None


def _length(connection: Connection, name: str) -> int:
    with connection.channel() as channel:  # type: ignore[no-untyped-call]
        try:
            return int(channel.queue_declare(name, passive=True).message_count)
        except NotFound:
            # Whoever first sends to it or reads from it makes it. The answer has closed the channel.
            return 0
