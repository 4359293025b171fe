// The view "New run": an editor for a definition, with its faults, its price and the order of its steps beside it.
//
// The URL says what is in the editor at first: ?from=ID the definition of a run, ?example=NAME an example, else the first
// example. A definition of a run that has ended, or is paused, takes over the run's results: the plan says which. new/editor.js is the
// editor, new/completion.js its completion.
import { ApiError, getJson, isAbort, request } from "../lib/api.js";
import { confirm } from "../lib/dialog.js";
import { announce, errorNotice, html, icon, loading, nothing, notice, render } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { indented } from "../lib/json.js";
import { planPanel } from "../lib/plan_panel.js";
import { acceptDrops, upload } from "../lib/upload.js";
import { DefinitionSchema } from "./new/definition_schema.js";
import { faultList } from "./new/fault_list.js";

const JSON_TYPE = "application/json";
const REUSABLE = new Set(["PAUSED", "COMPLETED", "FAILED", "CANCELLED"]); // statuses of runs whose results can be taken over
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export default async function mount(element, context) {
  await new NewRunView(element, context).start();
}

class NewRunView {
  constructor(element, context) {
    const { dataset } = document.body;
    Object.assign(this, { element, context, examples: JSON.parse(dataset.examples ?? "[]") });
    Object.assign(this, { editor: null, schema: null, plan: null, faults: [], error: null, uploading: null });
    Object.assign(this, { busy: false, checking: true, changed: false, example: "", graph: null, loadError: null });
    this.reuses = false; // the definition is that of a run, and takes over its results
    this.first = null; // the text that the editor has at first, and the outcome of its plan
    this.planning = new AbortController();
  }

  async start() {
    this.draw();
    const importing = import("./new/editor.js");
    const text = await this.firstText();
    this.first = { text, outcome: this.requestPlan(text) };
    const { DefinitionEditor } = await importing;
    const host = this.element.querySelector(".editor-host");
    this.editor = new DefinitionEditor(host, {
      text,
      schema: () => this.schema,
      check: (each) => this.check(each),
      onChange: () => this.onChange(),
      onChecked: (result) => this.onChecked(result),
      onRun: () => this.context.canWrite && this.run(true),
      readOnly: false,
    });
    addEventListener("beforeunload", (event) => this.changed && event.preventDefault());
    if (this.context.canWrite) acceptDrops(host, (files, event) => (
      this.insertFiles(files, this.editor.positionAt({ x: event.clientX, y: event.clientY }))));
    this.draw();
    await this.editor.checkFirst();
    this.loadSchema();
    this.loadGraph();
  }

  /** The graph is drawn last, because its library is large. Without it, the list has the order of the steps. */
  async loadGraph() {
    try {
      const { DefinitionGraph } = await import("./new/graph.js");
      const container = this.element.querySelector(".graph-canvas");
      this.graph = new DefinitionGraph(container, (id) => this.editor.goToStep(id));
    } catch (error) {
      console.warn(error);
    }
    this.draw();
  }

  async firstText() {
    const parameters = new URLSearchParams(location.search);
    const from = parameters.get("from");
    try {
      if (from) return indented(await this.definitionOf(from));
    } catch (error) {
      this.loadError = error; // it stays while the example below is checked
    }
    const chosen = this.examples.find((each) => each.name === parameters.get("example"));
    const example = chosen ?? this.examples[0];
    this.example = example?.name ?? "";
    return example?.text ?? "{}\n";
  }

  /** The text of a run's definition, which takes over the results of the run if it can. */
  async definitionOf(id) {
    const path = `/workflows/${encodeURIComponent(id)}`;
    const [{ data: text }, run] = await Promise.all([
      request(`${path}/definition`, { asText: true }), getJson(path, { query: { include_steps: false, include_results: false } }),
    ]);
    this.reuses = REUSABLE.has(run.status) && !run.is_deleted;
    return this.reuses ? text.replace("{", `{"reuse": {"from": "${run.id}"}, `) : text;
  }

  /** Without the schema, the editor works without completion. */
  async loadSchema() {
    try {
      const response = await fetch("/schema/openapi.json", { credentials: "same-origin" });
      if (response.ok) this.schema = new DefinitionSchema(await response.json());
    } catch (error) {
      console.warn(error);
    }
  }

  onChange() {
    this.changed = true;
    if (this.checking) return;
    this.checking = true;
    this.draw();
  }

  /** Plans *text*, and returns {plan, error, faults, warnings}; null if another check replaces it. *error* is one that isn't
   *  about the text. The first text is planned once for its two checks. */
  check(text) {
    const { first } = this;
    if (first?.text === text) return first.outcome;
    this.first = null;
    return this.requestPlan(text);
  }

  async requestPlan(text) {
    this.planning.abort();
    this.planning = new AbortController();
    const outcome = { plan: null, error: null, faults: [], warnings: [] };
    try {
      const plan = (await this.post("/workflows/plan", text, { signal: this.planning.signal })).data;
      return { ...outcome, plan, warnings: plan.warnings.map((each) => ({ ...each, message: each.msg })) };
    } catch (error) {
      if (isAbort(error)) return null;
      return error.faults?.length ? { ...outcome, faults: error.faults } : { ...outcome, error };
    }
  }

  /** Shows the faults and the plan of the text that is in the editor now. */
  onChecked({ marks, checked }) {
    const { plan = null, error = null } = checked ?? {};
    Object.assign(this, { faults: marks.sort((a, b) => a.from - b.from), plan, error, checking: false });
    this.draw();
  }

  showGraph() {
    if (this.plan && !this.checking) this.graph?.show(this.editor.text);
  }

  post(path, text, options) {
    return request(path, { ...options, method: "POST", body: new Blob([text], { type: JSON_TYPE }) });
  }

  /** Creates the run, and shows it. */
  async run(start) {
    if (this.busy) return;
    Object.assign(this, { busy: true, error: null });
    this.draw();
    try {
      const { data } = await this.post("/workflows/", this.editor.text, { query: { start } });
      this.changed = false;
      location.assign(`/ui/workflows/${data.id}`);
    } catch (error) {
      // The editor shows the faults of the definition at their lines: plan finds the same.
      if (error instanceof ApiError && error.faults.length && this.faults.length) this.editor.goTo(this.faults[0].from);
      this.error = error;
      this.busy = false;
      this.draw();
    }
  }

  async chooseExample(event) {
    const { target } = event;
    const example = this.examples.find((each) => each.name === target.value);
    if (!example) return;
    const sure = !this.changed || await confirm("Replace the definition?",
      html`<p>What you have written is replaced by the example.</p>`, { action: "Replace" });
    if (!sure) {
      target.value = this.example;
      return;
    }
    Object.assign(this, { example: example.name, loadError: null });
    this.editor.text = example.text;
    this.changed = false;
    history.replaceState(null, "", `/ui/new?example=${encodeURIComponent(example.name)}`);
  }

  /** Uploads files, and inserts the paths at *position* in the text, or at the cursor. */
  async insertFiles(files, position = null) {
    for (const file of files) {
      this.uploading = { name: file.name, progress: 0 };
      this.draw();
      try {
        const onProgress = (progress) => {
          this.uploading = { name: file.name, progress };
          this.draw();
        };
        const stored = await upload(file, { onProgress });
        this.editor.insertString(stored.path, position);
        announce(`${stored.name} is uploaded, and its path is inserted.`);
      } catch (error) {
        this.error = error;
      }
    }
    this.editor.forgetPosition(position);
    this.uploading = null;
    this.draw();
  }

  draw() {
    const { canWrite } = this.context;
    render(html`
      <div class="view-header"><h1>${this.reuses ? "Run again with changes" : "New run"}</h1>${this.toolbar(canWrite)}</div>
      ${canWrite ? nothing : html`<p class="notice notice-warning">Your token may only read. Here you can check a definition;
        to run it, a token needs the scope <code>workflows:write</code>.</p>`}
      ${this.loadError ? notice("error", "The definition of that run can't be read",
        html`<p>${this.loadError.detail || this.loadError.title}. Below is an example.</p>`) : nothing}
      <div class="new-run">
        <div class="editor-column"><div class="editor-host"></div>
          ${this.uploading ? html`<p class="progress" role="status"><span class="break">${this.uploading.name} is uploading</span>
            <progress max="1" .value=${this.uploading.progress} aria-label="Upload"></progress>
            <span class="progress-text">${percent(100 * this.uploading.progress)}</span></p>` : nothing}
          ${this.reuses ? html`<p class="dim">Change what you like. Steps whose work stays the same take over their results and cost nothing.
            Without the member <code>reuse</code>, all steps run.</p>` : nothing}
          <p class="dim editor-help">${canWrite ? html`Drop a file onto the text: it is uploaded, and its path is inserted. ` : nothing}
            <kbd>Ctrl</kbd> <kbd>Space</kbd> completes${canWrite ? html`, <kbd>${MAC ? "⌘" : "Ctrl"}</kbd> <kbd>Enter</kbd> runs` : nothing}.</p>
        </div>
        <div class="stack plan-column" aria-busy=${this.checking}>${this.panel()}</div>
      </div>`, this.element);
    this.showGraph();
  }

  toolbar(canWrite) {
    const ready = this.editor && !this.busy;
    return html`<div class="actions">
      <label class="row"><span class="dim">Example</span><select @change=${(event) => this.chooseExample(event)} ?disabled=${!ready}>
        <option value="" ?selected=${!this.example}>Choose one</option>
        ${this.examples.map(({ name, title }) => html`<option value=${name} ?selected=${name === this.example}>${title}</option>`)}</select></label>
      ${canWrite ? html`
        <label class="button upload-button">${icon("upload")}Upload<input type="file" multiple class="visually-hidden"
          aria-label="Upload files and insert their paths" ?disabled=${!ready} @change=${(event) => {
            this.insertFiles([...event.target.files]);
            event.target.value = "";
          }}></label>
        <button type="button" class="button" ?disabled=${!ready} title="Create the run without starting it"
          @click=${() => this.run(false)}>Create</button>
        <button type="button" class="button button-primary" ?disabled=${!ready} @click=${() => this.run(true)}>${icon("play")}Run</button>` : nothing}
    </div>`;
  }

  panel() {
    const { error, plan, faults } = this;
    const known = error?.faults?.length && faults.length; // they are in the list
    return html`
      ${error && !known ? errorNotice(error) : nothing}
      ${faultList(faults, (position) => this.editor.goTo(position))}
      <div class="graph-frame" ?hidden=${!plan || !this.graph}><div class="graph-canvas" role="img"
        aria-label="The graph of the steps. The list below has their order."></div></div>
      ${plan ? planPanel(plan) : !faults.length && !error ? loading("The definition is being checked…") : nothing}`;
  }
}
