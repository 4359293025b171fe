// The tab "Outputs": all outputs of the run, its items and its sub-workflows, as cards. Each can be shown large, compared
// with any other, and downloaded; all files together as one ZIP.
import { classMap, emptyState, errorNotice, html, icon, loading, nothing, notice, render, repeat } from "../../lib/dom.js";
import { copyTextButton } from "../../lib/copy.js";
import { plural } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";
import { follow } from "../../lib/stream.js";
import { isTerminal } from "../../lib/status.js";
import { FailedItems } from "./failed_items.js";
import { OutputComparison } from "./output_comparison.js";
import { download, outputContent, outputTitle } from "./output_content.js";
import { downloadName, outputsOf } from "./output_list.js";
import { OutputViewer } from "./output_viewer.js";

const CARDS = 48; // at first, and with each "Show more"
const PAGE = 1000; // files of a request
const PAUSE_MS = 2_000; // between two reads

export default function mount(element, context) {
  const tab = new OutputsTab(element, context);
  context.onChange(() => tab.update());
  follow({ onEvents: (events) => element.checkVisibility() && tab.mayGrow(events) && tab.read() });
  tab.update();
}

class OutputsTab {
  constructor(element, context) {
    this.context = context;
    this.path = `/workflows/${encodeURIComponent(context.id)}/outputs`;
    this.files = null; // null: they are being read
    this.outputs = [];
    this.pages = 1; // how many pages of files are wanted
    this.isCut = false; // there are further pages
    this.error = null;
    this.shown = CARDS;
    this.earlier = null; // the outputs of the run that this one was made from; null: they weren't read
    this.chosen = null; // the key of the output that is to be compared with another one
    this.failed = new FailedItems(`/workflows/${encodeURIComponent(context.id)}`, () => this.draw());
    const [list, viewer, comparison] = ["div", "div", "div"].map((name) => document.createElement(name));
    element.replaceChildren(list, viewer, comparison);
    this.list = list;
    this.viewer = new OutputViewer(viewer, () => this.outputs);
    this.comparison = new OutputComparison(comparison, () => [...this.outputs, ...(this.earlier ?? [])]);
    this.read = refresher(() => this.load(), { pauseMs: () => PAUSE_MS });
  }

  /** Takes the outputs of the run as it is now. */
  update() {
    this.failed.update(this.context.run.steps);
    this.read();
    if (this.context.run.derived_from && !this.earlier) this.readEarlier();
    this.draw();
  }

  /** Reads the outputs of the earlier run, for comparison. It may be deleted: then there is nothing to compare with. */
  async readEarlier() {
    this.earlier = [];
    const path = `/workflows/${this.context.run.derived_from}`;
    try {
      const read = async (...arguments_) => (await this.context.api.request(...arguments_)).data;
      const [run, { outputs }] = await Promise.all([
        read(path, { query: { include_results: false } }), read(`${path}/outputs`, { query: { limit: PAGE } }),
      ]);
      this.earlier = outputsOf(run, outputs, false).map((each) => ({
        ...each, key: `before\n${each.key}`, stepPath: `${each.stepPath} (before)`, of: each.stepPath,
      }));
    } catch (error) {
      console.warn(error);
    }
    this.draw();
  }

  /** The output of the earlier run in whose place *output* is; undefined if the result was taken over, or is new. */
  before(output) {
    const earlier = output.path ? this.earlier ?? [] : [];
    if (earlier.some((each) => each.path === output.path)) return undefined;
    const same = earlier.filter((each) => each.of === output.stepPath && each.kind === output.kind);
    return same.find((each) => each.name === output.name) ?? same[0];
  }

  /** True if *events* may be those of sub-workflows, whose files the run's own events don't announce. */
  mayGrow(events) {
    return this.context.run.steps.some((step) => step.task_type === "SUBWORKFLOW" && step.status === "RUNNING")
      && events.some((event) => event.type === "step.completed");
  }

  async load() {
    try {
      const files = [];
      let cursor = null;
      for (let page = 0; page < this.pages && cursor !== undefined; page += 1) {
        const { data, headers } = await this.context.api.request(this.path, { query: { limit: PAGE, cursor } });
        files.push(...data.outputs);
        const next = this.context.api.nextLink(headers);
        cursor = next ? new URL(next, location.href).searchParams.get("cursor") : undefined;
      }
      [this.files, this.isCut, this.error] = [files, cursor !== undefined, null];
    } catch (error) {
      this.error = error;
    }
    this.draw();
  }

  draw() {
    this.outputs = outputsOf(this.context.run, this.files ?? [], this.context.hasResults);
    render(html`${this.failed.view((id) => this.context.openStep(id))}${this.content()}`, this.list);
    if (this.viewer.key) this.viewer.draw();
    if (this.comparison.keys) this.comparison.draw();
  }

  content() {
    const { outputs, error } = this;
    const failure = error ? errorNotice(error, () => this.read()) : nothing;
    if (this.files === null) return error ? failure : loading("The outputs are loading…");
    if (!outputs.length) return error ? failure : this.nothingYet();
    const shown = outputs.slice(0, this.shown);
    return html`${failure}
      ${this.context.run.is_deleted ? notice("warning", "This run was cleaned up.", html`<p>Its files are deleted, unless
        another run needs them.</p>`) : nothing}
      ${this.toolbar()}
      <ul class="output-cards">${repeat(shown, (each) => each.key, (each) => this.card(each))}</ul>
      ${shown.length < outputs.length || this.isCut ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => this.showMore()}>Show more</button>
        <span class="dim">${shown.length} of ${this.count()}</span></p>` : nothing}`;
  }

  count() {
    return this.isCut ? `more than ${plural(this.outputs.length, "output")}` : plural(this.outputs.length, "output");
  }

  showMore() {
    this.shown += CARDS;
    if (this.isCut && this.shown > this.outputs.length) {
      this.pages += 1;
      this.read();
    }
    this.draw();
  }

  nothingYet() {
    const { run } = this.context;
    if (run.is_deleted) return emptyState("This run was cleaned up.", html`<p>It has no outputs.</p>`);
    if (isTerminal(run.status)) {
      return emptyState("This run has no outputs.", html`<p>No step has ended with a result.</p>`);
    }
    const text = run.status === "PENDING" ? "Start the run: its outputs appear here." : "They appear here as steps end.";
    return emptyState("There are no outputs yet.", html`<p>${text}</p>`);
  }

  toolbar() {
    const { outputs, chosen } = this;
    const picked = outputs.find((each) => each.key === chosen);
    return html`<div class="tab-bar">
      <h2 class="tab-count">${this.count()}</h2>
      <p class="dim tab-hint" role="status">${picked
        ? `Select “Compare” of the output to compare with ${picked.stepPath} · ${picked.name}.` : ""}</p>
      ${this.files.length ? html`<a class="button" href=${this.context.api.apiUrl(this.path, { download: true })} download
        title="All files as one ZIP">${icon("download")}Download all</a>` : nothing}
    </div>`;
  }

  card(output) {
    const title = outputTitle(output);
    const visual = output.kind === "image" || output.kind === "video";
    const compares = this.outputs.length > 1;
    const before = this.before(output);
    return html`<li class=${classMap({ card: true, "output-card": true, "output-card-final": output.isFinal })}>
      <div class=${`output-frame output-frame-${output.kind}`}>
        ${outputContent(output, { draw: () => this.draw() })}
        ${output.kind === "image" ? html`<button type="button" class="output-enlarge" aria-label=${`Enlarge: ${title}`}
          @click=${() => this.viewer.open(output.key)}></button>` : nothing}
      </div>
      <div class="output-caption">
        ${output.stepId === null ? html`<span class="output-step">${output.stepPath}</span>` : html`<button type="button"
          class="output-step" title=${`Details of ${output.stepId}`}
          @click=${() => this.context.openStep(output.stepId)}>${output.stepPath}</button>`}
        ${output.isFinal ? html`<span class="badge badge-plain output-final">Result of the run</span>` : nothing}
      </div>
      <p class="dim output-name truncate" title=${output.name}>${output.name}${output.size ? ` · ${output.size}` : ""}</p>
      <div class="output-actions">
        ${compares ? html`<button type="button" class="button" aria-pressed=${this.chosen === output.key ? "true" : "false"}
          aria-label=${`Compare: ${title}, ${output.name}`} @click=${() => this.choose(output.key)}>Compare</button>` : nothing}
        ${before ? html`<button type="button" class="button" aria-label=${`Before and after: ${title}, ${output.name}`}
          @click=${() => this.comparison.open(before.key, output.key)}>Before and after</button>` : nothing}
        ${visual || output.kind === "file" || output.kind === "sound" ? nothing : html`<button type="button" class="button"
          aria-label=${`Enlarge: ${title}, ${output.name}`} @click=${() => this.viewer.open(output.key)}>Enlarge</button>`}
        ${output.text === null ? nothing : copyTextButton(() => output.text)}
        <button type="button" class="icon-button" aria-label=${`Download: ${title}, ${output.name}`} title="Download"
          @click=${() => download(output, downloadName(output))}>${icon("download")}</button>
      </div>
    </li>`;
  }

  /** Remembers the first output that is to be compared; the second one opens the comparison. */
  choose(key) {
    const first = this.chosen;
    this.chosen = first === null ? key : null;
    this.draw();
    if (first !== null && first !== key) this.comparison.open(first, key);
  }
}
