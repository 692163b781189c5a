"""On the page of a budget: where its money is, and letting it spend more for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.timezone import now
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from controls import increases
from controls.admin.base import LONGEST_REASON, first_fault
from controls.budgets import Ended
from controls.models import Budget, BudgetIncrease, Hold, Usage
from costs.events import AMOUNT_LIMIT, MONEY_DECIMALS
from costs.templatetags.ledger import money, second

if TYPE_CHECKING:
    from costs.admin.base import ModelAdmin as Admin
else:
    Admin = object

INCREASES_SHOWN = 50
THIS_PERIOD = "period"
LASTS = {"this period": THIS_PERIOD, "24 hours": "1", "3 days": "3", "7 days": "7", "30 days": "30"}


class IncreaseForm(forms.Form):
    """How much more, why, and for how long."""

    amount = forms.DecimalField(
        label="US dollars more",
        max_value=AMOUNT_LIMIT,
        decimal_places=MONEY_DECIMALS,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextInputWidget({"placeholder": "why, for those who read it later"}),
    )
    lasts = forms.ChoiceField(
        label="For", choices=[(value, words) for words, value in LASTS.items()], widget=UnfoldAdminSelectWidget
    )

    def end(self, budget: Budget, at: datetime) -> datetime:
        lasts = self.cleaned_data["lasts"]
        return budget.span_at(at).end if lasts == THIS_PERIOD else at + timedelta(days=int(lasts))


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the money of a budget is in its present period, and how many holds have a part of it."""

    usage: Usage
    open_holds: int
    pending_holds: int

    @classmethod
    def of(cls, budget: Budget, at: datetime) -> "Whereabouts":
        counted = Hold.objects.filter(budget_ids__contains=[budget.pk])
        return cls(budget.usage(at), counted.open().count(), counted.pending().count())

    @property
    def sentence(self) -> str:
        """Why nothing is left; '' while something is."""
        usage = self.usage
        if usage.remaining > 0:
            return ""
        parts: dict[str, Decimal] = {"is spent": usage.spent, "is held": usage.held, "is pending": usage.pending}
        told = ", ".join(f"{money(amount)} {words}" for words, amount in parts.items() if amount)
        then = f"A new period begins at {second(usage.ends_at)} UTC."
        refuses = (
            "Decisions refuse what it counts." if usage.hard else "It is soft: decisions let calls in all the same."
        )
        return f"Nothing is left of {money(usage.allowed)}: {told}. {refuses} {then}"


class IncreasePages(Admin):
    """The part of the budgets' admin that knows of increases."""

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path("<int:budget_id>/increase/", wrap(require_POST(self.increase)), name="controls_budget_increase"),
            path(
                "<int:budget_id>/increases/<int:increase_id>/end/",
                wrap(require_POST(self.end_increase)),
                name="controls_budget_increase_end",
            ),
        ]
        found: list[URLPattern] = super().get_urls()
        return ours + found

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        at = now()
        budget = self.get_object(request, object_id) if object_id else None
        ours: dict[str, Any] = {}
        if budget is not None:
            latest = budget.increases.order_by("-pk")[:INCREASES_SHOWN]
            ours = {
                "at": at,
                "increases": latest,
                "may_change": self.has_change_permission(request, budget),
                "increase_form": IncreaseForm(prefix="more"),
                "whereabouts": Whereabouts.of(budget, at),
            }
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **ours})

    def increase(self, request: HttpRequest, budget_id: int) -> HttpResponse:
        budget, at, form = self._budget(request, budget_id), now(), IncreaseForm(request.POST, prefix="more")
        if not form.is_valid():
            return self._back(request, budget, f"Nothing was done: {first_fault(form)}", messages.ERROR)
        said = {"reason": form.cleaned_data["reason"], "actor": request.user.get_username()}
        try:
            made = increases.make(
                budget.pk, form.cleaned_data["amount"], expires_at=form.end(budget, at), at=at, **said
            )
        except (increases.Impossible, Ended) as error:
            return self._back(request, budget, f"Nothing was done: the {error or 'budget has ended'}.", messages.ERROR)
        self.log_change(request, budget, f"May spend {money(made.amount)} more.")
        until = f"{second(made.expires_at)} UTC"
        return self._back(request, budget, f"It may spend {money(made.amount)} more until {until}.", messages.SUCCESS)

    def end_increase(self, request: HttpRequest, budget_id: int, increase_id: int) -> HttpResponse:
        budget = self._budget(request, budget_id)
        if not BudgetIncrease.objects.filter(pk=increase_id, budget=budget).exists():
            raise Http404("There is no such increase.")
        ended = increases.end(increase_id, actor=request.user.get_username(), at=now())
        self.log_change(request, budget, f"Took back {money(ended.amount)}.")
        return self._back(request, budget, f"Taken back: {money(ended.amount)}.", messages.SUCCESS)

    def _budget(self, request: HttpRequest, budget_id: int) -> Budget:
        budget = Budget.objects.filter(pk=budget_id).first()
        if budget is None:
            raise Http404("There is no such budget.")
        if not self.has_change_permission(request, budget):
            raise PermissionDenied
        return budget

    def _back(self, request: HttpRequest, budget: Budget, words: str, level: int) -> HttpResponse:
        self.message_user(request, words, level)
        return HttpResponseRedirect(reverse("admin:controls_budget_change", args=[budget.pk]))
