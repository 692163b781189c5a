"""Accept one event with plans that the session keeps: of the statement for batches, planning takes most of the time."""

from django.db import migrations

# What ACCEPT in costs/ingest.py does for many: the key, and with it the inbox row, or neither.
FUNCTION = """
CREATE FUNCTION costs_accept_one(
    p_source text, p_event_id text, p_digest bytea, p_post_id text, p_hold_id text, p_payload text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO costs_eventkey (source, event_id, digest) VALUES (p_source, p_event_id, p_digest)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO costs_inboxrow (source, payload, event_count, post_ids, hold_ids)
    VALUES (p_source, p_payload, 1, array_remove(ARRAY[p_post_id], ''), array_remove(ARRAY[p_hold_id], ''));
    RETURN true;
END
$$
"""
DROP = "DROP FUNCTION costs_accept_one(text, text, bytea, text, text, text)"


class Migration(migrations.Migration):
    dependencies = [
        ("costs", "0014_dead_letters_written_off"),
    ]

    operations = [
        migrations.RunSQL(FUNCTION, DROP),
    ]
