"""Columns that keep numbers exact."""

import json
from decimal import Decimal
from typing import Any

from django.db import models


class ExactDecoder(json.JSONDecoder):
    """Fractions as Decimals: a float would change them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(parse_float=Decimal, **options)


class MoneyField(models.DecimalField):  # type: ignore[type-arg]
    """US dollars with 12 decimals, below a billion."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"max_digits": 21, "decimal_places": 12})


class SumField(models.DecimalField):  # type: ignore[type-arg]
    """US dollars with 12 decimals, wide enough for every sum of lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"max_digits": 38, "decimal_places": 12})


class ExactJSONField(models.JSONField):
    """JSON whose numbers come back digit by digit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"decoder": ExactDecoder})
