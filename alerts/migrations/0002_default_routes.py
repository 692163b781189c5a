"""The channels and routes that ship with the engine; a row that is there already, edited or not, is left alone."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Each says what its neighbour cannot.
FALLBACKS = {"slack": "email", "pagerduty": "slack", "email": "slack"}
ROUTES = {
    "critical": ["slack", "pagerduty", "email"],
    "high": ["slack", "pagerduty"],
    "medium": ["slack"],
    "low": ["email"],
}


def add(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    channels, routes = apps.get_model("alerts", "Channel"), apps.get_model("alerts", "Route")
    for name in FALLBACKS:
        channels.objects.get_or_create(name=name, defaults={"kind": name})
    for name, fallback in FALLBACKS.items():
        channels.objects.filter(name=name, fallback=None).update(fallback=channels.objects.get(name=fallback))
    for severity, names in ROUTES.items():
        routes.objects.get_or_create(persona_id="", rule="", severity=severity, defaults={"channels": names})


class Migration(migrations.Migration):
    dependencies = [("alerts", "0001_alerts")]

    # Backwards the tables go with 0001.
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
