// The runs that are selected in the list, and the verbs that act on all of them.
//
// What must hold:
// - Nothing happens before one confirmation, which names the runs.
// - At most AT_ONCE requests are under way. A run whose request failed stays selected, and the report says why it failed.
import { send } from "../../lib/api.js";
import { confirm } from "../../lib/dialog.js";
import { announce, html, icon, nothing } from "../../lib/dom.js";
import { number, plural } from "../../lib/format.js";
import { VERBS } from "../run/verbs.js";
import { verbsOf } from "../run/verb_words.js";

const AT_ONCE = 4;
const MOST_NAMED = 5;
const DONE = { start: "started", pause: "paused", resume: "resumed", cancel: "cancelled" };

export class Selection {
  /** @param redraw is called after each change  @param onDone after a verb was sent to all runs */
  constructor({ redraw, onDone }) {
    Object.assign(this, { redraw, onDone, ids: new Set(), work: null });
  }

  has(run) {
    return this.ids.has(run.id);
  }

  /** Selects *runs*, or removes them from the selection. */
  set(runs, isSelected) {
    for (const { id } of runs) this.ids[isSelected ? "add" : "delete"](id);
    this.closeReport();
    announce(`${plural(this.ids.size, "run")} selected. Enter leads to the buttons.`);
  }

  clear() {
    this.ids.clear();
    this.closeReport();
  }

  closeReport() {
    if (!this.work?.isBusy) this.work = null;
    this.redraw();
  }

  /** Asks, and sends the verb *name* to those of *runs* whose status allows it. */
  async act(name, runs) {
    const allowed = runs.filter((run) => verbsOf(run).includes(name));
    const [verb, text] = [VERBS[name], plural(allowed.length, "run")];
    const others = runs.length - allowed.length;
    const sure = await confirm(`${verb.text} ${text}?`, html`
      <ul>${allowed.slice(0, MOST_NAMED).map((run) => html`<li>${run.name}</li>`)}${allowed.length > MOST_NAMED
        ? html`<li>and ${number(allowed.length - MOST_NAMED)} more</li>` : nothing}</ul>
      ${others ? html`<p class="dim">${plural(others, "other selected run")} can't be ${DONE[name]}, and ${others === 1 ? "stays" : "stay"} as ${
        others === 1 ? "it is" : "they are"}.</p>` : nothing}`,
    { action: `${verb.text} ${text}`, refusal: `Don't ${verb.text.toLowerCase()}`, danger: verb.danger });
    if (!sure) return;
    const work = { verb, name, total: allowed.length, done: 0, failures: [], isBusy: true };
    this.work = work;
    this.redraw();
    const queue = [...allowed];
    const sendNext = async () => {
      for (let run = queue.shift(); run; run = queue.shift()) {
        await this.sendOne(work, run);
        this.redraw();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, sendNext));
    work.isBusy = false;
    announce(reportText(work));
    this.redraw();
    this.onDone();
  }

  async sendOne(work, run) {
    const { method, path } = work.verb;
    try {
      await send(method, `/workflows/${run.id}${path}`);
      this.ids.delete(run.id);
      work.done += 1;
    } catch (error) {
      work.failures.push({ run, error });
    }
  }

  /** The bar with the buttons, and the report of the last verb. *runs* are those of the page. */
  bar(runs) {
    const { work } = this;
    const selected = runs.filter((run) => this.has(run));
    if (!selected.length && !work) return nothing;
    return html`<section class="card selection" aria-label="Selected runs">
      ${work ? this.report(work) : nothing}
      ${selected.length && !work?.isBusy ? html`<div class="row"><strong>${plural(selected.length, "run")} selected</strong>
        ${this.buttons(selected)}
        ${selected.length < runs.length ? html`<button type="button" class="button button-plain" @click=${() => this.set(runs, true)}>Select all ${
          number(runs.length)} of the page</button>` : nothing}
        <button type="button" class="button button-plain" @click=${() => this.clear()}>Clear</button></div>` : nothing}
    </section>`;
  }

  buttons(selected) {
    const counts = Object.keys(DONE).map((name) => [name, selected.filter((run) => verbsOf(run).includes(name)).length]);
    const possible = counts.filter(([, count]) => count);
    if (!possible.length) return html`<span class="dim">Their statuses allow none of ${Object.keys(DONE).join(", ")}.</span>`;
    return possible.map(([name, count]) => html`<button type="button" class="button ${name === "cancel" ? "button-danger" : ""}" data-verb=${name}
      @click=${() => this.act(name, selected)}>${icon(VERBS[name].icon)}${VERBS[name].text}${count < selected.length ? ` ${number(count)}` : ""}</button>`);
  }

  report(work) {
    if (work.isBusy) return html`<p role="status">${VERBS[work.name].text}: ${number(work.done + work.failures.length)} of ${plural(work.total, "run")}…</p>`;
    return html`<div class="selection-report"><p><strong>${reportText(work)}</strong></p>
      ${work.failures.length ? html`<ul>${work.failures.map(({ run, error }) => html`<li><a href=${`/ui/workflows/${run.id}`}>${run.name}</a>:
        ${error.message || error.title}</li>`)}</ul>` : nothing}
      <button type="button" class="icon-button" aria-label="Close the report" title="Close the report" @click=${() => this.closeReport()}>${icon("close")}</button></div>`;
  }
}

function reportText({ name, done, failures }) {
  const text = `${plural(done, "run")} ${done === 1 ? "is" : "are"} ${DONE[name]}`;
  return failures.length ? `${text}, ${number(failures.length)} ${failures.length === 1 ? "is" : "are"} not` : text;
}
