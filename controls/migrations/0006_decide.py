"""The decision as one function: who may spend is read, judged and reserved on Postgres' clock, in one round trip."""

from django.db import migrations

# The budgets that count a call: the present period of each, and of hard ones those before it whose holds may yet be
# settled by lines of this one. A budget that `lacks` has no row for the present period.
BUDGETS = """
CREATE FUNCTION controls_budgets_of(
    p_persona text, p_model text, p_listed text, p_cost_type text, p_sold text, p_at timestamptz,
    OUT budget_id bigint, OUT starts_at timestamptz, OUT is_present boolean, OUT lacks boolean
) RETURNS SETOF record LANGUAGE sql STABLE ROWS 4 AS $$
    SELECT b.id, p.starts_at, p.ends_at > p_at, NOT EXISTS (
        SELECT FROM controls_budgetperiod q
        WHERE q.budget_id = b.id AND q.starts_at <= p_at AND q.starts_at > p_at - interval '40 days'
          AND q.ends_at > p_at
    )
    FROM controls_budget b
    LEFT JOIN controls_budgetperiod p ON p.budget_id = b.id AND p.starts_at <= p_at
        AND p.starts_at > p_at - interval '40 days'
        AND (p.ends_at > p_at OR (b.hard AND p.held > 0 AND p.ends_at > p_at - interval '1 day'))
    WHERE b.persona_id IN ('', p_persona) AND b.model IN ('', p_model, p_listed)
      AND b.cost_type IN ('', p_cost_type, p_sold) AND b.ended_at IS NULL
$$;

-- What each of the budgets has left in its present period, without a lock: for those who are turned away.
CREATE FUNCTION controls_left_of(
    p_persona text, p_model text, p_listed text, p_cost_type text, p_sold text, p_at timestamptz,
    OUT budget_id bigint, OUT name text, OUT persona_id text, OUT is_hard boolean, OUT allowed numeric,
    OUT remaining numeric,
    OUT resets_at timestamptz
) RETURNS SETOF record LANGUAGE sql STABLE ROWS 4 AS $$
    SELECT b.id, b.name, b.persona_id, b.hard, l.allowed, l.allowed - p.spent - p.held - p.pending, p.ends_at
    FROM controls_budgets_of(p_persona, p_model, p_listed, p_cost_type, p_sold, p_at) f
    JOIN controls_budget b ON b.id = f.budget_id
    JOIN controls_budgetperiod p ON p.budget_id = f.budget_id AND p.starts_at = f.starts_at
    CROSS JOIN LATERAL (
        SELECT b."limit" + COALESCE(sum(i.amount), 0) AS allowed FROM controls_budgetincrease i
        WHERE i.budget_id = b.id AND i.starts_at <= p_at AND i.expires_at > p_at AND i.ended_at IS NULL
    ) l
    WHERE f.is_present
$$;
"""

# p_listed and p_sold are the names by which the price list has the model and its seller: a budget for those counts the
# call however it is spelled. p_cheap_*: the same call with a cheaper model, null without one. `waits` is in seconds.
# Locks come in the order that all who move budgets keep: periods by budget and start, then the control row. A period
# that has no row yet is named in `missing`, and nothing is decided.
DECIDE = """
CREATE FUNCTION controls_decide(
    p_at timestamptz, p_hold uuid, p_source text, p_persona text, p_post text, p_operation text,
    p_model text, p_listed text, p_provider text, p_cost_type text, p_sold text, p_amount numeric,
    p_cheap_model text, p_cheap_listed text, p_cheap_provider text, p_cheap_cost_type text, p_cheap_sold text,
    p_cheap_amount numeric,
    p_input_tokens bigint, p_output_tokens bigint, p_life int, p_refuse_hard boolean, p_key bytea,
    OUT decision text, OUT reason text, OUT at timestamptz, OUT is_switched boolean, OUT waits numeric,
    OUT missing bigint[], OUT budget_id bigint, OUT budget_name text, OUT budget_persona text, OUT allowed numeric,
    OUT remaining numeric,
    OUT resets_at timestamptz, OUT fits boolean, OUT level text, OUT per_minute int, OUT level_until timestamptz,
    OUT observed text, OUT override_id bigint, OUT override_of text, OUT override_said text
) LANGUAGE plpgsql SET lock_timeout = '400ms' SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    v_control controls_control%ROWTYPE;
    v_override text;
    v_gap interval;
    v_ids bigint[];
    v_starts timestamptz[];
    v_present_ids bigint[] := '{}';
    v_present_starts timestamptz[] := '{}';
    v_period record;
    v_before numeric := 0;
    v_left numeric;
    v_model text := p_model;
    v_listed text := p_listed;
    v_sold text := p_sold;
    v_provider text := p_provider;
    v_cost_type text := p_cost_type;
    v_amount numeric := p_amount;
    v_is_refused boolean := false;
    v_is_hard boolean := false;
BEGIN
    at := COALESCE(p_at, clock_timestamp());
    is_switched := false;
    observed := '';
    fits := false;
    level := 'closed';

    SELECT o.kind, o.id, o.expires_at, o.persona_id, o.actor || ': ' || o.reason
    INTO v_override, override_id, level_until, override_of, override_said
    FROM controls_override o
    WHERE o.persona_id IN ('', p_persona) AND o.ended_at IS NULL AND o.starts_at <= at AND o.expires_at > at
    ORDER BY o.kind <> 'force_open', o.persona_id = '', o.id LIMIT 1;

    IF v_override IS NULL THEN
        SELECT * INTO v_control FROM controls_control c WHERE c.persona_id = p_persona AND c.level <> 'closed';
        IF FOUND THEN
            -- A pause that is over is a trial, as long as the pause was, even if nobody is there to say so.
            level := CASE
                WHEN v_control.expires_at > at THEN v_control.level
                WHEN v_control.level = 'pause'
                    AND v_control.expires_at + (v_control.expires_at - v_control.since) > at THEN 'half_open'
                ELSE 'closed' END;
        END IF;
    END IF;
    IF level <> 'closed' THEN
        level_until := v_control.expires_at;
        per_minute := v_control.per_minute;
        IF level IN ('throttle', 'switch', 'half_open') AND per_minute IS NOT NULL THEN
            v_gap := interval '1 minute' / per_minute;
        END IF;
    END IF;

    <<admission>>
    BEGIN
        IF v_override = 'force_open' THEN
            decision := 'deny';
            reason := 'override';
            waits := extract(epoch FROM level_until - at);
            EXIT admission;
        END IF;
        IF level = 'pause' THEN
            IF v_control.is_observing THEN
                observed := 'deny';
            ELSE
                decision := 'deny';
                reason := 'paused';
                waits := extract(epoch FROM v_control.expires_at - at);
                EXIT admission;
            END IF;
        END IF;
        -- A look without a lock: who is turned away here anyway makes nobody wait.
        IF v_gap IS NOT NULL AND v_control.next_free_at > at AND NOT v_control.is_observing THEN
            decision := 'throttle';
            reason := 'throttled';
            waits := extract(epoch FROM v_control.next_free_at - at);
            EXIT admission;
        END IF;
        IF level IN ('switch', 'half_open') AND p_cheap_model IS NOT NULL THEN
            IF v_control.is_observing THEN
                observed := 'switch';
            ELSE
                is_switched := true;
                v_model := p_cheap_model;
                v_listed := p_cheap_listed;
                v_sold := p_cheap_sold;
                v_provider := p_cheap_provider;
                v_cost_type := p_cheap_cost_type;
                v_amount := p_cheap_amount;
            END IF;
        END IF;

        -- Whoever makes a budget takes this alone (controls.spending.LOCK), and counts the holds that are there then.
        PERFORM pg_advisory_xact_lock_shared(2400010);
        SELECT array_agg(f.budget_id ORDER BY f.budget_id, f.starts_at) FILTER (WHERE f.starts_at IS NOT NULL),
               array_agg(f.starts_at ORDER BY f.budget_id, f.starts_at) FILTER (WHERE f.starts_at IS NOT NULL),
               array_agg(DISTINCT f.budget_id) FILTER (WHERE f.lacks)
        INTO v_ids, v_starts, missing
        FROM controls_budgets_of(p_persona, v_model, v_listed, v_cost_type, v_sold, at) f;
        IF missing IS NOT NULL THEN
            RETURN;
        END IF;

        -- One by one: each is two rows by their keys, and they are few.
        FOR i IN 1 .. COALESCE(cardinality(v_ids), 0) LOOP
            SELECT p.budget_id, p.starts_at, p.ends_at, p.spent, p.held, p.pending, b.name, b.persona_id, b.hard,
                   b."limit" + COALESCE((
                       SELECT sum(e.amount) FROM controls_budgetincrease e
                       WHERE e.budget_id = b.id AND e.starts_at <= at AND e.expires_at > at AND e.ended_at IS NULL
                   ), 0) AS allowed
            INTO v_period
            FROM controls_budgetperiod p JOIN controls_budget b ON b.id = p.budget_id
            WHERE p.budget_id = v_ids[i] AND p.starts_at = v_starts[i] FOR UPDATE OF p;
            IF v_period.ends_at <= at THEN
                v_before := v_before + v_period.held;
                CONTINUE;
            END IF;
            v_left := v_period.allowed - v_period.spent - v_period.held - v_period.pending - v_before;
            v_before := 0;
            v_present_ids := v_present_ids || v_period.budget_id;
            v_present_starts := v_present_starts || v_period.starts_at;
            IF v_period.hard AND (v_amount > v_left OR v_left <= 0 OR p_refuse_hard) THEN
                v_is_refused := true;
            END IF;
            -- Told is what binds: a hard budget before a soft one, then the one with the least left.
            IF budget_id IS NULL OR (v_period.hard AND NOT v_is_hard)
                    OR (v_period.hard = v_is_hard AND v_left < remaining) THEN
                budget_id := v_period.budget_id;
                budget_name := v_period.name;
                budget_persona := v_period.persona_id;
                allowed := v_period.allowed;
                remaining := v_left;
                resets_at := v_period.ends_at;
                v_is_hard := v_period.hard;
            END IF;
        END LOOP;
        IF v_is_refused THEN
            decision := 'deny';
            reason := CASE WHEN p_refuse_hard THEN 'unknown_model' ELSE 'budget' END;
            waits := extract(epoch FROM resets_at - at);
            EXIT admission;
        END IF;

        IF v_gap IS NOT NULL THEN
            UPDATE controls_control c SET next_free_at = at + v_gap
            WHERE c.persona_id = p_persona AND (c.next_free_at IS NULL OR c.next_free_at <= at);
            IF NOT FOUND AND v_control.is_observing THEN
                observed := 'throttle';
            ELSIF NOT FOUND THEN
                decision := 'throttle';
                reason := 'throttled';
                SELECT extract(epoch FROM c.next_free_at - at) INTO waits
                FROM controls_control c WHERE c.persona_id = p_persona;
                EXIT admission;
            END IF;
        END IF;

        FOR i IN 1 .. cardinality(v_present_ids) LOOP
            UPDATE controls_budgetperiod p SET held = p.held + v_amount
            WHERE p.budget_id = v_present_ids[i] AND p.starts_at = v_present_starts[i];
        END LOOP;
        INSERT INTO controls_hold (
            id, source, persona_id, post_id, operation, cost_type, provider, asked_model, model,
            input_tokens, output_tokens, amount, asked_amount, budget_ids, period_starts, observed,
            state, created_at, expires_at, closed_by, event_id, pending, overrun
        ) VALUES (
            p_hold, p_source, p_persona, p_post, p_operation, v_cost_type, v_provider, p_model, v_model,
            p_input_tokens, p_output_tokens, v_amount, p_amount, v_present_ids, v_present_starts,
            observed, 'open', at, at + p_life * interval '1 second', '', '', 0, 0
        );
        UPDATE controls_refusal SET admitted_at = at WHERE key = p_key AND admitted_at IS NULL;
        remaining := remaining - v_amount;
        decision := CASE WHEN is_switched THEN 'switch' ELSE 'allow' END;
        reason := CASE
            WHEN is_switched THEN 'switched' WHEN budget_id IS NULL THEN 'no_budget' ELSE 'within_budget' END;
        RETURN;
    END;

    is_switched := false;
    IF reason = 'budget' AND v_model = p_model AND p_cheap_model IS NOT NULL THEN
        fits := NOT EXISTS (
            SELECT FROM controls_left_of(
                p_persona, p_cheap_model, p_cheap_listed, p_cheap_cost_type, p_cheap_sold, at
            ) l
            WHERE l.is_hard AND (l.remaining < p_cheap_amount OR l.remaining <= 0)
        );
    END IF;
    IF budget_id IS NULL THEN
        SELECT l.budget_id, l.name, l.persona_id, l.allowed, l.remaining, l.resets_at
        INTO budget_id, budget_name, budget_persona, allowed, remaining, resets_at
        FROM controls_left_of(p_persona, p_model, p_listed, p_cost_type, p_sold, at) l
        ORDER BY NOT l.is_hard, l.remaining LIMIT 1;
    END IF;
    INSERT INTO controls_refusal AS r (
        key, persona_id, post_id, operation, model, decision, reason, budget_id, amount, attempts, first_at, last_at
    ) VALUES (
        p_key, p_persona, p_post, p_operation, p_model, decision, reason,
        CASE WHEN reason IN ('budget', 'unknown_model') THEN budget_id END, p_amount, 1, at, at
    ) ON CONFLICT (key) WHERE admitted_at IS NULL DO UPDATE SET
        attempts = r.attempts + 1, last_at = excluded.last_at, decision = excluded.decision, reason = excluded.reason,
        budget_id = excluded.budget_id;
END $$;
"""
DROP = """
DROP FUNCTION controls_decide;
DROP FUNCTION controls_left_of;
DROP FUNCTION controls_budgets_of;
"""


class Migration(migrations.Migration):
    dependencies = [("controls", "0005_default_policies")]

    operations = [migrations.RunSQL(BUDGETS + DECIDE, DROP)]
