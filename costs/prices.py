"""The price book of this process, made anew when a row of prices has changed."""

from costs.models import PriceRate, PriceSheet
from costs.pricing import PriceBook, Sheet


class _Shelf:
    stamp: object = None
    book = PriceBook()


def current_book() -> PriceBook:
    """One small query decides whether the book at hand, with all that it has resolved, is still right."""
    stamp = PriceRate.objects.stamp()
    if stamp != _Shelf.stamp:
        _Shelf.book = PriceBook(rate.as_rate() for rate in PriceRate.objects.all())
        _Shelf.stamp = stamp
    return _Shelf.book


def keep_sheets(sheets: list[Sheet]) -> None:
    """Store the sheets that lines are about to refer to. In id order, as every writer does it."""
    known = set(PriceSheet.objects.filter(pk__in={sheet.id for sheet in sheets}).values_list("pk", flat=True))
    missing = {sheet.id: sheet for sheet in sheets if sheet.id not in known}
    rows = [PriceSheet(id=id_, content=missing[id_].to_json()) for id_ in sorted(missing)]
    PriceSheet.objects.bulk_create(rows, ignore_conflicts=True)
