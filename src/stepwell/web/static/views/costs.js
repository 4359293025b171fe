// The view "Costs": what attempts at providers have cost, and what reuse has saved, by day, provider, model, definition and tenant.
// The period and the filter are in the URL.
import { getJson, isAbort } from "../lib/api.js";
import { announce, emptyState, errorNotice, html, loading, nothing, render } from "../lib/dom.js";
import { amount, number, plural } from "../lib/format.js";
import { dayChart } from "./costs/day_chart.js";
import { dayBefore, dayNames, daysAgo, readPeriod, writePeriod } from "./costs/period.js";

const PRESETS = [7, 30, 90, 365];
const NO_TENANT = "without a tenant";
const DELETED = "deleted attempts"; // whose results were taken over
const KEYS = [
  { by: ["provider"], title: "Providers", name: (group) => group.provider || DELETED },
  { by: ["provider", "model"], title: "Models", name: (group) => (group.provider ? `${group.model} (${group.provider})` : DELETED) },
  { by: ["definition"], title: "Definitions", name: (group) => group.definition ?? "without a stored definition" },
  { by: ["tenant"], title: "Tenants", name: (group) => group.tenant ?? NO_TENANT, everyTenant: true },
];

export default async function mount(element, context) {
  const keys = KEYS.filter((each) => context.everyTenant || !each.everyTenant);
  const state = { period: readPeriod(location.search), sums: null, error: null, busy: false };
  let requests = new AbortController();
  const draw = () => render(view(state, keys, go, load), element);

  async function load() {
    requests.abort();
    requests = new AbortController();
    const { signal } = requests;
    state.busy = true;
    draw();
    try {
      const read = async (by) => (await getJson("/costs", { query: { ...state.period, by: by.join(",") }, signal })).costs;
      const [total, days, ...groups] = await Promise.all([read([]), read(["day"]), ...keys.map(({ by }) => read(by))]);
      Object.assign(state, { sums: { total, days, groups }, error: null });
      announce("The costs are shown.");
    } catch (error) {
      if (isAbort(error)) return;
      Object.assign(state, { sums: null, error });
    }
    state.busy = false;
    draw();
  }

  function go(period) {
    state.period = period;
    history.pushState(null, "", `/ui/costs${writePeriod(period)}`);
    return load();
  }

  addEventListener("popstate", () => {
    state.period = readPeriod(location.search);
    load();
  });
  await load();
}

function view({ period, sums, error, busy }, keys, go, retry) {
  return html`
    <div class="view-header"><h1>Costs</h1>${periodForm(period, go)}</div>
    <div class="stack" aria-busy=${busy}>
      ${error ? errorNotice(error, retry) : sums === null ? loading() : sums.total.length ? content(sums, keys, period)
        : emptyState("Nothing has cost anything in this time.", html`<p>Only attempts whose cost is known count: the
          provider reports it, or <code>STEPWELL_PRICES</code> has a price. LOCAL costs nothing.</p>
          <p><a href="/manual/providers">The manual about prices</a></p>`)}
    </div>`;
}

function periodForm(period, go) {
  const change = (event) => {
    const { form } = event.currentTarget;
    const { from, through, definition } = form.elements;
    if (form.reportValidity()) go({ from: from.value, to: dayBefore(through.value, -1), definition: definition.value.trim() });
  };
  return html`<form class="period" aria-label="Period" @submit=${(event) => event.preventDefault()}>
    <div class="row">${PRESETS.map((days) => html`<button type="button" class="button period-preset"
      aria-pressed=${period.from === daysAgo(days - 1) && period.to === daysAgo(-1)}
      @click=${() => go({ ...period, from: daysAgo(days - 1), to: daysAgo(-1) })}>${days} days</button>`)}</div>
    <label class="period-field">From <input type="date" name="from" required max=${dayBefore(period.to, 1)}
      .value=${period.from} @change=${change}></label>
    <label class="period-field">to <input type="date" name="through" required min=${period.from}
      .value=${dayBefore(period.to, 1)} @change=${change}></label>
    <span class="dim">UTC</span>
    <label class="period-field">Definition <input name="definition" size="12" placeholder="all" .value=${period.definition} @change=${change}></label>
  </form>`;
}

function content({ total, days, groups }, keys, period) {
  return html`
    <div class="totals">${total.map((sum) => html`<section class="card total" aria-label=${`Total in ${sum.currency}`}>
      <p class="total-amount number">${amount(sum.amount, sum.currency)}</p>
      <p class="dim">${plural(sum.attempts, "attempt")} · ${sum.currency}</p>
      ${sum.saved ? html`<p>${amount(sum.saved, sum.currency)} saved by reuse</p>` : nothing}</section>`)}</div>
    ${total.map(({ currency }) => dayChart(currency, days.filter((each) => each.currency === currency), dayNames(period)))}
    <div class="cost-tables">${keys.map((key, i) => groupTable(key, groups[i], total))}</div>
    <p class="dim">Attempts whose cost isn't known don't count. A cost counts on the day (UTC) on which its attempt ended.</p>`;
}

function groupTable({ title, name }, groups, total) {
  const whole = new Map(total.map((sum) => [sum.currency, sum.amount]));
  const saves = total.some((sum) => sum.saved);
  const sorted = [...groups].sort((a, b) => a.currency.localeCompare(b.currency) || b.amount - a.amount);
  return html`<section class="card" aria-label=${title}><h2>${title}</h2>
    ${sorted.length ? html`<table class="cost-table">
      <thead><tr><th scope="col">Name</th><th scope="col" class="number">Cost</th><th scope="col" class="number">Percentage</th>
        <th scope="col" class="number">Attempts</th>${saves ? html`<th scope="col" class="number">Saved</th>` : nothing}</tr></thead>
      <tbody>${sorted.map((group) => {
        const percentage = whole.get(group.currency) ? (100 * group.amount) / whole.get(group.currency) : 0;
        return html`<tr><th scope="row" class="break">${name(group)}</th>
          <td class="number">${amount(group.amount, group.currency)}</td>
          <td class="number percentage"><progress max="100" .value=${percentage} aria-hidden="true"></progress>
            <span>${number(Math.round(percentage * 10) / 10)}%</span></td>
          <td class="number">${number(group.attempts)}</td>
          ${saves ? html`<td class="number">${amount(group.saved, group.currency)}</td>` : nothing}</tr>`;
      })}</tbody></table>` : nothing}
  </section>`;
}
