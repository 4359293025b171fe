// What the timeline of a run shows, computed from its steps, their attempts (the tasks of the API), and its events of the types
// STOPS. The page "Web page" of the manual defines the numbers.
//
//   timelineOf(run, tasks, events, now) returns {start, end, rows, critical, attempts, retries}
//
//   rows      one per step, in the order in which they began; those that haven't begun come last. start is null if the step
//             hasn't begun; end is also that of a step that has ended without beginning
//   segments  of a row: {kind, start, end, failed}, one after the other without a gap. kind is one of KINDS
//   bars      of a row: its segments, each with its bottom and height as parts of the row. In a step with items they are
//             stacked: the height is the part of the items under way that are in that state
//   critical  {steps, totalMs, ms}: the chain of steps that determined the end. From the step that ended last, it leads to
//             the dependency that ended last, and so on. ms has what each kind of segment adds to totalMs
//
// All times are milliseconds since 1970 by the service's clock. What still goes on ends *now*.

/** The kinds of segments. In a step with items, the first kind that an item is in counts. */
export const KINDS = ["provider", "workflow", "work", "decision", "signal", "delay", "stopped", "retry", "queue"];
export const STOPS = ["workflow.paused", "workflow.failed", "workflow.resumed"];
const WAITS = { APPROVAL: "decision", SIGNAL: "signal", DELAY: "delay" };
const IDLE = new Set(["queue", "stopped"]);
const MOST_SLICES = 120; // of a row with items
const time = (text) => (text ? Date.parse(text) : null);

export function timelineOf(run, tasks, events, now) {
  const stops = stopsOf(events, now);
  const attempts = grouped(attemptsOf(tasks, now), ({ task }) => task.step_id);
  const ends = new Map(run.steps.map((step) => [step.step_id, time(step.completed_at)]));
  const runStart = time(run.started_at);
  const rows = run.steps.map((step) => rowOf(step, attempts.get(step.step_id) ?? [], { run, ends, runStart, stops, now }));
  const begun = rows.filter((row) => row.start !== null);
  const start = begun.reduce((first, row) => Math.min(first, row.start), runStart ?? Infinity);
  const end = begun.reduce((last, row) => Math.max(last, row.end), time(run.completed_at) ?? -Infinity);
  const critical = criticalPath(rows, runStart ?? start);
  const rank = (row) => row.start ?? Infinity;
  rows.sort((one, other) => (rank(one) === rank(other) ? 0 : rank(one) - rank(other)));
  const sum = (count) => rows.reduce((total, row) => total + count(row), 0);
  const counts = { attempts: sum((row) => (row.runsWorkflow ? 0 : row.attempts.length)), retries: sum((row) => row.retries) };
  if (!begun.length) return { start: now, end: now, rows, critical, ...counts };
  return { start, end: Math.max(end, start + 1), rows, critical, ...counts };
}

function grouped(values, keyOf) {
  const groups = new Map();
  for (const value of values) {
    const key = keyOf(value);
    if (groups.has(key)) groups.get(key).push(value);
    else groups.set(key, [value]);
  }
  return groups;
}

/** The times from each pause or failure of the run until it was resumed. */
function stopsOf(events, now) {
  const stops = [];
  for (const { type, at } of events) {
    const isOpen = stops.length > 0 && stops.at(-1).end === null;
    if (type !== "workflow.resumed" && !isOpen) stops.push({ kind: "stopped", start: time(at), end: null, failed: false });
    else if (type === "workflow.resumed" && isOpen) stops.at(-1).end = time(at);
  }
  return stops.map((each) => ({ ...each, end: each.end ?? Math.max(now, each.start) }));
}

/** The attempts, in the order in which they began. */
function attemptsOf(tasks, now) {
  return tasks.map((task) => {
    const start = time(task.started_at) ?? time(task.created_at);
    const end = time(task.completed_at) ?? Math.max(now, start);
    return { task, start, sent: time(task.sent_at), end, ended: Boolean(task.completed_at), failed: task.status === "FAILED" };
  }).sort((one, other) => one.start - other.start);
}

function rowOf(step, attempts, { run, ends, runStart, stops, now }) {
  const open = step.dependencies.filter((each) => (ends.get(each) ?? null) === null);
  const readyAt = open.length ? Infinity : step.dependencies.reduce((last, each) => Math.max(last, ends.get(each)), runStart ?? Infinity);
  const ended = time(step.completed_at);
  const runsWorkflow = step.task_type === "SUBWORKFLOW";
  const units = [...grouped(attempts, ({ task }) => task.item ?? null).values()];
  const mayStart = step.status === "PENDING" && ["RUNNING", "PAUSED"].includes(run.status);
  const goesOn = ended === null && (step.status === "RUNNING" || mayStart);
  const pieces = WAITS[step.task_type] ? waitOf(step, now) : units.flatMap((unit) => piecesOf(unit, runsWorkflow, stops));
  const retries = pieces.filter((each) => each.kind === "retry").length;
  if (goesOn) pieces.push(...openRetries(step, units, stops, now));
  const start = pieces.reduce((first, piece) => Math.min(first, piece.start), readyAt);
  const stepEnd = step.status === "SKIPPED" ? start : ended ?? start;
  const end = pieces.reduce((last, piece) => Math.max(last, piece.end), goesOn ? now : stepEnd);
  const hasItems = Boolean(step.for_each);
  const { segments, most } = start < Infinity ? segmentsOf(pieces, stops, { start, end, merges: hasItems }) : { segments: [], most: 0 };
  const [begun, stacked] = [segments.length > 0, hasItems && most > 0];
  return {
    stepId: step.step_id,
    status: step.status,
    optional: step.optional,
    waiting_for: step.waiting_for,
    dependencies: step.dependencies,
    runsWorkflow,
    items: hasItems ? step.items?.total ?? units.length : null,
    most,
    attempts,
    retries,
    segments,
    bars: [
      ...segments.filter(({ kind }) => !stacked || IDLE.has(kind)).map((each) => ({ ...each, bottom: 0, height: 1 })),
      ...(stacked ? stackOf(pieces, most) : []),
    ],
    start: begun ? segments[0].start : null,
    end: begun ? segments.at(-1).end : ended,
    waitsFor: begun ? [] : open,
    critical: false,
  };
}

/** The wait of a step that has no attempts. Of several, after a resume, only the last one is known. */
function waitOf(step, now) {
  const start = time(step.started_at);
  const end = time(step.completed_at) ?? Math.max(now, start);
  return start === null ? [] : [{ kind: WAITS[step.task_type], start, end, failed: step.status === "FAILED" }];
}

/** What the attempts at a step or an item did, and the time before each retry. An attempt after a resume isn't a retry. */
function piecesOf(unit, runsWorkflow, stops) {
  const pieces = [];
  const add = (kind, start, end, failed) => pieces.push({ kind, start, end, failed });
  for (const [at, { start, sent, end, failed }] of unit.entries()) {
    const previous = unit[at - 1];
    const resumed = stops.some((stop) => previous?.end <= stop.end && stop.end <= start);
    if (previous?.failed && !resumed) add("retry", previous.end, Math.max(previous.end, start), false);
    const left = Math.max(start, Math.min(sent ?? end, end));
    if (runsWorkflow) add("workflow", start, end, failed);
    else if (sent === null || left > start) add("work", start, left, failed && sent === null);
    if (sent !== null && !runsWorkflow) add("provider", left, end, failed);
  }
  return pieces;
}

/** The time since the failed attempts that will be tried again. Of a step with items only their number is known. */
function openRetries(step, units, stops, now) {
  const open = units.filter((unit) => !unit.at(-1).ended).length;
  const count = step.for_each ? (step.items?.running ?? 0) - open : 1;
  return units.map((unit) => unit.at(-1)).filter(({ ended, failed, end }) => ended && failed && !stops.some((stop) => end <= stop.end))
    .sort((one, other) => other.end - one.end).slice(0, Math.max(0, count))
    .map(({ end }) => ({ kind: "retry", start: end, end: Math.max(now, end), failed: false }));
}

/** The segments from *start* to *end*: at each moment the first kind of KINDS among *pieces* and *stops*, "queue" without any.
 *  *merges*: those of one kind are one segment, also of several attempts. *most* is the largest number of pieces at once. */
function segmentsOf(pieces, stops, { start, end, merges }) {
  const stopped = stops.filter((each) => each.start < end).map((each) => ({ ...each, end: Math.min(each.end, end) }));
  const moments = [...pieces, ...stopped].flatMap((each) => [[each.start, each, 1], [each.end, each, -1]]);
  moments.sort((one, other) => one[0] - other[0]);
  const open = Object.fromEntries(KINDS.map((kind) => [kind, { all: 0, failed: 0 }]));
  const segments = [];
  let [at, count, most, another] = [start, 0, 0, false];
  for (const [moment, piece, change] of [...moments, [end]]) {
    if (moment > at) {
      const kind = KINDS.find((each) => open[each].all) ?? "queue";
      const failed = open[kind].all > 0 && open[kind].failed === open[kind].all;
      const last = segments.at(-1);
      if (last?.kind === kind && last.failed === failed && (merges || !another)) last.end = moment;
      else segments.push({ kind, start: at, end: moment, failed });
      most = Math.max(most, count);
      [at, another] = [moment, false];
    }
    if (!piece) break;
    another ||= piece.kind === segments.at(-1)?.kind; // the next piece of this kind begins here
    if (piece.kind !== "stopped") count += change;
    open[piece.kind].all += change;
    if (piece.failed) open[piece.kind].failed += change;
  }
  if (!segments.length && pieces.length) segments.push({ ...pieces[0] }); // it took no time
  return { segments, most };
}

/** *pieces* on top of each other, as bars. The height 1 stands for *most* pieces. */
function stackOf(pieces, most) {
  let edges = [...new Set(pieces.flatMap((each) => [each.start, each.end]))].sort((one, other) => one - other);
  if (edges.length > MOST_SLICES) {
    const [first, length] = [edges[0], edges.at(-1) - edges[0]];
    edges = Array.from({ length: MOST_SLICES + 1 }, (_, at) => first + (length * at) / MOST_SLICES);
  }
  const slices = edges.slice(1).map((end, at) => ({ start: edges[at], end, heights: new Map() }));
  for (const { kind, start, end, failed } of pieces) {
    const key = KINDS.indexOf(kind) * 2 + Number(failed);
    for (let at = slices.findIndex((each) => each.end > start); at >= 0 && slices[at]?.start < end; at++) {
      const part = Math.min(end, slices[at].end) - Math.max(start, slices[at].start);
      slices[at].heights.set(key, (slices[at].heights.get(key) ?? 0) + part / (slices[at].end - slices[at].start) / most);
    }
  }
  const bars = [];
  const open = new Map(); // the last bar of each key
  for (const { start, end, heights } of slices) {
    let bottom = 0;
    for (const [key, height] of [...heights].sort(([one], [other]) => one - other)) {
      const last = open.get(key);
      if (last?.end === start && last.bottom === bottom && last.height === height) last.end = end;
      else open.set(key, bars[bars.push({ kind: KINDS[key >> 1], start, end, failed: key % 2 === 1, bottom, height }) - 1]);
      bottom += height;
    }
  }
  return bars;
}

/** Marks the rows of the critical path, which begins at *start*. It leads through steps that ended without beginning. */
function criticalPath(rows, start) {
  const byId = new Map(rows.map((row) => [row.stepId, row]));
  const chain = [];
  const seen = new Set();
  for (let row = lastOf(rows); row && !seen.has(row); row = lastOf(row.dependencies.map((id) => byId.get(id)))) {
    seen.add(row);
    if (row.start !== null) chain.unshift(row);
  }
  const ms = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  let at = start;
  for (const row of chain) {
    row.critical = true;
    for (const segment of [{ kind: "queue", start: at, end: row.start }, ...row.segments]) {
      ms[segment.kind] += Math.max(0, segment.end - Math.max(segment.start, at));
    }
    at = Math.max(at, row.end);
  }
  return { steps: chain.map((each) => each.stepId), totalMs: chain.length ? at - start : 0, ms };
}

/** The row that ended last; of several at that moment, one that the others don't depend on. */
function lastOf(rows) {
  const end = rows.reduce((latest, row) => Math.max(latest, row.end ?? -Infinity), -Infinity);
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
