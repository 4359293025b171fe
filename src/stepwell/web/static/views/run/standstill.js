// The notice that says why a run doesn't move. It shows up by itself once nothing has moved for ten seconds.
import { getJson } from "../../lib/api.js";
import { serviceNow } from "../../lib/clock.js";
import { announce, html, nothing } from "../../lib/dom.js";
import { plural, shortTime } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";
import { groupedReasons, groupView, reasonView } from "./reasons.js";

const STANDSTILL_MS = 10_000;
const READ_INTERVAL_MS = 5_000;
const MOST_REASONS = 4;
const MOST_STEPS = 5;

export class Standstill {
  /** @param reader of the run  @param onChange is called when another explanation is there */
  constructor(reader, onChange) {
    this.reader = reader;
    this.onChange = onChange;
    this.explanation = null;
    this.read = refresher(() => this.readOnce(), { pauseMs: () => READ_INTERVAL_MS });
  }

  /** True if the run may move, and hasn't for ten seconds. */
  get isStill() {
    return this.reader.isLive && serviceNow() - this.reader.movedAt >= STANDSTILL_MS;
  }

  /** Reads the explanation if it is time for that. Called every second. */
  check() {
    if (this.isStill) {
      this.read();
    } else if (this.explanation) {
      this.explanation = null;
      this.onChange();
    }
  }

  async readOnce() {
    if (!this.isStill) return;
    try {
      const found = await getJson(`${this.reader.path}/explain`);
      if (!this.isStill) return;
      if (!this.explanation) announce("Nothing has moved for ten seconds. The reason is shown above the outputs.");
      this.explanation = found;
    } catch {
      this.explanation = null; // what the service can't say now, it says at the next check
    } finally {
      this.onChange();
    }
  }

  /** The notice; nothing as soon as the run moves or ends. *open* is called with the id of a step. */
  view(open) {
    const { explanation, reader } = this;
    if (!this.isStill || !explanation || (!explanation.reason && !explanation.steps.length)) return nothing;
    const now = serviceNow();
    const groups = explanation.reason ? [] : groupedReasons(explanation.steps);
    return html`<section class="notice notice-warning run-standstill" aria-labelledby="standstill-title">
      <h2 id="standstill-title">Why isn't it moving?</h2>
      ${explanation.reason ? reasonView(explanation.reason, now) : html`<ul class="standstill-reasons">
        ${groups.slice(0, MOST_REASONS).map((group) => html`<li>
          <div class="row">${group.steps.slice(0, MOST_STEPS).map((id) => html`<button type="button" class="button-plain standstill-step break"
            @click=${() => open(id)}>${id}</button>`)}${group.steps.length > MOST_STEPS
            ? html`<span class="dim">and ${plural(group.steps.length - MOST_STEPS, "more step")}</span>` : nothing}</div>
          ${groupView(group, now)}</li>`)}</ul>`}
      <p class="dim">Nothing has moved since ${shortTime(new Date(reader.movedAt).toISOString())}.</p>
    </section>`;
  }
}
