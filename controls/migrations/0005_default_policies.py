"""The policy and the model switches that the engine ships with. Rows that are there already stay as they are."""

from datetime import date

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# https://platform.openai.com/docs/deprecations, as others quote it: check it before the second date comes.
TARGETS = (("gpt-3.5-turbo-0125", date(2026, 10, 23), 16_385), ("gpt-4o-mini", date(2027, 1, 14), 128_000))
MODELS = ("gpt-4o", "gpt-4")


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    policies, switches = apps.get_model("controls", "Policy"), apps.get_model("controls", "Switch")
    policies.objects.get_or_create(persona_id="")
    for model in MODELS:
        for position, (target, retired_on, context_tokens) in enumerate(TARGETS, 1):
            fields = {"position": position, "retired_on": retired_on, "context_tokens": context_tokens}
            switches.objects.get_or_create(model=model, target=target, defaults=fields)


class Migration(migrations.Migration):
    dependencies = [("controls", "0004_switches")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
