// The budget of a run: what it has spent, in the head, and the form that raises the budget once it has paused the run.
import { getJson, send } from "../../lib/api.js";
import { announce, errorNotice, html, nothing } from "../../lib/dom.js";
import { amount, number } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";
import { whileBusy } from "../../lib/while_busy.js";

const READ_INTERVAL_MS = 2_000;

export class RunBudget {
  /** @param reader of the run  @param onChange is called when another use of the budget is known */
  constructor(reader, onChange) {
    Object.assign(this, { reader, onChange, use: null, busy: false, error: null });
    this.read = refresher(() => this.readOnce(), { pauseMs: () => READ_INTERVAL_MS });
  }

  /** Called after each read of the run. */
  check() {
    if (this.reader.run?.config?.budget) this.read();
  }

  async readOnce() {
    try {
      this.use = (await getJson(`${this.reader.path}/explain`)).budget;
      this.onChange();
    } catch {
      // What the service can't say now, it says after the next read.
    }
  }

  /** The facts for the head: nothing without a budget. */
  facts() {
    if (!this.use) return [];
    const parts = Object.entries(this.use.costs).map(([currency, part]) => partText(part, (value) => amount(value, currency)));
    if (this.use.attempts.maximum !== null) parts.push(partText(this.use.attempts, number, " attempts"));
    return parts.length ? [["Budget", parts.join(", ")]] : [];
  }

  /** The form for a new budget, if the present one has paused the run. */
  view(canWrite) {
    const { run } = this.reader;
    if (run.pause_reason !== "budget" || !run.config.budget || !canWrite) return nothing;
    const { max_cost: costs, max_attempts: attempts } = run.config.budget;
    const field = (name, label, value, step) => html`<label class="field"><span>${label}</span><input name=${name} type="number" min="0"
      step=${step} required .defaultValue=${String(value)}></label>`;
    return html`<section class="notice notice-warning" aria-labelledby="budget-title"><h2 id="budget-title">The budget is used up</h2>
      <form class="row" @submit=${this.raise}>
        ${Object.entries(costs ?? {}).map(([currency, value]) => field(currency, `At most, in ${currency}`, value, "any"))}
        ${attempts === null || attempts === undefined ? nothing : field("attempts", "Attempts at most", attempts, "1")}
        <button class="button button-primary" aria-disabled=${this.busy}>Set the budget and resume</button>
      </form>${this.error ? errorNotice(this.error) : nothing}</section>`;
  }

  raise = async (event) => {
    event.preventDefault();
    const { reader } = this;
    const { attempts, ...costs } = Object.fromEntries(new FormData(event.target));
    const budget = { ...reader.run.config.budget, max_cost: costs, ...(attempts === undefined ? {} : { max_attempts: Number(attempts) }) };
    await whileBusy(this, this.onChange, async () => {
      await send("PATCH", reader.path, { body: { config: { budget } } });
      await send("POST", `${reader.path}/resume`);
      announce("The budget is set, and the run goes on.");
    });
    await reader.read();
  };
}

/** "$3.20 of $5.00 ($0.40 reserved)". */
function partText({ spent, reserved, maximum }, text, unit = "") {
  return `${text(spent)}${maximum === null ? "" : ` of ${text(maximum)}`}${unit}${reserved ? ` (${text(reserved)} reserved)` : ""}`;
}
