// The list of a run's steps, beside the graph: for keyboards and screen readers, and for those who prefer a list.
import { html, nothing } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";
import { stepBadge } from "../../lib/status.js";
import { canOpen, nestedName } from "./graph_part.js";
import { groupName } from "./layout.js";

const MOST_FOUND = 200;
const LONG = 100; // rows: of such a list the browser draws only what can be seen

/** The steps of *root* (see graph_part.js) whose name contains *term*, as buttons that open a step. Up, Down, Home and End move
 *  between them. Below a step whose node is open are those that it contains.
 *
 *  *open(id, part)* opens a step, *toggle(part, step)* its node. *groups* (null in a small graph) are shown as buttons that open and
 *  close them while there is no term.
 */
export function stepList(root, options) {
  const { term, groups } = options;
  const { steps } = root;
  if (groups && !term) return groupList(root, options);
  const wanted = term.toLowerCase();
  const matches = wanted ? steps.filter((step) => step.step_id.toLowerCase().includes(wanted)) : steps;
  const shown = groups ? matches.slice(0, MOST_FOUND) : matches;
  if (!shown.length) return html`<p class="dim step-none">No step has “${term}” in its name.</p>`;
  return html`${rows(root, shown, options)}${matches.length > shown.length
    ? html`<p class="dim step-none">And ${matches.length - shown.length} more: type more of the name.</p>` : nothing}`;
}

function rows(part, steps, options) {
  const { selected, isInner = false } = options;
  const current = steps.some((step) => step.step_id === selected) ? selected : steps[0].step_id;
  return html`<ul class="step-list ${steps.length > LONG ? "step-list-long" : ""}" aria-label=${isInner ? "Contained steps" : "Steps"}
    @keydown=${isInner ? null : onKey}>${steps.map((step) => row(part, step, !isInner && step.step_id === current, options))}</ul>`;
}

function row(part, step, isCurrent, options) {
  if (step.note) return html`<li class="dim step-none">${step.step_id || part.source.text}</li>`;
  const inner = part.open.get(step.step_id);
  const toggle = () => options.toggle(part, step);
  return html`<li>
    <div class="step-row-frame"><button type="button" class="step-row" data-step=${step.step_id} tabindex=${isCurrent ? 0 : -1}
      aria-current=${!options.isInner && step.step_id === options.selected}
      @click=${() => (step.task_type ? options.open(step.step_id, part) : toggle())}>
      <span class="truncate" title=${step.step_id}>${step.step_id}</span>${stepBadge(step)}</button>${canOpen(step)
        ? html`<button type="button" class="icon-button" aria-expanded=${inner ? "true" : "false"} aria-label=${nestedName(step)}
          title=${nestedName(step)} @click=${toggle}>${inner ? "−" : "+"}</button>` : nothing}</div>
    ${inner ? rows(inner, inner.steps, { ...options, isInner: true }) : nothing}</li>`;
}

function groupList(root, options) {
  const { groups, openGroup, toggleGroup } = options;
  return html`<ul class="step-list" aria-label="Groups of steps">${groups.map((group) => html`<li>
    <button type="button" class="step-row" aria-expanded=${group === openGroup} @click=${() => toggleGroup(group)}>
      <span>${groupName(group)}</span><span class="dim nowrap">${plural(group.count, "step")}</span></button>
    ${group === openGroup ? rows(root, group.layers.flat().map((i) => root.steps[i]), options) : nothing}</li>`)}</ul>`;
}

function onKey(event) {
  const all = [...event.currentTarget.querySelectorAll(".step-row")];
  const at = all.indexOf(event.target);
  const toggle = event.target.nextElementSibling;
  if (at >= 0 && toggle && { ArrowRight: "false", ArrowLeft: "true" }[event.key] === toggle.ariaExpanded) toggle.click();
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || next === undefined || !all[next]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
}
