"""Say whether a post's cost is complete and right. Exits 1 and says what is wrong when it is not.

manage.py validate_post post_001 --expect openai_api,kubernetes,vector_db
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.templatetags.ledger import money
from costs.validate import validate


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("post", help="the post's id")
        parser.add_argument("--expect", default="", help="the cost types of a whole post, separated by commas")

    def handle(self, *args: Any, **options: Any) -> None:
        post = options["post"]
        found = validate(post, expected=[name.strip() for name in options["expect"].split(",") if name.strip()])
        if found.is_known:
            self.stdout.write(f"{post}: {money(found.total)} in {found.events:,} charges")
            for cost_type, amount in found.by_type.items():
                self.stdout.write(f"  {cost_type}: {money(amount)}")
        for sentence in found.wrong:
            self.stderr.write(sentence)
        if found.wrong:
            raise CommandError(f"{post} is not as it should be.")
        self.stdout.write("Nothing is missing, unpriced, pending or set aside; the lines equal the counters.")
