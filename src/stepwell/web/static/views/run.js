// The view of one run: its header, the newest outputs, and tabs. Everything is updated as the run changes.
//
// run/reader.js reads the run again after its events; run/header.js has the templates of the header, run/verbs.js the
// buttons, run/budget.js the budget, run/standstill.js the reason why nothing moves, run/drawer.js the drawer of a step. The URL's query has the
// selected tab and the open step. Each tab is a module run/NAME.js, which is loaded when the tab is first selected:
//
//   export default function mount(element, context) {…}   // renders into *element*, the tab's panel; may return a promise
//
// The context of a tab:
//   id               of the run
//   run              the workflow as the API returned it last, with its steps (a getter)
//   hasResults       false if the run is so large that its steps were read without `result` (a getter)
//   onChange(call)   calls call(run) whenever the run was read again; while the tab is hidden, once it is shown again
//   onEvents(call)   calls call(events) with new events of the run, also while the tab is hidden
//   openStep(id, reader)   opens the drawer of a step: of the run, or of the sub-workflow that *reader* reads
//   reader           reads the run
//   canWrite, everyTenant, api   the viewer's rights; the module lib/api.js
import * as api from "../lib/api.js";
import { everySecond } from "../lib/clock.js";
import { emptyState, errorNotice, html, loading, nothing, render } from "../lib/dom.js";
import { refresher } from "../lib/refresher.js";
import { isTerminal, mayChangeWait } from "../lib/status.js";
import { follow } from "../lib/stream.js";
import { tabList, tabOf } from "../lib/tabs.js";
import { RunBudget } from "./run/budget.js";
import { Drawer } from "./run/drawer.js";
import { failureNotice, runHeader } from "./run/header.js";
import { newestOutputs } from "./run/newest_outputs.js";
import { RunReader } from "./run/reader.js";
import { remedyOf } from "./run/reasons.js";
import { Standstill } from "./run/standstill.js";
import { VerbDialog, verbButtons } from "./run/verbs.js";

const TABS = [
  { name: "graph", text: "Graph" },
  { name: "timeline", text: "Timeline" },
  { name: "outputs", text: "Outputs" },
  { name: "events", text: "Events" },
  { name: "definition", text: "Definition" },
  { name: "webhooks", text: "Webhooks" },
];
const WAIT_PAUSE_MS = 2_000; // between two reads because a sub-workflow may have begun to wait, or waits no more

export default async function mount(element, context) {
  const view = new RunView(element, context);
  await view.start();
}

class RunView {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.id = context.workflowId;
    this.reader = new RunReader(this.id, () => this.onRead());
    this.tab = tabOf(TABS, location.search);
    this.stepShown = false; // true once the step that the URL names was opened
    this.panels = new Map(); // the panels of the tabs that were selected, by name
    const [page, drawer, verbs] = ["div", "dialog", "dialog"].map((name) => document.createElement(name));
    this.page = page;
    drawer.className = "drawer";
    element.replaceChildren(page, drawer, verbs);
    this.standstill = new Standstill(this.reader, () => this.draw());
    this.budget = new RunBudget(this.reader, () => this.draw());
    this.drawer = new Drawer(drawer, this.reader, { onClose: () => this.setQuery("step", null), openCause: this.openCause });
    this.verbs = new VerbDialog(verbs, this.reader.path, (name) => this.onVerb(name));
  }

  async start() {
    addEventListener("popstate", () => this.showAddress());
    render(html`<h1 class="visually-hidden">Run</h1>${loading("The run is loading…")}`, this.page);
    importTab(this.tab).catch(() => {}); // while the run is read; its panel shows an error
    await this.reader.start();
    const readAgain = refresher(() => this.reader.read(), { pauseMs: () => WAIT_PAUSE_MS });
    follow({ onEvents: (events) => this.mayWaitBelow(events) && readAgain() });
    everySecond(() => this.tick());
    this.showAddress();
    await this.panels.get(this.tab)?.mounted;
  }

  get run() {
    return this.reader.run;
  }

  onRead() {
    this.standstill.check();
    this.budget.check();
    this.draw();
    if (!this.run?.steps) return;
    if (this.stepShown) this.drawer.update();
    else this.showStep();
    for (const panel of this.panels.values()) panel.update(this.run);
  }

  /** True if *events* may change what the run's sub-workflows wait for. Those have events of their own. */
  mayWaitBelow(events) {
    const { run } = this;
    return run?.steps?.some((step) => step.task_type === "SUBWORKFLOW" && step.status === "RUNNING")
      && events.some((event) => mayChangeWait(event, run.waits_for));
  }

  /** Every second: what depends on the time. */
  tick() {
    if (!this.run) return;
    this.standstill.check();
    this.drawer.tick();
    if (!isTerminal(this.run.status)) this.draw();
  }

  /** After a verb took effect. */
  onVerb(name) {
    if (name === "delete") this.reader.setDeleted();
    else this.reader.read();
  }

  /** Shows what the URL names: at the start, and after Back and Forward. */
  showAddress() {
    this.tab = tabOf(TABS, location.search);
    if (this.run?.steps) this.showStep();
    this.draw();
  }

  showStep() {
    this.stepShown = true;
    const step = new URLSearchParams(location.search).get("step");
    if (step === null) this.drawer.element.close();
    else this.drawer.open(step);
  }

  /** Changes a member of the URL's query in place; null removes it. */
  setQuery(name, value, { push = false } = {}) {
    const url = new URL(location.href);
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
    url.hash = "";
    if (url.href === location.href) return;
    if (push) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }

  /** Selects the tab *name*, and puts it into the URL. */
  selectTab = (name) => {
    if (name === this.tab) return;
    this.setQuery("tab", name === TABS[0].name ? null : name, { push: true });
    this.tab = name;
    this.draw();
  };

  openStep = (stepId, reader = this.reader) => {
    if (reader === this.reader) this.setQuery("step", stepId);
    this.drawer.open(stepId, reader);
  };

  /** Opens the step of a cause (see reasons.js), which may be one of a sub-workflow. */
  openCause = async ({ workflow_id: id, step_id: step }) => {
    if (id === this.id) {
      this.openStep(step);
      return;
    }
    this.below?.stop();
    const below = new RunReader(id, () => this.drawer.reader === below && this.drawer.update());
    this.below = below;
    await below.start();
    this.openStep(step, below);
  };

  draw() {
    const { run, reader, standstill } = this;
    if (!run) {
      render(reader.error ? this.failure(reader.error) : nothing, this.page);
      return;
    }
    document.title = `${run.name} · Stepwell`;
    const act = this.context.canWrite ? (name) => this.verbs.open(name) : null;
    const wait = standstill.firstWait;
    render(html`
      ${runHeader(run, {
        everyTenant: this.context.everyTenant,
        more: this.budget.facts(),
        actions: verbButtons(run, {
          canWrite: Boolean(act), open: act, wait: wait && { text: remedyOf(wait), act: () => this.openCause(wait) },
        }),
      })}
      ${failureNotice(run, this.openStep)}
      ${this.budget.view(this.context.canWrite)}
      ${reader.error ? html`<div class="run-error">${errorNotice(reader.error, () => reader.read())}</div>` : nothing}
      ${standstill.view({ open: this.openCause, act })}
      ${run.steps && this.tab !== "outputs" ? newestOutputs(run, this.openStep) : nothing}
      ${tabList(TABS, "Parts of the run", this.tab, this.selectTab)}
      <div class="run-panels">${TABS.map(({ name }) => html`<div id=${`panel-${name}`} class="run-panel" role="tabpanel"
        aria-labelledby=${`tab-${name}`} tabindex="0" ?hidden=${name !== this.tab}></div>`)}</div>`, this.page);
    this.showPanel();
  }

  /** Mounts the selected tab, the first time that it is selected. */
  showPanel() {
    if (!this.run.steps) return;
    for (const [name, panel] of this.panels) if (name !== this.tab) panel.hide();
    const known = this.panels.get(this.tab);
    if (known) {
      known.show(this.run);
      return;
    }
    const panel = new Panel(this.page.querySelector(`#panel-${this.tab}`), this);
    this.panels.set(this.tab, panel);
    panel.mounted = panel.mount(this.tab);
  }

  failure(error) {
    if (error.status !== 404) return html`<h1>Run</h1>${errorNotice(error, () => this.reader.read())}`;
    return html`<h1 class="visually-hidden">Run</h1>${emptyState(
      this.reader.wasDeleted ? "The data of this run are deleted." : "There is no such run.", html`
      ${this.reader.wasDeleted ? nothing : html`<p>It may be deleted, or belong to another tenant.</p>`}<p><a class="button" href="/ui">All runs</a></p>`)}`;
  }
}

function importTab(name) {
  return import(`./run/${name}.js`);
}

/** A tab's panel, and what its module gets to know. */
class Panel {
  constructor(element, view) {
    this.element = element;
    this.view = view;
    this.run = view.run; // the last one: the tab may still draw when the data were deleted
    this.visible = true;
    this.stale = false;
    this.mounted = null; // a promise until the tab shows the run
    this.callbacks = new Set();
  }

  async mount(name) {
    render(loading(), this.element);
    try {
      const module = await importTab(name);
      render(nothing, this.element);
      await module.default(this.element, this.tabContext());
    } catch (error) {
      console.error(error);
      render(errorNotice(error, () => location.reload()), this.element);
    }
  }

  tabContext() {
    const { view } = this;
    const last = () => this.run;
    const { canWrite, everyTenant } = view.context;
    return {
      id: view.id,
      get run() { return view.run ?? last(); },
      get hasResults() { return view.reader.hasResults; },
      onChange: (callback) => {
        this.callbacks.add(callback);
        return () => this.callbacks.delete(callback);
      },
      onEvents: (callback) => view.reader.onEvents(callback),
      openStep: (stepId, reader) => view.openStep(stepId, reader),
      reader: view.reader,
      canWrite, everyTenant, api,
    };
  }

  update(run) {
    this.run = run;
    if (!this.visible) this.stale = true;
    else for (const each of this.callbacks) each(run);
  }

  hide() {
    this.visible = false;
  }

  show(run) {
    this.visible = true;
    if (!this.stale) return;
    this.stale = false;
    this.update(run);
  }
}
