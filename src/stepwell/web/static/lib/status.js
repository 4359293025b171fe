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

function badge(status, text) {
  return html`<span class="badge status-${status.toLowerCase()}">${text}</span>`;
}

/** The status as a badge: a dot of its colour, and its text. */
export function statusBadge(status) {
  return badge(status, statusText(status));
}

const STEP_ENDS = new Set(["step.completed", "step.failed", "step.cancelled", "step.skipped"]);
const WAITS_FOR = { decision: "a decision", signal: "a signal", delay: "a time" };

/** "decision" is "Waits for a decision". */
export function waitText(kind) {
  return `Waits for ${WAITS_FOR[kind] ?? "something"}`;
}

/** True if *event*, of any workflow, may change what a run above that workflow waits for. *waits*: that run waits for something. */
export function mayChangeWait({ type }, waits) {
  return type === "step.waiting" || (waits && STEP_ENDS.has(type));
}

/** The status of a step in words: "Failed, optional" if the run goes on without it, or what it waits for. A step whose sub-workflow
 *  runs is running. */
export function stepStatusText(step) {
  if (step.status === "RUNNING" && step.waiting_for && step.waiting_for.kind !== "workflow") return waitText(step.waiting_for.kind);
  return statusText(step.status) + (step.status === "FAILED" && step.optional ? ", optional" : "");
}

/** The status of a step as a badge. */
export function stepBadge(step) {
  return badge(step.status, stepStatusText(step));
}

/** The progress of a run, a workflow of the API, as a bar and *words*: by default the percentage. */
export function progressBar(run, words = percent(run.progress)) {
  const text = `${run.completed_steps} of ${run.total_steps} steps`;
  return html`<span class="progress">
    <progress max="100" .value=${run.progress} class="status-${run.status.toLowerCase()}" aria-label=${text}></progress>
    <span class="progress-text" title=${text}>${words}</span>
  </span>`;
}
