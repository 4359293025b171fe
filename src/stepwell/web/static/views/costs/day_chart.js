// The chart of the costs by day in one currency: a bar for each day, and the same numbers as a table.
import { html, nothing, svg } from "../../lib/dom.js";
import { amount, number } from "../../lib/format.js";

const HEIGHT = 120;
const LEAST = 1.5; // a day that has a cost has a bar that can be seen

/** *sums*: the API's groups by day, in *currency*. *days*: the dates of all bars. */
export function dayChart(currency, sums, days) {
  const byDay = new Map(sums.map((sum) => [sum.day, sum]));
  const most = Math.max(...sums.map((sum) => sum.amount), 0);
  const gap = days.length > 120 ? 0 : 0.2;
  const bar = (day, i) => {
    const sum = byDay.get(day);
    if (!sum || !most) return nothing;
    const height = sum.amount > 0 ? Math.max(LEAST, (HEIGHT * sum.amount) / most) : 0;
    return svg`<rect class="bar" x=${i + gap / 2} y=${HEIGHT - height} width=${1 - gap} height=${height}>
      <title>${day}: ${amount(sum.amount, currency)}</title></rect>`;
  };
  return html`<section class="card" aria-label=${`Costs by day in ${currency}`}>
    <div class="chart-header"><h2>By day, in ${currency}</h2>
      <span class="dim">at most <span class="number">${amount(most, currency)}</span> a day</span></div>
    <svg class="chart" viewBox=${`0 0 ${days.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      ${days.map(bar)}</svg>
    <div class="chart-axis number dim"><span>${days[0]}</span><span>${days.at(-1)}</span></div>
    <details><summary>As a table</summary><table class="day-table">
      <thead><tr><th scope="col">Day</th><th scope="col" class="number">Cost</th><th scope="col" class="number">Attempts</th></tr></thead>
      <tbody>${[...sums].reverse().map((sum) => html`<tr><td>${sum.day}</td>
        <td class="number">${amount(sum.amount, currency)}</td><td class="number">${number(sum.attempts)}</td></tr>`)}</tbody>
    </table></details>
  </section>`;
}
