// The events of one run as they happen, from its own stream.
import { API } from "../../lib/api.js";

export const EVENT_TYPES = [
  "workflow.created", "workflow.started", "workflow.paused", "workflow.resumed", "workflow.updated",
  "workflow.completed", "workflow.failed", "workflow.cancelled", "workflow.cleaned", "workflow.files_deleted",
  "step.started", "step.submitted", "step.progress", "step.outcome_unknown", "step.retrying", "step.diverted",
  "step.completed", "step.failed", "step.skipped", "step.cancelled", "step.cancel_settled",
];

/** Calls onEvents with lists of the run's events, until the function that it returns is called. */
export function followRun(id, { onEvents }) {
  const source = new EventSource(`${API}/workflows/${encodeURIComponent(id)}/events`);
  const receive = (event) => onEvents([JSON.parse(event.data)]);
  for (const type of EVENT_TYPES) source.addEventListener(type, receive);
  addEventListener("pagehide", () => source.close());
  return () => source.close();
}
