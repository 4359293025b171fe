// The view "Decisions": the steps that wait for a decision, with their pictures beside the buttons.
import { nextLink, request } from "../lib/api.js";
import { noteServiceTime } from "../lib/clock.js";
import { canDecide, decisionForm, isPicture } from "../lib/decision_form.js";
import { emptyState, errorNotice, html, loading, nothing, render, repeat } from "../lib/dom.js";
import { ago, dateTime } from "../lib/format.js";
import { fileUrl, isArtifactPath, kindOf } from "../lib/outputs.js";
import { refresher } from "../lib/refresher.js";
import { follow } from "../lib/stream.js";

const PAGE = 50;
const CHANGES = /^(step\.(waiting|completed|failed|cancelled|skipped)|workflow\.(cancelled|cleaned|failed))$/;

export default async function mount(element) {
  await new DecisionsView(element).start();
}

class DecisionsView {
  constructor(element) {
    Object.assign(this, { element, decisions: null, hasMore: false, limit: PAGE, error: null, tooLate: null, forms: new Map() });
    this.refresh = refresher(() => this.load());
  }

  async start() {
    if (!canDecide()) {
      render(html`<div class="view-header"><h1>Decisions</h1></div><p class="dim">Your token may not decide. It needs the
        scope <code>workflows:approve</code> or <code>workflows:write</code>.</p>`, this.element);
      return;
    }
    follow({
      onEvents: (events) => events.some((event) => CHANGES.test(event.type)) && this.refresh(),
      onGap: () => this.refresh(),
    });
    await this.load();
  }

  async load() {
    this.draw();
    try {
      const { data, headers } = await request("/decisions", { query: { limit: this.limit } });
      noteServiceTime(headers);
      Object.assign(this, { decisions: data.decisions, hasMore: nextLink(headers) !== null, error: null });
    } catch (error) {
      this.error = error;
    }
    this.draw();
  }

  draw() {
    render(html`
      <div class="view-header"><h1>Decisions</h1></div>
      <div class="stack">
        ${this.error ? errorNotice(this.error, () => this.load()) : nothing}
        ${this.tooLate ? errorNotice(this.tooLate) : nothing}
        ${this.decisions === null ? (this.error ? nothing : loading()) : this.decisions.length
          ? repeat(this.decisions, keyOf, (each) => this.card(each))
          : emptyState("Nothing waits for a decision.", html`<p>A step of the type APPROVAL is shown here while it waits for somebody to decide.</p>`)}
        ${this.hasMore ? html`<p class="dim">There are more decisions than are shown. The others follow when some of these are made.</p>` : nothing}
      </div>`, this.element);
  }

  /** After a decision. *tooLate* is the error if another one came first: it is shown here, because the card is gone. The focus goes
   *  to the next card. */
  onDecided(tooLate = null) {
    this.tooLate = tooLate;
    const card = document.activeElement.closest("article");
    (card?.nextElementSibling ?? card?.previousElementSibling)?.focus({ preventScroll: true });
    this.refresh();
  }

  card(decision) {
    const form = this.forms.get(keyOf(decision)) ?? {};
    this.forms.set(keyOf(decision), form);
    const urls = new Map(decision.files.map((file) => [file.path, previewOf(file)]));
    const files = decision.files.filter(({ path }) => !(isPicture(path) && decision.choices.includes(path)));
    const isShown = (value) => isArtifactPath(value) || (Array.isArray(value) && value.length && value.every((path) => urls.has(path)));
    const texts = Object.entries(decision.inputs).filter(([, value]) => value !== null && !isShown(value));
    const hasContent = files.length + texts.length > 0;
    return html`<article class="card stack decision" tabindex="-1" aria-label=${`${decision.workflow_name}, ${decision.step_id}`}>
      <h2 class="decision-message">${decision.message ?? "Please decide."}</h2>
      <p class="dim"><a href=${`/ui/workflows/${decision.workflow_id}`}>${decision.workflow_name}</a>, step ${decision.step_id}, asked
        <time datetime=${decision.since} title=${dateTime(decision.since)}>${ago(decision.since)}</time>${decision.until
          ? html`. Decide by <time datetime=${decision.until}>${dateTime(decision.until)}</time>.` : nothing}</p>
      <div class="decision-body ${hasContent && !decision.choices.some(isPicture) ? "decision-beside" : ""}">
        ${hasContent ? html`<div class="stack">
          ${files.length ? html`<div class="decision-files">${files.map((file) => fileView(file))}</div>` : nothing}
          ${texts.length ? html`<dl class="decision-texts">${texts.map(([name, value]) => html`<dt>${name}</dt>
            <dd>${typeof value === "string" ? value : JSON.stringify(value)}</dd>`)}</dl>` : nothing}</div>` : nothing}
        ${decisionForm(decision, form, {
          redraw: () => this.draw(), onDecided: (tooLate) => this.onDecided(tooLate), pictureUrl: (path) => urls.get(path) ?? fileUrl(path, { width: 512 }),
        })}
      </div>
    </article>`;
  }
}

/** A step that waits again, after a resume, is another decision. */
function keyOf(decision) {
  return `${decision.workflow_id} ${decision.step_id} ${decision.since}`;
}

function previewOf({ url, path }) {
  const { pathname, search } = new URL(url);
  return pathname + search + (path.toLowerCase().endsWith(".svg") ? "" : "&w=512");
}

/** A file by its signed URL, which a token that may only decide can read, too. */
function fileView(file) {
  const { pathname, search } = new URL(file.url);
  const [url, kind] = [pathname + search, kindOf(file.path)];
  const caption = html`<figcaption class="dim">${file.input}</figcaption>`;
  if (kind === "image") {
    return html`<figure><a href=${url} target="_blank" rel="noopener"><img src=${previewOf(file)} alt=${file.input} decoding="async"></a>${caption}</figure>`;
  }
  if (kind === "video") {
    return html`<figure><video src=${url} aria-label=${file.input} controls preload="metadata" playsinline></video>${caption}</figure>`;
  }
  return html`<figure><a href=${url} target="_blank" rel="noopener">${file.path.split("/").pop()}</a>${caption}</figure>`;
}
