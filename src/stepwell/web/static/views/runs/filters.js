// The filters of the Runs view: the switches of statuses with their counts, the form, and the chips of what is set.
import { html, icon, nothing } from "../../lib/dom.js";
import { compact, dateTime, number } from "../../lib/format.js";
import { statusText, waitText, WORKFLOW_STATUSES } from "../../lib/status.js";
import {
  activeFilters, changed, NEWEST_FIRST, OLDEST_FIRST, PAGE_SIZES, without, withoutFilters, writeQuery,
} from "./query.js";

const LABEL = /^[A-Za-z0-9._/-]{1,63}:/;

/** A link for each status that adds it to the filter or removes it. *counts*: by status, null until they are known. */
export function statusSwitches(query, counts, onNavigate) {
  const all = counts ? Object.values(counts).reduce((sum, each) => sum + each, 0) : null;
  return html`<div class="status-switches" role="group" aria-label="Status">
    ${statusSwitch("All", all, query.status.length === 0, changed(query, { status: [] }), "", onNavigate)}
    ${WORKFLOW_STATUSES.map((status) => {
      const pressed = query.status.includes(status);
      const next = pressed ? query.status.filter((each) => each !== status) : [...query.status, status];
      const kind = `status-${status.toLowerCase()}`;
      return statusSwitch(statusText(status), counts?.[status], pressed, changed(query, { status: next }), kind, onNavigate);
    })}
  </div>`;
}

function statusSwitch(text, count, pressed, target, kind, onNavigate) {
  return html`<a class=${`status-switch ${kind}`} href=${`/ui${writeQuery(target)}`} role="button"
    aria-pressed=${pressed ? "true" : "false"} @click=${onNavigate} @keydown=${pressBySpace}>
    <span class="status-switch-text">${text}</span>
    <span class="status-switch-count" title=${count === null || count === undefined ? "" : number(count)}>${
      count === null || count === undefined ? "·" : compact(count)}</span>
  </a>`;
}

/** A link that acts as a button must do so by the space bar, too. */
function pressBySpace(event) {
  if (event.key !== " ") return;
  event.preventDefault();
  event.currentTarget.click();
}

/** The form. *onChange* gets the next state, and whether it is one of a text being typed. */
export function filterForm(query, { everyTenant, open, onToggle, onChange }) {
  const set = (changes, typing = false) => onChange(changed(query, changes), typing);
  const count = activeFilters(query).length;
  return html`<form class="filters" role="search" aria-label="Runs" @submit=${(event) => event.preventDefault()}>
    <div class="filters-main">
      <label class="field filters-name"><span class="visually-hidden">Name begins with</span>
        <input type="search" name="name" placeholder="Name begins with…" autocomplete="off" maxlength="255"
          .value=${query.name} @input=${(event) => set({ name: event.target.value }, true)}></label>
      <label class="field filters-order"><span class="visually-hidden">Order</span>
        <select name="order" @change=${(event) => set({ order: event.target.value })}>
          <option value=${NEWEST_FIRST} .selected=${query.order === NEWEST_FIRST}>Newest first</option>
          <option value=${OLDEST_FIRST} .selected=${query.order === OLDEST_FIRST}>Oldest first</option>
        </select></label>
      <button type="button" class="button" aria-expanded=${open ? "true" : "false"} aria-controls="more-filters"
        @click=${onToggle}>${icon("filter")}Filters${count ? html` <span class="count">${count}</span>` : nothing}</button>
    </div>
    <div id="more-filters" class="card filters-more" ?hidden=${!open}>
      <label class="field"><span>Label</span>
        <input name="label" placeholder="key:value" autocomplete="off" aria-describedby="label-help"
          @keydown=${(event) => event.key === "Enter" && addLabel(event.target, query, set)}
          @change=${(event) => addLabel(event.target, query, set)}>
        <small id="label-help" class="dim">Enter adds it. Runs must have all labels.</small></label>
      <label class="field"><span>Waits for</span>
        <select name="waits_for" @change=${(event) => set({ waits_for: event.target.value })}>
          ${["", "decision", "signal", "delay"].map((kind) => html`
            <option value=${kind} .selected=${kind === query.waits_for}>${kind === "" ? "–" : waitText(kind)}</option>`)}
        </select></label>
      ${text(query, set, "definition", "Definition", "name or name@version")}
      ${text(query, set, "origin_instance", "Instance")}
      ${text(query, set, "origin_reference", "Reference")}
      ${text(query, set, "origin_zone", "Zone")}
      ${everyTenant ? text(query, set, "origin_tenant_id", "Tenant") : nothing}
      ${time(query, set, "created_after", "Created after")}
      ${time(query, set, "created_before", "Created before")}
      <label class="field"><span>Runs per page</span>
        <select name="limit" @change=${(event) => set({ limit: Number(event.target.value) })}>
          ${[...new Set([...PAGE_SIZES, query.limit])].sort((a, b) => a - b).map((size) => html`
            <option value=${size} .selected=${size === query.limit}>${size}</option>`)}
        </select></label>
      <label class="filters-check"><input type="checkbox" name="include_deleted" .checked=${query.include_deleted}
        @change=${(event) => set({ include_deleted: event.target.checked })}> With deleted runs</label>
      <label class="filters-check"><input type="checkbox" name="include_children" .checked=${query.include_children}
        @change=${(event) => set({ include_children: event.target.checked })}> With sub-workflows</label>
    </div>
  </form>`;
}

function text(query, set, name, label, example = "") {
  return html`<label class="field"><span>${label}</span><input name=${name} autocomplete="off" maxlength="255" placeholder=${example}
    .value=${query[name]} @change=${(event) => set({ [name]: event.target.value })}></label>`;
}

function time(query, set, name, label) {
  return html`<label class="field"><span>${label}</span><input type="datetime-local" name=${name} step="1"
    .value=${toLocal(query[name])} @change=${(event) => set({ [name]: fromLocal(event.target.value) })}></label>`;
}

function addLabel(input, query, set) {
  const label = input.value.trim();
  if (!label) return;
  const valid = LABEL.test(label);
  input.setAttribute("aria-invalid", valid ? "false" : "true");
  input.setCustomValidity(valid ? "" : "Write key:value. The key has 1 to 63 of A-Z a-z 0-9 . _ / -");
  if (!valid) {
    input.reportValidity();
    return;
  }
  input.value = "";
  set({ label: [...new Set([...query.label, label])] });
}

/** A time with an offset as the value of an input for local times; "" if it is none. */
function toLocal(value) {
  const date = new Date(value);
  if (!value || Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function fromLocal(value) {
  return value ? new Date(value).toISOString().replace(".000Z", "Z") : "";
}

/** The filters that are set, each with a button that removes it. */
export function filterChips(query, onChange) {
  const active = activeFilters(query);
  if (!active.length && !query.status.length) return nothing;
  return html`<div class="filter-chips">
    ${active.map((filter) => {
      const value = filter.name.startsWith("created_") ? dateTime(filter.value) : filter.value;
      const label = filter.value === "" ? filter.text : `${filter.text}: ${value}`;
      return html`<span class="chip"><span class="truncate">${label}</span><button type="button" class="chip-remove"
        aria-label=${`Remove the filter ${label}`} @click=${() => onChange(without(query, filter))}>${icon("close")}</button></span>`;
    })}
    <button type="button" class="button button-plain" @click=${() => onChange(withoutFilters(query))}>Clear filters</button>
  </div>`;
}
