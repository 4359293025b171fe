// The view "Runs": the list of all runs, live, with every filter and order of the API in the page's URL.
//
// runs/query.js has the state in the URL, runs/filters.js and runs/rows.js the templates, runs/live_list.js the rules by
// which rows change while somebody looks at them, runs/selection.js the verbs for several runs.
import { getJson, isAbort, nextLink, request } from "../lib/api.js";
import { everySecond, noteServiceTime } from "../lib/clock.js";
import { announce, emptyState, errorNotice, html, icon, loading, nothing, render } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { refresher } from "../lib/refresher.js";
import { mayChangeWait } from "../lib/status.js";
import { follow } from "../lib/stream.js";
import { EventRate } from "./runs/event_rate.js";
import { filterChips, filterForm, statusSwitches } from "./runs/filters.js";
import { LiveList } from "./runs/live_list.js";
import {
  activeFilters, changed, countParameters, listParameters, readQuery, withoutFilters, writeQuery,
} from "./runs/query.js";
import { runTable } from "./runs/rows.js";
import { Selection } from "./runs/selection.js";

const TYPING_MS = 300;
const EVENT_DELAY_MS = 250; // between an event and the request that it causes
const COUNTS_INTERVAL_MS = 5_000; // the service counts no more often
const MOST_MISSING_ROWS = 20; // rows that aren't on the page any more, read one by one in one refresh

export default async function mount(element, context) {
  const view = new RunsView(element, context);
  await view.start();
}

class RunsView {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.query = readQuery(location.search);
    this.list = new LiveList();
    this.selection = context.canWrite ? new Selection({ redraw: () => this.draw(), onDone: () => this.onGap() }) : null;
    this.next = null; // the cursor of the next page
    this.counts = null;
    this.error = null;
    this.loaded = false;
    this.busy = false; // true while `show` reads
    this.outdated = false; // true if something has changed since it began
    this.filtersOpen = false;
    this.changedIds = new Set();
    this.missed = false; // true if something has changed while the tab was hidden
    this.requests = new AbortController();
    this.countTimer = 0;
    this.typingTimer = 0;
    this.countsReadyAt = 0;
    this.rate = new EventRate();
    this.refreshLater = refresher(() => this.refresh(), { soonMs: EVENT_DELAY_MS, pauseMs: () => this.rate.pauseMs() });
  }

  async start() {
    addEventListener("popstate", () => this.show(readQuery(location.search)));
    document.addEventListener("visibilitychange", () => this.catchUp());
    follow({
      onEvents: (events) => this.onEvents(events),
      onGap: () => this.onGap(),
      onState: (state) => state === "open" && this.error && this.refreshSoon(),
    });
    everySecond(() => this.list.runs.some((run) => run.started_at && !run.completed_at) && this.draw());
    await this.show(this.query);
  }

  /** Changes the URL and shows what it describes. *typing*: the URL changes in place, once nothing more is typed. */
  go(query, typing = false) {
    clearTimeout(this.typingTimer);
    if (typing) {
      this.query = query;
      this.draw(); // the links of the page have the text, too
      this.typingTimer = setTimeout(() => {
        history.replaceState({ previous: [] }, "", `/ui${writeQuery(query)}`);
        this.show(query);
      }, TYPING_MS);
      return;
    }
    history.pushState({ previous: this.previousCursors(query) }, "", `/ui${writeQuery(query)}`);
    this.show(query);
  }

  /** The cursors of the pages before *query*, the first page's first, as far as this tab has seen them. */
  previousCursors(query) {
    if (!query.cursor) return [];
    const known = history.state?.previous ?? [];
    const at = known.indexOf(query.cursor);
    return at >= 0 ? known.slice(0, at) : [...known, this.query.cursor];
  }

  /** Loads the page of *query* and its counts. */
  async show(query) {
    this.query = query;
    this.selection?.clear();
    this.requests.abort();
    this.requests = new AbortController();
    const { signal } = this.requests;
    this.busy = true;
    this.draw();
    this.readCounts(signal);
    try {
      const { data, headers } = await request("/workflows/", { query: listParameters(query), signal });
      noteServiceTime(headers);
      this.list.replace(data.workflows);
      this.next = cursorOf(nextLink(headers));
      this.error = null;
      this.loaded = true;
      announce(plural(data.workflows.length, "run"));
    } catch (error) {
      if (isAbort(error)) return;
      this.list.replace([]);
      this.error = error;
    }
    this.busy = false;
    this.draw();
    if (this.outdated) this.refreshSoon();
  }

  async readCounts(signal) {
    const began = performance.now();
    try {
      this.counts = (await getJson("/workflows/counts", { query: countParameters(this.query), signal })).counts;
    } catch (error) {
      if (isAbort(error)) return;
      this.counts = null; // the list says what is wrong
    }
    this.countsReadyAt = performance.now() + Math.max(COUNTS_INTERVAL_MS, this.rate.pauseMs(), 10 * (performance.now() - began));
    this.draw();
  }

  onGap() {
    this.refreshSoon();
    this.countSoon();
  }

  /** Reads what has changed while the tab was hidden. */
  catchUp() {
    if (document.hidden || !this.missed) return;
    this.missed = false;
    this.onGap();
  }

  onEvents(events) {
    this.rate.add(events.length);
    const shown = new Set(this.list.runs.map((run) => run.id));
    const waits = this.list.runs.some((run) => run.waits_for);
    let relevant = false;
    for (const event of events) {
      if (shown.has(event.workflow_id)) this.changedIds.add(event.workflow_id);
      else if (!event.type.startsWith("workflow.") && !mayChangeWait(event, waits)) continue; // it changes nothing in the list
      relevant = true;
    }
    if (!relevant) return;
    this.refreshSoon();
    this.countSoon();
  }

  refreshSoon() {
    if (document.hidden) this.missed = true;
    else this.refreshLater();
  }

  countSoon() {
    if (this.countTimer || document.hidden) return;
    this.countTimer = setTimeout(() => {
      this.countTimer = 0;
      this.readCounts(this.requests.signal);
    }, Math.max(EVENT_DELAY_MS, this.countsReadyAt - performance.now()));
  }

  /** Reads the page again, and the rows that stay although it has them no more. */
  async refresh() {
    this.outdated = this.busy;
    if (this.busy) return;
    const { signal } = this.requests;
    const { changedIds } = this;
    this.changedIds = new Set();
    try {
      const { data, headers } = await request("/workflows/", { query: listParameters(this.query), signal });
      noteServiceTime(headers);
      const missing = this.list.update(data.workflows, this.isHeld()).filter((id) => changedIds.has(id));
      this.next = cursorOf(nextLink(headers));
      this.error = null;
      this.loaded = true;
      await Promise.all(missing.slice(0, MOST_MISSING_ROWS).map((id) => this.refreshRow(id, signal)));
    } catch (error) {
      if (isAbort(error)) return;
      this.error = error;
    }
    this.draw();
  }

  async refreshRow(id, signal) {
    try {
      this.list.updateRow(await getJson(`/workflows/${id}`, { query: { include_steps: false }, signal }));
    } catch (error) {
      if (isAbort(error)) throw error;
      // It may be deleted: the row stays as it was until the list moves.
    }
  }

  /** True while rows must not move: the user points at them, has the focus in them, has scrolled to them, or has selected some. */
  isHeld() {
    if (this.selection?.ids.size) return true;
    const table = this.element.querySelector(".runs");
    if (!table) return false;
    const pointed = matchMedia("(hover: hover)").matches && table.matches(":hover");
    return pointed || table.contains(document.activeElement) || table.getBoundingClientRect().top < 0;
  }

  release() {
    if (!this.isHeld() && this.list.release()) this.draw();
  }

  showWaiting() {
    this.list.release();
    this.draw();
    this.element.querySelector(".runs-frame")?.scrollIntoView({ block: "nearest" });
  }

  /** Opens a link within the view without loading the page again. */
  onNavigate = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.go(readQuery(new URL(event.currentTarget.href).search));
  };

  /** Up and Down move between the rows' links or boxes. Enter leads from a box to the buttons of the selected runs. */
  onKey = (event) => {
    const kind = ["run-link", "run-select"].find((each) => event.target.classList.contains(each));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = [...this.element.querySelectorAll(`.${kind}`)];
    const target = step ? all[all.indexOf(event.target) + step]
      : event.key === "Enter" && kind === "run-select" ? this.element.querySelector(".selection .row .button") : null;
    if (!kind || !target) return;
    event.preventDefault();
    target.focus();
  };

  draw() {
    const { query, context } = this;
    const change = (next, typing) => this.go(next, typing);
    render(html`
      <div class="view-header">
        <h1>Runs</h1>
        ${context.canWrite ? html`<div class="actions"><a class="button button-primary" href="/ui/new">New run</a></div>`
          : nothing}
      </div>
      <div class="runs-view">
        ${statusSwitches(query, this.counts, this.onNavigate)}
        ${filterForm(query, {
          everyTenant: context.everyTenant,
          open: this.filtersOpen,
          onToggle: () => { this.filtersOpen = !this.filtersOpen; this.draw(); },
          onChange: change,
        })}
        ${filterChips(query, change)}
        ${this.error ? errorNotice(this.error, () => this.show(this.query)) : nothing}
        ${this.content()}
      </div>`, this.element);
  }

  content() {
    const { list, query } = this;
    if (!this.loaded) return this.error ? nothing : loading("The runs are loading…");
    if (!list.runs.length) return this.error ? nothing : this.emptyContent();
    const waiting = list.newCount;
    return html`
      ${this.paging("Pages, above the list")}
      ${waiting ? html`<div class="runs-waiting"><button type="button" class="button" @click=${() => this.showWaiting()}>${
        plural(waiting, "new run")}</button></div>` : nothing}
      <div class="table-frame runs-frame" aria-busy=${this.busy ? "true" : "false"}
        @pointerleave=${() => this.release()} @focusout=${() => setTimeout(() => this.release())}>
        ${runTable(list.runs, query, {
          showTenants: this.context.everyTenant, stale: list.stale, selection: this.selection, onNavigate: this.onNavigate, onKey: this.onKey,
        })}
      </div>
      ${list.runs.length > 10 ? this.paging("Pages, below the list") : nothing}
      ${this.selection?.bar(list.runs) ?? nothing}`;
  }

  emptyContent() {
    const { query } = this;
    if (query.cursor) {
      return emptyState("There are no more runs.",
        html`<a class="button" href=${`/ui${writeQuery(changed(query, {}))}`} @click=${this.onNavigate}>First page</a>`);
    }
    if (query.status.length || activeFilters(query).length) {
      return emptyState("No run matches these filters.", html`<button type="button" class="button"
        @click=${() => this.go(withoutFilters(query))}>Show all runs</button>`);
    }
    return emptyState("There are no runs yet.", html`
      ${this.context.canWrite ? html`<p>Make one here, on the command line, or by the API. It shows up in this list.</p>
        <p><a class="button button-primary" href="/ui/new">New run</a></p>` : html`<p>Runs show up here once somebody makes one.</p>`}
      <p><a href="/manual/start">How to start</a></p>`);
  }

  paging(label) {
    const { query } = this;
    const previous = history.state?.previous ?? [];
    const link = (cursor, content, kind = "button") => html`<a class=${kind}
      href=${`/ui${writeQuery({ ...query, cursor })}`} @click=${this.onNavigate}>${content}</a>`;
    if (!query.cursor && !this.next) return nothing;
    const page = !query.cursor ? "Page 1" : previous.length ? `Page ${previous.length + 1}` : "A later page";
    return html`<nav class="paging" aria-label=${label}>
      <span class="dim">${page}</span>
      <span class="paging-links">
        ${query.cursor ? link("", "First page") : nothing}
        ${previous.length > 1 ? link(previous.at(-1), html`${icon("previous")}Previous`) : nothing}
        ${this.next ? link(this.next, html`Next${icon("next")}`) : nothing}
      </span>
    </nav>`;
  }
}

function cursorOf(link) {
  return link ? new URL(link, location.origin).searchParams.get("cursor") : null;
}
