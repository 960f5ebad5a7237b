-- Two roles for those who read reports (docs/reporting.md, "Readers"). PostgreSQL 14 or newer.
--
--   pts_reader            every reporting view but report_access
--   pts_aggregate_reader  figures only: no view with a person, a pseudonym or a local_ref
--
-- Run it in the worker's database after the first `pts-worker db upgrade`, as often as you like:
--
--   psql --dbname pts --set ON_ERROR_STOP=1 --file roles.sql
--
-- as a superuser, or as the role that owns the views once both roles exist (it then needs no right
-- to create roles). A role belongs to the server and not to a database. If several databases on a
-- server have a worker, give the roles of each a name of their own before the script:
--
--   PGOPTIONS='-c pts.reader=pts_test_reader -c pts.aggregate_reader=pts_test_figures' psql …
--
-- The roles cannot log in. Give each person and each program an account of its own in one of them:
--
--   CREATE ROLE grafana LOGIN;                  -- its password: \password grafana
--   GRANT pts_aggregate_reader TO grafana;
--   ALTER ROLE grafana SET default_transaction_read_only = on;
--   ALTER ROLE grafana SET statement_timeout = '60s';
--
-- PostgreSQL lets everybody make temporary tables and functions. Not so in a database that is the
-- worker's alone, after:
--
--   REVOKE TEMPORARY ON DATABASE pts FROM PUBLIC;
--
-- `db upgrade` makes the views anew and keeps what is granted on them. A view that a new version
-- adds is granted to nobody until that version's roles.sql is run.

DO $roles$
DECLARE
    -- A test compares both lists with the columns of the views.
    figures CONSTANT text[] := ARRAY[
        'report_code',
        'report_daily',
        'report_dictionary',
        'report_publication',
        'report_publication_cohort',
        'report_publication_figure',
        'report_run'
    ];
    persons CONSTANT text[] := ARRAY[
        'report_change_feed',
        'report_drift',
        'report_episode',
        'report_patient_privacy_current',
        'report_patient_privacy_history',
        'report_patient_safety_current',
        'report_patient_safety_history',
        'report_person_freshness',
        'report_restriction_current',
        'report_restriction_history'
    ];
    reader CONSTANT text :=
        coalesce(nullif(current_setting('pts.reader', true), ''), 'pts_reader');
    aggregate_reader CONSTANT text :=
        coalesce(nullif(current_setting('pts.aggregate_reader', true), ''), 'pts_aggregate_reader');
    home CONSTANT oid := (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('report_daily'));
    worker CONSTANT oid := (SELECT relowner FROM pg_class WHERE oid = to_regclass('report_daily'));
    role_name text;
    wanted text[];
    other regclass;
    excess text;
BEGIN
    IF home IS NULL THEN
        RAISE EXCEPTION 'database "%" has no reporting views', current_database()
            USING HINT = 'Connect to the worker''s database, after `pts-worker db upgrade`.';
    END IF;
    FOREACH role_name IN ARRAY ARRAY[reader, aggregate_reader] LOOP
        wanted := CASE WHEN role_name = reader THEN figures || persons ELSE figures END;
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;

        -- What it was granted before, by an earlier version of this script or by hand.
        FOR other IN
            SELECT DISTINCT c.oid FROM pg_class c, aclexplode(c.relacl) a
            WHERE c.relnamespace = home AND a.grantee = quote_ident(role_name)::regrole
                AND (c.relname <> ALL (wanted) OR a.privilege_type <> 'SELECT' OR a.is_grantable)
        LOOP
            EXECUTE format('REVOKE ALL ON %s FROM %I', other, role_name);
        END LOOP;
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', home::regnamespace, role_name);
        EXECUTE format(
            'GRANT SELECT ON %s TO %I',
            (SELECT string_agg(format('%s.%I', home::regnamespace, name), ', ' ORDER BY name)
             FROM unnest(wanted) name),
            role_name
        );

        -- What it may do besides, as a member of another role or because everybody may. No reader
        -- is left with it: the error undoes the script.
        SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname) INTO excess
        FROM pg_class c
        WHERE c.relnamespace = home AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            -- Not what an extension made, such as pg_stat_statements.
            AND c.relowner = worker AND NOT EXISTS (
                SELECT FROM pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
            )
            AND (
                has_table_privilege(
                    role_name, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'
                )
                OR c.relname <> ALL (wanted) AND has_any_column_privilege(role_name, c.oid, 'SELECT')
            );
        IF excess IS NOT NULL THEN
            RAISE EXCEPTION 'role "%" has privileges of its own on: %', role_name, excess
                USING HINT = 'Find who has them with \dp, and revoke them from PUBLIC or from the '
                    'roles that it is a member of.';
        END IF;
        IF has_schema_privilege(role_name, home, 'CREATE') THEN
            RAISE EXCEPTION 'role "%" may create tables in schema %', role_name, home::regnamespace
                USING HINT = format(
                    'As the schema''s owner: REVOKE CREATE ON SCHEMA %s FROM PUBLIC;',
                    home::regnamespace
                );
        END IF;
    END LOOP;
END
$roles$;
