// The tab "Definition": as it was sent, and as its defaults and mappings complete it.
import { copyTextButton } from "../../lib/copy.js";
import { emptyState, errorNotice, html, icon, loading, nothing, notice, render, repeat } from "../../lib/dom.js";
import { downloadText } from "../../lib/download.js";
import { bytes, duration, plural } from "../../lib/format.js";
import { indented, parseJson, pretty } from "../../lib/json.js";

const JSON_TYPE = "application/json";
const MOST_CHARS = 200_000;
const STEPS = 50; // at first, and with each "Show more"
const MOST_VALUE_CHARS = 2_000;

export default function mount(element, context) {
  const tab = new DefinitionTab(element, context);
  let changed = changeable(context.run);
  context.onChange((run) => {
    const now = changeable(run);
    if (now === changed) return;
    changed = now;
    tab.load();
  });
  tab.load();
}

/** What PATCH may change in a definition, as a text. */
function changeable(run) {
  return JSON.stringify([run.name, run.description, run.webhook_url, run.labels]);
}

class DefinitionTab {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.sent = null;
    this.text = "";
    this.plan = null;
    this.error = null;
    this.planError = null;
    this.completed = false; // true: the completed definition is shown
    this.steps = STEPS;
  }

  async load() {
    this.draw();
    try {
      const { id, api } = this.context;
      this.text = indented((await api.request(`/workflows/${id}/definition`, { asText: true })).data);
      this.sent = parseJson(this.text);
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.plan = null;
    if (this.completed) await this.loadPlan();
    this.draw();
  }

  async loadPlan() {
    this.planError = null;
    this.draw();
    try {
      const body = new Blob([this.text], { type: JSON_TYPE });
      this.plan = (await this.context.api.send("POST", "/workflows/plan", { body })).data;
    } catch (error) {
      this.planError = error;
    }
    this.draw();
  }

  show(completed) {
    this.completed = completed;
    this.draw();
    if (completed && !this.plan) this.loadPlan();
  }

  draw() {
    render(this.content(), this.element);
  }

  content() {
    if (this.error) return errorNotice(this.error, () => this.load());
    if (!this.sent) return loading("The definition is loading…");
    const text = () => (this.completed && this.plan ? pretty(this.plan.steps) : this.text);
    return html`
      <div class="tab-bar">
        <fieldset class="switch"><legend class="visually-hidden">Which form of the definition</legend>
          ${this.choice("As sent", false)}${this.choice("As completed", true)}</fieldset>
        <p class="dim tab-hint">${this.completed
          ? "What each step gets: its own config, the run's defaults, and mapped values. Expressions are evaluated when it runs."
          : `A definition that creates this run again. ${bytes(new Blob([this.text]).size)}.`}</p>
        ${copyTextButton(text, "Copy JSON")}
        ${this.completed ? nothing : html`<button type="button" class="button" @click=${() => this.download()}>
          ${icon("download")}Download</button>`}
      </div>
      ${this.completed ? this.completedSteps() : this.sentText()}`;
  }

  choice(text, completed) {
    return html`<label><input type="radio" name="definition-form" .checked=${this.completed === completed}
      @change=${() => this.show(completed)}><span>${text}</span></label>`;
  }

  sentText() {
    return html`<pre class="definition" tabindex="0" role="region" aria-label="Definition as sent">${
      this.text.slice(0, MOST_CHARS)}${this.text.length > MOST_CHARS ? html`<span class="dim">
… Copy or download it to read all.</span>` : nothing}</pre>`;
  }

  download() {
    downloadText(this.text, `workflow-${this.context.id}.json`, JSON_TYPE);
  }

  completedSteps() {
    if (this.planError) {
      return html`<div class="stack">
        ${notice("warning", "The service can't complete this definition any more.", html`<p>Its settings or providers have
          changed since the run was created.</p>`)}${errorNotice(this.planError, () => this.loadPlan())}</div>`;
    }
    if (!this.plan) return loading("The definition is being completed…");
    if (!this.plan.steps.length) return emptyState("The definition has no steps.");
    const sent = new Map(this.sent.steps.map((step) => [step.id, step]));
    const shown = this.plan.steps.slice(0, this.steps);
    return html`
      <ul class="completed-steps">${repeat(shown, (each) => each.step_id, (each) => completedStep(each, sent.get(each.step_id)))}</ul>
      ${shown.length < this.plan.steps.length ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => { this.steps += STEPS; this.draw(); }}>Show more</button>
        <span class="dim">${shown.length} of ${plural(this.plan.steps.length, "step")}</span></p>` : nothing}`;
  }
}

function completedStep(planned, sent) {
  const inputs = completedInputs(planned, sent);
  const model = planned.model === planned.task_type ? null : planned.model; // LOCAL's models are the types of tasks
  const facts = [planned.task_type, planned.provider, model, plural(planned.attempts, "attempt"),
    `${duration(planned.timeout_s * 1000)} at most`];
  if (planned.fallback) facts.push(`then ${[planned.fallback.provider, planned.fallback.model].filter(Boolean).join(" · ")}`);
  return html`<li class="card completed-step">
    <h3 class="break">${planned.step_id}</h3>
    <p class="dim break">${facts.filter(Boolean).join(" · ")}</p>
    ${inputs.length ? html`<div class="table-frame" tabindex="0" role="region" aria-label=${`Inputs of ${planned.step_id}`}><table class="cards">
      <thead><tr><th scope="col">Input</th><th scope="col">Source</th><th scope="col">Value</th></tr></thead>
      <tbody>${inputs.map(({ name, value, source }) => html`<tr><th scope="row">${name}</th>
        <td class="nowrap dim" data-label="Source">${source}</td><td class="input-value wide" data-label="Value">${value}</td></tr>`)}</tbody></table></div>`
      : html`<p class="dim">It has no inputs.</p>`}
  </li>`;
}

/** The inputs of a step: {name, value, source}. *sent* is the step as it was sent. */
function completedInputs(planned, sent) {
  const mappings = new Map((sent?.input_mappings ?? []).map((each) => [each.to_field, each]));
  return Object.entries(planned.config).map(([name, value]) => {
    const mapping = mappings.get(name);
    if (mapping) {
      const transform = mapping.transform ? ` → ${mapping.transform}` : "";
      return { name, value: `${mapping.from_step} · ${mapping.from_field}${transform}`, source: "Mapping" };
    }
    const own = Object.hasOwn(sent?.config ?? {}, name);
    return { name, value: shortValue(value), source: own ? "Step" : "Default" };
  });
}

function shortValue(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
  return text.length > MOST_VALUE_CHARS ? `${text.slice(0, MOST_VALUE_CHARS)}…` : text;
}
