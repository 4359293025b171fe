// The header of a run's view: its name, status, progress, cost, times, labels and error.
import { html, nothing } from "../../lib/dom.js";
import { dateTime, durationBetween, money, number, plural } from "../../lib/format.js";
import { progressBar, statusBadge } from "../../lib/status.js";

const MOST_ERRORS = 5;
const MOST_LABELS = 6; // the others are shown on request

/** The header. *actions* is a template with the buttons. */
export function runHeader(run, { everyTenant = false, actions = nothing } = {}) {
  return html`
    <nav class="run-path" aria-label="Path"><a href="/ui">Runs</a> <span aria-hidden="true">/</span>
      <span class="mono break">${run.id}</span></nav>
    <div class="view-header run-header">
      <h1 class="break">${run.name}</h1>
      <span class="row">${statusBadge(run.status)}${run.is_deleted
        ? html`<span class="badge badge-plain" title=${`Deleted: ${dateTime(run.deleted_at)}`}>Cleaned up</span>` : nothing}</span>
      ${actions}
    </div>
    ${run.description ? html`<p class="run-description break">${run.description}</p>` : nothing}
    <dl class="run-facts">${facts(run, everyTenant).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${labels(run)}
    ${failure(run)}`;
}

function facts(run, everyTenant) {
  const found = [["Progress", html`<span class="row">${progressBar(run)}
    <span class="dim">${number(run.completed_steps)} of ${number(run.total_steps)}</span></span>`]];
  const cost = money(run.cost);
  if (cost !== "–") found.push(["Cost", cost]);
  if (run.started_at) found.push(["Duration", durationBetween(run.started_at, run.completed_at)]);
  found.push(["Created", time(run.created_at)]);
  if (run.started_at) found.push(["Started", time(run.started_at)]);
  if (run.completed_at) found.push(["Ended", time(run.completed_at)]);
  found.push(["From", html`<span class="break">${[run.origin_instance, run.origin_zone].filter(Boolean).join(" · ")}</span>`]);
  if (run.parent) {
    const item = run.parent.item === null ? "" : `, item ${run.parent.item}`;
    found.push(["Run by", html`<a class="break" href=${`/ui/workflows/${run.parent.workflow_id}`}>step ${run.parent.step_id}${item}</a>`]);
  }
  if (run.origin_reference) found.push(["Reference", html`<span class="break">${run.origin_reference}</span>`]);
  if (everyTenant && run.origin_tenant_id) found.push(["Tenant", html`<span class="break">${run.origin_tenant_id}</span>`]);
  return found;
}

function time(text) {
  return html`<time datetime=${text}>${dateTime(text)}</time>`;
}

function labels(run) {
  const all = Object.entries(run.labels ?? {});
  if (!all.length) return nothing;
  const others = all.slice(MOST_LABELS);
  return html`<div class="run-labels" aria-label="Labels" role="group">${labelLinks(all.slice(0, MOST_LABELS))}
    ${others.length ? html`<details><summary>${plural(others.length, "more label")}</summary>${labelLinks(others)}</details>` : nothing}</div>`;
}

function labelLinks(labels) {
  const address = (key, value) => `/ui?${new URLSearchParams({ label: `${key}:${value}` })}`;
  return html`<div class="chips">${labels.map(([key, value]) => html`<a class="chip"
    href=${address(key, value)} title="Runs with this label"><span class="truncate">${key}:${value}</span></a>`)}</div>`;
}

function failure(run) {
  const errors = run.errors ?? [];
  if (!run.error_message && !errors.length) return nothing;
  const more = errors.length - MOST_ERRORS;
  const ofOptional = !run.error_message;
  return html`<div class="notice ${ofOptional ? "notice-warning" : "notice-error"} run-failure" role="group"
    aria-label=${ofOptional ? "Errors of optional steps" : "Error of the run"}>
    ${ofOptional ? html`<p>Optional steps have failed. The run doesn't need them.</p>`
      : html`<p><strong>${run.error_message}</strong></p>`}
    ${errors.length && errors[0] !== run.error_message
      ? html`<ul>${errors.slice(0, MOST_ERRORS).map((each) => html`<li>${each}</li>`)}</ul>` : nothing}
    ${more > 0 ? html`<p class="dim">And ${more} more: see the steps.</p>` : nothing}
  </div>`;
}
