"""The rates that ship with the engine; a row that is there already, edited or not, is left alone."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from costs.pricing import default_rates

NOTE = "shipped default"


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    rates = apps.get_model("costs", "PriceRate")
    for rate in default_rates():
        rates.objects.create(
            kind=rate.kind,
            provider=rate.provider or "",
            model=rate.model or "",
            bucket=rate.bucket,
            unit_price=rate.unit_price,
            per=rate.per,
            effective_from=rate.effective_from,
            effective_to=rate.effective_to,
            note=f"{NOTE}: {rate.version}",
        )


def remove(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("costs", "PriceRate").objects.filter(note__startswith=NOTE).delete()


class Migration(migrations.Migration):
    dependencies = [("costs", "0004_prices")]

    operations = [migrations.RunPython(add, remove)]
