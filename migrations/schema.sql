-- The database as all migrations leave it: its tables and types, in the order of their creation.
-- `versions/0001_initial.py` says what the columns are for. This file is generated. Renew it with
--     PYTHONPATH=tests python -m support.documents.schema_sheet

CREATE TABLE schema_revision (
    version_num character varying(32) NOT NULL,
    CONSTRAINT schema_revision_pkc PRIMARY KEY (version_num)
);

CREATE TABLE installation (
    id uuid NOT NULL,
    oldest_revision text NOT NULL,
    has_folder boolean NOT NULL DEFAULT false,
    sessions_ended_at timestamptz,
    CONSTRAINT installation_pkey PRIMARY KEY (id)
);

CREATE TABLE processes (
    id uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    CONSTRAINT processes_pkey PRIMARY KEY (id)
);

CREATE TABLE unclean_ends (
    process uuid NOT NULL,
    at timestamptz NOT NULL,
    alone boolean NOT NULL,
    CONSTRAINT unclean_ends_pkey PRIMARY KEY (process)
);

CREATE TABLE limit_division (
    singleton boolean NOT NULL,
    version bigint NOT NULL,
    sole uuid,
    starts json NOT NULL,
    starts_from double precision NOT NULL,
    CONSTRAINT limit_division_pkey PRIMARY KEY (singleton)
) WITH (fillfactor=50);

CREATE TABLE limit_members (
    owner uuid NOT NULL,
    claiming boolean NOT NULL,
    shares json NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT limit_members_pkey PRIMARY KEY (owner)
) WITH (fillfactor=50);

CREATE TABLE commands (
    id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    lane text NOT NULL,
    requester uuid NOT NULL,
    recipient uuid NOT NULL,
    request json NOT NULL,
    scope text,
    key text,
    token uuid,
    created_at timestamptz NOT NULL,
    outcome json,
    CONSTRAINT commands_pkey PRIMARY KEY (id)
);
CREATE INDEX commands_by_created_at ON commands (created_at);
CREATE INDEX commands_by_workflow_id ON commands (workflow_id);
CREATE INDEX commands_waiting ON commands (lane) WHERE (outcome IS NULL);

CREATE TABLE workflows (
    id uuid NOT NULL,
    tenant text,
    origin_instance text NOT NULL,
    origin_zone text,
    origin_reference text,
    config json NOT NULL,
    suppress_subtask_events boolean NOT NULL DEFAULT false,
    total_steps integer NOT NULL,
    final_position integer NOT NULL,
    definition_bytes integer NOT NULL DEFAULT 0,
    feature_level integer NOT NULL DEFAULT 1,
    inputs json,
    inputs_schema json,
    evaluates boolean NOT NULL DEFAULT false,
    has_flow boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
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
    owner uuid,
    epoch integer NOT NULL DEFAULT 0,
    last_event integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    wake_at timestamptz,
    parent_id uuid,
    parent_step text,
    parent_item integer,
    root_id uuid,
    depth integer NOT NULL DEFAULT 0,
    child_ends integer NOT NULL DEFAULT 0,
    sub_workflows integer NOT NULL DEFAULT 0,
    sub_workflow_steps integer NOT NULL DEFAULT 0,
    sub_workflow_bytes bigint NOT NULL DEFAULT 0,
    CONSTRAINT workflows_pkey PRIMARY KEY (id),
    CONSTRAINT workflows_check CHECK (completed_steps >= 0 AND completed_steps <= total_steps),
    CONSTRAINT workflows_status_check CHECK (status = ANY (ARRAY['PENDING'::text, 'RUNNING'::text, 'PAUSED'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELLED'::text]))
) WITH (fillfactor=80, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_insert_scale_factor=0.05);
CREATE INDEX workflows_by_completed_at ON workflows (completed_at) WHERE (completed_at IS NOT NULL);
CREATE INDEX workflows_by_feature_level ON workflows (feature_level, id) WHERE (feature_level > 1);
CREATE INDEX workflows_by_owner ON workflows (owner, id) WHERE (owner IS NOT NULL);
CREATE INDEX workflows_by_parent ON workflows (parent_id, id) WHERE (parent_id IS NOT NULL);
CREATE INDEX workflows_due ON workflows (status, wake_at) INCLUDE (feature_level) WHERE (wake_at IS NOT NULL);
CREATE INDEX workflows_list_by_created ON workflows (created_at, id) INCLUDE (status, tenant, origin_instance, deleted_at, parent_id);
CREATE INDEX workflows_list_by_instance ON workflows (origin_instance, created_at, id) INCLUDE (status, tenant, deleted_at, parent_id);
CREATE INDEX workflows_list_by_name ON workflows (lower(name) text_pattern_ops, created_at, id) INCLUDE (name, status, tenant, deleted_at, parent_id);
CREATE INDEX workflows_list_by_reference ON workflows (origin_reference, created_at, id) INCLUDE (status, tenant, deleted_at, parent_id) WHERE (origin_reference IS NOT NULL);
CREATE INDEX workflows_list_by_status ON workflows (status, created_at, id) INCLUDE (tenant, origin_instance, deleted_at, parent_id);
CREATE INDEX workflows_list_by_tenant ON workflows (tenant, created_at, id) INCLUDE (status, origin_instance, deleted_at, parent_id) WHERE (tenant IS NOT NULL);
CREATE INDEX workflows_list_by_zone ON workflows (origin_zone, created_at, id) INCLUDE (status, tenant, origin_instance, deleted_at, parent_id) WHERE (origin_zone IS NOT NULL);
CREATE INDEX workflows_list_without_tenant ON workflows (created_at, id) INCLUDE (status, origin_instance, deleted_at, parent_id) WHERE (tenant IS NULL);
CREATE INDEX workflows_to_admit ON workflows (COALESCE(tenant, ''::text), started_at, id) INCLUDE (tenant) WHERE ((status = 'RUNNING'::text) AND (owner IS NULL) AND (wake_at IS NULL));

CREATE TABLE steps (
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
    run_if text,
    optional boolean NOT NULL DEFAULT false,
    condition text,
    repeat json,
    for_each json,
    status text NOT NULL,
    task_id uuid,
    attempt integer NOT NULL DEFAULT 0,
    provider_attempts integer NOT NULL DEFAULT 0,
    retry_count integer NOT NULL DEFAULT 0,
    on_fallback boolean NOT NULL DEFAULT false,
    next_attempt_at timestamptz,
    result json STORAGE EXTERNAL,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz NOT NULL,
    skip_reason text,
    flow json,
    CONSTRAINT steps_pkey PRIMARY KEY (workflow_id, position),
    CONSTRAINT steps_status_check CHECK (status = ANY (ARRAY['PENDING'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'SKIPPED'::text, 'CANCELLED'::text]))
) WITH (fillfactor=70);

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
    CONSTRAINT step_items_pkey PRIMARY KEY (workflow_id, position, item)
) WITH (fillfactor=70);

CREATE TABLE tasks (
    id uuid NOT NULL,
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
    sent json,
    urls json,
    follow_up_until timestamptz,
    cost json,
    item integer,
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_workflow_id_position_attempt_key UNIQUE (workflow_id, position, attempt),
    CONSTRAINT tasks_phase_check CHECK (phase = ANY (ARRAY['INTENT'::text, 'SUBMITTED'::text, 'REMOTE_DONE'::text, 'STORED'::text])),
    CONSTRAINT tasks_status_check CHECK (status = ANY (ARRAY['PENDING'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELLED'::text]))
) WITH (fillfactor=80);
CREATE INDEX tasks_by_remote_id ON tasks (remote_id, provider) WHERE (remote_id IS NOT NULL);
CREATE INDEX tasks_sent ON tasks (workflow_id) WHERE (sent IS NOT NULL);
CREATE INDEX tasks_to_follow_up ON tasks (workflow_id) WHERE (follow_up_until IS NOT NULL);

CREATE TABLE events (
    workflow_id uuid NOT NULL,
    id integer NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    step_id text,
    task_id uuid,
    actor text NOT NULL,
    data json NOT NULL,
    txid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    CONSTRAINT events_pkey PRIMARY KEY (workflow_id, id)
);
CREATE INDEX events_by_txid ON events (txid);
CREATE INDEX events_without_txid ON events (workflow_id, id) WHERE (txid = 0);

CREATE TABLE labels (
    workflow_id uuid NOT NULL,
    label text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT labels_pkey PRIMARY KEY (workflow_id, label)
);
CREATE INDEX labels_by_label ON labels (label, created_at, workflow_id);

CREATE TABLE waits (
    workflow_id uuid NOT NULL,
    position integer NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    tenant text,
    since timestamptz NOT NULL,
    until timestamptz,
    message text,
    choices json NOT NULL,
    shown json NOT NULL,
    CONSTRAINT waits_pkey PRIMARY KEY (workflow_id, position)
);
CREATE INDEX waits_for_decisions ON waits (COALESCE(tenant, ''::text), since, workflow_id, position) WHERE (kind = 'decision'::text);

CREATE TABLE signals (
    workflow_id uuid NOT NULL,
    name text NOT NULL,
    data json NOT NULL,
    sender text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT signals_pkey PRIMARY KEY (workflow_id, name)
);

CREATE TABLE deliveries (
    workflow_id uuid NOT NULL,
    event_id integer NOT NULL,
    type text NOT NULL,
    lane text NOT NULL,
    status text NOT NULL,
    owner uuid,
    created_at timestamptz NOT NULL,
    next_at timestamptz,
    tries integer NOT NULL DEFAULT 0,
    attempts json NOT NULL,
    body text,
    CONSTRAINT deliveries_pkey PRIMARY KEY (workflow_id, event_id)
) WITH (fillfactor=80);
CREATE INDEX deliveries_due ON deliveries (owner, lane, next_at) WHERE (next_at IS NOT NULL);

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
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_by_created_at ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_by_workflow_id ON idempotency_keys (workflow_id) WHERE (workflow_id IS NOT NULL);

CREATE TABLE used_sign_in_codes (
    id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT used_sign_in_codes_pkey PRIMARY KEY (id)
);

CREATE TABLE daily_costs (
    tenant text NOT NULL,
    day date NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    currency text NOT NULL,
    amount numeric NOT NULL,
    attempts bigint NOT NULL,
    CONSTRAINT daily_costs_pkey PRIMARY KEY (tenant, day, provider, model, currency)
) WITH (fillfactor=50);

CREATE TABLE uploads (
    id uuid NOT NULL,
    tenant text,
    name text NOT NULL,
    status text NOT NULL,
    size bigint NOT NULL,
    preview_bytes bigint NOT NULL DEFAULT 0,
    sha256 text NOT NULL,
    media_type text NOT NULL,
    width integer,
    height integer,
    duration_s double precision,
    workflow_id uuid,
    ttl_s double precision NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    expires_at timestamptz NOT NULL,
    presigned_until timestamptz,
    CONSTRAINT uploads_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uploads_by_contents ON uploads (COALESCE(tenant, ''::text), ((tenant IS NULL)), sha256) WHERE (status = 'STORED'::text);
CREATE INDEX uploads_by_created ON uploads (created_at, id) WHERE (status = 'STORED'::text);
CREATE INDEX uploads_by_tenant ON uploads (COALESCE(tenant, ''::text), created_at, id) WHERE (status = 'STORED'::text);
CREATE INDEX uploads_due ON uploads (expires_at);
CREATE INDEX uploads_of_workflow ON uploads (workflow_id) WHERE (workflow_id IS NOT NULL);

CREATE TABLE upload_usage (
    lane text NOT NULL,
    bytes bigint NOT NULL,
    uploads integer NOT NULL,
    CONSTRAINT upload_usage_pkey PRIMARY KEY (lane)
);

CREATE TABLE artifact_references (
    task_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    CONSTRAINT artifact_references_pkey PRIMARY KEY (task_id, workflow_id)
);
CREATE INDEX artifact_references_by_workflow_id ON artifact_references (workflow_id);

CREATE TABLE cleanups (
    workflow_id uuid NOT NULL,
    lane text NOT NULL,
    owner uuid NOT NULL,
    next_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    begun_position integer NOT NULL DEFAULT '-1'::integer,
    begun_attempt integer NOT NULL DEFAULT 0,
    deleted integer NOT NULL DEFAULT 0,
    gone integer NOT NULL DEFAULT 0,
    repeated boolean NOT NULL DEFAULT false,
    purge boolean NOT NULL DEFAULT false,
    purged_by text,
    CONSTRAINT cleanups_pkey PRIMARY KEY (workflow_id)
);
CREATE INDEX cleanups_due ON cleanups (owner, lane, next_at);

CREATE TABLE file_removals (
    task_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    tenant text,
    outputs json NOT NULL,
    CONSTRAINT file_removals_pkey PRIMARY KEY (task_id)
);
CREATE INDEX file_removals_by_workflow_id ON file_removals (workflow_id);

CREATE TABLE deletions (
    workflow_id uuid NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT deletions_pkey PRIMARY KEY (workflow_id)
);

CREATE TYPE insert_workflow AS (
    id uuid,
    tenant text,
    origin_instance text,
    origin_zone text,
    origin_reference text,
    config json,
    suppress_subtask_events boolean,
    total_steps integer,
    final_position integer,
    definition_bytes integer,
    feature_level integer,
    inputs json,
    inputs_schema json,
    evaluates boolean,
    has_flow boolean,
    created_at timestamptz,
    status text,
    name text,
    description text,
    webhook_url text,
    completed_steps integer,
    execution_id uuid,
    failure text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    deadline_at timestamptz,
    timeout_left_s double precision,
    owner uuid,
    epoch integer,
    last_event integer,
    crashes integer
);

CREATE TYPE insert_step AS (
    workflow_id uuid,
    created_at timestamptz,
    position integer,
    id uuid,
    step_id text,
    task_type text,
    definition json,
    depends_on integer[],
    max_retries integer,
    timeout_s double precision,
    provider text,
    fallback text,
    run_if text,
    optional boolean,
    condition text,
    repeat json,
    for_each json
);

CREATE TYPE checkpoint_workflow AS (
    id uuid,
    fence_owner uuid,
    fence_epoch integer,
    fence_event integer,
    status text,
    name text,
    description text,
    webhook_url text,
    completed_steps integer,
    execution_id uuid,
    failure text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    deadline_at timestamptz,
    timeout_left_s double precision,
    owner uuid,
    epoch integer,
    last_event integer,
    crashes integer
);

CREATE TYPE checkpoint_flow_workflow AS (
    id uuid,
    fence_owner uuid,
    fence_epoch integer,
    fence_event integer,
    status text,
    name text,
    description text,
    webhook_url text,
    completed_steps integer,
    execution_id uuid,
    failure text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    deadline_at timestamptz,
    timeout_left_s double precision,
    owner uuid,
    epoch integer,
    last_event integer,
    crashes integer,
    wake_at timestamptz,
    child_ends_seen integer
);

CREATE TYPE checkpoint_step AS (
    workflow_id uuid,
    position integer,
    status text,
    task_id uuid,
    attempt integer,
    provider_attempts integer,
    retry_count integer,
    on_fallback boolean,
    next_attempt_at timestamptz,
    result json,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    skip_reason text
);

CREATE TYPE checkpoint_flow_step AS (
    workflow_id uuid,
    position integer,
    status text,
    task_id uuid,
    attempt integer,
    provider_attempts integer,
    retry_count integer,
    on_fallback boolean,
    next_attempt_at timestamptz,
    result json,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    skip_reason text,
    flow json
);

CREATE TYPE checkpoint_item AS (
    workflow_id uuid,
    position integer,
    item integer,
    value json,
    status text,
    task_id uuid,
    attempt integer,
    provider_attempts integer,
    retry_count integer,
    on_fallback boolean,
    next_attempt_at timestamptz,
    result json,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    skip_reason text,
    flow json
);

CREATE TYPE checkpoint_task AS (
    id uuid,
    workflow_id uuid,
    position integer,
    attempt integer,
    provider text,
    seed bigint,
    started_at timestamptz,
    status text,
    phase text,
    remote_id text,
    outcome_unknown boolean,
    cancel_receipt text,
    outputs json,
    error text,
    completed_at timestamptz,
    sent json,
    urls json,
    follow_up_until timestamptz,
    cost json
);

CREATE TYPE checkpoint_flow_task AS (
    id uuid,
    workflow_id uuid,
    position integer,
    attempt integer,
    provider text,
    seed bigint,
    started_at timestamptz,
    status text,
    phase text,
    remote_id text,
    outcome_unknown boolean,
    cancel_receipt text,
    outputs json,
    error text,
    completed_at timestamptz,
    sent json,
    urls json,
    follow_up_until timestamptz,
    cost json,
    item integer
);

CREATE TYPE checkpoint_event AS (
    workflow_id uuid,
    id integer,
    type text,
    at timestamptz,
    step_id text,
    task_id uuid,
    actor text,
    data json
);

CREATE TYPE checkpoint_delivery AS (
    workflow_id uuid,
    event_id integer,
    type text,
    lane text,
    created_at timestamptz
);

CREATE TYPE checkpoint_key AS (
    workflow_id uuid,
    scope text,
    key text,
    token uuid
);

CREATE TYPE checkpoint_wait AS (
    workflow_id uuid,
    position integer,
    id uuid,
    kind text,
    since timestamptz,
    until timestamptz,
    message text,
    choices json,
    shown json
);

CREATE TYPE checkpoint_signal AS (
    workflow_id uuid,
    name text,
    data json,
    sender text,
    at timestamptz
);
