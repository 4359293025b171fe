// The tab "Timeline": when each step waited, worked, was at its provider and was tried again, and the critical path.
import { everySecond, serviceNow } from "../../lib/clock.js";
import { classMap, emptyState, errorNotice, html, loading, nothing, ref, render, repeat, setStyle } from "../../lib/dom.js";
import { dateTime, duration, plural } from "../../lib/format.js";
import { isTerminal, statusBadge, stepBadge } from "../../lib/status.js";
import { refresher } from "../../lib/refresher.js";
import { ticksOf, timelineOf } from "./timeline_model.js";

const ROWS = 300; // at first, and with each "Show more"
const KINDS = { queue: "Waiting", work: "In the service", provider: "At the provider", retry: "Before a retry" };

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
    this.tasks = null;
    this.error = null;
    this.rows = ROWS;
    this.criticalOnly = false;
    this.opened = new Set(); // the ids of the steps whose attempts are shown
    this.refresh = refresher(() => this.load());
  }

  async load() {
    try {
      const { id, api } = this.context;
      this.tasks = (await api.getJson(`/workflows/${id}/tasks`, { query: { include_deleted: true } })).tasks;
      this.error = null;
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
    const timeline = timelineOf(run, this.tasks, serviceNow());
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

  summary({ critical, rows }) {
    const attempts = rows.reduce((sum, row) => sum + row.attempts.length, 0);
    const retries = rows.reduce((sum, row) => sum + Math.max(0, row.attempts.length - 1), 0);
    const parts = Object.entries(KINDS).filter(([kind]) => critical.ms[kind] >= 1);
    return html`
      <section class="card timeline-summary" aria-labelledby="critical-path">
        <h2 id="critical-path">Critical path: ${duration(critical.totalMs)}</h2>
        <p class="dim break">${chain(critical.steps)}</p>
        <dl class="timeline-sums">
          ${parts.map(([kind, text]) => html`<div><dt><span class="key key-${kind}"></span>${text}</dt>
            <dd>${duration(critical.ms[kind])}</dd></div>`)}
          <div><dt>Attempts of all steps</dt><dd>${attempts}</dd></div>
          <div><dt>Retries</dt><dd>${retries}</dd></div>
        </dl>
      </section>
      <div class="tab-bar">
        <ul class="legend" aria-label="Colours of the bars">
          ${Object.entries(KINDS).map(([kind, text]) => html`<li><span class="key key-${kind}"></span>${text}</li>`)}
          <li><span class="key key-failed"></span>Failed attempt</li></ul>
        <label class="tab-check"><input type="checkbox" .checked=${this.criticalOnly}
          @change=${(event) => { this.criticalOnly = event.target.checked; this.draw(); }}>Only the critical path</label>
      </div>`;
  }

  row(row, timeline) {
    const open = this.opened.has(row.stepId);
    return html`<li class=${classMap({ "timeline-row": true, "timeline-row-critical": row.critical })}>
      <details .open=${open} @toggle=${(event) => this.toggle(row.stepId, event.target.open)}>
        <summary>
          <span class="timeline-step truncate" title=${row.stepId}>${row.stepId}</span>
          ${stepBadge(row)}
          <span class="timeline-bars" aria-hidden="true">${row.segments.map((each) => bar(each, timeline))}</span>
          <span class="timeline-total number">${row.start === null ? "–" : duration(row.end - row.start)}</span>
          <span class="visually-hidden">${rowInWords(row)}</span>
        </summary>
        ${open ? this.attempts(row) : nothing}
      </details>
    </li>`;
  }

  toggle(stepId, open) {
    if (open === this.opened.has(stepId)) return;
    if (open) this.opened.add(stepId);
    else this.opened.delete(stepId);
    this.draw();
  }

  attempts(row) {
    const table = html`<div class="table-frame" tabindex="0" role="region" aria-label=${`Attempts of ${row.stepId}`}><table>
      <thead><tr><th scope="col" class="number">Attempt</th><th scope="col">Status</th><th scope="col">Provider</th>
        <th scope="col">Began</th><th scope="col" class="number">At the provider</th><th scope="col" class="number">Duration</th>
        <th scope="col">Error</th></tr></thead>
      <tbody>${row.attempts.map(({ task, start, sent, end }) => html`<tr>
        <td class="number">${task.attempt}</td>
        <td>${statusBadge(task.status)}</td>
        <td>${[task.provider, task.model].filter(Boolean).join(" · ") || "–"}</td>
        <td class="nowrap">${dateTime(task.started_at)}</td>
        <td class="number">${sent === null ? "–" : duration(end - Math.max(sent, start))}</td>
        <td class="number">${duration(end - start)}</td>
        <td class="timeline-error">${task.error ?? (task.outcome_unknown ? "The outcome isn't known" : "–")}</td></tr>`)}</tbody>
    </table></div>`;
    const waits = row.waitsFor.length ? `Waits for ${chain(row.waitsFor, ", ")}.` : "It has no attempt yet.";
    return html`<div class="timeline-details">
      ${row.attempts.length ? table : html`<p class="dim break">${waits}</p>`}
      <p><button type="button" class="button" @click=${() => this.context.openStep(row.stepId)}>Details of the step</button></p>
    </div>`;
  }
}

/** The names of *steps*, those in the middle left out if there are many. */
function chain(steps, between = " → ") {
  if (steps.length <= 12) return steps.join(between);
  return [...steps.slice(0, 6), `${steps.length - 11} more`, ...steps.slice(-5)].join(between);
}

function axis({ start, end }) {
  const ticks = ticksOf(end - start).filter((at) => at <= 0.9 * (end - start)); // a label at the end has no room
  return html`<div class="timeline-axis" aria-hidden="true"><div class="timeline-ticks">${ticks.map((at) => html`
    <span ${ref(setStyle({ "--at": `${(at / (end - start)) * 100}%` }))}>${at ? duration(at) : "0"}</span>`)}</div></div>`;
}

function bar(segment, { start, end }) {
  const position = { "--at": `${((segment.start - start) / (end - start)) * 100}%`,
    "--length": `${((segment.end - segment.start) / (end - start)) * 100}%` };
  const failed = segment.failed ? "bar-failed" : "";
  const title = `${KINDS[segment.kind]}${segment.failed ? ", failed" : ""}: ${duration(segment.end - segment.start)}`;
  return html`<span class="bar bar-${segment.kind} ${failed}" title=${title} ${ref(setStyle(position))}></span>`;
}

/** What the bars of a row show, for screen readers. */
function rowInWords(row) {
  if (row.start === null) return row.waitsFor.length ? `Waits for ${chain(row.waitsFor, ", ")}.` : "It hasn't begun.";
  const parts = row.segments.filter(({ start, end }) => end > start).map(({ kind, start, end, failed }) => (
    `${KINDS[kind]} ${duration(end - start)}${failed ? ", failed" : ""}`
  ));
  return `${plural(row.attempts.length, "attempt")}. ${parts.join(". ")}.${row.critical ? " On the critical path." : ""}`;
}
