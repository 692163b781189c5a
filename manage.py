#!/usr/bin/env python
"""Run an administrative command of the FinOps engine."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")
    os.environ.setdefault("FINOPS_ROLE", "command")
    from django.core.management import execute_from_command_line

    from finops_project.local.home import Home
    from finops_project.local.reach import use_local_stack

    use_local_stack(Home())
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
