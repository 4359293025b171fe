// The drawer of a step: why it waits, its inputs and result, and its attempts. A modal dialog at the side of the page:
// the browser keeps the focus inside, returns it afterwards, and closes it on Escape.
import { getJson, isAbort } from "../../lib/api.js";
import { serviceNow } from "../../lib/clock.js";
import { byHandForm, canEndByHand } from "../../lib/by_hand_form.js";
import { canDecide, decisionForm } from "../../lib/decision_form.js";
import { errorNotice, factRows, html, icon, nothing, render } from "../../lib/dom.js";
import { amount, dateTime, duration, durationBetween, money, number, plural } from "../../lib/format.js";
import { fileUrl, filesOf, isArtifactPath, kindOf } from "../../lib/outputs.js";
import { canSignal, signalForm } from "../../lib/signal_form.js";
import { isTerminal, statusBadge, stepBadge } from "../../lib/status.js";
import { childLink, ItemGallery, itemsText } from "./items.js";
import { causesOf, causesView, reasonView, sentenceView } from "./reasons.js";
import { inputsOf, readsInputs } from "./step_inputs.js";

const READ_INTERVAL_MS = 5_000;
const FACTOR = 10; // the pause after a read is at least this many times as long as the read was
const MOST_ATTEMPTS = 20; // at first, and with each "Show older"
const WITHOUT_ATTEMPTS = new Set(["APPROVAL", "SIGNAL", "DELAY", "SUBWORKFLOW"]); // these steps wait, and have no provider
const RECEIPTS = {
  never_started: "Never sent to the provider",
  provider_cancelled: "Cancelled by the provider",
  provider_refused: "The provider refused to cancel it",
  finished_too_late: "Had finished already, and is paid for",
  unknown: "Its end isn't known",
};

const SKIPPED_BECAUSE = {
  when: "Skipped, because its condition isn't true.",
  failure: "Skipped, because a step before it has failed.",
  dependency: "Skipped, because a step that it needs was skipped.",
  manual: "Skipped by a person.",
};
const RUNS_IF = {
  any_completed: "All that it needs have ended, at least one with success",
  all_ended: "All that it needs have ended, with or without success",
};

export class Drawer {
  /** @param reader of the run  @param onClose is called after it was closed  @param openCause opens the step of a cause: see reasons.js */
  constructor(element, reader, { onClose, openCause }) {
    this.element = element;
    this.openCause = openCause;
    this.reader = this.runReader = reader;
    this.stepId = null;
    element.setAttribute("aria-labelledby", "drawer-title");
    element.addEventListener("close", () => {
      this.stepId = null;
      this.requests.abort();
      onClose();
    });
    // A click on the backdrop is one on the dialog, beside its box.
    element.addEventListener("click", (event) => {
      if (event.target === element && event.clientX < element.getBoundingClientRect().left) element.close();
    });
  }

  /** Opens a step of the run, or of a sub-workflow that has a *reader* of its own. */
  open(stepId, reader = this.runReader) {
    this.reader = reader;
    if (!this.stepOf(stepId)) return;
    this.requests?.abort();
    this.requests = new AbortController();
    this.stepId = stepId;
    this.tasks = null;
    this.mostAttempts = MOST_ATTEMPTS;
    this.form = {};
    this.forms = new Map(); // those for ends by hand, by the number of the item; null for the step itself
    this.runInputs = null;
    this.gallery = this.stepOf(stepId).for_each ? new ItemGallery(this.reader.path, stepId, () => this.draw()) : null;
    this.causes = [];
    this.error = null;
    this.draw();
    if (!this.element.open) this.element.showModal();
    this.element.scrollTop = 0;
    this.read();
  }

  stepOf(stepId) {
    return this.reader.run?.steps?.find((step) => step.step_id === stepId);
  }

  /** Reads the attempts, and the reason why the step waits. Called again after the run has changed. */
  async read() {
    const { signal } = this.requests;
    const { path, hasResults, singleResults } = this.reader;
    const stepId = this.stepId;
    const step = this.stepOf(stepId);
    if (!step) return; // the drawer was closed before a decision was recorded
    const began = performance.now();
    this.shownAt = step.updated_at;
    this.readAt = Infinity;
    this.gallery?.read(signal);
    this.itemsShown = itemsText(step);
    if (!hasResults && !this.gallery) singleResults.read([step]);
    if (hasResults && !this.runInputs && readsInputs(step)) this.readInputs(path, signal);
    try {
      const [{ tasks }, causes] = await Promise.all([
        getJson(`${path}/tasks`, { query: { include_deleted: true, step_id: stepId }, signal }),
        step.status === "COMPLETED" ? [] : this.readCauses(stepId, signal),
      ]);
      Object.assign(this, { tasks, causes, error: null });
    } catch (error) {
      if (isAbort(error)) return;
      this.error = error;
    }
    const now = performance.now();
    this.readAt = now + Math.max(READ_INTERVAL_MS, FACTOR * (now - began));
    this.draw();
  }

  /** Reads the inputs of the run, which are in its definition. */
  async readInputs(path, signal) {
    try {
      this.runInputs = (await getJson(`${path}/definition`, { signal })).inputs ?? {};
      this.draw();
    } catch (error) {
      if (!isAbort(error)) console.warn(error); // the expression is shown instead
    }
  }

  async readCauses(stepId, signal) {
    const { steps } = await getJson(`${this.reader.path}/explain`, { signal });
    // A failed step shows its error anyway.
    return causesOf(this.reader.id, steps.filter((each) => each.step_id === stepId && each.reason.code !== "failed"));
  }

  /** After the run was read again. */
  update() {
    const step = this.stepOf(this.stepId);
    if (step && (step.updated_at !== this.shownAt || itemsText(step) !== this.itemsShown)) this.read();
    else this.draw();
  }

  /** Every second: the countdown, and a reason that may be another one by now. */
  tick() {
    if (!this.stepId) return;
    const step = this.stepOf(this.stepId);
    if (step && !isTerminal(step.status) && performance.now() > this.readAt) this.read();
    else this.update();
  }

  draw() {
    const step = this.stepOf(this.stepId);
    if (!step) return;
    render(html`
      <header class="drawer-header">
        <h2 id="drawer-title" class="break">${step.step_id}</h2>
        ${stepBadge(step)}
        <button type="button" class="icon-button" aria-label="Close" title="Close (Escape)" @click=${() => this.element.close()}>${icon("close")}</button>
      </header>
      <div class="drawer-content stack">
        ${this.error ? errorNotice(this.error, () => this.read()) : nothing}
        ${this.causes.length ? html`<section class="notice notice-warning" aria-label="Why it waits">${this.reasons()}</section>` : nothing}
        ${this.decision(step)}
        ${this.signal(step)}
        ${step.skip_reason ? html`<section class="notice" aria-label="Why it was skipped"><p>${
          SKIPPED_BECAUSE[step.skip_reason] ?? step.skip_reason}</p></section>` : nothing}
        ${step.error_message ? html`<section class="notice notice-error" aria-label="Error"><p class="break">${sentenceView(step.error_message)}</p></section>` : nothing}
        ${this.byHand(step)}
        ${this.gallery ? nothing : this.outputs(step)}
        <dl class="facts">${factRows(stepFacts(step))}</dl>
        ${this.gallery ? this.gallery.view(step, this.requests.signal, (item) => this.byHand(step, item)) : nothing}
        ${this.inputs(step)}
        ${this.gallery ? nothing : this.result(step)}
        ${this.attempts(step)}
      </div>`, this.element);
  }

  /** Why the step waits: its own reason, or the steps of its sub-workflows that hold it up. */
  reasons() {
    const { causes, reader } = this;
    const isOwn = causes.length === 1 && causes[0].workflow_id === reader.id;
    return isOwn ? reasonView(causes[0].reason, serviceNow()) : causesView(causes, serviceNow(), { id: reader.id, open: this.openCause });
  }

  /** The files of the step: of its result, or of its attempts until the result is read. */
  outputs(step) {
    const paths = step.result ? filesOf(step.result) : (this.tasks?.findLast((task) => task.status === "COMPLETED")?.outputs ?? [])
      .map((output) => output.path);
    if (!paths.length) return nothing;
    return html`<div class="drawer-outputs">${paths.slice(0, 8).map((path) => outputView(path, `Output of ${step.step_id}`))}</div>`;
  }

  /** The form of a step that waits for a decision, for viewers who may decide. */
  decision(step) {
    if (step.waiting_for?.kind !== "decision" || !canDecide()) return nothing;
    const decision = { workflow_id: this.reader.run.id, step_id: step.step_id, choices: step.waiting_for.choices };
    const { message, choices } = step.waiting_for;
    const files = filesOf(inputsOf(step, this.reader.run, this.runInputs).map((input) => input.value));
    return html`<section class="stack" aria-label="Decision">${message ? html`<p class="decision-message">${message}</p>` : nothing}
      <div class="drawer-outputs">${files.filter((path) => !choices.includes(path)).map((path) => outputView(path, path.split("/").pop()))}</div>
      ${decisionForm(decision, this.form, { redraw: () => this.draw(), onDecided: (error) => this.onDecided(error) })}</section>`;
  }

  /** The form of a step that waits for a signal, for viewers who may send it. */
  signal(step) {
    if (step.waiting_for?.kind !== "signal" || !canSignal()) return nothing;
    const signal = { runId: this.reader.run.id, name: step.config?.name ?? step.step_id };
    return html`<section aria-label="Signal">
      ${signalForm(signal, this.form, { redraw: () => this.draw(), onSent: (error) => this.onDecided(error) })}</section>`;
  }

  /** The form that ends the step, or an item of it, by hand, for viewers who may do that now. */
  byHand(step, item = null) {
    const { run } = this.reader;
    if (!canEndByHand(run, step, item)) return nothing;
    const key = item?.item ?? null;
    if (!this.forms.has(key)) this.forms.set(key, {});
    return byHandForm({ run, step, item }, this.forms.get(key), { redraw: () => this.draw(), onDone: () => this.read() });
  }

  onDecided(error = null) {
    this.form.error = error;
    this.read();
  }

  inputs(step) {
    const inputs = inputsOf(step, this.reader.run, this.runInputs);
    return html`<section><h3>Inputs</h3>${inputs.length ? html`<dl class="values">${inputs.map(({ name, value, from }) => html`<div>
      <dt class="mono break">${name}</dt><dd>${value === undefined ? nothing : valueView(value)}${from
        ? html`<p class="dim break">${value === undefined ? "" : "from "}${from}</p>` : nothing}</dd></div>`)}</dl>`
      : html`<p class="dim">None.</p>`}</section>`;
  }

  result(step) {
    if (!step.result) return nothing;
    const members = Object.entries(step.result);
    return html`<section><h3>Result</h3>${members.length ? html`<dl class="values">${members.map(([name, value]) => html`<div>
      <dt class="mono break">${name}</dt><dd>${valueView(value)}</dd></div>`)}</dl>` : html`<p class="dim">Empty.</p>`}</section>`;
  }

  attempts(step) {
    if (WITHOUT_ATTEMPTS.has(step.task_type)) return nothing;
    const { tasks } = this;
    if (tasks === null) return this.error ? nothing : html`<section><h3>Attempts</h3><p class="dim" role="status">Loading…</p></section>`;
    const older = tasks.length - this.mostAttempts;
    return html`<section><h3>Attempts</h3>${older > 0 ? html`<p><button type="button" class="button"
      @click=${() => { this.mostAttempts += MOST_ATTEMPTS; this.draw(); }}>Show older</button>
      <span class="dim">${plural(older, "older attempt")}</span></p>` : nothing}${tasks.length
      ? html`<ol class="attempts">${tasks.slice(-this.mostAttempts).map((task) => html`<li class="card">
      <div class="row"><strong>${typeof task.item === "number" ? `Item ${task.item}, attempt` : "Attempt"} ${task.attempt}</strong>${statusBadge(task.status)}</div>
      <dl class="facts">${factRows(attemptFacts(task))}</dl>
      ${task.error ? html`<p class="attempt-error break">${task.error}</p>` : nothing}</li>`)}</ol>`
      : html`<p class="dim">${isTerminal(step.status) ? "None." : "None yet."}</p>`}</section>`;
  }
}

function itemsFact(step) {
  const { items, count, from_step: source, from_field: field, max_concurrency: most } = step.for_each;
  const from = source ? html`<code class="break">${field}</code> of ${source}` : typeof (items ?? count) === "string"
    ? html`<code class="break">${items ?? count}</code>` : "the definition";
  return html`${step.items ? `${itemsText(step)}` : "Not known yet"}, from ${from}, ${number(most)} at once`;
}

function repeatFact({ repeat, runs }) {
  return html`until <code class="break">${repeat.until}</code>, at most ${plural(repeat.max, "time")}${
    repeat.best ? html`, then the best by <code class="break">${repeat.best}</code>` : nothing}; ${plural(runs, "run")} so far`;
}

function stepFacts(step) {
  const facts = [["Task", step.task_type]];
  if (step.reused_from) facts.push(["Result taken over from", html`<a class="mono" href=${`/ui/workflows/${step.reused_from.workflow_id}`}>${
    step.reused_from.workflow_id}</a>`]);
  if (step.saved) facts.push(["Saved", amount(step.saved.amount, step.saved.currency)]);
  if (step.given_by) facts.push(["Result given by", step.given_by]);
  if (step.provider) facts.push(["Provider", step.provider]);
  if (step.model) facts.push(["Model", step.model]);
  if (money(step.cost) !== "–") facts.push(["Cost", money(step.cost)]);
  if (step.started_at) facts.push(["Started", dateTime(step.started_at)], ["Duration", durationBetween(step.started_at, step.completed_at)]);
  if (step.waiting_for?.name) facts.push(["Signal", step.waiting_for.name]);
  if (step.waiting_for?.until) facts.push(["Waits until", dateTime(step.waiting_for.until)]);
  const child = childLink(step);
  if (child) facts.push(["Sub-workflow", child]);
  if (step.max_retries) facts.push(["Retries", step.for_each ? number(step.retry_count) : `${step.retry_count} of ${step.max_retries}`]);
  if (step.dependencies.length) facts.push(["Needs", step.dependencies.slice(0, 10).join(", ")
    + (step.dependencies.length > 10 ? ` and ${step.dependencies.length - 10} more` : "")]);
  if (step.when) facts.push(["Condition", html`<code class="break">${step.when}</code>`]);
  if (step.for_each) facts.push(["Items", itemsFact(step)]);
  if (step.repeat) facts.push(["Repeats", repeatFact(step)]);
  if (RUNS_IF[step.run_if]) facts.push(["Runs if", RUNS_IF[step.run_if]]);
  if (step.optional) facts.push(["Optional", "The run goes on if it fails"]);
  return facts;
}

function attemptFacts(task) {
  const facts = [];
  const add = (name, value) => value !== null && value !== undefined && facts.push([name, value]);
  add("Provider", task.provider);
  add("Model", task.model);
  if (task.cost) add("Cost", `${amount(task.cost.amount, task.cost.currency)} (by ${task.cost.source === "provider" ? "the provider" : "the settings"})`);
  add("Remote id", task.remote_id);
  if (task.started_at) add("Started", dateTime(task.started_at));
  if (task.sent_at) add("Sent", dateTime(task.sent_at));
  if (task.completed_at && task.started_at) add("Duration", duration(Date.parse(task.completed_at) - Date.parse(task.started_at)));
  add("Seed", task.seed);
  if (task.outcome_unknown) add("Outcome", "Not known: the answer was lost");
  if (task.cancel_receipt) add("Receipt", RECEIPTS[task.cancel_receipt] ?? task.cancel_receipt);
  if (task.outputs.length) add("Files", plural(task.outputs.length, "file"));
  return facts;
}

function outputView(path, alt) {
  const kind = kindOf(path);
  const link = (content) => html`<a href=${fileUrl(path)} target="_blank" rel="noopener">${content}</a>`;
  if (kind === "image") return link(html`<img src=${fileUrl(path, { width: 512 })} alt=${alt} decoding="async">`);
  if (kind === "video") return html`<video src=${fileUrl(path)} aria-label=${alt} controls preload="metadata" playsinline></video>`;
  if (kind === "sound") return html`<audio src=${fileUrl(path)} aria-label=${alt} controls preload="metadata"></audio>`;
  return html`<a class="button" href=${fileUrl(path, { download: true })} download>${icon("download")}${path.split("/").pop()}</a>`;
}

function valueView(value) {
  if (isArtifactPath(value)) {
    return html`<a class="mono break" href=${fileUrl(value, { download: !["image", "video"].includes(kindOf(value)) })}>${value}</a>`;
  }
  if (typeof value === "string") return html`<span class="value-text break">${value}</span>`;
  const text = JSON.stringify(value, null, 2);
  return text.includes("\n") ? html`<pre tabindex="0">${text}</pre>` : html`<span class="mono break">${text}</span>`;
}
