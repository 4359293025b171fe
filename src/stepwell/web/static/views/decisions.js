// The view "Decisions": the steps that wait for a decision, as cards that are decided by mouse or by keys, one or several at once.
//
// What must hold:
// - Nothing moves under the mouse. A decided card keeps its height, and new decisions come at the end.
// - More cards are loaded when the end of the list is near. A card is drawn again only when it has changed.
import { API, apiUrl, nextLink, request } from "../lib/api.js";
import { noteServiceTime } from "../lib/clock.js";
import { beginsWait, followDecisions } from "../lib/decision_count.js";
import { canDecide, choiceButtons, choiceOfKey, choiceText } from "../lib/decision_form.js";
import { announce, emptyState, errorNotice, html, loading, noChange, nothing, render, repeat } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { card, labelsOf, namesOf, textOf } from "./decisions/card.js";
import { DecisionSender, UNDO_S } from "./decisions/sender.js";

const PAGE = 50; // as in `VIEWS` of pages.py
const [NEAR_PX, MINUTE_MS] = [1200, 60_000];
const ENDED = ["decided", "late", "gone"];

export default async function mount(element) {
  await new DecisionsView(element).start();
}

class DecisionsView {
  constructor(element) {
    const query = new URLSearchParams(location.search);
    const filters = Object.fromEntries(["search", "label", "definition", "step_id"].map((name) => [name, query.get(name) ?? ""]));
    Object.assign(this, { element, filters, known: new Map(), entries: [], path: null, next: null, isLoading: false, error: null });
    this.sender = new DecisionSender((...entries) => this.redraw(...entries));
    this.actions = {
      choose: (entry, choice) => this.choose([entry], choice),
      undo: (entry) => this.undo([entry]),
      retry: (entry) => this.sender.send([entry]),
      select: (entry, isSelected) => this.select([entry], isSelected),
      open: (entry) => this.redraw(Object.assign(entry, { isOpen: !entry.isOpen })),
    };
  }

  async start() {
    if (!canDecide()) {
      render(html`<div class="view-header"><h1>Decisions</h1></div><p class="dim">Your token may not decide. It needs the
        scope <code>workflows:approve</code> or <code>workflows:write</code>.</p>`, this.element);
      return;
    }
    followDecisions(() => this.loadNew(), (events) => this.note(events));
    document.addEventListener("keydown", (event) => this.onKey(event));
    document.addEventListener("scroll", () => this.loadNear(), { passive: true });
    setInterval(() => document.hidden || this.redraw(...this.entries), MINUTE_MS); // "3 min ago"
    await this.reload();
  }

  /** Loads the first page for the filters. */
  async reload() {
    this.entries = [];
    const { label, definition, step_id } = this.filters;
    await this.load(apiUrl("/decisions", { limit: PAGE, label, definition, step_id }).slice(API.length));
    this.loadNear();
  }

  /** Loads a page, and appends what isn't there yet. */
  async load(path) {
    Object.assign(this, { path, next: null, isLoading: true, error: null });
    this.draw();
    try {
      const { data, headers } = await request(path);
      if (this.path !== path) return;
      noteServiceTime(headers);
      for (const decision of data.decisions) this.append(decision);
      this.next = nextLink(headers)?.slice(API.length) ?? null;
    } catch (error) {
      if (this.path !== path) return;
      this.error = error;
    }
    this.isLoading = false;
    this.draw();
  }

  append(decision) {
    const key = `${decision.workflow_id} ${decision.step_id} ${decision.since}`; // a step that waits again is another decision
    if (!this.known.has(key)) this.known.set(key, { key, decision, text: textOf(decision), state: "open", note: "", isSelected: false, isOpen: false });
    const entry = this.known.get(key);
    if (!this.entries.includes(entry)) this.entries.push(Object.assign(entry, { isStale: true }));
  }

  async loadNear() {
    const isNear = () => this.element.getBoundingClientRect().bottom < innerHeight + NEAR_PX;
    while (this.next && isNear()) await this.load(this.next);
  }

  /** Reads the last page again. While there are more, new decisions come by scrolling. */
  async loadNew() {
    if (this.path && !this.next && !this.isLoading) await this.load(this.path);
  }

  /** Marks the cards of decisions that *events* have ended. Returns whether others may have begun. */
  note(events) {
    for (const { type, workflow_id: workflowId, step_id: stepId, actor, at } of events) {
      const ended = this.entries.filter(({ decision, state }) => type !== "step.waiting" && state === "open" && decision.workflow_id === workflowId
        && (stepId === null || decision.step_id === stepId) && Date.parse(decision.since) <= Date.parse(at));
      const why = type === "step.completed" ? `Decided by ${actor}.` : "It doesn't wait any more.";
      if (ended.length) this.redraw(...ended.map((entry) => Object.assign(entry, { state: "gone", why, isSelected: false })));
    }
    return events.some(beginsWait);
  }

  get shown() {
    const words = this.filters.search.toLowerCase().split(/\s+/);
    return this.entries.filter((entry) => words.every((word) => entry.text.includes(word)));
  }

  get selected() {
    return this.shown.filter((entry) => entry.isSelected);
  }

  redraw(...entries) {
    for (const entry of entries) entry.isStale = true;
    this.draw();
  }

  draw() {
    const { shown, error, filters } = this;
    const isMore = this.next || (this.isLoading && !this.entries.length);
    render(html`
      <div class="view-header"><h1>Decisions</h1>
        <p class="dim decision-keys"><kbd>j</kbd> <kbd>k</kbd> next and previous, <kbd>1</kbd> to <kbd>9</kbd> choose, <kbd>u</kbd> undo, <kbd>x</kbd> select, <kbd>o</kbd> details</p></div>
      ${this.filterForm(shown)}
      ${this.selectionBar()}
      ${error ? errorNotice(error, () => this.load(this.path)) : nothing}
      <div role=${shown.length ? "feed" : nothing} aria-label=${shown.length ? "Open decisions" : nothing} aria-busy=${this.isLoading} class="decision-list">${
        repeat(shown, (entry) => entry.key, (entry) => this.cardOf(entry))}</div>
      ${shown.length || isMore || error ? nothing : this.entries.length || filters.label || filters.definition || filters.step_id ? emptyState("No open decision matches.")
        : emptyState("Nothing waits for a decision.", html`<p>A step of the type APPROVAL is shown here while it waits for somebody to decide.</p>`)}
      ${isMore ? loading(filters.search ? `Searching. ${plural(this.entries.length, "decision")} read so far…` : "Loading…") : nothing}`, this.element);
  }

  cardOf(entry) {
    if (!entry.isStale) return noChange;
    entry.isStale = false;
    return card(entry, this.actions);
  }

  filterForm(shown) {
    const { entries, filters } = this;
    const open = shown.filter((entry) => entry.state === "open");
    const ended = entries.filter((entry) => ENDED.includes(entry.state));
    const options = (id, values) => html`<datalist id=${id}>${[...new Set(values)].sort().map((each) => html`<option value=${each}></option>`)}</datalist>`;
    const reload = (name) => (event) => this.filter({ [name]: event.target.value.trim() }) || this.reload();
    return html`<form class="decision-filters" role="search" @submit=${(event) => event.preventDefault()}>
      <label class="field"><span>Search</span><input type="search" .value=${filters.search}
        @input=${(event) => this.filter({ search: event.target.value }) || this.loadNear()}></label>
      <label class="field"><span>Label</span><input list="decision-labels" placeholder="key:value" .value=${filters.label} @change=${reload("label")}></label>
      <label class="field"><span>Definition</span><input placeholder="name" .value=${filters.definition} @change=${reload("definition")}></label>
      <label class="field"><span>Step</span><input list="decision-steps" .value=${filters.step_id} @change=${reload("step_id")}></label>
      ${options("decision-labels", entries.flatMap((entry) => labelsOf(entry.decision)))}
      ${options("decision-steps", entries.map((entry) => entry.decision.step_id))}
      <label class="decision-all"><input type="checkbox" .checked=${open.length > 0 && open.every((entry) => entry.isSelected)} ?disabled=${!open.length}
        @change=${(event) => this.select(open, event.target.checked)}> Select all shown</label>
      <button type="button" class="button" ?disabled=${!ended.length} @click=${() => this.hideEnded()}>Hide decided (${ended.length})</button>
    </form>`;
  }

  /** Shows what matches. The service filters by label and step; this page searches, and reads on until the window is full. */
  filter(changes) {
    Object.assign(this.filters, changes);
    const query = new URLSearchParams(Object.entries(this.filters).filter(([, value]) => value));
    history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
    this.redraw(...this.entries); // a card that comes back is a new element
  }

  select(entries, isSelected) {
    for (const entry of entries) entry.isSelected = isSelected;
    this.redraw(...entries);
  }

  hideEnded() {
    this.entries = this.entries.filter((entry) => !ENDED.includes(entry.state));
    this.draw();
    document.querySelector(".decision-filters input").focus();
  }

  /** The bar at the bottom of the window: the same choice for all selected, and the way back for several. */
  selectionBar() {
    const { selected, sender: { latest } } = this;
    const choices = commonChoices(selected);
    if (!selected.length && latest.length < 2) return nothing;
    return html`<section class="decision-bar" aria-label="Selected decisions">${selected.length ? html`
      <strong>${selected.length} selected</strong>
      ${choices.length ? choiceButtons(choices, { hasKeys: true, onChoose: (choice) => this.choose(selected, choice) })
        : html`<span>They have no choice in common.</span>`}
      <button type="button" class="button button-plain" @click=${() => this.select(selected, false)}>Clear</button>` : html`
      <span><strong>${choiceText(latest[0].choice)}</strong> for ${plural(latest.length, "decision")}, sent in ${UNDO_S} s</span>
      <button type="button" class="button" @click=${() => this.undo(latest)}>Undo all</button>`}</section>`;
  }

  choose(entries, choice, byKey = false) {
    this.sender.choose(entries, choice);
    this.select(entries, false);
    const what = entries.length > 1 ? plural(entries.length, "decision") : namesOf(entries[0].decision).join(", ");
    announce(`${choiceText(choice)} for ${what}. It is sent in ${UNDO_S} seconds, and U undoes it.`);
    if (byKey) return this.move(1, (entry) => entry.state === "open");
    const shownAt = entries.length > 1 ? document.querySelector(".decision-bar") : this.cardElement(entries[0])?.querySelector(".decision-state");
    shownAt?.querySelector("button")?.focus({ preventScroll: true });
  }

  undo(entries) {
    this.sender.undo(entries);
    this.redraw(...entries);
    announce("Undone.");
    this.cardElement(entries[0])?.focus({ preventScroll: true });
  }

  cardElement(entry) {
    return entry && document.querySelector(`[data-key="${CSS.escape(entry.key)}"]`);
  }

  /** Moves the focus to the next card in that direction that fits. */
  move(step, fits = () => true) {
    const { shown, current } = this;
    let at = shown.indexOf(current) + step;
    while (shown[at] && !fits(shown[at])) at += step;
    const element = this.cardElement(shown[at]);
    element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "nearest" });
  }

  /** The entry whose card has the focus. */
  get current() {
    return this.known.get(document.activeElement?.closest("[data-key]")?.dataset.key);
  }

  onKey(event) {
    const isTyping = event.target.matches("textarea, select, input:not([type=checkbox])");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const { current, selected, sender: { latest } } = this;
    const actions = {
      j: () => this.move(1),
      k: () => this.move(-1),
      u: () => latest.length && this.undo(latest),
      x: () => current?.state === "open" && this.select([current], !current.isSelected),
      o: () => current && this.actions.open(current),
    };
    for (const digit of "123456789") actions[digit] = () => this.chooseByKey(selected.length ? selected : [current], digit);
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  }

  chooseByKey(entries, digit) {
    const choice = entries.every((entry) => entry?.state === "open") ? choiceOfKey(commonChoices(entries), digit) : undefined;
    if (choice !== undefined) this.choose(entries, choice, true);
  }
}

/** The choices that all *entries* have, in the order of the first. */
function commonChoices(entries) {
  const [first = [], ...others] = entries.map((entry) => entry.decision.choices);
  return first.filter((choice) => others.every((choices) => choices.includes(choice)));
}
