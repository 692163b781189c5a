"""The crash experiment on servers of its own: `python -m tests.end_to_end [--events N] [--seed S] …`."""

import argparse
import os
import sys

import django
from django.core.management import call_command

from tests.servers import postgres_server, redis_server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--duplicates", type=int, default=1_000)
    parser.add_argument("--child-kills", type=int, default=14)
    parser.add_argument("--worker-kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=240)
    arguments = parser.parse_args()
    with postgres_server() as postgres, redis_server() as redis:
        os.environ |= {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "FINOPS_ENV": "test"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "finops_project.settings"
        django.setup()
        call_command("migrate", verbosity=0)
        return _report(arguments)


def _report(arguments: argparse.Namespace) -> int:
    # Models can be imported only now, after the set-up.
    from tests.end_to_end.crash_experiment import Plan, run

    outcome = run(Plan(**vars(arguments)))
    print(outcome)
    return 0 if outcome.comparison.is_exact and not outcome.dead_letters else 1


if __name__ == "__main__":
    sys.exit(main())
