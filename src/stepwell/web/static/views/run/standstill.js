// The notice that says why a run doesn't move. It is shown once nothing has moved for ten seconds, and at once if the run waits for
// a person.
import { getJson } from "../../lib/api.js";
import { serviceNow } from "../../lib/clock.js";
import { announce, html, nothing } from "../../lib/dom.js";
import { shortTime } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";
import { waitText } from "../../lib/status.js";
import { causesOf, causesView, reasonView, remedyOf } from "./reasons.js";
import { verbsOf } from "./verb_words.js";
import { VERBS } from "./verbs.js";

const STANDSTILL_MS = 10_000;
const READ_INTERVAL_MS = 5_000;
const OF_PEOPLE = new Set(["waits_for_decision", "waits_for_signal"]);
const VERB_AGAINST = { not_started: "start", paused: "resume" };

export class Standstill {
  /** @param reader of the run  @param onChange is called when another explanation is there */
  constructor(reader, onChange) {
    Object.assign(this, { reader, onChange, explanation: null, causes: [] });
    this.read = refresher(() => this.readOnce(), { pauseMs: () => READ_INTERVAL_MS });
  }

  /** True if the run may move, and hasn't for ten seconds. */
  get isStill() {
    return this.reader.isLive && serviceNow() - this.reader.movedAt >= STANDSTILL_MS;
  }

  /** True if the run waits for a person, whatever else it does. */
  get waitsForPerson() {
    return this.reader.isLive && ["decision", "signal"].includes(this.reader.run.waits_for);
  }

  /** The first wait that the viewer may end, a decision before a signal; null if there is none. */
  get firstWait() {
    const waits = this.causes.filter(remedyOf);
    return waits.find(({ reason }) => reason.code === "waits_for_decision") ?? waits[0] ?? null;
  }

  /** Reads the explanation if it is time for that. Called every second, and after each read of the run. */
  check() {
    if (this.isStill || this.waitsForPerson) {
      this.read();
    } else if (this.explanation) {
      this.clear();
      this.onChange();
    }
  }

  clear() {
    Object.assign(this, { explanation: null, causes: [] });
  }

  async readOnce() {
    if (!this.isStill && !this.waitsForPerson) return;
    try {
      const explanation = await getJson(`${this.reader.path}/explain`);
      if (!this.isStill && !this.waitsForPerson) return;
      if (!this.explanation) announce("The run waits. The reason is shown above the outputs.");
      Object.assign(this, { explanation, causes: causesOf(this.reader.id, explanation.steps) });
    } catch {
      this.clear(); // what the service can't say now, it says at the next check
    } finally {
      this.onChange();
    }
  }

  /** The notice; nothing as soon as the run moves or ends. *open* is called with a cause (see reasons.js), *act* with the name of the verb
   *  that ends the standstill. */
  view({ open, act }) {
    const { explanation, reader, isStill } = this;
    if (!(isStill || this.waitsForPerson) || !explanation) return nothing;
    const { reason } = explanation;
    // What concerns the whole run holds up all its steps but those that wait for somebody.
    const causes = isStill && !reason ? this.causes : this.causes.filter((each) => OF_PEOPLE.has(each.reason.code));
    if (!causes.length && !(isStill && reason)) return nothing;
    const verb = act && reason && verbsOf(reader.run).find((name) => name === VERB_AGAINST[reason.code]);
    return html`<section class="notice notice-warning run-standstill" aria-labelledby="standstill-title">
      <h2 id="standstill-title">${isStill ? "Why isn't it moving?" : waitText(reader.run.waits_for)}</h2>
      ${isStill && reason ? html`<div class="row"><div>${reasonView(reason, serviceNow())}</div>${verb ? html`<button type="button" class="button"
        @click=${() => act(verb)}>${VERBS[verb].text}</button>` : nothing}</div>` : nothing}
      ${causes.length ? causesView(causes, serviceNow(), { id: reader.id, open }) : nothing}
      ${isStill ? html`<p class="dim">Nothing has moved since ${shortTime(new Date(reader.movedAt).toISOString())}.</p>` : nothing}
    </section>`;
  }
}
