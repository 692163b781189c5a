"""What a caller of a list asks for: strict, and every refusal is a sentence with the parameter's name."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from costs.problems import invalid

Reader = Callable[[str, str], Any]

PAGE = 500
LONGEST_POST = 255
LONGEST_NAME = 100


def read(request: Request, **readers: Reader) -> dict[str, Any]:
    """The parameters that were given, each as its reader reads it. Raises Problem."""
    if unknown := sorted(set(request.query_params) - set(readers)):
        raise invalid(unknown[0], f"is no parameter; there is {', '.join(readers) or 'none'}")
    return {name: reader(name, request.query_params[name]) for name, reader in readers.items() if _has(request, name)}


def page(rows: QuerySet[Any, Any], cursor: Any) -> tuple[list[Any], str | None]:
    """The newest of these, whose keys are in the order of time, and the cursor of what is older; None: nothing is."""
    older = rows if cursor is None else rows.filter(pk__lt=cursor)
    found: list[Model] = list(older.order_by("-pk")[: PAGE + 1])
    return found[:PAGE], str(found[PAGE - 1].pk) if len(found) > PAGE else None


def name(path: str, text: str) -> str:
    return _text(path, text, LONGEST_NAME)


def post(path: str, text: str) -> str:
    return _text(path, text, LONGEST_POST)


def switch(path: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise invalid(path, "must be true or false")
    return text == "true"


def number(path: str, text: str) -> int:
    """The cursor of rows that are numbered."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise invalid(path, "must be the `cursor` of an earlier answer")
    return int(text)


def key(path: str, text: str) -> UUID:
    """The cursor of rows with UUIDs."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid(path, "must be the `cursor` of an earlier answer") from None


def one_of(known: Iterable[str]) -> Reader:
    names = list(known)

    def chosen(path: str, text: str) -> str:
        if text not in names:
            raise invalid(path, f"must be one of {', '.join(names)}")
        return text

    return chosen


def is_name(text: str) -> bool:
    """Whether a persona or a model can be called so."""
    return 0 < len(text) <= LONGEST_NAME and "\0" not in text


def _has(request: Request, parameter: str) -> bool:
    return parameter in request.query_params


def _text(path: str, text: str, longest: int) -> str:
    if not 0 < len(text) <= longest or "\0" in text:
        raise invalid(path, f"must be a name of 1 to {longest} characters")
    return text
