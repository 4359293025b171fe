// What waits at providers: the steps of the oldest running workflows, each with its reason from `explain`.
import { getJson } from "../../lib/api.js";
import { html } from "../../lib/dom.js";
import { withLocalTimes } from "../../lib/format.js";

const WORKFLOWS = 10;
const ROWS = 50;
// The reasons that name something at a provider, or a limit. A step that waits for other steps isn't shown.
const REASONS = {
  waits_for_admission: "Waits for a process",
  waits_for_slot: "Waits for a slot",
  rate_limited: "Rate limited",
  breaker_open: "Breaker open",
  retry: "Tries again",
  waits_for_budget: "Waits for the budget",
  provider_away: "Provider away",
};

/** Returns up to 50 waiting steps as {run, step, reason}, those of the oldest workflows first. */
export async function readWaiting() {
  const query = { status: "RUNNING", order: "created_at", include_steps: false, limit: WORKFLOWS, total: false };
  const { workflows } = await getJson("/workflows/", { query });
  const lists = await Promise.all(workflows.map(waitingSteps));
  return lists.flat().slice(0, ROWS);
}

async function waitingSteps(run) {
  let explanation;
  try {
    explanation = await getJson(`/workflows/${run.id}/explain`);
  } catch {
    return []; // it was deleted meanwhile, or the service is away: the next round shows that
  }
  if (explanation.reason?.code in REASONS) return [{ run, step: null, reason: explanation.reason }];
  return explanation.steps.filter((each) => each.reason.code in REASONS)
    .map((each) => ({ run, step: each.step_id, reason: each.reason }));
}

export function waitingTable(rows) {
  return html`<section class="card" aria-labelledby="waiting"><h2 id="waiting">What waits</h2>
    <p class="dim">Steps of the ${WORKFLOWS} oldest running workflows.</p>
    <div class="table-frame" tabindex="0" role="region" aria-label="Waiting steps"><table class="waiting cards" role="table">
      <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Run</th><th role="columnheader" scope="col">Step</th>
        <th role="columnheader" scope="col">Reason</th><th role="columnheader" scope="col">In detail</th></tr></thead>
      <tbody role="rowgroup">${rows.map(({ run, step, reason }) => html`<tr role="row">
        <td role="cell" class="wide"><a class="break" href=${`/ui/workflows/${run.id}`}>${run.name}</a></td>
        <td role="cell" class="break" data-label="Step">${step ?? "all"}</td>
        <td role="cell" class="nowrap" data-label="Reason"><span class="badge status-paused">${REASONS[reason.code]}</span></td>
        <td role="cell" class="wide break waiting-detail">${withLocalTimes(reason.detail)}</td></tr>`)}</tbody>
    </table></div></section>`;
}
