// Runs every operation of the API by openapi-fetch, with the types in stepwell.ts. STEPWELL and TOKEN name the service.
import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { FieldMapping, paths, WorkflowPublic, WorkflowStepDefinition } from "./stepwell.js";

const UNKNOWN = "00000000-0000-7000-8000-000000000000";
const PHOTO =
  "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGNsaGBgYGBgYmBgYGBgAAAMqgEElVt5PAAAAABJRU5ErkJggg==";

const service = process.env.STEPWELL ?? "";
// The second parameter selects JSON where a response may also be a stream of events or a dry run.
const api = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: service,
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});
const called = new Set<string>();
api.use({
  onRequest: ({ request, schemaPath }) => {
    called.add(`${request.method} ${schemaPath}`);
  },
});

/** The data of a result, or an error that shows the problem. */
function data<T>(result: { data?: T; error?: unknown; response: Response }): T {
  assert.ok(result.response.ok, JSON.stringify(result.error));
  return result.data as T;
}

async function upload(): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([Buffer.from(PHOTO, "base64")]), "photo.png");
  const result = await api.POST("/api/v1/artifacts", { body: { file: [] }, bodySerializer: () => form });
  const [file] = data(result).artifacts;
  assert.ok(file);
  assert.deepEqual([file.name, file.width, file.height], ["photo.png", 2, 2]);
  return file.path;
}

function pipeline(path: string): WorkflowStepDefinition[] {
  const mapping: FieldMapping = { from_step: "refine", from_field: "result_image_path", to_field: "base_image_url" };
  return [
    { id: "refine", task_type: "REFINE", config: { base_image_url: path, upscale_factor: "${inputs.factor}" } },
    { id: "cut", task_type: "BACKGROUND_REMOVE", input_mappings: [mapping] },
  ];
}

// The task type selects the types of the config's members.
// @ts-expect-error - the factor is a number or an expression
export const REFUSED: WorkflowStepDefinition = { id: "a", task_type: "REFINE", config: { upscale_factor: true } };

async function create(steps: WorkflowStepDefinition[], start: boolean): Promise<WorkflowPublic> {
  const body = { name: "client", origin_instance: "tests", steps, labels: { by: "typescript" }, inputs: { factor: 2 } };
  const params = { query: { start }, header: { Prefer: "wait=30" } };
  return data(await api.POST("/api/v1/workflows/", { body, params }));
}

/** Runs the pipeline, and reads all that there is to read of it. */
async function runAndRead(path: string): Promise<WorkflowPublic> {
  const created = await create(pipeline(path), true);
  const params = { path: { workflow_id: created.id } };
  const header = { Prefer: "wait=30" };
  const done = data(await api.GET("/api/v1/workflows/{workflow_id}", { params: { ...params, header } }));
  assert.equal(done.status, "COMPLETED", done.error_message ?? undefined);
  assert.equal(done.steps?.[0]?.result?.width, 4);

  const image = done.final_step_result?.result_image_path;
  assert.ok(typeof image === "string");
  const step = { path: { ...params.path, step_id: "cut" } };
  assert.deepEqual(data(await api.GET("/api/v1/workflows/{workflow_id}/steps/{step_id}", { params: step })), done.steps?.[1]);
  const file = await api.GET("/api/v1/artifacts/{path}", { params: { path: { path: image } }, parseAs: "blob" });
  assert.equal(data(file).type, "image/png");
  const link = data(await api.POST("/api/v1/artifacts/links", { body: { path: image } }));
  const { pathname, search } = new URL(link.url); // its host is that of a proxy
  assert.ok((await fetch(service + pathname + search)).ok);

  const events = data(await api.GET("/api/v1/workflows/{workflow_id}/events", { params })).events;
  assert.equal(events.at(-1)?.type, "workflow.completed");
  assert.ok(data(await api.GET("/api/v1/events")).events.length >= events.length);
  const [task] = data(await api.GET("/api/v1/workflows/{workflow_id}/tasks", { params })).tasks;
  assert.ok(task);
  const again = data(await api.GET("/api/v1/tasks/{task_id}", { params: { path: { task_id: task.id } } }));
  assert.deepEqual(again, task);
  const { outputs } = data(await api.GET("/api/v1/workflows/{workflow_id}/outputs", { params }));
  assert.deepEqual(outputs.map((output) => output.step_path), ["refine", "cut"]);
  assert.deepEqual(data(await api.GET("/api/v1/workflows/{workflow_id}/deliveries", { params })).deliveries, []);
  assert.equal(data(await api.GET("/api/v1/workflows/{workflow_id}/explain", { params })).status, "COMPLETED");
  const definition = data(await api.GET("/api/v1/workflows/{workflow_id}/definition", { params }));
  assert.deepEqual(definition.steps.map((step) => step.id), ["refine", "cut"]);
  return done;
}

/** Changes a workflow, is refused what its status doesn't allow, and deletes its data. */
async function control(steps: WorkflowStepDefinition[]): Promise<void> {
  const waiting = await create(steps, false);
  const params = { path: { workflow_id: waiting.id } };
  const change = { description: "new", labels: null };
  const updated = data(await api.PATCH("/api/v1/workflows/{workflow_id}", { params, body: change }));
  assert.deepEqual([updated.description, updated.labels], ["new", {}]);
  const query = { status: "PENDING", order: "-created_at" as const, total: true };
  const listed = data(await api.GET("/api/v1/workflows/", { params: { query } }));
  assert.deepEqual([listed.total, listed.workflows[0]?.id], [1, waiting.id]);
  assert.equal(data(await api.GET("/api/v1/workflows/counts")).counts["PENDING"], 1);
  const body = { name: "client", origin_instance: "tests", steps };
  assert.equal(data(await api.POST("/api/v1/workflows/plan", { body })).steps.length, 2);

  const paused = await api.POST("/api/v1/workflows/{workflow_id}/pause", { params });
  assert.ok(paused.error && "allowed_from" in paused.error);
  assert.deepEqual(paused.error.allowed_from, ["RUNNING"]);
  const resumed = await api.POST("/api/v1/workflows/{workflow_id}/resume", { params });
  assert.equal(resumed.response.status, 409);
  const started = data(await api.POST("/api/v1/workflows/{workflow_id}/start", { params }));
  assert.equal(started.total_steps, 2);
  await api.GET("/api/v1/workflows/{workflow_id}", { params: { ...params, header: { Prefer: "wait=30" } } });
  const cancelled = await api.DELETE("/api/v1/workflows/{workflow_id}", { params });
  assert.equal(cancelled.response.status, 409);
  const changes = { steps: ["cut"], config: { cut: { note: "again" } } };
  const later = { ...params, query: { start: false } };
  const again = data(await api.POST("/api/v1/workflows/{workflow_id}/rerun", { params: later, body: changes }));
  assert.equal(again.derived_from, waiting.id);
  data(await api.POST("/api/v1/workflows/{workflow_id}/cleanup", { params: { path: { workflow_id: again.id } } }));
  const cleaned = data(await api.POST("/api/v1/workflows/{workflow_id}/cleanup", { params }));
  assert.equal(cleaned.cleanup.tasks_cleaned, 2);
  assert.equal(data(await api.DELETE("/api/v1/workflows/{workflow_id}/data", { params })).id, waiting.id);
}

/** Decides for a step, and sends a signal to another one. */
async function decideAndSignal(): Promise<void> {
  const steps: WorkflowStepDefinition[] = [
    { id: "ask", task_type: "APPROVAL", config: { choices: ["yes", "no"], on_timeout: "no", timeout_s: 60 } },
    { id: "paid", task_type: "SIGNAL", config: { on_timeout: "continue", timeout_s: 60 } },
  ];
  const body = { name: "client", origin_instance: "tests", steps };
  const { id } = data(await api.POST("/api/v1/workflows/", { body, params: { query: { start: true } } }));
  const path = { workflow_id: id };
  const query = { workflow_id: id };
  let open = data(await api.GET("/api/v1/decisions", { params: { query } })).decisions;
  while (open.length === 0) {
    open = data(await api.GET("/api/v1/decisions", { params: { query } })).decisions;
  }
  assert.deepEqual(open[0]?.choices, ["yes", "no"]);
  const decided = await api.POST("/api/v1/workflows/{workflow_id}/steps/{step_id}/decision", {
    params: { path: { ...path, step_id: "ask" } },
    body: { choice: "yes", data: { n: 1 } },
  });
  assert.equal(data(decided).result?.choice, "yes");
  const signalled = await api.POST("/api/v1/workflows/{workflow_id}/signals/{signal_name}", {
    params: { path: { ...path, signal_name: "paid" } },
    body: { data: 5 },
  });
  assert.equal(data(signalled).waiting_for, null);
}

/** Runs steps with items, conditions, repetitions and a sub-workflow, and lists the items. */
async function listItems(): Promise<void> {
  const below = { name: "below", inputs: { n: 1 }, steps: [{ id: "x", task_type: "PASSTHROUGH", config: { n: "${inputs.n}" } }] };
  const steps: WorkflowStepDefinition[] = [
    { id: "a", task_type: "PASSTHROUGH", for_each: { items: ["red", { x: 1 }], max_concurrency: 1 } },
    { id: "b", task_type: "PASSTHROUGH", when: "a.count == `3`" },
    { id: "c", task_type: "PASSTHROUGH", depends_on: ["a", "b"], run_if: "any_completed", repeat: { until: "n", max: 2, best: "`1`" } },
    { id: "d", task_type: "SUBWORKFLOW", optional: true, config: { workflow: below, inputs: { n: "${a.count}" } } },
  ];
  const body = { name: "client", origin_instance: "tests", steps };
  const { id } = data(await api.POST("/api/v1/workflows/", { body, params: { query: { start: true } } }));
  const workflow = { path: { workflow_id: id } };
  const done = data(await api.GET("/api/v1/workflows/{workflow_id}", { params: { ...workflow, header: { Prefer: "wait=30" } } }));
  assert.equal(done.status, "COMPLETED", done.error_message ?? undefined);
  const [all, skipped, again, sub] = done.steps ?? [];
  assert.deepEqual([all?.items?.completed, skipped?.skip_reason, again?.runs, sub?.result?.final], [2, "when", 2, { n: 2 }]);
  const path = { workflow_id: id, step_id: "a" };
  const query = { status: "COMPLETED", limit: 1 };
  const page = data(await api.GET("/api/v1/workflows/{workflow_id}/steps/{step_id}/items", { params: { path, query } }));
  assert.deepEqual([page.total, page.items[0]?.value, page.items[0]?.result?.item], [2, "red", "red"]);
}

/** Gives results to a step and an item by hand, and skips another of each. */
async function endByHand(): Promise<void> {
  const text = { text: "a ${item}" };
  const steps: WorkflowStepDefinition[] = [
    { id: "a", task_type: "PASSTHROUGH", config: text, for_each: { items: [null, null], as: "word", max_concurrency: 2 } },
    { id: "b", task_type: "PASSTHROUGH", depends_on: ["a"] },
    { id: "c", task_type: "PASSTHROUGH", depends_on: ["a"] },
  ];
  const body = { name: "client", origin_instance: "tests", steps };
  const { id } = data(await api.POST("/api/v1/workflows/", { body, params: { query: { start: true } } }));
  const workflow = { path: { workflow_id: id }, header: { Prefer: "wait=30" } };
  assert.equal(data(await api.GET("/api/v1/workflows/{workflow_id}", { params: workflow })).status, "FAILED");
  const one = "/api/v1/workflows/{workflow_id}/steps/{step_id}";
  const of = (step_id: string) => ({ path: { workflow_id: id, step_id } });
  const ofItem = (item: number) => ({ path: { workflow_id: id, step_id: "a", item } });
  const given = await api.POST(`${one}/items/{item}/result`, { params: ofItem(0), body: { result: { text: "x" } } });
  assert.equal(data(given).given_by, "tester");
  assert.equal(data(await api.POST(`${one}/items/{item}/skip`, { params: ofItem(1) })).status, "SKIPPED");
  const step = data(await api.POST(`${one}/result`, { params: of("b"), body: { result: { n: 1 } } }));
  assert.deepEqual([step.status, step.result], ["COMPLETED", { n: 1 }]);
  assert.equal(data(await api.POST(`${one}/skip`, { params: of("c") })).skip_reason, "manual");
}

/** Stores a definition in two versions, changes it and deletes it. */
async function storeADefinition(steps: WorkflowStepDefinition[]): Promise<void> {
  const one = "/api/v1/definitions/{name}";
  const params = { path: { name: "from-typescript" } };
  for (const count of [1, 2]) {
    const stored = data(await api.PUT(one, { params, body: { steps: steps.slice(0, count) } }));
    assert.deepEqual([stored.version, stored.definition.steps.length], [count, count]);
  }
  const update = { default_version: 1, archived: true };
  assert.equal(data(await api.PATCH(one, { params, body: update })).default_version, 1);
  assert.equal(data(await api.GET(one, { params: { ...params, query: { version: 1 } } })).version, 1);
  const { definitions } = data(await api.GET("/api/v1/definitions", { params: { query: { archived: true } } }));
  assert.deepEqual(definitions.map((definition) => definition.name), ["from-typescript"]);
  assert.equal(data(await api.GET("/api/v1/definitions/{name}/versions", { params })).versions.length, 2);
  assert.equal(data(await api.DELETE(one, { params })).versions, 2);
}

/** Runs the operations that aren't about a workflow. */
async function lookAround(): Promise<void> {
  const providers = data(await api.GET("/api/v1/providers")).providers;
  assert.ok(providers.some((provider) => provider.provider_type === "LOCAL"));
  assert.equal(data(await api.GET("/api/v1/limits")).tenant_id, null);
  assert.deepEqual(data(await api.GET("/api/v1/costs")).costs, []);
  assert.ok(data(await api.POST("/api/v1/events/tickets", { body: {} })).ticket);
  assert.equal(data(await api.GET("/health/ready")).status, "ok");
  assert.equal(data(await api.GET("/health/live")).status, "ok");
  assert.equal(data(await api.GET("/")).name, "Stepwell");
  data(await api.GET("/openapi.json"));
  data(await api.GET("/schema/openapi.json"));
  data(await api.GET("/schema", { parseAs: "text" }));
  data(await api.GET("/metrics", { parseAs: "text" }));
  data(await api.GET("/manual", { parseAs: "text" }));
  data(await api.GET("/manual/{page}", { params: { path: { page: "start" } }, parseAs: "text" }));
  data(await api.GET("/manual/images/{image}", { params: { path: { image: "runs.webp" } }, parseAs: "blob" }));
  const unknown = [
    await api.POST("/api/v1/artifacts/{upload_id}/complete", { params: { path: { upload_id: UNKNOWN } } }),
    await api.POST("/api/v1/callbacks/{token}", { params: { path: { token: "unknown" } } }),
    await api.POST("/api/v1/workflows/{workflow_id}/deliveries/{delivery_id}/redeliver", {
      params: { path: { workflow_id: UNKNOWN, delivery_id: "unknown" } },
    }),
  ];
  assert.deepEqual(unknown.map((result) => result.response.status), [404, 404, 404]);
}

const path = await upload();
const done = await runAndRead(path);
await control(pipeline(path));
await decideAndSignal();
await listItems();
await endByHand();
await storeADefinition(pipeline(path));
await lookAround();
const [listed] = data(await api.GET("/api/v1/artifacts")).artifacts;
assert.equal(listed?.path, path);
const inUse = await api.DELETE("/api/v1/artifacts/{path}", { params: { path: { path } } });
assert.equal(inUse.response.status, 409);
data(await api.POST("/api/v1/workflows/{workflow_id}/cleanup", { params: { path: { workflow_id: done.id } } }));
assert.equal(data(await api.DELETE("/api/v1/artifacts/{path}", { params: { path: { path } } })).path, path);
console.log(JSON.stringify([...called].sort()));
