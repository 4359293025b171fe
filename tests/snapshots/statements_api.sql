-- Plans of PostgreSQL 18.

SELECT "some".id, "some".workflow_id, "some".position, "some".attempt, "some".provider, "some".seed,
    "some".started_at, "some".status, "some".phase, "some".remote_id, "some".outcome_unknown, "some".cancel_receipt,
    "some".outputs, "some".error, "some".completed_at, "some".deleted_at, "some".sent, "some".urls,
    "some".follow_up_until, "some".cost, "some".item, "some".step_id, "some".task_type, "some".number,
    "some".available, "some".bytes
FROM (SELECT read.id AS id, read.workflow_id AS workflow_id, read.position AS position, read.attempt AS attempt,
    read.provider AS provider, read.seed AS seed, read.started_at AS started_at, read.status AS status, read.phase AS
    phase, read.remote_id AS remote_id, read.outcome_unknown AS outcome_unknown, read.cancel_receipt AS
    cancel_receipt, read.outputs AS outputs, read.error AS error, read.completed_at AS completed_at, read.deleted_at
    AS deleted_at, read.sent AS sent, read.urls AS urls, read.follow_up_until AS follow_up_until, read.cost AS cost,
    read.item AS item, read.step_id AS step_id, read.task_type AS task_type, row_number() OVER (ORDER BY
    read.position, read.attempt) AS number, count(*) OVER () AS available, sum(600 +
    coalesce(octet_length(read.error), 0) + octet_length(CAST(read.outputs AS TEXT))) OVER (ORDER BY read.position,
    read.attempt) AS bytes
FROM (SELECT tasks.id AS id, tasks.workflow_id AS workflow_id, tasks.position AS position, tasks.attempt AS attempt,
    tasks.provider AS provider, tasks.seed AS seed, tasks.started_at AS started_at, tasks.status AS status,
    tasks.phase AS phase, tasks.remote_id AS remote_id, tasks.outcome_unknown AS outcome_unknown, tasks.cancel_receipt
    AS cancel_receipt, tasks.outputs AS outputs, tasks.error AS error, tasks.completed_at AS completed_at,
    tasks.deleted_at AS deleted_at, tasks.sent AS sent, tasks.urls AS urls, tasks.follow_up_until AS follow_up_until,
    tasks.cost AS cost, tasks.item AS item, steps.step_id AS step_id, steps.task_type AS task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE steps.step_id = $1::VARCHAR AND tasks.workflow_id = $2::UUID
ORDER BY tasks.position, tasks.attempt
LIMIT $3::INTEGER) AS read) AS "some"
WHERE "some".bytes <= $4::INTEGER OR "some".number = 1
ORDER BY "some".number;
--   Sort
--     Sort Key: "some".number
--     ->  Subquery Scan on "some"
--           Filter: (("some".bytes <= $4) OR ("some".number = 1))
--           ->  WindowAgg
--                 Window: w2 AS ()
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY read."position", read.attempt)
--                       ->  Subquery Scan on read
--                             ->  Limit
--                                   ->  Nested Loop
--                                         ->  Nested Loop
--                                               Join Filter: (steps."position" = tasks."position")
--                                               ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                                                     Index Cond: (workflow_id = $2)
--                                               ->  Index Scan using steps_pkey on steps
--                                                     Index Cond: (workflow_id = $2)
--                                                     Filter: (step_id = ($1)::text)
--                                         ->  Index Only Scan using workflows_pkey on workflows
--                                               Index Cond: (id = $2)

SELECT "some".id, "some".workflow_id, "some".position, "some".attempt, "some".provider, "some".seed,
    "some".started_at, "some".status, "some".phase, "some".remote_id, "some".outcome_unknown, "some".cancel_receipt,
    "some".outputs, "some".error, "some".completed_at, "some".deleted_at, "some".sent, "some".urls,
    "some".follow_up_until, "some".cost, "some".item, "some".step_id, "some".task_type, "some".number,
    "some".available, "some".bytes
FROM (SELECT read.id AS id, read.workflow_id AS workflow_id, read.position AS position, read.attempt AS attempt,
    read.provider AS provider, read.seed AS seed, read.started_at AS started_at, read.status AS status, read.phase AS
    phase, read.remote_id AS remote_id, read.outcome_unknown AS outcome_unknown, read.cancel_receipt AS
    cancel_receipt, read.outputs AS outputs, read.error AS error, read.completed_at AS completed_at, read.deleted_at
    AS deleted_at, read.sent AS sent, read.urls AS urls, read.follow_up_until AS follow_up_until, read.cost AS cost,
    read.item AS item, read.step_id AS step_id, read.task_type AS task_type, row_number() OVER (ORDER BY
    read.position, read.attempt) AS number, count(*) OVER () AS available, sum(600 +
    coalesce(octet_length(read.error), 0) + octet_length(CAST(read.outputs AS TEXT))) OVER (ORDER BY read.position,
    read.attempt) AS bytes
FROM (SELECT tasks.id AS id, tasks.workflow_id AS workflow_id, tasks.position AS position, tasks.attempt AS attempt,
    tasks.provider AS provider, tasks.seed AS seed, tasks.started_at AS started_at, tasks.status AS status,
    tasks.phase AS phase, tasks.remote_id AS remote_id, tasks.outcome_unknown AS outcome_unknown, tasks.cancel_receipt
    AS cancel_receipt, tasks.outputs AS outputs, tasks.error AS error, tasks.completed_at AS completed_at,
    tasks.deleted_at AS deleted_at, tasks.sent AS sent, tasks.urls AS urls, tasks.follow_up_until AS follow_up_until,
    tasks.cost AS cost, tasks.item AS item, steps.step_id AS step_id, steps.task_type AS task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.workflow_id = $1::UUID AND (tasks.position, tasks.attempt) > ($2::INTEGER, $3::INTEGER)
ORDER BY tasks.position, tasks.attempt
LIMIT $4::INTEGER) AS read) AS "some"
WHERE "some".bytes <= $5::INTEGER OR "some".number = 1
ORDER BY "some".number;
--   Sort
--     Sort Key: "some".number
--     ->  Subquery Scan on "some"
--           Filter: (("some".bytes <= $5) OR ("some".number = 1))
--           ->  WindowAgg
--                 Window: w2 AS ()
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY read."position", read.attempt)
--                       ->  Subquery Scan on read
--                             ->  Limit
--                                   ->  Nested Loop
--                                         ->  Nested Loop
--                                               Join Filter: (steps."position" = tasks."position")
--                                               ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                                                     Index Cond: ((workflow_id = $1) AND (ROW("position", attempt) > ROW($2, $3)))
--                                               ->  Index Scan using steps_pkey on steps
--                                                     Index Cond: (workflow_id = $1)
--                                         ->  Index Only Scan using workflows_pkey on workflows
--                                               Index Cond: (id = $1)

SELECT "some".id, "some".workflow_id, "some".position, "some".attempt, "some".provider, "some".seed,
    "some".started_at, "some".status, "some".phase, "some".remote_id, "some".outcome_unknown, "some".cancel_receipt,
    "some".outputs, "some".error, "some".completed_at, "some".deleted_at, "some".sent, "some".urls,
    "some".follow_up_until, "some".cost, "some".item, "some".step_id, "some".task_type, "some".number,
    "some".available, "some".bytes
FROM (SELECT read.id AS id, read.workflow_id AS workflow_id, read.position AS position, read.attempt AS attempt,
    read.provider AS provider, read.seed AS seed, read.started_at AS started_at, read.status AS status, read.phase AS
    phase, read.remote_id AS remote_id, read.outcome_unknown AS outcome_unknown, read.cancel_receipt AS
    cancel_receipt, read.outputs AS outputs, read.error AS error, read.completed_at AS completed_at, read.deleted_at
    AS deleted_at, read.sent AS sent, read.urls AS urls, read.follow_up_until AS follow_up_until, read.cost AS cost,
    read.item AS item, read.step_id AS step_id, read.task_type AS task_type, row_number() OVER (ORDER BY
    read.position, read.attempt) AS number, count(*) OVER () AS available, sum(600 +
    coalesce(octet_length(read.error), 0) + octet_length(CAST(read.outputs AS TEXT))) OVER (ORDER BY read.position,
    read.attempt) AS bytes
FROM (SELECT tasks.id AS id, tasks.workflow_id AS workflow_id, tasks.position AS position, tasks.attempt AS attempt,
    tasks.provider AS provider, tasks.seed AS seed, tasks.started_at AS started_at, tasks.status AS status,
    tasks.phase AS phase, tasks.remote_id AS remote_id, tasks.outcome_unknown AS outcome_unknown, tasks.cancel_receipt
    AS cancel_receipt, tasks.outputs AS outputs, tasks.error AS error, tasks.completed_at AS completed_at,
    tasks.deleted_at AS deleted_at, tasks.sent AS sent, tasks.urls AS urls, tasks.follow_up_until AS follow_up_until,
    tasks.cost AS cost, tasks.item AS item, steps.step_id AS step_id, steps.task_type AS task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.workflow_id = $1::UUID
ORDER BY tasks.position, tasks.attempt
LIMIT $2::INTEGER) AS read) AS "some"
WHERE "some".bytes <= $3::INTEGER OR "some".number = 1
ORDER BY "some".number;
--   Sort
--     Sort Key: "some".number
--     ->  Subquery Scan on "some"
--           Filter: (("some".bytes <= $3) OR ("some".number = 1))
--           ->  WindowAgg
--                 Window: w2 AS ()
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY read."position", read.attempt)
--                       ->  Subquery Scan on read
--                             ->  Limit
--                                   ->  Nested Loop
--                                         ->  Nested Loop
--                                               Join Filter: (steps."position" = tasks."position")
--                                               ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                                                     Index Cond: (workflow_id = $1)
--                                               ->  Index Scan using steps_pkey on steps
--                                                     Index Cond: (workflow_id = $1)
--                                         ->  Index Only Scan using workflows_pkey on workflows
--                                               Index Cond: (id = $1)

SELECT "some".id, "some".workflow_id, "some".position, "some".attempt, "some".provider, "some".seed,
    "some".started_at, "some".status, "some".phase, "some".remote_id, "some".outcome_unknown, "some".cancel_receipt,
    "some".outputs, "some".error, "some".completed_at, "some".deleted_at, "some".sent, "some".urls,
    "some".follow_up_until, "some".cost, "some".item, "some".step_id, "some".task_type, "some".number,
    "some".available, "some".bytes
FROM (SELECT read.id AS id, read.workflow_id AS workflow_id, read.position AS position, read.attempt AS attempt,
    read.provider AS provider, read.seed AS seed, read.started_at AS started_at, read.status AS status, read.phase AS
    phase, read.remote_id AS remote_id, read.outcome_unknown AS outcome_unknown, read.cancel_receipt AS
    cancel_receipt, read.outputs AS outputs, read.error AS error, read.completed_at AS completed_at, read.deleted_at
    AS deleted_at, read.sent AS sent, read.urls AS urls, read.follow_up_until AS follow_up_until, read.cost AS cost,
    read.item AS item, read.step_id AS step_id, read.task_type AS task_type, row_number() OVER (ORDER BY
    read.position, read.attempt) AS number, count(*) OVER () AS available, sum(600 +
    coalesce(octet_length(read.error), 0) + octet_length(CAST(read.outputs AS TEXT))) OVER (ORDER BY read.position,
    read.attempt) AS bytes
FROM (SELECT tasks.id AS id, tasks.workflow_id AS workflow_id, tasks.position AS position, tasks.attempt AS attempt,
    tasks.provider AS provider, tasks.seed AS seed, tasks.started_at AS started_at, tasks.status AS status,
    tasks.phase AS phase, tasks.remote_id AS remote_id, tasks.outcome_unknown AS outcome_unknown, tasks.cancel_receipt
    AS cancel_receipt, tasks.outputs AS outputs, tasks.error AS error, tasks.completed_at AS completed_at,
    tasks.deleted_at AS deleted_at, tasks.sent AS sent, tasks.urls AS urls, tasks.follow_up_until AS follow_up_until,
    tasks.cost AS cost, tasks.item AS item, steps.step_id AS step_id, steps.task_type AS task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE workflows.tenant = $1::VARCHAR AND tasks.workflow_id = $2::UUID
ORDER BY tasks.position, tasks.attempt
LIMIT $3::INTEGER) AS read) AS "some"
WHERE "some".bytes <= $4::INTEGER OR "some".number = 1
ORDER BY "some".number;
--   Sort
--     Sort Key: "some".number
--     ->  Subquery Scan on "some"
--           Filter: (("some".bytes <= $4) OR ("some".number = 1))
--           ->  WindowAgg
--                 Window: w2 AS ()
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY read."position", read.attempt)
--                       ->  Subquery Scan on read
--                             ->  Limit
--                                   ->  Nested Loop
--                                         ->  Nested Loop
--                                               Join Filter: (steps."position" = tasks."position")
--                                               ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                                                     Index Cond: (workflow_id = $2)
--                                               ->  Index Scan using steps_pkey on steps
--                                                     Index Cond: (workflow_id = $2)
--                                         ->  Index Only Scan using workflows_list_by_tenant on workflows
--                                               Index Cond: ((tenant = ($1)::text) AND (id = $2))

SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS pg_snapshot_xmin_1;
--   Result

SELECT CAST(json_agg(json_build_array(item_sums.currency, item_sums.amount, item_sums.attempts)
ORDER BY item_sums.currency) AS TEXT) AS costs, item_sums.item
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts, tasks.item AS item
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $1::VARCHAR OR tasks.status = $2::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $3::VARCHAR))) AND tasks.workflow_id = $4::UUID AND
    tasks.position = $5::INTEGER AND tasks.item = ANY ($6::INTEGER[])
GROUP BY 1, tasks.item) AS item_sums
GROUP BY item_sums.item;
--   GroupAggregate
--     Group Key: item_sums.item
--     ->  Sort
--           Sort Key: item_sums.item, item_sums.currency
--           ->  Subquery Scan on item_sums
--                 ->  GroupAggregate
--                       Group Key: ((tasks.cost ->> 'currency'::text)), tasks.item
--                       ->  Sort
--                             Sort Key: ((tasks.cost ->> 'currency'::text)), tasks.item
--                             ->  Index Scan using tasks_sent on tasks
--                                   Index Cond: (workflow_id = $4)
--                                   Filter: ((provider IS NOT NULL) AND ("position" = $5) AND ((cost IS NOT NULL) OR ((status <> ($1)::text) AND (status <> ($2)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($3)::text))) AND (item = ANY ($6)))

SELECT DISTINCT ON (artifact_references.task_id) artifact_references.task_id, artifact_references.workflow_id
FROM artifact_references
JOIN workflows ON workflows.id = artifact_references.workflow_id
WHERE artifact_references.task_id = ANY ($1::UUID[]) AND artifact_references.workflow_id != $2::UUID AND
    workflows.deleted_at IS NULL AND workflows.tenant = $3::VARCHAR
ORDER BY artifact_references.task_id, artifact_references.workflow_id;
--   Unique
--     ->  Sort
--           Sort Key: artifact_references.task_id, artifact_references.workflow_id
--           ->  Nested Loop
--                 ->  Index Only Scan using workflows_list_by_tenant on workflows
--                       Index Cond: (tenant = ($3)::text)
--                       Filter: (deleted_at IS NULL)
--                 ->  Index Only Scan using artifact_references_pkey on artifact_references
--                       Index Cond: ((task_id = ANY ($1)) AND (workflow_id = workflows.id))
--                       Filter: (workflow_id <> $2)

SELECT DISTINCT ON (artifact_references.task_id) artifact_references.task_id, artifact_references.workflow_id
FROM artifact_references
JOIN workflows ON workflows.id = artifact_references.workflow_id
WHERE artifact_references.task_id = ANY ($1::UUID[]) AND artifact_references.workflow_id != $2::UUID AND
    workflows.deleted_at IS NULL AND workflows.tenant IS NULL
ORDER BY artifact_references.task_id, artifact_references.workflow_id;
--   Unique
--     ->  Sort
--           Sort Key: artifact_references.task_id, artifact_references.workflow_id
--           ->  Nested Loop
--                 ->  Index Only Scan using workflows_list_without_tenant on workflows
--                       Filter: (deleted_at IS NULL)
--                 ->  Index Only Scan using artifact_references_pkey on artifact_references
--                       Index Cond: ((task_id = ANY ($1)) AND (workflow_id = workflows.id))
--                       Filter: (workflow_id <> $2)

SELECT DISTINCT ON (artifact_references.task_id) artifact_references.task_id, artifact_references.workflow_id
FROM artifact_references
JOIN workflows ON workflows.id = artifact_references.workflow_id
WHERE artifact_references.task_id = ANY ($1::UUID[]) AND artifact_references.workflow_id != $2::UUID AND
    workflows.deleted_at IS NULL
ORDER BY artifact_references.task_id, artifact_references.workflow_id;
--   Unique
--     ->  Sort
--           Sort Key: artifact_references.task_id, artifact_references.workflow_id
--           ->  Nested Loop
--                 ->  Bitmap Heap Scan on workflows
--                       Filter: (deleted_at IS NULL)
--                       ->  Bitmap Index Scan on workflows_list_by_status
--                 ->  Index Only Scan using artifact_references_pkey on artifact_references
--                       Index Cond: ((task_id = ANY ($1)) AND (workflow_id = workflows.id))
--                       Filter: (workflow_id <> $2)

SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN labels AS label_0 ON label_0.workflow_id = waits.root_id AND label_0.label = $1::VARCHAR
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $2::VARCHAR
LIMIT $3::INTEGER) AS anon_1;
--   Aggregate
--     ->  Limit
--           ->  Nested Loop
--                 ->  Nested Loop
--                       ->  Index Scan using waits_for_decisions_by_step on waits
--                             Index Cond: (COALESCE(tenant, ''::text) = ($2)::text)
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = waits.workflow_id)
--                             Filter: (deleted_at IS NULL)
--                 ->  Index Only Scan using labels_pkey on labels label_0
--                       Index Cond: ((workflow_id = waits.root_id) AND (label = ($1)::text))

SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR AND
    waits.step_id = $2::VARCHAR
LIMIT $3::INTEGER) AS anon_1;
--   Aggregate
--     ->  Limit
--           ->  Nested Loop
--                 ->  Index Scan using waits_for_decisions_by_step on waits
--                       Index Cond: ((COALESCE(tenant, ''::text) = ($1)::text) AND (step_id = ($2)::text))
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = waits.workflow_id)
--                       Filter: (deleted_at IS NULL)

SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR
LIMIT $2::INTEGER) AS anon_1;
--   Aggregate
--     ->  Limit
--           ->  Nested Loop
--                 ->  Index Scan using waits_for_decisions_by_step on waits
--                       Index Cond: (COALESCE(tenant, ''::text) = ($1)::text)
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = waits.workflow_id)
--                       Filter: (deleted_at IS NULL)

SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL
LIMIT $1::INTEGER) AS anon_1;
--   Aggregate
--     ->  Limit
--           ->  Nested Loop
--                 ->  Index Only Scan using waits_for_decisions_by_step on waits
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = waits.workflow_id)
--                       Filter: (deleted_at IS NULL)

SELECT count(*) AS count_1
FROM step_items
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER;
--   Aggregate
--     ->  Index Only Scan using step_items_pkey on step_items
--           Index Cond: ((workflow_id = $1) AND ("position" = $2))

SELECT count(*) AS count_1
FROM step_items
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER AND step_items.status IN ($3::VARCHAR);
--   Aggregate
--     ->  Index Scan using step_items_pkey on step_items
--           Index Cond: ((workflow_id = $1) AND ("position" = $2))
--           Filter: (status = ($3)::text)

SELECT count(*) AS count_1
FROM step_items
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER AND step_items.status IN ($3::VARCHAR,
    $4::VARCHAR);
--   Aggregate
--     ->  Index Scan using step_items_pkey on step_items
--           Index Cond: ((workflow_id = $1) AND ("position" = $2))
--           Filter: (status = ANY (ARRAY[($3)::text, ($4)::text]))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
JOIN labels AS label_1 ON label_1.workflow_id = workflows.id AND label_1.label = $2::VARCHAR AND label_1.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           Join Filter: ((label_0.workflow_id = workflows.id) AND (label_0.created_at = workflows.created_at))
--           ->  Hash Join
--                 Hash Cond: ((label_0.workflow_id = label_1.workflow_id) AND (label_0.created_at = label_1.created_at))
--                 ->  Bitmap Heap Scan on labels label_0
--                       Recheck Cond: (label = ($1)::text)
--                       ->  Bitmap Index Scan on labels_by_label
--                             Index Cond: (label = ($1)::text)
--                 ->  Hash
--                       ->  Bitmap Heap Scan on labels label_1
--                             Recheck Cond: (label = ($2)::text)
--                             ->  Bitmap Index Scan on labels_by_label
--                                   Index Cond: (label = ($2)::text)
--           ->  Index Only Scan using workflows_list_by_created on workflows
--                 Index Cond: ((created_at = label_1.created_at) AND (id = label_1.workflow_id))
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
JOIN labels AS label_1 ON label_1.workflow_id = workflows.id AND label_1.label = $2::VARCHAR AND label_1.created_at =
    workflows.created_at
WHERE workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           Join Filter: ((label_0.workflow_id = workflows.id) AND (label_0.created_at = workflows.created_at))
--           ->  Nested Loop
--                 ->  Index Only Scan using workflows_list_by_tenant on workflows
--                       Index Cond: (tenant = ($3)::text)
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Index Only Scan using labels_by_label on labels label_1
--                       Index Cond: ((label = ($2)::text) AND (created_at = workflows.created_at) AND (workflow_id = workflows.id))
--           ->  Index Only Scan using labels_by_label on labels label_0
--                 Index Cond: ((label = ($1)::text) AND (created_at = label_1.created_at) AND (workflow_id = label_1.workflow_id))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL;
--   Aggregate
--     ->  Nested Loop
--           ->  Bitmap Heap Scan on labels label_0
--                 Recheck Cond: (label = ($1)::text)
--                 ->  Bitmap Index Scan on labels_by_label
--                       Index Cond: (label = ($1)::text)
--           ->  Memoize
--                 Cache Key: label_0.workflow_id, label_0.created_at
--                 Cache Mode: logical
--                 ->  Index Only Scan using workflows_list_by_created on workflows
--                       Index Cond: ((created_at = label_0.created_at) AND (id = label_0.workflow_id))
--                       Filter: (deleted_at IS NULL)

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           ->  Bitmap Heap Scan on labels label_0
--                 Recheck Cond: (label = ($1)::text)
--                 ->  Bitmap Index Scan on labels_by_label
--                       Index Cond: (label = ($1)::text)
--           ->  Memoize
--                 Cache Key: label_0.workflow_id, label_0.created_at
--                 Cache Mode: logical
--                 ->  Index Only Scan using workflows_list_by_created on workflows
--                       Index Cond: ((created_at = label_0.created_at) AND (id = label_0.workflow_id))
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           ->  Index Only Scan using workflows_list_by_tenant on workflows
--                 Index Cond: (tenant = ($2)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Index Only Scan using labels_by_label on labels label_0
--                 Index Cond: ((label = ($1)::text) AND (created_at = workflows.created_at) AND (workflow_id = workflows.id))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR
WHERE workflows.status = $2::VARCHAR AND lower(workflows.name) LIKE lower($3::VARCHAR) AND workflows.deleted_at IS
    NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           ->  Index Scan using workflows_list_by_status on workflows
--                 Index Cond: (status = ($2)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($3)::text)))
--           ->  Index Only Scan using labels_pkey on labels label_0
--                 Index Cond: ((workflow_id = workflows.id) AND (label = ($1)::text))

SELECT count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR
WHERE workflows.status = $2::VARCHAR AND lower(workflows.name) LIKE lower($3::VARCHAR) AND workflows.tenant =
    $4::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop
--           ->  Index Scan using workflows_list_by_tenant on workflows
--                 Index Cond: (tenant = ($4)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ($2)::text) AND (lower(name) ~~ lower(($3)::text)))
--           ->  Index Only Scan using labels_pkey on labels label_0
--                 Index Cond: ((workflow_id = workflows.id) AND (label = ($1)::text))

SELECT count(*) AS count_1
FROM workflows
WHERE (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $1::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $1::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop Anti Join
--           ->  Nested Loop
--                 ->  HashAggregate
--                       Group Key: waits.root_id
--                       ->  Index Only Scan using waits_by_root on waits
--                             Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $1)
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = waits.root_id)
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Index Only Scan using waits_by_root on waits waits_1
--                 Index Cond: ((root_id = workflows.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $1))

SELECT count(*) AS count_1
FROM workflows
WHERE (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $1::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $1::INTEGER)) AND
    workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop Anti Join
--           ->  Nested Loop Semi Join
--                 Join Filter: (workflows.id = waits.root_id)
--                 ->  Index Only Scan using workflows_list_by_tenant on workflows
--                       Index Cond: (tenant = ($2)::text)
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Index Only Scan using waits_by_root on waits
--                       Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $1)
--           ->  Index Only Scan using waits_by_root on waits waits_1
--                 Index Cond: ((root_id = workflows.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $1))

SELECT count(*) AS count_1
FROM workflows
WHERE lower(workflows.name) LIKE lower($1::VARCHAR) AND workflows.deleted_at IS NULL;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Filter: ((deleted_at IS NULL) AND (lower(name) ~~ lower(($1)::text)))
--           ->  Bitmap Index Scan on workflows_list_by_name

SELECT count(*) AS count_1
FROM workflows
WHERE lower(workflows.name) LIKE lower($1::VARCHAR) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($1)::text)))
--           ->  Bitmap Index Scan on workflows_list_by_name

SELECT count(*) AS count_1
FROM workflows
WHERE lower(workflows.name) LIKE lower($1::VARCHAR) AND workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS
    NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($2)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($1)::text)))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Filter: (deleted_at IS NULL)
--           ->  Bitmap Index Scan on workflows_list_by_status

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Bitmap Index Scan on workflows_list_by_status

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at < $1::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Recheck Cond: (created_at < $1)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Bitmap Index Scan on workflows_list_by_created
--                 Index Cond: (created_at < $1)

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $1::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Recheck Cond: (created_at > $1)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Bitmap Index Scan on workflows_list_by_created
--                 Index Cond: (created_at > $1)

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $1::TIMESTAMP
WITH TIME ZONE AND workflows.created_at < $2::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_created on workflows
--           Index Cond: ((created_at > $1) AND (created_at < $2))
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.origin_instance = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_instance on workflows
--           Index Cond: (origin_instance = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.origin_reference = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_reference on workflows
--           Index Cond: (origin_reference = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.origin_reference = $1::VARCHAR AND workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($2)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (origin_reference = ($1)::text))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.origin_zone = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_zone on workflows
--           Index Cond: (origin_zone = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.origin_zone = $1::VARCHAR AND workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_zone on workflows
--           Index Cond: (origin_zone = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (tenant = ($2)::text))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $2::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $2::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Nested Loop Anti Join
--           ->  Nested Loop Semi Join
--                 Join Filter: (workflows.id = waits.root_id)
--                 ->  Index Only Scan using workflows_list_by_status on workflows
--                       Index Cond: (status = ($1)::text)
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Index Only Scan using waits_by_root on waits
--                       Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $2)
--           ->  Index Only Scan using waits_by_root on waits waits_1
--                 Index Cond: ((root_id = workflows.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $2))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND workflows.deleted_at IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_status on workflows
--           Index Cond: (status = ($1)::text)
--           Filter: (deleted_at IS NULL)

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_status on workflows
--           Index Cond: (status = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($2)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ($1)::text))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = ANY ($1::TEXT[]) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Bitmap Heap Scan on workflows
--           Recheck Cond: (status = ANY ($1))
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--           ->  Bitmap Index Scan on workflows_list_by_status
--                 Index Cond: (status = ANY ($1))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.status = ANY ($1::TEXT[]) AND workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($2)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ANY ($1)))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at < $2::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($1)::text) AND (created_at < $2))
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at > $2::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($1)::text) AND (created_at > $2))
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at > $2::TIMESTAMP
WITH TIME ZONE AND workflows.created_at < $3::TIMESTAMP
WITH TIME ZONE;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($1)::text) AND (created_at > $2) AND (created_at < $3))
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant = $1::VARCHAR AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($1)::text)
--           Filter: (parent_id IS NULL)

SELECT count(*) AS count_1
FROM workflows
WHERE workflows.tenant IS NULL AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL;
--   Aggregate
--     ->  Index Only Scan using workflows_list_without_tenant on workflows
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Seq Scan on daily_costs
--                       Disabled: true

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
WHERE daily_costs.day < $1::DATE
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $2::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Bitmap Heap Scan on daily_costs
--                       Recheck Cond: (day < $1)
--                       ->  Bitmap Index Scan on daily_costs_pkey
--                             Index Cond: (day < $1)

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
WHERE daily_costs.day >= $1::DATE AND daily_costs.day < $2::DATE
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $3::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  GroupAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Sort
--                       Sort Key: currency
--                       ->  Index Scan using daily_costs_pkey on daily_costs
--                             Index Cond: ((day >= $1) AND (day < $2))

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
WHERE daily_costs.day >= $1::DATE
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $2::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Bitmap Heap Scan on daily_costs
--                       Recheck Cond: (day >= $1)
--                       ->  Bitmap Index Scan on daily_costs_pkey
--                             Index Cond: (day >= $1)

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
WHERE daily_costs.tenant = $1::VARCHAR
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $2::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  GroupAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Sort
--                       Sort Key: currency
--                       ->  Index Scan using daily_costs_pkey on daily_costs
--                             Index Cond: (tenant = ($1)::text)

SELECT daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
WHERE split_part(daily_costs.definition, '@', 1) = $1::VARCHAR AND daily_costs.definition LIKE $2::VARCHAR
GROUP BY daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.currency COLLATE "C"
LIMIT $3::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: currency COLLATE "C"
--           ->  GroupAggregate
--                 Group Key: currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Sort
--                       Sort Key: currency
--                       ->  Seq Scan on daily_costs
--                             Disabled: true
--                             Filter: ((definition ~~ ($2)::text) AND (split_part(definition, '@'::text, 1) = ($1)::text))

SELECT daily_costs.day, daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS
    BIGINT) AS sum_2
FROM daily_costs
GROUP BY daily_costs.day, daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.day, daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: day, currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: day, currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Seq Scan on daily_costs
--                       Disabled: true

SELECT daily_costs.model, daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS
    BIGINT) AS sum_2
FROM daily_costs
GROUP BY daily_costs.model, daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.model COLLATE "C", daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: model COLLATE "C", currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: model, currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Seq Scan on daily_costs
--                       Disabled: true

SELECT daily_costs.model, daily_costs.provider, daily_costs.currency, sum(daily_costs.amount) AS sum_1,
    CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
GROUP BY daily_costs.model, daily_costs.provider, daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS
    BIGINT) > 0
ORDER BY daily_costs.model COLLATE "C", daily_costs.provider COLLATE "C", daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: model COLLATE "C", provider COLLATE "C", currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: model, provider, currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Seq Scan on daily_costs
--                       Disabled: true

SELECT daily_costs.tenant, daily_costs.currency, sum(daily_costs.amount) AS sum_1, CAST(sum(daily_costs.attempts) AS
    BIGINT) AS sum_2
FROM daily_costs
GROUP BY daily_costs.tenant, daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS BIGINT) > 0
ORDER BY daily_costs.tenant COLLATE "C", daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: tenant COLLATE "C", currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: tenant, currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Index Scan using daily_costs_pkey on daily_costs

SELECT deliveries.workflow_id, deliveries.event_id, deliveries.type, deliveries.status, deliveries.next_at,
    deliveries.created_at, deliveries.attempts
FROM deliveries
WHERE deliveries.workflow_id = $1::UUID AND deliveries.event_id > $2::BIGINT
ORDER BY deliveries.event_id
LIMIT $3::INTEGER;
--   Limit
--     ->  Index Scan using deliveries_pkey on deliveries
--           Index Cond: ((workflow_id = $1) AND (event_id > $2))

SELECT events.workflow_id, events.id, events.type, events.at, events.step_id, events.task_id, events.actor,
    events.data, events.txid
FROM events
WHERE events.workflow_id = $1::UUID AND events.id > $2::BIGINT AND events.type IN ($4::VARCHAR, $5::VARCHAR)
ORDER BY events.id
LIMIT $3::INTEGER;
--   Limit
--     ->  Index Scan using events_pkey on events
--           Index Cond: ((workflow_id = $1) AND (id > $2))
--           Filter: (type = ANY (ARRAY[($4)::text, ($5)::text]))

SELECT events.workflow_id, events.id, events.type, events.at, events.step_id, events.task_id, events.actor,
    events.data, events.txid
FROM events
WHERE events.workflow_id = $1::UUID AND events.id > $2::BIGINT
ORDER BY events.id
LIMIT $3::INTEGER;
--   Limit
--     ->  Index Scan using events_pkey on events
--           Index Cond: ((workflow_id = $1) AND (id > $2))

SELECT file_removals.outputs
FROM file_removals
WHERE file_removals.task_id = ANY ($1::UUID[]);
--   Bitmap Heap Scan on file_removals
--     Recheck Cond: (task_id = ANY ($1))
--     ->  Bitmap Index Scan on file_removals_pkey
--           Index Cond: (task_id = ANY ($1))

SELECT file_removals.outputs
FROM file_removals
WHERE file_removals.task_id = ANY ($1::UUID[]) AND file_removals.tenant IS NOT DISTINCT FROM $2::VARCHAR;
--   Bitmap Heap Scan on file_removals
--     Recheck Cond: (task_id = ANY ($1))
--     Filter: (NOT (tenant IS DISTINCT FROM ($2)::text))
--     ->  Bitmap Index Scan on file_removals_pkey
--           Index Cond: (task_id = ANY ($1))

SELECT file_removals.outputs
FROM file_removals
WHERE file_removals.task_id = ANY ($1::UUID[]) AND file_removals.tenant IS NOT DISTINCT FROM NULL;
--   Bitmap Heap Scan on file_removals
--     Recheck Cond: (task_id = ANY ($1))
--     Filter: (tenant IS NULL)
--     ->  Bitmap Index Scan on file_removals_pkey
--           Index Cond: (task_id = ANY ($1))

SELECT file_removals.tenant, file_removals.outputs
FROM file_removals
WHERE file_removals.task_id = $1::UUID AND (EXISTS (SELECT workflows.id
FROM workflows
JOIN artifact_references ON workflows.id = artifact_references.workflow_id
WHERE artifact_references.task_id = file_removals.task_id AND workflows.deleted_at IS NULL AND workflows.tenant =
    $2::VARCHAR AND workflows.tenant IS NOT DISTINCT FROM file_removals.tenant));
--   Nested Loop Semi Join
--     Join Filter: (NOT (workflows.tenant IS DISTINCT FROM file_removals.tenant))
--     ->  Index Scan using file_removals_pkey on file_removals
--           Index Cond: (task_id = $1)
--     ->  Nested Loop
--           ->  Index Only Scan using workflows_list_by_tenant on workflows
--                 Index Cond: (tenant = ($2)::text)
--                 Filter: (deleted_at IS NULL)
--           ->  Index Only Scan using artifact_references_pkey on artifact_references
--                 Index Cond: ((task_id = $1) AND (workflow_id = workflows.id))

SELECT file_removals.tenant, file_removals.outputs
FROM file_removals
WHERE file_removals.task_id = $1::UUID AND (EXISTS (SELECT workflows.id
FROM workflows
JOIN artifact_references ON workflows.id = artifact_references.workflow_id
WHERE artifact_references.task_id = file_removals.task_id AND workflows.deleted_at IS NULL AND workflows.tenant IS NOT
    DISTINCT FROM file_removals.tenant));
--   Nested Loop Semi Join
--     Join Filter: (NOT (workflows.tenant IS DISTINCT FROM file_removals.tenant))
--     ->  Index Scan using file_removals_pkey on file_removals
--           Index Cond: (task_id = $1)
--     ->  Nested Loop
--           ->  Bitmap Heap Scan on workflows
--                 Filter: (deleted_at IS NULL)
--                 ->  Bitmap Index Scan on workflows_list_by_status
--           ->  Index Only Scan using artifact_references_pkey on artifact_references
--                 Index Cond: ((task_id = $1) AND (workflow_id = workflows.id))

SELECT numbered.workflow_id, numbered.position, numbered.item, numbered.status, numbered.task_id, numbered.attempt,
    numbered.provider_attempts, numbered.retry_count, numbered.on_fallback, numbered.next_attempt_at,
    numbered.error_message, numbered.started_at, numbered.completed_at, numbered.updated_at, numbered.skip_reason,
    numbered.flow, numbered.value, numbered.result, numbered.size, numbered.latest_provider, numbered.latest_model,
    numbered.bytes, numbered.number
FROM (SELECT measured.workflow_id AS workflow_id, measured.position AS position, measured.item AS item,
    measured.status AS status, measured.task_id AS task_id, measured.attempt AS attempt, measured.provider_attempts AS
    provider_attempts, measured.retry_count AS retry_count, measured.on_fallback AS on_fallback,
    measured.next_attempt_at AS next_attempt_at, measured.error_message AS error_message, measured.started_at AS
    started_at, measured.completed_at AS completed_at, measured.updated_at AS updated_at, measured.skip_reason AS
    skip_reason, measured.flow AS flow, measured.value AS value, measured.result AS result, measured.size AS size,
    measured.latest_provider AS latest_provider, measured.latest_model AS latest_model, measured.bytes AS bytes,
    row_number() OVER (ORDER BY measured.item) AS number
FROM (SELECT "some".workflow_id AS workflow_id, "some".position AS position, "some".item AS item, "some".status AS
    status, "some".task_id AS task_id, "some".attempt AS attempt, "some".provider_attempts AS provider_attempts,
    "some".retry_count AS retry_count, "some".on_fallback AS on_fallback, "some".next_attempt_at AS next_attempt_at,
    "some".error_message AS error_message, "some".started_at AS started_at, "some".completed_at AS completed_at,
    "some".updated_at AS updated_at, "some".skip_reason AS skip_reason, "some".flow AS flow, "some".value AS value,
    "some".result AS result, "some".size AS size, "some".latest_provider AS latest_provider, "some".latest_model AS
    latest_model, sum("some".size) OVER (ORDER BY "some".item) AS bytes
FROM (SELECT step_items.workflow_id AS workflow_id, step_items.position AS position, step_items.item AS item,
    step_items.status AS status, step_items.task_id AS task_id, step_items.attempt AS attempt,
    step_items.provider_attempts AS provider_attempts, step_items.retry_count AS retry_count, step_items.on_fallback
    AS on_fallback, step_items.next_attempt_at AS next_attempt_at, step_items.error_message AS error_message,
    step_items.started_at AS started_at, step_items.completed_at AS completed_at, step_items.updated_at AS updated_at,
    step_items.skip_reason AS skip_reason, step_items.flow AS flow, CAST(step_items.value AS TEXT) AS value,
    CAST(step_items.result AS TEXT) AS result, octet_length(CAST(step_items.value AS TEXT)) +
    coalesce(octet_length(CAST(step_items.result AS TEXT)), 0) AS size, latest.provider AS latest_provider,
    latest.sent ->> 'model' AS latest_model
FROM step_items
LEFT OUTER
JOIN tasks AS latest ON latest.id = step_items.task_id
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER AND step_items.item > $3::INTEGER
ORDER BY step_items.item
LIMIT $4::INTEGER OFFSET $5::INTEGER) AS "some") AS measured) AS numbered
WHERE numbered.bytes <= $6::INTEGER OR numbered.number = 1
ORDER BY numbered.item;
--   Subquery Scan on numbered
--     Filter: ((numbered.bytes <= $6) OR (numbered.number = 1))
--     ->  WindowAgg
--           Window: w1 AS (ORDER BY measured.item ROWS UNBOUNDED PRECEDING)
--           ->  Subquery Scan on measured
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY "some".item)
--                       ->  Subquery Scan on "some"
--                             ->  Limit
--                                   ->  Nested Loop Left Join
--                                         ->  Index Scan using step_items_pkey on step_items
--                                               Index Cond: ((workflow_id = $1) AND ("position" = $2) AND (item > $3))
--                                         ->  Index Scan using tasks_pkey on tasks latest
--                                               Index Cond: (id = step_items.task_id)

SELECT numbered.workflow_id, numbered.position, numbered.item, numbered.status, numbered.task_id, numbered.attempt,
    numbered.provider_attempts, numbered.retry_count, numbered.on_fallback, numbered.next_attempt_at,
    numbered.error_message, numbered.started_at, numbered.completed_at, numbered.updated_at, numbered.skip_reason,
    numbered.flow, numbered.value, numbered.result, numbered.size, numbered.latest_provider, numbered.latest_model,
    numbered.bytes, numbered.number
FROM (SELECT measured.workflow_id AS workflow_id, measured.position AS position, measured.item AS item,
    measured.status AS status, measured.task_id AS task_id, measured.attempt AS attempt, measured.provider_attempts AS
    provider_attempts, measured.retry_count AS retry_count, measured.on_fallback AS on_fallback,
    measured.next_attempt_at AS next_attempt_at, measured.error_message AS error_message, measured.started_at AS
    started_at, measured.completed_at AS completed_at, measured.updated_at AS updated_at, measured.skip_reason AS
    skip_reason, measured.flow AS flow, measured.value AS value, measured.result AS result, measured.size AS size,
    measured.latest_provider AS latest_provider, measured.latest_model AS latest_model, measured.bytes AS bytes,
    row_number() OVER (ORDER BY measured.item) AS number
FROM (SELECT "some".workflow_id AS workflow_id, "some".position AS position, "some".item AS item, "some".status AS
    status, "some".task_id AS task_id, "some".attempt AS attempt, "some".provider_attempts AS provider_attempts,
    "some".retry_count AS retry_count, "some".on_fallback AS on_fallback, "some".next_attempt_at AS next_attempt_at,
    "some".error_message AS error_message, "some".started_at AS started_at, "some".completed_at AS completed_at,
    "some".updated_at AS updated_at, "some".skip_reason AS skip_reason, "some".flow AS flow, "some".value AS value,
    "some".result AS result, "some".size AS size, "some".latest_provider AS latest_provider, "some".latest_model AS
    latest_model, sum("some".size) OVER (ORDER BY "some".item) AS bytes
FROM (SELECT step_items.workflow_id AS workflow_id, step_items.position AS position, step_items.item AS item,
    step_items.status AS status, step_items.task_id AS task_id, step_items.attempt AS attempt,
    step_items.provider_attempts AS provider_attempts, step_items.retry_count AS retry_count, step_items.on_fallback
    AS on_fallback, step_items.next_attempt_at AS next_attempt_at, step_items.error_message AS error_message,
    step_items.started_at AS started_at, step_items.completed_at AS completed_at, step_items.updated_at AS updated_at,
    step_items.skip_reason AS skip_reason, step_items.flow AS flow, CAST(step_items.value AS TEXT) AS value,
    CAST(step_items.result AS TEXT) AS result, octet_length(CAST(step_items.value AS TEXT)) +
    coalesce(octet_length(CAST(step_items.result AS TEXT)), 0) AS size, latest.provider AS latest_provider,
    latest.sent ->> 'model' AS latest_model
FROM step_items
LEFT OUTER
JOIN tasks AS latest ON latest.id = step_items.task_id
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER AND step_items.status IN ($7::VARCHAR)
    AND step_items.item > $3::INTEGER
ORDER BY step_items.item
LIMIT $4::INTEGER OFFSET $5::INTEGER) AS "some") AS measured) AS numbered
WHERE numbered.bytes <= $6::INTEGER OR numbered.number = 1
ORDER BY numbered.item;
--   Subquery Scan on numbered
--     Filter: ((numbered.bytes <= $6) OR (numbered.number = 1))
--     ->  WindowAgg
--           Window: w1 AS (ORDER BY measured.item ROWS UNBOUNDED PRECEDING)
--           ->  Subquery Scan on measured
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY "some".item)
--                       ->  Subquery Scan on "some"
--                             ->  Limit
--                                   ->  Nested Loop Left Join
--                                         ->  Index Scan using step_items_pkey on step_items
--                                               Index Cond: ((workflow_id = $1) AND ("position" = $2) AND (item > $3))
--                                               Filter: (status = ($7)::text)
--                                         ->  Index Scan using tasks_pkey on tasks latest
--                                               Index Cond: (id = step_items.task_id)

SELECT numbered.workflow_id, numbered.position, numbered.item, numbered.status, numbered.task_id, numbered.attempt,
    numbered.provider_attempts, numbered.retry_count, numbered.on_fallback, numbered.next_attempt_at,
    numbered.error_message, numbered.started_at, numbered.completed_at, numbered.updated_at, numbered.skip_reason,
    numbered.flow, numbered.value, numbered.result, numbered.size, numbered.latest_provider, numbered.latest_model,
    numbered.bytes, numbered.number
FROM (SELECT measured.workflow_id AS workflow_id, measured.position AS position, measured.item AS item,
    measured.status AS status, measured.task_id AS task_id, measured.attempt AS attempt, measured.provider_attempts AS
    provider_attempts, measured.retry_count AS retry_count, measured.on_fallback AS on_fallback,
    measured.next_attempt_at AS next_attempt_at, measured.error_message AS error_message, measured.started_at AS
    started_at, measured.completed_at AS completed_at, measured.updated_at AS updated_at, measured.skip_reason AS
    skip_reason, measured.flow AS flow, measured.value AS value, measured.result AS result, measured.size AS size,
    measured.latest_provider AS latest_provider, measured.latest_model AS latest_model, measured.bytes AS bytes,
    row_number() OVER (ORDER BY measured.item) AS number
FROM (SELECT "some".workflow_id AS workflow_id, "some".position AS position, "some".item AS item, "some".status AS
    status, "some".task_id AS task_id, "some".attempt AS attempt, "some".provider_attempts AS provider_attempts,
    "some".retry_count AS retry_count, "some".on_fallback AS on_fallback, "some".next_attempt_at AS next_attempt_at,
    "some".error_message AS error_message, "some".started_at AS started_at, "some".completed_at AS completed_at,
    "some".updated_at AS updated_at, "some".skip_reason AS skip_reason, "some".flow AS flow, "some".value AS value,
    "some".result AS result, "some".size AS size, "some".latest_provider AS latest_provider, "some".latest_model AS
    latest_model, sum("some".size) OVER (ORDER BY "some".item) AS bytes
FROM (SELECT step_items.workflow_id AS workflow_id, step_items.position AS position, step_items.item AS item,
    step_items.status AS status, step_items.task_id AS task_id, step_items.attempt AS attempt,
    step_items.provider_attempts AS provider_attempts, step_items.retry_count AS retry_count, step_items.on_fallback
    AS on_fallback, step_items.next_attempt_at AS next_attempt_at, step_items.error_message AS error_message,
    step_items.started_at AS started_at, step_items.completed_at AS completed_at, step_items.updated_at AS updated_at,
    step_items.skip_reason AS skip_reason, step_items.flow AS flow, CAST(step_items.value AS TEXT) AS value,
    CAST(step_items.result AS TEXT) AS result, octet_length(CAST(step_items.value AS TEXT)) +
    coalesce(octet_length(CAST(step_items.result AS TEXT)), 0) AS size, latest.provider AS latest_provider,
    latest.sent ->> 'model' AS latest_model
FROM step_items
LEFT OUTER
JOIN tasks AS latest ON latest.id = step_items.task_id
WHERE step_items.workflow_id = $1::UUID AND step_items.position = $2::INTEGER AND step_items.status IN ($7::VARCHAR,
    $8::VARCHAR) AND step_items.item > $3::INTEGER
ORDER BY step_items.item
LIMIT $4::INTEGER OFFSET $5::INTEGER) AS "some") AS measured) AS numbered
WHERE numbered.bytes <= $6::INTEGER OR numbered.number = 1
ORDER BY numbered.item;
--   Subquery Scan on numbered
--     Filter: ((numbered.bytes <= $6) OR (numbered.number = 1))
--     ->  WindowAgg
--           Window: w1 AS (ORDER BY measured.item ROWS UNBOUNDED PRECEDING)
--           ->  Subquery Scan on measured
--                 ->  WindowAgg
--                       Window: w1 AS (ORDER BY "some".item)
--                       ->  Subquery Scan on "some"
--                             ->  Limit
--                                   ->  Nested Loop Left Join
--                                         ->  Index Scan using step_items_pkey on step_items
--                                               Index Cond: ((workflow_id = $1) AND ("position" = $2) AND (item > $3))
--                                               Filter: (status = ANY (ARRAY[($7)::text, ($8)::text]))
--                                         ->  Index Scan using tasks_pkey on tasks latest
--                                               Index Cond: (id = step_items.task_id)

SELECT split_part(daily_costs.definition, '@', 1) AS split_part_1, daily_costs.currency, sum(daily_costs.amount) AS
    sum_1, CAST(sum(daily_costs.attempts) AS BIGINT) AS sum_2
FROM daily_costs
GROUP BY split_part(daily_costs.definition, '@', 1), daily_costs.currency HAVING CAST(sum(daily_costs.attempts) AS
    BIGINT) > 0
ORDER BY split_part(daily_costs.definition, '@', 1) COLLATE "C", daily_costs.currency COLLATE "C"
LIMIT $1::INTEGER;
--   Limit
--     ->  Sort
--           Sort Key: (split_part(definition, '@'::text, 1)) COLLATE "C", currency COLLATE "C"
--           ->  HashAggregate
--                 Group Key: split_part(definition, '@'::text, 1), currency
--                 Filter: ((sum(attempts))::bigint > 0)
--                 ->  Seq Scan on daily_costs
--                       Disabled: true

SELECT steps.position, steps.for_each IS NOT NULL AS has_items, steps.repeat IS NOT NULL AS repeats
FROM steps
JOIN workflows ON workflows.id = steps.workflow_id
WHERE steps.workflow_id = $1::UUID AND steps.step_id = $2::VARCHAR;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps
--           Index Cond: (workflow_id = $1)
--           Filter: (step_id = ($2)::text)
--     ->  Index Only Scan using workflows_pkey on workflows
--           Index Cond: (id = $1)

SELECT steps.position, steps.for_each IS NOT NULL AS has_items, steps.repeat IS NOT NULL AS repeats
FROM steps
JOIN workflows ON workflows.id = steps.workflow_id
WHERE steps.workflow_id = $1::UUID AND steps.step_id = $2::VARCHAR AND workflows.tenant = $3::VARCHAR;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps
--           Index Cond: (workflow_id = $1)
--           Filter: (step_id = ($2)::text)
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($3)::text) AND (id = $1))

SELECT steps.position, workflows.created_at, CASE WHEN steps.for_each IS NULL THEN 0 WHEN steps.status = 'COMPLETED'
    THEN (SELECT least(100 + 2 * coalesce(sum(octet_length(i.result::text)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) ELSE 0 END AS items_bytes
FROM steps
JOIN workflows ON workflows.id = steps.workflow_id
WHERE steps.workflow_id = $1::UUID AND steps.position = $2::INTEGER;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps
--           Index Cond: ((workflow_id = $1) AND ("position" = $2))
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = $1)
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

SELECT steps.position, workflows.created_at, CASE WHEN steps.for_each IS NULL THEN 0 WHEN steps.status = 'COMPLETED'
    THEN (SELECT least(100 + 2 * coalesce(sum(octet_length(i.result::text)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) ELSE 0 END AS items_bytes
FROM steps
JOIN workflows ON workflows.id = steps.workflow_id
WHERE steps.workflow_id = $1::UUID AND steps.step_id = $2::VARCHAR;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps
--           Index Cond: (workflow_id = $1)
--           Filter: (step_id = ($2)::text)
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = $1)
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

SELECT steps.position, workflows.created_at, CASE WHEN steps.for_each IS NULL THEN 0 WHEN steps.status = 'COMPLETED'
    THEN (SELECT least(100 + 2 * coalesce(sum(octet_length(i.result::text)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) ELSE 0 END AS items_bytes
FROM steps
JOIN workflows ON workflows.id = steps.workflow_id
WHERE steps.workflow_id = $1::UUID AND steps.step_id = $2::VARCHAR AND workflows.tenant = $3::VARCHAR;
--   Nested Loop
--     ->  Index Scan using steps_pkey on steps
--           Index Cond: (workflow_id = $1)
--           Filter: (step_id = ($2)::text)
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($3)::text) AND (id = $1))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

SELECT steps.workflow_id, steps.position, steps.id, steps.step_id, steps.task_type, steps.definition,
    steps.depends_on, steps.max_retries, steps.timeout_s, steps.provider, steps.fallback, steps.run_if,
    steps.optional, steps.condition, steps.repeat, steps.for_each, steps.status, steps.task_id, steps.attempt,
    steps.provider_attempts, steps.retry_count, steps.on_fallback, steps.next_attempt_at, CASE WHEN steps.for_each IS
    NULL THEN steps.result WHEN steps.for_each IS NOT NULL AND steps.status = 'COMPLETED' THEN (
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
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) AS o ) END AS result, steps.error_message,
    steps.started_at, steps.completed_at, steps.updated_at, steps.skip_reason, steps.flow, latest.provider AS
    latest_provider, latest.sent ->> 'model' AS latest_model, step_costs.costs AS step_costs, CASE WHEN steps.for_each
    IS NOT NULL AND steps.flow ->> 'items' IS NOT NULL THEN (SELECT json_build_object('total', count(*), 'pending',
    count(*) FILTER (WHERE i.status IN ('PENDING', 'CANCELLED')), 'running', count(*) FILTER (WHERE i.status =
    'RUNNING'), 'completed', count(*) FILTER (WHERE i.status = 'COMPLETED'), 'failed', count(*) FILTER (WHERE i.status
    = 'FAILED'), 'retries', coalesce(sum(i.retry_count), 0))
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) END AS item_counts
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
    $1::VARCHAR OR tasks.status = $2::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $3::VARCHAR))) AND tasks.workflow_id = ANY ($4::UUID[])
GROUP BY 1, tasks.workflow_id, tasks.position) AS step_sums
GROUP BY step_sums.workflow_id, step_sums.position) AS step_costs ON step_costs.workflow_id = steps.workflow_id AND
    step_costs.position = steps.position
WHERE steps.workflow_id = ANY ($4::UUID[]) AND steps.position = $5::INTEGER
ORDER BY steps.workflow_id, steps.position;
--   Nested Loop Left Join
--     Join Filter: (step_sums.workflow_id = steps.workflow_id)
--     ->  Nested Loop Left Join
--           ->  Index Scan using steps_pkey on steps
--                 Index Cond: ((workflow_id = ANY ($4)) AND ("position" = $5))
--           ->  Index Scan using tasks_pkey on tasks latest
--                 Index Cond: (id = steps.task_id)
--     ->  GroupAggregate
--           Group Key: step_sums.workflow_id
--           ->  Sort
--                 Sort Key: step_sums.workflow_id, step_sums.currency
--                 ->  Subquery Scan on step_sums
--                       ->  GroupAggregate
--                             Group Key: ((tasks.cost ->> 'currency'::text)), tasks.workflow_id
--                             ->  Sort
--                                   Sort Key: ((tasks.cost ->> 'currency'::text)), tasks.workflow_id
--                                   ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                                         Index Cond: ((workflow_id = ANY ($4)) AND ("position" = $5))
--                                         Filter: ((sent IS NOT NULL) AND (provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($1)::text) AND (status <> ($2)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($3)::text))))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))
--     SubPlan 2
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_1
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

SELECT steps.workflow_id, steps.position, steps.id, steps.step_id, steps.task_type, steps.definition,
    steps.depends_on, steps.max_retries, steps.timeout_s, steps.provider, steps.fallback, steps.run_if,
    steps.optional, steps.condition, steps.repeat, steps.for_each, steps.status, steps.task_id, steps.attempt,
    steps.provider_attempts, steps.retry_count, steps.on_fallback, steps.next_attempt_at, CASE WHEN steps.for_each IS
    NULL THEN steps.result WHEN steps.for_each IS NOT NULL AND steps.status = 'COMPLETED' THEN (
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
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) AS o ) END AS result, steps.error_message,
    steps.started_at, steps.completed_at, steps.updated_at, steps.skip_reason, steps.flow, latest.provider AS
    latest_provider, latest.sent ->> 'model' AS latest_model, step_costs.costs AS step_costs, CASE WHEN steps.for_each
    IS NOT NULL AND steps.flow ->> 'items' IS NOT NULL THEN (SELECT json_build_object('total', count(*), 'pending',
    count(*) FILTER (WHERE i.status IN ('PENDING', 'CANCELLED')), 'running', count(*) FILTER (WHERE i.status =
    'RUNNING'), 'completed', count(*) FILTER (WHERE i.status = 'COMPLETED'), 'failed', count(*) FILTER (WHERE i.status
    = 'FAILED'), 'retries', coalesce(sum(i.retry_count), 0))
FROM step_items AS i
WHERE i.workflow_id = steps.workflow_id AND i.position = steps.position) END AS item_counts
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
    $1::VARCHAR OR tasks.status = $2::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $3::VARCHAR))) AND tasks.workflow_id = ANY ($4::UUID[])
GROUP BY 1, tasks.workflow_id, tasks.position) AS step_sums
GROUP BY step_sums.workflow_id, step_sums.position) AS step_costs ON step_costs.workflow_id = steps.workflow_id AND
    step_costs.position = steps.position
WHERE steps.workflow_id = ANY ($4::UUID[])
ORDER BY steps.workflow_id, steps.position;
--   Merge Left Join
--     Merge Cond: ((steps.workflow_id = step_sums.workflow_id) AND (steps."position" = step_sums."position"))
--     ->  Nested Loop Left Join
--           ->  Index Scan using steps_pkey on steps
--                 Index Cond: (workflow_id = ANY ($4))
--           ->  Index Scan using tasks_pkey on tasks latest
--                 Index Cond: (id = steps.task_id)
--     ->  GroupAggregate
--           Group Key: step_sums.workflow_id, step_sums."position"
--           ->  Sort
--                 Sort Key: step_sums.workflow_id, step_sums."position", step_sums.currency
--                 ->  Subquery Scan on step_sums
--                       ->  HashAggregate
--                             Group Key: (tasks.cost ->> 'currency'::text), tasks.workflow_id, tasks."position"
--                             ->  Bitmap Heap Scan on tasks
--                                   Recheck Cond: ((workflow_id = ANY ($4)) AND (sent IS NOT NULL))
--                                   Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($1)::text) AND (status <> ($2)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($3)::text))))
--                                   ->  Bitmap Index Scan on tasks_sent
--                                         Index Cond: (workflow_id = ANY ($4))
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))
--     SubPlan 2
--       ->  Aggregate
--             ->  Index Scan using step_items_pkey on step_items i_1
--                   Index Cond: ((workflow_id = steps.workflow_id) AND ("position" = steps."position"))

SELECT tasks.id, tasks.workflow_id, tasks.position, tasks.attempt, tasks.provider, tasks.seed, tasks.started_at,
    tasks.status, tasks.phase, tasks.remote_id, tasks.outcome_unknown, tasks.cancel_receipt, tasks.outputs,
    tasks.error, tasks.completed_at, tasks.deleted_at, tasks.sent, tasks.urls, tasks.follow_up_until, tasks.cost,
    tasks.item, steps.step_id, steps.task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.workflow_id = $1::UUID AND tasks.deleted_at IS NULL
ORDER BY tasks.position, tasks.attempt;
--   Nested Loop
--     ->  Nested Loop
--           Join Filter: (steps."position" = tasks."position")
--           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                 Index Cond: (workflow_id = $1)
--                 Filter: (deleted_at IS NULL)
--           ->  Index Scan using steps_pkey on steps
--                 Index Cond: (workflow_id = $1)
--     ->  Index Only Scan using workflows_pkey on workflows
--           Index Cond: (id = $1)

SELECT tasks.id, tasks.workflow_id, tasks.position, tasks.attempt, tasks.provider, tasks.seed, tasks.started_at,
    tasks.status, tasks.phase, tasks.remote_id, tasks.outcome_unknown, tasks.cancel_receipt, tasks.outputs,
    tasks.error, tasks.completed_at, tasks.deleted_at, tasks.sent, tasks.urls, tasks.follow_up_until, tasks.cost,
    tasks.item, steps.step_id, steps.task_type
FROM tasks
JOIN steps ON steps.workflow_id = tasks.workflow_id AND steps.position = tasks.position
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.workflow_id = $1::UUID
ORDER BY tasks.position, tasks.attempt;
--   Nested Loop
--     ->  Nested Loop
--           Join Filter: (steps."position" = tasks."position")
--           ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--                 Index Cond: (workflow_id = $1)
--           ->  Index Scan using steps_pkey on steps
--                 Index Cond: (workflow_id = $1)
--     ->  Index Only Scan using workflows_pkey on workflows
--           Index Cond: (id = $1)

SELECT tasks.outputs
FROM tasks
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.id = ANY ($1::UUID[]) AND tasks.deleted_at IS NULL;
--   Nested Loop
--     ->  Bitmap Heap Scan on tasks
--           Recheck Cond: (id = ANY ($1))
--           Filter: (deleted_at IS NULL)
--           ->  Bitmap Index Scan on tasks_pkey
--                 Index Cond: (id = ANY ($1))
--     ->  Index Only Scan using workflows_pkey on workflows
--           Index Cond: (id = tasks.workflow_id)

SELECT tasks.outputs
FROM tasks
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.id = ANY ($1::UUID[]) AND tasks.deleted_at IS NULL AND workflows.tenant = $2::VARCHAR;
--   Nested Loop
--     ->  Index Only Scan using workflows_list_by_tenant on workflows
--           Index Cond: (tenant = ($2)::text)
--     ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--           Index Cond: (workflow_id = workflows.id)
--           Filter: ((deleted_at IS NULL) AND (id = ANY ($1)))

SELECT tasks.outputs
FROM tasks
JOIN workflows ON workflows.id = tasks.workflow_id
WHERE tasks.id = ANY ($1::UUID[]) AND tasks.deleted_at IS NULL AND workflows.tenant IS NULL;
--   Nested Loop
--     ->  Index Only Scan using workflows_list_without_tenant on workflows
--     ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks
--           Index Cond: (workflow_id = workflows.id)
--           Filter: ((deleted_at IS NULL) AND (id = ANY ($1)))

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN labels AS label_0 ON label_0.workflow_id = waits.root_id AND label_0.label = $1::VARCHAR
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $2::VARCHAR
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $3::INTEGER;
--   Limit
--     ->  Nested Loop
--           ->  Nested Loop
--                 ->  Index Scan using waits_for_decisions on waits
--                       Index Cond: (COALESCE(tenant, ''::text) = ($2)::text)
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = waits.workflow_id)
--                       Filter: (deleted_at IS NULL)
--           ->  Index Only Scan using labels_pkey on labels label_0
--                 Index Cond: ((workflow_id = waits.root_id) AND (label = ($1)::text))
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR AND
    (waits.since, waits.workflow_id, waits.position) > ($2::TIMESTAMP
WITH TIME ZONE, $3, $4::INTEGER)
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $5::INTEGER;
--   Limit
--     ->  Nested Loop
--           ->  Index Scan using waits_for_decisions on waits
--                 Index Cond: ((COALESCE(tenant, ''::text) = ($1)::text) AND (ROW(since, workflow_id, "position") > ROW($2, $3, $4)))
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = waits.workflow_id)
--                 Filter: (deleted_at IS NULL)
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR AND
    waits.step_id = $2::VARCHAR AND (waits.since, waits.workflow_id, waits.position) > ($3::TIMESTAMP
WITH TIME ZONE, $4, $5::INTEGER)
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $6::INTEGER;
--   Limit
--     ->  Nested Loop
--           ->  Index Scan using waits_for_decisions_by_step on waits
--                 Index Cond: ((COALESCE(tenant, ''::text) = ($1)::text) AND (step_id = ($2)::text) AND (ROW(since, workflow_id, "position") > ROW($3, $4, $5)))
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = waits.workflow_id)
--                 Filter: (deleted_at IS NULL)
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR AND
    waits.step_id = $2::VARCHAR
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $3::INTEGER;
--   Limit
--     ->  Nested Loop
--           ->  Index Scan using waits_for_decisions_by_step on waits
--                 Index Cond: ((COALESCE(tenant, ''::text) = ($1)::text) AND (step_id = ($2)::text))
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = waits.workflow_id)
--                 Filter: (deleted_at IS NULL)
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR AND
    waits.workflow_id = $2::UUID AND waits.position = $3::INTEGER;
--   Nested Loop
--     ->  Index Scan using waits_for_decisions_by_step on waits
--           Index Cond: ((COALESCE(tenant, ''::text) = ($1)::text) AND (workflow_id = $2) AND ("position" = $3))
--     ->  Index Scan using workflows_pkey on workflows
--           Index Cond: (id = $2)
--           Filter: (deleted_at IS NULL)
--     SubPlan 2
--       ->  Aggregate
--             CTE above
--               ->  Recursive Union
--                     ->  Result
--                           One-Time Filter: (workflows.parent_id IS NOT NULL)
--                     ->  Nested Loop
--                           ->  WorkTable Scan on above a
--                           ->  Subquery Scan on c
--                                 Filter: (c.parent_id IS NOT NULL)
--                                 ->  Index Scan using workflows_pkey on workflows workflows_1
--                                       Index Cond: (id = a.parent_id)
--             ->  Sort
--                   Sort Key: a_1.height DESC
--                   ->  Nested Loop Left Join
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop
--                                     ->  CTE Scan on above a_1
--                                     ->  Index Scan using workflows_pkey on workflows workflows_2
--                                           Index Cond: (id = a_1.parent_id)
--                               ->  Index Scan using tasks_pkey on tasks
--                                     Index Cond: (id = a_1.id)
--                         ->  Index Scan using step_items_pkey on step_items
--                               Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                               Filter: (pg_column_size(value) <= 8192)
--     SubPlan 3
--       ->  Aggregate
--             ->  Bitmap Heap Scan on labels
--                   Recheck Cond: (workflow_id = waits.root_id)
--                   ->  Bitmap Index Scan on labels_pkey
--                         Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $1::VARCHAR
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $2::INTEGER;
--   Limit
--     ->  Nested Loop
--           ->  Index Scan using waits_for_decisions on waits
--                 Index Cond: (COALESCE(tenant, ''::text) = ($1)::text)
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = waits.workflow_id)
--                 Filter: (deleted_at IS NULL)
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $1::INTEGER;
--   Limit
--     ->  Result
--           ->  Sort
--                 Sort Key: waits.since, waits.workflow_id, waits."position"
--                 ->  Nested Loop
--                       ->  Index Scan using waits_for_decisions_by_step on waits
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = waits.workflow_id)
--                             Filter: (deleted_at IS NULL)
--           SubPlan 2
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_1
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_2
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 3
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

SELECT workflow_id, step_id
FROM steps
WHERE workflow_id = ANY($1::UUID[])
ORDER BY workflow_id, position;
--   Sort
--     Sort Key: workflow_id, "position"
--     ->  Bitmap Heap Scan on steps
--           Recheck Cond: (workflow_id = ANY ($1))
--           ->  Bitmap Index Scan on steps_pkey
--                 Index Cond: (workflow_id = ANY ($1))

SELECT workflows.id
FROM workflows
WHERE workflows.id = $1::UUID;
--   Index Only Scan using workflows_pkey on workflows
--     Index Cond: (id = $1)

SELECT workflows.id
FROM workflows
WHERE workflows.id = $1::UUID AND workflows.tenant = $2::VARCHAR;
--   Index Only Scan using workflows_list_by_tenant on workflows
--     Index Cond: ((tenant = ($2)::text) AND (id = $1))

SELECT workflows.id, workflows.last_event
FROM workflows
WHERE workflows.id = ANY ($1::UUID[]);
--   Bitmap Heap Scan on workflows
--     Recheck Cond: (id = ANY ($1))
--     ->  Bitmap Index Scan on workflows_pkey
--           Index Cond: (id = ANY ($1))

SELECT workflows.id, workflows.last_event
FROM workflows
WHERE workflows.id = ANY ($1::UUID[]) AND workflows.tenant = $2::VARCHAR;
--   Index Scan using workflows_list_by_tenant on workflows
--     Index Cond: ((tenant = ($2)::text) AND (id = ANY ($1)))

SELECT workflows.id, workflows.parent_step, workflows.parent_item, workflows.status, count(*) OVER () AS total
FROM workflows
WHERE workflows.parent_id = $1::UUID AND workflows.deleted_at IS NULL AND workflows.tenant = $2::VARCHAR
ORDER BY workflows.id
LIMIT $3::INTEGER;
--   Limit
--     ->  WindowAgg
--           Window: w1 AS ()
--           ->  Index Scan using workflows_by_parent on workflows
--                 Index Cond: (parent_id = $1)
--                 Filter: ((deleted_at IS NULL) AND (tenant = ($2)::text))

SELECT workflows.id, workflows.parent_step, workflows.parent_item, workflows.status, count(*) OVER () AS total
FROM workflows
WHERE workflows.parent_id = $1::UUID AND workflows.deleted_at IS NULL
ORDER BY workflows.id
LIMIT $2::INTEGER;
--   Limit
--     ->  WindowAgg
--           Window: w1 AS ()
--           ->  Index Scan using workflows_by_parent on workflows
--                 Index Cond: (parent_id = $1)
--                 Filter: (deleted_at IS NULL)

SELECT workflows.last_event, workflows.updated_at
FROM workflows
WHERE workflows.id = $1::UUID AND workflows.tenant = $2::VARCHAR FOR SHARE;
--   LockRows
--     ->  Index Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($2)::text) AND (id = $1))

SELECT workflows.owner, coalesce(processes.lease_until > clock_timestamp(), false) AS alive,
    nullif(processes.lease_until, 'infinity'::timestamptz) AS lease_until, paused.actor, paused.at, CASE WHEN
    (workflows.status = $1::VARCHAR AND workflows.owner IS NULL) THEN (SELECT count(*) AS count_1
FROM workflows AS others
WHERE others.status = $2::VARCHAR AND others.owner IS NULL AND coalesce(others.tenant, '') =
    coalesce(workflows.tenant, '') AND (others.started_at, others.id) < (workflows.started_at, workflows.id)) END AS
    ahead
FROM workflows
LEFT OUTER
JOIN processes ON processes.id = workflows.owner
LEFT OUTER
JOIN LATERAL (SELECT events.actor AS actor, events.at AS at
FROM events
WHERE events.workflow_id = workflows.id AND events.type = $3::VARCHAR AND workflows.status = $4::VARCHAR
ORDER BY events.id DESC
LIMIT $5::INTEGER) AS paused ON true
WHERE workflows.id = $6::UUID;
--   Nested Loop Left Join
--     ->  Nested Loop Left Join
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = $6)
--           ->  Index Scan using processes_pkey on processes
--                 Index Cond: (id = workflows.owner)
--     ->  Limit
--           ->  Sort
--                 Sort Key: events.id DESC
--                 ->  Result
--                       One-Time Filter: (workflows.status = ($4)::text)
--                       ->  Bitmap Heap Scan on events
--                             Recheck Cond: (workflow_id = workflows.id)
--                             Filter: (type = ($3)::text)
--                             ->  Bitmap Index Scan on events_pkey
--                                   Index Cond: (workflow_id = workflows.id)
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using workflows_list_by_status on workflows others
--                   Index Cond: (status = ($2)::text)
--                   Filter: ((owner IS NULL) AND (COALESCE(tenant, ''::text) = COALESCE(workflows.tenant, ''::text)) AND (ROW(started_at, id) < ROW(workflows.started_at, workflows.id)))

SELECT workflows.owner, coalesce(processes.lease_until > clock_timestamp(), false) AS alive,
    nullif(processes.lease_until, 'infinity'::timestamptz) AS lease_until, paused.actor, paused.at, CASE WHEN
    (workflows.status = $1::VARCHAR AND workflows.owner IS NULL) THEN (SELECT count(*) AS count_1
FROM workflows AS others
WHERE others.status = $2::VARCHAR AND others.owner IS NULL AND coalesce(others.tenant, '') =
    coalesce(workflows.tenant, '') AND (others.started_at, others.id) < (workflows.started_at, workflows.id)) END AS
    ahead
FROM workflows
LEFT OUTER
JOIN processes ON processes.id = workflows.owner
LEFT OUTER
JOIN LATERAL (SELECT events.actor AS actor, events.at AS at
FROM events
WHERE events.workflow_id = workflows.id AND events.type = $3::VARCHAR AND workflows.status = $4::VARCHAR
ORDER BY events.id DESC
LIMIT $5::INTEGER) AS paused ON true
WHERE workflows.id = $6::UUID AND workflows.tenant = $7::VARCHAR;
--   Nested Loop Left Join
--     ->  Nested Loop Left Join
--           ->  Index Scan using workflows_list_by_tenant on workflows
--                 Index Cond: ((tenant = ($7)::text) AND (id = $6))
--           ->  Index Scan using processes_pkey on processes
--                 Index Cond: (id = workflows.owner)
--     ->  Limit
--           ->  Sort
--                 Sort Key: events.id DESC
--                 ->  Result
--                       One-Time Filter: (workflows.status = ($4)::text)
--                       ->  Bitmap Heap Scan on events
--                             Recheck Cond: (workflow_id = workflows.id)
--                             Filter: (type = ($3)::text)
--                             ->  Bitmap Index Scan on events_pkey
--                                   Index Cond: (workflow_id = workflows.id)
--     SubPlan 1
--       ->  Aggregate
--             ->  Index Scan using workflows_list_by_status on workflows others
--                   Index Cond: (status = ($2)::text)
--                   Filter: ((owner IS NULL) AND (COALESCE(tenant, ''::text) = COALESCE(workflows.tenant, ''::text)) AND (ROW(started_at, id) < ROW(workflows.started_at, workflows.id)))

SELECT workflows.status, count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
JOIN labels AS label_1 ON label_1.workflow_id = workflows.id AND label_1.label = $2::VARCHAR AND label_1.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: workflows.status
--     ->  Sort
--           Sort Key: workflows.status
--           ->  Nested Loop
--                 Join Filter: ((label_0.workflow_id = workflows.id) AND (label_0.created_at = workflows.created_at))
--                 ->  Hash Join
--                       Hash Cond: ((label_0.workflow_id = label_1.workflow_id) AND (label_0.created_at = label_1.created_at))
--                       ->  Bitmap Heap Scan on labels label_0
--                             Recheck Cond: (label = ($1)::text)
--                             ->  Bitmap Index Scan on labels_by_label
--                                   Index Cond: (label = ($1)::text)
--                       ->  Hash
--                             ->  Bitmap Heap Scan on labels label_1
--                                   Recheck Cond: (label = ($2)::text)
--                                   ->  Bitmap Index Scan on labels_by_label
--                                         Index Cond: (label = ($2)::text)
--                 ->  Index Only Scan using workflows_list_by_created on workflows
--                       Index Cond: ((created_at = label_1.created_at) AND (id = label_1.workflow_id))
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: workflows.status
--     ->  Sort
--           Sort Key: workflows.status
--           ->  Nested Loop
--                 ->  Bitmap Heap Scan on labels label_0
--                       Recheck Cond: (label = ($1)::text)
--                       ->  Bitmap Index Scan on labels_by_label
--                             Index Cond: (label = ($1)::text)
--                 ->  Memoize
--                       Cache Key: label_0.workflow_id, label_0.created_at
--                       Cache Mode: logical
--                       ->  Index Only Scan using workflows_list_by_created on workflows
--                             Index Cond: ((created_at = label_0.created_at) AND (id = label_0.workflow_id))
--                             Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR AND label_0.created_at =
    workflows.created_at
WHERE workflows.deleted_at IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: workflows.status
--     ->  Sort
--           Sort Key: workflows.status
--           ->  Nested Loop
--                 ->  Bitmap Heap Scan on labels label_0
--                       Recheck Cond: (label = ($1)::text)
--                       ->  Bitmap Index Scan on labels_by_label
--                             Index Cond: (label = ($1)::text)
--                 ->  Memoize
--                       Cache Key: label_0.workflow_id, label_0.created_at
--                       Cache Mode: logical
--                       ->  Index Only Scan using workflows_list_by_created on workflows
--                             Index Cond: ((created_at = label_0.created_at) AND (id = label_0.workflow_id))
--                             Filter: (deleted_at IS NULL)

SELECT workflows.status, count(*) AS count_1
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $1::VARCHAR
WHERE workflows.status = $2::VARCHAR AND lower(workflows.name) LIKE lower($3::VARCHAR) AND workflows.deleted_at IS
    NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     ->  Nested Loop
--           ->  Index Scan using workflows_list_by_status on workflows
--                 Index Cond: (status = ($2)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($3)::text)))
--           ->  Index Only Scan using labels_pkey on labels label_0
--                 Index Cond: ((workflow_id = workflows.id) AND (label = ($1)::text))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $1::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $1::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: workflows.status
--     ->  Sort
--           Sort Key: workflows.status
--           ->  Nested Loop Anti Join
--                 ->  Nested Loop
--                       ->  HashAggregate
--                             Group Key: waits.root_id
--                             ->  Index Only Scan using waits_by_root on waits
--                                   Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $1)
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = waits.root_id)
--                             Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Index Only Scan using waits_by_root on waits waits_1
--                       Index Cond: ((root_id = workflows.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $1))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE lower(workflows.name) LIKE lower($1::VARCHAR) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($1)::text)))
--                 ->  Bitmap Index Scan on workflows_list_by_name

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE lower(workflows.name) LIKE lower($1::VARCHAR) AND workflows.deleted_at IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Filter: ((deleted_at IS NULL) AND (lower(name) ~~ lower(($1)::text)))
--                 ->  Bitmap Index Scan on workflows_list_by_name

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at < $1::TIMESTAMP
WITH TIME ZONE
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Recheck Cond: (created_at < $1)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Bitmap Index Scan on workflows_list_by_created
--                       Index Cond: (created_at < $1)

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $1::TIMESTAMP
WITH TIME ZONE AND workflows.created_at < $2::TIMESTAMP
WITH TIME ZONE
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Index Only Scan using workflows_list_by_created on workflows
--                 Index Cond: ((created_at > $1) AND (created_at < $2))
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $1::TIMESTAMP
WITH TIME ZONE
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Recheck Cond: (created_at > $1)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Bitmap Index Scan on workflows_list_by_created
--                       Index Cond: (created_at > $1)

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Bitmap Index Scan on workflows_list_by_name

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.deleted_at IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Filter: (deleted_at IS NULL)
--                 ->  Bitmap Index Scan on workflows_list_by_name

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.origin_reference = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Index Only Scan using workflows_list_by_reference on workflows
--                 Index Cond: (origin_reference = ($1)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.origin_zone = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Index Only Scan using workflows_list_by_zone on workflows
--                 Index Cond: (origin_zone = ($1)::text)
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $2::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $2::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     ->  Nested Loop Anti Join
--           ->  Nested Loop Semi Join
--                 Join Filter: (workflows.id = waits.root_id)
--                 ->  Index Only Scan using workflows_list_by_status on workflows
--                       Index Cond: (status = ($1)::text)
--                       Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Index Only Scan using waits_by_root on waits
--                       Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $2)
--           ->  Index Only Scan using waits_by_root on waits waits_1
--                 Index Cond: ((root_id = workflows.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $2))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     ->  Index Only Scan using workflows_list_by_status on workflows
--           Index Cond: (status = ($1)::text)
--           Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.status = $1::VARCHAR AND workflows.deleted_at IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     ->  Index Only Scan using workflows_list_by_status on workflows
--           Index Cond: (status = ($1)::text)
--           Filter: (deleted_at IS NULL)

SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.status = ANY ($1::TEXT[]) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: status
--     ->  Sort
--           Sort Key: status
--           ->  Bitmap Heap Scan on workflows
--                 Recheck Cond: (status = ANY ($1))
--                 Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                 ->  Bitmap Index Scan on workflows_list_by_status
--                       Index Cond: (status = ANY ($1))

SELECT workflows.status, workflows.last_event, later.workflow_id, later.id, later.type, later.at, later.step_id,
    later.task_id, later.actor, later.data, later.txid
FROM workflows
LEFT OUTER
JOIN LATERAL (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at AS at,
    events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data, events.txid AS
    txid
FROM events
WHERE events.workflow_id = workflows.id AND events.id > $1::BIGINT
ORDER BY events.id
LIMIT $2::INTEGER) AS later ON true
WHERE workflows.id = $3::UUID AND workflows.tenant = $4::VARCHAR
ORDER BY later.id;
--   Sort
--     Sort Key: events.id
--     ->  Nested Loop Left Join
--           ->  Index Scan using workflows_list_by_tenant on workflows
--                 Index Cond: ((tenant = ($4)::text) AND (id = $3))
--           ->  Limit
--                 ->  Index Scan using events_pkey on events
--                       Index Cond: ((workflow_id = workflows.id) AND (id > $1))

SELECT workflows.status, workflows.last_event, later.workflow_id, later.id, later.type, later.at, later.step_id,
    later.task_id, later.actor, later.data, later.txid
FROM workflows
LEFT OUTER
JOIN LATERAL (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at AS at,
    events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data, events.txid AS
    txid
FROM events
WHERE events.workflow_id = workflows.id AND events.id > $1::BIGINT
ORDER BY events.id
LIMIT $2::INTEGER) AS later ON true
WHERE workflows.id = $3::UUID
ORDER BY later.id;
--   Sort
--     Sort Key: events.id
--     ->  Nested Loop Left Join
--           ->  Index Scan using workflows_pkey on workflows
--                 Index Cond: (id = $3)
--           ->  Limit
--                 ->  Index Scan using events_pkey on events
--                       Index Cond: ((workflow_id = workflows.id) AND (id > $1))

SELECT workflows.webhook_url, workflows.tenant, workflows.last_event, workflows.updated_at
FROM workflows
JOIN deliveries ON deliveries.workflow_id = workflows.id
WHERE workflows.id = $1::UUID AND workflows.tenant = $2::VARCHAR AND deliveries.event_id = $3::INTEGER;
--   Nested Loop
--     ->  Index Scan using workflows_list_by_tenant on workflows
--           Index Cond: ((tenant = ($2)::text) AND (id = $1))
--     ->  Index Only Scan using deliveries_pkey on deliveries
--           Index Cond: ((workflow_id = $1) AND (event_id = $3))

UPDATE deliveries
SET lane=$1::VARCHAR, status=$2::VARCHAR, owner=$3::UUID, next_at=clock_timestamp(), tries=$4::INTEGER
WHERE deliveries.workflow_id IN (SELECT workflows.id
FROM workflows
WHERE workflows.id = $5::UUID AND workflows.tenant = $6::VARCHAR) AND deliveries.event_id = $7::INTEGER
RETURNING deliveries.workflow_id, deliveries.event_id, deliveries.type, deliveries.status, deliveries.next_at,
    deliveries.created_at, deliveries.attempts;
--   Update on deliveries
--     ->  Nested Loop Semi Join
--           ->  Index Scan using deliveries_pkey on deliveries
--                 Index Cond: ((workflow_id = $5) AND (event_id = $7))
--           ->  Index Scan using workflows_list_by_tenant on workflows
--                 Index Cond: ((tenant = ($6)::text) AND (id = $5))

UPDATE idempotency_keys
SET applied_at=clock_timestamp(), workflow_id=$1::UUID
WHERE idempotency_keys.scope = $2::VARCHAR AND idempotency_keys.key = $3::VARCHAR AND idempotency_keys.token =
    $4::UUID AND idempotency_keys.applied_at IS NULL;
--   Update on idempotency_keys
--     ->  Index Scan using idempotency_keys_pkey on idempotency_keys
--           Index Cond: ((scope = ($2)::text) AND (key = ($3)::text))
--           Filter: ((applied_at IS NULL) AND (token = $4))

WITH RECURSIVE below AS (
SELECT c.id, ARRAY[c.parent_step] AS step_ids, ARRAY[c.parent_item] AS items
FROM workflows AS c
WHERE c.parent_id = $1::UUID AND ($2::BOOLEAN OR c.tenant IS NOT DISTINCT FROM $3::VARCHAR)
UNION ALL
SELECT c.id, array_append(b.step_ids, c.parent_step), array_append(b.items, c.parent_item)
FROM below AS b
JOIN workflows AS c ON c.parent_id = b.id )
SELECT w.*, s.definition -> 'config' ->> 'name' AS signal
FROM (
SELECT b.step_ids, b.items, n.*, row_number() OVER ( PARTITION BY b.step_ids[1]
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind), n.since, n.workflow_id, n.position ) AS number
FROM below AS b
CROSS
JOIN LATERAL (SELECT *
FROM waits
WHERE workflow_id = b.id OFFSET 0) AS n ) AS w
JOIN steps AS s ON s.workflow_id = w.workflow_id AND s.position = w.position
WHERE w.number <= $4::INTEGER
ORDER BY w.step_ids[1], w.number;
--   Sort
--     Sort Key: (w.step_ids[1]), w.number
--     CTE below
--       ->  Recursive Union
--             ->  Index Scan using workflows_by_parent on workflows c
--                   Index Cond: (parent_id = $1)
--                   Filter: ($2 OR (NOT (tenant IS DISTINCT FROM ($3)::text)))
--             ->  Nested Loop
--                   ->  WorkTable Scan on below b_1
--                   ->  Index Scan using workflows_by_parent on workflows c_1
--                         Index Cond: (parent_id = b_1.id)
--     ->  Hash Join
--           Hash Cond: ((s.workflow_id = w.workflow_id) AND (s."position" = w."position"))
--           ->  Index Scan using steps_pkey on steps s
--           ->  Hash
--                 ->  Subquery Scan on w
--                       ->  WindowAgg
--                             Window: w1 AS (PARTITION BY (b.step_ids[1]) ORDER BY (array_position('{decision,signal,delay}'::text[], waits.kind)), waits.since, waits.workflow_id, waits."position" ROWS UNBOUNDED PRECEDING)
--                             Run Condition: (row_number() OVER w1 <= $4)
--                             ->  Sort
--                                   Sort Key: (b.step_ids[1]), (array_position('{decision,signal,delay}'::text[], waits.kind)), waits.since, waits.workflow_id, waits."position"
--                                   ->  Nested Loop
--                                         ->  CTE Scan on below b
--                                         ->  Index Scan using waits_pkey on waits
--                                               Index Cond: (workflow_id = b.id)

WITH RECURSIVE family(id) AS (SELECT workflows.id AS id
FROM workflows
WHERE workflows.id = $1::UUID AND workflows.tenant IS NOT DISTINCT FROM $2::VARCHAR
UNION ALL
SELECT child.id AS id
FROM workflows AS child
JOIN family ON child.parent_id = family.id)
SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN family ON family.id = waits.workflow_id
JOIN labels AS label_0 ON label_0.workflow_id = waits.root_id AND label_0.label = $3::VARCHAR
JOIN labels AS label_1 ON label_1.workflow_id = waits.root_id AND label_1.label = $4::VARCHAR
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $5::VARCHAR AND
    waits.step_id = $6::VARCHAR
LIMIT $7::INTEGER) AS anon_1;
--   Aggregate
--     CTE family
--       ->  Recursive Union
--             ->  Index Scan using workflows_pkey on workflows workflows_1
--                   Index Cond: (id = $1)
--                   Filter: (NOT (tenant IS DISTINCT FROM ($2)::text))
--             ->  Nested Loop
--                   ->  WorkTable Scan on family family_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (parent_id = family_1.id)
--     ->  Limit
--           ->  Nested Loop
--                 Join Filter: (label_0.workflow_id = waits.root_id)
--                 ->  Nested Loop
--                       ->  Nested Loop
--                             Join Filter: (workflows.id = waits.workflow_id)
--                             ->  Hash Join
--                                   Hash Cond: (family.id = waits.workflow_id)
--                                   ->  CTE Scan on family
--                                   ->  Hash
--                                         ->  Index Scan using waits_for_decisions_by_step on waits
--                                               Index Cond: ((COALESCE(tenant, ''::text) = ($5)::text) AND (step_id = ($6)::text))
--                             ->  Index Scan using workflows_pkey on workflows
--                                   Index Cond: (id = family.id)
--                                   Filter: (deleted_at IS NULL)
--                       ->  Index Only Scan using labels_pkey on labels label_1
--                             Index Cond: ((workflow_id = waits.root_id) AND (label = ($4)::text))
--                 ->  Index Only Scan using labels_pkey on labels label_0
--                       Index Cond: ((workflow_id = label_1.workflow_id) AND (label = ($3)::text))

WITH RECURSIVE family(id) AS (SELECT workflows.id AS id
FROM workflows
WHERE workflows.id = $1::UUID AND workflows.tenant IS NOT DISTINCT FROM $2::VARCHAR
UNION ALL
SELECT child.id AS id
FROM workflows AS child
JOIN family ON child.parent_id = family.id)
SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN family ON family.id = waits.workflow_id
JOIN labels AS label_0 ON label_0.workflow_id = waits.root_id AND label_0.label = $3::VARCHAR
JOIN labels AS label_1 ON label_1.workflow_id = waits.root_id AND label_1.label = $4::VARCHAR
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL AND coalesce(waits.tenant, '') = $5::VARCHAR AND
    waits.step_id = $6::VARCHAR
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $7::INTEGER;
--   Limit
--     CTE family
--       ->  Recursive Union
--             ->  Index Scan using workflows_pkey on workflows workflows_1
--                   Index Cond: (id = $1)
--                   Filter: (NOT (tenant IS DISTINCT FROM ($2)::text))
--             ->  Nested Loop
--                   ->  WorkTable Scan on family family_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (parent_id = family_1.id)
--     ->  Nested Loop
--           Join Filter: (label_0.workflow_id = waits.root_id)
--           ->  Nested Loop
--                 ->  Nested Loop
--                       Join Filter: (workflows.id = waits.workflow_id)
--                       ->  Nested Loop
--                             Join Filter: (waits.workflow_id = family.id)
--                             ->  Index Scan using waits_for_decisions_by_step on waits
--                                   Index Cond: ((COALESCE(tenant, ''::text) = ($5)::text) AND (step_id = ($6)::text))
--                             ->  CTE Scan on family
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = family.id)
--                             Filter: (deleted_at IS NULL)
--                 ->  Index Only Scan using labels_pkey on labels label_1
--                       Index Cond: ((workflow_id = waits.root_id) AND (label = ($4)::text))
--           ->  Index Only Scan using labels_pkey on labels label_0
--                 Index Cond: ((workflow_id = label_1.workflow_id) AND (label = ($3)::text))
--           SubPlan 3
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_2
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_3
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 4
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

WITH RECURSIVE family(id) AS (SELECT workflows.id AS id
FROM workflows
WHERE workflows.id = $1::UUID
UNION ALL
SELECT child.id AS id
FROM workflows AS child
JOIN family ON child.parent_id = family.id)
SELECT count(*) AS count_1
FROM (SELECT waits.workflow_id AS workflow_id
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN family ON family.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL
LIMIT $2::INTEGER) AS anon_1;
--   Aggregate
--     CTE family
--       ->  Recursive Union
--             ->  Index Only Scan using workflows_pkey on workflows workflows_1
--                   Index Cond: (id = $1)
--             ->  Nested Loop
--                   ->  WorkTable Scan on family family_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (parent_id = family_1.id)
--     ->  Limit
--           ->  Nested Loop
--                 Join Filter: (workflows.id = waits.workflow_id)
--                 ->  Hash Join
--                       Hash Cond: (family.id = waits.workflow_id)
--                       ->  CTE Scan on family
--                       ->  Hash
--                             ->  Index Only Scan using waits_for_decisions_by_step on waits
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = family.id)
--                       Filter: (deleted_at IS NULL)

WITH RECURSIVE family(id) AS (SELECT workflows.id AS id
FROM workflows
WHERE workflows.id = $1::UUID
UNION ALL
SELECT child.id AS id
FROM workflows AS child
JOIN family ON child.parent_id = family.id)
SELECT waits.workflow_id, waits.root_id, waits.position, waits.id, waits.kind, waits.tenant, waits.since, waits.until,
    waits.message, waits.choices, waits.shown, waits.step_id, workflows.name, (
WITH RECURSIVE above AS (
SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
WHERE workflows.parent_id IS NOT NULL
UNION ALL
SELECT c.*, a.height + 1
FROM above AS a
CROSS
JOIN LATERAL (
SELECT id, parent_id, parent_step, parent_item
FROM workflows
WHERE id = a.parent_id OFFSET 0 ) AS c
WHERE c.parent_id IS NOT NULL )
SELECT json_agg(json_build_object( 'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step,
    'item', a.parent_item, 'value', left(CASE WHEN json_typeof(i.value) = 'string' AND position('\u0000' IN
    i.value::text) = 0 THEN i.value #>> '{}' ELSE i.value::text END, 200) )
ORDER BY a.height DESC)
FROM above AS a
CROSS
JOIN LATERAL (SELECT name
FROM workflows
WHERE id = a.parent_id OFFSET 0) AS p
LEFT
JOIN LATERAL (SELECT position
FROM tasks
WHERE id = a.id OFFSET 0) AS t ON TRUE
LEFT
JOIN LATERAL (
SELECT value
FROM step_items
WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item AND pg_column_size(value) <= 8192
    OFFSET 0 ) AS i ON TRUE ) AS ancestors, (SELECT array_agg(labels.label) AS array_agg_1
FROM labels
WHERE labels.workflow_id = waits.root_id) AS labels
FROM waits
JOIN workflows ON workflows.id = waits.workflow_id
JOIN family ON family.id = waits.workflow_id
WHERE waits.kind = 'decision' AND workflows.deleted_at IS NULL
ORDER BY waits.since, waits.workflow_id, waits.position
LIMIT $2::INTEGER;
--   Limit
--     CTE family
--       ->  Recursive Union
--             ->  Index Only Scan using workflows_pkey on workflows workflows_1
--                   Index Cond: (id = $1)
--             ->  Nested Loop
--                   ->  WorkTable Scan on family family_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (parent_id = family_1.id)
--     ->  Result
--           ->  Sort
--                 Sort Key: waits.since, waits.workflow_id, waits."position"
--                 ->  Nested Loop
--                       Join Filter: (workflows.id = waits.workflow_id)
--                       ->  Hash Join
--                             Hash Cond: (family.id = waits.workflow_id)
--                             ->  CTE Scan on family
--                             ->  Hash
--                                   ->  Index Scan using waits_for_decisions_by_step on waits
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = family.id)
--                             Filter: (deleted_at IS NULL)
--           SubPlan 3
--             ->  Aggregate
--                   CTE above
--                     ->  Recursive Union
--                           ->  Result
--                                 One-Time Filter: (workflows.parent_id IS NOT NULL)
--                           ->  Nested Loop
--                                 ->  WorkTable Scan on above a
--                                 ->  Subquery Scan on c
--                                       Filter: (c.parent_id IS NOT NULL)
--                                       ->  Index Scan using workflows_pkey on workflows workflows_2
--                                             Index Cond: (id = a.parent_id)
--                   ->  Sort
--                         Sort Key: a_1.height DESC
--                         ->  Nested Loop Left Join
--                               ->  Nested Loop Left Join
--                                     ->  Nested Loop
--                                           ->  CTE Scan on above a_1
--                                           ->  Index Scan using workflows_pkey on workflows workflows_3
--                                                 Index Cond: (id = a_1.parent_id)
--                                     ->  Index Scan using tasks_pkey on tasks
--                                           Index Cond: (id = a_1.id)
--                               ->  Index Scan using step_items_pkey on step_items
--                                     Index Cond: ((workflow_id = a_1.parent_id) AND ("position" = tasks."position") AND (item = a_1.parent_item))
--                                     Filter: (pg_column_size(value) <= 8192)
--           SubPlan 4
--             ->  Aggregate
--                   ->  Bitmap Heap Scan on labels
--                         Recheck Cond: (workflow_id = waits.root_id)
--                         ->  Bitmap Index Scan on labels_pkey
--                               Index Cond: (workflow_id = waits.root_id)

WITH RECURSIVE tree AS (
SELECT w.id, w.final_position, TRUE AS final, ARRAY[]::int[] AS path, ARRAY[w.id] AS ids, ARRAY[w.id] AS finals,
    ARRAY[]::text[] AS step_ids, ARRAY[]::int[] AS items
FROM workflows AS w
WHERE w.id = $1::UUID AND ($2::BOOLEAN OR w.tenant IS NOT DISTINCT FROM $3::VARCHAR)
UNION ALL
SELECT c.id, c.final_position, f.final AND t.position = f.final_position, f.path || ARRAY[t.position, t.attempt],
    f.ids || c.id, CASE WHEN f.final AND t.position = f.final_position THEN f.finals || c.id ELSE f.finals END,
    array_append(f.step_ids, c.parent_step), array_append(f.items, c.parent_item)
FROM tree AS f
JOIN workflows AS c ON c.parent_id = f.id
CROSS
JOIN LATERAL (SELECT position, attempt, item
FROM tasks
WHERE id = c.id OFFSET 0) AS t
CROSS
JOIN LATERAL (
SELECT repeat, status, result, flow
FROM steps
WHERE workflow_id = f.id AND position = t.position OFFSET 0 ) AS s
LEFT
JOIN LATERAL (
SELECT status, result, flow
FROM step_items
WHERE workflow_id = f.id AND position = t.position AND item = t.item OFFSET 0 ) AS i ON TRUE
WHERE c.id::text = CASE WHEN s.repeat IS NOT NULL AND coalesce(i.status, s.status) = 'COMPLETED' THEN
    coalesce(i.result, s.result) ->> 'workflow_id' ELSE coalesce(i.flow, s.flow) ->> 'child' END ), above_after AS (
SELECT $4::UUID AS id, ARRAY[]::int[] AS path
UNION ALL
SELECT w.parent_id, ARRAY[k.position, k.attempt] || a.path
FROM above_after AS a
JOIN workflows AS w ON w.id = a.id
JOIN tasks AS k ON k.id = w.id
WHERE a.id <> $1::UUID ), page AS MATERIALIZED (
SELECT w.path AS above, w.ids, w.finals, w.step_ids, w.items, w.final AND o.position = w.final_position AS final, o.*
FROM (
SELECT f.*, CASE WHEN f.id = $4::UUID THEN $5::INTEGER ELSE -1 END AS from_position, CASE WHEN f.id = $4::UUID THEN
    $6::INTEGER ELSE -1 END AS from_attempt, CASE WHEN f.id = $4::UUID THEN $7::INTEGER ELSE -1 END AS from_number
FROM tree AS f
WHERE $4::UUID IS NULL OR f.path >= (SELECT path
FROM above_after
WHERE id = $1::UUID)
ORDER BY f.path ) AS w
CROSS
JOIN LATERAL (
SELECT t.id, t.position, t.attempt, t.item, s.step_id, e.number::int AS file, e.value ->> 'path' AS path, (e.value ->>
    'size')::bigint AS size, e.value ->> 'sha256' AS sha256
FROM tasks AS t
JOIN steps AS s ON s.workflow_id = t.workflow_id AND s.position = t.position
LEFT
JOIN step_items AS i ON i.workflow_id = t.workflow_id AND i.position = t.position AND i.item = t.item
CROSS
JOIN LATERAL json_array_elements(t.outputs)
WITH ORDINALITY AS e(value, number)
WHERE t.workflow_id = w.id AND t.status = 'COMPLETED' AND t.deleted_at IS NULL AND (t.position, t.attempt) >=
    (w.from_position, w.from_attempt) AND (t.position, t.attempt, e.number) > (w.from_position, w.from_attempt,
    w.from_number) AND coalesce(i.status, s.status) = 'COMPLETED' AND CASE WHEN s.repeat IS NULL THEN t.id =
    coalesce(i.task_id, s.task_id) ELSE position('media/' || t.id || '/' IN coalesce(i.result, s.result)::text) > 0
    END
ORDER BY t.position, t.attempt, e.number
LIMIT $8::BIGINT ) AS o
LIMIT $8::BIGINT ), named AS MATERIALIZED (
SELECT DISTINCT f.id, m[1] AS path
FROM (SELECT DISTINCT unnest(finals) AS id
FROM page) AS f
CROSS
JOIN LATERAL (SELECT final_position
FROM workflows
WHERE id = f.id OFFSET 0) AS w
CROSS
JOIN LATERAL (
SELECT result
FROM steps
WHERE workflow_id = f.id AND position = w.final_position AND status = 'COMPLETED' AND task_type <> 'SUBWORKFLOW'
    OFFSET 0 ) AS s
LEFT
JOIN LATERAL (
SELECT result
FROM step_items
WHERE workflow_id = f.id AND position = w.final_position OFFSET 0 ) AS i ON TRUE
CROSS
JOIN LATERAL regexp_matches(coalesce(i.result, s.result)::text, $9::VARCHAR, 'g') AS m )
SELECT page.*, final OR EXISTS (
SELECT
FROM named
WHERE named.path = page.path AND named.id = ANY(page.finals) ) AS is_final
FROM page
ORDER BY above, position, attempt, file;
--   Sort
--     Sort Key: page.above, page."position", page.attempt, page.file
--     CTE tree
--       ->  Recursive Union
--             ->  Index Scan using workflows_pkey on workflows w
--                   Index Cond: (id = $1)
--                   Filter: ($2 OR (NOT (tenant IS DISTINCT FROM ($3)::text)))
--             ->  Nested Loop Left Join
--                   Filter: ((c.id)::text = CASE WHEN ((steps.repeat IS NOT NULL) AND (COALESCE(step_items.status, steps.status) = 'COMPLETED'::text)) THEN (COALESCE(step_items.result, steps.result) ->> 'workflow_id'::text) ELSE (COALESCE(step_items.flow, steps.flow) ->> 'child'::text) END)
--                   ->  Nested Loop
--                         ->  Nested Loop
--                               ->  Nested Loop
--                                     ->  WorkTable Scan on tree f
--                                     ->  Index Scan using workflows_by_parent on workflows c
--                                           Index Cond: (parent_id = f.id)
--                               ->  Index Scan using tasks_pkey on tasks
--                                     Index Cond: (id = c.id)
--                         ->  Index Scan using steps_pkey on steps
--                               Index Cond: ((workflow_id = f.id) AND ("position" = tasks."position"))
--                   ->  Index Scan using step_items_pkey on step_items
--                         Index Cond: ((workflow_id = f.id) AND ("position" = tasks."position") AND (item = tasks.item))
--     CTE above_after
--       ->  Recursive Union
--             ->  Result
--             ->  Nested Loop
--                   Join Filter: (a.id = w_1.id)
--                   ->  Nested Loop
--                         ->  WorkTable Scan on above_after a
--                               Filter: (id <> $1)
--                         ->  Index Scan using tasks_pkey on tasks k
--                               Index Cond: (id = a.id)
--                   ->  Index Scan using workflows_pkey on workflows w_1
--                         Index Cond: (id = k.id)
--     CTE page
--       ->  Limit
--             ->  Nested Loop
--                   ->  Sort
--                         Sort Key: f_1.path
--                         InitPlan 3
--                           ->  CTE Scan on above_after
--                                 Filter: (id = $1)
--                         ->  CTE Scan on tree f_1
--                               Filter: (($4 IS NULL) OR (path >= (InitPlan 3).col1))
--                   ->  Limit
--                         ->  Incremental Sort
--                               Sort Key: t."position", t.attempt, e.number
--                               Presorted Key: t."position", t.attempt
--                               ->  Nested Loop
--                                     ->  Nested Loop Left Join
--                                           Join Filter: ((i."position" = t."position") AND (i.item = t.item))
--                                           Filter: ((COALESCE(i.status, s.status) = 'COMPLETED'::text) AND CASE WHEN (s.repeat IS NULL) THEN (t.id = COALESCE(i.task_id, s.task_id)) ELSE (POSITION(((('media/'::text || (t.id)::text) || '/'::text)) IN ((COALESCE(i.result, s.result))::text)) > 0) END)
--                                           ->  Nested Loop
--                                                 Join Filter: (s."position" = t."position")
--                                                 ->  Index Scan using tasks_workflow_id_position_attempt_key on tasks t
--                                                       Index Cond: ((workflow_id = f_1.id) AND (ROW("position", attempt) >= ROW((CASE WHEN (f_1.id = $4) THEN $5 ELSE '-1'::integer END), (CASE WHEN (f_1.id = $4) THEN $6 ELSE '-1'::integer END))))
--                                                       Filter: ((deleted_at IS NULL) AND (status = 'COMPLETED'::text))
--                                                 ->  Index Scan using steps_pkey on steps s
--                                                       Index Cond: (workflow_id = f_1.id)
--                                           ->  Index Scan using step_items_pkey on step_items i
--                                                 Index Cond: (workflow_id = f_1.id)
--                                     ->  Function Scan on json_array_elements e
--                                           Filter: (ROW(t."position", t.attempt, number) > ROW((CASE WHEN (f_1.id = $4) THEN $5 ELSE '-1'::integer END), (CASE WHEN (f_1.id = $4) THEN $6 ELSE '-1'::integer END), (CASE WHEN (f_1.id = $4) THEN $7 ELSE '-1'::integer END)))
--     CTE named
--       ->  HashAggregate
--             Group Key: (unnest(page_1.finals)), m.m[1]
--             ->  Nested Loop
--                   ->  Nested Loop Left Join
--                         ->  Nested Loop
--                               ->  Nested Loop
--                                     ->  HashAggregate
--                                           Group Key: unnest(page_1.finals)
--                                           ->  ProjectSet
--                                                 ->  CTE Scan on page page_1
--                                     ->  Index Scan using workflows_pkey on workflows
--                                           Index Cond: (id = (unnest(page_1.finals)))
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: ((workflow_id = (unnest(page_1.finals))) AND ("position" = workflows.final_position))
--                                     Filter: ((task_type <> 'SUBWORKFLOW'::text) AND (status = 'COMPLETED'::text))
--                         ->  Index Scan using step_items_pkey on step_items step_items_1
--                               Index Cond: ((workflow_id = (unnest(page_1.finals))) AND ("position" = workflows.final_position))
--                   ->  Function Scan on regexp_matches m
--     ->  CTE Scan on page
--           SubPlan 6
--             ->  CTE Scan on named
--                   Filter: ((path = page.path) AND (id = ANY (page.finals)))

WITH RECURSIVE wanted(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) = $1::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN wanted ON wanted.id = child.id
WHERE child.parent_id IS NOT NULL), earlier(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) < $1::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN earlier ON earlier.id = child.id
WHERE child.parent_id IS NOT NULL)
SELECT count(*) AS count_1
FROM workflows
WHERE workflows.id IN (SELECT wanted.id
FROM wanted) AND (workflows.id NOT IN (SELECT earlier.id
FROM earlier)) AND workflows.deleted_at IS NULL;
--   Aggregate
--     CTE wanted
--       ->  Recursive Union
--             ->  Index Scan using waits_by_root on waits
--                   Index Cond: (array_position('{decision,signal,delay}'::text[], kind) = $1)
--             ->  Nested Loop
--                   ->  WorkTable Scan on wanted wanted_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (id = wanted_1.id)
--     CTE earlier
--       ->  Recursive Union
--             ->  Bitmap Heap Scan on waits waits_1
--                   Recheck Cond: (array_position('{decision,signal,delay}'::text[], kind) < $1)
--                   ->  Bitmap Index Scan on waits_by_root
--                         Index Cond: (array_position('{decision,signal,delay}'::text[], kind) < $1)
--             ->  Hash Join
--                   Hash Cond: (earlier.id = child_1.id)
--                   ->  WorkTable Scan on earlier
--                   ->  Hash
--                         ->  Bitmap Heap Scan on workflows child_1
--                               Recheck Cond: (parent_id IS NOT NULL)
--                               ->  Bitmap Index Scan on workflows_by_parent
--     ->  Nested Loop Semi Join
--           Join Filter: (wanted.id = workflows.id)
--           ->  Index Scan using workflows_pkey on workflows
--                 Filter: ((deleted_at IS NULL) AND (NOT (ANY (id = (hashed SubPlan 3).col1))))
--                 SubPlan 3
--                   ->  CTE Scan on earlier earlier_1
--           ->  CTE Scan on wanted

WITH RECURSIVE wanted(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) = $1::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN wanted ON wanted.id = child.id
WHERE child.parent_id IS NOT NULL), earlier(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) < $1::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN earlier ON earlier.id = child.id
WHERE child.parent_id IS NOT NULL)
SELECT workflows.status, count(*) AS count_1
FROM workflows
WHERE workflows.id IN (SELECT wanted.id
FROM wanted) AND (workflows.id NOT IN (SELECT earlier.id
FROM earlier)) AND workflows.deleted_at IS NULL
GROUP BY workflows.status;
--   GroupAggregate
--     Group Key: workflows.status
--     CTE wanted
--       ->  Recursive Union
--             ->  Index Scan using waits_by_root on waits
--                   Index Cond: (array_position('{decision,signal,delay}'::text[], kind) = $1)
--             ->  Nested Loop
--                   ->  WorkTable Scan on wanted wanted_1
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (id = wanted_1.id)
--     CTE earlier
--       ->  Recursive Union
--             ->  Bitmap Heap Scan on waits waits_1
--                   Recheck Cond: (array_position('{decision,signal,delay}'::text[], kind) < $1)
--                   ->  Bitmap Index Scan on waits_by_root
--                         Index Cond: (array_position('{decision,signal,delay}'::text[], kind) < $1)
--             ->  Hash Join
--                   Hash Cond: (earlier.id = child_1.id)
--                   ->  WorkTable Scan on earlier
--                   ->  Hash
--                         ->  Bitmap Heap Scan on workflows child_1
--                               Recheck Cond: (parent_id IS NOT NULL)
--                               ->  Bitmap Index Scan on workflows_by_parent
--     ->  Nested Loop Semi Join
--           Join Filter: (wanted.id = workflows.id)
--           ->  Index Only Scan using workflows_list_by_status on workflows
--                 Filter: ((deleted_at IS NULL) AND (NOT (ANY (id = (hashed SubPlan 3).col1))))
--                 SubPlan 3
--                   ->  CTE Scan on earlier earlier_1
--           ->  CTE Scan on wanted

WITH RECURSIVE wanted(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) = $2::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN wanted ON wanted.id = child.id
WHERE child.parent_id IS NOT NULL), earlier(id) AS (SELECT waits.workflow_id AS id
FROM waits
WHERE array_position(ARRAY['decision', 'signal', 'delay'], kind) < $2::INTEGER UNION
SELECT child.parent_id AS parent_id
FROM workflows AS child
JOIN earlier ON earlier.id = child.id
WHERE child.parent_id IS NOT NULL), found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS
    created_at
FROM workflows
WHERE workflows.id IN (SELECT wanted.id
FROM wanted) AND (workflows.id NOT IN (SELECT earlier.id
FROM earlier)) AND workflows.deleted_at IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE wanted
--       ->  Recursive Union
--             ->  Index Scan using waits_by_root on waits
--                   Index Cond: (array_position('{decision,signal,delay}'::text[], kind) = $2)
--             ->  Nested Loop
--                   ->  WorkTable Scan on wanted
--                   ->  Index Only Scan using workflows_by_parent on workflows child
--                         Index Cond: (id = wanted.id)
--     CTE earlier
--       ->  Recursive Union
--             ->  Bitmap Heap Scan on waits waits_1
--                   Recheck Cond: (array_position('{decision,signal,delay}'::text[], kind) < $2)
--                   ->  Bitmap Index Scan on waits_by_root
--                         Index Cond: (array_position('{decision,signal,delay}'::text[], kind) < $2)
--             ->  Hash Join
--                   Hash Cond: (earlier.id = child_1.id)
--                   ->  WorkTable Scan on earlier
--                   ->  Hash
--                         ->  Bitmap Heap Scan on workflows child_1
--                               Recheck Cond: (parent_id IS NOT NULL)
--                               ->  Bitmap Index Scan on workflows_by_parent
--     CTE found
--       ->  Limit
--             ->  Nested Loop Semi Join
--                   Join Filter: (wanted_1.id = workflows_1.id)
--                   ->  Index Only Scan Backward using workflows_list_by_created on workflows workflows_1
--                         Filter: ((deleted_at IS NULL) AND (NOT (ANY (id = (hashed SubPlan 3).col1))))
--                         SubPlan 3
--                           ->  CTE Scan on earlier earlier_1
--                   ->  CTE Scan on wanted wanted_1
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 5
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 6
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 7
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 9
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 11
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 10
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 12
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 14
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 16
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 21
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 22
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 23
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE scanned.type IN ($8::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       ->  CTE Scan on scanned scanned_1
--                             Filter: (type = ($8)::text)
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = scanned_1.workflow_id)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE true
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       ->  CTE Scan on scanned scanned_1
--                       ->  Index Scan using workflows_pkey on workflows
--                             Index Cond: (id = scanned_1.workflow_id)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.origin_instance = $7::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $8::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       Join Filter: (scanned_1.workflow_id = workflows.id)
--                       ->  CTE Scan on scanned scanned_1
--                       ->  Materialize
--                             ->  Index Scan using workflows_list_by_instance on workflows
--                                   Index Cond: (origin_instance = ($7)::text)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.status = $7::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $8::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       Join Filter: (scanned_1.workflow_id = workflows.id)
--                       ->  CTE Scan on scanned scanned_1
--                       ->  Materialize
--                             ->  Index Scan using workflows_list_by_status on workflows
--                                   Index Cond: (status = ($7)::text)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant = $7::VARCHAR AND scanned.type IN ($9::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $8::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       Join Filter: (scanned_1.workflow_id = workflows.id)
--                       ->  CTE Scan on scanned scanned_1
--                             Filter: (type = ($9)::text)
--                       ->  Index Scan using workflows_list_by_tenant on workflows
--                             Index Cond: (tenant = ($7)::text)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant = $7::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $8::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       Join Filter: (scanned_1.workflow_id = workflows.id)
--                       ->  CTE Scan on scanned scanned_1
--                       ->  Materialize
--                             ->  Index Scan using workflows_list_by_tenant on workflows
--                                   Index Cond: (tenant = ($7)::text)

WITH bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS txid),
    scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type, events.at
    AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events, bound
WHERE (events.txid, events.workflow_id, events.id) > ($2::BIGINT, $3::UUID, $4::INTEGER) AND events.txid < bound.txid
ORDER BY events.txid, events.workflow_id, events.id
LIMIT $5::INTEGER), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id AS
    last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $6::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant IS NULL AND scanned.type IN ($8::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE bound
--       ->  Result
--     CTE scanned
--       ->  Limit
--             ->  Incremental Sort
--                   Sort Key: events.txid, events.workflow_id, events.id
--                   Presorted Key: events.txid
--                   ->  Nested Loop
--                         Join Filter: (events.txid < bound_1.txid)
--                         ->  Index Scan using events_by_txid on events
--                               Index Cond: (txid >= $2)
--                               Filter: (ROW(txid, workflow_id, id) > ROW($2, $3, $4))
--                         ->  CTE Scan on bound bound_1
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Nested Loop
--                       Join Filter: (scanned_1.workflow_id = workflows.id)
--                       ->  CTE Scan on scanned scanned_1
--                             Filter: (type = ($8)::text)
--                       ->  Index Scan using workflows_list_without_tenant on workflows

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
JOIN labels AS label_1 ON label_1.workflow_id = workflows.id AND label_1.label = $3::VARCHAR
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         Join Filter: (label_0.workflow_id = workflows_1.id)
--                         ->  Hash Join
--                               Hash Cond: (label_0.workflow_id = label_1.workflow_id)
--                               ->  Bitmap Heap Scan on labels label_0
--                                     Recheck Cond: (label = ($2)::text)
--                                     ->  Bitmap Index Scan on labels_by_label
--                                           Index Cond: (label = ($2)::text)
--                               ->  Hash
--                                     ->  Bitmap Heap Scan on labels label_1
--                                           Recheck Cond: (label = ($3)::text)
--                                           ->  Bitmap Index Scan on labels_by_label
--                                                 Index Cond: (label = ($3)::text)
--                         ->  Index Scan using workflows_pkey on workflows workflows_1
--                               Index Cond: (id = label_1.workflow_id)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
JOIN labels AS label_1 ON label_1.workflow_id = workflows.id AND label_1.label = $3::VARCHAR
WHERE workflows.tenant = $4::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $5::BIGINT OFFSET $6::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $8::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $9::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $9::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $11::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $12::VARCHAR AND steps.skip_reason != $13::VARCHAR OR
    steps.status = $10::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $14::VARCHAR OR tasks.status = $15::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $16::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         Join Filter: (label_0.workflow_id = workflows_1.id)
--                         ->  Nested Loop
--                               ->  Index Only Scan using workflows_list_by_tenant on workflows workflows_1
--                                     Index Cond: (tenant = ($4)::text)
--                                     Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                               ->  Index Only Scan using labels_pkey on labels label_1
--                                     Index Cond: ((workflow_id = workflows_1.id) AND (label = ($3)::text))
--                         ->  Index Scan using labels_pkey on labels label_0
--                               Index Cond: ((workflow_id = label_1.workflow_id) AND (label = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($7)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($10)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($10)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($12)::text) AND (skip_reason <> ($13)::text)) OR ((status = ($10)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($14)::text) AND (status <> ($15)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($16)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND (label_0.created_at, label_0.workflow_id) <
    ($3::TIMESTAMP
WITH TIME ZONE, $4::UUID)
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $5::BIGINT OFFSET $6::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $8::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $9::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $9::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $11::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $12::VARCHAR AND steps.skip_reason != $13::VARCHAR OR
    steps.status = $10::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $14::VARCHAR OR tasks.status = $15::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $16::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Nested Loop
--                   ->  Index Only Scan Backward using labels_by_label on labels label_0
--                         Index Cond: ((label = ($2)::text) AND (ROW(created_at, workflow_id) < ROW($3, $4)))
--                   ->  Memoize
--                         Cache Key: label_0.workflow_id
--                         Cache Mode: logical
--                         ->  Index Scan using workflows_pkey on workflows workflows_1
--                               Index Cond: (id = label_0.workflow_id)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($7)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($10)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($10)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($12)::text) AND (skip_reason <> ($13)::text)) OR ((status = ($10)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($14)::text) AND (status <> ($15)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($16)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND (label_0.created_at, label_0.workflow_id) >
    ($3::TIMESTAMP
WITH TIME ZONE, $4::UUID)
ORDER BY label_0.created_at ASC, label_0.workflow_id ASC
LIMIT $5::BIGINT OFFSET $6::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at ASC, found.id ASC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $8::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $9::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $9::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $11::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $12::VARCHAR AND steps.skip_reason != $13::VARCHAR OR
    steps.status = $10::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $14::VARCHAR OR tasks.status = $15::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $16::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at ASC, versions.page_id ASC;
--   Sort
--     Sort Key: versions.page_created_at, versions.page_id
--     CTE found
--       ->  Limit
--             ->  Nested Loop
--                   ->  Index Only Scan using labels_by_label on labels label_0
--                         Index Cond: ((label = ($2)::text) AND (ROW(created_at, workflow_id) > ROW($3, $4)))
--                   ->  Memoize
--                         Cache Key: label_0.workflow_id
--                         Cache Mode: logical
--                         ->  Index Scan using workflows_pkey on workflows workflows_1
--                               Index Cond: (id = label_0.workflow_id)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at, found_1.id
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($7)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($10)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($10)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($12)::text) AND (skip_reason <> ($13)::text)) OR ((status = ($10)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($14)::text) AND (status <> ($15)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($16)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at ASC, label_0.workflow_id ASC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at ASC, found.id ASC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at ASC, versions.page_id ASC;
--   Sort
--     Sort Key: versions.page_created_at, versions.page_id
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at, workflows_1.id
--                   ->  Nested Loop
--                         ->  Bitmap Heap Scan on labels label_0
--                               Recheck Cond: (label = ($2)::text)
--                               ->  Bitmap Index Scan on labels_by_label
--                                     Index Cond: (label = ($2)::text)
--                         ->  Memoize
--                               Cache Key: label_0.workflow_id
--                               Cache Mode: logical
--                               ->  Index Scan using workflows_pkey on workflows workflows_1
--                                     Index Cond: (id = label_0.workflow_id)
--                                     Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at, found_1.id
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         ->  Bitmap Heap Scan on labels label_0
--                               Recheck Cond: (label = ($2)::text)
--                               ->  Bitmap Index Scan on labels_by_label
--                                     Index Cond: (label = ($2)::text)
--                         ->  Memoize
--                               Cache Key: label_0.workflow_id
--                               Cache Mode: logical
--                               ->  Index Scan using workflows_pkey on workflows workflows_1
--                                     Index Cond: (id = label_0.workflow_id)
--                                     Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.deleted_at IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         ->  Bitmap Heap Scan on labels label_0
--                               Recheck Cond: (label = ($2)::text)
--                               ->  Bitmap Index Scan on labels_by_label
--                                     Index Cond: (label = ($2)::text)
--                         ->  Memoize
--                               Cache Key: label_0.workflow_id
--                               Cache Mode: logical
--                               ->  Index Scan using workflows_pkey on workflows workflows_1
--                                     Index Cond: (id = label_0.workflow_id)
--                                     Filter: (deleted_at IS NULL)
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 4
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 6
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 7
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 11
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 13
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.status = $3::VARCHAR AND lower(workflows.name) LIKE lower($4::VARCHAR) AND workflows.deleted_at IS
    NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $5::BIGINT OFFSET $6::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $8::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $9::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $9::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $11::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $12::VARCHAR AND steps.skip_reason != $13::VARCHAR OR
    steps.status = $10::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $14::VARCHAR OR tasks.status = $15::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $16::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         ->  Index Scan using workflows_list_by_status on workflows workflows_1
--                               Index Cond: (status = ($3)::text)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($4)::text)))
--                         ->  Index Scan using labels_pkey on labels label_0
--                               Index Cond: ((workflow_id = workflows_1.id) AND (label = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($7)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($10)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($10)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($12)::text) AND (skip_reason <> ($13)::text)) OR ((status = ($10)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($14)::text) AND (status <> ($15)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($16)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.status = $3::VARCHAR AND lower(workflows.name) LIKE lower($4::VARCHAR) AND workflows.tenant =
    $5::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $6::BIGINT OFFSET $7::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $9::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $10::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $11::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $10::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $11::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $12::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $13::VARCHAR AND steps.skip_reason != $14::VARCHAR OR
    steps.status = $11::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $15::VARCHAR OR tasks.status = $16::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $17::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         ->  Index Scan using workflows_list_by_tenant on workflows workflows_1
--                               Index Cond: (tenant = ($5)::text)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ($3)::text) AND (lower(name) ~~ lower(($4)::text)))
--                         ->  Index Scan using labels_pkey on labels label_0
--                               Index Cond: ((workflow_id = workflows_1.id) AND (label = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($8)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($11)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($11)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($13)::text) AND (skip_reason <> ($14)::text)) OR ((status = ($11)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($15)::text) AND (status <> ($16)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($17)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
JOIN labels AS label_0 ON label_0.workflow_id = workflows.id AND label_0.label = $2::VARCHAR
WHERE workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY label_0.created_at DESC, label_0.workflow_id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: label_0.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop
--                         ->  Index Only Scan using workflows_list_by_tenant on workflows workflows_1
--                               Index Cond: (tenant = ($3)::text)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Index Scan using labels_pkey on labels label_0
--                               Index Cond: ((workflow_id = workflows_1.id) AND (label = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  Sort
--                               Sort Key: found_1.created_at DESC, found_1.id DESC
--                               ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $2::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $2::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Nested Loop Anti Join
--                         ->  Nested Loop
--                               ->  HashAggregate
--                                     Group Key: waits.root_id
--                                     ->  Index Only Scan Backward using waits_by_root on waits
--                                           Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $2)
--                               ->  Index Scan using workflows_pkey on workflows workflows_1
--                                     Index Cond: (id = waits.root_id)
--                                     Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Index Only Scan using waits_by_root on waits waits_1
--                               Index Cond: ((root_id = workflows_1.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $2))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $2::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $2::INTEGER)) AND
    workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Nested Loop Anti Join
--                   ->  Nested Loop Semi Join
--                         Join Filter: (workflows_1.id = waits.root_id)
--                         ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                               Index Cond: (tenant = ($3)::text)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Index Only Scan Backward using waits_by_root on waits
--                               Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $2)
--                   ->  Index Only Scan using waits_by_root on waits waits_1
--                         Index Cond: ((root_id = workflows_1.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $2))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE lower(workflows.name) LIKE lower($2::VARCHAR) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($2)::text)))
--                         ->  Bitmap Index Scan on workflows_list_by_name
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE lower(workflows.name) LIKE lower($2::VARCHAR) AND workflows.deleted_at IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: ((deleted_at IS NULL) AND (lower(name) ~~ lower(($2)::text)))
--                         ->  Bitmap Index Scan on workflows_list_by_name
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 4
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 6
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 7
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 11
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 13
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE lower(workflows.name) LIKE lower($2::VARCHAR) AND workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS
    NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($3)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (lower(name) ~~ lower(($2)::text)))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND (workflows.created_at, workflows.id) <
    ($2::TIMESTAMP
WITH TIME ZONE, $3::UUID)
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Recheck Cond: (ROW(created_at, id) < ROW($2, $3))
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_created
--                               Index Cond: (ROW(created_at, id) < ROW($2, $3))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND (workflows.created_at, workflows.id) >
    ($2::TIMESTAMP
WITH TIME ZONE, $3::UUID)
ORDER BY workflows.created_at ASC, workflows.id ASC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at ASC, found.id ASC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at ASC, versions.page_id ASC;
--   Sort
--     Sort Key: versions.page_created_at, versions.page_id
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at, workflows_1.id
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Recheck Cond: (ROW(created_at, id) > ROW($2, $3))
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_created
--                               Index Cond: (ROW(created_at, id) > ROW($2, $3))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at < $2::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Recheck Cond: (created_at < $2)
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_created
--                               Index Cond: (created_at < $2)
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $2::TIMESTAMP
WITH TIME ZONE AND workflows.created_at < $3::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_created on workflows workflows_1
--                   Index Cond: ((created_at > $2) AND (created_at < $3))
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND workflows.created_at > $2::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Recheck Cond: (created_at > $2)
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_created
--                               Index Cond: (created_at > $2)
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at ASC, workflows.id ASC
LIMIT $2::BIGINT OFFSET $3::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at ASC, found.id ASC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $5::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $6::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $6::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $8::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $9::VARCHAR AND steps.skip_reason != $10::VARCHAR OR
    steps.status = $7::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $11::VARCHAR OR tasks.status = $12::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $13::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at ASC, versions.page_id ASC;
--   Sort
--     Sort Key: versions.page_created_at, versions.page_id
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at, workflows_1.id
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_status
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($4)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($7)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($7)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($9)::text) AND (skip_reason <> ($10)::text)) OR ((status = ($7)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($11)::text) AND (status <> ($12)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($13)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $2::BIGINT OFFSET $3::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $5::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $6::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $6::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $8::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $9::VARCHAR AND steps.skip_reason != $10::VARCHAR OR
    steps.status = $7::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $11::VARCHAR OR tasks.status = $12::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $13::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_status
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($4)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($7)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($7)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($9)::text) AND (skip_reason <> ($10)::text)) OR ((status = ($7)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($11)::text) AND (status <> ($12)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($13)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $2::BIGINT OFFSET $3::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $5::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $6::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $6::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $8::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $9::VARCHAR AND steps.skip_reason != $10::VARCHAR OR
    steps.status = $7::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $11::VARCHAR OR tasks.status = $12::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $13::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: (deleted_at IS NULL)
--                         ->  Bitmap Index Scan on workflows_list_by_status
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 4
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 6
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 7
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 11
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($4)::text)
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($7)::text)
--                       SubPlan 13
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($7)::text))
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($9)::text) AND (skip_reason <> ($10)::text)) OR ((status = ($7)::text) AND optional))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($11)::text) AND (status <> ($12)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($13)::text))))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.deleted_at IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $2::BIGINT OFFSET $3::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(CASE WHEN (weighed.position = workflows.final_position) THEN
    least(CASE WHEN weighed.for_each IS NULL THEN coalesce(pg_column_size(weighed.result) * CASE WHEN
    pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50 END, 0) WHEN weighed.status = 'COMPLETED' THEN
    (SELECT least(100 + 2 * coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result)
    IS NULL THEN 1 ELSE 50 END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $5::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $6::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $6::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $8::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $9::VARCHAR AND steps.skip_reason != $10::VARCHAR OR
    steps.status = $7::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $11::VARCHAR OR tasks.status = $12::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $13::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Filter: (deleted_at IS NULL)
--                         ->  Bitmap Index Scan on workflows_list_by_status
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 4
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 6
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 7
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 11
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($4)::text)
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($7)::text)
--                       SubPlan 13
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($7)::text))
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($9)::text) AND (skip_reason <> ($10)::text)) OR ((status = ($7)::text) AND optional))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($11)::text) AND (status <> ($12)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($13)::text))))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.origin_instance = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_instance on workflows workflows_1
--                   Index Cond: (origin_instance = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.origin_reference = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_reference on workflows workflows_1
--                   Index Cond: (origin_reference = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.origin_reference = $2::VARCHAR AND workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($3)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (origin_reference = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.origin_zone = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_zone on workflows workflows_1
--                   Index Cond: (origin_zone = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.origin_zone = $2::VARCHAR AND workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_zone on workflows workflows_1
--                   Index Cond: (origin_zone = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (tenant = ($3)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = $2::VARCHAR AND (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) = $3::INTEGER)) AND
    NOT (EXISTS (SELECT *
FROM waits
WHERE waits.root_id = workflows.id AND array_position(ARRAY['decision', 'signal', 'delay'], kind) < $3::INTEGER)) AND
    workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Nested Loop Anti Join
--                   ->  Nested Loop Semi Join
--                         Join Filter: (workflows_1.id = waits.root_id)
--                         ->  Index Only Scan Backward using workflows_list_by_status on workflows workflows_1
--                               Index Cond: (status = ($2)::text)
--                               Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Index Only Scan Backward using waits_by_root on waits
--                               Index Cond: ((array_position('{decision,signal,delay}'::text[], kind)) = $3)
--                   ->  Index Only Scan using waits_by_root on waits waits_1
--                         Index Cond: ((root_id = workflows_1.id) AND ((array_position('{decision,signal,delay}'::text[], kind)) < $3))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_status on workflows workflows_1
--                   Index Cond: (status = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = $2::VARCHAR AND workflows.deleted_at IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN CASE WHEN workflows.parent_id IS NULL THEN (SELECT
    n.kind
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
LIMIT 1 ) END END END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_status on workflows workflows_1
--                   Index Cond: (status = ($2)::text)
--                   Filter: (deleted_at IS NULL)
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 4
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n_1
--                           Index Cond: (root_id = workflows_2.root_id)
--             SubPlan 6
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
--                           ->  Hash Join
--                                 Hash Cond: (n_2.workflow_id = below_1.id)
--                                 ->  Index Scan using waits_pkey on waits n_2
--                                 ->  Hash
--                                       ->  CTE Scan on below below_1
--             SubPlan 8
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 7
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 9
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 11
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 13
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 18
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 19
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 20
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = $2::VARCHAR AND workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($3)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ($2)::text))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = ANY ($2::TEXT[]) AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Sort
--                   Sort Key: workflows_1.created_at DESC, workflows_1.id DESC
--                   ->  Bitmap Heap Scan on workflows workflows_1
--                         Recheck Cond: (status = ANY ($2))
--                         Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--                         ->  Bitmap Index Scan on workflows_list_by_status
--                               Index Cond: (status = ANY ($2))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.status = ANY ($2::TEXT[]) AND workflows.tenant = $3::VARCHAR AND workflows.deleted_at IS NULL AND
    workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($3)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL) AND (status = ANY ($2)))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at < $3::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: ((tenant = ($2)::text) AND (created_at < $3))
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at > $3::TIMESTAMP
WITH TIME ZONE AND workflows.created_at < $4::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $5::BIGINT OFFSET $6::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $8::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $9::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $9::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $10::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $11::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $12::VARCHAR AND steps.skip_reason != $13::VARCHAR OR
    steps.status = $10::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $14::VARCHAR OR tasks.status = $15::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $16::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: ((tenant = ($2)::text) AND (created_at > $3) AND (created_at < $4))
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($7)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($10)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($10)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($12)::text) AND (skip_reason <> ($13)::text)) OR ((status = ($10)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($14)::text) AND (status <> ($15)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($16)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL AND
    workflows.created_at > $3::TIMESTAMP
WITH TIME ZONE
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $4::BIGINT OFFSET $5::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $6::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $7::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $8::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $8::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $9::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $10::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $11::VARCHAR AND steps.skip_reason != $12::VARCHAR OR
    steps.status = $9::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $13::VARCHAR OR tasks.status = $14::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $15::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: ((tenant = ($2)::text) AND (created_at > $3))
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($6)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($9)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($9)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($11)::text) AND (skip_reason <> ($12)::text)) OR ((status = ($9)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($13)::text) AND (status <> ($14)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($15)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(CASE WHEN (weighed.position = workflows.final_position) THEN least(CASE
    WHEN weighed.for_each IS NULL THEN coalesce(pg_column_size(weighed.result) * CASE WHEN
    pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50 END, 0) WHEN weighed.status = 'COMPLETED' THEN
    (SELECT least(100 + 2 * coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result)
    IS NULL THEN 1 ELSE 50 END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END, 2107152) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($2)::text)
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant = $2::VARCHAR AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $3::BIGINT OFFSET $4::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $5::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $6::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $7::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $7::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $8::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $9::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $10::VARCHAR AND steps.skip_reason != $11::VARCHAR OR
    steps.status = $8::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $12::VARCHAR OR tasks.status = $13::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $14::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_by_tenant on workflows workflows_1
--                   Index Cond: (tenant = ($2)::text)
--                   Filter: (parent_id IS NULL)
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($5)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($8)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($8)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($10)::text) AND (skip_reason <> ($11)::text)) OR ((status = ($8)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($12)::text) AND (status <> ($13)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($14)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH found AS MATERIALIZED (SELECT workflows.id AS id, workflows.created_at AS created_at
FROM workflows
WHERE workflows.tenant IS NULL AND workflows.deleted_at IS NULL AND workflows.parent_id IS NULL
ORDER BY workflows.created_at DESC, workflows.id DESC
LIMIT $2::BIGINT OFFSET $3::BIGINT), versions AS MATERIALIZED (SELECT workflows.id AS page_id, workflows.last_event AS
    page_event, workflows.updated_at AS page_updated_at, ids.created_at AS page_created_at, (SELECT count(*) >
    $1::BIGINT AS anon_1
FROM found) AS page_has_next, CASE WHEN workflows.has_flow THEN (SELECT n.kind
FROM waits AS n
WHERE n.root_id = workflows.id
ORDER BY array_position(ARRAY['decision', 'signal', 'delay'], kind)
LIMIT 1) END AS waits_for, sum((SELECT sum(200 + pg_column_size(weighed.definition) * CASE WHEN
    (pg_column_compression(weighed.definition) IS NULL) THEN 1 ELSE 50 END + CASE WHEN weighed.for_each IS NULL THEN
    coalesce(pg_column_size(weighed.result) * CASE WHEN pg_column_compression(weighed.result) IS NULL THEN 1 ELSE 50
    END, 0) WHEN weighed.status = 'COMPLETED' THEN (SELECT least(100 + 2 *
    coalesce(sum(coalesce(pg_column_size(i.result) * CASE WHEN pg_column_compression(i.result) IS NULL THEN 1 ELSE 50
    END, 0)), 0) + 5 * count(*), 2000000000)::int
FROM step_items AS i
WHERE i.workflow_id = weighed.workflow_id AND i.position = weighed.position) ELSE 0 END +
    coalesce(octet_length(weighed.error_message), 0)) AS sum_1
FROM steps AS weighed
WHERE weighed.workflow_id = workflows.id) + pg_column_size(workflows.config) * CASE WHEN
    (pg_column_compression(workflows.config) IS NULL) THEN 1 ELSE 50 END + coalesce((SELECT
    sum(octet_length(labels.label)) AS sum_2
FROM labels
WHERE labels.workflow_id = workflows.id), 0)) OVER () AS page_bytes
FROM workflows
JOIN (SELECT found.id AS id, found.created_at AS created_at
FROM found
ORDER BY found.created_at DESC, found.id DESC
LIMIT $1::BIGINT) AS ids ON ids.id = workflows.id)
SELECT versions.page_id, versions.page_event, versions.page_updated_at, versions.page_created_at,
    versions.page_has_next, versions.waits_for, versions.page_bytes, whole.id, whole.tenant, whole.origin_instance,
    whole.origin_zone, whole.origin_reference, whole.config, whole.suppress_subtask_events, whole.total_steps,
    whole.final_position, whole.definition_bytes, whole.feature_level, whole.evaluates, whole.has_flow,
    whole.stored_definition, whole.created_at, whole.status, whole.name, whole.description, whole.webhook_url,
    whole.completed_steps, whole.execution_id, whole.failure, whole.started_at, whole.completed_at, whole.updated_at,
    whole.deleted_at, whole.deadline_at, whole.timeout_left_s, whole.owner, whole.epoch, whole.last_event,
    whole.crashes, whole.wake_at, whole.parent_id, whole.parent_step, whole.parent_item, whole.root_id, whole.depth,
    whole.child_ends, whole.sub_workflows, whole.sub_workflow_steps, whole.sub_workflow_bytes, whole.current_step,
    whole.step_errors, whole.fatal_error, whole.done_without_result, whole.costs, whole.labels, whole.final_step_id,
    whole.items_done, whole.final_step_result
FROM versions
LEFT OUTER
JOIN LATERAL (SELECT workflows.id AS id, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance,
    workflows.origin_zone AS origin_zone, workflows.origin_reference AS origin_reference, workflows.config AS config,
    workflows.suppress_subtask_events AS suppress_subtask_events, workflows.total_steps AS total_steps,
    workflows.final_position AS final_position, workflows.definition_bytes AS definition_bytes,
    workflows.feature_level AS feature_level, workflows.evaluates AS evaluates, workflows.has_flow AS has_flow,
    workflows.stored_definition AS stored_definition, workflows.created_at AS created_at, workflows.status AS status,
    workflows.name AS name, workflows.description AS description, workflows.webhook_url AS webhook_url,
    workflows.completed_steps AS completed_steps, workflows.execution_id AS execution_id, workflows.failure AS
    failure, workflows.started_at AS started_at, workflows.completed_at AS completed_at, workflows.updated_at AS
    updated_at, workflows.deleted_at AS deleted_at, workflows.deadline_at AS deadline_at, workflows.timeout_left_s AS
    timeout_left_s, workflows.owner AS owner, workflows.epoch AS epoch, workflows.last_event AS last_event,
    workflows.crashes AS crashes, workflows.wake_at AS wake_at, workflows.parent_id AS parent_id,
    workflows.parent_step AS parent_step, workflows.parent_item AS parent_item, workflows.root_id AS root_id,
    workflows.depth AS depth, workflows.child_ends AS child_ends, workflows.sub_workflows AS sub_workflows,
    workflows.sub_workflow_steps AS sub_workflow_steps, workflows.sub_workflow_bytes AS sub_workflow_bytes, (SELECT
    steps.step_id
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $4::VARCHAR
ORDER BY steps.started_at, steps.position
LIMIT $5::INTEGER) AS current_step, (SELECT array_agg(concat(steps.step_id, $6::VARCHAR, steps.error_message)
ORDER BY steps.position) AS array_agg_1
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR) AS step_errors, CASE WHEN workflows.has_flow
    THEN (SELECT concat(steps.step_id, $6::VARCHAR, steps.error_message) AS concat_2
FROM steps
WHERE steps.workflow_id = workflows.id AND steps.status = $7::VARCHAR AND NOT steps.optional
ORDER BY steps.position
LIMIT $8::INTEGER) END AS fatal_error, CASE WHEN workflows.has_flow THEN (SELECT count(*) AS count_1
FROM steps
WHERE steps.workflow_id = workflows.id AND (steps.status = $9::VARCHAR AND steps.skip_reason != $10::VARCHAR OR
    steps.status = $7::VARCHAR AND steps.optional)) END AS done_without_result, (SELECT
    CAST(json_agg(json_build_array(sums.currency, sums.amount, sums.attempts)
ORDER BY sums.currency) AS TEXT) AS costs
FROM (SELECT tasks.cost ->> 'currency' AS currency, sum(CAST(tasks.cost ->> 'amount' AS NUMERIC)) AS amount, count(*)
    AS attempts
FROM tasks
WHERE tasks.sent IS NOT NULL AND tasks.provider IS NOT NULL AND (tasks.cost IS NOT NULL OR NOT ((tasks.status =
    $11::VARCHAR OR tasks.status = $12::VARCHAR) AND tasks.remote_id IS NULL AND NOT tasks.outcome_unknown AND
    (tasks.cancel_receipt IS NULL OR tasks.cancel_receipt = $13::VARCHAR))) AND tasks.workflow_id = workflows.id
GROUP BY 1) AS sums) AS costs, (SELECT array_agg(labels.label) AS array_agg_2
FROM labels
WHERE labels.workflow_id = workflows.id) AS labels, final.step_id AS final_step_id, CASE WHEN workflows.has_flow THEN
    (
SELECT sum(each.share)
FROM (
SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
FROM steps AS s
JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED',
    'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
GROUP BY s.position ) AS each ) END AS items_done, CASE WHEN final.status <> 'COMPLETED' THEN NULL WHEN final.for_each
    IS NULL THEN final.result WHEN (SELECT coalesce(sum(pg_column_size(i.result)), 0)
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
WHERE i.workflow_id = final.workflow_id AND i.position = final.position) AS o ) END END AS final_step_result
FROM workflows
JOIN steps AS final ON final.workflow_id = workflows.id AND final.position = workflows.final_position
WHERE workflows.id = versions.page_id AND versions.page_bytes <= 262144) AS whole ON true
ORDER BY versions.page_created_at DESC, versions.page_id DESC;
--   Sort
--     Sort Key: versions.page_created_at DESC, versions.page_id DESC
--     CTE found
--       ->  Limit
--             ->  Index Only Scan Backward using workflows_list_without_tenant on workflows workflows_1
--                   Filter: ((deleted_at IS NULL) AND (parent_id IS NULL))
--     CTE versions
--       ->  WindowAgg
--             Window: w1 AS ()
--             InitPlan 2
--               ->  Aggregate
--                     ->  CTE Scan on found
--             ->  Nested Loop
--                   ->  Limit
--                         ->  CTE Scan on found found_1
--                   ->  Index Scan using workflows_pkey on workflows workflows_2
--                         Index Cond: (id = found_1.id)
--             SubPlan 3
--               ->  Limit
--                     ->  Index Only Scan using waits_by_root on waits n
--                           Index Cond: (root_id = workflows_2.id)
--             SubPlan 5
--               ->  Aggregate
--                     ->  Index Scan using steps_pkey on steps weighed
--                           Index Cond: (workflow_id = workflows_2.id)
--                     SubPlan 4
--                       ->  Aggregate
--                             ->  Index Scan using step_items_pkey on step_items i
--                                   Index Cond: ((workflow_id = weighed.workflow_id) AND ("position" = weighed."position"))
--             SubPlan 6
--               ->  Aggregate
--                     ->  Bitmap Heap Scan on labels
--                           Recheck Cond: (workflow_id = workflows_2.id)
--                           ->  Bitmap Index Scan on labels_pkey
--                                 Index Cond: (workflow_id = workflows_2.id)
--     ->  Nested Loop Left Join
--           Join Filter: (versions.page_bytes <= '262144'::numeric)
--           ->  CTE Scan on versions
--           ->  Nested Loop
--                 ->  Index Scan using workflows_pkey on workflows
--                       Index Cond: (id = versions.page_id)
--                       SubPlan 8
--                         ->  Limit
--                               ->  Sort
--                                     Sort Key: steps.started_at, steps."position"
--                                     ->  Index Scan using steps_pkey on steps
--                                           Index Cond: (workflow_id = workflows.id)
--                                           Filter: (status = ($4)::text)
--                       SubPlan 9
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_1
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (status = ($7)::text)
--                       SubPlan 10
--                         ->  Limit
--                               ->  Index Scan using steps_pkey on steps steps_2
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: ((NOT optional) AND (status = ($7)::text))
--                       SubPlan 11
--                         ->  Aggregate
--                               ->  Index Scan using steps_pkey on steps steps_3
--                                     Index Cond: (workflow_id = workflows.id)
--                                     Filter: (((status = ($9)::text) AND (skip_reason <> ($10)::text)) OR ((status = ($7)::text) AND optional))
--                       SubPlan 12
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: ((tasks.cost ->> 'currency'::text))
--                                     ->  Sort
--                                           Sort Key: ((tasks.cost ->> 'currency'::text))
--                                           ->  Index Scan using tasks_sent on tasks
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((provider IS NOT NULL) AND ((cost IS NOT NULL) OR ((status <> ($11)::text) AND (status <> ($12)::text)) OR (remote_id IS NOT NULL) OR outcome_unknown OR ((cancel_receipt IS NOT NULL) AND (cancel_receipt <> ($13)::text))))
--                       SubPlan 13
--                         ->  Aggregate
--                               ->  Bitmap Heap Scan on labels labels_1
--                                     Recheck Cond: (workflow_id = workflows.id)
--                                     ->  Bitmap Index Scan on labels_pkey
--                                           Index Cond: (workflow_id = workflows.id)
--                       SubPlan 14
--                         ->  Aggregate
--                               ->  GroupAggregate
--                                     Group Key: s."position"
--                                     ->  Nested Loop
--                                           Join Filter: (s."position" = i_1."position")
--                                           ->  Index Scan using steps_pkey on steps s
--                                                 Index Cond: (workflow_id = workflows.id)
--                                                 Filter: ((for_each IS NOT NULL) AND ((status <> 'FAILED'::text) OR (NOT optional)) AND (status = ANY ('{PENDING,RUNNING,CANCELLED,FAILED}'::text[])))
--                                           ->  Index Scan using step_items_pkey on step_items i_1
--                                                 Index Cond: (workflow_id = workflows.id)
--                 ->  Index Scan using steps_pkey on steps final
--                       Index Cond: ((workflow_id = workflows.id) AND ("position" = workflows.final_position))
--                       SubPlan 15
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_2
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 16
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_3
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))
--                       SubPlan 17
--                         ->  Aggregate
--                               ->  Index Scan using step_items_pkey on step_items i_4
--                                     Index Cond: ((workflow_id = final.workflow_id) AND ("position" = final."position"))

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE scanned.type IN ($7::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $6::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             ->  CTE Scan on scanned scanned_1
--                                   Filter: (type = ($7)::text)
--                             ->  Index Scan using workflows_pkey on workflows
--                                   Index Cond: (id = scanned_1.workflow_id)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE true
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $6::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             ->  CTE Scan on scanned scanned_1
--                             ->  Index Scan using workflows_pkey on workflows
--                                   Index Cond: (id = scanned_1.workflow_id)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.origin_instance = $6::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             Join Filter: (scanned_1.workflow_id = workflows.id)
--                             ->  CTE Scan on scanned scanned_1
--                             ->  Index Scan using workflows_list_by_instance on workflows
--                                   Index Cond: (origin_instance = ($6)::text)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.status = $6::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             Join Filter: (scanned_1.workflow_id = workflows.id)
--                             ->  CTE Scan on scanned scanned_1
--                             ->  Index Scan using workflows_list_by_status on workflows
--                                   Index Cond: (status = ($6)::text)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant = $6::VARCHAR AND scanned.type IN ($8::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             Join Filter: (scanned_1.workflow_id = workflows.id)
--                             ->  CTE Scan on scanned scanned_1
--                                   Filter: (type = ($8)::text)
--                             ->  Index Scan using workflows_list_by_tenant on workflows
--                                   Index Cond: (tenant = ($6)::text)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant = $6::VARCHAR
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $7::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             Join Filter: (scanned_1.workflow_id = workflows.id)
--                             ->  CTE Scan on scanned scanned_1
--                             ->  Index Scan using workflows_list_by_tenant on workflows
--                                   Index Cond: (tenant = ($6)::text)

WITH scanned AS MATERIALIZED (SELECT events.workflow_id AS workflow_id, events.id AS id, events.type AS type,
    events.at AS at, events.step_id AS step_id, events.task_id AS task_id, events.actor AS actor, events.data AS data,
    events.txid AS txid
FROM events
WHERE events.txid = 0 AND (events.workflow_id, events.id) > ($2::UUID, $3::INTEGER)
ORDER BY events.workflow_id, events.id
LIMIT $4::INTEGER), bound AS MATERIALIZED (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS
    BIGINT) AS txid), last_one AS (SELECT scanned.txid AS last_txid, scanned.workflow_id AS last_workflow, scanned.id
    AS last_id
FROM scanned
ORDER BY scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
LIMIT $5::INTEGER)
SELECT bound.txid AS bound, (SELECT coalesce(max(events.txid), $1::INTEGER) AS coalesce_1
FROM events) >= bound.txid AS lagging, (SELECT count(*) AS count_1
FROM scanned) AS seen, last_one.last_txid, last_one.last_workflow, last_one.last_id, matched.workflow_id, matched.id,
    matched.type, matched.at, matched.step_id, matched.task_id, matched.actor, matched.data, matched.txid,
    matched.tenant, matched.origin_instance, matched.status, matched.stored_definition
FROM bound
LEFT OUTER
JOIN last_one ON true
LEFT OUTER
JOIN (SELECT scanned.workflow_id AS workflow_id, scanned.id AS id, scanned.type AS type, scanned.at AS at,
    scanned.step_id AS step_id, scanned.task_id AS task_id, scanned.actor AS actor, scanned.data AS data, scanned.txid
    AS txid, workflows.tenant AS tenant, workflows.origin_instance AS origin_instance, workflows.status AS status,
    workflows.stored_definition AS stored_definition
FROM scanned
JOIN workflows ON workflows.id = scanned.workflow_id
WHERE workflows.tenant IS NULL AND scanned.type IN ($7::VARCHAR)
ORDER BY scanned.txid, scanned.workflow_id, scanned.id
LIMIT $6::INTEGER) AS matched ON true
ORDER BY matched.txid, matched.workflow_id, matched.id;
--   Sort
--     Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--     CTE scanned
--       ->  Limit
--             ->  Index Scan using events_without_txid on events
--                   Index Cond: (ROW(workflow_id, id) > ROW($2, $3))
--     CTE bound
--       ->  Result
--     InitPlan 4
--       ->  Result
--             InitPlan 3
--               ->  Limit
--                     ->  Index Only Scan Backward using events_by_txid on events events_1
--     InitPlan 5
--       ->  Aggregate
--             ->  CTE Scan on scanned scanned_2
--     ->  Nested Loop Left Join
--           ->  Nested Loop Left Join
--                 ->  CTE Scan on bound
--                 ->  Limit
--                       ->  Sort
--                             Sort Key: scanned.txid DESC, scanned.workflow_id DESC, scanned.id DESC
--                             ->  CTE Scan on scanned
--           ->  Limit
--                 ->  Sort
--                       Sort Key: scanned_1.txid, scanned_1.workflow_id, scanned_1.id
--                       ->  Nested Loop
--                             Join Filter: (scanned_1.workflow_id = workflows.id)
--                             ->  CTE Scan on scanned scanned_1
--                                   Filter: (type = ($7)::text)
--                             ->  Index Scan using workflows_list_without_tenant on workflows
