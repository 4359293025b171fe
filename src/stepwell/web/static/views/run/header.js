// The head of a run's view: its path, name, status, buttons and facts, in three lines of a wide screen; and its errors.
import { copyButton } from "../../lib/copy.js";
import { factRows, html, nothing } from "../../lib/dom.js";
import { amount, dateTime, durationBetween, money, number, plural, shortId, shortTime } from "../../lib/format.js";
import { progressBar, statusBadge, statusText, waitText } from "../../lib/status.js";
import { sentenceView } from "./reasons.js";

const MOST_ERRORS = 5;
const MOST_LABELS = 3; // the others are shown on request
const NOT_COMPLETED = ["FAILED", "SKIPPED", "CANCELLED"];

/** The head. *actions* is a template with the buttons, and *more* are further facts. */
export function runHeader(run, { everyTenant = false, actions = nothing, more = [] } = {}) {
  return html`<header class="run-head">
    ${path(run)}
    <div class="run-header">
      <h1 title=${run.name}>${run.name}</h1>
      ${statusBadge(run.status)}${run.waits_for ? html`<span class="run-wait">${waitText(run.waits_for)}</span>` : nothing}${run.is_deleted
        ? html`<span class="badge badge-plain" title=${`Deleted: ${dateTime(run.deleted_at)}`}>Cleaned up</span>` : nothing}
      ${actions}
    </div>
    <div class="run-line">
      <dl class="run-facts">${factRows(facts(run, more))}</dl>
      ${labels(run)}
      ${run.description ? html`<p class="run-description truncate" title=${run.description}>${run.description}</p>` : nothing}
      <details class="run-more"><summary>Details</summary><dl class="facts">${factRows(moreFacts(run, everyTenant))}</dl></details>
    </div>
  </header>`;
}

/** The way to the run: the list, the run and the step that runs it, if there is one, and its id. */
function path(run) {
  const { parent } = run;
  const step = parent && `${parent.step_id}${parent.item === null ? "" : ` / item ${parent.item}`}`;
  return html`<nav class="run-path" aria-label="Path"><a href="/ui">Runs</a> <span aria-hidden="true">/</span>
    ${parent ? html`<a class="truncate" href=${`/ui/workflows/${parent.workflow_id}`} title="The run that this one is part of">${
      shortId(parent.workflow_id)} / ${step}</a> <span aria-hidden="true">/</span>` : nothing}
    <span class="mono" title=${run.id}>${shortId(run.id)}</span>${copyButton(run.id, "Copy the id of the run")}</nav>`;
}

function facts(run, more) {
  const others = NOT_COMPLETED.map((status) => [status, run.steps?.filter((step) => step.status === status).length]).filter(([, count]) => count);
  const counts = [`${number(run.completed_steps)} of ${plural(run.total_steps, "step")}`,
    ...others.map(([status, count]) => `${number(count)} ${statusText(status).toLowerCase()}`)].join(", ");
  const entries = [["Progress", progressBar(run, counts)]];
  const cost = money(run.cost);
  if (cost !== "–") entries.push(["Cost", cost]);
  const saved = savedText(run.steps ?? []);
  if (saved) entries.push(["Saved", saved]);
  entries.push(...more);
  if (run.started_at) entries.push(["Duration", durationBetween(run.started_at, run.completed_at)]);
  entries.push(["Created", html`<time datetime=${run.created_at} title=${dateTime(run.created_at)}>${shortTime(run.created_at)}</time>`]);
  return entries;
}

/** What the results that the *steps* have taken over cost then; "" without any. */
function savedText(steps) {
  const sums = new Map();
  for (const { saved } of steps) if (saved?.amount) sums.set(saved.currency, (sums.get(saved.currency) ?? 0) + saved.amount);
  return [...sums].map(([currency, sum]) => amount(sum, currency)).join(" + ");
}

function moreFacts(run, everyTenant) {
  return [
    ["Id", html`<span class="mono">${run.id}</span>`],
    ["Created", dateTime(run.created_at)],
    ["Started", run.started_at && dateTime(run.started_at)],
    ["Ended", run.completed_at && dateTime(run.completed_at)],
    ["Run again from", run.derived_from && html`<a class="mono" href=${`/ui/workflows/${run.derived_from}`}>${run.derived_from}</a>`],
    ["Definition", run.definition && html`<a href=${`/ui/definitions/${run.definition.name}?${new URLSearchParams({
      version: run.definition.version, ...(everyTenant && run.origin_tenant_id ? { origin_tenant_id: run.origin_tenant_id } : {}),
    })}`}>${run.definition.name}@${run.definition.version}</a>`],
    ["From", [run.origin_instance, run.origin_zone].filter(Boolean).join(" · ")],
    ["Reference", run.origin_reference],
    ["Tenant", everyTenant && run.origin_tenant_id],
    ["Labels", Object.keys(run.labels ?? {}).length > MOST_LABELS && labelLinks(Object.entries(run.labels).slice(MOST_LABELS))],
  ].filter(([, value]) => value);
}

function labels(run) {
  const all = Object.entries(run.labels ?? {});
  if (!all.length) return nothing;
  const openDetails = ({ currentTarget }) => { currentTarget.closest("header").querySelector("details").open = true; };
  return html`<div class="run-labels" aria-label="Labels" role="group">${labelLinks(all.slice(0, MOST_LABELS))}${all.length > MOST_LABELS
    ? html`<button type="button" class="link-button" @click=${openDetails}>${plural(all.length - MOST_LABELS, "more label")}</button>` : nothing}</div>`;
}

function labelLinks(labels) {
  const address = (key, value) => `/ui?${new URLSearchParams({ label: `${key}:${value}` })}`;
  return html`<span class="chips">${labels.map(([key, value]) => html`<a class="chip"
    href=${address(key, value)} title=${`Runs with the label ${key}:${value}`}><span class="truncate">${key}:${value}</span></a>`)}</span>`;
}

/** The errors of the run. Each step that has failed for good repeats its error, and opens by *open*. */
export function failureNotice(run, open) {
  const errors = run.errors ?? [];
  if (!run.error_message && !errors.length) return nothing;
  const failed = new Map((run.steps ?? []).filter((step) => step.status === "FAILED").map((step) => [`${step.step_id}: ${step.error_message}`, step]));
  const ofOptional = !run.error_message;
  const lines = errors.map((error) => {
    const step = failed.get(error);
    return step ? html`<button type="button" class="link-button" @click=${() => open(step.step_id)}>${step.step_id}</button>: ${sentenceView(step.error_message)}`
      : error === run.error_message ? null : sentenceView(error);
  }).filter(Boolean);
  const more = lines.length - MOST_ERRORS;
  return html`<div class="notice ${ofOptional ? "notice-warning" : "notice-error"} run-failure" role="group"
    aria-label=${ofOptional ? "Errors of optional steps" : "Error of the run"}>
    ${ofOptional ? html`<p>Optional steps have failed. The run doesn't need them.</p>`
      : failed.has(run.error_message) ? nothing : html`<p><strong>${run.error_message}</strong></p>`}
    ${lines.length ? html`<ul>${lines.slice(0, MOST_ERRORS).map((each) => html`<li>${each}</li>`)}</ul>` : nothing}
    ${more > 0 ? html`<p class="dim">And ${more} more: see the steps.</p>` : nothing}
  </div>`;
}
