// The view "Definitions": the stored definitions by name. The filters are in the URL.
import { API, apiUrl, nextLink, request } from "../lib/api.js";
import { noteServiceTime } from "../lib/clock.js";
import { announce, emptyState, errorNotice, html, loading, nothing, render, repeat } from "../lib/dom.js";
import { ago, dateTime, plural } from "../lib/format.js";
import { hasScope } from "../lib/scopes.js";

const PAGE = 50; // as in `VIEWS` of pages.py
const FILTERS = ["name", "label", "archived", "origin_tenant_id"];

export default async function mount(element, { everyTenant }) {
  const query = new URLSearchParams(location.search);
  const state = { filters: Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""])), definitions: null, next: null, error: null, path: "" };
  const draw = () => render(view(state, { everyTenant, filter, read }), element);

  /** Reads a page of the list. With *isNext*, it is appended. */
  async function read(path, isNext = false) {
    state.path = path;
    draw();
    try {
      const { data, headers } = await request(path);
      if (state.path !== path) return; // the filters have changed
      noteServiceTime(headers);
      const definitions = [...(isNext ? state.definitions : []), ...data.definitions];
      Object.assign(state, { definitions, next: nextLink(headers)?.slice(API.length) ?? null, error: null });
      announce(plural(definitions.length, "definition"));
    } catch (error) {
      if (state.path !== path) return;
      state.error = error;
    }
    draw();
  }

  async function filter(changes = {}) {
    Object.assign(state.filters, changes);
    const parameters = new URLSearchParams(Object.entries(state.filters).filter(([, value]) => value));
    history.replaceState(null, "", parameters.size ? `?${parameters}` : location.pathname);
    await read(apiUrl("/definitions", { ...state.filters, limit: PAGE }).slice(API.length));
  }

  if (hasScope("definitions:read")) return filter();
  return render(html`<div class="view-header"><h1>Definitions</h1></div><p class="dim">Your token may not read stored definitions. It needs the
    scope <code>definitions:read</code>.</p>`, element);
}

function view({ filters, definitions, next, error, path }, { everyTenant, filter, read }) {
  const set = ({ target }) => filter({ [target.name]: target.value.trim() });
  const field = (name, label, example = "") => html`<label class="field"><span>${label}</span><input name=${name} placeholder=${example}
    .value=${filters[name]} @change=${set}></label>`;
  return html`<div class="view-header"><h1>Definitions</h1></div>
    <div class="stack">
      <form class="definition-filters" role="search" @submit=${(event) => event.preventDefault()}>
        <label class="field"><span>Name begins with</span><input type="search" name="name" .value=${filters.name} @input=${set}></label>
        ${field("label", "Label", "key:value")}${everyTenant ? field("origin_tenant_id", "Tenant") : nothing}
        <label class="definition-archived"><input type="checkbox" .checked=${filters.archived === "true"}
          @change=${({ target }) => filter({ archived: target.checked ? "true" : "" })}> Archived</label>
      </form>
      ${error ? errorNotice(error, () => read(path)) : nothing}
      ${definitions?.length ? table(definitions, filters, filter) : error ? nothing : definitions === null ? loading() : emptyContent(filters)}
      ${next ? html`<p><button type="button" class="button" @click=${() => read(next, true)}>Show more</button></p>` : nothing}
    </div>`;
}

function emptyContent(filters) {
  return FILTERS.some((name) => filters[name]) ? emptyState("No definition matches.") : emptyState("There are no stored definitions yet.", html`
    <p><code>stepwell definitions put NAME FILE</code> stores one. Then it can be run by its name, here too.</p>
    <p><a href="/manual/definitions">The manual about stored definitions</a></p>`);
}

function table(definitions, { origin_tenant_id: tenant }, filter) {
  const address = (name) => `/ui/definitions/${name}${tenant ? `?${new URLSearchParams({ origin_tenant_id: tenant })}` : ""}`;
  return html`<div class="table-frame" tabindex="0" role="region" aria-label="Stored definitions"><table class="cards">
    <thead><tr>${["Name", "Version", "Default", "Labels", "By", "Stored"].map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
    <tbody>${repeat(definitions, (each) => each.name, (each) => html`<tr>
      <td class="wide"><a class="break definition-name" href=${address(each.name)}>${each.name}</a>
        ${each.description ? html`<div class="dim small break">${each.description}</div>` : nothing}</td>
      <td data-label="Version">${each.version}</td><td data-label="Default">${each.default_version ?? "newest"}</td>
      <td data-label="Labels"><span class="chips">${Object.entries(each.labels ?? {}).map(([key, value]) => html`<button type="button" class="chip"
        @click=${() => filter({ label: `${key}:${value}` })}><span class="truncate">${key}:${value}</span></button>`)}</span></td>
      <td class="break" data-label="By">${each.created_by}</td>
      <td class="nowrap" data-label="Stored"><time datetime=${each.created_at} title=${dateTime(each.created_at)}>${ago(each.created_at)}</time></td></tr>`)}</tbody>
  </table></div>`;
}
