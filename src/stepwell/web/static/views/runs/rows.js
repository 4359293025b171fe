// The table of runs.
import { serviceNow } from "../../lib/clock.js";
import { copyButton } from "../../lib/copy.js";
import { html, nothing, repeat } from "../../lib/dom.js";
import { ago, dateTime, duration, durationBetween, money, shortId, splitAtRuns } from "../../lib/format.js";
import { thumbnail } from "../../lib/outputs.js";
import { isTerminal, progressBar, statusBadge, waitText } from "../../lib/status.js";
import { changed, writeQuery } from "./query.js";

const MOST_LABELS = 4;

/** @param runs workflows of the API  @param query the state of the view  @param showTenants whether tenants differ
 *  @param selection see selection.js; null if the viewer may change nothing */
export function runTable(runs, query, { showTenants, stale, selection, onNavigate, onKey }) {
  const count = selection ? runs.filter((run) => selection.has(run)).length : 0;
  const link = (changes) => `/ui${writeQuery(changed(query, changes))}`;
  return html`<table class="runs" role="table" @keydown=${onKey}>
    <caption class="visually-hidden">Runs, ${query.order === "created_at" ? "oldest" : "newest"} first</caption>
    <thead role="rowgroup"><tr role="row">
      ${selection ? html`<th role="columnheader" scope="col" class="run-box"><label><input type="checkbox" class="run-select-all"
        aria-label="Select all runs of the page" .checked=${count === runs.length} .indeterminate=${count > 0 && count < runs.length}
        @change=${(event) => selection.set(runs, event.target.checked)}></label></th>` : nothing}
      <th role="columnheader" scope="col"><span class="visually-hidden">Output</span></th>
      <th role="columnheader" scope="col">Run</th>
      <th role="columnheader" scope="col">Status</th>
      <th role="columnheader" scope="col">Progress</th>
      <th role="columnheader" scope="col" class="number">Duration</th>
      <th role="columnheader" scope="col" class="number">Cost</th>
      <th role="columnheader" scope="col" class="number">Created</th>
    </tr></thead>
    <tbody role="rowgroup">
      ${repeat(runs, (run) => run.id, (run) => row(run, { link, showTenants, selection, onNavigate, stale: stale.has(run.id) }))}
    </tbody>
  </table>`;
}

function row(run, { link, showTenants, selection, onNavigate, stale }) {
  const isSelected = selection?.has(run);
  const kind = `run${stale ? " run-stale" : ""}${run.is_deleted ? " run-deleted" : ""}${isSelected ? " run-selected" : ""}`;
  return html`<tr role="row" class=${kind} data-id=${run.id}>
    ${selection ? html`<td role="cell" class="run-box"><label><input type="checkbox" class="run-select" aria-label=${`Select ${run.name}`}
      .checked=${isSelected} @change=${(event) => selection.set([run], event.target.checked)}></label></td>` : nothing}
    <td role="cell" class="run-thumb">${thumbnail(run.final_step_result, `Output of ${run.name}`)}</td>
    <td role="cell" class="run-name">
      <a class="run-link" href=${`/ui/workflows/${run.id}`}>${run.name}</a>
      <span class="run-line"><span class="run-id mono" title=${run.id}>${shortId(run.id)}</span>${copyButton(run.id, `Copy the id of ${run.name}`)}
        ${marks(run, link, showTenants, onNavigate)}
        ${run.error_message ? html`<span class="run-error truncate" title=${run.error_message}>${
          splitAtRuns(run.error_message).map((part, i) => (i % 2 ? shortId(part) : part))}</span>` : nothing}</span>
    </td>
    <td role="cell" class="run-status">${statusBadge(run.status)}${run.is_deleted
      ? html` <span class="badge badge-plain">Deleted</span>` : nothing}${run.waits_for
      ? html`<span class="run-wait">${waitText(run.waits_for)}</span>` : nothing}</td>
    <td role="cell" class="run-progress">${progressBar(run)}</td>
    <td role="cell" class="number run-duration">${runDuration(run)}</td>
    <td role="cell" class=${`number run-cost${run.cost ? "" : " run-cost-none"}`}>${money(run.cost)}</td>
    <td role="cell" class="number run-created"><time datetime=${run.created_at} title=${dateTime(run.created_at)}>${
      ago(run.created_at)}</time></td>
  </tr>`;
}

/** Labels, and the tenant if the viewer sees several: a click on one filters by it. A sub-workflow also has a link to its parent run. */
function marks(run, link, showTenants, onNavigate) {
  const labels = Object.entries(run.labels ?? {});
  const shown = labels.slice(0, MOST_LABELS).map(([key, value]) => {
    const text = `${key}:${value}`;
    return html`<a class="chip" href=${link({ label: [text] })} @click=${onNavigate}
      title=${`Only runs with ${text}`}><span class="truncate">${text}</span></a>`;
  });
  const hidden = labels.slice(MOST_LABELS);
  const rest = hidden.length
    ? html`<span class="chip" title=${hidden.map((each) => each.join(":")).join("\n")}>+${hidden.length}</span>` : nothing;
  const tenant = showTenants && run.origin_tenant_id
    ? html`<a class="chip" href=${link({ origin_tenant_id: run.origin_tenant_id })} @click=${onNavigate}
        title="Only runs of this tenant"><span class="truncate">tenant ${run.origin_tenant_id}</span></a>` : nothing;
  const { parent } = run;
  const part = parent ? html`<a class="chip" href=${`/ui/workflows/${parent.workflow_id}`}
    title="Open the parent run"><span class="truncate">sub-workflow of ${parent.step_id}</span></a>` : nothing;
  return labels.length || tenant !== nothing || parent ? html`<span class="chips">${part}${tenant}${shown}${rest}</span>` : nothing;
}

/** How long a run took, or has taken so far. */
function runDuration(run) {
  if (!run.started_at) return "–";
  if (run.completed_at) return durationBetween(run.started_at, run.completed_at);
  if (isTerminal(run.status)) return "–";
  const ms = Math.max(0, serviceNow() - Date.parse(run.started_at));
  return ms < 10_000 ? `${Math.floor(ms / 1000)} s` : duration(ms);
}
