// The view "Providers": what the process that responds knows about its providers and their models, what waits, and the
// limits of the tenant. It is read again every few seconds.
import { getJson } from "../lib/api.js";
import { emptyState, errorNotice, html, loading, nothing, render } from "../lib/dom.js";
import { bytes, compact, dateTime, duration, number, plural, shortTime } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { readWaiting, waitingTable } from "./providers/waiting.js";

const PAUSE_MS = 5_000;
const BREAKERS = {
  closed: { text: "Closed", status: "completed", title: "Attempts are let through." },
  open: { text: "Open", status: "failed", title: "The model has failed too often: its steps wait." },
  half_open: { text: "Testing", status: "paused", title: "One attempt tests whether the model works again." },
};

export default async function mount(element, context) {
  const state = { providers: null, limits: null, waiting: [], error: null, at: null };
  const draw = () => render(view(state, context, read), element);
  async function readAll() {
    try {
      const [{ providers }, limits] = await Promise.all([getJson("/providers"), getJson("/limits")]);
      const anyWaits = limits.waiting_workflows.used > 0 || providers.some((each) => each.waiting > 0);
      const waiting = anyWaits ? await readWaiting() : [];
      Object.assign(state, { providers, limits, waiting, error: null, at: new Date() });
    } catch (error) {
      state.error = error;
    }
    draw();
  }
  const read = poll(readAll, PAUSE_MS);
  draw();
  await read();
}

function view({ providers, limits, waiting, error, at }, context, retry) {
  return html`
    <div class="view-header"><h1>Providers</h1>
      ${at ? html`<span class="dim">${runningSteps(providers)} in the process that responded, as of ${shortTime(at)}</span>` : nothing}</div>
    <div class="stack">
      ${error ? errorNotice(error, retry) : nothing}
      ${providers === null ? (error ? nothing : loading()) : html`
        ${waiting.length ? waitingTable(waiting) : nothing}
        ${providers.map(providerCard)}
        ${providers.length ? nothing : emptyState("No provider is configured.", html`<p>
          Set <code>STEPWELL_DEFAULT_PROVIDER</code>, or the key of a provider. See
          <a href="/manual/providers">the manual</a>.</p>`)}
        ${limitsCard(limits, context)}`}
    </div>`;
}

function runningSteps(providers) {
  const running = providers.reduce((sum, each) => sum + each.in_flight, 0);
  return running === 1 ? "1 step runs" : `${number(running)} steps run`;
}

function providerCard(provider) {
  const name = provider.provider_type;
  return html`<section class="card provider" aria-labelledby=${`provider-${name}`}>
    <div class="provider-header">
      <h2 id=${`provider-${name}`}>${name}</h2>${healthBadge(provider)}
      <span class="provider-use">${useBar("Steps", provider.in_flight, provider.limit, number, " running")}
        <span class="nowrap">${provider.waiting ? html`<strong>${number(provider.waiting)} waiting</strong>`
          : html`<span class="dim">none waiting</span>`}</span></span>
    </div>
    ${provider.detail ? html`<p class="provider-detail break">${provider.detail}</p>` : nothing}
    ${provider.models.length ? modelTable(provider) : html`<p class="dim">This process has no statistics of its
      models yet.</p>`}
    <details class="provider-more"><summary>What it can do</summary>${capabilities(provider)}</details>
  </section>`;
}

function healthBadge(provider) {
  const broken = provider.models.filter((model) => model.breaker.state !== "closed");
  if (provider.detail) return badge("failed", "Key refused");
  if (broken.length) return badge("failed", `${plural(broken.length, "breaker")} not closed`);
  if (provider.models.some((model) => model.error_rate >= 0.5)) return badge("paused", "Failing");
  if (provider.models.some((model) => model.attempts)) return badge("completed", "Healthy");
  return provider.in_flight ? badge("running", "Busy") : badge("pending", "Idle");
}

function badge(status, text, title = "") {
  return html`<span class="badge status-${status}" title=${title}>${text}</span>`;
}

/** How much of a limit is in use, as a bar and text. */
function useBar(label, used, limit, text = number, unit = "") {
  const full = limit !== null && used >= limit;
  const words = limit === null ? `${text(used)}, no limit of its own` : `${text(used)} of ${text(limit)}${unit}`;
  return html`<span class="progress ${full ? "status-paused" : ""}">
    ${limit === null ? nothing : html`<progress max=${limit} .value=${used} aria-label=${`${label}: ${words}`}></progress>`}
    <span class="number" title=${label}>${words}</span></span>`;
}

function modelTable({ provider_type: provider, models }) {
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${`Models of ${provider}`}>
    <table class="models cards">
      <thead><tr><th scope="col">Model</th><th scope="col">Breaker</th><th scope="col" class="number">Running</th>
        <th scope="col" class="number">Waiting</th>
        <th scope="col" class="number" title="Of the last five minutes">Attempts</th>
        <th scope="col" class="number" title="Of the last five minutes">Errors</th>
        <th scope="col" class="number" title="Half of the attempts took at most this long">p50</th>
        <th scope="col" class="number" title="95% of the attempts took at most this long">p95</th>
        <th scope="col" class="number" title="99% of the attempts took at most this long">p99</th></tr></thead>
      <tbody>${models.map(modelRow)}</tbody>
    </table></div>`;
}

function modelRow(model) {
  const { limit, latency_s: latency, breaker } = model;
  const errors = model.error_rate === null ? "–" : `${number(Math.round(model.error_rate * 1000) / 10)}%`;
  return html`<tr>
    <th scope="row" class="wide break">${model.model}</th>
    <td class="nowrap" data-label="Breaker">${breakerState(breaker)}</td>
    <td class="number" data-label="Running">${number(model.in_flight)}${limit?.concurrency ? html` <span class="dim">of ${number(limit.concurrency)}</span>` : nothing}
      ${limit?.per_minute ? html`<div class="dim small">at most ${number(limit.per_minute)}/min</div>` : nothing}</td>
    <td class="number" data-label="Waiting">${number(model.waiting)}</td>
    <td class="number" data-label="Attempts">${compact(model.attempts)}</td>
    <td class="number ${model.error_rate ? "errors" : ""}" data-label="Errors">${errors}</td>
    ${["p50", "p95", "p99"].map((name) => html`<td class="number" data-label=${name}>${duration(latency[name] === null ? null : latency[name] * 1000)}</td>`)}
  </tr>`;
}

function breakerState({ state, failures, open_until: until }) {
  const known = BREAKERS[state] ?? { text: state, status: "pending", title: "" };
  return html`${badge(known.status, known.text, known.title)}
    ${state === "open" && until ? html`<div class="dim small">until <time datetime=${until} title=${dateTime(until)}>${shortTime(until)}</time></div>` : nothing}
    ${state === "closed" && failures ? html`<div class="dim small">${plural(failures, "failure")} in a row</div>` : nothing}`;
}

function capabilities({ capabilities: offers, credentials }) {
  return html`<dl class="capabilities">
    ${Object.entries(offers).map(([type, models]) => html`<dt class="mono">${type}</dt>
      <dd class="chips">${models.length ? models.map((each) => html`<span class="chip break">${each}</span>`) : html`<span class="dim">any model</span>`}</dd>`)}
    ${credentials.length ? html`<dt>Keys</dt><dd class="chips">${credentials.map(({ name, refused_since: since }) =>
      html`<span class="chip break">${name}${since ? html`&nbsp;<strong class="errors">refused since ${shortTime(since)}</strong>` : nothing}</span>`)}</dd>` : nothing}
  </dl>`;
}

function limitsCard(limits, context) {
  const { active_workflows: active, waiting_workflows: queued, running_steps: steps, uploads } = limits;
  const whose = limits.tenant_id ?? (context.everyTenant ? "workflows without a tenant" : context.tenant);
  const oldest = queued.oldest_started_at;
  const rows = [
    ["Running workflows", useBar("Running workflows", active.used, active.limit)],
    ["Waiting workflows", html`${useBar("Waiting workflows", queued.used, queued.limit)}
      ${oldest ? html`<span class="dim">the oldest since ${shortTime(oldest)}</span>` : nothing}`],
    ["Running steps", useBar("Running steps", steps.used, steps.limit)],
    ["Uploaded files", useBar("Uploaded files", uploads.used, uploads.limit)],
    ["Space of uploads", useBar("Space of uploads", uploads.used_bytes, uploads.limit_bytes, bytes)],
  ];
  return html`<section class="card" aria-labelledby="limits"><h2 id="limits" class="break">Limits of ${whose || "workflows without a tenant"}</h2>
    <dl class="limits">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <p class="dim">${plural(limits.remaining_workflows, "further workflow")} may start now.</p>
  </section>`;
}
