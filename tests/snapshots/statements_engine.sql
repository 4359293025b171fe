-- Plans of PostgreSQL 18.

DELETE FROM cleanups
WHERE workflow_id = $2 AND owner = $1 AND NOT purge;
--   Delete on cleanups
--     ->  Index Scan using cleanups_pkey on cleanups
--           Index Cond: (workflow_id = $2)
--           Filter: ((NOT purge) AND (owner = $1))

DELETE FROM idempotency_keys AS t
USING (
SELECT scope, key
FROM idempotency_keys
WHERE created_at < now() - interval '48 hours'
ORDER BY created_at
LIMIT 20 FOR UPDATE SKIP LOCKED ) AS e
WHERE t.scope = e.scope AND t.key = e.key;
--   Delete on idempotency_keys t
--     ->  Nested Loop
--           ->  Subquery Scan on e
--                 ->  Limit
--                       ->  LockRows
--                             ->  Index Scan using idempotency_keys_by_created_at on idempotency_keys
--                                   Index Cond: (created_at < (now() - '48:00:00'::interval))
--           ->  Index Scan using idempotency_keys_pkey on idempotency_keys t
--                 Index Cond: ((scope = e.scope) AND (key = e.key))

DELETE FROM idempotency_keys AS t
USING unnest($1::text[], $2::text[], $3::uuid[]) AS k(scope, key, token)
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND t.status IS NULL AND t.applied_at IS NULL;
--   Delete on idempotency_keys t
--     ->  Nested Loop
--           ->  Function Scan on k
--           ->  Index Scan using idempotency_keys_pkey on idempotency_keys t
--                 Index Cond: ((scope = k.scope) AND (key = k.key))
--                 Filter: ((status IS NULL) AND (applied_at IS NULL) AND (k.token = token))

SELECT 'media/' || id || '/' || name AS path
FROM uploads
WHERE id = ANY($1::uuid[]) AND status <> 'DELETING';
--   Index Scan using uploads_pkey on uploads
--     Index Cond: (id = ANY ($1))
--     Filter: (status <> 'DELETING'::text)

SELECT 'media/' || id || '/' || name AS path
FROM uploads
WHERE id = ANY($1::uuid[]) AND status = 'STORED' AND ($3::bool OR tenant IS NOT DISTINCT FROM $2::text) AND ($4::text
    IS NULL OR created_by = $4::text);
--   Index Scan using uploads_by_tenant on uploads
--     Index Cond: (id = ANY ($1))
--     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT DISTINCT workflow_id
FROM uploads
WHERE workflow_id = ANY($1::uuid[]);
--   Unique
--     ->  Index Only Scan using uploads_of_workflow on uploads
--           Index Cond: (workflow_id = ANY ($1))

SELECT body
FROM deliveries
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE;
--   Index Scan using deliveries_pkey on deliveries
--     Index Cond: ((workflow_id = $1) AND (event_id = $2))
--     Filter: (((owner = $3) AND (next_at = $4)) IS TRUE)

SELECT bytes, uploads
FROM upload_usage
WHERE lane = coalesce($1::text, '');
--   Index Scan using upload_usage_pkey on upload_usage
--     Index Cond: (lane = COALESCE($1, ''::text))

SELECT c.id, c.workflow_id, c.request, c.scope, c.key, c.token
FROM commands AS c
JOIN workflows AS w ON w.id = c.workflow_id
WHERE c.outcome IS NULL AND (w.owner = $1 OR w.owner IS NULL AND c.recipient = $1) AND (c.id IN (SELECT
    unnest($2::uuid[]))) IS NOT TRUE AND c.created_at > clock_timestamp() - interval '60.0 s' AND (c.token IS NULL OR
    EXISTS (
SELECT
FROM idempotency_keys AS i
WHERE i.scope = c.scope AND i.key = c.key AND i.token = c.token AND i.applied_at IS NULL ))
ORDER BY c.created_at, c.id
LIMIT $3;
--   Limit
--     ->  Sort
--           Sort Key: c.created_at, c.id
--           ->  Nested Loop
--                 ->  Index Scan using commands_waiting on commands c
--                       Filter: (((ANY (id = (hashed SubPlan 1).col1)) IS NOT TRUE) AND (created_at > (clock_timestamp() - '00:01:00'::interval)) AND ((token IS NULL) OR EXISTS(SubPlan 2)))
--                       SubPlan 1
--                         ->  ProjectSet
--                               ->  Result
--                       SubPlan 2
--                         ->  Index Scan using idempotency_keys_pkey on idempotency_keys i
--                               Index Cond: ((scope = c.scope) AND (key = c.key))
--                               Filter: ((applied_at IS NULL) AND (token = c.token))
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = c.workflow_id)
--                       Filter: (((owner = $1) OR (owner IS NULL)) AND ((owner = $1) OR ((owner IS NULL) AND (c.recipient = $1))))

SELECT clock_timestamp();
--   Result

SELECT clock_timestamp() AS now;
--   Result

SELECT content
FROM definition_versions
WHERE lane = $1 AND name = $2 AND version = $3;
--   Index Scan using definition_versions_pkey on definition_versions
--     Index Cond: ((lane = $1) AND (name = $2) AND (version = $3))

SELECT convert_to(inputs::text, 'UTF8') AS inputs, convert_to(inputs_schema::text, 'UTF8') AS inputs_schema, evaluates
FROM workflows AS w
WHERE id = $1 AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR w.created_by =
    $4::text);
--   Index Scan using workflows_pkey on workflows w
--     Index Cond: (id = $1)
--     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT count(*) AS deliveries, min(created_at) AS oldest
FROM deliveries
WHERE owner = $1 AND next_at IS NOT NULL;
--   Aggregate
--     ->  Index Scan using deliveries_due on deliveries
--           Index Cond: (owner = $1)

SELECT count(*) FILTER (WHERE versions > 0) AS names, coalesce(sum(bytes), 0)::bigint AS bytes, count(*) AS used
FROM definitions
WHERE lane = $1;
--   Aggregate
--     ->  Index Scan using definitions_pkey on definitions
--           Index Cond: (lane = $1)

SELECT count(*)
FROM uploads
WHERE status = 'STORED';
--   Aggregate
--     ->  Index Only Scan using uploads_by_tenant on uploads

SELECT count(*)
FROM uploads
WHERE status = 'STORED' AND coalesce(tenant, '') = coalesce($1::text, '') AND (tenant IS NULL) = ($1::text IS NULL)
    AND ($2::text IS NULL OR created_by = $2);
--   Aggregate
--     ->  Index Scan using uploads_by_tenant on uploads
--           Index Cond: (COALESCE(tenant, ''::text) = COALESCE($1, ''::text))
--           Filter: ((($2 IS NULL) OR (created_by = $2)) AND ((tenant IS NULL) = ($1 IS NULL)))

SELECT d.name, d.newest, d.versions, d.default_version, d.archived, d.labels, d.description, d.bytes, v.version,
    v.digest, v.size, v.created_by, v.created_at, v.refers_to
FROM definitions AS d
JOIN definition_versions AS v ON v.lane = d.lane AND v.name = d.name AND v.version = coalesce($3, d.newest)
WHERE d.lane = $1 AND d.name = $2;
--   Nested Loop
--     Join Filter: (v.version = COALESCE($3, d.newest))
--     ->  Index Scan using definitions_pkey on definitions d
--           Index Cond: ((lane = $1) AND (name = $2))
--     ->  Index Scan using definition_versions_pkey on definition_versions v
--           Index Cond: ((lane = $1) AND (name = $2))

SELECT d.name, d.newest, d.versions, d.default_version, d.archived, d.labels, d.description, d.bytes, v.version,
    v.digest, v.size, v.created_by, v.created_at, v.refers_to
FROM definitions AS d
JOIN definition_versions AS v ON v.lane = d.lane AND v.name = d.name AND v.version = d.newest
WHERE d.lane = $1 AND d.archived = $2 AND starts_with(d.name, $3) AND d.name COLLATE "C" > $4 AND d.labels::jsonb @>
    $5::text::jsonb
ORDER BY d.name COLLATE "C"
LIMIT $6;
--   Limit
--     ->  Sort
--           Sort Key: d.name COLLATE "C"
--           ->  Nested Loop
--                 Join Filter: ((d.name = v.name) AND (v.version = d.newest))
--                 ->  Index Scan using definitions_pkey on definitions d
--                       Index Cond: (lane = $1)
--                       Filter: (starts_with(name, $3) AND ((name)::text > $4) AND (archived = $2) AND ((labels)::jsonb @> ($5)::jsonb))
--                 ->  Index Scan using definition_versions_pkey on definition_versions v
--                       Index Cond: (lane = $1)

SELECT d.workflow_id, d.lane, d.next_at, d.tries, d.body IS NOT NULL AS frozen, w.tenant, w.webhook_url,
    w.origin_instance, w.origin_reference, w.total_steps, d.event_id, e.id, e.type, e.at, e.step_id, e.task_id,
    e.actor, e.data
FROM unnest($2::text[]) AS l(lane)
CROSS
JOIN LATERAL (
SELECT *
FROM deliveries AS q
WHERE q.owner = $1 AND q.lane = l.lane AND q.next_at IS NOT NULL
ORDER BY q.next_at
LIMIT $3 ) AS d
JOIN workflows AS w ON w.id = d.workflow_id
JOIN events AS e ON e.workflow_id = d.workflow_id AND e.id = d.event_id
ORDER BY d.lane, d.next_at;
--   Sort
--     Sort Key: q.lane, q.next_at
--     ->  Nested Loop
--           Join Filter: (q.workflow_id = w.id)
--           ->  Nested Loop
--                 ->  Nested Loop
--                       ->  Function Scan on unnest l
--                       ->  Limit
--                             ->  Index Scan using deliveries_due on deliveries q
--                                   Index Cond: ((owner = $1) AND (lane = l.lane))
--                 ->  Memoize
--                       Cache Key: q.workflow_id, q.event_id
--                       Cache Mode: logical
--                       ->  Index Scan using events_pkey on events e
--                             Index Cond: ((workflow_id = q.workflow_id) AND (id = q.event_id))
--           ->  Index Scan using workflows_pkey on workflows w
--                 Index Cond: (id = e.workflow_id)

SELECT deleted, gone, repeated
FROM cleanups
WHERE workflow_id = $2 AND owner = $1 AND NOT purge;
--   Index Scan using cleanups_pkey on cleanups
--     Index Cond: (workflow_id = $2)
--     Filter: ((NOT purge) AND (owner = $1))

SELECT extract(epoch
FROM min(expires_at) - clock_timestamp())::float8 AS seconds
FROM uploads;
--   Result
--     InitPlan 1
--       ->  Limit
--             ->  Index Only Scan using uploads_due on uploads

SELECT extract(epoch
FROM min(next_at) - clock_timestamp())::float8
FROM cleanups
WHERE owner = $1;
--   Aggregate
--     ->  Index Only Scan using cleanups_due on cleanups
--           Index Cond: (owner = $1)

SELECT f.task_id, f.workflow_id, f.outputs
FROM file_removals AS f
WHERE f.task_id IN (
SELECT task_id
FROM file_removals
WHERE workflow_id = ANY($1::uuid[]) UNION
SELECT task_id
FROM artifact_references
WHERE workflow_id = ANY($1::uuid[]) ) AND f.task_id > $2 AND NOT EXISTS (
SELECT
FROM artifact_references AS r
JOIN workflows AS w ON w.id = r.workflow_id
WHERE r.task_id = f.task_id AND w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM f.tenant AND NOT (f.forced AND
    r.reused) )
ORDER BY f.task_id
LIMIT $3;
--   Limit
--     ->  Nested Loop Anti Join
--           Join Filter: (((NOT f.forced) OR (NOT r.reused)) AND (NOT (w.tenant IS DISTINCT FROM f.tenant)) AND (r.task_id = f.task_id))
--           ->  Nested Loop
--                 ->  Unique
--                       ->  Merge Append
--                             Sort Key: file_removals.task_id
--                             ->  Sort
--                                   Sort Key: file_removals.task_id
--                                   ->  Index Scan using file_removals_by_workflow_id on file_removals
--                                         Index Cond: (workflow_id = ANY ($1))
--                             ->  Sort
--                                   Sort Key: artifact_references.task_id
--                                   ->  Index Scan using artifact_references_by_workflow_id on artifact_references
--                                         Index Cond: (workflow_id = ANY ($1))
--                 ->  Index Scan using file_removals_pkey on file_removals f
--                       Index Cond: ((task_id = file_removals.task_id) AND (task_id > $2))
--           ->  Materialize
--                 ->  Nested Loop
--                       ->  Index Scan using workflows_pkey on workflows w
--                             Filter: (deleted_at IS NULL)
--                       ->  Index Scan using artifact_references_by_workflow_id on artifact_references r
--                             Index Cond: (workflow_id = w.id)

SELECT i.id, i.has_folder, v.version_num
FROM installation AS i
CROSS
JOIN schema_revision AS v;
--   Nested Loop
--     ->  Seq Scan on installation i
--           Disabled: true
--     ->  Materialize
--           ->  Index Only Scan using schema_revision_pkc on schema_revision v

SELECT id
FROM uploads
WHERE expires_at <= clock_timestamp()
ORDER BY expires_at
LIMIT $1;
--   Limit
--     ->  Index Scan using uploads_due on uploads
--           Filter: (expires_at <= clock_timestamp())

SELECT id
FROM uploads
WHERE workflow_id = $1 AND status = 'STORED'
ORDER BY id
LIMIT $2 FOR UPDATE;
--   Limit
--     ->  LockRows
--           ->  Sort
--                 Sort Key: id
--                 ->  Index Scan using uploads_of_workflow on uploads
--                       Index Cond: (workflow_id = $1)
--                       Filter: (status = 'STORED'::text)

SELECT id, owner, epoch, last_event, updated_at
FROM workflows
WHERE id = ANY($1::uuid[]);
--   Index Scan using workflows_pkey on workflows
--     Index Cond: (id = ANY ($1))

SELECT id, status
FROM workflows
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL AND ($3::bool OR tenant IS NOT DISTINCT FROM $2::text) AND ($4::text
    IS NULL OR created_by = $4::text);
--   Index Scan using workflows_pkey on workflows
--     Index Cond: (id = ANY ($1))
--     Filter: ((deleted_at IS NULL) AND ($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT id, status
FROM workflows
WHERE parent_id = $1 AND deleted_at IS NULL
ORDER BY id
LIMIT $2;
--   Limit
--     ->  Index Scan using workflows_by_parent on workflows
--           Index Cond: (parent_id = $1)
--           Filter: (deleted_at IS NULL)

SELECT id, status, child_ended_count, id <> $5 AND deleted_at IS NULL AS is_child
FROM workflows
WHERE id = ANY($1::uuid[] || $5::uuid) AND ($3::bool OR tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR
    created_by = $4::text);
--   Index Scan using workflows_pkey on workflows
--     Index Cond: (id = ANY (($1 || $5)))
--     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT id, tenant, created_by, origin_instance, config, suppress_subtask_events, definition_bytes, feature_level,
    created_at, status, name, description, webhook_url, completed_steps, execution_id, failure, started_at,
    completed_at, updated_at, deleted_at, deadline_at, timeout_left_s, owner, epoch, last_event, crashes, wake_at,
    parent_id, depth, parent_step, parent_item, root_id, child_ended_count, CASE WHEN has_flow THEN (
SELECT json_object_agg(n.name, json_build_object('data', n.data, 'sender', n.sender, 'at', n.at))
FROM signals AS n
WHERE n.workflow_id = w.id ) END AS signals, evaluates, CASE WHEN evaluates THEN inputs END AS inputs, named_files,
    reuse, CASE WHEN evaluates THEN ARRAY(SELECT label
FROM labels AS l
WHERE l.workflow_id = w.id) END AS labels, CASE WHEN status IN ('RUNNING', 'PAUSED', 'FAILED') THEN (
SELECT sum(octet_length(s.result::text))
FROM steps AS s
WHERE s.workflow_id = w.id AND s.result IS NOT NULL ) END AS result_bytes, CASE WHEN status IN ('RUNNING', 'PAUSED',
    'FAILED') AND has_flow THEN (
SELECT sum(octet_length(i.result::text))
FROM step_items AS i
WHERE i.workflow_id = w.id AND i.result IS NOT NULL ) END AS item_result_bytes, CASE WHEN root_id IS NOT NULL THEN (
SELECT root.config -> 'budget'
FROM workflows AS root
WHERE root.id = w.root_id ) IS NOT NULL END AS root_has_budget
FROM workflows AS w
WHERE id = ANY($1::uuid[])
ORDER BY id;
--   Index Scan using workflows_pkey on workflows w
--     Index Cond: (id = ANY ($1))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using signals_pkey on signals n
--                   Index Cond: (workflow_id = w.id)
--     SubPlan 2
--       ->  Index Only Scan using labels_pkey on labels l
--             Index Cond: (workflow_id = w.id)
--     SubPlan 3
--       ->  Aggregate
--             ->  Index Scan using steps_pkey on steps s
--                   Index Cond: (workflow_id = w.id)
--                   Filter: (result IS NOT NULL)
--     SubPlan 4
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: (workflow_id = w.id)
--                   Filter: (result IS NOT NULL)
--     SubPlan 5
--       ->  Index Scan using workflows_pkey on workflows root
--             Index Cond: (id = w.root_id)

SELECT id, tenant, created_by, private_to <> '' AS private, name, size
FROM uploads
WHERE id = $1 AND status = 'PENDING' AND sha256 = '' AND ($3::bool OR tenant IS NOT DISTINCT FROM $2::text) AND
    ($4::text IS NULL OR created_by = $4::text);
--   Index Scan using uploads_pkey on uploads
--     Index Cond: (id = $1)
--     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)) AND (status = 'PENDING'::text) AND (sha256 = ''::text))

SELECT id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at
FROM uploads
WHERE id = $1 AND status = 'STORED' AND ($3::bool OR tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR
    created_by = $4::text);
--   Index Scan using uploads_by_tenant on uploads
--     Index Cond: (id = $1)
--     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at
FROM uploads
WHERE status = 'STORED' AND coalesce(tenant, '') = coalesce($1::text, '') AND (tenant IS NULL) = ($1::text IS NULL)
    AND ($2::text IS NULL OR created_by = $2)
ORDER BY created_at DESC, id DESC OFFSET $3
LIMIT $4;
--   Limit
--     ->  Index Scan Backward using uploads_by_tenant on uploads
--           Index Cond: (COALESCE(tenant, ''::text) = COALESCE($1, ''::text))
--           Filter: ((($2 IS NULL) OR (created_by = $2)) AND ((tenant IS NULL) = ($1 IS NULL)))

SELECT id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at
FROM uploads
WHERE status = 'STORED'
ORDER BY created_at DESC, id DESC OFFSET $1
LIMIT $2;
--   Limit
--     ->  Index Scan Backward using uploads_by_created on uploads

SELECT lane, min(next_at) AS at
FROM deliveries
WHERE owner = $1 AND next_at IS NOT NULL
GROUP BY lane;
--   GroupAggregate
--     Group Key: lane
--     ->  Index Only Scan using deliveries_due on deliveries
--           Index Cond: (owner = $1)

SELECT n.key, convert_to(n.value::text, 'UTF8') AS value
FROM workflows AS w, json_each(w.named_definitions) AS n
WHERE w.id = $1 AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR w.created_by =
    $4::text) AND NOT EXISTS (
SELECT
FROM definition_versions AS v
WHERE v.lane = coalesce(w.tenant, '') AND v.name = split_part(n.key, '@', 1) AND v.version = split_part(n.key, '@',
    2)::integer );
--   Nested Loop Anti Join
--     ->  Nested Loop
--           ->  Index Scan using workflows_pkey on workflows w
--                 Index Cond: (id = $1)
--                 Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--           ->  Function Scan on json_each n
--     ->  Index Only Scan using definition_versions_pkey on definition_versions v
--           Index Cond: ((lane = COALESCE(w.tenant, ''::text)) AND (name = split_part(n.key, '@'::text, 1)) AND (version = (split_part(n.key, '@'::text, 2))::integer))

SELECT n.key, convert_to(n.value::text, 'UTF8') AS value
FROM workflows AS w, json_each(w.named_definitions) AS n
WHERE w.id = $1 AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR w.created_by =
    $4::text) AND n.key = ANY($5::text[]);
--   Nested Loop
--     ->  Index Scan using workflows_pkey on workflows w
--           Index Cond: (id = $1)
--           Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--     ->  Function Scan on json_each n
--           Filter: (key = ANY ($5))

SELECT name, newest, versions, default_version, archived, labels, description, bytes
FROM definitions
WHERE lane = $1 AND name = $2;
--   Index Scan using definitions_pkey on definitions
--     Index Cond: ((lane = $1) AND (name = $2))

SELECT outcome
FROM commands
WHERE id = $1 AND requester = $2;
--   Index Scan using commands_pkey on commands
--     Index Cond: (id = $1)
--     Filter: (requester = $2)

SELECT pg_advisory_xact_lock(hashtext('stepwell artifact folder'));
--   Result

SELECT pg_advisory_xact_lock(hashtext('stepwell definitions ' || $1));
--   Result

SELECT pg_notify($1, $2);
--   Result

SELECT pg_notify('stepwell_processes', $1);
--   Result

SELECT position, id, max_retries, run_if, optional, condition, convert_to(repeat::text, 'UTF8') AS repeat,
    convert_to(for_each::text, 'UTF8') AS for_each, convert_to(definition::text, 'UTF8') AS definition,
    convert_to((CASE WHEN s.for_each IS NULL OR s.result IS NOT NULL THEN s.result WHEN s.status = 'COMPLETED' THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) AS o ) END)::text, 'UTF8') AS result
FROM (
SELECT s.workflow_id, s.position, s.id, s.max_retries, s.run_if, s.optional, s.condition, s.repeat, s.for_each,
    s.definition, s.status, s.result, sum(CASE WHEN pg_column_compression(s.definition) IS NULL THEN
    pg_column_size(s.definition) ELSE octet_length(s.definition::text) END + CASE WHEN s.for_each IS NULL THEN
    coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE
    octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END) OVER (ORDER BY s.position) AS bytes
FROM steps AS s
JOIN workflows AS w ON w.id = s.workflow_id
WHERE s.workflow_id = $1 AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR
    w.created_by = $4::text) AND s.position >= $5 AND s.position < $5 + $6 ) AS s
WHERE bytes <= $7 OR position = $5
ORDER BY position;
--   Subquery Scan on s
--     Filter: ((s.bytes <= $7) OR (s."position" = $5))
--     ->  WindowAgg
--           Window: w1 AS (ORDER BY s_1."position")
--           ->  Nested Loop
--                 ->  Index Scan using steps_pkey on steps s_1
--                       Index Cond: ((workflow_id = $1) AND ("position" >= $5) AND ("position" < ($5 + $6)))
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = $1)
--                       Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--           SubPlan 2
--             ->  Aggregate
--                   ->  Index Scan using step_items_pkey on step_items i_1
--                         Index Cond: ((workflow_id = s_1.workflow_id) AND ("position" = s_1."position"))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))

SELECT position, id, max_retries, run_if, optional, condition, convert_to(repeat::text, 'UTF8') AS repeat,
    convert_to(for_each::text, 'UTF8') AS for_each, convert_to(definition::text, 'UTF8') AS definition,
    convert_to((NULL::json)::text, 'UTF8') AS result
FROM (
SELECT s.workflow_id, s.position, s.id, s.max_retries, s.run_if, s.optional, s.condition, s.repeat, s.for_each,
    s.definition, s.status, s.result, sum(CASE WHEN pg_column_compression(s.definition) IS NULL THEN
    pg_column_size(s.definition) ELSE octet_length(s.definition::text) END) OVER (ORDER BY s.position) AS bytes
FROM steps AS s
JOIN workflows AS w ON w.id = s.workflow_id
WHERE s.workflow_id = $1 AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS NULL OR
    w.created_by = $4::text) AND s.position >= $5 AND s.position < $5 + $6 ) AS s
WHERE bytes <= $7 OR position = $5
ORDER BY position;
--   Subquery Scan on s
--     Filter: ((s.bytes <= $7) OR (s."position" = $5))
--     ->  WindowAgg
--           Window: w1 AS (ORDER BY s_1."position")
--           ->  Nested Loop
--                 ->  Index Scan using steps_pkey on steps s_1
--                       Index Cond: ((workflow_id = $1) AND ("position" >= $5) AND ("position" < ($5 + $6)))
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = $1)
--                       Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT r.workflow_id
FROM uploads AS u
JOIN artifact_references AS r ON r.task_id = u.id
LEFT
JOIN workflows AS w ON w.id = r.workflow_id
WHERE u.id = $1 AND CASE WHEN w.id IS NULL THEN r.workflow_id IS DISTINCT FROM $2 AND u.used_at > clock_timestamp() -
    make_interval(secs => 60) ELSE w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM u.tenant AND ( w.named_files
    IS NULL OR w.created_by = u.created_by OR position(u.id::text IN w.named_files::text) > 0 ) END
ORDER BY w.id IS NULL
LIMIT 1;
--   Limit
--     ->  Sort
--           Sort Key: ((w.id IS NULL))
--           ->  Nested Loop
--                 Join Filter: CASE WHEN (w.id IS NULL) THEN ((r.workflow_id IS DISTINCT FROM $2) AND (u.used_at > (clock_timestamp() - '00:01:00'::interval))) ELSE ((w.deleted_at IS NULL) AND (NOT (w.tenant IS DISTINCT FROM u.tenant)) AND ((w.named_files IS NULL) OR (w.created_by = u.created_by) OR (POSITION(((u.id)::text) IN ((w.named_files)::text)) > 0))) END
--                 ->  Index Scan using uploads_pkey on uploads u
--                       Index Cond: (id = $1)
--                 ->  Nested Loop Left Join
--                       ->  Index Only Scan using artifact_references_pkey on artifact_references r
--                             Index Cond: (task_id = $1)
--                       ->  Index Scan using workflows_pkey on workflows w
--                             Index Cond: (id = r.workflow_id)

SELECT remote_id
FROM tasks
WHERE remote_id = ANY($2::text[]) AND provider = $1;
--   Index Only Scan using tasks_by_remote_id on tasks
--     Index Cond: ((remote_id = ANY ($2)) AND (provider = $1))

SELECT s.position, NULL::int AS item, s.step_id, s.repeat, s.task_id, s.flow, octet_length(s.result::text) AS size
FROM workflows AS w
JOIN steps AS s ON s.workflow_id = w.id
WHERE w.id = $1 AND w.deleted_at IS NULL AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text) AND s.status = 'COMPLETED' AND s.result IS NOT NULL
UNION ALL
SELECT i.position, i.item, s.step_id, s.repeat, i.task_id, i.flow, octet_length(i.result::text)
FROM workflows AS w
JOIN step_items AS i ON i.workflow_id = w.id
JOIN steps AS s ON s.workflow_id = i.workflow_id AND s.position = i.position
WHERE w.id = $1 AND w.deleted_at IS NULL AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text) AND i.status = 'COMPLETED' AND i.result IS NOT NULL
ORDER BY position, item;
--   Sort
--     Sort Key: s."position", (NULL::integer)
--     ->  Append
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = $1)
--                       Filter: ((deleted_at IS NULL) AND ($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--                 ->  Index Scan using steps_pkey on steps s
--                       Index Cond: (workflow_id = $1)
--                       Filter: ((result IS NOT NULL) AND (status = 'COMPLETED'::text))
--           ->  Nested Loop
--                 Join Filter: (i."position" = s_1."position")
--                 ->  Nested Loop
--                       ->  Index Scan using step_items_pkey on step_items i
--                             Index Cond: (workflow_id = $1)
--                             Filter: ((result IS NOT NULL) AND (status = 'COMPLETED'::text))
--                       ->  Index Scan using workflows_pkey on workflows w_1
--                             Index Cond: (id = $1)
--                             Filter: ((deleted_at IS NULL) AND ($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--                 ->  Index Scan using steps_pkey on steps s_1
--                       Index Cond: (workflow_id = $1)

SELECT s.workflow_id, s.position, CASE WHEN CASE WHEN s.for_each IS NULL THEN 0 WHEN s.result IS NOT NULL THEN
    octet_length(s.result::text) WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(octet_length(i.result::text)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END <= $6::bigint THEN CASE WHEN s.for_each IS
    NULL OR s.result IS NOT NULL THEN s.result WHEN s.status = 'COMPLETED' THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) AS o ) END END AS result
FROM unnest($1::uuid[], $2::int[]) AS x(workflow_id, position)
JOIN steps AS s ON s.workflow_id = x.workflow_id AND s.position = x.position
JOIN workflows AS w ON w.id = x.workflow_id
WHERE (s.result IS NOT NULL OR s.for_each IS NOT NULL AND s.status = 'COMPLETED') AND ($4::bool OR w.tenant IS NOT
    DISTINCT FROM $3::text) AND ($5::text IS NULL OR w.created_by = $5::text);
--   Nested Loop
--     ->  Nested Loop
--           ->  Function Scan on x
--           ->  Index Scan using steps_pkey on steps s
--                 Index Cond: ((workflow_id = x.workflow_id) AND ("position" = x."position"))
--                 Filter: ((result IS NOT NULL) OR ((for_each IS NOT NULL) AND (status = 'COMPLETED'::text)))
--     ->  Index Scan using workflows_pkey on workflows w
--           Index Cond: (id = s.workflow_id)
--           Filter: (($4 OR (NOT (tenant IS DISTINCT FROM $3))) AND (($5 IS NULL) OR (created_by = $5)))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     SubPlan 2
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_1
--                   Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))

SELECT s.workflow_id, w.created_at, s.position, s.id, s.step_id, s.task_type, s.definition, s.depends_on,
    s.max_retries, s.timeout_s, s.provider, s.fallback, s.run_if, s.optional, s.condition, s.repeat, s.for_each,
    s.status, s.task_id, s.attempt, s.provider_attempts, s.retry_count, s.on_fallback, s.next_attempt_at,
    s.error_message, s.started_at, s.completed_at, s.updated_at, s.skip_reason, s.flow
FROM steps AS s
JOIN workflows AS w ON w.id = s.workflow_id
WHERE s.workflow_id = ANY($1::uuid[])
ORDER BY s.workflow_id, s.position;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps s
--           Index Cond: (workflow_id = ANY ($1))
--     ->  Index Scan using workflows_pkey on workflows w
--           Index Cond: (id = s.workflow_id)

SELECT sessions_ended_at
FROM installation;
--   Seq Scan on installation
--     Disabled: true

SELECT status
FROM uploads
WHERE id = $1 AND expires_at <= clock_timestamp() FOR UPDATE;
--   LockRows
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)
--           Filter: (expires_at <= clock_timestamp())

SELECT status, headers, body
FROM idempotency_keys
WHERE scope = $1 AND key = $2 AND token = $3 AND status IS NOT NULL;
--   Index Scan using idempotency_keys_pkey on idempotency_keys
--     Index Cond: ((scope = $1) AND (key = $2))
--     Filter: ((status IS NOT NULL) AND (token = $3))

SELECT t.id, t.workflow_id, t.position, t.attempt, t.provider, t.seed, t.started_at, t.status, t.phase, t.remote_id,
    t.outcome_unknown, t.cancel_receipt, t.outputs, t.error, t.completed_at, t.sent, t.urls, t.follow_up_until,
    t.cost, t.fingerprint, t.item
FROM tasks AS t
JOIN step_items AS i ON i.workflow_id = t.workflow_id AND i.position = t.position AND i.item = t.item
WHERE t.workflow_id = ANY($1::uuid[]) AND i.status = 'RUNNING' AND i.task_id = t.id AND t.status = 'RUNNING' AND
    t.follow_up_until IS NULL;
--   Nested Loop
--     ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t
--           Index Cond: (workflow_id = ANY ($1))
--           Filter: ((follow_up_until IS NULL) AND (status = 'RUNNING'::text))
--     ->  Index Scan using step_items_pkey on step_items i
--           Index Cond: ((workflow_id = t.workflow_id) AND ("position" = t."position") AND (item = t.item))
--           Filter: ((status = 'RUNNING'::text) AND (task_id = t.id))

SELECT t.id, t.workflow_id, t.position, t.attempt, t.provider, t.seed, t.started_at, t.status, t.phase, t.remote_id,
    t.outcome_unknown, t.cancel_receipt, t.outputs, t.error, t.completed_at, t.sent, t.urls, t.follow_up_until,
    t.cost, t.fingerprint, t.item
FROM tasks AS t
JOIN steps AS s ON s.workflow_id = t.workflow_id AND s.position = t.position AND s.task_id = t.id
WHERE t.workflow_id = ANY($1::uuid[]) AND s.status = 'RUNNING' AND t.status = 'RUNNING'
UNION ALL
SELECT t.id, t.workflow_id, t.position, t.attempt, t.provider, t.seed, t.started_at, t.status, t.phase, t.remote_id,
    t.outcome_unknown, t.cancel_receipt, t.outputs, t.error, t.completed_at, t.sent, t.urls, t.follow_up_until,
    t.cost, t.fingerprint, t.item
FROM tasks AS t
WHERE t.workflow_id = ANY($1::uuid[]) AND t.follow_up_until IS NOT NULL;
--   Append
--     ->  Nested Loop
--           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t
--                 Index Cond: (workflow_id = ANY ($1))
--                 Filter: (status = 'RUNNING'::text)
--           ->  Index Scan using steps_pkey on steps s
--                 Index Cond: ((workflow_id = t.workflow_id) AND ("position" = t."position"))
--                 Filter: ((status = 'RUNNING'::text) AND (task_id = t.id))
--     ->  Index Scan using tasks_to_follow_up on tasks t_1
--           Index Cond: (workflow_id = ANY ($1))

SELECT t.id, t.workflow_id, t.position, t.attempt, t.provider, t.seed, t.started_at, t.status, t.phase, t.remote_id,
    t.outcome_unknown, t.cancel_receipt, t.outputs, t.error, t.completed_at, t.sent, t.urls, t.follow_up_until,
    t.cost, t.fingerprint, t.item
FROM workflows AS w
JOIN tasks AS t ON t.workflow_id = w.id
WHERE w.id = $1 AND w.deleted_at IS NULL AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text) AND t.status = 'COMPLETED' AND t.fingerprint IS NOT NULL
ORDER BY t.position, t.attempt;
--   Nested Loop
--     ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t
--           Index Cond: (workflow_id = $1)
--           Filter: ((fingerprint IS NOT NULL) AND (status = 'COMPLETED'::text))
--     ->  Index Scan using workflows_pkey on workflows w
--           Index Cond: (id = $1)
--           Filter: ((deleted_at IS NULL) AND ($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))

SELECT tasks.id, tasks.workflow_id, tasks.position, tasks.attempt, tasks.provider, tasks.seed, tasks.started_at,
    tasks.status, tasks.phase, tasks.remote_id, tasks.outcome_unknown, tasks.cancel_receipt, tasks.outputs,
    tasks.error, tasks.completed_at, tasks.deleted_at, tasks.sent, tasks.urls, tasks.follow_up_until, tasks.cost,
    tasks.item, tasks.fingerprint, steps.step_id, steps.task_type, workflows.tenant, workflows.created_by
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.id = ANY ($1::UUID[]);
--   Nested Loop
--     ->  Nested Loop
--           ->  Index Scan using tasks_pkey on tasks
--                 Index Cond: (id = ANY ($1))
--           ->  Index Scan using steps_pkey on steps
--                 Index Cond: ((workflow_id = tasks.workflow_id) AND ("position" = tasks."position"))
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = steps.workflow_id)

SELECT tenant, count(*)::int AS number, min(started_at) AS oldest
FROM workflows
WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL AND (id IN (SELECT id
FROM workflows
WHERE feature_level > 1)) IS NOT TRUE
GROUP BY tenant;
--   GroupAggregate
--     Group Key: workflows.tenant
--     ->  Sort
--           Sort Key: workflows.tenant
--           ->  Index Only Scan using workflows_to_admit on workflows
--                 Filter: ((ANY (id = (hashed SubPlan 1).col1)) IS NOT TRUE)
--                 SubPlan 1
--                   ->  Index Only Scan using workflows_by_feature_level on workflows workflows_1

SELECT tenant, created_by
FROM uploads
WHERE id = $1 AND status = 'STORED' AND ($2::timestamptz IS NULL OR expires_at = $2) FOR UPDATE;
--   LockRows
--     ->  Index Scan using uploads_by_tenant on uploads
--           Index Cond: (id = $1)
--           Filter: ((($2 IS NULL) OR (expires_at = $2)) AND (status = 'STORED'::text))

SELECT version, digest, size, created_by, created_at, refers_to
FROM definition_versions
WHERE lane = $1 AND name = $2 AND version = $3;
--   Index Scan using definition_versions_pkey on definition_versions
--     Index Cond: ((lane = $1) AND (name = $2) AND (version = $3))

SELECT version, digest, size, created_by, created_at, refers_to
FROM definition_versions
WHERE lane = $1 AND name = $2
ORDER BY version DESC;
--   Index Scan Backward using definition_versions_pkey on definition_versions
--     Index Cond: ((lane = $1) AND (name = $2))

SELECT workflow_id, position, item, value, status, task_id, attempt, provider_attempts, retry_count, on_fallback,
    next_attempt_at, error_message, started_at, completed_at, updated_at, skip_reason, flow
FROM step_items
WHERE workflow_id = ANY($1::uuid[])
ORDER BY workflow_id, position, item;
--   Index Scan using step_items_pkey on step_items
--     Index Cond: (workflow_id = ANY ($1))

SELECT workflows.id, workflows.tenant, workflows.created_by, workflows.origin_instance, workflows.origin_zone,
    workflows.origin_reference, workflows.config, workflows.suppress_subtask_events, workflows.total_steps,
    workflows.final_position, workflows.definition_bytes, workflows.feature_level, workflows.evaluates,
    workflows.has_flow, workflows.stored_definition, workflows.reuse, workflows.created_at, workflows.status,
    workflows.name, workflows.description, workflows.webhook_url, workflows.completed_steps, workflows.execution_id,
    workflows.failure, workflows.started_at, workflows.completed_at, workflows.updated_at, workflows.deleted_at,
    workflows.deadline_at, workflows.timeout_left_s, workflows.owner, workflows.epoch, workflows.last_event,
    workflows.crashes, workflows.wake_at, workflows.parent_id, workflows.parent_step, workflows.parent_item,
    workflows.root_id, workflows.depth, workflows.child_ended_count, workflows.sub_workflows,
    workflows.sub_workflow_steps, workflows.sub_workflow_bytes, (SELECT steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]);
--   Nested Loop
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = ANY ($11))
--     ->  Index Scan using steps_pkey on steps final
--           Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--     SubPlan 1
--       ->  Limit
--             ->  Sort
--                   Sort Key: steps.started_at, steps."position"
--                   ->  Index Scan using steps_pkey on steps
--                         Index Cond: (workflow_id = workflows.id)
--                         Filter: (status = ($1)::text)
--     SubPlan 2
--       ->  Aggregate
--             ->  Index Scan using steps_pkey on steps steps_1
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: (status = ($4)::text)
--     SubPlan 3
--       ->  Limit
--             ->  Index Scan using steps_pkey on steps steps_2
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: ((NOT optional) AND (status = ($4)::text))
--     SubPlan 4
--       ->  Aggregate
--             ->  Index Scan using steps_pkey on steps steps_3
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--     SubPlan 5
--       ->  Aggregate
--             ->  Sort
--                   Sort Key: ((tasks.cost ->> 'currency'::text))
--                   ->  HashAggregate
--                         Group Key: (tasks.cost ->> 'currency'::text)
--                         ->  Index Scan using tasks_sent on tasks
--                               Index Cond: (workflow_id = workflows.id)
--                               Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--     SubPlan 6
--       ->  Aggregate
--             ->  Index Only Scan using labels_pkey on labels
--                   Index Cond: (workflow_id = workflows.id)
--     SubPlan 7
--       ->  Aggregate
--             ->  GroupAggregate
--                   Group Key: s."position"
--                   ->  Nested Loop
--                         Join Filter: (s."position" = i."position")
--                         ->  Index Scan using steps_pkey on steps s
--                               Index Cond: (workflow_id = workflows.id)
--                               Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                         ->  Index Scan using step_items_pkey on step_items i
--                               Index Cond: (workflow_id = workflows.id)
--     SubPlan 8
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_1
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 9
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_2
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 10
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_3
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 11
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n
--                   Index Cond: (root_id = workflows.id)
--     SubPlan 12
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n_1
--                   Index Cond: (root_id = workflows.root_id)
--     SubPlan 14
--       ->  Limit
--             CTE below
--               ->  Recursive Union
--                     ->  Result
--                     ->  Nested Loop
--                           ->  WorkTable Scan on below
--                           ->  Index Only Scan using workflows_by_parent on workflows c
--                                 Index Cond: (parent_id = below.id)
--             ->  Sort
--                   Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                   ->  Nested Loop
--                         ->  CTE Scan on below below_1
--                         ->  Index Scan using waits_pkey on waits n_2
--                               Index Cond: (workflow_id = below_1.id)

SELECT workflows.id, workflows.tenant, workflows.created_by, workflows.origin_instance, workflows.origin_zone,
    workflows.origin_reference, workflows.config, workflows.suppress_subtask_events, workflows.total_steps,
    workflows.final_position, workflows.definition_bytes, workflows.feature_level, workflows.evaluates,
    workflows.has_flow, workflows.stored_definition, workflows.reuse, workflows.created_at, workflows.status,
    workflows.name, workflows.description, workflows.webhook_url, workflows.completed_steps, workflows.execution_id,
    workflows.failure, workflows.started_at, workflows.completed_at, workflows.updated_at, workflows.deleted_at,
    workflows.deadline_at, workflows.timeout_left_s, workflows.owner, workflows.epoch, workflows.last_event,
    workflows.crashes, workflows.wake_at, workflows.parent_id, workflows.parent_step, workflows.parent_item,
    workflows.root_id, workflows.depth, workflows.child_ended_count, workflows.sub_workflows,
    workflows.sub_workflow_steps, workflows.sub_workflow_bytes, (SELECT steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]) AND (SELECT sum(CASE WHEN (weighed.position = workflows.final_position) THEN
    least(CASE WHEN weighed.for_each IS NULL THEN coalesce(pg_column_size(weighed.result) * CASE WHEN
    pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50 END, 0) WHEN weighed.result IS NOT NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END <= 65536;
--   Nested Loop
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = ANY ($11))
--           Filter: (((SubPlan 16) + (pg_column_size(config) * CASE WHEN (pg_column_compression(config) IS NULL) THEN 1 ELSE 50 END)) <= 65536)
--           SubPlan 16
--             ->  Aggregate
--                   ->  Index Scan using steps_pkey on steps weighed
--                         Index Cond: (workflow_id = workflows.id)
--                   SubPlan 15
--                     ->  Aggregate
--                           ->  Index Scan using step_items_pkey on step_items i_4
--                                 Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--     ->  Index Scan using steps_pkey on steps final
--           Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--     SubPlan 1
--       ->  Limit
--             ->  Sort
--                   Sort Key: steps.started_at, steps."position"
--                   ->  Index Scan using steps_pkey on steps
--                         Index Cond: (workflow_id = workflows.id)
--                         Filter: (status = ($1)::text)
--     SubPlan 2
--       ->  Aggregate
--             ->  Index Scan using steps_pkey on steps steps_1
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: (status = ($4)::text)
--     SubPlan 3
--       ->  Limit
--             ->  Index Scan using steps_pkey on steps steps_2
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: ((NOT optional) AND (status = ($4)::text))
--     SubPlan 4
--       ->  Aggregate
--             ->  Index Scan using steps_pkey on steps steps_3
--                   Index Cond: (workflow_id = workflows.id)
--                   Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--     SubPlan 5
--       ->  Aggregate
--             ->  Sort
--                   Sort Key: ((tasks.cost ->> 'currency'::text))
--                   ->  HashAggregate
--                         Group Key: (tasks.cost ->> 'currency'::text)
--                         ->  Index Scan using tasks_sent on tasks
--                               Index Cond: (workflow_id = workflows.id)
--                               Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--     SubPlan 6
--       ->  Aggregate
--             ->  Index Only Scan using labels_pkey on labels
--                   Index Cond: (workflow_id = workflows.id)
--     SubPlan 7
--       ->  Aggregate
--             ->  GroupAggregate
--                   Group Key: s."position"
--                   ->  Nested Loop
--                         Join Filter: (s."position" = i."position")
--                         ->  Index Scan using steps_pkey on steps s
--                               Index Cond: (workflow_id = workflows.id)
--                               Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                         ->  Index Scan using step_items_pkey on step_items i
--                               Index Cond: (workflow_id = workflows.id)
--     SubPlan 8
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_1
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 9
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_2
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 10
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_3
--                   Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--     SubPlan 11
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n
--                   Index Cond: (root_id = workflows.id)
--     SubPlan 12
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n_1
--                   Index Cond: (root_id = workflows.root_id)
--     SubPlan 14
--       ->  Limit
--             CTE below
--               ->  Recursive Union
--                     ->  Result
--                     ->  Nested Loop
--                           ->  WorkTable Scan on below
--                           ->  Index Only Scan using workflows_by_parent on workflows c
--                                 Index Cond: (parent_id = below.id)
--             ->  Sort
--                   Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                   ->  Nested Loop
--                         ->  CTE Scan on below below_1
--                         ->  Index Scan using waits_pkey on waits n_2
--                               Index Cond: (workflow_id = below_1.id)

SELECT workflows.id, workflows.tenant, workflows.created_by, workflows.status, workflows.last_event,
    workflows.updated_at, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
WHERE workflows.id = ANY ($1::UUID[]);
--   Index Scan using workflows_pkey on workflows
--     Index Cond: (id = ANY ($1))
--     SubPlan 1
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n
--                   Index Cond: (root_id = workflows.id)
--     SubPlan 2
--       ->  Limit
--             ->  Index Only Scan using waits_by_root on waits n_1
--                   Index Cond: (root_id = workflows.root_id)
--     SubPlan 4
--       ->  Limit
--             CTE below
--               ->  Recursive Union
--                     ->  Result
--                     ->  Nested Loop
--                           ->  WorkTable Scan on below
--                           ->  Index Only Scan using workflows_by_parent on workflows c
--                                 Index Cond: (parent_id = below.id)
--             ->  Sort
--                   Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                   ->  Nested Loop
--                         ->  CTE Scan on below below_1
--                         ->  Index Scan using waits_pkey on waits n_2
--                               Index Cond: (workflow_id = below_1.id)

UPDATE cleanups
SET next_at = clock_timestamp() + make_interval(secs => $3), tries = tries + 1
WHERE workflow_id = $2 AND owner = $1;
--   Update on cleanups
--     ->  Index Scan using cleanups_pkey on cleanups
--           Index Cond: (workflow_id = $2)
--           Filter: (owner = $1)

UPDATE commands
SET outcome = $3
WHERE id = $1 AND requester = $2 AND outcome IS NULL
RETURNING outcome;
--   Update on commands
--     ->  Index Scan using commands_waiting on commands
--           Filter: ((outcome IS NULL) AND (id = $1) AND (requester = $2))

UPDATE definitions
SET default_version = $3, archived = $4, labels = $5::text::json, description = $6
WHERE lane = $1 AND name = $2;
--   Update on definitions
--     ->  Index Scan using definitions_pkey on definitions
--           Index Cond: ((lane = $1) AND (name = $2))

UPDATE deliveries AS d
SET attempts = CASE WHEN $8::text IS NULL OR d.attempts->-1->>'at' = $8::json->0->>'at' THEN d.attempts ELSE ( CASE
    WHEN json_array_length(d.attempts) < 50 THEN d.attempts::jsonb ELSE d.attempts::jsonb - 0 END ||
    $8::text::jsonb)::json END, status = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $5 ELSE d.status END, tries =
    CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $6 ELSE d.tries END, next_at = CASE WHEN d.owner = $3 AND d.next_at
    = $4 THEN $7 ELSE d.next_at END
WHERE d.workflow_id = $1 AND d.event_id = $2
RETURNING CASE WHEN d.owner = $3 THEN d.next_at END;
--   Update on deliveries d
--     ->  Index Scan using deliveries_pkey on deliveries d
--           Index Cond: ((workflow_id = $1) AND (event_id = $2))

UPDATE deliveries
SET body = coalesce(body, $5)
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
RETURNING body;
--   Update on deliveries
--     ->  Index Scan using deliveries_pkey on deliveries
--           Index Cond: ((workflow_id = $1) AND (event_id = $2))
--           Filter: (((owner = $3) AND (next_at = $4)) IS TRUE)

UPDATE deliveries
SET lane = $5
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE;
--   Update on deliveries
--     ->  Index Scan using deliveries_pkey on deliveries
--           Index Cond: ((workflow_id = $1) AND (event_id = $2))
--           Filter: (((owner = $3) AND (next_at = $4)) IS TRUE)

UPDATE events
SET txid = 0
FROM (
SELECT workflow_id, id
FROM events
WHERE txid >= (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint
LIMIT $1 ) AS ahead
WHERE events.workflow_id = ahead.workflow_id AND events.id = ahead.id;
--   Update on events
--     ->  Nested Loop
--           ->  Subquery Scan on ahead
--                 ->  Limit
--                       ->  Index Scan using events_by_txid on events events_1
--                             Index Cond: (txid >= ((pg_snapshot_xmax(pg_current_snapshot()))::text)::bigint)
--           ->  Index Scan using events_pkey on events
--                 Index Cond: ((workflow_id = ahead.workflow_id) AND (id = ahead.id))

UPDATE idempotency_keys AS t
SET owner = '00000000-0000-0000-0000-000000000000'
FROM unnest($1::text[], $2::text[], $3::uuid[]) AS k(scope, key, token)
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND t.status IS NULL AND t.applied_at IS NOT NULL;
--   Update on idempotency_keys t
--     ->  Nested Loop
--           ->  Function Scan on k
--           ->  Index Scan using idempotency_keys_pkey on idempotency_keys t
--                 Index Cond: ((scope = k.scope) AND (key = k.key))
--                 Filter: ((status IS NULL) AND (applied_at IS NOT NULL) AND (k.token = token))

UPDATE idempotency_keys
SET status = $4, headers = $5, body = $6
WHERE scope = $1 AND key = $2 AND token = $3 AND status IS NULL
RETURNING true;
--   Update on idempotency_keys
--     ->  Index Scan using idempotency_keys_pkey on idempotency_keys
--           Index Cond: ((scope = $1) AND (key = $2))
--           Filter: ((status IS NULL) AND (token = $3))

UPDATE installation
SET has_folder = true
WHERE NOT has_folder;
--   Update on installation
--     ->  Seq Scan on installation
--           Disabled: true
--           Filter: (NOT has_folder)

UPDATE installation
SET sessions_ended_at = greatest(sessions_ended_at, clock_timestamp());
--   Update on installation
--     ->  Seq Scan on installation
--           Disabled: true

UPDATE processes
SET lease_until = '-infinity'
WHERE id <> $1;
--   Update on processes
--     ->  Seq Scan on processes
--           Disabled: true
--           Filter: (id <> $1)

UPDATE uploads
SET expires_at = clock_timestamp() + make_interval(secs => least($2::float8, ttl_s))
WHERE id = $1;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)

UPDATE uploads
SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => ttl_s)), workflow_id = CASE WHEN $3
    THEN NULL ELSE workflow_id END
WHERE coalesce(tenant, '') = coalesce($1::text, '') AND (tenant IS NULL) = ($1::text IS NULL) AND private_to = $4 AND
    sha256 = $2 AND status = 'STORED'
RETURNING id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at;
--   Update on uploads
--     ->  Index Scan using uploads_by_tenant on uploads
--           Index Cond: (COALESCE(tenant, ''::text) = COALESCE($1, ''::text))
--           Filter: (((tenant IS NULL) = ($1 IS NULL)) AND (private_to = $4) AND (sha256 = $2) AND (status = 'STORED'::text))

UPDATE uploads
SET name = $2, sha256 = $3, media_type = $4, width = $5, height = $6, duration_s = $7
WHERE id = $1 AND status = 'PENDING' AND sha256 = ''
RETURNING id;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)
--           Filter: ((status = 'PENDING'::text) AND (sha256 = ''::text))

UPDATE uploads
SET status = 'DELETING', expires_at = greatest(clock_timestamp() + make_interval(secs => 300), presigned_until)
WHERE id = $1;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)

UPDATE uploads
SET status = 'DELETING', expires_at = greatest(clock_timestamp() + make_interval(secs => 300), presigned_until)
WHERE id = $1 AND status = 'PENDING'
RETURNING id;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)
--           Filter: (status = 'PENDING'::text)

UPDATE uploads
SET status = 'DELETING', expires_at = greatest(clock_timestamp() + make_interval(secs => 300), presigned_until)
WHERE id = $1
RETURNING id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)

UPDATE uploads
SET status = 'STORED', expires_at = clock_timestamp() + make_interval(secs => ttl_s)
WHERE id = $1 AND status = 'PENDING'
RETURNING id, tenant, created_by, private_to, name, size, sha256, media_type, width, height, duration_s, workflow_id,
    created_at, expires_at;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)
--           Filter: (status = 'PENDING'::text)

UPDATE uploads
SET workflow_id = $2
WHERE id = $1;
--   Update on uploads
--     ->  Index Scan using uploads_pkey on uploads
--           Index Cond: (id = $1)

UPDATE workflows AS w
SET epoch = w.epoch + 1
WHERE w.id = $2 AND w.owner IS NOT NULL AND (w.owner = $1 OR NOT EXISTS (
SELECT
FROM processes AS p
WHERE p.id = w.owner AND p.lease_until > clock_timestamp()))
RETURNING w.epoch;
--   Update on workflows w
--     ->  Index Scan using workflows_by_owner on workflows w
--           Index Cond: ((owner IS NOT NULL) AND (id = $2))
--           Filter: ((owner = $1) OR (NOT EXISTS(SubPlan 1)))
--           SubPlan 1
--             ->  Index Scan using processes_pkey on processes p
--                   Index Cond: (id = w.owner)
--                   Filter: (lease_until > clock_timestamp())

WITH RECURSIVE family AS (
SELECT $1::uuid AS id
UNION ALL
SELECT c.id
FROM family
JOIN workflows AS c ON c.parent_id = family.id )
SELECT EXISTS (SELECT
FROM family
WHERE EXISTS (SELECT
FROM tasks AS k
WHERE k.workflow_id = family.id AND k.follow_up_until IS NOT NULL));
--   Result
--     CTE family
--       ->  Recursive Union
--             ->  Result
--             ->  Nested Loop
--                   ->  WorkTable Scan on family
--                   ->  Index Only Scan using workflows_by_parent on workflows c
--                         Index Cond: (parent_id = family.id)
--     InitPlan 2
--       ->  Nested Loop Semi Join
--             ->  CTE Scan on family family_1
--             ->  Index Only Scan using tasks_to_follow_up on tasks k
--                   Index Cond: (workflow_id = family_1.id)

WITH RECURSIVE family AS (
SELECT id, tenant
FROM workflows
WHERE id = $1
UNION ALL
SELECT c.id, c.tenant
FROM family
JOIN workflows AS c ON c.parent_id = family.id ), lost AS (
SELECT k.id, family.tenant
FROM family
JOIN tasks AS k ON k.workflow_id = family.id
WHERE k.deleted_at IS NULL AND k.outputs::text <> '[]' ), readers AS (
SELECT r.task_id, r.workflow_id, r.reused, w.status
FROM lost
JOIN artifact_references AS r ON r.task_id = lost.id
JOIN workflows AS w ON w.id = r.workflow_id AND w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM lost.tenant
WHERE NOT EXISTS (SELECT
FROM family
WHERE family.id = w.id) )
SELECT DISTINCT workflow_id
FROM readers AS r
WHERE reused AND NOT EXISTS (SELECT
FROM readers AS n
WHERE n.task_id = r.task_id AND NOT n.reused) AND (status NOT IN ('CANCELLED', 'COMPLETED', 'FAILED') OR EXISTS
    (SELECT
FROM steps AS u
WHERE u.workflow_id = r.workflow_id AND strpos(u.flow::text, r.task_id::text) > 0) OR EXISTS (SELECT
FROM step_items AS u
WHERE u.workflow_id = r.workflow_id AND strpos(u.flow::text, r.task_id::text) > 0))
ORDER BY workflow_id
LIMIT 1000;
--   Limit
--     CTE family
--       ->  Recursive Union
--             ->  Index Scan using workflows_pkey on workflows
--                   Index Cond: (id = $1)
--             ->  Nested Loop
--                   ->  WorkTable Scan on family
--                   ->  Index Scan using workflows_by_parent on workflows c
--                         Index Cond: (parent_id = family.id)
--     CTE readers
--       ->  Nested Loop Anti Join
--             Join Filter: (family_1.id = w.id)
--             ->  Nested Loop
--                   ->  Nested Loop
--                         ->  Nested Loop
--                               Join Filter: (NOT (w.tenant IS DISTINCT FROM family_2.tenant))
--                               ->  Index Scan using workflows_pkey on workflows w
--                                     Filter: (deleted_at IS NULL)
--                               ->  CTE Scan on family family_2
--                         ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks k
--                               Index Cond: (workflow_id = family_2.id)
--                               Filter: ((deleted_at IS NULL) AND ((outputs)::text <> '[]'::text))
--                   ->  Index Scan using artifact_references_pkey on artifact_references r_1
--                         Index Cond: ((task_id = k.id) AND (workflow_id = w.id))
--             ->  CTE Scan on family family_1
--     ->  Unique
--           ->  Sort
--                 Sort Key: r.workflow_id
--                 ->  Nested Loop Anti Join
--                       Join Filter: (n.task_id = r.task_id)
--                       ->  CTE Scan on readers r
--                             Filter: (reused AND ((status <> ALL ('{CANCELLED,COMPLETED,FAILED}'::text[])) OR EXISTS(SubPlan 3) OR EXISTS(SubPlan 4)))
--                             SubPlan 3
--                               ->  Index Scan using steps_pkey on steps u
--                                     Index Cond: (workflow_id = r.workflow_id)
--                                     Filter: (strpos((flow)::text, (r.task_id)::text) > 0)
--                             SubPlan 4
--                               ->  Index Scan using step_items_pkey on step_items u_1
--                                     Index Cond: (workflow_id = r.workflow_id)
--                                     Filter: (strpos((flow)::text, (r.task_id)::text) > 0)
--                       ->  CTE Scan on readers n
--                             Filter: (NOT reused)

WITH RECURSIVE family AS (
SELECT w.id, w.tenant, w.deleted_at, w.depth
FROM workflows AS w
WHERE w.id = $2 AND w.deleted_at IS NOT NULL
UNION ALL
SELECT c.id, c.tenant, c.deleted_at, c.depth
FROM family
JOIN workflows AS c ON c.parent_id = family.id
WHERE c.owner IS NULL AND c.status IN ('CANCELLED', 'COMPLETED', 'FAILED') ), to_delete AS MATERIALIZED (
SELECT c.id
FROM workflows AS c
WHERE c.id = ANY (ARRAY(SELECT id
FROM family)) AND c.deleted_at IS NULL AND c.owner IS NULL AND c.status IN ('CANCELLED', 'COMPLETED', 'FAILED')
ORDER BY c.depth DESC, c.id FOR UPDATE ), deleted AS (
UPDATE workflows AS c
SET deleted_at = clock_timestamp(), epoch = c.epoch + 1
FROM to_delete
WHERE c.id = to_delete.id
RETURNING c.id ), begun AS (
INSERT INTO cleanups AS c (workflow_id, lane, owner, next_at, purge, purged_by)
SELECT w.id, coalesce(w.tenant, ''), $1, clock_timestamp(), true, $3
FROM family AS w
WHERE w.deleted_at IS NOT NULL OR w.id IN (SELECT id
FROM deleted)
ORDER BY w.depth DESC, w.id
ON CONFLICT (workflow_id) DO UPDATE
SET purge = true, purged_by = coalesce(c.purged_by, excluded.purged_by), next_at = least(c.next_at, excluded.next_at),
    owner = CASE WHEN EXISTS (SELECT
FROM processes AS p
WHERE p.id = c.owner AND p.lease_until > clock_timestamp()) THEN c.owner ELSE $1 END
RETURNING workflow_id, owner )
SELECT owner
FROM begun
WHERE workflow_id = $2
UNION ALL
SELECT owner
FROM cleanups
WHERE workflow_id = $2 AND purge
LIMIT 1;
--   Limit
--     CTE family
--       ->  Recursive Union
--             ->  Index Scan using workflows_pkey on workflows w
--                   Index Cond: (id = $2)
--                   Filter: (deleted_at IS NOT NULL)
--             ->  Nested Loop
--                   Join Filter: (family.id = c.parent_id)
--                   ->  Index Scan using workflows_list_by_status on workflows c
--                         Index Cond: (status = ANY ('{CANCELLED,COMPLETED,FAILED}'::text[]))
--                         Filter: (owner IS NULL)
--                   ->  WorkTable Scan on family
--     CTE to_delete
--       ->  LockRows
--             InitPlan 2
--               ->  CTE Scan on family family_1
--             ->  Sort
--                   Sort Key: c_1.depth DESC, c_1.id
--                   ->  Index Scan using workflows_list_by_status on workflows c_1
--                         Index Cond: ((status = ANY ('{CANCELLED,COMPLETED,FAILED}'::text[])) AND (id = ANY ((InitPlan 2).col1)))
--                         Filter: ((deleted_at IS NULL) AND (owner IS NULL))
--     CTE deleted
--       ->  Update on workflows c_2
--             ->  Nested Loop
--                   ->  CTE Scan on to_delete
--                   ->  Index Scan using workflows_pkey on workflows c_2
--                         Index Cond: (id = to_delete.id)
--     CTE begun
--       ->  Insert on cleanups c_3
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: cleanups_pkey
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Result
--                         ->  Sort
--                               Sort Key: w_1.depth DESC, w_1.id
--                               ->  CTE Scan on family w_1
--                                     Filter: ((deleted_at IS NOT NULL) OR (ANY (id = (hashed SubPlan 6).col1)))
--                                     SubPlan 6
--                                       ->  CTE Scan on deleted
--             SubPlan 5
--               ->  Index Scan using processes_pkey on processes p
--                     Index Cond: (id = c_3.owner)
--                     Filter: (lease_until > clock_timestamp())
--     ->  Append
--           ->  CTE Scan on begun
--                 Filter: (workflow_id = $2)
--           ->  Index Scan using cleanups_pkey on cleanups
--                 Index Cond: (workflow_id = $2)
--                 Filter: purge

WITH RECURSIVE lanes AS ( (SELECT lane
FROM cleanups
WHERE owner = $1
ORDER BY lane
LIMIT 1)
UNION ALL
SELECT (SELECT c.lane
FROM cleanups AS c
WHERE c.owner = $1 AND c.lane > l.lane
ORDER BY c.lane
LIMIT 1)
FROM lanes AS l
WHERE l.lane IS NOT NULL ), known AS MATERIALIZED (SELECT lane, clock_timestamp() AS now
FROM lanes
WHERE lane IS NOT NULL) (SELECT d.workflow_id, d.lane, d.tries, d.purge, d.purge AND d.purged_by IS NULL AS expired,
    0::float8 AS seconds
FROM known
CROSS
JOIN LATERAL (
SELECT *
FROM cleanups AS c
WHERE c.owner = $1 AND c.lane = known.lane AND c.next_at <= known.now AND (c.workflow_id IN (SELECT
    unnest($2::uuid[]))) IS NOT TRUE
ORDER BY c.next_at
LIMIT $3 ) AS d
ORDER BY d.next_at
LIMIT 1000)
UNION ALL
SELECT NULL, NULL, 0, false, false, extract(epoch
FROM min(d.next_at - known.now))::float8
FROM known
CROSS
JOIN LATERAL (
SELECT next_at
FROM cleanups AS c
WHERE c.owner = $1 AND c.lane = known.lane AND c.next_at > known.now
ORDER BY c.next_at
LIMIT 1 ) AS d HAVING min(d.next_at) IS NOT NULL;
--   Append
--     CTE lanes
--       ->  Recursive Union
--             ->  Limit
--                   ->  Index Only Scan using cleanups_due on cleanups
--                         Index Cond: (owner = $1)
--             ->  WorkTable Scan on lanes l
--                   Filter: (lane IS NOT NULL)
--     CTE known
--       ->  CTE Scan on lanes
--             Filter: (lane IS NOT NULL)
--     ->  Subquery Scan on "*SELECT* 1_1"
--           ->  Limit
--                 ->  Sort
--                       Sort Key: c.next_at
--                       ->  Nested Loop
--                             ->  CTE Scan on known
--                             ->  Limit
--                                   ->  Index Scan using cleanups_due on cleanups c
--                                         Index Cond: ((owner = $1) AND (lane = known.lane) AND (next_at <= known.now))
--                                         Filter: ((ANY (workflow_id = (hashed SubPlan 4).col1)) IS NOT TRUE)
--                                         SubPlan 4
--                                           ->  ProjectSet
--                                                 ->  Result
--     ->  Aggregate
--           Filter: (min(c_1.next_at) IS NOT NULL)
--           ->  Nested Loop
--                 ->  CTE Scan on known known_1
--                 ->  Limit
--                       ->  Index Only Scan using cleanups_due on cleanups c_1
--                             Index Cond: ((owner = $1) AND (lane = known_1.lane) AND (next_at > known_1.now))

WITH RECURSIVE page AS (
SELECT 0 AS found, 0::bigint AS total, 0::bigint AS snapshot, 0::bigint AS largest
UNION ALL
SELECT page.found + 1, page.total + own.total, page.snapshot + own.snapshot, greatest(page.largest, own.largest)
FROM page
CROSS
JOIN LATERAL (
SELECT CASE WHEN pg_column_compression(w.config) IS NULL THEN pg_column_size(w.config) ELSE
    octet_length(w.config::text) END + coalesce((SELECT sum(octet_length(l.label))
FROM labels AS l
WHERE l.workflow_id = w.id), 0) + 2000 + sum(0 + CASE WHEN s.position = w.final_position THEN least(CASE WHEN
    s.for_each IS NULL THEN coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result)
    ELSE octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(s.error_message), 0) * 2) AS total, CASE WHEN pg_column_compression(w.config) IS NULL THEN
    pg_column_size(w.config) ELSE octet_length(w.config::text) END + coalesce((SELECT sum(octet_length(l.label))
FROM labels AS l
WHERE l.workflow_id = w.id), 0) + 2000 + sum(CASE WHEN s.position = w.final_position THEN least(CASE WHEN s.for_each
    IS NULL THEN coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE
    octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(s.error_message), 0) * 2) AS snapshot, max(0) AS largest
FROM workflows AS w
JOIN steps AS s ON s.workflow_id = w.id
LEFT
JOIN tasks AS k ON k.id = s.task_id
WHERE w.id = ($1::uuid[])[page.found + 1] AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text)
GROUP BY w.id ) AS own
WHERE page.found < cardinality($1::uuid[]) AND page.total <= $5 )
SELECT found, total, snapshot, largest
FROM page
ORDER BY found DESC
LIMIT 1;
--   Limit
--     CTE page
--       ->  Recursive Union
--             ->  Result
--             ->  Nested Loop
--                   ->  WorkTable Scan on page page_1
--                         Filter: ((total <= $5) AND (found < cardinality($1)))
--                   ->  GroupAggregate
--                         ->  Nested Loop
--                               ->  Index Scan using workflows_pkey on workflows w
--                                     Index Cond: (id = ($1)[(page_1.found + 1)])
--                                     Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--                               ->  Index Scan using steps_pkey on steps s
--                                     Index Cond: (workflow_id = ($1)[(page_1.found + 1)])
--                         SubPlan 1
--                           ->  Aggregate
--                                 ->  Index Only Scan using labels_pkey on labels l
--                                       Index Cond: (workflow_id = w.id)
--                         SubPlan 3
--                           ->  Aggregate
--                                 ->  Index Only Scan using labels_pkey on labels l_1
--                                       Index Cond: (workflow_id = w.id)
--                         SubPlan 2
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--                         SubPlan 4
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i_1
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     ->  Sort
--           Sort Key: page.found DESC
--           ->  CTE Scan on page

WITH RECURSIVE page AS (
SELECT 0 AS found, 0::bigint AS total, 0::bigint AS snapshot, 0::bigint AS largest
UNION ALL
SELECT page.found + 1, page.total + own.total, page.snapshot + own.snapshot, greatest(page.largest, own.largest)
FROM page
CROSS
JOIN LATERAL (
SELECT CASE WHEN pg_column_compression(w.config) IS NULL THEN pg_column_size(w.config) ELSE
    octet_length(w.config::text) END + coalesce((SELECT sum(octet_length(l.label))
FROM labels AS l
WHERE l.workflow_id = w.id), 0) + 2000 + sum(700 + CASE WHEN pg_column_compression(s.definition) IS NULL THEN
    pg_column_size(s.definition) ELSE octet_length(s.definition::text) END + CASE WHEN s.for_each IS NULL THEN
    coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE
    octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END + CASE WHEN s.position = w.final_position
    THEN least(CASE WHEN s.for_each IS NULL THEN coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN
    pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE
    WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END,
    0) WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(s.error_message), 0) * 2 + coalesce(CASE WHEN pg_column_compression(k.sent) IS NULL THEN
    pg_column_size(k.sent) ELSE octet_length(k.sent::text) END, 0) + 320) AS total, CASE WHEN
    pg_column_compression(w.config) IS NULL THEN pg_column_size(w.config) ELSE octet_length(w.config::text) END +
    coalesce((SELECT sum(octet_length(l.label))
FROM labels AS l
WHERE l.workflow_id = w.id), 0) + 2000 + sum(CASE WHEN s.position = w.final_position THEN least(CASE WHEN s.for_each
    IS NULL THEN coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE
    octet_length(s.result::text) END, 0) WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.status = 'COMPLETED' THEN (SELECT least(100 + 2 * coalesce(sum(coalesce(CASE WHEN
    pg_column_compression(i.result) IS NULL THEN pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)),
    0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(s.error_message), 0) * 2 + coalesce(CASE WHEN pg_column_compression(k.sent) IS NULL THEN
    pg_column_size(k.sent) ELSE octet_length(k.sent::text) END, 0) + 320) AS snapshot, max(CASE WHEN
    pg_column_compression(s.definition) IS NULL THEN pg_column_size(s.definition) ELSE
    octet_length(s.definition::text) END + CASE WHEN s.for_each IS NULL THEN coalesce(CASE WHEN
    pg_column_compression(s.result) IS NULL THEN pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0)
    WHEN s.result IS NOT NULL THEN coalesce(CASE WHEN pg_column_compression(s.result) IS NULL THEN
    pg_column_size(s.result) ELSE octet_length(s.result::text) END, 0) WHEN s.status = 'COMPLETED' THEN (SELECT
    least(100 + 2 * coalesce(sum(coalesce(CASE WHEN pg_column_compression(i.result) IS NULL THEN
    pg_column_size(i.result) ELSE octet_length(i.result::text) END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = s.workflow_id AND i.position = s.position) ELSE 0 END) AS largest
FROM workflows AS w
JOIN steps AS s ON s.workflow_id = w.id
LEFT
JOIN tasks AS k ON k.id = s.task_id
WHERE w.id = ($1::uuid[])[page.found + 1] AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text)
GROUP BY w.id ) AS own
WHERE page.found < cardinality($1::uuid[]) AND page.total <= $5 )
SELECT found, total, snapshot, largest
FROM page
ORDER BY found DESC
LIMIT 1;
--   Limit
--     CTE page
--       ->  Recursive Union
--             ->  Result
--             ->  Nested Loop
--                   ->  WorkTable Scan on page page_1
--                         Filter: ((total <= $5) AND (found < cardinality($1)))
--                   ->  GroupAggregate
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  Index Scan using workflows_pkey on workflows w
--                                           Index Cond: (id = ($1)[(page_1.found + 1)])
--                                           Filter: (($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--                                     ->  Index Scan using steps_pkey on steps s
--                                           Index Cond: (workflow_id = ($1)[(page_1.found + 1)])
--                               ->  Index Scan using tasks_pkey on tasks k
--                                     Index Cond: (id = s.task_id)
--                         SubPlan 1
--                           ->  Aggregate
--                                 ->  Index Only Scan using labels_pkey on labels l
--                                       Index Cond: (workflow_id = w.id)
--                         SubPlan 4
--                           ->  Aggregate
--                                 ->  Index Only Scan using labels_pkey on labels l_1
--                                       Index Cond: (workflow_id = w.id)
--                         SubPlan 2
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--                         SubPlan 3
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i_1
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--                         SubPlan 5
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i_2
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--                         SubPlan 6
--                           ->  Aggregate
--                                 ->  Index Scan using step_items_pkey on step_items i_3
--                                       Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     ->  Sort
--           Sort Key: page.found DESC
--           ->  CTE Scan on page

WITH RECURSIVE workflow_owners AS ( (SELECT owner
FROM workflows
WHERE owner IS NOT NULL
ORDER BY owner
LIMIT 1)
UNION ALL
SELECT (SELECT w.owner
FROM workflows AS w
WHERE w.owner > r.owner
ORDER BY w.owner
LIMIT 1)
FROM workflow_owners AS r
WHERE r.owner IS NOT NULL ), delivery_owners AS ( (SELECT owner
FROM deliveries
WHERE owner IS NOT NULL AND next_at IS NOT NULL
ORDER BY owner
LIMIT 1)
UNION ALL
SELECT (SELECT d.owner
FROM deliveries AS d
WHERE d.owner > t.owner AND d.next_at IS NOT NULL
ORDER BY d.owner
LIMIT 1)
FROM delivery_owners AS t
WHERE t.owner IS NOT NULL ), cleanup_owners AS ( (SELECT owner
FROM cleanups
ORDER BY owner
LIMIT 1)
UNION ALL
SELECT (SELECT c.owner
FROM cleanups AS c
WHERE c.owner > t.owner
ORDER BY c.owner
LIMIT 1)
FROM cleanup_owners AS t
WHERE t.owner IS NOT NULL ), wanted AS (
SELECT CASE WHEN p.lease_until > clock_timestamp() OR p.id IN (SELECT owner
FROM workflow_owners) OR EXISTS (SELECT
FROM workflows
WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL) THEN p.lease_until ELSE least( least((
SELECT w.wake_at
FROM workflows AS w
WHERE w.status = 'RUNNING' AND w.wake_at IS NOT NULL AND w.wake_at < '9999-01-01' AND w.feature_level <= 1
ORDER BY w.wake_at
LIMIT 1 ), (
SELECT w.wake_at
FROM workflows AS w
WHERE w.status = 'PAUSED' AND w.wake_at IS NOT NULL AND w.wake_at < '9999-01-01' AND w.feature_level <= 1
ORDER BY w.wake_at
LIMIT 1 )), (SELECT min(d.next_at)
FROM deliveries AS d
WHERE d.owner = p.id AND d.next_at IS NOT NULL), (SELECT min(c.next_at)
FROM cleanups AS c
WHERE c.owner = p.id)) END AS at
FROM processes AS p
WHERE p.id <> $1 AND p.lease_until > '-infinity' AND p.lease_until < 'infinity'
UNION ALL
SELECT '-infinity'
FROM (
SELECT owner
FROM workflow_owners UNION
SELECT owner
FROM delivery_owners UNION
SELECT owner
FROM cleanup_owners ) AS o
WHERE o.owner <> $1 AND NOT EXISTS (SELECT
FROM processes AS p
WHERE p.id = o.owner)
UNION ALL
SELECT '-infinity'
WHERE EXISTS (SELECT
FROM deliveries
WHERE owner IS NULL AND next_at IS NOT NULL)
UNION ALL
SELECT '-infinity'
WHERE EXISTS (
SELECT
FROM commands AS c
JOIN workflows AS w ON w.id = c.workflow_id
WHERE c.outcome IS NULL AND c.created_at < clock_timestamp() - interval '0.5 s' AND w.owner = $1 ) )
SELECT CASE WHEN min(at) > clock_timestamp() THEN extract(epoch
FROM min(at) - clock_timestamp()) ELSE 0 END::float8
FROM wanted HAVING count(at) > 0;
--   Aggregate
--     Filter: (count(wanted.at) > 0)
--     CTE workflow_owners
--       ->  Recursive Union
--             ->  Limit
--                   ->  Index Only Scan using workflows_by_owner on workflows
--             ->  WorkTable Scan on workflow_owners r
--                   Filter: (owner IS NOT NULL)
--     CTE delivery_owners
--       ->  Recursive Union
--             ->  Limit
--                   ->  Index Only Scan using deliveries_due on deliveries
--                         Index Cond: (owner IS NOT NULL)
--             ->  WorkTable Scan on delivery_owners t
--                   Filter: (owner IS NOT NULL)
--     CTE cleanup_owners
--       ->  Recursive Union
--             ->  Limit
--                   ->  Index Only Scan using cleanups_due on cleanups
--             ->  WorkTable Scan on cleanup_owners t_1
--                   Filter: (owner IS NOT NULL)
--     CTE wanted
--       ->  Append
--             ->  Seq Scan on processes p
--                   Disabled: true
--                   Filter: ((id <> $1) AND (lease_until > '-infinity'::timestamp with time zone) AND (lease_until < 'infinity'::timestamp with time zone))
--                   InitPlan 8
--                     ->  Index Only Scan using workflows_to_admit on workflows workflows_1
--                   InitPlan 9
--                     ->  Limit
--                           ->  Index Only Scan using workflows_due on workflows w
--                                 Index Cond: ((status = 'RUNNING'::text) AND (wake_at < '9999-01-01 00:00:00+00'::timestamp with time zone))
--                                 Filter: (feature_level <= 1)
--                   InitPlan 10
--                     ->  Limit
--                           ->  Index Only Scan using workflows_due on workflows w_1
--                                 Index Cond: ((status = 'PAUSED'::text) AND (wake_at < '9999-01-01 00:00:00+00'::timestamp with time zone))
--                                 Filter: (feature_level <= 1)
--                   SubPlan 7
--                     ->  CTE Scan on workflow_owners
--                   SubPlan 11
--                     ->  Aggregate
--                           ->  Index Only Scan using deliveries_due on deliveries d
--                                 Index Cond: (owner = p.id)
--                   SubPlan 12
--                     ->  Aggregate
--                           ->  Index Only Scan using cleanups_due on cleanups c
--                                 Index Cond: (owner = p.id)
--             ->  Nested Loop Anti Join
--                   ->  HashAggregate
--                         Group Key: workflow_owners_1.owner
--                         ->  Append
--                               ->  CTE Scan on workflow_owners workflow_owners_1
--                                     Filter: (owner <> $1)
--                               ->  CTE Scan on delivery_owners
--                                     Filter: (owner <> $1)
--                               ->  CTE Scan on cleanup_owners
--                                     Filter: (owner <> $1)
--                   ->  Index Only Scan using processes_pkey on processes p_1
--                         Index Cond: (id = workflow_owners_1.owner)
--             ->  Result
--                   One-Time Filter: (InitPlan 13).col1
--                   InitPlan 13
--                     ->  Index Only Scan using deliveries_due on deliveries deliveries_1
--                           Index Cond: (owner IS NULL)
--             ->  Result
--                   One-Time Filter: (InitPlan 14).col1
--                   InitPlan 14
--                     ->  Nested Loop
--                           Join Filter: (w_2.id = c_1.workflow_id)
--                           ->  Index Scan using commands_waiting on commands c_1
--                                 Filter: (created_at < (clock_timestamp() - '00:00:00.5'::interval))
--                           ->  Index Only Scan using workflows_by_owner on workflows w_2
--                                 Index Cond: (owner = $1)
--     ->  CTE Scan on wanted

WITH busy AS MATERIALIZED (
SELECT count(*) FILTER (WHERE tries = 0) > 0 OR count(*) >= 1000 AS yes
FROM cleanups
WHERE purge AND purged_by IS NULL ), turn AS MATERIALIZED (
SELECT
FROM busy
WHERE NOT yes AND pg_try_advisory_xact_lock(hashtext('stepwell retention')) ), ended AS MATERIALIZED (
SELECT w.id, w.ctid AS version, w.tenant, w.total_steps, w.completed_at
FROM workflows AS w
WHERE w.completed_at <= now() - make_interval(secs => $2) AND EXISTS (SELECT
FROM turn) AND w.owner IS NULL AND w.status IN ('CANCELLED', 'COMPLETED', 'FAILED') AND w.feature_level <= 1 AND NOT
    EXISTS (SELECT
FROM tasks AS k
WHERE k.workflow_id = w.id AND k.follow_up_until IS NOT NULL) AND NOT EXISTS (SELECT
FROM deliveries AS d
WHERE d.workflow_id = w.id AND d.next_at IS NOT NULL) AND NOT EXISTS (SELECT
FROM cleanups AS c
WHERE c.workflow_id = w.id) AND ( w.depth = 0 OR NOT EXISTS (
SELECT
FROM workflows AS r
WHERE r.id = w.root_id AND ( r.completed_at IS NULL OR r.completed_at > now() - make_interval(secs => $2) OR r.owner
    IS NOT NULL ) ) ) AND ( w.depth = 0 AND w.sub_workflows = 0 OR NOT EXISTS (SELECT
FROM workflows AS c
WHERE c.parent_id = w.id) )
ORDER BY w.completed_at
LIMIT $4 FOR UPDATE OF w SKIP LOCKED ), free AS MATERIALIZED (
SELECT id, tenant, false AS forced
FROM (
SELECT *, sum(total_steps) OVER (ORDER BY completed_at, id) - total_steps AS before
FROM ended ) AS e
WHERE before < $5 AND version = (SELECT w.ctid
FROM workflows AS w
WHERE w.id = e.id) ), gone AS (
DELETE FROM workflows AS w
USING free
WHERE w.id = free.id
RETURNING w.id ), old_steps AS (
DELETE FROM steps
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN steps AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_step_items AS (
DELETE FROM step_items
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN step_items AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_events AS (
DELETE FROM events
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN events AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_tasks AS (
DELETE FROM tasks
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN tasks AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING id, workflow_id, outputs, deleted_at ), old_deliveries AS (
DELETE FROM deliveries
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN deliveries AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_idempotency_keys AS (
DELETE FROM idempotency_keys
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN idempotency_keys AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_commands AS (
DELETE FROM commands
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN commands AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_labels AS (DELETE FROM labels AS t
USING free
WHERE t.workflow_id = free.id), old_waits AS (DELETE FROM waits AS t
USING free
WHERE t.workflow_id = free.id), old_signals AS (DELETE FROM signals AS t
USING free
WHERE t.workflow_id = free.id), old_budgets AS (
DELETE FROM budgets AS b
USING free
WHERE b.scope = free.id::text ), new_removals AS (
INSERT INTO file_removals AS f (task_id, workflow_id, tenant, outputs, forced)
SELECT k.id, k.workflow_id, free.tenant, k.outputs, free.forced
FROM old_tasks AS k
JOIN free ON free.id = k.workflow_id
WHERE k.deleted_at IS NULL AND k.outputs::text <> '[]'
ON CONFLICT (task_id) DO UPDATE
SET forced = f.forced OR excluded.forced
RETURNING workflow_id ), is_limited AS (
SELECT greatest( (SELECT count(*)
FROM old_steps), (SELECT count(*)
FROM old_step_items), (SELECT count(*)
FROM old_events), (SELECT count(*)
FROM old_tasks) ) >= $3 OR (SELECT count(*)
FROM old_deliveries) < (SELECT count(*)
FROM free
JOIN deliveries AS t ON t.workflow_id = free.id) OR (SELECT count(*)
FROM old_idempotency_keys) < (SELECT count(*)
FROM free
JOIN idempotency_keys AS t ON t.workflow_id = free.id) OR (SELECT count(*)
FROM old_commands) < (SELECT count(*)
FROM free
JOIN commands AS t ON t.workflow_id = free.id) AS yes ), purges AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at, purge)
SELECT free.id, coalesce(free.tenant, ''), $1, clock_timestamp(), true
FROM free, is_limited
WHERE is_limited.yes OR free.id IN (SELECT workflow_id
FROM new_removals) OR EXISTS (SELECT
FROM artifact_references AS r
WHERE r.workflow_id = free.id)
ON CONFLICT (workflow_id) DO UPDATE
SET purge = true
RETURNING workflow_id )
SELECT (SELECT count(*)
FROM gone) AS count, EXISTS (SELECT
FROM purges) AS with_files, NOT EXISTS (SELECT
FROM turn) AS busy, EXISTS (
SELECT
FROM workflows
WHERE completed_at <= now() - make_interval(secs => $2) AND depth = 0 ) AS is_behind, (SELECT extract(epoch
FROM min(completed_at) - now())::float8 + $2
FROM workflows
WHERE completed_at > now() - make_interval(secs => $2) AND depth = 0) AS next_s;
--   Result
--     CTE busy
--       ->  Aggregate
--             ->  Seq Scan on cleanups
--                   Disabled: true
--                   Filter: (purge AND (purged_by IS NULL))
--     CTE turn
--       ->  CTE Scan on busy
--             Filter: ((NOT yes) AND pg_try_advisory_xact_lock('-1405526132'::bigint))
--     CTE ended
--       ->  Limit
--             InitPlan 3
--               ->  CTE Scan on turn
--             ->  LockRows
--                   ->  Sort
--                         Sort Key: w.completed_at
--                         ->  Result
--                               One-Time Filter: (InitPlan 3).col1
--                               ->  Nested Loop Anti Join
--                                     ->  Nested Loop Anti Join
--                                           ->  Nested Loop Anti Join
--                                                 ->  Bitmap Heap Scan on workflows w
--                                                       Recheck Cond: ((completed_at <= (now() - make_interval(0, 0, 0, 0, 0, 0, $2))) AND (status = ANY ('{CANCELLED,COMPLETED,FAILED}'::text[])))
--                                                       Filter: ((owner IS NULL) AND (feature_level <= 1) AND (((depth = 0) AND (sub_workflows = 0)) OR (NOT EXISTS(SubPlan 6))) AND ((depth = 0) OR (NOT EXISTS(SubPlan 4))))
--                                                       ->  BitmapAnd
--                                                             ->  Bitmap Index Scan on workflows_by_completed_at
--                                                                   Index Cond: (completed_at <= (now() - make_interval(0, 0, 0, 0, 0, 0, $2)))
--                                                             ->  Bitmap Index Scan on workflows_list_by_status
--                                                                   Index Cond: (status = ANY ('{CANCELLED,COMPLETED,FAILED}'::text[]))
--                                                       SubPlan 6
--                                                         ->  Index Only Scan using workflows_by_parent on workflows c
--                                                               Index Cond: (parent_id = w.id)
--                                                       SubPlan 4
--                                                         ->  Index Scan using workflows_pkey on workflows r
--                                                               Index Cond: (id = w.root_id)
--                                                               Filter: ((completed_at IS NULL) OR (completed_at > (now() - make_interval(0, 0, 0, 0, 0, 0, $2))) OR (owner IS NOT NULL))
--                                                 ->  Index Scan using tasks_to_follow_up on tasks k
--                                                       Index Cond: (workflow_id = w.id)
--                                                       Filter: (follow_up_until IS NOT NULL)
--                                           ->  Index Scan using cleanups_pkey on cleanups c_1
--                                                 Index Cond: (workflow_id = w.id)
--                                     ->  Index Scan using deliveries_pkey on deliveries d
--                                           Index Cond: (workflow_id = w.id)
--                                           Filter: (next_at IS NOT NULL)
--     CTE free
--       ->  Subquery Scan on e
--             Filter: ((e.before < $5) AND (e.version = (SubPlan 9)))
--             ->  WindowAgg
--                   Window: w1 AS (ORDER BY ended.completed_at, ended.id)
--                   ->  Sort
--                         Sort Key: ended.completed_at, ended.id
--                         ->  CTE Scan on ended
--             SubPlan 9
--               ->  Index Scan using workflows_pkey on workflows w_1
--                     Index Cond: (id = e.id)
--     CTE gone
--       ->  Delete on workflows w_2
--             ->  Nested Loop
--                   ->  CTE Scan on free
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = free.id)
--     CTE old_steps
--       ->  Delete on steps
--             InitPlan 12
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_1
--                           ->  Index Scan using steps_pkey on steps t
--                                 Index Cond: (workflow_id = free_1.id)
--             ->  Tid Scan on steps
--                   TID Cond: (ctid = ANY ((InitPlan 12).col1))
--     CTE old_step_items
--       ->  Delete on step_items
--             InitPlan 14
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_2
--                           ->  Index Scan using step_items_pkey on step_items t_1
--                                 Index Cond: (workflow_id = free_2.id)
--             ->  Tid Scan on step_items
--                   TID Cond: (ctid = ANY ((InitPlan 14).col1))
--     CTE old_events
--       ->  Delete on events
--             InitPlan 16
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_3
--                           ->  Index Scan using events_pkey on events t_2
--                                 Index Cond: (workflow_id = free_3.id)
--             ->  Tid Scan on events
--                   TID Cond: (ctid = ANY ((InitPlan 16).col1))
--     CTE old_tasks
--       ->  Delete on tasks
--             InitPlan 18
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_4
--                           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t_3
--                                 Index Cond: (workflow_id = free_4.id)
--             ->  Tid Scan on tasks
--                   TID Cond: (ctid = ANY ((InitPlan 18).col1))
--     CTE old_deliveries
--       ->  Delete on deliveries
--             InitPlan 20
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_5
--                                 ->  Index Scan using deliveries_pkey on deliveries t_4
--                                       Index Cond: (workflow_id = free_5.id)
--             ->  Tid Scan on deliveries
--                   TID Cond: (ctid = ANY ((InitPlan 20).col1))
--     CTE old_idempotency_keys
--       ->  Delete on idempotency_keys
--             InitPlan 22
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_6
--                                 ->  Index Scan using idempotency_keys_by_workflow_id on idempotency_keys t_5
--                                       Index Cond: (workflow_id = free_6.id)
--             ->  Tid Scan on idempotency_keys
--                   TID Cond: (ctid = ANY ((InitPlan 22).col1))
--     CTE old_commands
--       ->  Delete on commands
--             InitPlan 24
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_7
--                                 ->  Index Scan using commands_by_workflow_id on commands t_6
--                                       Index Cond: (workflow_id = free_7.id)
--             ->  Tid Scan on commands
--                   TID Cond: (ctid = ANY ((InitPlan 24).col1))
--     CTE old_labels
--       ->  Delete on labels t_7
--             ->  Nested Loop
--                   ->  CTE Scan on free free_8
--                   ->  Index Scan using labels_pkey on labels t_7
--                         Index Cond: (workflow_id = free_8.id)
--     CTE old_waits
--       ->  Delete on waits t_8
--             ->  Nested Loop
--                   ->  CTE Scan on free free_9
--                   ->  Index Scan using waits_pkey on waits t_8
--                         Index Cond: (workflow_id = free_9.id)
--     CTE old_signals
--       ->  Delete on signals t_9
--             ->  Nested Loop
--                   ->  CTE Scan on free free_10
--                   ->  Index Scan using signals_pkey on signals t_9
--                         Index Cond: (workflow_id = free_10.id)
--     CTE old_budgets
--       ->  Delete on budgets b
--             ->  Nested Loop
--                   ->  CTE Scan on free free_11
--                   ->  Index Scan using budgets_pkey on budgets b
--                         Index Cond: (scope = (free_11.id)::text)
--     CTE new_removals
--       ->  Insert on file_removals f
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: file_removals_pkey
--             ->  Nested Loop
--                   Join Filter: (k_1.workflow_id = free_12.id)
--                   ->  CTE Scan on old_tasks k_1
--                         Filter: ((deleted_at IS NULL) AND ((outputs)::text <> '[]'::text))
--                   ->  CTE Scan on free free_12
--     CTE purges
--       ->  Insert on cleanups cleanups_1
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: cleanups_pkey
--             ->  Subquery Scan on "*SELECT*"
--                   ->  CTE Scan on free free_16
--                         Filter: ((GREATEST((InitPlan 31).col1, (InitPlan 32).col1, (InitPlan 33).col1, (InitPlan 34).col1) >= $3) OR ((InitPlan 35).col1 < (InitPlan 36).col1) OR ((InitPlan 37).col1 < (InitPlan 38).col1) OR ((InitPlan 39).col1 < (InitPlan 40).col1) OR (ANY (id = (hashed SubPlan 41).col1)) OR EXISTS(SubPlan 42))
--                         InitPlan 31
--                           ->  Aggregate
--                                 ->  CTE Scan on old_steps
--                         InitPlan 32
--                           ->  Aggregate
--                                 ->  CTE Scan on old_step_items
--                         InitPlan 33
--                           ->  Aggregate
--                                 ->  CTE Scan on old_events
--                         InitPlan 34
--                           ->  Aggregate
--                                 ->  CTE Scan on old_tasks
--                         InitPlan 35
--                           ->  Aggregate
--                                 ->  CTE Scan on old_deliveries
--                         InitPlan 36
--                           ->  Aggregate
--                                 ->  Nested Loop
--                                       ->  CTE Scan on free free_13
--                                       ->  Index Only Scan using deliveries_pkey on deliveries t_10
--                                             Index Cond: (workflow_id = free_13.id)
--                         InitPlan 37
--                           ->  Aggregate
--                                 ->  CTE Scan on old_idempotency_keys
--                         InitPlan 38
--                           ->  Aggregate
--                                 ->  Nested Loop
--                                       ->  CTE Scan on free free_14
--                                       ->  Index Only Scan using idempotency_keys_by_workflow_id on idempotency_keys t_11
--                                             Index Cond: (workflow_id = free_14.id)
--                         InitPlan 39
--                           ->  Aggregate
--                                 ->  CTE Scan on old_commands
--                         InitPlan 40
--                           ->  Aggregate
--                                 ->  Nested Loop
--                                       ->  CTE Scan on free free_15
--                                       ->  Index Only Scan using commands_by_workflow_id on commands t_12
--                                             Index Cond: (workflow_id = free_15.id)
--                         SubPlan 41
--                           ->  CTE Scan on new_removals
--                         SubPlan 42
--                           ->  Index Only Scan using artifact_references_by_workflow_id on artifact_references r_1
--                                 Index Cond: (workflow_id = free_16.id)
--     InitPlan 45
--       ->  Aggregate
--             ->  CTE Scan on gone
--     InitPlan 46
--       ->  CTE Scan on purges
--     InitPlan 47
--       ->  CTE Scan on turn turn_1
--     InitPlan 48
--       ->  Index Scan using workflows_by_completed_at on workflows
--             Index Cond: (completed_at <= (now() - make_interval(0, 0, 0, 0, 0, 0, $2)))
--             Filter: (depth = 0)
--     InitPlan 50
--       ->  Result
--             InitPlan 49
--               ->  Limit
--                     ->  Index Scan using workflows_by_completed_at on workflows workflows_1
--                           Index Cond: (completed_at > (now() - make_interval(0, 0, 0, 0, 0, 0, $2)))
--                           Filter: (depth = 0)

WITH changed AS (
INSERT INTO limit_division AS d (singleton, version, sole, starts, starts_from)
SELECT true, $2 + 1, $3, $4, $5
WHERE EXISTS (SELECT
FROM processes
WHERE id = $1 AND lease_until > clock_timestamp())
ON CONFLICT (singleton) DO UPDATE
SET version = excluded.version, sole = excluded.sole, starts = excluded.starts, starts_from = excluded.starts_from
WHERE d.version = $2
RETURNING d.version ), gone AS (
DELETE FROM limit_members
WHERE owner = ANY($6::uuid[]) AND EXISTS (SELECT
FROM changed) ), own AS (
INSERT INTO limit_members AS m (owner, claiming, shares, updated_at)
SELECT $1, $7, $8, clock_timestamp()
FROM changed
WHERE $8::json IS NOT NULL
ON CONFLICT (owner) DO UPDATE
SET claiming = excluded.claiming, shares = excluded.shares, updated_at = excluded.updated_at )
SELECT CASE WHEN $9 THEN pg_notify('stepwell_process_messages', $10) END
FROM changed;
--   CTE Scan on changed
--     CTE changed
--       ->  Insert on limit_division d
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: limit_division_pkey
--             Conflict Filter: (d.version = $2)
--             InitPlan 1
--               ->  Index Scan using processes_pkey on processes
--                     Index Cond: (id = $1)
--                     Filter: (lease_until > clock_timestamp())
--             ->  Result
--                   One-Time Filter: (InitPlan 1).col1
--     CTE gone
--       ->  Delete on limit_members
--             InitPlan 3
--               ->  CTE Scan on changed changed_1
--             ->  Result
--                   One-Time Filter: (InitPlan 3).col1
--                   ->  Index Scan using limit_members_pkey on limit_members
--                         Index Cond: (owner = ANY ($6))
--     CTE own
--       ->  Insert on limit_members m
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: limit_members_pkey
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Result
--                         One-Time Filter: ($8 IS NOT NULL)
--                         ->  CTE Scan on changed changed_2

WITH dead AS MATERIALIZED (
SELECT owners.id, p.id IS NOT NULL AS crashed
FROM (SELECT DISTINCT owner AS id
FROM workflows
WHERE owner IS NOT NULL) AS owners
LEFT
JOIN processes AS p ON p.id = owners.id
WHERE owners.id <> $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp()) ), idle AS MATERIALIZED (
SELECT w.id
FROM workflows AS w
WHERE w.owner IS NOT NULL AND w.status = 'RUNNING' AND w.feature_level <= 1 AND (w.id IN (SELECT unnest($2::uuid[])))
    IS NOT TRUE AND (w.owner = ANY (ARRAY(SELECT id
FROM dead)) OR w.owner = $1 AND w.updated_at < $3) AND (SELECT true
FROM tasks AS k
WHERE k.workflow_id = w.id AND (k.status = 'RUNNING' OR k.follow_up_until IS NOT NULL)
LIMIT 1) IS NULL
ORDER BY w.depth DESC, w.id
LIMIT $4 FOR UPDATE )
UPDATE workflows AS w
SET owner = NULL, epoch = w.epoch + 1, deadline_at = NULL, timeout_left_s = CASE WHEN w.deadline_at IS NULL THEN
    w.timeout_left_s ELSE greatest(extract(epoch
FROM w.deadline_at - clock_timestamp())::float8, 0) END
FROM idle
WHERE w.id = idle.id
RETURNING w.id;
--   Update on workflows w
--     CTE dead
--       ->  Nested Loop Left Join
--             Filter: ((p.id IS NULL) OR (p.lease_until <= clock_timestamp()))
--             ->  Unique
--                   ->  Index Only Scan using workflows_by_owner on workflows
--                         Filter: (owner <> $1)
--             ->  Index Scan using processes_pkey on processes p
--                   Index Cond: (id = workflows.owner)
--     CTE idle
--       ->  Limit
--             InitPlan 3
--               ->  CTE Scan on dead
--             ->  LockRows
--                   ->  Sort
--                         Sort Key: w_1.depth DESC, w_1.id
--                         ->  Index Scan using workflows_list_by_status on workflows w_1
--                               Index Cond: (status = 'RUNNING'::text)
--                               Filter: ((owner IS NOT NULL) AND (feature_level <= 1) AND ((ANY (id = (hashed SubPlan 2).col1)) IS NOT TRUE) AND ((owner = ANY ((InitPlan 3).col1)) OR ((owner = $1) AND (updated_at < $3))) AND ((SubPlan 4) IS NULL))
--                               SubPlan 2
--                                 ->  ProjectSet
--                                       ->  Result
--                               SubPlan 4
--                                 ->  Limit
--                                       ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks k
--                                             Index Cond: (workflow_id = w_1.id)
--                                             Filter: ((status = 'RUNNING'::text) OR (follow_up_until IS NOT NULL))
--     ->  Nested Loop
--           ->  CTE Scan on idle
--           ->  Index Scan using workflows_pkey on workflows w
--                 Index Cond: (id = idle.id)

WITH dead AS MATERIALIZED (
SELECT owners.id, p.id IS NOT NULL AS crashed
FROM (SELECT DISTINCT owner AS id
FROM workflows
WHERE owner IS NOT NULL) AS owners
LEFT
JOIN processes AS p ON p.id = owners.id
WHERE owners.id <> $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp()) ), new_ends AS (
INSERT INTO unclean_ends (process, at, alone)
SELECT dead.id, clock_timestamp(), found.under_way = 1
FROM dead
CROSS
JOIN LATERAL (
SELECT count(*) AS under_way
FROM (
SELECT
FROM workflows AS w
WHERE w.owner = dead.id AND EXISTS (SELECT
FROM tasks AS k
WHERE k.workflow_id = w.id AND k.status = 'RUNNING' AND (k.provider IS NOT NULL OR k.remote_id IS NULL))
LIMIT 2 ) AS two ) AS found
WHERE dead.crashed AND found.under_way > 0 AND NOT EXISTS (SELECT
FROM unclean_ends AS e
WHERE e.process = dead.id)
ON CONFLICT DO NOTHING
RETURNING process, alone ), ends AS MATERIALIZED (
SELECT process, alone
FROM unclean_ends
WHERE at > clock_timestamp() - interval '10 min'
UNION ALL
SELECT process, alone
FROM new_ends ), suspect AS MATERIALIZED (
SELECT w.id
FROM workflows AS w
WHERE (SELECT count(*)
FROM ends) >= $6 AND w.owner = ANY (ARRAY(SELECT id
FROM dead
WHERE crashed)) AND w.feature_level <= 1 AND (w.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE AND EXISTS (SELECT
FROM tasks AS k
WHERE k.workflow_id = w.id AND k.status = 'RUNNING' AND (k.provider IS NOT NULL OR k.remote_id IS NULL))
ORDER BY w.crashes DESC, w.id
LIMIT 1 ), orphans AS MATERIALIZED (
SELECT w.id, w.owner, w.depth, w.total_steps, w.crashes, w.has_flow
FROM workflows AS w
WHERE w.owner IS NOT NULL AND w.feature_level <= 1 AND (NOT EXISTS (SELECT
FROM suspect) OR w.id = (SELECT id
FROM suspect)) AND (w.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE AND (w.owner = ANY (ARRAY(SELECT id
FROM dead)) OR w.owner = $1 AND w.updated_at < $3) AND (NOT $7 OR EXISTS (SELECT
FROM processes AS p
WHERE p.id = $1 AND p.lease_until > clock_timestamp()) AND (EXISTS (SELECT
FROM limit_members AS m
WHERE m.owner = $1 AND m.claiming) OR EXISTS (SELECT
FROM limit_division AS d
WHERE d.sole = $1)))
ORDER BY w.depth DESC, w.id
LIMIT $4 FOR UPDATE ), page AS (
SELECT *
FROM (
SELECT *, sum(size) OVER (ORDER BY depth DESC, id) - size AS before
FROM (SELECT o.*, o.total_steps + CASE WHEN o.has_flow THEN (
SELECT count(*)
FROM step_items AS i
WHERE i.workflow_id = o.id)::int ELSE 0 END AS size
FROM orphans AS o) AS sized ) AS p
WHERE before < $5 )
UPDATE workflows AS w
SET owner = $1, epoch = w.epoch + 1, crashes = 0
FROM page
LEFT
JOIN ends ON ends.process = page.owner
WHERE w.id = page.id
RETURNING w.id, CASE WHEN w.id = (SELECT id
FROM suspect) THEN CASE WHEN ends.alone THEN page.crashes ELSE 0 END END AS deaths;
--   Update on workflows w
--     CTE dead
--       ->  Nested Loop Left Join
--             Filter: ((p_1.id IS NULL) OR (p_1.lease_until <= clock_timestamp()))
--             ->  Unique
--                   ->  Index Only Scan using workflows_by_owner on workflows
--                         Filter: (owner <> $1)
--             ->  Index Scan using processes_pkey on processes p_1
--                   Index Cond: (id = workflows.owner)
--     CTE new_ends
--       ->  Insert on unclean_ends
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Nested Loop Anti Join
--                         ->  CTE Scan on dead
--                               Filter: crashed
--                         ->  Index Only Scan using unclean_ends_pkey on unclean_ends e
--                               Index Cond: (process = dead.id)
--                   ->  Aggregate
--                         Filter: (count(*) > 0)
--                         ->  Limit
--                               ->  Nested Loop Semi Join
--                                     ->  Index Only Scan using workflows_by_owner on workflows w_1
--                                           Index Cond: (owner = dead.id)
--                                     ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks k
--                                           Index Cond: (workflow_id = w_1.id)
--                                           Filter: (((provider IS NOT NULL) OR (remote_id IS NULL)) AND (status = 'RUNNING'::text))
--     CTE ends
--       ->  Append
--             ->  Seq Scan on unclean_ends unclean_ends_1
--                   Disabled: true
--                   Filter: (at > (clock_timestamp() - '00:10:00'::interval))
--             ->  CTE Scan on new_ends
--     CTE suspect
--       ->  Limit
--             InitPlan 4
--               ->  Aggregate
--                     ->  CTE Scan on ends ends_1
--             InitPlan 5
--               ->  CTE Scan on dead dead_1
--                     Filter: crashed
--             ->  Sort
--                   Sort Key: w_2.crashes DESC, w_2.id
--                   ->  Result
--                         One-Time Filter: ((InitPlan 4).col1 >= $6)
--                         ->  Nested Loop Semi Join
--                               ->  Index Scan using workflows_by_owner on workflows w_2
--                                     Index Cond: (owner = ANY ((InitPlan 5).col1))
--                                     Filter: ((feature_level <= 1) AND ((ANY (id = (hashed SubPlan 6).col1)) IS NOT TRUE))
--                                     SubPlan 6
--                                       ->  ProjectSet
--                                             ->  Result
--                               ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks k_1
--                                     Index Cond: (workflow_id = w_2.id)
--                                     Filter: (((provider IS NOT NULL) OR (remote_id IS NULL)) AND (status = 'RUNNING'::text))
--     CTE orphans
--       ->  Limit
--             InitPlan 8
--               ->  CTE Scan on suspect
--             InitPlan 9
--               ->  CTE Scan on suspect suspect_1
--             InitPlan 11
--               ->  CTE Scan on dead dead_2
--             InitPlan 12
--               ->  Index Scan using processes_pkey on processes p_2
--                     Index Cond: (id = $1)
--                     Filter: (lease_until > clock_timestamp())
--             InitPlan 13
--               ->  Index Scan using limit_members_pkey on limit_members m
--                     Index Cond: (owner = $1)
--                     Filter: claiming
--             InitPlan 14
--               ->  Seq Scan on limit_division d
--                     Disabled: true
--                     Filter: (sole = $1)
--             ->  LockRows
--                   ->  Sort
--                         Sort Key: w_3.depth DESC, w_3.id
--                         ->  Result
--                               One-Time Filter: ((NOT $7) OR ((InitPlan 12).col1 AND ((InitPlan 13).col1 OR (InitPlan 14).col1)))
--                               ->  Index Scan using workflows_by_owner on workflows w_3
--                                     Index Cond: (owner IS NOT NULL)
--                                     Filter: ((feature_level <= 1) AND ((NOT (InitPlan 8).col1) OR (id = (InitPlan 9).col1)) AND ((ANY (id = (hashed SubPlan 10).col1)) IS NOT TRUE) AND ((owner = ANY ((InitPlan 11).col1)) OR ((owner = $1) AND (updated_at < $3))))
--                                     SubPlan 10
--                                       ->  ProjectSet
--                                             ->  Result
--     InitPlan 16
--       ->  CTE Scan on suspect suspect_2
--     ->  Nested Loop Left Join
--           Join Filter: (ends.process = p.owner)
--           ->  Nested Loop
--                 ->  Subquery Scan on p
--                       Filter: (p.before < $5)
--                       ->  WindowAgg
--                             Window: w1 AS (ORDER BY o.depth, o.id)
--                             ->  Sort
--                                   Sort Key: o.depth DESC, o.id
--                                   ->  CTE Scan on orphans o
--                             SubPlan 17
--                               ->  Aggregate
--                                     ->  Index Only Scan using step_items_pkey on step_items i
--                                           Index Cond: (workflow_id = o.id)
--                             SubPlan 18
--                               ->  Aggregate
--                                     ->  Index Only Scan using step_items_pkey on step_items i_1
--                                           Index Cond: (workflow_id = o.id)
--                             SubPlan 19
--                               ->  Aggregate
--                                     ->  Index Only Scan using step_items_pkey on step_items i_2
--                                           Index Cond: (workflow_id = o.id)
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = p.id)
--           ->  CTE Scan on ends

WITH division AS (SELECT version, sole, starts, starts_from
FROM limit_division)
SELECT extract(epoch
FROM clock_timestamp())::float8 AS now, d.version, d.sole, d.starts, d.starts_from, (SELECT count(*)
FROM processes
WHERE id <> $1 AND lease_until > clock_timestamp())::int AS others, EXISTS (SELECT
FROM processes
WHERE id = $1 AND lease_until > clock_timestamp()) AS alive, m.owner, m.claiming, m.shares, m.stored,
    coalesce(p.lease_until > clock_timestamp(), false) AS owner_alive, NOT EXISTS (SELECT
FROM workflows AS w
WHERE w.owner IN (m.owner, '00000000-0000-0000-0000-000000000000')) AS claimed, clock_timestamp() -
    greatest(p.lease_until, m.updated_at) > $2::interval AS overdue, extract(epoch
FROM greatest(least(p.lease_until, clock_timestamp()), '-infinity'))::float8 AS lease_until
FROM (SELECT) AS one
LEFT
JOIN division AS d ON true
LEFT
JOIN (
SELECT owner, claiming, shares, updated_at, true AS stored
FROM limit_members
UNION ALL
SELECT sole, false, '{}', NULL, false
FROM division
WHERE sole IS NOT NULL AND sole <> $1 ) AS m ON true
LEFT
JOIN processes AS p ON p.id = m.owner;
--   Nested Loop Left Join
--     CTE division
--       ->  Seq Scan on limit_division
--             Disabled: true
--     InitPlan 2
--       ->  Aggregate
--             ->  Seq Scan on processes
--                   Disabled: true
--                   Filter: ((id <> $1) AND (lease_until > clock_timestamp()))
--     InitPlan 3
--       ->  Index Scan using processes_pkey on processes processes_1
--             Index Cond: (id = $1)
--             Filter: (lease_until > clock_timestamp())
--     ->  Nested Loop Left Join
--           ->  Result
--           ->  CTE Scan on division d
--     ->  Materialize
--           ->  Nested Loop Left Join
--                 ->  Append
--                       ->  Index Scan using limit_members_pkey on limit_members
--                       ->  Subquery Scan on "*SELECT* 2"
--                             ->  CTE Scan on division
--                                   Filter: ((sole IS NOT NULL) AND (sole <> $1))
--                 ->  Index Scan using processes_pkey on processes p
--                       Index Cond: (id = limit_members.owner)
--     SubPlan 4
--       ->  Index Only Scan using workflows_by_owner on workflows w
--             Index Cond: (owner = ANY (ARRAY[limit_members.owner, '00000000-0000-0000-0000-000000000000'::uuid]))

WITH due AS MATERIALIZED (
SELECT w.id
FROM workflows AS w
WHERE w.status = 'RUNNING' AND w.wake_at IS NOT NULL AND w.wake_at <= now() AND w.feature_level <= 1
ORDER BY w.wake_at
LIMIT $1 FOR UPDATE SKIP LOCKED ), unparked AS (
UPDATE workflows AS w
SET wake_at = NULL, epoch = w.epoch + 1
FROM due
WHERE w.id = due.id
RETURNING w.tenant ), due_paused AS MATERIALIZED (
SELECT w.id
FROM workflows AS w
WHERE w.status = 'PAUSED' AND w.wake_at IS NOT NULL AND w.wake_at <= now() AND w.feature_level <= 1
ORDER BY w.wake_at
LIMIT $2 FOR UPDATE SKIP LOCKED ), postponed AS (
UPDATE workflows AS w
SET wake_at = clock_timestamp() + make_interval(secs => $3::float8)
FROM due_paused
WHERE w.id = due_paused.id
RETURNING w.id, w.wake_at )
SELECT ARRAY(SELECT tenant
FROM unparked) AS tenants, ARRAY(SELECT id
FROM postponed) AS paused, least( (SELECT min(wake_at)
FROM postponed), (
SELECT w.wake_at
FROM workflows AS w
WHERE w.status = 'RUNNING' AND w.wake_at IS NOT NULL AND w.wake_at < '9999-01-01' AND w.feature_level <= 1 AND (w.id
    IN (SELECT id
FROM due)) IS NOT TRUE
ORDER BY w.wake_at
LIMIT 1 ), (
SELECT w.wake_at
FROM workflows AS w
WHERE w.status = 'PAUSED' AND w.wake_at IS NOT NULL AND w.wake_at < '9999-01-01' AND w.feature_level <= 1 AND (w.id IN
    (SELECT id
FROM due_paused)) IS NOT TRUE
ORDER BY w.wake_at
LIMIT 1 ) ) AS next_at;
--   Result
--     CTE due
--       ->  Limit
--             ->  LockRows
--                   ->  Index Scan using workflows_due on workflows w
--                         Index Cond: ((status = 'RUNNING'::text) AND (wake_at IS NOT NULL) AND (wake_at <= now()))
--                         Filter: (feature_level <= 1)
--     CTE unparked
--       ->  Update on workflows w_1
--             ->  Nested Loop
--                   ->  CTE Scan on due
--                   ->  Index Scan using workflows_pkey on workflows w_1
--                         Index Cond: (id = due.id)
--     CTE due_paused
--       ->  Limit
--             ->  LockRows
--                   ->  Index Scan using workflows_due on workflows w_2
--                         Index Cond: ((status = 'PAUSED'::text) AND (wake_at IS NOT NULL) AND (wake_at <= now()))
--                         Filter: (feature_level <= 1)
--     CTE postponed
--       ->  Update on workflows w_3
--             ->  Nested Loop
--                   ->  CTE Scan on due_paused
--                   ->  Index Scan using workflows_pkey on workflows w_3
--                         Index Cond: (id = due_paused.id)
--     InitPlan 5
--       ->  CTE Scan on unparked
--     InitPlan 6
--       ->  CTE Scan on postponed
--     InitPlan 7
--       ->  Aggregate
--             ->  CTE Scan on postponed postponed_1
--     InitPlan 9
--       ->  Limit
--             ->  Index Scan using workflows_due on workflows w_4
--                   Index Cond: ((status = 'RUNNING'::text) AND (wake_at < '9999-01-01 00:00:00+00'::timestamp with time zone))
--                   Filter: ((feature_level <= 1) AND ((ANY (id = (hashed SubPlan 8).col1)) IS NOT TRUE))
--                   SubPlan 8
--                     ->  CTE Scan on due due_1
--     InitPlan 11
--       ->  Limit
--             ->  Index Scan using workflows_due on workflows w_5
--                   Index Cond: ((status = 'PAUSED'::text) AND (wake_at < '9999-01-01 00:00:00+00'::timestamp with time zone))
--                   Filter: ((feature_level <= 1) AND ((ANY (id = (hashed SubPlan 10).col1)) IS NOT TRUE))
--                   SubPlan 10
--                     ->  CTE Scan on due_paused due_paused_1

WITH earlier AS MATERIALIZED (SELECT w.id
FROM workflows AS w
WHERE w.id = $1 AND w.deleted_at IS NULL AND ($3::bool OR w.tenant IS NOT DISTINCT FROM $2::text) AND ($4::text IS
    NULL OR w.created_by = $4::text) FOR SHARE), taken AS MATERIALIZED (
SELECT k.position, k.item, CASE WHEN k.item IS NULL THEN s.result ELSE i.result END AS result
FROM unnest($5::int[], $6::int[]) AS k(position, item)
CROSS
JOIN earlier
JOIN steps AS s ON s.workflow_id = earlier.id AND s.position = k.position
LEFT
JOIN step_items AS i ON i.workflow_id = earlier.id AND i.position = k.position AND i.item = k.item
WHERE CASE WHEN k.item IS NULL THEN s.status ELSE i.status END = 'COMPLETED' ), named AS (
INSERT INTO artifact_references (task_id, workflow_id, reused)
SELECT DISTINCT m[1]::uuid, $7::uuid, true
FROM taken
CROSS
JOIN LATERAL regexp_matches(taken.result::text, 'media/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})/', 'g') AS m
WHERE $7::uuid IS NOT NULL
ON CONFLICT DO NOTHING )
SELECT position, item, result
FROM taken
WHERE result IS NOT NULL;
--   CTE Scan on taken
--     Filter: (result IS NOT NULL)
--     CTE earlier
--       ->  LockRows
--             ->  Index Scan using workflows_pkey on workflows w
--                   Index Cond: (id = $1)
--                   Filter: ((deleted_at IS NULL) AND ($3 OR (NOT (tenant IS DISTINCT FROM $2))) AND (($4 IS NULL) OR (created_by = $4)))
--     CTE taken
--       ->  Nested Loop Left Join
--             Join Filter: ((i."position" = k."position") AND (i.item = k.item))
--             Filter: (CASE WHEN (k.item IS NULL) THEN s.status ELSE i.status END = 'COMPLETED'::text)
--             ->  Nested Loop
--                   Join Filter: (s."position" = k."position")
--                   ->  Nested Loop
--                         ->  CTE Scan on earlier
--                         ->  Index Scan using steps_pkey on steps s
--                               Index Cond: (workflow_id = earlier.id)
--                   ->  Function Scan on k
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: (workflow_id = earlier.id)
--     CTE named
--       ->  Insert on artifact_references
--             Conflict Resolution: NOTHING
--             ->  HashAggregate
--                   Group Key: (m.m[1])::uuid
--                   ->  Result
--                         One-Time Filter: ($7 IS NOT NULL)
--                         ->  Nested Loop
--                               ->  CTE Scan on taken taken_1
--                               ->  Function Scan on regexp_matches m

WITH ended AS (
DELETE FROM cleanups
WHERE workflow_id = ANY (ARRAY(
SELECT workflow_id
FROM cleanups
WHERE owner = $1 AND purge AND workflow_id = ANY($2::uuid[])
ORDER BY workflow_id FOR UPDATE ))
RETURNING workflow_id )
DELETE FROM artifact_references AS r
USING ended
WHERE r.workflow_id = ended.workflow_id;
--   Delete on artifact_references r
--     CTE ended
--       ->  Delete on cleanups cleanups_1
--             InitPlan 1
--               ->  LockRows
--                     ->  Sort
--                           Sort Key: cleanups.workflow_id
--                           ->  Index Scan using cleanups_due on cleanups
--                                 Index Cond: (owner = $1)
--                                 Filter: (purge AND (workflow_id = ANY ($2)))
--             ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                   Index Cond: (workflow_id = ANY ((InitPlan 1).col1))
--     ->  Nested Loop
--           ->  CTE Scan on ended
--           ->  Index Scan using artifact_references_by_workflow_id on artifact_references r
--                 Index Cond: (workflow_id = ended.workflow_id)

WITH ended AS (
UPDATE commands AS c
SET outcome = $3
FROM workflows AS w
WHERE c.id = $1 AND c.outcome IS NULL AND w.id = c.workflow_id AND w.epoch = $2
RETURNING c.id, c.requester)
SELECT pg_notify('stepwell_process_' || requester, 'ended:' || id)
FROM ended;
--   CTE Scan on ended
--     CTE ended
--       ->  Update on commands c
--             ->  Nested Loop
--                   ->  Index Scan using commands_waiting on commands c
--                         Filter: ((outcome IS NULL) AND (id = $1))
--                   ->  Index Scan using workflows_pkey on workflows w
--                         Index Cond: (id = c.workflow_id)
--                         Filter: (epoch = $2)

WITH ended AS (
UPDATE commands AS c
SET outcome = $3
FROM workflows AS w
WHERE c.id = ANY($2::uuid[]) AND c.outcome IS NULL AND w.id = c.workflow_id AND (w.owner = $1 OR w.owner IS NULL AND
    c.recipient = $1)
RETURNING c.id, c.requester)
SELECT pg_notify('stepwell_process_' || requester, 'ended:' || id)
FROM ended;
--   CTE Scan on ended
--     CTE ended
--       ->  Update on commands c
--             ->  Nested Loop
--                   ->  Index Scan using commands_waiting on commands c
--                         Filter: ((outcome IS NULL) AND (id = ANY ($2)))
--                   ->  Index Scan using workflows_pkey on workflows w
--                         Index Cond: (id = c.workflow_id)
--                         Filter: (((owner = $1) OR (owner IS NULL)) AND ((owner = $1) OR ((owner IS NULL) AND (c.recipient = $1))))

WITH ended AS (DELETE FROM file_removals
WHERE task_id = ANY($1::uuid[])
RETURNING task_id)
UPDATE tasks AS t
SET deleted_at = clock_timestamp()
FROM ended
WHERE t.id = ended.task_id AND t.deleted_at IS NULL;
--   Update on tasks t
--     CTE ended
--       ->  Delete on file_removals
--             ->  Index Scan using file_removals_pkey on file_removals
--                   Index Cond: (task_id = ANY ($1))
--     ->  Nested Loop
--           ->  CTE Scan on ended
--           ->  Index Scan using tasks_pkey on tasks t
--                 Index Cond: (id = ended.task_id)
--                 Filter: (deleted_at IS NULL)

WITH ended AS (UPDATE commands AS c
SET outcome = $2
WHERE c.id = $1 AND outcome ->> 'report_follows' = 'true'
RETURNING c.id, c.requester)
SELECT pg_notify('stepwell_process_' || requester, 'ended:' || id)
FROM ended;
--   CTE Scan on ended
--     CTE ended
--       ->  Update on commands c
--             ->  Index Scan using commands_pkey on commands c
--                   Index Cond: (id = $1)
--                   Filter: ((outcome ->> 'report_follows'::text) = 'true'::text)

WITH existing AS MATERIALIZED (
SELECT id
FROM workflows
WHERE id = (SELECT w.id
FROM unnest($1::insert_workflow[]) AS w) ), parent AS MATERIALIZED (
SELECT id
FROM workflows
WHERE id = $6 AND owner = $4 AND NOT EXISTS (SELECT
FROM existing) FOR NO KEY
UPDATE ), attempt AS MATERIALIZED (
SELECT id
FROM tasks
WHERE id = $5 AND status = 'RUNNING' AND EXISTS (SELECT
FROM parent) FOR SHARE ), root AS MATERIALIZED (
SELECT id
FROM workflows
WHERE id = $9 AND CASE WHEN sub_workflows >= $11::int THEN 'TOO_MANY' WHEN sub_workflow_steps + $14::int > $12::int
    THEN 'TOO_MANY_STEPS' WHEN sub_workflow_bytes + $15::bigint > $13::bigint THEN 'TOO_LARGE' END IS NULL AND EXISTS
    (SELECT
FROM attempt) FOR NO KEY
UPDATE ), new_workflows AS (
INSERT INTO workflows (id, tenant, created_by, origin_instance, origin_zone, origin_reference, config,
    suppress_subtask_events, total_steps, final_position, definition_bytes, feature_level, inputs, inputs_schema,
    evaluates, has_flow, stored_definition, named_definitions, named_files, reuse, created_at, status, name,
    description, webhook_url, completed_steps, execution_id, failure, started_at, completed_at, updated_at,
    deleted_at, deadline_at, timeout_left_s, owner, epoch, last_event, crashes, parent_id, parent_step, parent_item,
    root_id, depth)
SELECT w.id, w.tenant, w.created_by, w.origin_instance, w.origin_zone, w.origin_reference, w.config,
    w.suppress_subtask_events, w.total_steps, w.final_position, w.definition_bytes, w.feature_level, w.inputs,
    w.inputs_schema, w.evaluates, w.has_flow, w.stored_definition, w.named_definitions, w.named_files, w.reuse,
    w.created_at, w.status, w.name, w.description, w.webhook_url, w.completed_steps, w.execution_id, w.failure,
    w.started_at, w.completed_at, w.updated_at, w.deleted_at, w.deadline_at, w.timeout_left_s, w.owner, w.epoch,
    w.last_event, w.crashes, $6::uuid, $7::text, $8::int, $9::uuid, $10::int
FROM unnest($1::insert_workflow[]) AS w
WHERE EXISTS (SELECT
FROM root)
ON CONFLICT (id) DO NOTHING
RETURNING id ), counted AS (
UPDATE workflows
SET sub_workflows = sub_workflows + 1, sub_workflow_steps = sub_workflow_steps + $14::int, sub_workflow_bytes =
    sub_workflow_bytes + $15::bigint
WHERE id = $9 AND EXISTS (SELECT
FROM new_workflows) ), new_steps AS (
INSERT INTO steps (workflow_id, updated_at, status, position, id, step_id, task_type, definition, depends_on,
    max_retries, timeout_s, provider, fallback, run_if, optional, condition, repeat, for_each)
SELECT s.workflow_id, s.created_at, 'PENDING', s.position, s.id, s.step_id, s.task_type, s.definition, s.depends_on,
    s.max_retries, s.timeout_s, s.provider, s.fallback, s.run_if, s.optional, s.condition, s.repeat, s.for_each
FROM unnest($2::insert_step[]) AS s
WHERE EXISTS (SELECT
FROM new_workflows) ), new_events AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($3::checkpoint_event[]) AS e
WHERE EXISTS (SELECT
FROM new_workflows) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT *
FROM unnest($16::uuid[], $17::text[], $18::timestamptz[])
WHERE EXISTS (SELECT
FROM new_workflows) )
SELECT EXISTS (SELECT
FROM new_workflows) AS is_new, EXISTS (SELECT
FROM existing) AS is_stored, (SELECT CASE WHEN sub_workflows >= $11::int THEN 'TOO_MANY' WHEN sub_workflow_steps +
    $14::int > $12::int THEN 'TOO_MANY_STEPS' WHEN sub_workflow_bytes + $15::bigint > $13::bigint THEN 'TOO_LARGE' END
FROM workflows
WHERE id = $9) AS bound;
--   Result
--     CTE existing
--       ->  Index Only Scan using workflows_pkey on workflows
--             Index Cond: (id = (InitPlan 1).col1)
--             InitPlan 1
--               ->  Function Scan on unnest w
--     CTE parent
--       ->  LockRows
--             InitPlan 3
--               ->  CTE Scan on existing
--             ->  Result
--                   One-Time Filter: (NOT (InitPlan 3).col1)
--                   ->  Index Scan using workflows_by_owner on workflows workflows_1
--                         Index Cond: ((owner = $4) AND (id = $6))
--     CTE attempt
--       ->  LockRows
--             InitPlan 5
--               ->  CTE Scan on parent
--             ->  Result
--                   One-Time Filter: (InitPlan 5).col1
--                   ->  Index Scan using tasks_pkey on tasks
--                         Index Cond: (id = $5)
--                         Filter: (status = 'RUNNING'::text)
--     CTE root
--       ->  LockRows
--             InitPlan 7
--               ->  CTE Scan on attempt
--             ->  Result
--                   One-Time Filter: (InitPlan 7).col1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = $9)
--                         Filter: (CASE WHEN (sub_workflows >= $11) THEN 'TOO_MANY'::text WHEN ((sub_workflow_steps + $14) > $12) THEN 'TOO_MANY_STEPS'::text WHEN ((sub_workflow_bytes + $15) > $13) THEN 'TOO_LARGE'::text ELSE NULL::text END IS NULL)
--     CTE new_workflows
--       ->  Insert on workflows workflows_3
--             Conflict Resolution: NOTHING
--             Conflict Arbiter Indexes: workflows_pkey
--             InitPlan 9
--               ->  CTE Scan on root
--             ->  Result
--                   One-Time Filter: (InitPlan 9).col1
--                   ->  Function Scan on unnest w_1
--     CTE counted
--       ->  Update on workflows workflows_4
--             InitPlan 11
--               ->  CTE Scan on new_workflows
--             ->  Result
--                   One-Time Filter: (InitPlan 11).col1
--                   ->  Index Scan using workflows_pkey on workflows workflows_4
--                         Index Cond: (id = $9)
--     CTE new_steps
--       ->  Insert on steps
--             InitPlan 13
--               ->  CTE Scan on new_workflows new_workflows_1
--             ->  Result
--                   One-Time Filter: (InitPlan 13).col1
--                   ->  Function Scan on unnest s
--     CTE new_events
--       ->  Insert on events
--             InitPlan 15
--               ->  CTE Scan on new_workflows new_workflows_2
--             ->  Result
--                   One-Time Filter: (InitPlan 15).col1
--                   ->  Function Scan on unnest e
--     CTE new_labels
--       ->  Insert on labels
--             InitPlan 17
--               ->  CTE Scan on new_workflows new_workflows_3
--             ->  Result
--                   One-Time Filter: (InitPlan 17).col1
--                   ->  Function Scan on unnest
--     InitPlan 19
--       ->  CTE Scan on new_workflows new_workflows_4
--     InitPlan 20
--       ->  CTE Scan on existing existing_1
--     InitPlan 21
--       ->  Index Scan using workflows_pkey on workflows workflows_5
--             Index Cond: (id = $9)

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.created_by AS created_by,
    workflows.origin_instance AS origin_instance, workflows.origin_zone AS origin_zone, workflows.origin_reference AS
    origin_reference, workflows.config AS config, workflows.suppress_subtask_events AS suppress_subtask_events,
    workflows.total_steps AS total_steps, workflows.final_position AS final_position, workflows.definition_bytes AS
    definition_bytes, workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow
    AS has_flow, workflows.stored_definition AS stored_definition, workflows.reuse AS reuse, workflows.created_at AS
    created_at, workflows.status AS status, workflows.name AS name, workflows.description AS description,
    workflows.webhook_url AS webhook_url, workflows.completed_steps AS completed_steps, workflows.execution_id AS
    execution_id, workflows.failure AS failure, workflows.started_at AS started_at, workflows.completed_at AS
    completed_at, workflows.updated_at AS updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS
    deadline_at, workflows.timeout_left_s AS timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch,
    workflows.last_event AS last_event, workflows.crashes AS crashes, workflows.wake_at AS wake_at,
    workflows.parent_id AS parent_id, workflows.parent_step AS parent_step, workflows.parent_item AS parent_item,
    workflows.root_id AS root_id, workflows.depth AS depth, workflows.child_ended_count AS child_ended_count,
    workflows.sub_workflows AS sub_workflows, workflows.sub_workflow_steps AS sub_workflow_steps,
    workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]))
SELECT CASE WHEN (blocks.block = 0) THEN found.id END AS id, CASE WHEN (blocks.block = 0) THEN found.tenant END AS
    tenant, CASE WHEN (blocks.block = 0) THEN found.created_by END AS created_by, CASE WHEN (blocks.block = 0) THEN
    found.origin_instance END AS origin_instance, CASE WHEN (blocks.block = 0) THEN found.origin_zone END AS
    origin_zone, CASE WHEN (blocks.block = 0) THEN found.origin_reference END AS origin_reference, CASE WHEN
    (blocks.block = 0) THEN found.config END AS config, CASE WHEN (blocks.block = 0) THEN
    found.suppress_subtask_events END AS suppress_subtask_events, CASE WHEN (blocks.block = 0) THEN found.total_steps
    END AS total_steps, CASE WHEN (blocks.block = 0) THEN found.final_position END AS final_position, CASE WHEN
    (blocks.block = 0) THEN found.definition_bytes END AS definition_bytes, CASE WHEN (blocks.block = 0) THEN
    found.feature_level END AS feature_level, CASE WHEN (blocks.block = 0) THEN found.evaluates END AS evaluates, CASE
    WHEN (blocks.block = 0) THEN found.has_flow END AS has_flow, CASE WHEN (blocks.block = 0) THEN
    found.stored_definition END AS stored_definition, CASE WHEN (blocks.block = 0) THEN found.reuse END AS reuse, CASE
    WHEN (blocks.block = 0) THEN found.created_at END AS created_at, CASE WHEN (blocks.block = 0) THEN found.status
    END AS status, CASE WHEN (blocks.block = 0) THEN found.name END AS name, CASE WHEN (blocks.block = 0) THEN
    found.description END AS description, CASE WHEN (blocks.block = 0) THEN found.webhook_url END AS webhook_url, CASE
    WHEN (blocks.block = 0) THEN found.completed_steps END AS completed_steps, CASE WHEN (blocks.block = 0) THEN
    found.execution_id END AS execution_id, CASE WHEN (blocks.block = 0) THEN found.failure END AS failure, CASE WHEN
    (blocks.block = 0) THEN found.started_at END AS started_at, CASE WHEN (blocks.block = 0) THEN found.completed_at
    END AS completed_at, CASE WHEN (blocks.block = 0) THEN found.updated_at END AS updated_at, CASE WHEN (blocks.block
    = 0) THEN found.deleted_at END AS deleted_at, CASE WHEN (blocks.block = 0) THEN found.deadline_at END AS
    deadline_at, CASE WHEN (blocks.block = 0) THEN found.timeout_left_s END AS timeout_left_s, CASE WHEN (blocks.block
    = 0) THEN found.owner END AS owner, CASE WHEN (blocks.block = 0) THEN found.epoch END AS epoch, CASE WHEN
    (blocks.block = 0) THEN found.last_event END AS last_event, CASE WHEN (blocks.block = 0) THEN found.crashes END AS
    crashes, CASE WHEN (blocks.block = 0) THEN found.wake_at END AS wake_at, CASE WHEN (blocks.block = 0) THEN
    found.parent_id END AS parent_id, CASE WHEN (blocks.block = 0) THEN found.parent_step END AS parent_step, CASE
    WHEN (blocks.block = 0) THEN found.parent_item END AS parent_item, CASE WHEN (blocks.block = 0) THEN found.root_id
    END AS root_id, CASE WHEN (blocks.block = 0) THEN found.depth END AS depth, CASE WHEN (blocks.block = 0) THEN
    found.child_ended_count END AS child_ended_count, CASE WHEN (blocks.block = 0) THEN found.sub_workflows END AS
    sub_workflows, CASE WHEN (blocks.block = 0) THEN found.sub_workflow_steps END AS sub_workflow_steps, CASE WHEN
    (blocks.block = 0) THEN found.sub_workflow_bytes END AS sub_workflow_bytes, CASE WHEN (blocks.block = 0) THEN
    found.current_step END AS current_step, CASE WHEN (blocks.block = 0) THEN found.step_errors END AS step_errors,
    CASE WHEN (blocks.block = 0) THEN found.fatal_error END AS fatal_error, CASE WHEN (blocks.block = 0) THEN
    found.done_without_result END AS done_without_result, CASE WHEN (blocks.block = 0) THEN found.costs END AS costs,
    CASE WHEN (blocks.block = 0) THEN found.labels END AS labels, CASE WHEN (blocks.block = 0) THEN
    found.final_step_id END AS final_step_id, CASE WHEN (blocks.block = 0) THEN found.items_done END AS items_done,
    CASE WHEN (blocks.block = 0) THEN found.final_step_result END AS final_step_result, CASE WHEN (blocks.block = 0)
    THEN found.waits_for END AS waits_for, blocks.of_workflow, blocks.states
FROM found
JOIN (SELECT steps.workflow_id AS of_workflow, FLOOR(steps.position / 250) AS block,
    convert_to(CAST(json_agg(json_build_array(steps.status, steps.task_id, steps.retry_count, steps.next_attempt_at,
    steps.error_message, steps.started_at, steps.completed_at, steps.updated_at, latest.provider, latest.sent ->>
    'model', CAST(step_costs.costs AS JSON), steps.skip_reason, steps.flow, CASE WHEN steps.for_each IS NOT NULL AND
    steps.flow ->> 'items' IS NOT NULL THEN (SELECT json_build_object('total', count(*), 'pending', count(*) FILTER
    (WHERE i.status IN ('PENDING', 'CANCELLED')), 'running', count(*) FILTER (WHERE i.status = 'RUNNING'),
    'completed', count(*) FILTER (WHERE i.status = 'COMPLETED'), 'failed', count(*) FILTER (WHERE i.status =
    'FAILED'), 'skipped', count(*) FILTER (WHERE i.status = 'SKIPPED'), 'retries', coalesce(sum(i.retry_count), 0))
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) END)
ORDER BY steps.position) AS TEXT), 'UTF8') AS states
FROM steps
LEFT OUTER
JOIN tasks AS latest ON latest.id = steps.task_id
LEFT OUTER
JOIN (SELECT CAST(json_agg(json_build_array(step_sums.currency, step_sums.amount, step_sums.attempts)
ORDER BY step_sums.currency) AS TEXT) AS costs, step_sums.workflow_id AS workflow_id, step_sums.position AS position
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts, tasks.workflow_id AS workflow_id, tasks.position AS position
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = ANY ($11::UUID[])
GROUP BY 1, tasks.workflow_id, tasks.position) AS step_sums
GROUP BY step_sums.workflow_id, step_sums.position) AS step_costs ON step_costs.workflow_id = steps.workflow_id AND
    step_costs.position = steps.position
WHERE steps.workflow_id = ANY ($11::UUID[])
GROUP BY steps.workflow_id, FLOOR(steps.position / 250)) AS blocks ON blocks.of_workflow = found.id
ORDER BY blocks.of_workflow, blocks.block;
--   Nested Loop
--     Join Filter: (found.id = steps.workflow_id)
--     CTE found
--       ->  Nested Loop
--             ->  Index Scan using workflows_pkey on workflows
--                   Index Cond: (id = ANY ($11))
--             ->  Index Scan using steps_pkey on steps final
--                   Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--             SubPlan 1
--               ->  Limit
--                     ->  Sort
--                           Sort Key: steps_1.started_at, steps_1."position"
--                           ->  Index Scan using steps_pkey on steps steps_1
--                                 Index Cond: (workflow_id = workflows.id)
--                                 Filter: (status = ($1)::text)
--             SubPlan 2
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_2
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (status = ($4)::text)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Scan using steps_pkey on steps steps_3
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: ((NOT optional) AND (status = ($4)::text))
--             SubPlan 4
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_4
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--             SubPlan 5
--               ->  Aggregate
--                     ->  Sort
--                           Sort Key: ((tasks_1.cost ->> 'currency'::text))
--                           ->  HashAggregate
--                                 Group Key: (tasks_1.cost ->> 'currency'::text)
--                                 ->  Index Scan using tasks_sent on tasks tasks_1
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Index Only Scan using labels_pkey on labels
--                           Index Cond: (workflow_id = workflows.id)
--             SubPlan 7
--               ->  Aggregate
--                     ->  GroupAggregate
--                           Group Key: s."position"
--                           ->  Nested Loop
--                                 Join Filter: (s."position" = i."position")
--                                 ->  Index Scan using steps_pkey on steps s
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: (workflow_id = workflows.id)
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_1
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_2
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 10
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_3
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 11
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows.id)
--             SubPlan 12
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows.root_id)
--             SubPlan 14
--               ->  Limit
--                     CTE below
--                       ->  Recursive Union
--                             ->  Result
--                             ->  Nested Loop
--                                   ->  WorkTable Scan on below
--                                   ->  Index Only Scan using workflows_by_parent on workflows c
--                                         Index Cond: (parent_id = below.id)
--                     ->  Sort
--                           Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                           ->  Nested Loop
--                                 ->  CTE Scan on below below_1
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                       Index Cond: (workflow_id = below_1.id)
--     ->  GroupAggregate
--           Group Key: steps.workflow_id, (floor(((steps."position" / 250))::double precision))
--           ->  Incremental Sort
--                 Sort Key: steps.workflow_id, (floor(((steps."position" / 250))::double precision)), steps."position"
--                 Presorted Key: steps.workflow_id
--                 ->  Nested Loop Left Join
--                       Join Filter: ((step_sums.workflow_id = steps.workflow_id) AND (step_sums."position" = steps."position"))
--                       ->  Nested Loop Left Join
--                             ->  Index Scan using steps_pkey on steps
--                                   Index Cond: (workflow_id = ANY ($11))
--                             ->  Index Scan using tasks_pkey on tasks latest
--                                   Index Cond: (id = steps.task_id)
--                       ->  Materialize
--                             ->  GroupAggregate
--                                   Group Key: step_sums.workflow_id, step_sums."position"
--                                   ->  Sort
--                                         Sort Key: step_sums.workflow_id, step_sums."position", step_sums.currency
--                                         ->  Subquery Scan on step_sums
--                                               ->  HashAggregate
--                                                     Group Key: (tasks.cost ->> 'currency'::text), tasks.workflow_id, tasks."position"
--                                                     ->  Index Scan using tasks_sent on tasks
--                                                           Index Cond: (workflow_id = ANY ($11))
--                                                           Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--           SubPlan 16
--             ->  Aggregate
--                   ->  Index Scan using step_items_pkey on step_items i_4
--                         Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))
--     ->  CTE Scan on found

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.created_by AS created_by,
    workflows.origin_instance AS origin_instance, workflows.origin_zone AS origin_zone, workflows.origin_reference AS
    origin_reference, workflows.config AS config, workflows.suppress_subtask_events AS suppress_subtask_events,
    workflows.total_steps AS total_steps, workflows.final_position AS final_position, workflows.definition_bytes AS
    definition_bytes, workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow
    AS has_flow, workflows.stored_definition AS stored_definition, workflows.reuse AS reuse, workflows.created_at AS
    created_at, workflows.status AS status, workflows.name AS name, workflows.description AS description,
    workflows.webhook_url AS webhook_url, workflows.completed_steps AS completed_steps, workflows.execution_id AS
    execution_id, workflows.failure AS failure, workflows.started_at AS started_at, workflows.completed_at AS
    completed_at, workflows.updated_at AS updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS
    deadline_at, workflows.timeout_left_s AS timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch,
    workflows.last_event AS last_event, workflows.crashes AS crashes, workflows.wake_at AS wake_at,
    workflows.parent_id AS parent_id, workflows.parent_step AS parent_step, workflows.parent_item AS parent_item,
    workflows.root_id AS root_id, workflows.depth AS depth, workflows.child_ended_count AS child_ended_count,
    workflows.sub_workflows AS sub_workflows, workflows.sub_workflow_steps AS sub_workflow_steps,
    workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]))
SELECT found.id, found.tenant, found.created_by, found.origin_instance, found.origin_zone, found.origin_reference,
    found.config, found.suppress_subtask_events, found.total_steps, found.final_position, found.definition_bytes,
    found.feature_level, found.evaluates, found.has_flow, found.stored_definition, found.reuse, found.created_at,
    found.status, found.name, found.description, found.webhook_url, found.completed_steps, found.execution_id,
    found.failure, found.started_at, found.completed_at, found.updated_at, found.deleted_at, found.deadline_at,
    found.timeout_left_s, found.owner, found.epoch, found.last_event, found.crashes, found.wake_at, found.parent_id,
    found.parent_step, found.parent_item, found.root_id, found.depth, found.child_ended_count, found.sub_workflows,
    found.sub_workflow_steps, found.sub_workflow_bytes, found.current_step, found.step_errors, found.fatal_error,
    found.done_without_result, found.costs, found.labels, found.final_step_id, found.items_done,
    found.final_step_result, found.waits_for
FROM found;
--   CTE Scan on found
--     CTE found
--       ->  Nested Loop
--             ->  Index Scan using workflows_pkey on workflows
--                   Index Cond: (id = ANY ($11))
--             ->  Index Scan using steps_pkey on steps final
--                   Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--             SubPlan 1
--               ->  Limit
--                     ->  Sort
--                           Sort Key: steps.started_at, steps."position"
--                           ->  Index Scan using steps_pkey on steps
--                                 Index Cond: (workflow_id = workflows.id)
--                                 Filter: (status = ($1)::text)
--             SubPlan 2
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_1
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (status = ($4)::text)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Scan using steps_pkey on steps steps_2
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: ((NOT optional) AND (status = ($4)::text))
--             SubPlan 4
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_3
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--             SubPlan 5
--               ->  Aggregate
--                     ->  Sort
--                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                           ->  HashAggregate
--                                 Group Key: (tasks.cost ->> 'currency'::text)
--                                 ->  Index Scan using tasks_sent on tasks
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Index Only Scan using labels_pkey on labels
--                           Index Cond: (workflow_id = workflows.id)
--             SubPlan 7
--               ->  Aggregate
--                     ->  GroupAggregate
--                           Group Key: s."position"
--                           ->  Nested Loop
--                                 Join Filter: (s."position" = i."position")
--                                 ->  Index Scan using steps_pkey on steps s
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: (workflow_id = workflows.id)
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_1
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_2
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 10
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_3
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 11
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows.id)
--             SubPlan 12
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows.root_id)
--             SubPlan 14
--               ->  Limit
--                     CTE below
--                       ->  Recursive Union
--                             ->  Result
--                             ->  Nested Loop
--                                   ->  WorkTable Scan on below
--                                   ->  Index Only Scan using workflows_by_parent on workflows c
--                                         Index Cond: (parent_id = below.id)
--                     ->  Sort
--                           Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                           ->  Nested Loop
--                                 ->  CTE Scan on below below_1
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                       Index Cond: (workflow_id = below_1.id)

WITH gone AS (
DELETE FROM definition_versions
WHERE lane = $1 AND name = $2 ), emptied AS (
UPDATE definitions
SET versions = 0, bytes = 0, default_version = NULL, archived = false, labels = '{}', description = NULL
WHERE lane = $1 AND name = $2 )
SELECT d.name
FROM definitions AS d
WHERE d.lane = $1 AND d.name <> $2 AND EXISTS (
SELECT
FROM definition_versions AS v
WHERE v.lane = d.lane AND v.name = d.name AND v.version IN (d.newest, d.default_version) AND $2 = ANY(v.refers_to) )
ORDER BY d.name COLLATE "C";
--   Sort
--     Sort Key: d.name COLLATE "C"
--     CTE gone
--       ->  Delete on definition_versions
--             ->  Index Scan using definition_versions_pkey on definition_versions
--                   Index Cond: ((lane = $1) AND (name = $2))
--     CTE emptied
--       ->  Update on definitions
--             ->  Index Scan using definitions_pkey on definitions
--                   Index Cond: ((lane = $1) AND (name = $2))
--     ->  Nested Loop Semi Join
--           Join Filter: ((v.version = ANY (ARRAY[d.newest, d.default_version])) AND (d.name = v.name))
--           ->  Index Scan using definitions_pkey on definitions d
--                 Index Cond: (lane = $1)
--                 Filter: (name <> $2)
--           ->  Materialize
--                 ->  Index Scan using definition_versions_pkey on definition_versions v
--                       Index Cond: (lane = $1)
--                       Filter: ($2 = ANY (refers_to))

WITH gone AS (
DELETE FROM uploads
WHERE id = $1 AND status = 'DELETING' AND coalesce(presigned_until <= clock_timestamp(), true)
RETURNING tenant, size + preview_bytes AS bytes )
UPDATE upload_usage AS u
SET bytes = u.bytes - gone.bytes, uploads = u.uploads - 1
FROM gone
WHERE u.lane = coalesce(gone.tenant, '');
--   Update on upload_usage u
--     CTE gone
--       ->  Delete on uploads
--             ->  Index Scan using uploads_pkey on uploads
--                   Index Cond: (id = $1)
--                   Filter: ((status = 'DELETING'::text) AND COALESCE((presigned_until <= clock_timestamp()), true))
--     ->  Nested Loop
--           ->  CTE Scan on gone
--           ->  Index Scan using upload_usage_pkey on upload_usage u
--                 Index Cond: (lane = COALESCE(gone.tenant, ''::text))

WITH gone AS (DELETE FROM processes
WHERE id = $1
RETURNING id)
SELECT pg_notify('stepwell_processes', id::text)
FROM gone;
--   CTE Scan on gone
--     CTE gone
--       ->  Delete on processes
--             ->  Index Scan using processes_pkey on processes
--                   Index Cond: (id = $1)

WITH held AS MATERIALIZED (
SELECT id
FROM workflows
WHERE owner = $1 AND id = ANY($2::uuid[])
ORDER BY depth DESC, id FOR UPDATE ), handed_over AS (
UPDATE workflows AS w
SET owner = '00000000-0000-0000-0000-000000000000', epoch = w.epoch + 1
FROM held
WHERE w.id = held.id
RETURNING w.id )
SELECT pg_notify('stepwell_processes', $1::text)
WHERE EXISTS (SELECT
FROM handed_over);
--   Result
--     One-Time Filter: (InitPlan 3).col1
--     CTE held
--       ->  LockRows
--             ->  Sort
--                   Sort Key: workflows.depth DESC, workflows.id
--                   ->  Index Scan using workflows_by_owner on workflows
--                         Index Cond: ((owner = $1) AND (id = ANY ($2)))
--     CTE handed_over
--       ->  Update on workflows w
--             ->  Nested Loop
--                   ->  CTE Scan on held
--                   ->  Index Scan using workflows_pkey on workflows w
--                         Index Cond: (id = held.id)
--     InitPlan 3
--       ->  CTE Scan on handed_over

WITH keys_held AS MATERIALIZED (
SELECT i.token
FROM commands AS c
JOIN idempotency_keys AS i ON i.scope = c.scope AND i.key = c.key
WHERE c.id = ANY($13::uuid[]) AND i.token = c.token AND i.applied_at IS NULL FOR UPDATE OF i ), waiting AS
    MATERIALIZED (
SELECT id
FROM commands
WHERE id = ANY($13::uuid[]) AND outcome IS NULL AND (token IS NULL OR token IN (SELECT token
FROM keys_held)) FOR UPDATE ), withdrawn AS MATERIALIZED (
SELECT k.workflow_id
FROM unnest($13::uuid[], $14::uuid[]) AS k(id, workflow_id)
WHERE (k.id IN (SELECT id
FROM waiting)) IS NOT TRUE ), written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes
FROM unnest($1::checkpoint_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event AND (w.id IN (SELECT workflow_id
FROM withdrawn)) IS NOT TRUE
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = s.result,
    error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason
FROM unnest($2::checkpoint_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint
FROM unnest($3::checkpoint_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_deliveries AS (
INSERT INTO deliveries (workflow_id, event_id, type, lane, created_at, status, attempts, next_at, owner)
SELECT d.workflow_id, d.event_id, d.type, d.lane, d.created_at, 'PENDING', '[]', d.created_at, $6
FROM unnest($5::checkpoint_delivery[]) AS d
WHERE (d.workflow_id IN (SELECT id
FROM written)) IS TRUE ), used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($7::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE ), begun_cleanups AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at)
SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp()
FROM workflows AS w
WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id
FROM written) ), ended_cleanups AS (
DELETE FROM cleanups
WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id
FROM written) ), old_labels AS (
DELETE FROM labels AS t
WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id
FROM written) AND NOT EXISTS (SELECT
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
WHERE n.workflow_id = t.workflow_id AND n.label = t.label) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT n.workflow_id, n.label, w.created_at
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
JOIN workflows AS w ON w.id = n.workflow_id
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), cost_changes AS (
SELECT coalesce(w.tenant, '') AS tenant, (c.ended_at AT TIME ZONE 'UTC')::date AS day, coalesce(c.provider, '') AS
    provider, coalesce(left(c.sent ->> 'model', 255), '') AS model, coalesce(CASE WHEN w.root_id IS NULL THEN
    w.stored_definition ELSE root.stored_definition END, '') AS definition, c.cost ->> 'currency' AS currency, c.sign
    * (c.cost ->> 'amount')::numeric AS amount, c.sign AS attempts, CASE WHEN c.sign = 0 THEN (c.cost ->>
    'amount')::numeric ELSE 0 END AS saved
FROM (
SELECT 1 AS sign, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM unnest($3::checkpoint_task[]) AS k
WHERE k.cost IS NOT NULL
UNION ALL
SELECT -1, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM tasks AS t
WHERE t.cost IS NOT NULL AND t.id = ANY(SELECT k.id
FROM unnest($3::checkpoint_task[]) AS k
WHERE k.cost IS NOT NULL) ) AS c
JOIN workflows AS w ON w.id = c.workflow_id
LEFT
JOIN workflows AS root ON root.id = w.root_id
WHERE (c.workflow_id IN (SELECT id
FROM written)) IS TRUE ), counted_costs AS (
INSERT INTO daily_costs AS t (tenant, day, provider, model, definition, currency, amount, attempts, saved)
SELECT tenant, day, provider, model, definition, currency, sum(amount), sum(attempts), sum(saved)
FROM cost_changes
GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(amount) <> 0 OR sum(attempts) <> 0 OR sum(saved) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (tenant, day, provider, model, definition, currency) DO UPDATE
SET amount = t.amount + excluded.amount, attempts = t.attempts + excluded.attempts, saved = t.saved + excluded.saved
    ), applied AS (
UPDATE commands AS c
SET outcome = k.outcome::json
FROM unnest($13::uuid[], $14::uuid[], $15::text[]) AS k(id, workflow_id, outcome)
WHERE c.id = k.id AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
RETURNING c.id, c.requester )
SELECT id, clock_timestamp() AS now, (SELECT count(pg_notify('stepwell_process_' || requester, 'ended:' || id))
FROM applied)
FROM written;
--   CTE Scan on written
--     CTE keys_held
--       ->  LockRows
--             ->  Nested Loop
--                   ->  Index Scan using commands_pkey on commands c
--                         Index Cond: (id = ANY ($13))
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys i
--                         Index Cond: ((scope = c.scope) AND (key = c.key))
--                         Filter: ((applied_at IS NULL) AND (token = c.token))
--     CTE waiting
--       ->  LockRows
--             ->  Index Scan using commands_waiting on commands
--                   Filter: ((outcome IS NULL) AND ((token IS NULL) OR (ANY (token = (hashed SubPlan 2).col1))) AND (id = ANY ($13)))
--                   SubPlan 2
--                     ->  CTE Scan on keys_held
--     CTE withdrawn
--       ->  Function Scan on k
--             Filter: ((ANY (id = (hashed SubPlan 4).col1)) IS NOT TRUE)
--             SubPlan 4
--               ->  CTE Scan on waiting
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                         Filter: ((ANY (id = (hashed SubPlan 6).col1)) IS NOT TRUE)
--                         SubPlan 6
--                           ->  CTE Scan on withdrawn
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 8).col1)) IS TRUE)
--                         SubPlan 8
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k_1
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 10).col1)) IS TRUE)
--                   SubPlan 10
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 12).col1)) IS TRUE)
--                   SubPlan 12
--                     ->  CTE Scan on written written_3
--     CTE new_deliveries
--       ->  Insert on deliveries
--             ->  Function Scan on unnest d
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 14).col1)) IS TRUE)
--                   SubPlan 14
--                     ->  CTE Scan on written written_4
--     CTE used_keys
--       ->  Update on idempotency_keys t_2
--             ->  Nested Loop
--                   ->  Function Scan on unnest k_2
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 16).col1)) IS TRUE)
--                         SubPlan 16
--                           ->  CTE Scan on written written_5
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t_2
--                         Index Cond: ((scope = k_2.scope) AND (key = k_2.key))
--                         Filter: (k_2.token = token)
--     CTE begun_cleanups
--       ->  Insert on cleanups
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_6.id
--                               ->  CTE Scan on written written_6
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: ((id = written_6.id) AND (id = ANY ($8)))
--     CTE ended_cleanups
--       ->  Delete on cleanups cleanups_1
--             ->  Nested Loop
--                   ->  HashAggregate
--                         Group Key: written_7.id
--                         ->  CTE Scan on written written_7
--                   ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                         Index Cond: ((workflow_id = written_7.id) AND (workflow_id = ANY ($9)))
--     CTE old_labels
--       ->  Delete on labels t_3
--             ->  Nested Loop Anti Join
--                   Join Filter: ((n.workflow_id = t_3.workflow_id) AND (n.label = t_3.label))
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_8.id
--                               ->  CTE Scan on written written_8
--                         ->  Index Scan using labels_pkey on labels t_3
--                               Index Cond: ((workflow_id = written_8.id) AND (workflow_id = ANY ($10)))
--                   ->  Function Scan on n
--     CTE new_labels
--       ->  Insert on labels
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Function Scan on n_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 21).col1)) IS TRUE)
--                         SubPlan 21
--                           ->  CTE Scan on written written_9
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = n_1.workflow_id)
--     CTE counted_costs
--       ->  Insert on daily_costs t_4
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: daily_costs_pkey
--             ->  GroupAggregate
--                   Group Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                   Filter: ((sum((("*SELECT* 1".sign)::numeric * (("*SELECT* 1".cost ->> 'amount'::text))::numeric)) <> '0'::numeric) OR (sum("*SELECT* 1".sign) <> 0) OR (sum(CASE WHEN ("*SELECT* 1".sign = 0) THEN (("*SELECT* 1".cost ->> 'amount'::text))::numeric ELSE '0'::numeric END) <> '0'::numeric))
--                   ->  Sort
--                         Sort Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  Append
--                                           ->  Subquery Scan on "*SELECT* 1"
--                                                 Filter: ((ANY ("*SELECT* 1".workflow_id = (hashed SubPlan 23).col1)) IS TRUE)
--                                                 ->  Function Scan on unnest k_3
--                                                       Filter: (cost IS NOT NULL)
--                                                 SubPlan 23
--                                                   ->  CTE Scan on written written_10
--                                           ->  Subquery Scan on "*SELECT* 2"
--                                                 Filter: ((ANY ("*SELECT* 2".workflow_id = (hashed SubPlan 23).col1)) IS TRUE)
--                                                 ->  Nested Loop
--                                                       ->  HashAggregate
--                                                             Group Key: k_4.id
--                                                             ->  Function Scan on unnest k_4
--                                                                   Filter: (cost IS NOT NULL)
--                                                       ->  Index Scan using tasks_pkey on tasks t_5
--                                                             Index Cond: (id = k_4.id)
--                                                             Filter: (cost IS NOT NULL)
--                                     ->  Index Scan using workflows_pkey on workflows w_3
--                                           Index Cond: (id = "*SELECT* 1".workflow_id)
--                               ->  Index Scan using workflows_pkey on workflows root
--                                     Index Cond: (id = w_3.root_id)
--     CTE applied
--       ->  Update on commands c_2
--             ->  Nested Loop
--                   ->  Function Scan on k_5
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 25).col1)) IS TRUE)
--                         SubPlan 25
--                           ->  CTE Scan on written written_11
--                   ->  Index Scan using commands_pkey on commands c_2
--                         Index Cond: (id = k_5.id)
--     InitPlan 27
--       ->  Aggregate
--             ->  CTE Scan on applied

WITH keys_held AS MATERIALIZED (
SELECT i.token
FROM commands AS c
JOIN idempotency_keys AS i ON i.scope = c.scope AND i.key = c.key
WHERE c.id = ANY($13::uuid[]) AND i.token = c.token AND i.applied_at IS NULL FOR UPDATE OF i ), waiting AS
    MATERIALIZED (
SELECT id
FROM commands
WHERE id = ANY($13::uuid[]) AND outcome IS NULL AND (token IS NULL OR token IN (SELECT token
FROM keys_held)) FOR UPDATE ), withdrawn AS MATERIALIZED (
SELECT k.workflow_id
FROM unnest($13::uuid[], $14::uuid[]) AS k(id, workflow_id)
WHERE (k.id IN (SELECT id
FROM waiting)) IS NOT TRUE ), written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes, wake_at =
    CASE WHEN t.child_ended_count > w.child_ended_seen AND w.wake_at > clock_timestamp() THEN clock_timestamp() ELSE
    w.wake_at END, has_flow = t.has_flow OR ( t.id IN (SELECT s.workflow_id
FROM unnest($2::checkpoint_flow_step[]) AS s
WHERE s.skip_reason = 'manual') ) IS TRUE
FROM unnest($1::checkpoint_flow_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event AND (w.id IN (SELECT workflow_id
FROM withdrawn)) IS NOT TRUE
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = coalesce(s.result,
    t.result), error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason, flow = s.flow
FROM unnest($2::checkpoint_flow_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint,
    item)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint, k.item
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_deliveries AS (
INSERT INTO deliveries (workflow_id, event_id, type, lane, created_at, status, attempts, next_at, owner)
SELECT d.workflow_id, d.event_id, d.type, d.lane, d.created_at, 'PENDING', '[]', d.created_at, $6
FROM unnest($5::checkpoint_delivery[]) AS d
WHERE (d.workflow_id IN (SELECT id
FROM written)) IS TRUE ), used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($7::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE ), begun_cleanups AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at)
SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp()
FROM workflows AS w
WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id
FROM written) ), ended_cleanups AS (
DELETE FROM cleanups
WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id
FROM written) ), old_labels AS (
DELETE FROM labels AS t
WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id
FROM written) AND NOT EXISTS (SELECT
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
WHERE n.workflow_id = t.workflow_id AND n.label = t.label) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT n.workflow_id, n.label, w.created_at
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
JOIN workflows AS w ON w.id = n.workflow_id
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), cost_changes AS (
SELECT coalesce(w.tenant, '') AS tenant, (c.ended_at AT TIME ZONE 'UTC')::date AS day, coalesce(c.provider, '') AS
    provider, coalesce(left(c.sent ->> 'model', 255), '') AS model, coalesce(CASE WHEN w.root_id IS NULL THEN
    w.stored_definition ELSE root.stored_definition END, '') AS definition, c.cost ->> 'currency' AS currency, c.sign
    * (c.cost ->> 'amount')::numeric AS amount, c.sign AS attempts, CASE WHEN c.sign = 0 THEN (c.cost ->>
    'amount')::numeric ELSE 0 END AS saved
FROM (
SELECT 1 AS sign, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE k.cost IS NOT NULL
UNION ALL
SELECT -1, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM tasks AS t
WHERE t.cost IS NOT NULL AND t.id = ANY(SELECT k.id
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE k.cost IS NOT NULL)
UNION ALL
SELECT 0, e.workflow_id, k.provider, k.sent, e.data -> 'saved', e.at
FROM unnest($4::checkpoint_event[]) AS e
LEFT
JOIN tasks AS k ON k.id = (e.data ->> 'from_task_id')::uuid
WHERE e.type = 'step.reused' AND e.data ->> 'saved' IS NOT NULL ) AS c
JOIN workflows AS w ON w.id = c.workflow_id
LEFT
JOIN workflows AS root ON root.id = w.root_id
WHERE (c.workflow_id IN (SELECT id
FROM written)) IS TRUE ), counted_costs AS (
INSERT INTO daily_costs AS t (tenant, day, provider, model, definition, currency, amount, attempts, saved)
SELECT tenant, day, provider, model, definition, currency, sum(amount), sum(attempts), sum(saved)
FROM cost_changes
GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(amount) <> 0 OR sum(attempts) <> 0 OR sum(saved) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (tenant, day, provider, model, definition, currency) DO UPDATE
SET amount = t.amount + excluded.amount, attempts = t.attempts + excluded.attempts, saved = t.saved + excluded.saved
    ), applied AS (
UPDATE commands AS c
SET outcome = k.outcome::json
FROM unnest($13::uuid[], $14::uuid[], $15::text[]) AS k(id, workflow_id, outcome)
WHERE c.id = k.id AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
RETURNING c.id, c.requester ), new_waits AS (
INSERT INTO waits (workflow_id, position, id, kind, since, until, message, choices, shown, tenant, root_id, step_id)
SELECT n.workflow_id, n.position, n.id, n.kind, n.since, n.until, n.message, n.choices, n.shown, w.tenant,
    coalesce(w.root_id, w.id), s.step_id
FROM unnest($16::checkpoint_wait[]) AS n
JOIN workflows AS w ON w.id = n.workflow_id
JOIN steps AS s ON s.workflow_id = n.workflow_id AND s.position = n.position
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, position) DO UPDATE
SET id = excluded.id, kind = excluded.kind, since = excluded.since, until = excluded.until, message =
    excluded.message, choices = excluded.choices, shown = excluded.shown ), ended_waits AS (
DELETE FROM waits AS t
USING unnest($17::uuid[], $18::int[]) AS n(workflow_id, position)
WHERE t.workflow_id = n.workflow_id AND t.position = n.position AND (n.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_signals AS (
INSERT INTO signals (workflow_id, name, data, sender, at)
SELECT n.workflow_id, n.name, n.data, n.sender, n.at
FROM unnest($19::checkpoint_signal[]) AS n
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, name) DO UPDATE
SET data = excluded.data, sender = excluded.sender, at = excluded.at ), taken_signals AS (
DELETE FROM signals AS t
USING unnest($20::uuid[], $21::text[]) AS n(workflow_id, name)
WHERE t.workflow_id = n.workflow_id AND t.name = n.name AND (n.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_references AS (
INSERT INTO artifact_references (task_id, workflow_id)
SELECT n.task_id, n.workflow_id
FROM unnest($22::uuid[], $23::uuid[]) AS n(task_id, workflow_id)
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), written_items AS (
INSERT INTO step_items AS t (workflow_id, position, item, value, status, task_id, attempt, provider_attempts,
    retry_count, on_fallback, next_attempt_at, result, error_message, started_at, completed_at, updated_at,
    skip_reason, flow)
SELECT n.workflow_id, n.position, n.item, n.value, n.status, n.task_id, n.attempt, n.provider_attempts, n.retry_count,
    n.on_fallback, n.next_attempt_at, n.result, n.error_message, n.started_at, n.completed_at, n.updated_at,
    n.skip_reason, n.flow
FROM unnest($24::checkpoint_item[]) AS n
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, position, item) DO UPDATE
SET status = excluded.status, task_id = excluded.task_id, attempt = excluded.attempt, provider_attempts =
    excluded.provider_attempts, retry_count = excluded.retry_count, on_fallback = excluded.on_fallback,
    next_attempt_at = excluded.next_attempt_at, result = coalesce(excluded.result, t.result), error_message =
    excluded.error_message, started_at = excluded.started_at, completed_at = excluded.completed_at, updated_at =
    excluded.updated_at, skip_reason = excluded.skip_reason, flow = excluded.flow ) , woken_parents AS (
UPDATE workflows AS p
SET child_ended_count = p.child_ended_count + ends.number, wake_at = CASE WHEN p.wake_at > clock_timestamp() THEN
    clock_timestamp() ELSE p.wake_at END
FROM (
SELECT c.parent_id, count(*) AS number
FROM workflows AS c
WHERE c.id IN (SELECT id
FROM written)
GROUP BY 1 ) AS ends
WHERE p.id = ends.parent_id
RETURNING p.id, p.owner )
SELECT id, clock_timestamp() AS now, (SELECT count(pg_notify('stepwell_process_' || requester, 'ended:' || id))
FROM applied), (
SELECT count(pg_notify('stepwell_process_' || owner, 'child_ended:' || id))
FROM woken_parents
WHERE owner <> $6 )
FROM written;
--   CTE Scan on written
--     CTE keys_held
--       ->  LockRows
--             ->  Nested Loop
--                   ->  Index Scan using commands_pkey on commands c
--                         Index Cond: (id = ANY ($13))
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys i
--                         Index Cond: ((scope = c.scope) AND (key = c.key))
--                         Filter: ((applied_at IS NULL) AND (token = c.token))
--     CTE waiting
--       ->  LockRows
--             ->  Index Scan using commands_waiting on commands
--                   Filter: ((outcome IS NULL) AND ((token IS NULL) OR (ANY (token = (hashed SubPlan 2).col1))) AND (id = ANY ($13)))
--                   SubPlan 2
--                     ->  CTE Scan on keys_held
--     CTE withdrawn
--       ->  Function Scan on k
--             Filter: ((ANY (id = (hashed SubPlan 4).col1)) IS NOT TRUE)
--             SubPlan 4
--               ->  CTE Scan on waiting
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                         Filter: ((ANY (id = (hashed SubPlan 7).col1)) IS NOT TRUE)
--                         SubPlan 7
--                           ->  CTE Scan on withdrawn
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--                   SubPlan 6
--                     ->  Function Scan on unnest s
--                           Filter: (skip_reason = 'manual'::text)
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 9).col1)) IS TRUE)
--                         SubPlan 9
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s_1.workflow_id) AND ("position" = s_1."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k_1
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 11).col1)) IS TRUE)
--                   SubPlan 11
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 13).col1)) IS TRUE)
--                   SubPlan 13
--                     ->  CTE Scan on written written_3
--     CTE new_deliveries
--       ->  Insert on deliveries
--             ->  Function Scan on unnest d
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 15).col1)) IS TRUE)
--                   SubPlan 15
--                     ->  CTE Scan on written written_4
--     CTE used_keys
--       ->  Update on idempotency_keys t_2
--             ->  Nested Loop
--                   ->  Function Scan on unnest k_2
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 17).col1)) IS TRUE)
--                         SubPlan 17
--                           ->  CTE Scan on written written_5
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t_2
--                         Index Cond: ((scope = k_2.scope) AND (key = k_2.key))
--                         Filter: (k_2.token = token)
--     CTE begun_cleanups
--       ->  Insert on cleanups
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_6.id
--                               ->  CTE Scan on written written_6
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: ((id = written_6.id) AND (id = ANY ($8)))
--     CTE ended_cleanups
--       ->  Delete on cleanups cleanups_1
--             ->  Nested Loop
--                   ->  HashAggregate
--                         Group Key: written_7.id
--                         ->  CTE Scan on written written_7
--                   ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                         Index Cond: ((workflow_id = written_7.id) AND (workflow_id = ANY ($9)))
--     CTE old_labels
--       ->  Delete on labels t_3
--             ->  Nested Loop Anti Join
--                   Join Filter: ((n.workflow_id = t_3.workflow_id) AND (n.label = t_3.label))
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_8.id
--                               ->  CTE Scan on written written_8
--                         ->  Index Scan using labels_pkey on labels t_3
--                               Index Cond: ((workflow_id = written_8.id) AND (workflow_id = ANY ($10)))
--                   ->  Function Scan on n
--     CTE new_labels
--       ->  Insert on labels
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Function Scan on n_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 22).col1)) IS TRUE)
--                         SubPlan 22
--                           ->  CTE Scan on written written_9
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = n_1.workflow_id)
--     CTE counted_costs
--       ->  Insert on daily_costs t_4
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: daily_costs_pkey
--             ->  GroupAggregate
--                   Group Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                   Filter: ((sum((("*SELECT* 1".sign)::numeric * (("*SELECT* 1".cost ->> 'amount'::text))::numeric)) <> '0'::numeric) OR (sum("*SELECT* 1".sign) <> 0) OR (sum(CASE WHEN ("*SELECT* 1".sign = 0) THEN (("*SELECT* 1".cost ->> 'amount'::text))::numeric ELSE '0'::numeric END) <> '0'::numeric))
--                   ->  Sort
--                         Sort Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  Append
--                                           ->  Subquery Scan on "*SELECT* 1"
--                                                 Filter: ((ANY ("*SELECT* 1".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Function Scan on unnest k_3
--                                                       Filter: (cost IS NOT NULL)
--                                                 SubPlan 24
--                                                   ->  CTE Scan on written written_10
--                                           ->  Subquery Scan on "*SELECT* 2"
--                                                 Filter: ((ANY ("*SELECT* 2".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Nested Loop
--                                                       ->  HashAggregate
--                                                             Group Key: k_4.id
--                                                             ->  Function Scan on unnest k_4
--                                                                   Filter: (cost IS NOT NULL)
--                                                       ->  Index Scan using tasks_pkey on tasks t_5
--                                                             Index Cond: (id = k_4.id)
--                                                             Filter: (cost IS NOT NULL)
--                                           ->  Subquery Scan on "*SELECT* 3"
--                                                 Filter: ((ANY ("*SELECT* 3".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Nested Loop Left Join
--                                                       ->  Function Scan on unnest e_1
--                                                             Filter: (((data ->> 'saved'::text) IS NOT NULL) AND (type = 'step.reused'::text))
--                                                       ->  Index Scan using tasks_pkey on tasks k_5
--                                                             Index Cond: (id = ((e_1.data ->> 'from_task_id'::text))::uuid)
--                                     ->  Index Scan using workflows_pkey on workflows w_3
--                                           Index Cond: (id = "*SELECT* 1".workflow_id)
--                               ->  Index Scan using workflows_pkey on workflows root
--                                     Index Cond: (id = w_3.root_id)
--     CTE applied
--       ->  Update on commands c_2
--             ->  Nested Loop
--                   ->  Function Scan on k_6
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 26).col1)) IS TRUE)
--                         SubPlan 26
--                           ->  CTE Scan on written written_11
--                   ->  Index Scan using commands_pkey on commands c_2
--                         Index Cond: (id = k_6.id)
--     CTE new_waits
--       ->  Insert on waits
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: waits_pkey
--             ->  Nested Loop
--                   Join Filter: (n_2.workflow_id = w_4.id)
--                   ->  Nested Loop
--                         ->  Function Scan on unnest n_2
--                               Filter: ((ANY (workflow_id = (hashed SubPlan 28).col1)) IS TRUE)
--                               SubPlan 28
--                                 ->  CTE Scan on written written_12
--                         ->  Index Scan using steps_pkey on steps s_2
--                               Index Cond: ((workflow_id = n_2.workflow_id) AND ("position" = n_2."position"))
--                   ->  Index Scan using workflows_pkey on workflows w_4
--                         Index Cond: (id = s_2.workflow_id)
--     CTE ended_waits
--       ->  Delete on waits t_6
--             ->  Nested Loop
--                   ->  Function Scan on n_3
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 30).col1)) IS TRUE)
--                         SubPlan 30
--                           ->  CTE Scan on written written_13
--                   ->  Index Scan using waits_pkey on waits t_6
--                         Index Cond: ((workflow_id = n_3.workflow_id) AND ("position" = n_3."position"))
--     CTE new_signals
--       ->  Insert on signals
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: signals_pkey
--             ->  Function Scan on unnest n_4
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 32).col1)) IS TRUE)
--                   SubPlan 32
--                     ->  CTE Scan on written written_14
--     CTE taken_signals
--       ->  Delete on signals t_7
--             ->  Nested Loop
--                   ->  Function Scan on n_5
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 34).col1)) IS TRUE)
--                         SubPlan 34
--                           ->  CTE Scan on written written_15
--                   ->  Index Scan using signals_pkey on signals t_7
--                         Index Cond: ((workflow_id = n_5.workflow_id) AND (name = n_5.name))
--     CTE new_references
--       ->  Insert on artifact_references
--             Conflict Resolution: NOTHING
--             ->  Function Scan on n_6
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 36).col1)) IS TRUE)
--                   SubPlan 36
--                     ->  CTE Scan on written written_16
--     CTE written_items
--       ->  Insert on step_items t_8
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: step_items_pkey
--             ->  Function Scan on unnest n_7
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 38).col1)) IS TRUE)
--                   SubPlan 38
--                     ->  CTE Scan on written written_17
--     CTE woken_parents
--       ->  Update on workflows p
--             ->  Nested Loop
--                   ->  Subquery Scan on ends
--                         ->  HashAggregate
--                               Group Key: c_3.parent_id
--                               ->  Nested Loop
--                                     ->  HashAggregate
--                                           Group Key: written_18.id
--                                           ->  CTE Scan on written written_18
--                                     ->  Index Scan using workflows_pkey on workflows c_3
--                                           Index Cond: (id = written_18.id)
--                   ->  Index Scan using workflows_pkey on workflows p
--                         Index Cond: (id = ends.parent_id)
--     InitPlan 41
--       ->  Aggregate
--             ->  CTE Scan on applied
--     InitPlan 42
--       ->  Aggregate
--             ->  CTE Scan on woken_parents
--                   Filter: (owner <> $6)

WITH keys_held AS MATERIALIZED (
SELECT i.token
FROM commands AS c
JOIN idempotency_keys AS i ON i.scope = c.scope AND i.key = c.key
WHERE c.id = ANY($13::uuid[]) AND i.token = c.token AND i.applied_at IS NULL FOR UPDATE OF i ), waiting AS
    MATERIALIZED (
SELECT id
FROM commands
WHERE id = ANY($13::uuid[]) AND outcome IS NULL AND (token IS NULL OR token IN (SELECT token
FROM keys_held)) FOR UPDATE ), withdrawn AS MATERIALIZED (
SELECT k.workflow_id
FROM unnest($13::uuid[], $14::uuid[]) AS k(id, workflow_id)
WHERE (k.id IN (SELECT id
FROM waiting)) IS NOT TRUE ), written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes, wake_at =
    CASE WHEN t.child_ended_count > w.child_ended_seen AND w.wake_at > clock_timestamp() THEN clock_timestamp() ELSE
    w.wake_at END, has_flow = t.has_flow OR ( t.id IN (SELECT s.workflow_id
FROM unnest($2::checkpoint_flow_step[]) AS s
WHERE s.skip_reason = 'manual') ) IS TRUE
FROM unnest($1::checkpoint_flow_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event AND (w.id IN (SELECT workflow_id
FROM withdrawn)) IS NOT TRUE
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = coalesce(s.result,
    t.result), error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason, flow = s.flow
FROM unnest($2::checkpoint_flow_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint,
    item)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint, k.item
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_deliveries AS (
INSERT INTO deliveries (workflow_id, event_id, type, lane, created_at, status, attempts, next_at, owner)
SELECT d.workflow_id, d.event_id, d.type, d.lane, d.created_at, 'PENDING', '[]', d.created_at, $6
FROM unnest($5::checkpoint_delivery[]) AS d
WHERE (d.workflow_id IN (SELECT id
FROM written)) IS TRUE ), used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($7::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE ), begun_cleanups AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at)
SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp()
FROM workflows AS w
WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id
FROM written) ), ended_cleanups AS (
DELETE FROM cleanups
WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id
FROM written) ), old_labels AS (
DELETE FROM labels AS t
WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id
FROM written) AND NOT EXISTS (SELECT
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
WHERE n.workflow_id = t.workflow_id AND n.label = t.label) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT n.workflow_id, n.label, w.created_at
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
JOIN workflows AS w ON w.id = n.workflow_id
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), cost_changes AS (
SELECT coalesce(w.tenant, '') AS tenant, (c.ended_at AT TIME ZONE 'UTC')::date AS day, coalesce(c.provider, '') AS
    provider, coalesce(left(c.sent ->> 'model', 255), '') AS model, coalesce(CASE WHEN w.root_id IS NULL THEN
    w.stored_definition ELSE root.stored_definition END, '') AS definition, c.cost ->> 'currency' AS currency, c.sign
    * (c.cost ->> 'amount')::numeric AS amount, c.sign AS attempts, CASE WHEN c.sign = 0 THEN (c.cost ->>
    'amount')::numeric ELSE 0 END AS saved
FROM (
SELECT 1 AS sign, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE k.cost IS NOT NULL
UNION ALL
SELECT -1, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM tasks AS t
WHERE t.cost IS NOT NULL AND t.id = ANY(SELECT k.id
FROM unnest($3::checkpoint_flow_task[]) AS k
WHERE k.cost IS NOT NULL)
UNION ALL
SELECT 0, e.workflow_id, k.provider, k.sent, e.data -> 'saved', e.at
FROM unnest($4::checkpoint_event[]) AS e
LEFT
JOIN tasks AS k ON k.id = (e.data ->> 'from_task_id')::uuid
WHERE e.type = 'step.reused' AND e.data ->> 'saved' IS NOT NULL ) AS c
JOIN workflows AS w ON w.id = c.workflow_id
LEFT
JOIN workflows AS root ON root.id = w.root_id
WHERE (c.workflow_id IN (SELECT id
FROM written)) IS TRUE ), counted_costs AS (
INSERT INTO daily_costs AS t (tenant, day, provider, model, definition, currency, amount, attempts, saved)
SELECT tenant, day, provider, model, definition, currency, sum(amount), sum(attempts), sum(saved)
FROM cost_changes
GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(amount) <> 0 OR sum(attempts) <> 0 OR sum(saved) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (tenant, day, provider, model, definition, currency) DO UPDATE
SET amount = t.amount + excluded.amount, attempts = t.attempts + excluded.attempts, saved = t.saved + excluded.saved
    ), applied AS (
UPDATE commands AS c
SET outcome = k.outcome::json
FROM unnest($13::uuid[], $14::uuid[], $15::text[]) AS k(id, workflow_id, outcome)
WHERE c.id = k.id AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
RETURNING c.id, c.requester ), new_waits AS (
INSERT INTO waits (workflow_id, position, id, kind, since, until, message, choices, shown, tenant, root_id, step_id)
SELECT n.workflow_id, n.position, n.id, n.kind, n.since, n.until, n.message, n.choices, n.shown, w.tenant,
    coalesce(w.root_id, w.id), s.step_id
FROM unnest($16::checkpoint_wait[]) AS n
JOIN workflows AS w ON w.id = n.workflow_id
JOIN steps AS s ON s.workflow_id = n.workflow_id AND s.position = n.position
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, position) DO UPDATE
SET id = excluded.id, kind = excluded.kind, since = excluded.since, until = excluded.until, message =
    excluded.message, choices = excluded.choices, shown = excluded.shown ), ended_waits AS (
DELETE FROM waits AS t
USING unnest($17::uuid[], $18::int[]) AS n(workflow_id, position)
WHERE t.workflow_id = n.workflow_id AND t.position = n.position AND (n.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_signals AS (
INSERT INTO signals (workflow_id, name, data, sender, at)
SELECT n.workflow_id, n.name, n.data, n.sender, n.at
FROM unnest($19::checkpoint_signal[]) AS n
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, name) DO UPDATE
SET data = excluded.data, sender = excluded.sender, at = excluded.at ), taken_signals AS (
DELETE FROM signals AS t
USING unnest($20::uuid[], $21::text[]) AS n(workflow_id, name)
WHERE t.workflow_id = n.workflow_id AND t.name = n.name AND (n.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_references AS (
INSERT INTO artifact_references (task_id, workflow_id)
SELECT n.task_id, n.workflow_id
FROM unnest($22::uuid[], $23::uuid[]) AS n(task_id, workflow_id)
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), written_items AS (
INSERT INTO step_items AS t (workflow_id, position, item, value, status, task_id, attempt, provider_attempts,
    retry_count, on_fallback, next_attempt_at, result, error_message, started_at, completed_at, updated_at,
    skip_reason, flow)
SELECT n.workflow_id, n.position, n.item, n.value, n.status, n.task_id, n.attempt, n.provider_attempts, n.retry_count,
    n.on_fallback, n.next_attempt_at, n.result, n.error_message, n.started_at, n.completed_at, n.updated_at,
    n.skip_reason, n.flow
FROM unnest($24::checkpoint_item[]) AS n
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (workflow_id, position, item) DO UPDATE
SET status = excluded.status, task_id = excluded.task_id, attempt = excluded.attempt, provider_attempts =
    excluded.provider_attempts, retry_count = excluded.retry_count, on_fallback = excluded.on_fallback,
    next_attempt_at = excluded.next_attempt_at, result = coalesce(excluded.result, t.result), error_message =
    excluded.error_message, started_at = excluded.started_at, completed_at = excluded.completed_at, updated_at =
    excluded.updated_at, skip_reason = excluded.skip_reason, flow = excluded.flow )
SELECT id, clock_timestamp() AS now, (SELECT count(pg_notify('stepwell_process_' || requester, 'ended:' || id))
FROM applied)
FROM written;
--   CTE Scan on written
--     CTE keys_held
--       ->  LockRows
--             ->  Nested Loop
--                   ->  Index Scan using commands_pkey on commands c
--                         Index Cond: (id = ANY ($13))
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys i
--                         Index Cond: ((scope = c.scope) AND (key = c.key))
--                         Filter: ((applied_at IS NULL) AND (token = c.token))
--     CTE waiting
--       ->  LockRows
--             ->  Index Scan using commands_waiting on commands
--                   Filter: ((outcome IS NULL) AND ((token IS NULL) OR (ANY (token = (hashed SubPlan 2).col1))) AND (id = ANY ($13)))
--                   SubPlan 2
--                     ->  CTE Scan on keys_held
--     CTE withdrawn
--       ->  Function Scan on k
--             Filter: ((ANY (id = (hashed SubPlan 4).col1)) IS NOT TRUE)
--             SubPlan 4
--               ->  CTE Scan on waiting
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                         Filter: ((ANY (id = (hashed SubPlan 7).col1)) IS NOT TRUE)
--                         SubPlan 7
--                           ->  CTE Scan on withdrawn
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--                   SubPlan 6
--                     ->  Function Scan on unnest s
--                           Filter: (skip_reason = 'manual'::text)
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 9).col1)) IS TRUE)
--                         SubPlan 9
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s_1.workflow_id) AND ("position" = s_1."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k_1
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 11).col1)) IS TRUE)
--                   SubPlan 11
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 13).col1)) IS TRUE)
--                   SubPlan 13
--                     ->  CTE Scan on written written_3
--     CTE new_deliveries
--       ->  Insert on deliveries
--             ->  Function Scan on unnest d
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 15).col1)) IS TRUE)
--                   SubPlan 15
--                     ->  CTE Scan on written written_4
--     CTE used_keys
--       ->  Update on idempotency_keys t_2
--             ->  Nested Loop
--                   ->  Function Scan on unnest k_2
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 17).col1)) IS TRUE)
--                         SubPlan 17
--                           ->  CTE Scan on written written_5
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t_2
--                         Index Cond: ((scope = k_2.scope) AND (key = k_2.key))
--                         Filter: (k_2.token = token)
--     CTE begun_cleanups
--       ->  Insert on cleanups
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_6.id
--                               ->  CTE Scan on written written_6
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: ((id = written_6.id) AND (id = ANY ($8)))
--     CTE ended_cleanups
--       ->  Delete on cleanups cleanups_1
--             ->  Nested Loop
--                   ->  HashAggregate
--                         Group Key: written_7.id
--                         ->  CTE Scan on written written_7
--                   ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                         Index Cond: ((workflow_id = written_7.id) AND (workflow_id = ANY ($9)))
--     CTE old_labels
--       ->  Delete on labels t_3
--             ->  Nested Loop Anti Join
--                   Join Filter: ((n.workflow_id = t_3.workflow_id) AND (n.label = t_3.label))
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_8.id
--                               ->  CTE Scan on written written_8
--                         ->  Index Scan using labels_pkey on labels t_3
--                               Index Cond: ((workflow_id = written_8.id) AND (workflow_id = ANY ($10)))
--                   ->  Function Scan on n
--     CTE new_labels
--       ->  Insert on labels
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Function Scan on n_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 22).col1)) IS TRUE)
--                         SubPlan 22
--                           ->  CTE Scan on written written_9
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = n_1.workflow_id)
--     CTE counted_costs
--       ->  Insert on daily_costs t_4
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: daily_costs_pkey
--             ->  GroupAggregate
--                   Group Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                   Filter: ((sum((("*SELECT* 1".sign)::numeric * (("*SELECT* 1".cost ->> 'amount'::text))::numeric)) <> '0'::numeric) OR (sum("*SELECT* 1".sign) <> 0) OR (sum(CASE WHEN ("*SELECT* 1".sign = 0) THEN (("*SELECT* 1".cost ->> 'amount'::text))::numeric ELSE '0'::numeric END) <> '0'::numeric))
--                   ->  Sort
--                         Sort Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  Append
--                                           ->  Subquery Scan on "*SELECT* 1"
--                                                 Filter: ((ANY ("*SELECT* 1".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Function Scan on unnest k_3
--                                                       Filter: (cost IS NOT NULL)
--                                                 SubPlan 24
--                                                   ->  CTE Scan on written written_10
--                                           ->  Subquery Scan on "*SELECT* 2"
--                                                 Filter: ((ANY ("*SELECT* 2".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Nested Loop
--                                                       ->  HashAggregate
--                                                             Group Key: k_4.id
--                                                             ->  Function Scan on unnest k_4
--                                                                   Filter: (cost IS NOT NULL)
--                                                       ->  Index Scan using tasks_pkey on tasks t_5
--                                                             Index Cond: (id = k_4.id)
--                                                             Filter: (cost IS NOT NULL)
--                                           ->  Subquery Scan on "*SELECT* 3"
--                                                 Filter: ((ANY ("*SELECT* 3".workflow_id = (hashed SubPlan 24).col1)) IS TRUE)
--                                                 ->  Nested Loop Left Join
--                                                       ->  Function Scan on unnest e_1
--                                                             Filter: (((data ->> 'saved'::text) IS NOT NULL) AND (type = 'step.reused'::text))
--                                                       ->  Index Scan using tasks_pkey on tasks k_5
--                                                             Index Cond: (id = ((e_1.data ->> 'from_task_id'::text))::uuid)
--                                     ->  Index Scan using workflows_pkey on workflows w_3
--                                           Index Cond: (id = "*SELECT* 1".workflow_id)
--                               ->  Index Scan using workflows_pkey on workflows root
--                                     Index Cond: (id = w_3.root_id)
--     CTE applied
--       ->  Update on commands c_2
--             ->  Nested Loop
--                   ->  Function Scan on k_6
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 26).col1)) IS TRUE)
--                         SubPlan 26
--                           ->  CTE Scan on written written_11
--                   ->  Index Scan using commands_pkey on commands c_2
--                         Index Cond: (id = k_6.id)
--     CTE new_waits
--       ->  Insert on waits
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: waits_pkey
--             ->  Nested Loop
--                   Join Filter: (n_2.workflow_id = w_4.id)
--                   ->  Nested Loop
--                         ->  Function Scan on unnest n_2
--                               Filter: ((ANY (workflow_id = (hashed SubPlan 28).col1)) IS TRUE)
--                               SubPlan 28
--                                 ->  CTE Scan on written written_12
--                         ->  Index Scan using steps_pkey on steps s_2
--                               Index Cond: ((workflow_id = n_2.workflow_id) AND ("position" = n_2."position"))
--                   ->  Index Scan using workflows_pkey on workflows w_4
--                         Index Cond: (id = s_2.workflow_id)
--     CTE ended_waits
--       ->  Delete on waits t_6
--             ->  Nested Loop
--                   ->  Function Scan on n_3
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 30).col1)) IS TRUE)
--                         SubPlan 30
--                           ->  CTE Scan on written written_13
--                   ->  Index Scan using waits_pkey on waits t_6
--                         Index Cond: ((workflow_id = n_3.workflow_id) AND ("position" = n_3."position"))
--     CTE new_signals
--       ->  Insert on signals
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: signals_pkey
--             ->  Function Scan on unnest n_4
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 32).col1)) IS TRUE)
--                   SubPlan 32
--                     ->  CTE Scan on written written_14
--     CTE taken_signals
--       ->  Delete on signals t_7
--             ->  Nested Loop
--                   ->  Function Scan on n_5
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 34).col1)) IS TRUE)
--                         SubPlan 34
--                           ->  CTE Scan on written written_15
--                   ->  Index Scan using signals_pkey on signals t_7
--                         Index Cond: ((workflow_id = n_5.workflow_id) AND (name = n_5.name))
--     CTE new_references
--       ->  Insert on artifact_references
--             Conflict Resolution: NOTHING
--             ->  Function Scan on n_6
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 36).col1)) IS TRUE)
--                   SubPlan 36
--                     ->  CTE Scan on written written_16
--     CTE written_items
--       ->  Insert on step_items t_8
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: step_items_pkey
--             ->  Function Scan on unnest n_7
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 38).col1)) IS TRUE)
--                   SubPlan 38
--                     ->  CTE Scan on written written_17
--     InitPlan 40
--       ->  Aggregate
--             ->  CTE Scan on applied

WITH known AS MATERIALIZED (
SELECT lease_until > clock_timestamp() + make_interval(secs => coalesce($2::float8, 0) / 2) AS alive
FROM processes
WHERE id = $1 ), renewed AS (
INSERT INTO processes (id, lease_until)
VALUES ($1, coalesce(clock_timestamp() + make_interval(secs => $2::float8), 'infinity'))
ON CONFLICT (id) DO UPDATE
SET lease_until = excluded.lease_until
RETURNING id )
SELECT pg_notify('stepwell_processes', id::text)
FROM renewed
WHERE NOT EXISTS (SELECT
FROM known
WHERE alive);
--   Result
--     One-Time Filter: (NOT (InitPlan 3).col1)
--     CTE known
--       ->  Index Scan using processes_pkey on processes
--             Index Cond: (id = $1)
--     CTE renewed
--       ->  Insert on processes processes_1
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: processes_pkey
--             ->  Result
--     InitPlan 3
--       ->  CTE Scan on known
--             Filter: alive
--     ->  CTE Scan on renewed

WITH locked AS MATERIALIZED (
SELECT id
FROM uploads
WHERE id = ANY($1::uuid[]) AND status = 'STORED'
ORDER BY id FOR UPDATE )
UPDATE uploads AS u
SET used_at = clock_timestamp(), expires_at = greatest(u.expires_at, clock_timestamp() + make_interval(secs =>
    u.ttl_s))
FROM locked
WHERE u.id = locked.id
RETURNING u.id;
--   Update on uploads u
--     CTE locked
--       ->  LockRows
--             ->  Sort
--                   Sort Key: uploads.id
--                   ->  Index Scan using uploads_by_tenant on uploads
--                         Index Cond: (id = ANY ($1))
--                         Filter: (status = 'STORED'::text)
--     ->  Nested Loop
--           ->  CTE Scan on locked
--           ->  Index Scan using uploads_pkey on uploads u
--                 Index Cond: (id = locked.id)

WITH locked AS MATERIALIZED (
SELECT w.id
FROM workflows AS w
WHERE w.id = ANY($2::uuid[])
ORDER BY w.depth DESC, w.id FOR UPDATE ), mine AS MATERIALIZED (
SELECT c.workflow_id, c.purged_by, nullif(c.lane, '') AS tenant
FROM cleanups AS c
WHERE c.owner = $1 AND c.purge AND c.workflow_id = ANY($2::uuid[]) AND (SELECT count(*)
FROM locked) >= 0
ORDER BY c.workflow_id FOR UPDATE ), gone AS (
DELETE FROM workflows AS w
USING mine
WHERE w.id = mine.workflow_id AND w.owner IS NULL AND w.deleted_at IS NOT NULL AND NOT EXISTS (SELECT
FROM tasks AS k
WHERE k.workflow_id = w.id AND k.follow_up_until IS NOT NULL)
RETURNING w.id, w.tenant, mine.purged_by ), free AS MATERIALIZED (
SELECT mine.workflow_id AS id, coalesce(gone.tenant, mine.tenant) AS tenant, mine.purged_by IS NOT NULL AS forced
FROM mine
LEFT
JOIN gone ON gone.id = mine.workflow_id
WHERE gone.id IS NOT NULL OR NOT EXISTS (SELECT
FROM workflows AS w
WHERE w.id = mine.workflow_id) ), recorded AS (
INSERT INTO deletions (workflow_id, actor, at)
SELECT id, purged_by, clock_timestamp()
FROM gone
WHERE purged_by IS NOT NULL
ON CONFLICT DO NOTHING ), old_steps AS (
DELETE FROM steps
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN steps AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_step_items AS (
DELETE FROM step_items
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN step_items AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_events AS (
DELETE FROM events
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN events AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING workflow_id ), old_tasks AS (
DELETE FROM tasks
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN tasks AS t ON t.workflow_id = free.id
LIMIT $3 ))
RETURNING id, workflow_id, outputs, deleted_at ), old_deliveries AS (
DELETE FROM deliveries
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN deliveries AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_idempotency_keys AS (
DELETE FROM idempotency_keys
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN idempotency_keys AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_commands AS (
DELETE FROM commands
WHERE ctid = ANY (ARRAY(
SELECT t.ctid
FROM free
JOIN commands AS t ON t.workflow_id = free.id
LIMIT $3 FOR UPDATE OF t SKIP LOCKED ))
RETURNING workflow_id ), old_labels AS (DELETE FROM labels AS t
USING free
WHERE t.workflow_id = free.id), old_waits AS (DELETE FROM waits AS t
USING free
WHERE t.workflow_id = free.id), old_signals AS (DELETE FROM signals AS t
USING free
WHERE t.workflow_id = free.id), old_budgets AS (
DELETE FROM budgets AS b
USING free
WHERE b.scope = free.id::text ), new_removals AS (
INSERT INTO file_removals AS f (task_id, workflow_id, tenant, outputs, forced)
SELECT k.id, k.workflow_id, free.tenant, k.outputs, free.forced
FROM old_tasks AS k
JOIN free ON free.id = k.workflow_id
WHERE k.deleted_at IS NULL AND k.outputs::text <> '[]'
ON CONFLICT (task_id) DO UPDATE
SET forced = f.forced OR excluded.forced
RETURNING workflow_id ), is_limited AS (
SELECT greatest( (SELECT count(*)
FROM old_steps), (SELECT count(*)
FROM old_step_items), (SELECT count(*)
FROM old_events), (SELECT count(*)
FROM old_tasks) ) >= $3 OR (SELECT count(*)
FROM old_deliveries) < (SELECT count(*)
FROM free
JOIN deliveries AS t ON t.workflow_id = free.id) OR (SELECT count(*)
FROM old_idempotency_keys) < (SELECT count(*)
FROM free
JOIN idempotency_keys AS t ON t.workflow_id = free.id) OR (SELECT count(*)
FROM old_commands) < (SELECT count(*)
FROM free
JOIN commands AS t ON t.workflow_id = free.id) AS yes )
SELECT free.id, is_limited.yes OR free.id IN (SELECT id
FROM gone) AS unfinished
FROM free, is_limited;
--   CTE Scan on free
--     CTE locked
--       ->  LockRows
--             ->  Sort
--                   Sort Key: w.depth DESC, w.id
--                   ->  Index Scan using workflows_pkey on workflows w
--                         Index Cond: (id = ANY ($2))
--     CTE mine
--       ->  LockRows
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on locked
--             ->  Sort
--                   Sort Key: c.workflow_id
--                   ->  Result
--                         One-Time Filter: ((InitPlan 2).col1 >= 0)
--                         ->  Index Scan using cleanups_due on cleanups c
--                               Index Cond: (owner = $1)
--                               Filter: (purge AND (workflow_id = ANY ($2)))
--     CTE gone
--       ->  Delete on workflows w_1
--             ->  Nested Loop Anti Join
--                   ->  Nested Loop
--                         ->  CTE Scan on mine
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: (id = mine.workflow_id)
--                               Filter: ((owner IS NULL) AND (deleted_at IS NOT NULL))
--                   ->  Index Scan using tasks_to_follow_up on tasks k
--                         Index Cond: (workflow_id = w_1.id)
--                         Filter: (follow_up_until IS NOT NULL)
--     CTE free
--       ->  Nested Loop Left Join
--             Join Filter: (gone.id = mine_1.workflow_id)
--             Filter: ((gone.id IS NOT NULL) OR (NOT EXISTS(SubPlan 5)))
--             ->  CTE Scan on mine mine_1
--             ->  CTE Scan on gone
--             SubPlan 5
--               ->  Index Only Scan using workflows_pkey on workflows w_2
--                     Index Cond: (id = mine_1.workflow_id)
--     CTE recorded
--       ->  Insert on deletions
--             Conflict Resolution: NOTHING
--             ->  CTE Scan on gone gone_1
--                   Filter: (purged_by IS NOT NULL)
--     CTE old_steps
--       ->  Delete on steps
--             InitPlan 9
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_1
--                           ->  Index Scan using steps_pkey on steps t
--                                 Index Cond: (workflow_id = free_1.id)
--             ->  Tid Scan on steps
--                   TID Cond: (ctid = ANY ((InitPlan 9).col1))
--     CTE old_step_items
--       ->  Delete on step_items
--             InitPlan 11
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_2
--                           ->  Index Scan using step_items_pkey on step_items t_1
--                                 Index Cond: (workflow_id = free_2.id)
--             ->  Tid Scan on step_items
--                   TID Cond: (ctid = ANY ((InitPlan 11).col1))
--     CTE old_events
--       ->  Delete on events
--             InitPlan 13
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_3
--                           ->  Index Scan using events_pkey on events t_2
--                                 Index Cond: (workflow_id = free_3.id)
--             ->  Tid Scan on events
--                   TID Cond: (ctid = ANY ((InitPlan 13).col1))
--     CTE old_tasks
--       ->  Delete on tasks
--             InitPlan 15
--               ->  Limit
--                     ->  Nested Loop
--                           ->  CTE Scan on free free_4
--                           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t_3
--                                 Index Cond: (workflow_id = free_4.id)
--             ->  Tid Scan on tasks
--                   TID Cond: (ctid = ANY ((InitPlan 15).col1))
--     CTE old_deliveries
--       ->  Delete on deliveries
--             InitPlan 17
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_5
--                                 ->  Index Scan using deliveries_pkey on deliveries t_4
--                                       Index Cond: (workflow_id = free_5.id)
--             ->  Tid Scan on deliveries
--                   TID Cond: (ctid = ANY ((InitPlan 17).col1))
--     CTE old_idempotency_keys
--       ->  Delete on idempotency_keys
--             InitPlan 19
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_6
--                                 ->  Index Scan using idempotency_keys_by_workflow_id on idempotency_keys t_5
--                                       Index Cond: (workflow_id = free_6.id)
--             ->  Tid Scan on idempotency_keys
--                   TID Cond: (ctid = ANY ((InitPlan 19).col1))
--     CTE old_commands
--       ->  Delete on commands
--             InitPlan 21
--               ->  Limit
--                     ->  LockRows
--                           ->  Nested Loop
--                                 ->  CTE Scan on free free_7
--                                 ->  Index Scan using commands_by_workflow_id on commands t_6
--                                       Index Cond: (workflow_id = free_7.id)
--             ->  Tid Scan on commands
--                   TID Cond: (ctid = ANY ((InitPlan 21).col1))
--     CTE old_labels
--       ->  Delete on labels t_7
--             ->  Nested Loop
--                   ->  CTE Scan on free free_8
--                   ->  Index Scan using labels_pkey on labels t_7
--                         Index Cond: (workflow_id = free_8.id)
--     CTE old_waits
--       ->  Delete on waits t_8
--             ->  Nested Loop
--                   ->  CTE Scan on free free_9
--                   ->  Index Scan using waits_pkey on waits t_8
--                         Index Cond: (workflow_id = free_9.id)
--     CTE old_signals
--       ->  Delete on signals t_9
--             ->  Nested Loop
--                   ->  CTE Scan on free free_10
--                   ->  Index Scan using signals_pkey on signals t_9
--                         Index Cond: (workflow_id = free_10.id)
--     CTE old_budgets
--       ->  Delete on budgets b
--             ->  Nested Loop
--                   ->  CTE Scan on free free_11
--                   ->  Index Scan using budgets_pkey on budgets b
--                         Index Cond: (scope = (free_11.id)::text)
--     CTE new_removals
--       ->  Insert on file_removals f
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: file_removals_pkey
--             ->  Nested Loop
--                   Join Filter: (k_1.workflow_id = free_12.id)
--                   ->  CTE Scan on old_tasks k_1
--                         Filter: ((deleted_at IS NULL) AND ((outputs)::text <> '[]'::text))
--                   ->  CTE Scan on free free_12
--     InitPlan 28
--       ->  Aggregate
--             ->  CTE Scan on old_steps
--     InitPlan 29
--       ->  Aggregate
--             ->  CTE Scan on old_step_items
--     InitPlan 30
--       ->  Aggregate
--             ->  CTE Scan on old_events
--     InitPlan 31
--       ->  Aggregate
--             ->  CTE Scan on old_tasks
--     InitPlan 32
--       ->  Aggregate
--             ->  CTE Scan on old_deliveries
--     InitPlan 33
--       ->  Aggregate
--             ->  Nested Loop
--                   ->  CTE Scan on free free_13
--                   ->  Index Only Scan using deliveries_pkey on deliveries t_10
--                         Index Cond: (workflow_id = free_13.id)
--     InitPlan 34
--       ->  Aggregate
--             ->  CTE Scan on old_idempotency_keys
--     InitPlan 35
--       ->  Aggregate
--             ->  Nested Loop
--                   ->  CTE Scan on free free_14
--                   ->  Index Only Scan using idempotency_keys_by_workflow_id on idempotency_keys t_11
--                         Index Cond: (workflow_id = free_14.id)
--     InitPlan 36
--       ->  Aggregate
--             ->  CTE Scan on old_commands
--     InitPlan 37
--       ->  Aggregate
--             ->  Nested Loop
--                   ->  CTE Scan on free free_15
--                   ->  Index Only Scan using commands_by_workflow_id on commands t_12
--                         Index Cond: (workflow_id = free_15.id)
--     SubPlan 38
--       ->  CTE Scan on gone gone_2

WITH mine AS (
INSERT INTO idempotency_keys AS t (scope, key, token, owner, fingerprint, workflow_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
ON CONFLICT (scope, key) DO UPDATE
SET token = excluded.token, owner = excluded.owner, fingerprint = excluded.fingerprint, workflow_id =
    excluded.workflow_id, created_at = now(), applied_at = NULL, status = NULL, headers = NULL, body = NULL
WHERE t.created_at < now() - interval '48 hours' OR ( t.fingerprint = excluded.fingerprint AND t.applied_at IS NULL
    AND t.status IS NULL AND (t.owner = excluded.owner AND t.token < excluded.token OR t.created_at < now() - interval
    '5 minutes' OR NOT EXISTS (SELECT
FROM processes AS p
WHERE p.id = t.owner AND p.lease_until > clock_timestamp())) )
RETURNING true )
SELECT EXISTS (SELECT
FROM mine) AS mine, EXISTS (SELECT
FROM idempotency_keys AS e
WHERE e.created_at < now() - interval '48 hours' AND (e.scope, e.key) <> ($1, $2)) AS some_expired, t.token,
    t.fingerprint, t.applied_at, t.workflow_id, t.status, t.headers, t.body, t.created_at < now() - interval '48
    hours' AS expired, t.owner <> $4 AND EXISTS (SELECT
FROM processes AS p
WHERE p.id = t.owner AND p.lease_until > clock_timestamp()) AND NOT t.created_at < now() - interval '5 minutes' AS
    elsewhere
FROM (VALUES (1)) AS always
LEFT
JOIN idempotency_keys AS t ON t.scope = $1 AND t.key = $2;
--   Nested Loop Left Join
--     CTE mine
--       ->  Insert on idempotency_keys t_1
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: idempotency_keys_pkey
--             Conflict Filter: ((t_1.created_at < (now() - '48:00:00'::interval)) OR ((t_1.fingerprint = excluded.fingerprint) AND (t_1.applied_at IS NULL) AND (t_1.status IS NULL) AND (((t_1.owner = excluded.owner) AND (t_1.token < excluded.token)) OR (t_1.created_at < (now() - '00:05:00'::interval)) OR (NOT EXISTS(SubPlan 1)))))
--             ->  Result
--             SubPlan 1
--               ->  Index Scan using processes_pkey on processes p
--                     Index Cond: (id = t_1.owner)
--                     Filter: (lease_until > clock_timestamp())
--     InitPlan 3
--       ->  CTE Scan on mine
--     InitPlan 4
--       ->  Index Scan using idempotency_keys_by_created_at on idempotency_keys e
--             Index Cond: (created_at < (now() - '48:00:00'::interval))
--             Filter: ((scope <> $1) OR (key <> $2))
--     ->  Result
--     ->  Index Scan using idempotency_keys_pkey on idempotency_keys t
--           Index Cond: ((scope = $1) AND (key = $2))
--     SubPlan 5
--       ->  Index Scan using processes_pkey on processes p_1
--             Index Cond: (id = t.owner)
--             Filter: (lease_until > clock_timestamp())

WITH mine AS (
UPDATE cleanups
SET deleted = deleted + $4, gone = gone + $5
WHERE workflow_id = $2 AND owner = $1
RETURNING workflow_id ), kept AS (
INSERT INTO file_removals (task_id, workflow_id, tenant, outputs)
SELECT k.id, w.id, w.tenant, k.outputs
FROM mine
JOIN workflows AS w ON w.id = mine.workflow_id
JOIN tasks AS k ON k.workflow_id = w.id AND k.id = ANY($6::uuid[])
ON CONFLICT DO NOTHING )
UPDATE tasks AS t
SET deleted_at = clock_timestamp()
FROM mine
WHERE t.workflow_id = mine.workflow_id AND t.id = ANY($3::uuid[]) AND t.deleted_at IS NULL;
--   Update on tasks t
--     CTE mine
--       ->  Update on cleanups
--             ->  Index Scan using cleanups_pkey on cleanups
--                   Index Cond: (workflow_id = $2)
--                   Filter: (owner = $1)
--     CTE kept
--       ->  Insert on file_removals
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Nested Loop
--                         ->  CTE Scan on mine mine_1
--                         ->  Index Scan using workflows_pkey on workflows w
--                               Index Cond: (id = mine_1.workflow_id)
--                   ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks k
--                         Index Cond: (workflow_id = w.id)
--                         Filter: (id = ANY ($6))
--     ->  Nested Loop
--           ->  CTE Scan on mine
--           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t
--                 Index Cond: (workflow_id = mine.workflow_id)
--                 Filter: ((deleted_at IS NULL) AND (id = ANY ($3)))

WITH mine AS MATERIALIZED (
SELECT c.begun_position, c.begun_attempt, w.tenant
FROM cleanups AS c
JOIN workflows AS w ON w.id = c.workflow_id
WHERE c.workflow_id = $2 AND c.owner = $1 FOR UPDATE OF c ), page AS MATERIALIZED (
SELECT id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id, outcome_unknown,
    cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint, item
FROM tasks
WHERE workflow_id = $2 AND deleted_at IS NULL AND (position, attempt) > ($3, $4) AND EXISTS (SELECT
FROM mine)
ORDER BY position, attempt
LIMIT $5 ), begun AS (
UPDATE cleanups AS c
SET begun_position = last.position, begun_attempt = last.attempt
FROM (SELECT position, attempt
FROM page
ORDER BY position DESC, attempt DESC
LIMIT 1) AS last
WHERE c.workflow_id = $2 AND c.owner = $1 AND (last.position, last.attempt) > (c.begun_position, c.begun_attempt) )
SELECT page.*, s.step_id, s.task_type, reader.id AS referenced_by, (page.position, page.attempt) <=
    (mine.begun_position, mine.begun_attempt) AS begun
FROM mine
CROSS
JOIN page
JOIN steps AS s ON s.workflow_id = page.workflow_id AND s.position = page.position
LEFT
JOIN LATERAL (
SELECT w.id
FROM artifact_references AS r
JOIN workflows AS w ON w.id = r.workflow_id
WHERE r.task_id = page.id AND r.workflow_id <> $2 AND w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM
    mine.tenant
ORDER BY w.id
LIMIT 1 ) AS reader ON true
ORDER BY page.position, page.attempt;
--   Nested Loop Left Join
--     CTE mine
--       ->  LockRows
--             ->  Nested Loop
--                   ->  Index Scan using cleanups_pkey on cleanups c
--                         Index Cond: (workflow_id = $2)
--                         Filter: (owner = $1)
--                   ->  Index Scan using workflows_pkey on workflows w_1
--                         Index Cond: (id = $2)
--     CTE page
--       ->  Limit
--             InitPlan 2
--               ->  CTE Scan on mine mine_1
--             ->  Result
--                   One-Time Filter: (InitPlan 2).col1
--                   ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                         Index Cond: ((workflow_id = $2) AND (ROW("position", attempt) > ROW($3, $4)))
--                         Filter: (deleted_at IS NULL)
--     CTE begun
--       ->  Update on cleanups c_1
--             ->  Nested Loop
--                   Join Filter: (ROW(last."position", last.attempt) > ROW(c_1.begun_position, c_1.begun_attempt))
--                   ->  Index Scan using cleanups_pkey on cleanups c_1
--                         Index Cond: (workflow_id = $2)
--                         Filter: (owner = $1)
--                   ->  Subquery Scan on last
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: page_1."position" DESC, page_1.attempt DESC
--                                     ->  CTE Scan on page page_1
--     ->  Nested Loop
--           ->  Nested Loop
--                 ->  CTE Scan on page
--                 ->  Index Scan using steps_pkey on steps s
--                       Index Cond: ((workflow_id = page.workflow_id) AND ("position" = page."position"))
--           ->  CTE Scan on mine
--     ->  Limit
--           ->  Nested Loop
--                 ->  Index Only Scan using artifact_references_pkey on artifact_references r
--                       Index Cond: (task_id = page.id)
--                       Filter: (workflow_id <> $2)
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = r.workflow_id)
--                       Filter: ((deleted_at IS NULL) AND (NOT (tenant IS DISTINCT FROM mine.tenant)))

WITH mine AS MATERIALIZED (
SELECT c.id, c.outcome, w.owner, w.owner <> $2 AND EXISTS (SELECT
FROM processes AS p
WHERE p.id = w.owner AND p.lease_until > clock_timestamp()) AS elsewhere
FROM commands AS c
LEFT
JOIN workflows AS w ON w.id = c.workflow_id
WHERE c.id = $1 AND c.requester = $2 )
SELECT outcome, elsewhere, (SELECT count(pg_notify('stepwell_process_' || owner, 'sent:' || id))
FROM mine
WHERE outcome IS NULL AND elsewhere)
FROM mine;
--   CTE Scan on mine
--     CTE mine
--       ->  Nested Loop Left Join
--             ->  Index Scan using commands_pkey on commands c
--                   Index Cond: (id = $1)
--                   Filter: (requester = $2)
--             ->  Index Scan using workflows_pkey on workflows w
--                   Index Cond: (id = c.workflow_id)
--             SubPlan 1
--               ->  Index Scan using processes_pkey on processes p
--                     Index Cond: (id = w.owner)
--                     Filter: (lease_until > clock_timestamp())
--     InitPlan 3
--       ->  Aggregate
--             ->  CTE Scan on mine mine_1
--                   Filter: ((outcome IS NULL) AND elsewhere)

WITH named AS MATERIALIZED (
SELECT n.id::uuid AS id, n.workflow_id, n.tenant
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS n(id, workflow_id, tenant) ), refs AS (
INSERT INTO artifact_references (task_id, workflow_id)
SELECT id, workflow_id
FROM named
ON CONFLICT DO NOTHING )
SELECT u.id, named.workflow_id, u.status = 'STORED' AS is_stored, u.used_at > clock_timestamp() - interval '30
    seconds' AS is_recent
FROM named
JOIN uploads AS u ON u.id = named.id AND u.tenant IS NOT DISTINCT FROM named.tenant
ORDER BY u.id FOR SHARE OF u;
--   LockRows
--     CTE named
--       ->  Function Scan on n
--     CTE refs
--       ->  Insert on artifact_references
--             Conflict Resolution: NOTHING
--             ->  CTE Scan on named named_1
--     ->  Result
--           ->  Sort
--                 Sort Key: u.id
--                 ->  Nested Loop
--                       ->  CTE Scan on named
--                       ->  Index Scan using uploads_pkey on uploads u
--                             Index Cond: (id = named.id)
--                             Filter: (NOT (tenant IS DISTINCT FROM named.tenant))

WITH new_workflows AS (
INSERT INTO workflows (id, tenant, created_by, origin_instance, origin_zone, origin_reference, config,
    suppress_subtask_events, total_steps, final_position, definition_bytes, feature_level, inputs, inputs_schema,
    evaluates, has_flow, stored_definition, named_definitions, named_files, reuse, created_at, status, name,
    description, webhook_url, completed_steps, execution_id, failure, started_at, completed_at, updated_at,
    deleted_at, deadline_at, timeout_left_s, owner, epoch, last_event, crashes)
SELECT w.id, w.tenant, w.created_by, w.origin_instance, w.origin_zone, w.origin_reference, w.config,
    w.suppress_subtask_events, w.total_steps, w.final_position, w.definition_bytes, w.feature_level, w.inputs,
    w.inputs_schema, w.evaluates, w.has_flow, w.stored_definition, w.named_definitions, w.named_files, w.reuse,
    w.created_at, w.status, w.name, w.description, w.webhook_url, w.completed_steps, w.execution_id, w.failure,
    w.started_at, w.completed_at, w.updated_at, w.deleted_at, w.deadline_at, w.timeout_left_s, w.owner, w.epoch,
    w.last_event, w.crashes
FROM unnest($1::insert_workflow[]) AS w), new_steps AS (
INSERT INTO steps (workflow_id, updated_at, status, position, id, step_id, task_type, definition, depends_on,
    max_retries, timeout_s, provider, fallback, run_if, optional, condition, repeat, for_each)
SELECT s.workflow_id, s.created_at, 'PENDING', s.position, s.id, s.step_id, s.task_type, s.definition, s.depends_on,
    s.max_retries, s.timeout_s, s.provider, s.fallback, s.run_if, s.optional, s.condition, s.repeat, s.for_each
FROM unnest($2::insert_step[]) AS s)
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($3::checkpoint_event[]) AS e;
--   Insert on events
--     CTE new_workflows
--       ->  Insert on workflows
--             ->  Function Scan on unnest w
--     CTE new_steps
--       ->  Insert on steps
--             ->  Function Scan on unnest s
--     ->  Function Scan on unnest e

WITH new_workflows AS (
INSERT INTO workflows (id, tenant, created_by, origin_instance, origin_zone, origin_reference, config,
    suppress_subtask_events, total_steps, final_position, definition_bytes, feature_level, inputs, inputs_schema,
    evaluates, has_flow, stored_definition, named_definitions, named_files, reuse, created_at, status, name,
    description, webhook_url, completed_steps, execution_id, failure, started_at, completed_at, updated_at,
    deleted_at, deadline_at, timeout_left_s, owner, epoch, last_event, crashes)
SELECT w.id, w.tenant, w.created_by, w.origin_instance, w.origin_zone, w.origin_reference, w.config,
    w.suppress_subtask_events, w.total_steps, w.final_position, w.definition_bytes, w.feature_level, w.inputs,
    w.inputs_schema, w.evaluates, w.has_flow, w.stored_definition, w.named_definitions, w.named_files, w.reuse,
    w.created_at, w.status, w.name, w.description, w.webhook_url, w.completed_steps, w.execution_id, w.failure,
    w.started_at, w.completed_at, w.updated_at, w.deleted_at, w.deadline_at, w.timeout_left_s, w.owner, w.epoch,
    w.last_event, w.crashes
FROM unnest($1::insert_workflow[]) AS w), new_steps AS (
INSERT INTO steps (workflow_id, updated_at, status, position, id, step_id, task_type, definition, depends_on,
    max_retries, timeout_s, provider, fallback, run_if, optional, condition, repeat, for_each)
SELECT s.workflow_id, s.created_at, 'PENDING', s.position, s.id, s.step_id, s.task_type, s.definition, s.depends_on,
    s.max_retries, s.timeout_s, s.provider, s.fallback, s.run_if, s.optional, s.condition, s.repeat, s.for_each
FROM unnest($2::insert_step[]) AS s), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT *
FROM unnest($4::uuid[], $5::text[], $6::timestamptz[]) )
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($3::checkpoint_event[]) AS e;
--   Insert on events
--     CTE new_workflows
--       ->  Insert on workflows
--             ->  Function Scan on unnest w
--     CTE new_steps
--       ->  Insert on steps
--             ->  Function Scan on unnest s
--     CTE new_labels
--       ->  Insert on labels
--             ->  Function Scan on unnest
--     ->  Function Scan on unnest e

WITH old AS (
DELETE FROM used_sign_in_codes AS c
USING (
SELECT id
FROM used_sign_in_codes
WHERE expires_at < now() - interval '1 hour'
LIMIT 20 FOR UPDATE SKIP LOCKED ) AS e
WHERE c.id = e.id ), valid AS (SELECT
FROM installation
WHERE sessions_ended_at IS NULL OR sessions_ended_at < $2 FOR SHARE), used AS (
INSERT INTO used_sign_in_codes (id, expires_at)
SELECT $1, $3
FROM valid
ON CONFLICT (id) DO NOTHING
RETURNING true )
SELECT now() AS now, EXISTS (SELECT
FROM valid) AS valid, EXISTS (SELECT
FROM used) AS used;
--   Result
--     CTE old
--       ->  Delete on used_sign_in_codes c
--             ->  Nested Loop
--                   ->  Subquery Scan on e
--                         ->  Limit
--                               ->  LockRows
--                                     ->  Seq Scan on used_sign_in_codes
--                                           Disabled: true
--                                           Filter: (expires_at < (now() - '01:00:00'::interval))
--                   ->  Index Scan using used_sign_in_codes_pkey on used_sign_in_codes c
--                         Index Cond: (id = e.id)
--     CTE valid
--       ->  LockRows
--             ->  Seq Scan on installation
--                   Disabled: true
--                   Filter: ((sessions_ended_at IS NULL) OR (sessions_ended_at < $2))
--     CTE used
--       ->  Insert on used_sign_in_codes used_sign_in_codes_1
--             Conflict Resolution: NOTHING
--             Conflict Arbiter Indexes: used_sign_in_codes_pkey
--             ->  CTE Scan on valid
--     InitPlan 4
--       ->  CTE Scan on valid valid_1
--     InitPlan 5
--       ->  CTE Scan on used

WITH old_ends AS (DELETE FROM unclean_ends
WHERE at < clock_timestamp() - interval '1 day'), old_commands AS (
DELETE FROM commands
WHERE id = ANY (ARRAY(
SELECT id
FROM commands
WHERE created_at < clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED )) )
DELETE FROM processes AS p
WHERE p.lease_until < clock_timestamp() AND NOT EXISTS (SELECT
FROM workflows AS w
WHERE w.owner = p.id) AND NOT EXISTS (SELECT
FROM deliveries AS d
WHERE d.owner = p.id AND d.next_at IS NOT NULL) AND NOT EXISTS (SELECT
FROM cleanups AS c
WHERE c.owner = p.id);
--   Delete on processes p
--     CTE old_ends
--       ->  Delete on unclean_ends
--             ->  Seq Scan on unclean_ends
--                   Disabled: true
--                   Filter: (at < (clock_timestamp() - '1 day'::interval))
--     CTE old_commands
--       ->  Delete on commands commands_1
--             InitPlan 2
--               ->  LockRows
--                     ->  Seq Scan on commands
--                           Disabled: true
--                           Filter: (created_at < (clock_timestamp() - '01:00:00'::interval))
--             ->  Index Scan using commands_pkey on commands commands_1
--                   Index Cond: (id = ANY ((InitPlan 2).col1))
--     ->  Nested Loop Anti Join
--           ->  Nested Loop Anti Join
--                 ->  Nested Loop Anti Join
--                       ->  Index Scan using processes_pkey on processes p
--                             Filter: (lease_until < clock_timestamp())
--                       ->  Index Scan using cleanups_due on cleanups c
--                             Index Cond: (owner = p.id)
--                 ->  Index Scan using deliveries_due on deliveries d
--                       Index Cond: ((owner = p.id) AND (next_at IS NOT NULL))
--           ->  Index Scan using workflows_by_owner on workflows w
--                 Index Cond: (owner = p.id)

WITH old_sums AS (
DELETE FROM daily_costs
WHERE ctid = ANY(ARRAY(
SELECT ctid
FROM daily_costs
WHERE day < $1
LIMIT $2 FOR UPDATE SKIP LOCKED ))
RETURNING 1 ), total AS MATERIALIZED (SELECT count(*) AS count
FROM old_sums)
SELECT count, CASE WHEN count < $2 THEN (SELECT min(day)
FROM daily_costs
WHERE day >= $1) END AS next_day
FROM total;
--   CTE Scan on total
--     CTE old_sums
--       ->  Delete on daily_costs daily_costs_1
--             InitPlan 1
--               ->  Limit
--                     ->  LockRows
--                           ->  Index Scan using daily_costs_pkey on daily_costs
--                                 Index Cond: (day < $1)
--             ->  Tid Scan on daily_costs daily_costs_1
--                   TID Cond: (ctid = ANY ((InitPlan 1).col1))
--     CTE total
--       ->  Aggregate
--             ->  CTE Scan on old_sums
--     InitPlan 4
--       ->  Aggregate
--             ->  Index Only Scan using daily_costs_pkey on daily_costs daily_costs_2
--                   Index Cond: (day >= $1)

WITH others AS MATERIALIZED (
SELECT owners.id, p.id IS NULL OR p.lease_until = '-infinity' AS gone
FROM (SELECT DISTINCT owner AS id
FROM cleanups) AS owners
LEFT
JOIN processes AS p ON p.id = owners.id
WHERE owners.id <> $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp()) ), orphans AS MATERIALIZED (
SELECT c.workflow_id
FROM others
JOIN cleanups AS c ON c.owner = others.id
WHERE (others.gone OR c.next_at <= clock_timestamp()) AND NOT EXISTS (SELECT
FROM workflows AS w
WHERE w.id = c.workflow_id AND w.feature_level > 1) FOR UPDATE OF c SKIP LOCKED )
UPDATE cleanups AS c
SET owner = $1
FROM orphans AS o
WHERE c.workflow_id = o.workflow_id;
--   Update on cleanups c
--     CTE others
--       ->  Nested Loop Left Join
--             Filter: ((p.id IS NULL) OR (p.lease_until <= clock_timestamp()))
--             ->  Unique
--                   ->  Index Only Scan using cleanups_due on cleanups
--                         Filter: (owner <> $1)
--             ->  Index Scan using processes_pkey on processes p
--                   Index Cond: (id = cleanups.owner)
--     CTE orphans
--       ->  LockRows
--             ->  Nested Loop Anti Join
--                   ->  Nested Loop
--                         ->  CTE Scan on others
--                         ->  Index Scan using cleanups_due on cleanups c_1
--                               Index Cond: (owner = others.id)
--                               Filter: (others.gone OR (next_at <= clock_timestamp()))
--                   ->  Index Scan using workflows_by_feature_level on workflows w
--                         Index Cond: ((feature_level > 1) AND (id = c_1.workflow_id))
--     ->  Nested Loop
--           ->  CTE Scan on orphans o
--           ->  Index Scan using cleanups_pkey on cleanups c
--                 Index Cond: (workflow_id = o.workflow_id)

WITH others AS MATERIALIZED (
SELECT owners.id, p.id IS NULL OR p.lease_until = '-infinity' AS gone
FROM (SELECT DISTINCT owner AS id
FROM deliveries
WHERE next_at IS NOT NULL) AS owners
LEFT
JOIN processes AS p ON p.id = owners.id
WHERE owners.id IS DISTINCT FROM $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp()) ), orphans AS
    MATERIALIZED (
SELECT d.workflow_id, d.event_id
FROM others
JOIN deliveries AS d ON d.owner IS NOT DISTINCT FROM others.id
WHERE d.next_at IS NOT NULL AND (others.gone OR d.next_at <= clock_timestamp()) AND NOT EXISTS (SELECT
FROM workflows AS w
WHERE w.id = d.workflow_id AND w.feature_level > 1)
LIMIT $2 FOR UPDATE OF d SKIP LOCKED )
UPDATE deliveries AS d
SET owner = $1
FROM orphans AS o
WHERE d.workflow_id = o.workflow_id AND d.event_id = o.event_id
RETURNING d.event_id;
--   Update on deliveries d
--     CTE others
--       ->  Nested Loop Left Join
--             Filter: ((p.id IS NULL) OR (p.lease_until <= clock_timestamp()))
--             ->  Unique
--                   ->  Index Only Scan using deliveries_due on deliveries
--                         Filter: (owner IS DISTINCT FROM $1)
--             ->  Index Scan using processes_pkey on processes p
--                   Index Cond: (id = deliveries.owner)
--     CTE orphans
--       ->  Limit
--             ->  LockRows
--                   ->  Nested Loop
--                         Join Filter: ((NOT (d_1.owner IS DISTINCT FROM others.id)) AND (others.gone OR (d_1.next_at <= clock_timestamp())))
--                         ->  CTE Scan on others
--                         ->  Materialize
--                               ->  Nested Loop Anti Join
--                                     ->  Index Scan using deliveries_due on deliveries d_1
--                                           Index Cond: (next_at IS NOT NULL)
--                                     ->  Index Scan using workflows_by_feature_level on workflows w
--                                           Index Cond: ((feature_level > 1) AND (id = d_1.workflow_id))
--     ->  Nested Loop
--           ->  CTE Scan on orphans o
--           ->  Index Scan using deliveries_pkey on deliveries d
--                 Index Cond: ((workflow_id = o.workflow_id) AND (event_id = o.event_id))

WITH picked AS MATERIALIZED (
SELECT t.tenant, t.number, w.*
FROM unnest($2::text[], $3::int[]) AS t(tenant, number)
CROSS
JOIN LATERAL (
SELECT id, started_at, total_steps, definition_bytes, has_flow
FROM workflows
WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL AND coalesce(tenant, '') = coalesce(t.tenant, '') AND
    (id IN (SELECT unnest($4::uuid[]))) IS NOT TRUE AND feature_level <= 1
ORDER BY started_at, id
LIMIT t.number + 1 FOR UPDATE SKIP LOCKED ) AS w ), sized AS (
SELECT p.*, p.total_steps + CASE WHEN p.has_flow THEN (
SELECT count(*)
FROM step_items AS i
WHERE i.workflow_id = p.id)::int ELSE 0 END AS size
FROM picked AS p ), fitting AS MATERIALIZED (
SELECT *, sum(slots) OVER (PARTITION BY tenant
ORDER BY started_at, id) <= number AS fits
FROM (SELECT *, greatest((size + $6 - 1) / $6, (definition_bytes + $7 - 1) / $7, 1) AS slots
FROM sized) AS s ), page AS (
SELECT id
FROM (
SELECT id, sum(size) OVER (ORDER BY started_at, id) - size AS before
FROM fitting
WHERE fits ) AS p
WHERE before < $5 ), admitted AS (
UPDATE workflows AS w
SET owner = $1, epoch = w.epoch + 1, timeout_left_s = NULL, deadline_at = coalesce(clock_timestamp() +
    make_interval(secs => w.timeout_left_s), w.deadline_at)
FROM page
WHERE w.id = page.id
RETURNING w.id )
SELECT f.id, f.tenant, f.slots, a.id IS NOT NULL AS admitted
FROM fitting AS f
LEFT
JOIN admitted AS a ON a.id = f.id
ORDER BY f.started_at, f.id;
--   Sort
--     Sort Key: f.started_at, f.id
--     CTE picked
--       ->  Nested Loop
--             ->  Function Scan on t
--             ->  Subquery Scan on w
--                   ->  Limit
--                         ->  LockRows
--                               ->  Index Scan using workflows_to_admit on workflows
--                                     Index Cond: (COALESCE(tenant, ''::text) = COALESCE(t.tenant, ''::text))
--                                     Filter: ((owner IS NULL) AND (wake_at IS NULL) AND ((ANY (id = (hashed SubPlan 1).col1)) IS NOT TRUE) AND (feature_level <= 1) AND (status = 'RUNNING'::text))
--                                     SubPlan 1
--                                       ->  ProjectSet
--                                             ->  Result
--     CTE fitting
--       ->  WindowAgg
--             Window: w1 AS (PARTITION BY p.tenant ORDER BY p.started_at, p.id)
--             ->  Sort
--                   Sort Key: p.tenant, p.started_at, p.id
--                   ->  CTE Scan on picked p
--             SubPlan 3
--               ->  Aggregate
--                     ->  Index Only Scan using step_items_pkey on step_items i
--                           Index Cond: (workflow_id = p.id)
--             SubPlan 4
--               ->  Aggregate
--                     ->  Index Only Scan using step_items_pkey on step_items i_1
--                           Index Cond: (workflow_id = p.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Only Scan using step_items_pkey on step_items i_2
--                           Index Cond: (workflow_id = p.id)
--     CTE admitted
--       ->  Update on workflows w_1
--             ->  Nested Loop
--                   ->  Subquery Scan on p_1
--                         Filter: (p_1.before < $5)
--                         ->  WindowAgg
--                               Window: w1 AS (ORDER BY fitting.started_at, fitting.id)
--                               ->  Sort
--                                     Sort Key: fitting.started_at, fitting.id
--                                     ->  CTE Scan on fitting
--                                           Filter: fits
--                   ->  Index Scan using workflows_pkey on workflows w_1
--                         Index Cond: (id = p_1.id)
--     ->  Nested Loop Left Join
--           Join Filter: (a.id = f.id)
--           ->  CTE Scan on fitting f
--           ->  CTE Scan on admitted a

WITH reported AS MATERIALIZED (
SELECT EXISTS (
SELECT
FROM events
WHERE workflow_id = $2 AND type = 'workflow.files_deleted' ) AS already )
INSERT INTO cleanups AS c (workflow_id, lane, owner, next_at, repeated)
SELECT w.id, coalesce(w.tenant, ''), $1, clock_timestamp(), reported.already
FROM workflows AS w, reported
WHERE w.id = $2 AND w.deleted_at IS NOT NULL AND ( NOT reported.already OR EXISTS (SELECT
FROM tasks
WHERE workflow_id = $2 AND deleted_at IS NULL) )
ON CONFLICT (workflow_id) DO UPDATE
SET next_at = least(c.next_at, excluded.next_at), owner = CASE WHEN EXISTS (SELECT
FROM processes AS p
WHERE p.id = c.owner AND p.lease_until > clock_timestamp()) THEN c.owner ELSE $1 END
RETURNING owner;
--   Insert on cleanups c
--     Conflict Resolution: UPDATE
--     Conflict Arbiter Indexes: cleanups_pkey
--     CTE reported
--       ->  Result
--             InitPlan 1
--               ->  Index Scan using events_pkey on events
--                     Index Cond: (workflow_id = $2)
--                     Filter: (type = 'workflow.files_deleted'::text)
--     ->  Subquery Scan on "*SELECT*"
--           ->  Nested Loop
--                 InitPlan 4
--                   ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                         Index Cond: (workflow_id = $2)
--                         Filter: (deleted_at IS NULL)
--                 ->  Index Scan using workflows_pkey on workflows w
--                       Index Cond: (id = $2)
--                       Filter: (deleted_at IS NOT NULL)
--                 ->  CTE Scan on reported
--                       Filter: ((NOT already) OR (InitPlan 4).col1)
--     SubPlan 3
--       ->  Index Scan using processes_pkey on processes p
--             Index Cond: (id = c.owner)
--             Filter: (lease_until > clock_timestamp())

WITH requested AS MATERIALIZED (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.created_by AS
    created_by, workflows.origin_instance AS origin_instance, workflows.origin_zone AS origin_zone,
    workflows.origin_reference AS origin_reference, workflows.config AS config, workflows.suppress_subtask_events AS
    suppress_subtask_events, workflows.total_steps AS total_steps, workflows.final_position AS final_position,
    workflows.definition_bytes AS definition_bytes, workflows.feature_level AS feature_level, workflows.evaluates AS
    evaluates, workflows.has_flow AS has_flow, workflows.stored_definition AS stored_definition, workflows.reuse AS
    reuse, workflows.created_at AS created_at, workflows.status AS status, workflows.name AS name,
    workflows.description AS description, workflows.webhook_url AS webhook_url, workflows.completed_steps AS
    completed_steps, workflows.execution_id AS execution_id, workflows.failure AS failure, workflows.started_at AS
    started_at, workflows.completed_at AS completed_at, workflows.updated_at AS updated_at, workflows.deleted_at AS
    deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS timeout_left_s, workflows.owner AS
    owner, workflows.epoch AS epoch, workflows.last_event AS last_event, workflows.crashes AS crashes,
    workflows.wake_at AS wake_at, workflows.parent_id AS parent_id, workflows.parent_step AS parent_step,
    workflows.parent_item AS parent_item, workflows.root_id AS root_id, workflows.depth AS depth,
    workflows.child_ended_count AS child_ended_count, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]) AND (SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + 0 +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END <= 65536)
SELECT CASE WHEN (steps.position = 0) THEN requested.id END AS id, CASE WHEN (steps.position = 0) THEN
    requested.tenant END AS tenant, CASE WHEN (steps.position = 0) THEN requested.created_by END AS created_by, CASE
    WHEN (steps.position = 0) THEN requested.origin_instance END AS origin_instance, CASE WHEN (steps.position = 0)
    THEN requested.origin_zone END AS origin_zone, CASE WHEN (steps.position = 0) THEN requested.origin_reference END
    AS origin_reference, CASE WHEN (steps.position = 0) THEN requested.config END AS config, CASE WHEN (steps.position
    = 0) THEN requested.suppress_subtask_events END AS suppress_subtask_events, CASE WHEN (steps.position = 0) THEN
    requested.total_steps END AS total_steps, CASE WHEN (steps.position = 0) THEN requested.final_position END AS
    final_position, CASE WHEN (steps.position = 0) THEN requested.definition_bytes END AS definition_bytes, CASE WHEN
    (steps.position = 0) THEN requested.feature_level END AS feature_level, CASE WHEN (steps.position = 0) THEN
    requested.evaluates END AS evaluates, CASE WHEN (steps.position = 0) THEN requested.has_flow END AS has_flow, CASE
    WHEN (steps.position = 0) THEN requested.stored_definition END AS stored_definition, CASE WHEN (steps.position =
    0) THEN requested.reuse END AS reuse, CASE WHEN (steps.position = 0) THEN requested.created_at END AS created_at,
    CASE WHEN (steps.position = 0) THEN requested.status END AS status, CASE WHEN (steps.position = 0) THEN
    requested.name END AS name, CASE WHEN (steps.position = 0) THEN requested.description END AS description, CASE
    WHEN (steps.position = 0) THEN requested.webhook_url END AS webhook_url, CASE WHEN (steps.position = 0) THEN
    requested.completed_steps END AS completed_steps, CASE WHEN (steps.position = 0) THEN requested.execution_id END
    AS execution_id, CASE WHEN (steps.position = 0) THEN requested.failure END AS failure, CASE WHEN (steps.position =
    0) THEN requested.started_at END AS started_at, CASE WHEN (steps.position = 0) THEN requested.completed_at END AS
    completed_at, CASE WHEN (steps.position = 0) THEN requested.updated_at END AS updated_at, CASE WHEN
    (steps.position = 0) THEN requested.deleted_at END AS deleted_at, CASE WHEN (steps.position = 0) THEN
    requested.deadline_at END AS deadline_at, CASE WHEN (steps.position = 0) THEN requested.timeout_left_s END AS
    timeout_left_s, CASE WHEN (steps.position = 0) THEN requested.owner END AS owner, CASE WHEN (steps.position = 0)
    THEN requested.epoch END AS epoch, CASE WHEN (steps.position = 0) THEN requested.last_event END AS last_event,
    CASE WHEN (steps.position = 0) THEN requested.crashes END AS crashes, CASE WHEN (steps.position = 0) THEN
    requested.wake_at END AS wake_at, CASE WHEN (steps.position = 0) THEN requested.parent_id END AS parent_id, CASE
    WHEN (steps.position = 0) THEN requested.parent_step END AS parent_step, CASE WHEN (steps.position = 0) THEN
    requested.parent_item END AS parent_item, CASE WHEN (steps.position = 0) THEN requested.root_id END AS root_id,
    CASE WHEN (steps.position = 0) THEN requested.depth END AS depth, CASE WHEN (steps.position = 0) THEN
    requested.child_ended_count END AS child_ended_count, CASE WHEN (steps.position = 0) THEN requested.sub_workflows
    END AS sub_workflows, CASE WHEN (steps.position = 0) THEN requested.sub_workflow_steps END AS sub_workflow_steps,
    CASE WHEN (steps.position = 0) THEN requested.sub_workflow_bytes END AS sub_workflow_bytes, CASE WHEN
    (steps.position = 0) THEN requested.current_step END AS current_step, CASE WHEN (steps.position = 0) THEN
    requested.step_errors END AS step_errors, CASE WHEN (steps.position = 0) THEN requested.fatal_error END AS
    fatal_error, CASE WHEN (steps.position = 0) THEN requested.done_without_result END AS done_without_result, CASE
    WHEN (steps.position = 0) THEN requested.costs END AS costs, CASE WHEN (steps.position = 0) THEN requested.labels
    END AS labels, CASE WHEN (steps.position = 0) THEN requested.final_step_id END AS final_step_id, CASE WHEN
    (steps.position = 0) THEN requested.items_done END AS items_done, CASE WHEN (steps.position = 0) THEN
    requested.final_step_result END AS final_step_result, CASE WHEN (steps.position = 0) THEN requested.waits_for END
    AS waits_for, steps.workflow_id AS step_workflow_id, steps.position AS step_position, steps.id AS step_id,
    steps.step_id AS step_step_id, steps.task_type AS step_task_type, steps.definition AS step_definition,
    steps.depends_on AS step_depends_on, steps.max_retries AS step_max_retries, steps.timeout_s AS step_timeout_s,
    steps.provider AS step_provider, steps.fallback AS step_fallback, steps.run_if AS step_run_if, steps.optional AS
    step_optional, steps.condition AS step_condition, steps.repeat AS step_repeat, steps.for_each AS step_for_each,
    steps.status AS step_status, steps.task_id AS step_task_id, steps.attempt AS step_attempt, steps.provider_attempts
    AS step_provider_attempts, steps.retry_count AS step_retry_count, steps.on_fallback AS step_on_fallback,
    steps.next_attempt_at AS step_next_attempt_at, NULL AS step_result, steps.error_message AS step_error_message,
    steps.started_at AS step_started_at, steps.completed_at AS step_completed_at, steps.updated_at AS step_updated_at,
    steps.skip_reason AS step_skip_reason, steps.flow AS step_flow, latest.provider AS step_latest_provider,
    latest.sent ->> 'model' AS step_latest_model, step_costs.costs AS step_step_costs, CASE WHEN steps.for_each IS NOT
    NULL AND steps.flow ->> 'items' IS NOT NULL THEN (SELECT json_build_object('total', count(*), 'pending', count(*)
    FILTER (WHERE i.status IN ('PENDING', 'CANCELLED')), 'running', count(*) FILTER (WHERE i.status = 'RUNNING'),
    'completed', count(*) FILTER (WHERE i.status = 'COMPLETED'), 'failed', count(*) FILTER (WHERE i.status =
    'FAILED'), 'skipped', count(*) FILTER (WHERE i.status = 'SKIPPED'), 'retries', coalesce(sum(i.retry_count), 0))
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) END AS step_item_counts
FROM requested
JOIN steps ON steps.workflow_id = requested.id
LEFT OUTER
JOIN tasks AS latest ON latest.id = steps.task_id
LEFT OUTER
JOIN (SELECT CAST(json_agg(json_build_array(step_sums.currency, step_sums.amount, step_sums.attempts)
ORDER BY step_sums.currency) AS TEXT) AS costs, step_sums.workflow_id AS workflow_id, step_sums.position AS position
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts, tasks.workflow_id AS workflow_id, tasks.position AS position
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = ANY ($11::UUID[])
GROUP BY 1, tasks.workflow_id, tasks.position) AS step_sums
GROUP BY step_sums.workflow_id, step_sums.position) AS step_costs ON step_costs.workflow_id = steps.workflow_id AND
    step_costs.position = steps.position
ORDER BY steps.workflow_id, steps.position;
--   Sort
--     Sort Key: steps.workflow_id, steps."position"
--     CTE requested
--       ->  Nested Loop
--             ->  Index Scan using workflows_pkey on workflows
--                   Index Cond: (id = ANY ($11))
--                   Filter: (((SubPlan 15) + (pg_column_size(config) * CASE WHEN (pg_column_compression(config) IS NULL) THEN 1 ELSE 50 END)) <= 65536)
--                   SubPlan 15
--                     ->  Aggregate
--                           ->  Index Scan using steps_pkey on steps weighed
--                                 Index Cond: (workflow_id = workflows.id)
--             ->  Index Scan using steps_pkey on steps final
--                   Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--             SubPlan 1
--               ->  Limit
--                     ->  Sort
--                           Sort Key: steps_1.started_at, steps_1."position"
--                           ->  Index Scan using steps_pkey on steps steps_1
--                                 Index Cond: (workflow_id = workflows.id)
--                                 Filter: (status = ($1)::text)
--             SubPlan 2
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_2
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (status = ($4)::text)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Scan using steps_pkey on steps steps_3
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: ((NOT optional) AND (status = ($4)::text))
--             SubPlan 4
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_4
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--             SubPlan 5
--               ->  Aggregate
--                     ->  Sort
--                           Sort Key: ((tasks_1.cost ->> 'currency'::text))
--                           ->  HashAggregate
--                                 Group Key: (tasks_1.cost ->> 'currency'::text)
--                                 ->  Index Scan using tasks_sent on tasks tasks_1
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Index Only Scan using labels_pkey on labels
--                           Index Cond: (workflow_id = workflows.id)
--             SubPlan 7
--               ->  Aggregate
--                     ->  GroupAggregate
--                           Group Key: s."position"
--                           ->  Nested Loop
--                                 Join Filter: (s."position" = i."position")
--                                 ->  Index Scan using steps_pkey on steps s
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: (workflow_id = workflows.id)
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_1
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_2
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 10
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_3
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 11
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows.id)
--             SubPlan 12
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows.root_id)
--             SubPlan 14
--               ->  Limit
--                     CTE below
--                       ->  Recursive Union
--                             ->  Result
--                             ->  Nested Loop
--                                   ->  WorkTable Scan on below
--                                   ->  Index Only Scan using workflows_by_parent on workflows c
--                                         Index Cond: (parent_id = below.id)
--                     ->  Sort
--                           Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                           ->  Nested Loop
--                                 ->  CTE Scan on below below_1
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                       Index Cond: (workflow_id = below_1.id)
--     ->  Nested Loop Left Join
--           Join Filter: ((step_sums.workflow_id = steps.workflow_id) AND (step_sums."position" = steps."position"))
--           ->  Nested Loop Left Join
--                 ->  Nested Loop
--                       ->  CTE Scan on requested
--                       ->  Index Scan using steps_pkey on steps
--                             Index Cond: (workflow_id = requested.id)
--                 ->  Index Scan using tasks_pkey on tasks latest
--                       Index Cond: (id = steps.task_id)
--           ->  GroupAggregate
--                 Group Key: step_sums.workflow_id, step_sums."position"
--                 ->  Sort
--                       Sort Key: step_sums.workflow_id, step_sums."position", step_sums.currency
--                       ->  Subquery Scan on step_sums
--                             ->  HashAggregate
--                                   Group Key: (tasks.cost ->> 'currency'::text), tasks.workflow_id, tasks."position"
--                                   ->  Index Scan using tasks_sent on tasks
--                                         Index Cond: (workflow_id = ANY ($11))
--                                         Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--           SubPlan 17
--             ->  Aggregate
--                   ->  Index Scan using step_items_pkey on step_items i_4
--                         Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

WITH requested AS MATERIALIZED (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.created_by AS
    created_by, workflows.origin_instance AS origin_instance, workflows.origin_zone AS origin_zone,
    workflows.origin_reference AS origin_reference, workflows.config AS config, workflows.suppress_subtask_events AS
    suppress_subtask_events, workflows.total_steps AS total_steps, workflows.final_position AS final_position,
    workflows.definition_bytes AS definition_bytes, workflows.feature_level AS feature_level, workflows.evaluates AS
    evaluates, workflows.has_flow AS has_flow, workflows.stored_definition AS stored_definition, workflows.reuse AS
    reuse, workflows.created_at AS created_at, workflows.status AS status, workflows.name AS name,
    workflows.description AS description, workflows.webhook_url AS webhook_url, workflows.completed_steps AS
    completed_steps, workflows.execution_id AS execution_id, workflows.failure AS failure, workflows.started_at AS
    started_at, workflows.completed_at AS completed_at, workflows.updated_at AS updated_at, workflows.deleted_at AS
    deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS timeout_left_s, workflows.owner AS
    owner, workflows.epoch AS epoch, workflows.last_event AS last_event, workflows.crashes AS crashes,
    workflows.wake_at AS wake_at, workflows.parent_id AS parent_id, workflows.parent_step AS parent_step,
    workflows.parent_item AS parent_item, workflows.root_id AS root_id, workflows.depth AS depth,
    workflows.child_ended_count AS child_ended_count, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $1::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $2::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $3::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $3::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $5::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $6::VARCHAR AND steps.skip_reason != $7::VARCHAR OR
    steps.status = $4::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $8::VARCHAR OR tasks.status = $9::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $10::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL OR final.result IS NOT NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN CASE WHEN (SELECT
    coalesce(sum(octet_length(i.result::text)), 0)
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) <= 1048576 THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result, CASE
    WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) ELSE CASE WHEN (SELECT true
FROM waits AS n
WHERE n.root_id = workflows.root_id
LIMIT 1) THEN (
WITH RECURSIVE below AS (
SELECT workflows.id
UNION ALL
SELECT c.id
FROM below
JOIN workflows AS c ON c.parent_id = below.id )
SELECT n.kind
FROM below
JOIN waits AS n ON n.workflow_id = below.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1 ) END END END AS waits_for
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = ANY ($11::UUID[]) AND (SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.result IS NOT NULL THEN coalesce(pg_column_size(weighed.result) * CASE WHEN
    pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50 END, 0) WHEN weighed.status = 'COMPLETED' THEN
    (SELECT least(100 + 2 * coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result)
    IS NULL THEN 1 ELSE 50 END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END <= 65536)
SELECT CASE WHEN (steps.position = 0) THEN requested.id END AS id, CASE WHEN (steps.position = 0) THEN
    requested.tenant END AS tenant, CASE WHEN (steps.position = 0) THEN requested.created_by END AS created_by, CASE
    WHEN (steps.position = 0) THEN requested.origin_instance END AS origin_instance, CASE WHEN (steps.position = 0)
    THEN requested.origin_zone END AS origin_zone, CASE WHEN (steps.position = 0) THEN requested.origin_reference END
    AS origin_reference, CASE WHEN (steps.position = 0) THEN requested.config END AS config, CASE WHEN (steps.position
    = 0) THEN requested.suppress_subtask_events END AS suppress_subtask_events, CASE WHEN (steps.position = 0) THEN
    requested.total_steps END AS total_steps, CASE WHEN (steps.position = 0) THEN requested.final_position END AS
    final_position, CASE WHEN (steps.position = 0) THEN requested.definition_bytes END AS definition_bytes, CASE WHEN
    (steps.position = 0) THEN requested.feature_level END AS feature_level, CASE WHEN (steps.position = 0) THEN
    requested.evaluates END AS evaluates, CASE WHEN (steps.position = 0) THEN requested.has_flow END AS has_flow, CASE
    WHEN (steps.position = 0) THEN requested.stored_definition END AS stored_definition, CASE WHEN (steps.position =
    0) THEN requested.reuse END AS reuse, CASE WHEN (steps.position = 0) THEN requested.created_at END AS created_at,
    CASE WHEN (steps.position = 0) THEN requested.status END AS status, CASE WHEN (steps.position = 0) THEN
    requested.name END AS name, CASE WHEN (steps.position = 0) THEN requested.description END AS description, CASE
    WHEN (steps.position = 0) THEN requested.webhook_url END AS webhook_url, CASE WHEN (steps.position = 0) THEN
    requested.completed_steps END AS completed_steps, CASE WHEN (steps.position = 0) THEN requested.execution_id END
    AS execution_id, CASE WHEN (steps.position = 0) THEN requested.failure END AS failure, CASE WHEN (steps.position =
    0) THEN requested.started_at END AS started_at, CASE WHEN (steps.position = 0) THEN requested.completed_at END AS
    completed_at, CASE WHEN (steps.position = 0) THEN requested.updated_at END AS updated_at, CASE WHEN
    (steps.position = 0) THEN requested.deleted_at END AS deleted_at, CASE WHEN (steps.position = 0) THEN
    requested.deadline_at END AS deadline_at, CASE WHEN (steps.position = 0) THEN requested.timeout_left_s END AS
    timeout_left_s, CASE WHEN (steps.position = 0) THEN requested.owner END AS owner, CASE WHEN (steps.position = 0)
    THEN requested.epoch END AS epoch, CASE WHEN (steps.position = 0) THEN requested.last_event END AS last_event,
    CASE WHEN (steps.position = 0) THEN requested.crashes END AS crashes, CASE WHEN (steps.position = 0) THEN
    requested.wake_at END AS wake_at, CASE WHEN (steps.position = 0) THEN requested.parent_id END AS parent_id, CASE
    WHEN (steps.position = 0) THEN requested.parent_step END AS parent_step, CASE WHEN (steps.position = 0) THEN
    requested.parent_item END AS parent_item, CASE WHEN (steps.position = 0) THEN requested.root_id END AS root_id,
    CASE WHEN (steps.position = 0) THEN requested.depth END AS depth, CASE WHEN (steps.position = 0) THEN
    requested.child_ended_count END AS child_ended_count, CASE WHEN (steps.position = 0) THEN requested.sub_workflows
    END AS sub_workflows, CASE WHEN (steps.position = 0) THEN requested.sub_workflow_steps END AS sub_workflow_steps,
    CASE WHEN (steps.position = 0) THEN requested.sub_workflow_bytes END AS sub_workflow_bytes, CASE WHEN
    (steps.position = 0) THEN requested.current_step END AS current_step, CASE WHEN (steps.position = 0) THEN
    requested.step_errors END AS step_errors, CASE WHEN (steps.position = 0) THEN requested.fatal_error END AS
    fatal_error, CASE WHEN (steps.position = 0) THEN requested.done_without_result END AS done_without_result, CASE
    WHEN (steps.position = 0) THEN requested.costs END AS costs, CASE WHEN (steps.position = 0) THEN requested.labels
    END AS labels, CASE WHEN (steps.position = 0) THEN requested.final_step_id END AS final_step_id, CASE WHEN
    (steps.position = 0) THEN requested.items_done END AS items_done, CASE WHEN (steps.position = 0) THEN
    requested.final_step_result END AS final_step_result, CASE WHEN (steps.position = 0) THEN requested.waits_for END
    AS waits_for, steps.workflow_id AS step_workflow_id, steps.position AS step_position, steps.id AS step_id,
    steps.step_id AS step_step_id, steps.task_type AS step_task_type, steps.definition AS step_definition,
    steps.depends_on AS step_depends_on, steps.max_retries AS step_max_retries, steps.timeout_s AS step_timeout_s,
    steps.provider AS step_provider, steps.fallback AS step_fallback, steps.run_if AS step_run_if, steps.optional AS
    step_optional, steps.condition AS step_condition, steps.repeat AS step_repeat, steps.for_each AS step_for_each,
    steps.status AS step_status, steps.task_id AS step_task_id, steps.attempt AS step_attempt, steps.provider_attempts
    AS step_provider_attempts, steps.retry_count AS step_retry_count, steps.on_fallback AS step_on_fallback,
    steps.next_attempt_at AS step_next_attempt_at, CASE WHEN steps.for_each IS NULL OR steps.result IS NOT NULL THEN
    steps.result WHEN steps.status = 'COMPLETED' THEN (
SELECT concat('{"items":[', string_agg(coalesce(o.result::text, 'null'), ','
ORDER BY o.item), '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
    ',"result_image_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_image_paths') WHEN 'array' THEN
    nullif(btrim(substr((o.result -> 'result_image_paths')::text, 2, length((o.result -> 'result_image_paths')::text)
    - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_image_path') WHEN 'string' THEN (o.result ->
    'result_image_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_video_paths":[' || string_agg( CASE json_typeof(o.result -> 'result_video_paths')
    WHEN 'array' THEN nullif(btrim(substr((o.result -> 'result_video_paths')::text, 2, length((o.result ->
    'result_video_paths')::text) - 2), E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_video_path') WHEN
    'string' THEN (o.result -> 'result_video_path')::text END END, ','
ORDER BY o.item) || ']', ',"result_texts":[' || string_agg( CASE json_typeof(o.result -> 'result_texts') WHEN 'array'
    THEN nullif(btrim(substr((o.result -> 'result_texts')::text, 2, length((o.result -> 'result_texts')::text) - 2),
    E' \t\r\n'), '') ELSE CASE json_typeof(o.result -> 'result_text') WHEN 'string' THEN (o.result ->
    'result_text')::text END END, ','
ORDER BY o.item) || ']', '}')::json
FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) AS o ) END AS step_result,
    steps.error_message AS step_error_message, steps.started_at AS step_started_at, steps.completed_at AS
    step_completed_at, steps.updated_at AS step_updated_at, steps.skip_reason AS step_skip_reason, steps.flow AS
    step_flow, latest.provider AS step_latest_provider, latest.sent ->> 'model' AS step_latest_model, step_costs.costs
    AS step_step_costs, CASE WHEN steps.for_each IS NOT NULL AND steps.flow ->> 'items' IS NOT NULL THEN (SELECT
    json_build_object('total', count(*), 'pending', count(*) FILTER (WHERE i.status IN ('PENDING', 'CANCELLED')),
    'running', count(*) FILTER (WHERE i.status = 'RUNNING'), 'completed', count(*) FILTER (WHERE i.status =
    'COMPLETED'), 'failed', count(*) FILTER (WHERE i.status = 'FAILED'), 'skipped', count(*) FILTER (WHERE i.status =
    'SKIPPED'), 'retries', coalesce(sum(i.retry_count), 0))
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) END AS step_item_counts
FROM requested
JOIN steps ON steps.workflow_id = requested.id
LEFT OUTER
JOIN tasks AS latest ON latest.id = steps.task_id
LEFT OUTER
JOIN (SELECT CAST(json_agg(json_build_array(step_sums.currency, step_sums.amount, step_sums.attempts)
ORDER BY step_sums.currency) AS TEXT) AS costs, step_sums.workflow_id AS workflow_id, step_sums.position AS position
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts, tasks.workflow_id AS workflow_id, tasks.position AS position
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = ANY ($11::UUID[])
GROUP BY 1, tasks.workflow_id, tasks.position) AS step_sums
GROUP BY step_sums.workflow_id, step_sums.position) AS step_costs ON step_costs.workflow_id = steps.workflow_id AND
    step_costs.position = steps.position
ORDER BY steps.workflow_id, steps.position;
--   Sort
--     Sort Key: steps.workflow_id, steps."position"
--     CTE requested
--       ->  Nested Loop
--             ->  Index Scan using workflows_pkey on workflows
--                   Index Cond: (id = ANY ($11))
--                   Filter: (((SubPlan 16) + (pg_column_size(config) * CASE WHEN (pg_column_compression(config) IS NULL) THEN 1 ELSE 50 END)) <= 65536)
--                   SubPlan 16
--                     ->  Aggregate
--                           ->  Index Scan using steps_pkey on steps weighed
--                                 Index Cond: (workflow_id = workflows.id)
--                           SubPlan 15
--                             ->  Aggregate
--                                   ->  Index Scan using step_items_pkey on step_items i_4
--                                         Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             ->  Index Scan using steps_pkey on steps final
--                   Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--             SubPlan 1
--               ->  Limit
--                     ->  Sort
--                           Sort Key: steps_1.started_at, steps_1."position"
--                           ->  Index Scan using steps_pkey on steps steps_1
--                                 Index Cond: (workflow_id = workflows.id)
--                                 Filter: (status = ($1)::text)
--             SubPlan 2
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_2
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (status = ($4)::text)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Scan using steps_pkey on steps steps_3
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: ((NOT optional) AND (status = ($4)::text))
--             SubPlan 4
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps steps_4
--                           Index Cond: (workflow_id = workflows.id)
--                           Filter: (((status = ($6)::text) AND (skip_reason <> ($7)::text)) OR ((status = ($4)::text) AND optional))
--             SubPlan 5
--               ->  Aggregate
--                     ->  Sort
--                           Sort Key: ((tasks_1.cost ->> 'currency'::text))
--                           ->  HashAggregate
--                                 Group Key: (tasks_1.cost ->> 'currency'::text)
--                                 ->  Index Scan using tasks_sent on tasks tasks_1
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($8)::text) AND (status <> ($9)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($10)::text))))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Index Only Scan using labels_pkey on labels
--                           Index Cond: (workflow_id = workflows.id)
--             SubPlan 7
--               ->  Aggregate
--                     ->  GroupAggregate
--                           Group Key: s."position"
--                           ->  Nested Loop
--                                 Join Filter: (s."position" = i."position")
--                                 ->  Index Scan using steps_pkey on steps s
--                                       Index Cond: (workflow_id = workflows.id)
--                                       Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                 ->  Index Scan using step_items_pkey on step_items i
--                                       Index Cond: (workflow_id = workflows.id)
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_1
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_2
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 10
--               ->  Aggregate
--                     ->  Index Scan using step_items_pkey on step_items i_3
--                           Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--             SubPlan 11
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows.id)
--             SubPlan 12
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows.root_id)
--             SubPlan 14
--               ->  Limit
--                     CTE below
--                       ->  Recursive Union
--                             ->  Result
--                             ->  Nested Loop
--                                   ->  WorkTable Scan on below
--                                   ->  Index Only Scan using workflows_by_parent on workflows c
--                                         Index Cond: (parent_id = below.id)
--                     ->  Sort
--                           Sort Key: (array_position('{decision,signal,delay}'::text[], n_2.kind))
--                           ->  Nested Loop
--                                 ->  CTE Scan on below below_1
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                       Index Cond: (workflow_id = below_1.id)
--     ->  Nested Loop Left Join
--           Join Filter: ((step_sums.workflow_id = steps.workflow_id) AND (step_sums."position" = steps."position"))
--           ->  Nested Loop Left Join
--                 ->  Nested Loop
--                       ->  CTE Scan on requested
--                       ->  Index Scan using steps_pkey on steps
--                             Index Cond: (workflow_id = requested.id)
--                 ->  Index Scan using tasks_pkey on tasks latest
--                       Index Cond: (id = steps.task_id)
--           ->  GroupAggregate
--                 Group Key: step_sums.workflow_id, step_sums."position"
--                 ->  Sort
--                       Sort Key: step_sums.workflow_id, step_sums."position", step_sums.currency
--                       ->  Subquery Scan on step_sums
--                             ->  HashAggregate
--                                   Group Key: (tasks.cost ->> 'currency'::text), tasks.workflow_id, tasks."position"
--                                   ->  Index Scan using tasks_sent on tasks
--                                         Index Cond: (workflow_id = ANY ($11))
--                                         Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--           SubPlan 18
--             ->  Aggregate
--                   ->  Index Scan using step_items_pkey on step_items i_5
--                         Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))
--           SubPlan 19
--             ->  Aggregate
--                   ->  Index Scan using step_items_pkey on step_items i_6
--                         Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

WITH room AS (
INSERT INTO upload_usage AS u (lane, bytes, uploads)
SELECT coalesce($2::text, ''), $4::bigint, 1
WHERE $4::bigint <= $12::bigint AND $13::integer > 0
ON CONFLICT (lane) DO UPDATE
SET bytes = u.bytes + excluded.bytes, uploads = u.uploads + 1
WHERE u.bytes + excluded.bytes <= $12::bigint AND u.uploads < $13::integer
RETURNING lane )
INSERT INTO uploads (id, tenant, name, status, size, sha256, media_type, width, height, duration_s, workflow_id,
    ttl_s, created_by, private_to, created_at, expires_at, presigned_until)
SELECT $1, $2, $3, 'PENDING', $4, $5, $6, $7, $8, $9, $10, $11, $15, $16, clock_timestamp(), clock_timestamp() +
    make_interval(secs => $14), CASE WHEN $5 = '' THEN clock_timestamp() + make_interval(secs => $14) END
FROM room
RETURNING id;
--   Insert on uploads
--     CTE room
--       ->  Insert on upload_usage u
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: upload_usage_pkey
--             Conflict Filter: (((u.bytes + excluded.bytes) <= $12) AND (u.uploads < $13))
--             ->  Result
--                   One-Time Filter: (($4 <= $12) AND ($13 > 0))
--     ->  Subquery Scan on "*SELECT*"
--           ->  CTE Scan on room

WITH stored AS (
INSERT INTO definition_versions (lane, name, version, digest, size, created_by, created_at, refers_to, content)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json) )
INSERT INTO definitions AS d (lane, name, newest, versions, labels, bytes)
VALUES ($1, $2, $3, 1, '{}', $5::integer)
ON CONFLICT (lane, name) DO UPDATE
SET newest = excluded.newest, versions = d.versions + 1, bytes = d.bytes + excluded.bytes;
--   Insert on definitions d
--     Conflict Resolution: UPDATE
--     Conflict Arbiter Indexes: definitions_pkey
--     CTE stored
--       ->  Insert on definition_versions
--             ->  Result
--     ->  Result

WITH target AS MATERIALIZED (
SELECT w.owner, coalesce(w.tenant, '') AS lane, (SELECT count(*)
FROM commands AS c
WHERE c.workflow_id = w.id AND c.outcome IS NULL) < 100 AS workflow_has_room, (SELECT count(*)
FROM commands AS c
WHERE c.lane = coalesce(w.tenant, '') AND c.outcome IS NULL) < 1000 AS tenant_has_room
FROM workflows AS w
WHERE w.id = $2 AND w.owner <> $3 AND EXISTS (SELECT
FROM processes AS p
WHERE p.id = w.owner AND p.lease_until > clock_timestamp()) AND ($9::bool OR w.tenant IS NOT DISTINCT FROM $8::text)
    AND ($10::text IS NULL OR w.created_by = $10::text) ), sent AS (
INSERT INTO commands (id, workflow_id, lane, requester, recipient, request, scope, key, token, created_at)
SELECT $1, $2, lane, $3, owner, $4, $5, $6, $7, clock_timestamp()
FROM target
WHERE workflow_has_room AND tenant_has_room
RETURNING id, recipient ), old AS (
DELETE FROM commands
WHERE id = ANY ($11::uuid[] || ARRAY(
SELECT id
FROM commands
WHERE created_at < now() - interval '5 min'
ORDER BY created_at
LIMIT 20 FOR UPDATE SKIP LOCKED )) )
SELECT workflow_has_room, tenant_has_room, (SELECT count(pg_notify('stepwell_process_' || recipient, 'sent:' || id))
FROM sent) AS sent
FROM target;
--   CTE Scan on target
--     CTE target
--       ->  Index Scan using workflows_by_owner on workflows w
--             Index Cond: (id = $2)
--             Filter: ((owner <> $3) AND ($9 OR (NOT (tenant IS DISTINCT FROM $8))) AND (($10 IS NULL) OR (created_by = $10)) AND EXISTS(SubPlan 3))
--             SubPlan 1
--               ->  Aggregate
--                     ->  Index Scan using commands_waiting on commands c
--                           Filter: (workflow_id = w.id)
--             SubPlan 2
--               ->  Aggregate
--                     ->  Index Only Scan using commands_waiting on commands c_1
--                           Index Cond: (lane = COALESCE(w.tenant, ''::text))
--             SubPlan 3
--               ->  Index Scan using processes_pkey on processes p
--                     Index Cond: (id = w.owner)
--                     Filter: (lease_until > clock_timestamp())
--     CTE sent
--       ->  Insert on commands
--             ->  Subquery Scan on "*SELECT*"
--                   ->  CTE Scan on target target_1
--                         Filter: (workflow_has_room AND tenant_has_room)
--     CTE old
--       ->  Delete on commands commands_2
--             InitPlan 6
--               ->  Limit
--                     ->  LockRows
--                           ->  Index Scan using commands_by_created_at on commands commands_1
--                                 Index Cond: (created_at < (now() - '00:05:00'::interval))
--             ->  Index Scan using commands_pkey on commands commands_2
--                   Index Cond: (id = ANY (($11 || (InitPlan 6).col1)))
--     InitPlan 8
--       ->  Aggregate
--             ->  CTE Scan on sent

WITH upload AS MATERIALIZED (
SELECT coalesce(tenant, '') AS lane
FROM uploads
WHERE id = $1 AND status = 'STORED' FOR UPDATE ), room AS (
UPDATE upload_usage AS u
SET bytes = u.bytes + $2
FROM upload
WHERE u.lane = upload.lane AND u.bytes + $2 <= $3
RETURNING u.lane ), charged AS (
UPDATE uploads
SET preview_bytes = preview_bytes + $2
WHERE id = $1 AND EXISTS (SELECT
FROM room) )
SELECT EXISTS (SELECT
FROM upload) AS found, EXISTS (SELECT
FROM room) AS charged;
--   Result
--     CTE upload
--       ->  LockRows
--             ->  Index Scan using uploads_by_tenant on uploads
--                   Index Cond: (id = $1)
--                   Filter: (status = 'STORED'::text)
--     CTE room
--       ->  Update on upload_usage u
--             ->  Nested Loop
--                   ->  CTE Scan on upload
--                   ->  Index Scan using upload_usage_pkey on upload_usage u
--                         Index Cond: (lane = upload.lane)
--                         Filter: ((bytes + $2) <= $3)
--     CTE charged
--       ->  Update on uploads uploads_1
--             InitPlan 3
--               ->  CTE Scan on room
--             ->  Result
--                   One-Time Filter: (InitPlan 3).col1
--                   ->  Index Scan using uploads_pkey on uploads uploads_1
--                         Index Cond: (id = $1)
--     InitPlan 5
--       ->  CTE Scan on upload upload_1
--     InitPlan 6
--       ->  CTE Scan on room room_1

WITH used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($4::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND t.applied_at IS NULL
RETURNING t.workflow_id ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT *
FROM unnest($5::uuid[], $6::text[], $7::timestamptz[])
WHERE EXISTS (SELECT
FROM used_keys) ), new_workflows AS (
INSERT INTO workflows (id, tenant, created_by, origin_instance, origin_zone, origin_reference, config,
    suppress_subtask_events, total_steps, final_position, definition_bytes, feature_level, inputs, inputs_schema,
    evaluates, has_flow, stored_definition, named_definitions, named_files, reuse, created_at, status, name,
    description, webhook_url, completed_steps, execution_id, failure, started_at, completed_at, updated_at,
    deleted_at, deadline_at, timeout_left_s, owner, epoch, last_event, crashes)
SELECT w.id, w.tenant, w.created_by, w.origin_instance, w.origin_zone, w.origin_reference, w.config,
    w.suppress_subtask_events, w.total_steps, w.final_position, w.definition_bytes, w.feature_level, w.inputs,
    w.inputs_schema, w.evaluates, w.has_flow, w.stored_definition, w.named_definitions, w.named_files, w.reuse,
    w.created_at, w.status, w.name, w.description, w.webhook_url, w.completed_steps, w.execution_id, w.failure,
    w.started_at, w.completed_at, w.updated_at, w.deleted_at, w.deadline_at, w.timeout_left_s, w.owner, w.epoch,
    w.last_event, w.crashes
FROM unnest($1::insert_workflow[]) AS w
WHERE EXISTS (SELECT
FROM used_keys) ), new_steps AS (
INSERT INTO steps (workflow_id, updated_at, status, position, id, step_id, task_type, definition, depends_on,
    max_retries, timeout_s, provider, fallback, run_if, optional, condition, repeat, for_each)
SELECT s.workflow_id, s.created_at, 'PENDING', s.position, s.id, s.step_id, s.task_type, s.definition, s.depends_on,
    s.max_retries, s.timeout_s, s.provider, s.fallback, s.run_if, s.optional, s.condition, s.repeat, s.for_each
FROM unnest($2::insert_step[]) AS s
WHERE EXISTS (SELECT
FROM used_keys) ), new_events AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($3::checkpoint_event[]) AS e
WHERE EXISTS (SELECT
FROM used_keys) )
SELECT workflow_id
FROM used_keys;
--   CTE Scan on used_keys
--     CTE used_keys
--       ->  Update on idempotency_keys t
--             ->  Nested Loop
--                   ->  Function Scan on unnest k
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t
--                         Index Cond: ((scope = k.scope) AND (key = k.key))
--                         Filter: ((applied_at IS NULL) AND (k.token = token))
--     CTE new_labels
--       ->  Insert on labels
--             InitPlan 2
--               ->  CTE Scan on used_keys used_keys_1
--             ->  Result
--                   One-Time Filter: (InitPlan 2).col1
--                   ->  Function Scan on unnest
--     CTE new_workflows
--       ->  Insert on workflows
--             InitPlan 4
--               ->  CTE Scan on used_keys used_keys_2
--             ->  Result
--                   One-Time Filter: (InitPlan 4).col1
--                   ->  Function Scan on unnest w
--     CTE new_steps
--       ->  Insert on steps
--             InitPlan 6
--               ->  CTE Scan on used_keys used_keys_3
--             ->  Result
--                   One-Time Filter: (InitPlan 6).col1
--                   ->  Function Scan on unnest s
--     CTE new_events
--       ->  Insert on events
--             InitPlan 8
--               ->  CTE Scan on used_keys used_keys_4
--             ->  Result
--                   One-Time Filter: (InitPlan 8).col1
--                   ->  Function Scan on unnest e

WITH written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes
FROM unnest($1::checkpoint_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = s.result,
    error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason
FROM unnest($2::checkpoint_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint
FROM unnest($3::checkpoint_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE )
SELECT id, clock_timestamp() AS now
FROM written;
--   CTE Scan on written
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 2).col1)) IS TRUE)
--                         SubPlan 2
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 4).col1)) IS TRUE)
--                   SubPlan 4
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 6).col1)) IS TRUE)
--                   SubPlan 6
--                     ->  CTE Scan on written written_3

WITH written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes
FROM unnest($1::checkpoint_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = s.result,
    error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason
FROM unnest($2::checkpoint_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint
FROM unnest($3::checkpoint_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_deliveries AS (
INSERT INTO deliveries (workflow_id, event_id, type, lane, created_at, status, attempts, next_at, owner)
SELECT d.workflow_id, d.event_id, d.type, d.lane, d.created_at, 'PENDING', '[]', d.created_at, $6
FROM unnest($5::checkpoint_delivery[]) AS d
WHERE (d.workflow_id IN (SELECT id
FROM written)) IS TRUE ), used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($7::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE ), begun_cleanups AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at)
SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp()
FROM workflows AS w
WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id
FROM written) ), ended_cleanups AS (
DELETE FROM cleanups
WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id
FROM written) ), old_labels AS (
DELETE FROM labels AS t
WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id
FROM written) AND NOT EXISTS (SELECT
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
WHERE n.workflow_id = t.workflow_id AND n.label = t.label) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT n.workflow_id, n.label, w.created_at
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
JOIN workflows AS w ON w.id = n.workflow_id
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING )
SELECT id, clock_timestamp() AS now
FROM written;
--   CTE Scan on written
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 2).col1)) IS TRUE)
--                         SubPlan 2
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 4).col1)) IS TRUE)
--                   SubPlan 4
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 6).col1)) IS TRUE)
--                   SubPlan 6
--                     ->  CTE Scan on written written_3
--     CTE new_deliveries
--       ->  Insert on deliveries
--             ->  Function Scan on unnest d
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 8).col1)) IS TRUE)
--                   SubPlan 8
--                     ->  CTE Scan on written written_4
--     CTE used_keys
--       ->  Update on idempotency_keys t_2
--             ->  Nested Loop
--                   ->  Function Scan on unnest k_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 10).col1)) IS TRUE)
--                         SubPlan 10
--                           ->  CTE Scan on written written_5
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t_2
--                         Index Cond: ((scope = k_1.scope) AND (key = k_1.key))
--                         Filter: (k_1.token = token)
--     CTE begun_cleanups
--       ->  Insert on cleanups
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_6.id
--                               ->  CTE Scan on written written_6
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: ((id = written_6.id) AND (id = ANY ($8)))
--     CTE ended_cleanups
--       ->  Delete on cleanups cleanups_1
--             ->  Nested Loop
--                   ->  HashAggregate
--                         Group Key: written_7.id
--                         ->  CTE Scan on written written_7
--                   ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                         Index Cond: ((workflow_id = written_7.id) AND (workflow_id = ANY ($9)))
--     CTE old_labels
--       ->  Delete on labels t_3
--             ->  Nested Loop Anti Join
--                   Join Filter: ((n.workflow_id = t_3.workflow_id) AND (n.label = t_3.label))
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_8.id
--                               ->  CTE Scan on written written_8
--                         ->  Index Scan using labels_pkey on labels t_3
--                               Index Cond: ((workflow_id = written_8.id) AND (workflow_id = ANY ($10)))
--                   ->  Function Scan on n
--     CTE new_labels
--       ->  Insert on labels
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Function Scan on n_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 15).col1)) IS TRUE)
--                         SubPlan 15
--                           ->  CTE Scan on written written_9
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = n_1.workflow_id)

WITH written AS (
UPDATE workflows AS t
SET status = w.status, name = w.name, description = w.description, webhook_url = w.webhook_url, completed_steps =
    w.completed_steps, execution_id = w.execution_id, failure = w.failure, started_at = w.started_at, completed_at =
    w.completed_at, updated_at = w.updated_at, deleted_at = w.deleted_at, deadline_at = w.deadline_at, timeout_left_s
    = w.timeout_left_s, owner = w.owner, epoch = w.epoch, last_event = w.last_event, crashes = w.crashes
FROM unnest($1::checkpoint_workflow[]) AS w
WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner AND t.epoch = w.fence_epoch AND t.last_event =
    w.fence_event
RETURNING t.id ), changed_steps AS (
UPDATE steps AS t
SET status = s.status, task_id = s.task_id, attempt = s.attempt, provider_attempts = s.provider_attempts, retry_count
    = s.retry_count, on_fallback = s.on_fallback, next_attempt_at = s.next_attempt_at, result = s.result,
    error_message = s.error_message, started_at = s.started_at, completed_at = s.completed_at, updated_at =
    s.updated_at, skip_reason = s.skip_reason
FROM unnest($2::checkpoint_step[]) AS s
WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND (s.workflow_id IN (SELECT id
FROM written)) IS TRUE ), changed_tasks AS (
INSERT INTO tasks (id, workflow_id, position, attempt, provider, seed, started_at, status, phase, remote_id,
    outcome_unknown, cancel_receipt, outputs, error, completed_at, sent, urls, follow_up_until, cost, fingerprint)
SELECT k.id, k.workflow_id, k.position, k.attempt, k.provider, k.seed, k.started_at, k.status, k.phase, k.remote_id,
    k.outcome_unknown, k.cancel_receipt, k.outputs, k.error, k.completed_at, k.sent, k.urls, k.follow_up_until,
    k.cost, k.fingerprint
FROM unnest($3::checkpoint_task[]) AS k
WHERE (k.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT (id) DO UPDATE
SET seed = excluded.seed, status = excluded.status, phase = excluded.phase, remote_id = excluded.remote_id,
    outcome_unknown = excluded.outcome_unknown, cancel_receipt = excluded.cancel_receipt, outputs = excluded.outputs,
    error = excluded.error, completed_at = excluded.completed_at, sent = excluded.sent, urls = excluded.urls,
    follow_up_until = excluded.follow_up_until, cost = excluded.cost, fingerprint = excluded.fingerprint ), new_events
    AS (
INSERT INTO events (workflow_id, id, type, at, step_id, task_id, actor, data)
SELECT e.workflow_id, e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($4::checkpoint_event[]) AS e
WHERE (e.workflow_id IN (SELECT id
FROM written)) IS TRUE ), new_deliveries AS (
INSERT INTO deliveries (workflow_id, event_id, type, lane, created_at, status, attempts, next_at, owner)
SELECT d.workflow_id, d.event_id, d.type, d.lane, d.created_at, 'PENDING', '[]', d.created_at, $6
FROM unnest($5::checkpoint_delivery[]) AS d
WHERE (d.workflow_id IN (SELECT id
FROM written)) IS TRUE ), used_keys AS (
UPDATE idempotency_keys AS t
SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
FROM unnest($7::checkpoint_key[]) AS k
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND (k.workflow_id IN (SELECT id
FROM written)) IS TRUE ), begun_cleanups AS (
INSERT INTO cleanups (workflow_id, lane, owner, next_at)
SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp()
FROM workflows AS w
WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id
FROM written) ), ended_cleanups AS (
DELETE FROM cleanups
WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id
FROM written) ), old_labels AS (
DELETE FROM labels AS t
WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id
FROM written) AND NOT EXISTS (SELECT
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
WHERE n.workflow_id = t.workflow_id AND n.label = t.label) ), new_labels AS (
INSERT INTO labels (workflow_id, label, created_at)
SELECT n.workflow_id, n.label, w.created_at
FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
JOIN workflows AS w ON w.id = n.workflow_id
WHERE (n.workflow_id IN (SELECT id
FROM written)) IS TRUE
ON CONFLICT DO NOTHING ), cost_changes AS (
SELECT coalesce(w.tenant, '') AS tenant, (c.ended_at AT TIME ZONE 'UTC')::date AS day, coalesce(c.provider, '') AS
    provider, coalesce(left(c.sent ->> 'model', 255), '') AS model, coalesce(CASE WHEN w.root_id IS NULL THEN
    w.stored_definition ELSE root.stored_definition END, '') AS definition, c.cost ->> 'currency' AS currency, c.sign
    * (c.cost ->> 'amount')::numeric AS amount, c.sign AS attempts, CASE WHEN c.sign = 0 THEN (c.cost ->>
    'amount')::numeric ELSE 0 END AS saved
FROM (
SELECT 1 AS sign, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM unnest($3::checkpoint_task[]) AS k
WHERE k.cost IS NOT NULL
UNION ALL
SELECT -1, workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at
FROM tasks AS t
WHERE t.cost IS NOT NULL AND t.id = ANY(SELECT k.id
FROM unnest($3::checkpoint_task[]) AS k
WHERE k.cost IS NOT NULL) ) AS c
JOIN workflows AS w ON w.id = c.workflow_id
LEFT
JOIN workflows AS root ON root.id = w.root_id
WHERE (c.workflow_id IN (SELECT id
FROM written)) IS TRUE ), counted_costs AS (
INSERT INTO daily_costs AS t (tenant, day, provider, model, definition, currency, amount, attempts, saved)
SELECT tenant, day, provider, model, definition, currency, sum(amount), sum(attempts), sum(saved)
FROM cost_changes
GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(amount) <> 0 OR sum(attempts) <> 0 OR sum(saved) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (tenant, day, provider, model, definition, currency) DO UPDATE
SET amount = t.amount + excluded.amount, attempts = t.attempts + excluded.attempts, saved = t.saved + excluded.saved )
SELECT id, clock_timestamp() AS now
FROM written;
--   CTE Scan on written
--     CTE written
--       ->  Update on workflows t
--             ->  Nested Loop
--                   ->  Function Scan on unnest w
--                   ->  Index Scan using workflows_pkey on workflows t
--                         Index Cond: (id = w.id)
--                         Filter: ((NOT (owner IS DISTINCT FROM w.fence_owner)) AND (w.fence_epoch = epoch) AND (w.fence_event = last_event))
--     CTE changed_steps
--       ->  Update on steps t_1
--             ->  Nested Loop
--                   ->  Function Scan on unnest s
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 2).col1)) IS TRUE)
--                         SubPlan 2
--                           ->  CTE Scan on written written_1
--                   ->  Index Scan using steps_pkey on steps t_1
--                         Index Cond: ((workflow_id = s.workflow_id) AND ("position" = s."position"))
--     CTE changed_tasks
--       ->  Insert on tasks
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: tasks_pkey
--             ->  Function Scan on unnest k
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 4).col1)) IS TRUE)
--                   SubPlan 4
--                     ->  CTE Scan on written written_2
--     CTE new_events
--       ->  Insert on events
--             ->  Function Scan on unnest e
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 6).col1)) IS TRUE)
--                   SubPlan 6
--                     ->  CTE Scan on written written_3
--     CTE new_deliveries
--       ->  Insert on deliveries
--             ->  Function Scan on unnest d
--                   Filter: ((ANY (workflow_id = (hashed SubPlan 8).col1)) IS TRUE)
--                   SubPlan 8
--                     ->  CTE Scan on written written_4
--     CTE used_keys
--       ->  Update on idempotency_keys t_2
--             ->  Nested Loop
--                   ->  Function Scan on unnest k_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 10).col1)) IS TRUE)
--                         SubPlan 10
--                           ->  CTE Scan on written written_5
--                   ->  Index Scan using idempotency_keys_pkey on idempotency_keys t_2
--                         Index Cond: ((scope = k_1.scope) AND (key = k_1.key))
--                         Filter: (k_1.token = token)
--     CTE begun_cleanups
--       ->  Insert on cleanups
--             ->  Subquery Scan on "*SELECT*"
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_6.id
--                               ->  CTE Scan on written written_6
--                         ->  Index Scan using workflows_pkey on workflows w_1
--                               Index Cond: ((id = written_6.id) AND (id = ANY ($8)))
--     CTE ended_cleanups
--       ->  Delete on cleanups cleanups_1
--             ->  Nested Loop
--                   ->  HashAggregate
--                         Group Key: written_7.id
--                         ->  CTE Scan on written written_7
--                   ->  Index Scan using cleanups_pkey on cleanups cleanups_1
--                         Index Cond: ((workflow_id = written_7.id) AND (workflow_id = ANY ($9)))
--     CTE old_labels
--       ->  Delete on labels t_3
--             ->  Nested Loop Anti Join
--                   Join Filter: ((n.workflow_id = t_3.workflow_id) AND (n.label = t_3.label))
--                   ->  Nested Loop
--                         ->  HashAggregate
--                               Group Key: written_8.id
--                               ->  CTE Scan on written written_8
--                         ->  Index Scan using labels_pkey on labels t_3
--                               Index Cond: ((workflow_id = written_8.id) AND (workflow_id = ANY ($10)))
--                   ->  Function Scan on n
--     CTE new_labels
--       ->  Insert on labels
--             Conflict Resolution: NOTHING
--             ->  Nested Loop
--                   ->  Function Scan on n_1
--                         Filter: ((ANY (workflow_id = (hashed SubPlan 15).col1)) IS TRUE)
--                         SubPlan 15
--                           ->  CTE Scan on written written_9
--                   ->  Index Scan using workflows_pkey on workflows w_2
--                         Index Cond: (id = n_1.workflow_id)
--     CTE counted_costs
--       ->  Insert on daily_costs t_4
--             Conflict Resolution: UPDATE
--             Conflict Arbiter Indexes: daily_costs_pkey
--             ->  GroupAggregate
--                   Group Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                   Filter: ((sum((("*SELECT* 1".sign)::numeric * (("*SELECT* 1".cost ->> 'amount'::text))::numeric)) <> '0'::numeric) OR (sum("*SELECT* 1".sign) <> 0) OR (sum(CASE WHEN ("*SELECT* 1".sign = 0) THEN (("*SELECT* 1".cost ->> 'amount'::text))::numeric ELSE '0'::numeric END) <> '0'::numeric))
--                   ->  Sort
--                         Sort Key: (COALESCE(w_3.tenant, ''::text)), ((("*SELECT* 1".ended_at AT TIME ZONE 'UTC'::text))::date), (COALESCE("*SELECT* 1".provider, ''::text)), (COALESCE("left"(("*SELECT* 1".sent ->> 'model'::text), 255), ''::text)), (COALESCE(CASE WHEN (w_3.root_id IS NULL) THEN w_3.stored_definition ELSE root.stored_definition END, ''::text)), (("*SELECT* 1".cost ->> 'currency'::text))
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  Append
--                                           ->  Subquery Scan on "*SELECT* 1"
--                                                 Filter: ((ANY ("*SELECT* 1".workflow_id = (hashed SubPlan 17).col1)) IS TRUE)
--                                                 ->  Function Scan on unnest k_2
--                                                       Filter: (cost IS NOT NULL)
--                                                 SubPlan 17
--                                                   ->  CTE Scan on written written_10
--                                           ->  Subquery Scan on "*SELECT* 2"
--                                                 Filter: ((ANY ("*SELECT* 2".workflow_id = (hashed SubPlan 17).col1)) IS TRUE)
--                                                 ->  Nested Loop
--                                                       ->  HashAggregate
--                                                             Group Key: k_3.id
--                                                             ->  Function Scan on unnest k_3
--                                                                   Filter: (cost IS NOT NULL)
--                                                       ->  Index Scan using tasks_pkey on tasks t_5
--                                                             Index Cond: (id = k_3.id)
--                                                             Filter: (cost IS NOT NULL)
--                                     ->  Index Scan using workflows_pkey on workflows w_3
--                                           Index Cond: (id = "*SELECT* 1".workflow_id)
--                               ->  Index Scan using workflows_pkey on workflows root
--                                     Index Cond: (id = w_3.root_id)
