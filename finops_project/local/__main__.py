"""`python -m finops_project.local up | down | status`; `run <name>` is for the supervisor."""

import argparse
import sys

from finops_project.local.home import Home, LocalStackError
from finops_project.local.stack import Stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finops_project.local", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status", "run"])
    parser.add_argument("program", nargs="?")
    arguments = parser.parse_args()
    stack = Stack(Home())
    try:
        if arguments.action == "status":
            return 0 if stack.status() else 1
        if arguments.action == "run":
            stack.run(arguments.program)
        {"up": stack.up, "down": stack.down}[arguments.action]()
    except LocalStackError as error:
        sys.stdout.flush()
        print(f"finops: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("finops: interrupted; `make down` stops what was started.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
