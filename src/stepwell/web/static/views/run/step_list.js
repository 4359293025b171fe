// The list of a run's steps, beside the graph: for keyboards and screen readers, and for those who prefer it.
import { html } from "../../lib/dom.js";
import { statusBadge } from "../../lib/status.js";

/** The steps as buttons, which open a step. Up, Down, Home and End move between them. */
export function stepList(steps, { open, selected = null }) {
  const current = steps.some((step) => step.step_id === selected) ? selected : steps[0]?.step_id;
  return html`<ul class="step-list" aria-label="Steps" @keydown=${onKey}>${steps.map((step) => html`<li>
    <button type="button" class="step-row" data-step=${step.step_id} tabindex=${step.step_id === current ? 0 : -1}
      aria-current=${step.step_id === selected} @click=${() => open(step.step_id)}>
      <span class="truncate">${step.step_id}</span>${statusBadge(step.status)}</button></li>`)}</ul>`;
}

function onKey(event) {
  const rows = [...event.currentTarget.querySelectorAll(".step-row")];
  const at = rows.indexOf(event.target);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (at < 0 || next === undefined || !rows[next]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  rows[next].tabIndex = 0;
  rows[next].focus();
}
