// The tab "Versions": who stored them and when, which one runs take, and the difference of two as text.
import { getJson } from "../../lib/api.js";
import { errorNotice, html, loading, nothing } from "../../lib/dom.js";
import { ago, dateTime, number } from "../../lib/format.js";
import { pretty } from "../../lib/json.js";
import { hasScope } from "../../lib/scopes.js";
import { differenceOf } from "./difference.js";

const MOST_LINES = 5_000;
const KINDS = { "-": "removed", "+": "added", "@": "range", " ": "same" };

export class Versions {
  /** *view* is the view of the definition. */
  constructor(view) {
    const { stored: { version }, versions } = view;
    const before = versions.find((each) => each.version < version)?.version ?? version;
    Object.assign(this, { view, before, after: version, shown: "", lines: null, error: null });
  }

  /** Reads the two versions that are compared. */
  async compare() {
    const [pair, texts] = [[this.before, this.after], []];
    Object.assign(this, { shown: `${pair}`, lines: null, error: null });
    try {
      for (const version of pair) texts.push(pretty((await getJson(this.view.path, { query: { ...this.view.query, version } })).definition));
      if (this.shown === `${pair}`) this.lines = differenceOf(...texts);
    } catch (error) {
      this.error = error;
    }
    this.view.draw();
  }

  content() {
    const { view, lines, error } = this;
    if (this.shown !== `${[this.before, this.after]}`) this.compare();
    const choice = (name, label) => html`<label class="field"><span>${label}</span><select @change=${({ target }) => {
      this[name] = Number(target.value);
      view.draw();
    }}>${view.versions.map(({ version }) => html`<option value=${version} .selected=${version === this[name]}>${version}</option>`)}</select></label>`;
    return html`<div class="stack">${this.table()}
      <section class="card" aria-label="Difference"><h2>Difference</h2><div class="row">${choice("before", "From version")}${choice("after", "to version")}</div>
        ${error ? errorNotice(error, () => this.compare()) : !lines ? loading() : lines.length ? html`<pre class="difference" tabindex="0" role="region"
          aria-label="Lines of the difference">${lines.slice(0, MOST_LINES).map(({ mark, text }) => html`<span class="line-${KINDS[mark]}">${mark}${text}\n</span>`)}${
            lines.length > MOST_LINES ? html`<span class="dim">… ${number(lines.length - MOST_LINES)} more lines</span>` : nothing}</pre>`
          : html`<p class="dim">They are equal.</p>`}</section></div>`;
  }

  table() {
    const { view } = this;
    const pin = ({ version }) => html`<button type="button" class="button button-plain" aria-label=${`Pin version ${version}`} title="Runs take this version then"
      @click=${() => view.change({ default_version: version }, `Version ${version} is pinned.`)}>Pin</button>`;
    return html`<div class="table-frame" tabindex="0" role="region" aria-label="Versions"><table class="cards">
      <thead><tr><th scope="col">Version</th><th scope="col">By</th><th scope="col">Stored</th><th scope="col"><span class="visually-hidden">Default</span></th></tr></thead>
      <tbody>${view.versions.map((each) => html`<tr><td data-label="Version"><a href=${view.address({ version: each.version })}>${each.version}</a></td>
        <td class="break" data-label="By">${each.created_by}</td>
        <td class="nowrap" data-label="Stored"><time datetime=${each.created_at} title=${dateTime(each.created_at)}>${ago(each.created_at)}</time></td>
        <td>${view.isDefault(each.version) ? html`<span class="badge badge-plain">Default</span>` : nothing}${
          each.version !== view.stored.default_version && hasScope("definitions:write") ? pin(each) : nothing}</td></tr>`)}</tbody></table></div>`;
  }
}
