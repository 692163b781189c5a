"""What the OpenAPI document says of /forecast: the schema that its answer really has."""

from typing import Any

from anomalies.outlook import GROUPS, MOST_SERIES
from costs.documentation import (
    COUNT,
    INSTANT,
    NUMBER,
    TEXT_OR_NULL,
    Schema,
    answers,
    list_of,
    object_of,
    query,
)

DAY: Schema = {"type": "string", "format": "date"}
DAY_OR_NULL: Schema = {**DAY, "nullable": True}
COUNT_OR_NULL: Schema = {**COUNT, "nullable": True}
DOLLARS: Schema = {"type": "number", "description": "US dollars, never below 0."}
DOLLARS_OR_NULL: Schema = {**DOLLARS, "nullable": True}
PERCENT: Schema = {"type": "number"}
PERCENT_OR_NULL: Schema = {"type": "number", "nullable": True}
RATE: Schema = {"type": "number", "minimum": 0, "description": "Events per second."}
REASON: Schema = {**TEXT_OR_NULL, "description": "Why there is no forecast, no back-test or no date."}

RANGE = {name: DOLLARS for name in ("expected", "low", "high")}
RANGE_OR_NULL = {name: DOLLARS_OR_NULL for name in RANGE}
BACKTEST = {
    **object_of(
        {
            "origins": {**COUNT, "description": "How many forecasts were made as of an earlier day."},
            "day_error": {**PERCENT_OR_NULL, "description": "All misses of days over all that was spent."},
            "sum_error": {**PERCENT_OR_NULL, "description": "The same for sums of 7 days."},
            "bias": {**PERCENT_OR_NULL, "description": "Above 0, forecasts were too high."},
            "days_held": {**PERCENT, "description": "How many days lay in the range; 80 is right."},
            "sums_held": {**PERCENT, "description": "How many sums of 7 days lay in the range."},
            "sum_error_of_other": {**PERCENT_OR_NULL, "description": "The sum_error of the method not used."},
        }
    ),
    "nullable": True,
    "description": "Per cent, over forecasts of 7 days made every third day of the last four weeks.",
}
SERIES = {
    "history": object_of(
        {
            "days": {**COUNT, "description": "Full days since the first that cost something, at most 120."},
            "spent_last_30_days": NUMBER,
            "unpriced_events": {"type": "integer", "description": "In the history without a price: not forecast."},
        }
    ),
    "method": {
        "type": "string",
        "nullable": True,
        "enum": ["damped_trend", "average_day", "last_week", None],
        "description": "last_week where it was nearer to the truth in the back-test and was no unusual week; else "
        "damped_trend, or average_day for short histories and costs that come now and then. Null: no forecast.",
    },
    "reason": REASON,
    **RANGE_OR_NULL,
    "today": object_of({"spent": NUMBER, **RANGE_OR_NULL}),
    "days": list_of(object_of({"day": DAY, **RANGE})),
    "backtest": BACKTEST,
}
CAPACITY = {
    **object_of(
        {
            "events_per_second": object_of({"last_hour": RATE, "peak_hour_of_7_days": RATE}),
            "events_per_day": {**COUNT, "description": "Of the last 7 full days."},
            "growth_per_week_percent": PERCENT_OR_NULL,
            "drain": object_of({"events_per_second": COUNT, "reached_on": DAY_OR_NULL, "reason": REASON}),
            "ledger": object_of(
                {
                    "events": COUNT,
                    "partitions": COUNT,
                    "bytes": COUNT,
                    "bytes_per_event": COUNT_OR_NULL,
                    "growth_bytes_per_day": COUNT_OR_NULL,
                }
            ),
            "partitions": object_of({"months_ahead": {"type": "integer", "minimum": -1}, "last_until": DAY}),
            "disk": object_of(
                {
                    "bytes": COUNT_OR_NULL,
                    "database_bytes": COUNT,
                    "growth_bytes_per_day": COUNT_OR_NULL,
                    "full_on": DAY_OR_NULL,
                    "reason": REASON,
                }
            ),
        }
    ),
    "nullable": True,
    "description": "What the engine can still take; null for a key that is bound to personas.",
}
FORECAST: dict[str, Any] = {
    "operation_id": "get_forecast",
    "tags": ["anomalies"],
    "parameters": [
        query("group_by", f"One of {', '.join(GROUPS)}; without it only the total is answered."),
        query("persona_id", "Only this persona."),
    ],
    "responses": answers(
        {
            200: object_of(
                {
                    "made_at": INSTANT,
                    "start_date": {**DAY, "description": "Tomorrow, in UTC."},
                    "end_date": {**DAY, "description": "The last day forecast."},
                    "range_percent": COUNT,
                    "group_by": TEXT_OR_NULL,
                    "total": object_of(SERIES),
                    "series": list_of(
                        object_of(
                            {"key": {"type": "object", "additionalProperties": TEXT_OR_NULL}, **SERIES},
                        )
                    ),
                    "omitted_series": {**COUNT, "description": f"Groups beyond the {MOST_SERIES} dearest: in total."},
                    "capacity": CAPACITY,
                }
            )
        },
        422,
    ),
}
