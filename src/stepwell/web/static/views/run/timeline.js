// The tab "Timeline": when each step waited, worked, was at its provider and was tried again, and the critical path.
// timeline_model.js computes it.
import { everySecond, serviceNow } from "../../lib/clock.js";
import { classMap, emptyState, errorNotice, html, loading, nothing, ref, render, repeat, setStyle } from "../../lib/dom.js";
import { dateTime, duration, number, plural } from "../../lib/format.js";
import { isTerminal, statusBadge, stepBadge } from "../../lib/status.js";
import { refresher } from "../../lib/refresher.js";
import { KINDS, STOPS, ticksOf, timelineOf } from "./timeline_model.js";

const ROWS = 300; // at first, and with each "Show more"
const MOST_ATTEMPTS = 100; // in the details of a row
const MOST_LANES = 7; // of a stack in which lines divide the items
const NAMES = {
  queue: "Waiting", work: "In the service", provider: "At the provider", retry: "Before a retry",
  workflow: "Sub-workflow", decision: "Decision", signal: "Signal", delay: "Delay", stopped: "Stopped",
};

export default function mount(element, context) {
  const tab = new TimelineTab(element, context);
  context.onChange(() => tab.refresh());
  tab.draw();
  tab.refresh();
  // The bars of a run that isn't at its end grow.
  everySecond(() => element.checkVisibility() && !isTerminal(context.run.status) && tab.draw());
}

class TimelineTab {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.tasks = this.events = null;
    this.execution = ""; // the status and the execution of the run for which the events were read
    this.error = null;
    this.rows = ROWS;
    this.criticalOnly = false;
    this.opened = new Set(); // the ids of the steps whose attempts are shown
    this.refresh = refresher(() => this.load());
  }

  async load() {
    try {
      const { id, api, run } = this.context;
      const execution = `${run.status} ${run.canvas_task_id}`; // a resume begins another one
      const [{ tasks }, { events }] = await Promise.all([
        api.getJson(`/workflows/${id}/tasks`, { query: { include_deleted: true } }),
        execution === this.execution ? this : api.getJson(`/workflows/${id}/events`, { query: { type: STOPS.join(), limit: 1_000 } }),
      ]);
      Object.assign(this, { tasks, events, execution, error: null });
    } catch (error) {
      this.error = error;
    }
    this.draw();
  }

  draw() {
    render(this.content(), this.element);
  }

  content() {
    const { run } = this.context;
    if (this.error) return errorNotice(this.error, this.refresh);
    if (!this.tasks) return loading("The attempts are loading…");
    const timeline = timelineOf(run, this.tasks, this.events, serviceNow());
    if (!timeline.critical.steps.length) {
      return emptyState("Nothing has run yet.", html`<p>${run.status === "PENDING" ? "Start the run" : "Wait for the first step"}:
        its attempts appear here.</p>`);
    }
    const rows = this.criticalOnly ? timeline.rows.filter((row) => row.critical) : timeline.rows;
    const shown = rows.slice(0, this.rows);
    return html`
      ${this.summary(timeline)}
      <div class="timeline">
        ${axis(timeline)}
        <ol class=${shown.length > 100 ? "timeline-rows long" : "timeline-rows"} aria-label="Steps, in the order in which they began">
          ${repeat(shown, (row) => row.stepId, (row) => this.row(row, timeline))}</ol>
      </div>
      ${shown.length < rows.length ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => { this.rows += ROWS; this.draw(); }}>Show more</button>
        <span class="dim">${shown.length} of ${plural(rows.length, "step")}</span></p>` : nothing}`;
  }

  summary({ critical, rows, attempts, retries }) {
    const kinds = Object.keys(NAMES).filter((kind) => rows.some((row) => row.segments.some((each) => each.kind === kind)));
    const failed = rows.some((row) => row.bars.some((each) => each.failed));
    const sums = [
      ...kinds.filter((kind) => critical.ms[kind] >= 1).map((kind) => [NAMES[kind], duration(critical.ms[kind]), critical.ms[kind]]),
      ["Attempts of all steps", number(attempts), attempts], ["Retries", number(retries), retries],
    ];
    return html`
      <section class="card timeline-summary" aria-labelledby="critical-path">
        <h2 id="critical-path">Critical path: <data value=${critical.totalMs}>${duration(critical.totalMs)}</data></h2>
        <p class="dim break">${chain(critical.steps).map((each) => linkOf(rows.find((row) => row.stepId === each)) ?? each)}</p>
        <dl class="timeline-sums">${sums.map(([name, text, value]) => html`<div><dt>${name}</dt>
          <dd><data value=${value}>${text}</data></dd></div>`)}</dl>
      </section>
      <div class="tab-bar">
        <ul class="legend" aria-label="Kinds of bars">${kinds.map((kind) => html`<li>${key(kind)}</li>`)}
          ${failed ? html`<li><span class="key bar-failed"></span>Failed</li>` : nothing}</ul>
        <label class="tab-check"><input type="checkbox" .checked=${this.criticalOnly}
          @change=${(event) => { this.criticalOnly = event.target.checked; this.draw(); }}>Only the critical path</label>
      </div>`;
  }

  row(row, timeline) {
    const open = this.opened.has(row.stepId);
    return html`<li class=${classMap({ "timeline-row": true, "timeline-row-critical": row.critical })}>
      <details .open=${open} @toggle=${(event) => this.toggle(row.stepId, event.target.open)}>
        <summary>
          <span class="timeline-step truncate" title=${row.stepId}>${row.stepId}${row.items === null ? nothing
            : html` <span class="timeline-items dim">× ${number(row.items)}</span>`}</span>
          ${stepBadge(row)}
          <span class="timeline-bars ${row.items === null ? "" : "timeline-stack"}" aria-hidden="true"
            ${ref(setStyle({ "--lanes": row.most <= MOST_LANES ? row.most || 1 : 1 }))}>${
              row.bars.map((each) => bar(each, row, timeline))}</span>
          <span class="timeline-total number">${row.start === null ? "–" : duration(row.end - row.start)}</span>
          <span class="visually-hidden">${rowInWords(row)}</span>
        </summary>
        ${open ? this.details(row) : nothing}
      </details>
    </li>`;
  }

  toggle(stepId, open) {
    if (open === this.opened.has(stepId)) return;
    if (open) this.opened.add(stepId);
    else this.opened.delete(stepId);
    this.draw();
  }

  details(row) {
    return html`<div class="timeline-details">
      <p class="break">${rowInWords(row)}</p>
      ${row.attempts.length ? attemptTable(row) : nothing}
      <p><button type="button" class="button" @click=${() => this.context.openStep(row.stepId)}>Details of the step</button></p>
    </div>`;
  }
}

function attemptTable(row) {
  const shown = row.attempts.slice(0, MOST_ATTEMPTS);
  const [ofItems, atProvider] = [row.items !== null, !row.runsWorkflow];
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${`Attempts of ${row.stepId}`}><table class="cards">
    <thead><tr>${ofItems ? html`<th scope="col" class="number">Item</th>` : nothing}
      <th scope="col" class="number">Attempt</th><th scope="col">Status</th><th scope="col">${atProvider ? "Provider" : "Sub-workflow"}</th>
      <th scope="col">Began</th>
      ${atProvider ? html`<th scope="col" class="number">At the provider</th>` : nothing}
      <th scope="col" class="number">Duration</th></tr></thead>
    <tbody>${shown.map(({ task, start, sent, end }) => html`<tr>${ofItems ? html`<td class="number" data-label="Item">${task.item}</td>` : nothing}
      <td class="number" data-label="Attempt">${task.attempt}</td>
      <td data-label="Status">${statusBadge(task.status)}</td>
      <td class="break" data-label=${atProvider ? "Provider" : "Sub-workflow"}>${atProvider ? [task.provider, task.model].filter(Boolean).join(" · ") || "–" : childLink(task)}</td>
      <td class="nowrap" data-label="Began">${dateTime(task.started_at)}</td>
      ${atProvider ? html`<td class="number" data-label="At the provider">${sent === null ? "–" : duration(end - Math.max(sent, start))}</td>` : nothing}
      <td class="number" data-label="Duration">${duration(end - start)}</td></tr>
      ${task.error || task.outcome_unknown ? html`<tr><td colspan=${5 + ofItems + atProvider} class="attempt-error wide break">${
        task.error ?? "The outcome isn't known"}</td></tr>` : nothing}`)}</tbody>
  </table></div>
  ${shown.length < row.attempts.length ? html`<p class="dim">The first ${number(shown.length)} of ${
    plural(row.attempts.length, "attempt")}.</p>` : nothing}`;
}

/** The link to the timeline of a sub-workflow. */
function childLink(task) {
  if (!task.remote_id) return "–";
  return html`<a href=${timelineUrl(task)}>Timeline<span class="visually-hidden"> of the sub-workflow${
    typeof task.item === "number" ? ` of item ${task.item}` : ""}</span></a>`;
}

/** The name of a kind, with its pattern. */
function key(kind) {
  return html`<span class="key bar-${kind}"></span>${NAMES[kind]}`;
}

/** The names of *steps* and what stands between them. Those in the middle are left out if there are many. */
function chain(steps, between = " → ") {
  const shown = steps.length <= 12 ? steps : [...steps.slice(0, 6), `${steps.length - 11} more`, ...steps.slice(-5)];
  return shown.flatMap((each, at) => (at ? [between, each] : [each]));
}

/** The name of a step as a link to the timeline of its sub-workflow, of several that which ended last; undefined without one. */
function linkOf(row) {
  const children = row?.runsWorkflow ? row.attempts.filter(({ task }) => task.remote_id) : [];
  const last = children.reduce((latest, each) => (latest && latest.end > each.end ? latest : each), null);
  return last ? html`<a href=${timelineUrl(last.task)} title="Timeline of its sub-workflow">${row.stepId}</a>` : undefined;
}

const timelineUrl = (task) => `/ui/workflows/${task.remote_id}?tab=timeline`;

function axis({ start, end }) {
  const ticks = ticksOf(end - start).filter((at) => at <= 0.9 * (end - start)); // a label at the end has no room
  return html`<div class="timeline-axis" aria-hidden="true"><div class="timeline-ticks">${ticks.map((at) => html`
    <span ${ref(setStyle({ "--at": `${(at / (end - start)) * 100}%` }))}>${at ? duration(at) : "0"}</span>`)}</div></div>`;
}

function bar(each, row, { start, end }) {
  const position = { "--at": `${((each.start - start) / (end - start)) * 100}%`, "--length": `${((each.end - each.start) / (end - start)) * 100}%`,
    "--bottom": `${each.bottom * 100}%`, "--height": `${each.height * 100}%` };
  const count = row.items === null ? "" : `, ${plural(Math.max(1, Math.round(each.height * row.most)), "item")}`;
  const title = `${NAMES[each.kind]}${each.failed ? ", failed" : ""}: ${duration(each.end - each.start)}${count}`;
  return html`<span class="bar bar-${each.kind} ${each.failed ? "bar-failed" : ""}" title=${title} ${ref(setStyle(position))}></span>`;
}

/** What the bars of a row show, in words. */
function rowInWords(row) {
  if (row.start === null) {
    if (row.waitsFor.length) return `Waits for ${chain(row.waitsFor, ", ").join("")}.`;
    return row.status === "SKIPPED" ? "It was skipped." : row.end === null ? "It hasn't begun." : "It took no attempt.";
  }
  const ms = {};
  for (const { kind, start, end } of row.segments) ms[kind] = (ms[kind] ?? 0) + end - start;
  const parts = KINDS.filter((kind) => ms[kind] >= 1).map((kind) => `${NAMES[kind]} ${duration(ms[kind])}`);
  if (row.items !== null) parts.unshift(`${plural(row.items, "item")}, up to ${number(row.most)} at once`);
  if (row.attempts.length && !row.runsWorkflow) parts.unshift(plural(row.attempts.length, "attempt"));
  if (row.retries) parts.push(plural(row.retries, "retry", "retries"));
  if (row.critical) parts.push("On the critical path");
  return `${parts.join(". ")}.`;
}
