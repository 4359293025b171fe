// What a plan of the API says: the price and the order of the steps.
import { html, nothing } from "./dom.js";
import { amount, duration, number, plural } from "./format.js";

// What becomes of the steps of a run that takes over results of an earlier one.
const FORECASTS = {
  reused: ["takes over its result", "take over their results"],
  runs: ["runs", "run"],
  depends: ["runs if its inputs change", "run if their inputs change"],
  skipped: ["is skipped", "are skipped"],
};
const MOST_GONE = 5;

/** The plan of the API: its price, and its layers. *action* stands below the price. */
export function planPanel(plan, action = nothing) {
  return html`<section class="card" aria-label="Price"><h2>Price</h2>${priceText(plan.price)}${budgetText(plan.budget)}${forecastView(plan)}${action}</section>
    <section class="card" aria-label="Order of the steps"><h2>Order</h2>
      <p class="dim">${plan.runs.least < plan.runs.most ? `${number(plan.runs.least)} to ` : nothing}${
        plural(plan.steps.length, "step")} in ${plural(plan.layers.length, "layer")}; the longest chain has
        ${plural(plan.critical_path.length, "step")}${plan.critical_path_s === null ? nothing
          : html`, and takes about ${duration(plan.critical_path_s * 1000)}`}.</p>
      ${layers(plan)}</section>`;
}

function priceText({ known_least: least, known, unknown_steps: unknown, worst_case: worst }) {
  const [from, to] = [sumText(least), sumText(known)];
  return html`<p class="plan-price number">${from === to ? to || (unknown ? "Not known" : "Free") : `${from || "0"} to ${to}`}</p>
    ${unknown ? html`<p class="dim">The price of ${plural(unknown, "step")} isn't known: <code>STEPWELL_PRICES</code> sets prices.</p>` : nothing}
    ${worst && worst.amount > 0 ? html`<p class="dim">At most ${amount(worst.amount, worst.currency)}, if every attempt is made and paid for.</p>` : nothing}`;
}

function budgetText(budget) {
  if (!budget) return nothing;
  return html`<p class="dim">${budget.fits ? "The worst case fits into the budget" : "The worst case doesn't fit into the budget"}${
    budget.unknown_steps ? ", if unknown prices are 0" : ""}.</p>`;
}

/** How many steps take over their results, and how many run; nothing for a run that takes over none. */
function forecastView({ steps, gone = [] }) {
  const counts = Object.entries(FORECASTS).map(([name, texts]) => [steps.filter((step) => step.forecast === name).length, texts])
    .filter(([count]) => count);
  return html`${counts.length ? html`<ul class="plan-forecast" aria-label="Results">${counts.map(([count, [one, many]]) => html`<li>${
    plural(count, "step")} ${count === 1 ? one : many}</li>`)}</ul>` : nothing}
    ${gone.length ? html`<p class="dim break">Steps run because files of the earlier run are gone: ${gone.slice(0, MOST_GONE).join(", ")}${
      gone.length > MOST_GONE ? " and others" : ""}</p>` : nothing}`;
}

function sumText(sums) {
  return sums.filter((each) => each.amount).map((each) => amount(each.amount, each.currency)).join(" + ");
}

const MOST_STEPS = 200;

function layers(plan) {
  const steps = new Map(plan.steps.map((step) => [step.step_id, step]));
  const critical = new Set(plan.critical_path);
  let room = MOST_STEPS;
  return html`<ol class="layers">${plan.layers.map((ids) => {
    const shown = ids.slice(0, Math.max(0, room));
    room -= shown.length;
    return html`<li><ul class="layer">${shown.map((id) => planStep(steps.get(id), critical.has(id)))}
      ${shown.length < ids.length ? html`<li class="dim">${number(ids.length - shown.length)} more</li>` : nothing}</ul></li>`;
  })}</ol>`;
}

function planStep(step, critical) {
  const { forecast, forecast_items: items } = step;
  const facts = [
    forecast && FORECASTS[forecast]?.[0],
    items && `${plural(items.reused, "item")} taken over, ${number(items.runs)} to run`,
    step.provider && [step.provider, step.model].filter(Boolean).join(" · "),
    step.price && (step.price.amount ? amount(step.price.amount, step.price.currency) : null),
    step.items && (step.items.least === step.items.most ? plural(step.items.most, "item")
      : `${number(step.items.least)} to ${plural(step.items.most, "item")}`),
    step.repeat && step.repeat.max > 1 && `1 to ${step.repeat.max} runs`,
    step.uncertain && (step.when ? "if its condition is true" : "if a condition is true"),
    step.expected_s < 0.001 ? null : `about ${duration(step.expected_s * 1000)}`,
  ].filter(Boolean);
  return html`<li class="layer-step ${critical ? "layer-critical" : ""} ${forecast === "reused" ? "layer-reused" : ""}" title=${critical ? "On the longest chain" : ""}>
    <strong class="break">${step.step_id}</strong> <span class="mono dim">${step.task_type}</span>
    ${facts.length ? html`<div class="dim small break">${facts.join(", ")}</div>` : nothing}</li>`;
}
