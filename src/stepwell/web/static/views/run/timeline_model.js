// What the timeline of a run shows, computed from its steps and their attempts (the tasks of the API).
//
//   timelineOf(run, tasks, now) returns {start, end, rows, critical}
//
//   rows      one per step, in the order in which they began; those that haven't begun come last:
//             {stepId, status, start, end, segments, attempts, critical, waitsFor}; start is null if it hasn't begun
//   segments  {kind, start, end, failed}: kind is "queue" (ready, but not started), "work" (in the service), "provider"
//             (sent to a provider) or "retry" (between two attempts)
//   critical  {steps, totalMs, ms}: the chain of steps that determined the end. From the step that ended last, it leads to
//             the dependency that ended last, and so on. ms has the sum of each kind of segment in the chain.
//
// All times are milliseconds since 1970 by the service's clock. What still goes on ends *now*.

const KINDS = ["queue", "work", "provider", "retry"];
const time = (text) => (text ? Date.parse(text) : null);

export function timelineOf(run, tasks, now) {
  const attempts = attemptsByStep(tasks, now);
  const ends = new Map(run.steps.map((step) => [step.step_id, endOf(step, attempts.get(step.step_id))]));
  const runStart = time(run.started_at);
  const rows = run.steps.map((step) => rowOf(step, attempts.get(step.step_id) ?? [], { run, ends, runStart, now }));
  const begun = rows.filter((row) => row.start !== null);
  const start = begun.reduce((first, row) => Math.min(first, row.start), runStart ?? Infinity);
  const end = begun.reduce((last, row) => Math.max(last, row.end), time(run.completed_at) ?? -Infinity);
  const critical = criticalPath(run, begun);
  const rank = (row) => (row.start === null ? Infinity : row.start);
  rows.sort((one, other) => (rank(one) === rank(other) ? 0 : rank(one) - rank(other)));
  if (!begun.length) return { start: now, end: now, rows, critical };
  return { start, end: Math.max(end, start + 1), rows, critical };
}

/** The attempts of each step, by its id, in the order in which they began. */
function attemptsByStep(tasks, now) {
  const found = new Map();
  for (const task of tasks) {
    const start = time(task.started_at) ?? time(task.created_at);
    const end = time(task.completed_at) ?? Math.max(now, start);
    const attempt = { task, start, sent: time(task.sent_at), end, ended: Boolean(task.completed_at) };
    if (found.has(task.step_id)) found.get(task.step_id).push(attempt);
    else found.set(task.step_id, [attempt]);
  }
  for (const each of found.values()) each.sort((one, other) => one.start - other.start);
  return found;
}

/** When *step* ended; null if it hasn't. */
function endOf(step, attempts = []) {
  const last = attempts.at(-1);
  return time(step.completed_at) ?? (step.status === "COMPLETED" && last?.ended ? last.end : null);
}

function rowOf(step, attempts, { run, ends, runStart, now }) {
  const open = step.dependencies.filter((each) => (ends.get(each) ?? null) === null);
  const readyAt = open.length ? null : step.dependencies.reduce((last, each) => Math.max(last, ends.get(each)), runStart ?? -Infinity);
  const segments = segmentsOf(step, attempts, { run, readyAt, now });
  return {
    stepId: step.step_id,
    status: step.status,
    optional: step.optional,
    dependencies: step.dependencies,
    attempts,
    segments,
    start: segments.length ? segments[0].start : null,
    end: segments.length ? segments.at(-1).end : null,
    waitsFor: segments.length ? [] : open,
    critical: false,
  };
}

function segmentsOf(step, attempts, { run, readyAt, now }) {
  const segments = [];
  const add = (kind, start, end, failed = false) => end > start && segments.push({ kind, start, end, failed });
  const waits = step.status === "PENDING" && run.status === "RUNNING";
  if (!attempts.length) {
    if (waits && Number.isFinite(readyAt)) add("queue", readyAt, now);
    return segments;
  }
  if (Number.isFinite(readyAt)) add("queue", readyAt, attempts[0].start);
  for (const [at, { task, start, sent, end }] of attempts.entries()) {
    const failed = task.status === "FAILED";
    if (at) add("retry", attempts[at - 1].end, start);
    add("work", start, Math.min(sent ?? end, end), failed && sent === null);
    if (sent !== null) add("provider", Math.max(sent, start), end, failed);
    if (sent === null && end <= start) segments.push({ kind: "work", start, end: start, failed });
  }
  if (waits || step.next_attempt_at) add("retry", attempts.at(-1).end, now);
  return segments;
}

/** Marks the rows of the critical path. */
function criticalPath(run, begun) {
  const byId = new Map(begun.map((row) => [row.stepId, row]));
  const chain = [];
  let row = lastOf(begun);
  while (row && !row.critical) {
    row.critical = true;
    chain.unshift(row);
    row = lastOf(row.dependencies.map((id) => byId.get(id)).filter(Boolean));
  }
  const ms = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  for (const each of chain) {
    for (const segment of each.segments) ms[segment.kind] += segment.end - segment.start;
  }
  const totalMs = chain.length ? chain.at(-1).end - (time(run.started_at) ?? chain[0].start) : 0;
  return { steps: chain.map((each) => each.stepId), totalMs, ms };
}

/** The row that ended last; of several at that moment, one that the others don't depend on. */
function lastOf(rows) {
  const end = rows.reduce((latest, row) => Math.max(latest, row.end), -Infinity);
  const last = rows.filter((row) => row.end === end);
  const needed = new Set(last.flatMap((row) => row.dependencies));
  return last.find((row) => !needed.has(row.stepId)) ?? last[0];
}

/** Between 3 and 7 round distances from the start for the axis, in milliseconds, the last one within *totalMs*. */
export function ticksOf(totalMs) {
  const units = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 43_200_000, 86_400_000];
  const step = units.find((unit) => totalMs / unit <= 6) ?? Math.ceil(totalMs / 6 / 86_400_000) * 86_400_000;
  return Array.from({ length: Math.floor(totalMs / step) + 1 }, (_, at) => at * step);
}
