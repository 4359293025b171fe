// The view of one stored definition: a form that runs it, its versions with their differences, and its text.
//
// definition/form_model.js makes the form of `inputs_schema`, definition/input_form.js shows it. The URL's query has the version
// (without it, that which a run takes), the selected tab, and the tenant if the token acts for all.
import { getJson, isAbort, request, send } from "../lib/api.js";
import { copyTextButton } from "../lib/copy.js";
import { announce, errorNotice, html, icon, loading, nothing, notice, render } from "../lib/dom.js";
import { pretty } from "../lib/json.js";
import { planPanel } from "../lib/plan_panel.js";
import { hasScope } from "../lib/scopes.js";
import { tabList, tabOf } from "../lib/tabs.js";
import { createForm, readForm } from "./definition/form_model.js";
import { InputForm } from "./definition/input_form.js";
import { Versions } from "./definition/versions.js";

const TABS = [{ name: "run", text: "Run" }, { name: "versions", text: "Versions" }, { name: "definition", text: "Definition" }];
const TYPING_MS = 400;
const MOST_CHARS = 200_000; // that are shown of a definition
const INSTANCE = "web"; // the instance of runs, if neither the token nor the service has one

export default async function mount(element, context) {
  if (!hasScope("definitions:read")) return location.replace("/ui/definitions"); // it says which scope is missing
  const view = new DefinitionView(element, context);
  addEventListener("popstate", () => view.select(tabOf(TABS, location.search), false));
  return view.load();
}

class DefinitionView {
  constructor(element, { canWrite }) {
    const address = new URLSearchParams(location.search);
    const name = decodeURIComponent(location.pathname.split("/").pop());
    const query = { origin_tenant_id: address.get("origin_tenant_id") };
    Object.assign(this, { element, canWrite, name, query, requested: address.get("version"), path: `/definitions/${encodeURIComponent(name)}` });
    Object.assign(this, { tab: tabOf(TABS, location.search), stored: null, tag: null, versions: [], comparison: null, error: null });
    // The form (null if there are no inputs), its faults, and the members of the run beside the inputs.
    Object.assign(this, { fields: null, form: null, plan: null, faults: [], runError: null, origin: {} });
    Object.assign(this, { isBusy: false, isChecking: false, isTried: false, sent: null, timer: 0, planning: new AbortController() });
  }

  async load() {
    render(html`<h1>${this.name}</h1>${loading()}`, this.element);
    try {
      const read = (version) => request(this.path, { query: { ...this.query, version } });
      const [first, { versions }] = await Promise.all([read(this.requested), getJson(`${this.path}/versions`, { query: this.query })]);
      const { default_version: pinned, version } = first.data;
      const { data, headers } = this.requested || !pinned || pinned === version ? first : await read(pinned);
      Object.assign(this, { stored: data, tag: headers.get("ETag"), versions });
    } catch (error) {
      render(html`<div class="view-header"><h1>${this.name}</h1></div>${errorNotice(error, () => this.load())}`, this.element);
      return;
    }
    const { inputs_schema: schema = null, inputs = {} } = this.stored.definition;
    if (schema !== null || Object.keys(inputs).length) {
      this.fields = createForm(schema, inputs);
      const callbacks = { onChange: () => this.onChange(), redraw: () => this.draw() };
      this.form = new InputForm(this.fields, { canUpload: this.canWrite, tenant: this.query.origin_tenant_id, ...callbacks });
    }
    this.comparison = new Versions(this);
    await this.check();
  }

  select = (tab, isNew = true) => {
    this.tab = tab;
    const query = new URLSearchParams(location.search);
    query.set("tab", tab);
    if (isNew) history.pushState(null, "", `?${query}`);
    this.draw();
  };

  /** Changes the members of the name, unless somebody else has changed the definition meanwhile. */
  async change(changes, message) {
    try {
      const { data, headers } = await send("PATCH", this.path, { query: this.query, body: changes, headers: { "If-Match": this.tag } });
      Object.assign(this.stored, { default_version: data.default_version, archived: data.archived });
      Object.assign(this, { tag: headers.get("ETag"), error: null });
      announce(message);
    } catch (error) {
      this.error = error;
    }
    await this.check();
  }

  onChange() {
    clearTimeout(this.timer);
    this.isChecking = true;
    this.timer = setTimeout(() => this.check(), TYPING_MS);
    this.draw();
  }

  /** Reads the form. Returns the body of a request for its run; null if the form has faults. */
  read() {
    const { inputs, faults } = this.fields ? readForm(this.fields) : { inputs: {}, faults: [] };
    this.faults = faults;
    this.planning.abort();
    return faults.length ? null : { definition: { name: this.name, version: this.stored.version }, inputs, ...this.query, ...this.origin };
  }

  /** Plans the run: shows its price, or the faults at their fields. */
  async check() {
    const body = this.stored.archived ? null : this.read();
    Object.assign(this, { isChecking: Boolean(body), plan: body ? this.plan : null, planning: new AbortController() });
    this.draw();
    if (!body) return;
    try {
      this.plan = (await send("POST", "/workflows/plan", { body, signal: this.planning.signal })).data;
      this.runError = null;
    } catch (error) {
      if (isAbort(error)) return;
      this.refuse(error);
    }
    this.isChecking = false;
    this.draw();
  }

  /** Shows the faults of the inputs at their fields, and all else above the form. */
  refuse(error) {
    const faults = error.faults ?? [];
    if (!this.origin.origin_instance && faults.some(({ loc }) => loc[1] === "origin_instance")) {
      this.origin.origin_instance = INSTANCE;
      this.onChange();
      return;
    }
    const isInput = ({ loc }) => this.fields && loc[0] === "body" && loc[1] === "inputs";
    const others = faults.filter((each) => !isInput(each));
    this.faults = faults.filter(isInput).map(({ loc, message }) => ({ loc: loc.slice(2), message }));
    this.runError = this.faults.length && !others.length ? null : Object.assign(error, { faults: others });
    this.plan = null;
  }

  /** Creates the run, and opens it. The same run that is sent again, after a lost response, is created once. */
  async run() {
    if (this.isBusy || this.form?.sending.size) return;
    clearTimeout(this.timer);
    const body = this.read();
    Object.assign(this, { isTried: true, isBusy: Boolean(body), isChecking: false });
    this.draw();
    if (body) {
      const text = JSON.stringify(body);
      if (this.sent?.text !== text) this.sent = { text, key: crypto.randomUUID() };
      try {
        const { data } = await send("POST", "/workflows/", { body, headers: { "Idempotency-Key": this.sent.key } });
        location.assign(`/ui/workflows/${data.id}`);
        return;
      } catch (error) {
        this.refuse(error);
      }
      this.isBusy = false;
      this.draw();
    }
    this.element.querySelector("[aria-invalid=true]")?.focus();
  }

  draw() {
    const { stored: { archived, description, version }, error, name, tab, versions: [newest] } = this;
    this.form?.showFaults(this.faults.filter((each) => this.isTried || !each.isMissing));
    const panels = { run: () => this.runPanel(), versions: () => this.comparison.content(), definition: () => this.textPanel() };
    const badges = [`Version ${version}`, this.isDefault(version) && "Default", version === newest.version && "Newest", archived && "Archived"];
    render(html`
      <nav class="small" aria-label="Path"><a href="/ui/definitions${this.address({})}">Definitions</a> <span aria-hidden="true">/</span></nav>
      <div class="view-header"><h1 class="break">${name}</h1>
        ${badges.filter(Boolean).map((each) => html`<span class="badge badge-plain">${each}</span>`)}<div class="actions">${this.actions()}</div></div>
      <div class="stack">${description ? html`<p class="break">${description}</p>` : nothing}${error ? errorNotice(error) : nothing}
        ${tabList(TABS, "Parts of the definition", tab, this.select)}
        ${TABS.map((each) => html`<div id=${`panel-${each.name}`} role="tabpanel" aria-labelledby=${`tab-${each.name}`} ?hidden=${each.name !== tab}>${
          each.name === tab || each.name === "run" ? panels[each.name]() : nothing}</div>`)}
      </div>`, this.element);
  }

  /** The query of a URL of this page. */
  address(parameters) {
    const query = new URLSearchParams(Object.entries({ ...this.query, ...parameters }).filter(([, value]) => value));
    return query.size ? `?${query}` : "";
  }

  isDefault(version) {
    return version === (this.stored.default_version ?? this.versions[0].version);
  }

  actions() {
    const { archived, default_version: pinned } = this.stored;
    const button = (text, title, changes, message) => html`<button type="button" class="button" title=${title}
      @click=${() => this.change(changes, message)}>${text}</button>`;
    return html`<a class="button" href=${`/ui?definition=${this.name}`}>Runs</a>${hasScope("definitions:write") ? html`
      ${pinned ? button(`Unpin version ${pinned}`, "Runs take the newest version then", { default_version: null }, "No version is pinned.") : nothing}
      ${archived ? button("Unarchive", "It can be run again then", { archived: false }, "It isn't archived any more.")
        : button("Archive", "It can't be run then", { archived: true }, "It is archived.")}` : nothing}`;
  }

  runPanel() {
    const { canWrite, form, stored, isBusy, isChecking, origin, plan, runError } = this;
    if (stored.archived) return notice("warning", "This definition is archived.", html`<p>An archived definition can't be run.</p>`);
    const text = (member, label) => html`<label class="field"><span>${label}</span><input autocomplete="off" maxlength="255" .value=${origin[member] ?? ""}
      @input=${({ target }) => { origin[member] = target.value || undefined; this.onChange(); }}></label>`;
    const button = canWrite ? html`<p><button type="button" class="button button-primary" aria-disabled=${isBusy || form?.sending.size > 0}
      @click=${() => this.run()}>${icon("play")}Run</button></p>` : nothing;
    return html`<div class="definition-run">
      <form class="stack" aria-label="Inputs" novalidate @submit=${(event) => event.preventDefault()}>
        ${canWrite ? nothing : html`<p class="notice notice-warning">Your token may only read. To run a definition, a token needs the scope <code>workflows:write</code>.</p>`}
        ${runError ? errorNotice(runError) : nothing}${form?.content() ?? html`<p class="dim">It has no inputs.</p>`}
        <details class="run-origin"><summary>Name and instance of the run</summary><div class="row">${text("name", "Name")}${text("origin_instance", "Instance")}</div></details>
      </form>
      <div class="stack plan-column" aria-busy=${isChecking}>${plan ? planPanel(plan, button) : html`<section class="card" aria-label="Price"><h2>Price</h2>
        <p class="dim">${isChecking ? "The run is being planned…" : "It is shown once the inputs are complete."}</p>${button}</section>`}</div></div>`;
  }

  textPanel() {
    const text = pretty(this.stored.definition);
    return html`<div class="stack"><div>${copyTextButton(() => text, "Copy JSON")}</div>
      <pre class="definition-text" tabindex="0" role="region" aria-label="Definition">${text.slice(0, MOST_CHARS)}${
        text.length > MOST_CHARS ? html`<span class="dim">\n… Copy it to read all.</span>` : nothing}</pre></div>`;
  }
}
