"""The price book of this process, made anew when a row of prices has changed."""

from time import monotonic

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from costs.models import PriceRate, PriceSheet
from costs.pricing import PriceBook, Sheet


class _Shelf:
    # One tuple, so that no thread ever sees an old book under a new stamp; the last is when all it has resolved is old.
    held: tuple[str, PriceBook, float] | None = None


def current_book(*, using: str = DEFAULT_DB_ALIAS) -> PriceBook:
    """One small query decides whether the book at hand, with all that it has resolved, is still right."""
    rates = PriceRate.objects.using(using)
    stamp, held = rates.stamp(), _Shelf.held
    if held and held[0] == stamp and monotonic() < held[2]:
        return held[1]
    book = PriceBook(rate.as_rate() for rate in rates.all())
    _Shelf.held = stamp, book, monotonic() + settings.FINOPS_CACHE_TTL_SECONDS
    return book


def keep_sheets(sheets: list[Sheet]) -> None:
    """Store the sheets that lines are about to refer to. In id order, as every writer does it."""
    known = set(PriceSheet.objects.filter(pk__in={sheet.id for sheet in sheets}).values_list("pk", flat=True))
    missing = {sheet.id: sheet for sheet in sheets if sheet.id not in known}
    rows = [PriceSheet(id=id_, content=missing[id_].to_json()) for id_ in sorted(missing)]
    PriceSheet.objects.bulk_create(rows, ignore_conflicts=True)
