// Statuses of workflows, steps and tasks: their order, their badge, and the progress of a run.
import { html } from "./dom.js";
import { percent } from "./format.js";

export const WORKFLOW_STATUSES = ["RUNNING", "PENDING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"];
const TERMINAL = new Set(["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"]);

/** True if nothing more happens by itself in this status. */
export function isTerminal(status) {
  return TERMINAL.has(status);
}

/** RUNNING is "Running". */
export function statusText(status) {
  return status.charAt(0) + status.slice(1).toLowerCase().replaceAll("_", " ");
}

/** The status as a badge: a dot of its colour, and its text. */
export function statusBadge(status) {
  return html`<span class="badge status-${status.toLowerCase()}">${statusText(status)}</span>`;
}

/** The progress of a run as a bar and text. *run* is a workflow of the API. */
export function progressBar(run) {
  const text = `${run.completed_steps} of ${run.total_steps} steps`;
  return html`<span class="progress">
    <progress max="100" .value=${run.progress} class="status-${run.status.toLowerCase()}" aria-label=${text}></progress>
    <span class="progress-text" title=${text}>${percent(run.progress)}</span>
  </span>`;
}
