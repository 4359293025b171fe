"""The whole schema of the first release.

What must hold, here and in later migrations:
- No migration creates an index. `persistence.schema.indexes` creates those that are declared, and those alone.
- A composite type is never altered. Processes of the version before send rows of the old shape while both run. So a
  statement that wants other columns gets a type of its own.
- JSON is `json` and not `jsonb`, which would change what clients and providers have sent.
- A row names rows of other tables without foreign keys. They are written together, by one statement, and checks would
  take a fifth of the time of an insert.
- No table of a checkpoint has a CHECK constraint. PostgreSQL parses these anew for each statement, which takes a sixth
  of its time for a small checkpoint. Each value that they would check is that of an enum.
- A fillfactor below 100 leaves room on the page, so that an update of a row stays on its page and changes no index.

`lane` is the name by which work takes turns. It is the tenant, '' for none.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PROCESSES = (
    # One row. `oldest_revision` is the oldest revision whose code may still work on the tables. The artifact store
    # holds a file with the same id.
    """
    CREATE TABLE installation (
        id uuid PRIMARY KEY,
        oldest_revision text NOT NULL,
        has_folder boolean NOT NULL DEFAULT false,  -- processes of `serve` have used an artifact folder
        sessions_ended_at timestamptz  -- when all sessions of the web page were ended
    )
    """,
    "INSERT INTO installation (id, oldest_revision) VALUES (gen_random_uuid(), '0001')",
    # The processes that run workflows.
    """
    CREATE TABLE processes (
        id uuid PRIMARY KEY,
        lease_until timestamptz NOT NULL
    )
    """,
    # Processes that died while an attempt was under way. They show which workflow kills its process.
    """
    CREATE TABLE unclean_ends (
        process uuid PRIMARY KEY,
        at timestamptz NOT NULL,
        alone boolean NOT NULL  -- attempts of one workflow only were under way
    )
    """,
    # How the processes divide the limits. The first change writes the only row. See `rules.limit_division`.
    """
    CREATE TABLE limit_division (
        singleton boolean PRIMARY KEY,
        version bigint NOT NULL,
        sole uuid,
        starts json NOT NULL,
        starts_from double precision NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE limit_members (
        owner uuid PRIMARY KEY,
        claiming boolean NOT NULL,
        shares json NOT NULL,
        updated_at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    # The verbs that one process passes to the process that runs the workflow.
    """
    CREATE TABLE commands (
        id uuid PRIMARY KEY,
        workflow_id uuid NOT NULL,
        lane text NOT NULL,
        requester uuid NOT NULL,  -- the process that waits for the outcome
        recipient uuid NOT NULL,  -- the process that ran the workflow when the command was sent
        request json NOT NULL,
        scope text,  -- `scope`, `key` and `token` are the idempotency key of the request
        key text,
        token uuid,
        created_at timestamptz NOT NULL,
        outcome json  -- null while the command waits
    )
    """,
)

_WORKFLOWS = (
    # More dead rows than a twentieth would make lists slow: each dead row has to be looked up in the table.
    """
    CREATE TABLE workflows (
        -- These columns never change.
        id uuid PRIMARY KEY,
        tenant text,
        created_by text NOT NULL,  -- the subject that has created it, or its root
        origin_instance text NOT NULL,
        origin_zone text,
        origin_reference text,
        config json NOT NULL,
        suppress_subtask_events boolean NOT NULL DEFAULT false,
        total_steps integer NOT NULL,
        final_position integer NOT NULL,
        definition_bytes integer NOT NULL DEFAULT 0,  -- a large definition takes several slots
        feature_level integer NOT NULL DEFAULT 1,  -- see `lifecycle.feature_level`
        inputs json,
        inputs_schema json,
        evaluates boolean NOT NULL DEFAULT false,  -- the steps have conditions, or expressions in their configs
        -- A step is optional, waits, repeats, or has a `run_if`, a condition, items or a sub-workflow. Nothing of these
        -- is read for other workflows.
        has_flow boolean NOT NULL DEFAULT false,
        stored_definition text,  -- as name@version; NULL: it runs none
        named_definitions json,  -- of a root: the contents of those that sub-workflows run, by name@version
        named_files json,  -- the paths that its stored definition names; null if it may read all files of its tenant
        reuse json,  -- the run whose results it takes over, and the steps that run all the same
        created_at timestamptz NOT NULL,
        -- The state.
        status text NOT NULL,
        name text NOT NULL,
        description text,
        webhook_url text,
        completed_steps integer NOT NULL DEFAULT 0,
        execution_id uuid,
        failure text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz NOT NULL,
        deleted_at timestamptz,
        deadline_at timestamptz,
        timeout_left_s double precision,
        owner uuid,  -- the process that runs the workflow
        epoch integer NOT NULL DEFAULT 0,
        last_event integer NOT NULL DEFAULT 0,
        crashes integer NOT NULL DEFAULT 0,
        -- Null unless the workflow is parked: it only waits, has no owner and isn't in memory. Then it needs a process
        -- again at that time. 9999-12-31 23:59:59.999999+00 stands for never.
        wake_at timestamptz,
        -- Of a sub-workflow: its parent, the step and the item that run it, the workflow at the top, and the
        -- number of its ancestors. They never change.
        parent_id uuid,
        parent_step text,
        parent_item integer,
        root_id uuid,
        depth integer NOT NULL DEFAULT 0,
        child_ended_count integer NOT NULL DEFAULT 0,  -- how often a sub-workflow of this workflow has ended
        -- All sub-workflows that a root has ever had: their number, their steps, and the bytes of their definitions. A
        -- limit needs sums that one row has.
        sub_workflows integer NOT NULL DEFAULT 0,
        sub_workflow_steps integer NOT NULL DEFAULT 0,
        sub_workflow_bytes bigint NOT NULL DEFAULT 0
    ) WITH (
        fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05
    )
    """,
    # `definition` lacks the members that have columns of their own.
    """
    CREATE TABLE steps (
        -- These columns never change.
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        id uuid NOT NULL,
        step_id text NOT NULL,
        task_type text NOT NULL,
        definition json NOT NULL,
        depends_on integer[] NOT NULL,
        max_retries integer NOT NULL,
        timeout_s double precision NOT NULL,
        provider text,
        fallback text,
        run_if text,  -- null for the default
        optional boolean NOT NULL DEFAULT false,
        condition text,  -- the member `when`
        repeat json,
        for_each json,
        -- The state.
        status text NOT NULL,
        task_id uuid,
        attempt integer NOT NULL DEFAULT 0,
        provider_attempts integer NOT NULL DEFAULT 0,
        retry_count integer NOT NULL DEFAULT 0,
        on_fallback boolean NOT NULL DEFAULT false,
        next_attempt_at timestamptz,
        result json,
        error_message text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz NOT NULL,
        skip_reason text,  -- null unless the step is SKIPPED
        flow json,  -- the wait of a step, or the state of its repetition; null for ordinary steps
        PRIMARY KEY (workflow_id, position)
    ) WITH (fillfactor = 70)
    """,
    # To compress a result of 10 kB would take three times as long as all the rest of a step.
    "ALTER TABLE steps ALTER COLUMN result SET STORAGE EXTERNAL",
    # The items of steps with `for_each`, each with the state that a step has.
    """
    CREATE TABLE step_items (
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        item integer NOT NULL,
        value json,
        status text NOT NULL,
        task_id uuid,
        attempt integer NOT NULL DEFAULT 0,
        provider_attempts integer NOT NULL DEFAULT 0,
        retry_count integer NOT NULL DEFAULT 0,
        on_fallback boolean NOT NULL DEFAULT false,
        next_attempt_at timestamptz,
        result json,
        error_message text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz NOT NULL,
        skip_reason text,
        flow json,
        PRIMARY KEY (workflow_id, position, item)
    ) WITH (fillfactor = 70)
    """,
    # The attempts at steps and items. `attempt` of an item's task is that of the item plus 1,000,000 times the item's
    # number, so that the tasks of a step are unique by their attempts.
    """
    CREATE TABLE tasks (
        id uuid PRIMARY KEY,
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        attempt integer NOT NULL,
        provider text,
        seed bigint,
        started_at timestamptz NOT NULL,
        status text NOT NULL,
        phase text NOT NULL,
        remote_id text,
        outcome_unknown boolean NOT NULL DEFAULT false,
        cancel_receipt text,
        outputs json NOT NULL,
        error text,
        completed_at timestamptz,
        deleted_at timestamptz,
        sent json,  -- what was sent to the provider
        urls json,  -- where the provider is asked about the job
        follow_up_until timestamptz,
        cost json,
        item integer,  -- null for the task of a step
        fingerprint text,  -- of the work; null without a provider, and before the inputs are known
        UNIQUE (workflow_id, position, attempt)
    ) WITH (fillfactor = 80)
    """,
    # `txid` is the transaction that wrote the event. It orders the events of all workflows as far as the order of their
    # commits can be known. 0 stands for an event that was restored from a backup. It comes before all others.
    """
    CREATE TABLE events (
        workflow_id uuid NOT NULL,
        id integer NOT NULL,
        type text NOT NULL,
        at timestamptz NOT NULL,
        step_id text,
        task_id uuid,
        actor text NOT NULL,
        data json NOT NULL,
        txid bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint,
        PRIMARY KEY (workflow_id, id)
    )
    """,
    # Labels aren't in `workflows`, because a workflow's row is written with each checkpoint.
    """
    CREATE TABLE labels (
        workflow_id uuid NOT NULL,
        label text NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (workflow_id, label)
    )
    """,
    # The steps that wait for a decision, a signal or a time. `root_id` is the workflow itself, or its root.
    """
    CREATE TABLE waits (
        workflow_id uuid NOT NULL,
        root_id uuid NOT NULL,
        position integer NOT NULL,
        id uuid NOT NULL,
        kind text NOT NULL,
        tenant text,
        since timestamptz NOT NULL,
        until timestamptz,
        message text,
        choices json NOT NULL,
        shown json NOT NULL,
        step_id text NOT NULL,
        PRIMARY KEY (workflow_id, position)
    )
    """,
    # The signals that no step has taken yet.
    """
    CREATE TABLE signals (
        workflow_id uuid NOT NULL,
        name text NOT NULL,
        data json NOT NULL,
        sender text NOT NULL,
        at timestamptz NOT NULL,
        PRIMARY KEY (workflow_id, name)
    )
    """,
)

_REQUESTS = (
    # The webhooks that are to be sent, or were. The transaction of an event writes the row.
    """
    CREATE TABLE deliveries (
        workflow_id uuid NOT NULL,
        event_id integer NOT NULL,
        type text NOT NULL,
        lane text NOT NULL,  -- tenant, @, and host and port of the URL when the row was written
        status text NOT NULL,
        owner uuid,
        created_at timestamptz NOT NULL,
        next_at timestamptz,  -- null when nothing more is to be done
        tries integer NOT NULL DEFAULT 0,
        attempts json NOT NULL,
        body text,
        PRIMARY KEY (workflow_id, event_id)
    ) WITH (fillfactor = 80)
    """,
    # Requests that may be repeated. The row is written before the request is handled, marked in the transaction of its
    # effect (`applied_at`), and has the response as soon as there is one. `created_at` is when the last try began.
    """
    CREATE TABLE idempotency_keys (
        scope text NOT NULL,
        key text NOT NULL,
        token uuid NOT NULL,
        owner uuid NOT NULL,
        fingerprint bytea NOT NULL,
        created_at timestamptz NOT NULL,
        applied_at timestamptz,
        workflow_id uuid,
        status integer,
        headers json,
        body bytea,
        PRIMARY KEY (scope, key)
    )
    """,
    # The codes that have signed somebody in to the web page.
    """
    CREATE TABLE used_sign_in_codes (
        id uuid PRIMARY KEY,
        expires_at timestamptz NOT NULL
    )
    """,
    # The costs of attempts, and what reuse has saved, summed for good.
    # `tenant` and `definition` are '' for none, and a day is one of UTC.
    """
    CREATE TABLE daily_costs (
        tenant text NOT NULL,
        day date NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        definition text NOT NULL,  -- of the run at the top, as name@version
        currency text NOT NULL,
        amount numeric NOT NULL,
        attempts bigint NOT NULL,
        saved numeric NOT NULL,
        PRIMARY KEY (tenant, day, provider, model, definition, currency)
    ) WITH (fillfactor = 50)
    """,
    # What attempts have spent and reserved. `scope` is the id of a root with a budget, or a day of UTC and a tenant.
    """
    CREATE TABLE budgets (
        scope text NOT NULL,
        unit text NOT NULL,  -- a currency, or '' for attempts
        spent numeric NOT NULL,
        reserved numeric NOT NULL,
        PRIMARY KEY (scope, unit)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE budget_reservations (
        task_id uuid NOT NULL,
        scope text NOT NULL,
        unit text NOT NULL,
        amount numeric NOT NULL,
        PRIMARY KEY (task_id, scope, unit)
    )
    """,
)

_DEFINITIONS = (
    # The names of stored definitions. A name that was deleted keeps its row, so that the numbers of its versions go on.
    """
    CREATE TABLE definitions (
        lane text NOT NULL,
        name text NOT NULL,
        newest integer NOT NULL,  -- the number of the last version
        versions integer NOT NULL,  -- how many there are; 0 if the name was deleted
        default_version integer,
        archived boolean NOT NULL DEFAULT false,
        labels json NOT NULL,
        description text,
        bytes bigint NOT NULL,
        PRIMARY KEY (lane, name)
    )
    """,
    """
    CREATE TABLE definition_versions (
        lane text NOT NULL,
        name text NOT NULL,
        version integer NOT NULL,
        digest text NOT NULL,  -- of the content as canonical JSON
        size integer NOT NULL,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        refers_to text[] NOT NULL,  -- the names of the definitions that the content names
        content json NOT NULL,
        PRIMARY KEY (lane, name, version)
    )
    """,
)

_FILES = (
    """
    CREATE TABLE uploads (
        id uuid PRIMARY KEY,
        tenant text,
        created_by text NOT NULL,
        private_to text NOT NULL,  -- the subject whose private upload it is, else ''
        name text NOT NULL,
        status text NOT NULL,
        size bigint NOT NULL,
        preview_bytes bigint NOT NULL DEFAULT 0,
        sha256 text NOT NULL,
        media_type text NOT NULL,
        width integer,
        height integer,
        duration_s double precision,
        workflow_id uuid,  -- the workflow whose definition had the file as a data URI
        ttl_s double precision NOT NULL,
        created_at timestamptz NOT NULL,
        used_at timestamptz,
        expires_at timestamptz NOT NULL,
        presigned_until timestamptz  -- until then a URL may write the file, so the row stays
    )
    """,
    # What each tenant uses of its quota of uploads.
    """
    CREATE TABLE upload_usage (
        lane text PRIMARY KEY,
        bytes bigint NOT NULL,
        uploads integer NOT NULL
    )
    """,
    # The tasks whose files a workflow's definition names, so that cleanup leaves these files alone. A row may name a
    # workflow that was never stored.
    """
    CREATE TABLE artifact_references (
        task_id uuid NOT NULL,
        workflow_id uuid NOT NULL,
        reused boolean NOT NULL DEFAULT false,  -- a result that was taken over names them, and no definition
        PRIMARY KEY (task_id, workflow_id)
    )
    """,
    # Cleanups that are still to delete files, so that another process continues them after a crash. Tasks are handled
    # in the order of positions and attempts. `begun_position` and `begun_attempt` are those of the last task whose
    # files may be deleted already.
    """
    CREATE TABLE cleanups (
        workflow_id uuid PRIMARY KEY,
        lane text NOT NULL,
        owner uuid NOT NULL,
        next_at timestamptz NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        begun_position integer NOT NULL DEFAULT -1,
        begun_attempt integer NOT NULL DEFAULT 0,
        deleted integer NOT NULL DEFAULT 0,
        gone integer NOT NULL DEFAULT 0,
        repeated boolean NOT NULL DEFAULT false,
        purge boolean NOT NULL DEFAULT false,  -- the rows of the workflow are deleted, too, and first
        purged_by text  -- the caller who asked for the purge; null if the retention did
    )
    """,
    # The files of tasks whose rows a purge has deleted. They stay as long as another workflow needs them.
    """
    CREATE TABLE file_removals (
        task_id uuid PRIMARY KEY,
        workflow_id uuid NOT NULL,
        tenant text,
        outputs json NOT NULL,
        forced boolean NOT NULL DEFAULT false  -- runs that have taken over a result lose the files, too
    )
    """,
    # Who has had the data of a workflow deleted, and when.
    """
    CREATE TABLE deletions (
        workflow_id uuid PRIMARY KEY,
        actor text NOT NULL,
        at timestamptz NOT NULL
    )
    """,
)

# Rows of new workflows, so that one statement inserts several.
_INSERTED_ROWS = (
    """
    CREATE TYPE insert_workflow AS (
        id uuid, tenant text, created_by text, origin_instance text, origin_zone text, origin_reference text,
        config json, suppress_subtask_events boolean, total_steps integer, final_position integer,
        definition_bytes integer, feature_level integer, inputs json, inputs_schema json, evaluates boolean,
        has_flow boolean, stored_definition text, named_definitions json, named_files json, reuse json,
        created_at timestamptz,
        status text, name text, description text, webhook_url text, completed_steps integer, execution_id uuid,
        failure text, started_at timestamptz, completed_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
        deadline_at timestamptz, timeout_left_s double precision,
        owner uuid, epoch integer, last_event integer, crashes integer
    )
    """,
    """
    CREATE TYPE insert_step AS (
        workflow_id uuid, created_at timestamptz, position integer, id uuid, step_id text, task_type text,
        definition json, depends_on integer[], max_retries integer, timeout_s double precision, provider text,
        fallback text, run_if text, optional boolean, condition text, repeat json, for_each json
    )
    """,
)

# Rows of a checkpoint, so that a batch is a few parameters. Most workflows only have ordinary steps. Their rows lack
# the columns of flow control.
_CHECKPOINT_ROWS = (
    """
    CREATE TYPE checkpoint_workflow AS (
        id uuid, fence_owner uuid, fence_epoch integer, fence_event integer, status text, name text,
        description text, webhook_url text, completed_steps integer, execution_id uuid, failure text,
        started_at timestamptz, completed_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
        deadline_at timestamptz, timeout_left_s double precision, owner uuid, epoch integer, last_event integer,
        crashes integer
    )
    """,
    """
    CREATE TYPE checkpoint_flow_workflow AS (
        id uuid, fence_owner uuid, fence_epoch integer, fence_event integer, status text, name text,
        description text, webhook_url text, completed_steps integer, execution_id uuid, failure text,
        started_at timestamptz, completed_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
        deadline_at timestamptz, timeout_left_s double precision, owner uuid, epoch integer, last_event integer,
        crashes integer, wake_at timestamptz, child_ended_seen integer
    )
    """,
    """
    CREATE TYPE checkpoint_step AS (
        workflow_id uuid, position integer, status text, task_id uuid, attempt integer,
        provider_attempts integer, retry_count integer, on_fallback boolean, next_attempt_at timestamptz,
        result json, error_message text, started_at timestamptz, completed_at timestamptz,
        updated_at timestamptz, skip_reason text
    )
    """,
    """
    CREATE TYPE checkpoint_flow_step AS (
        workflow_id uuid, position integer, status text, task_id uuid, attempt integer,
        provider_attempts integer, retry_count integer, on_fallback boolean, next_attempt_at timestamptz,
        result json, error_message text, started_at timestamptz, completed_at timestamptz,
        updated_at timestamptz, skip_reason text, flow json
    )
    """,
    """
    CREATE TYPE checkpoint_item AS (
        workflow_id uuid, position integer, item integer, value json, status text, task_id uuid,
        attempt integer, provider_attempts integer, retry_count integer, on_fallback boolean,
        next_attempt_at timestamptz, result json, error_message text, started_at timestamptz,
        completed_at timestamptz, updated_at timestamptz, skip_reason text, flow json
    )
    """,
    """
    CREATE TYPE checkpoint_task AS (
        id uuid, workflow_id uuid, position integer, attempt integer, provider text, seed bigint,
        started_at timestamptz, status text, phase text, remote_id text, outcome_unknown boolean,
        cancel_receipt text, outputs json, error text, completed_at timestamptz, sent json, urls json,
        follow_up_until timestamptz, cost json, fingerprint text
    )
    """,
    """
    CREATE TYPE checkpoint_flow_task AS (
        id uuid, workflow_id uuid, position integer, attempt integer, provider text, seed bigint,
        started_at timestamptz, status text, phase text, remote_id text, outcome_unknown boolean,
        cancel_receipt text, outputs json, error text, completed_at timestamptz, sent json, urls json,
        follow_up_until timestamptz, cost json, fingerprint text, item integer
    )
    """,
    """
    CREATE TYPE checkpoint_event AS (
        workflow_id uuid, id integer, type text, at timestamptz, step_id text, task_id uuid, actor text,
        data json
    )
    """,
    """
    CREATE TYPE checkpoint_delivery AS (
        workflow_id uuid, event_id integer, type text, lane text, created_at timestamptz
    )
    """,
    "CREATE TYPE checkpoint_key AS (workflow_id uuid, scope text, key text, token uuid)",
    """
    CREATE TYPE checkpoint_wait AS (
        workflow_id uuid, position integer, id uuid, kind text, since timestamptz, until timestamptz,
        message text, choices json, shown json
    )
    """,
    "CREATE TYPE checkpoint_signal AS (workflow_id uuid, name text, data json, sender text, at timestamptz)",
)


def upgrade() -> None:
    for statement in (*_PROCESSES, *_WORKFLOWS, *_REQUESTS, *_DEFINITIONS, *_FILES, *_INSERTED_ROWS, *_CHECKPOINT_ROWS):
        op.execute(statement)
