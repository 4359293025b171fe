// The list of a run's steps, beside the graph: for keyboards and screen readers, and for those who prefer a list.
import { html, nothing } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";
import { stepBadge } from "../../lib/status.js";
import { groupName } from "./layout.js";

const MOST_FOUND = 200;
const LONG = 100; // rows: of such a list the browser draws only what can be seen

/** The steps whose name contains *term*, as buttons that open a step. Up, Down, Home and End move between them.
 *
 *  *groups* (null in a small graph) are shown as buttons that open and close them while there is no term.
 */
export function stepList(steps, { term = "", open, selected = null, groups = null, openGroup = null, toggleGroup }) {
  if (groups && !term) return groupList(steps, { open, selected, groups, openGroup, toggleGroup });
  const wanted = term.toLowerCase();
  const found = wanted ? steps.filter((step) => step.step_id.toLowerCase().includes(wanted)) : steps;
  const shown = groups ? found.slice(0, MOST_FOUND) : found;
  if (!shown.length) return html`<p class="dim step-none">No step has “${term}” in its name.</p>`;
  return html`${rows(shown, open, selected)}${found.length > shown.length
    ? html`<p class="dim step-none">And ${found.length - shown.length} more: type more of the name.</p>` : nothing}`;
}

function rows(steps, open, selected) {
  const current = steps.some((step) => step.step_id === selected) ? selected : steps[0].step_id;
  return html`<ul class="step-list ${steps.length > LONG ? "step-list-long" : ""}" aria-label="Steps" @keydown=${onKey}>${steps.map((step) => html`<li>
    <button type="button" class="step-row" data-step=${step.step_id} tabindex=${step.step_id === current ? 0 : -1}
      aria-current=${step.step_id === selected} @click=${() => open(step.step_id)}>
      <span class="truncate" title=${step.step_id}>${step.step_id}</span>${stepBadge(step)}</button></li>`)}</ul>`;
}

function groupList(steps, { open, selected, groups, openGroup, toggleGroup }) {
  return html`<ul class="step-list" aria-label="Groups of steps">${groups.map((group) => html`<li>
    <button type="button" class="step-row" aria-expanded=${group === openGroup} @click=${() => toggleGroup(group)}>
      <span>${groupName(group)}</span><span class="dim nowrap">${plural(group.count, "step")}</span></button>
    ${group === openGroup ? rows(group.layers.flat().map((i) => steps[i]), open, selected) : nothing}</li>`)}</ul>`;
}

function onKey(event) {
  const all = [...event.currentTarget.querySelectorAll(".step-row")];
  const at = all.indexOf(event.target);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || next === undefined || !all[next]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
}
