"""The benchmarks: `make bench`. Every figure stands beside a yardstick that was measured in the same run.

Own throw-away PostgreSQL and Valkey with default durability, real Celery workers, the real web server.
"""
