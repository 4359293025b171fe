// The tab "Graph": the graph of the run, and the list of its steps beside it.
import { announce, html, icon, nothing, ref, render } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";
import { GraphCanvas } from "./graph_canvas.js";
import { stepList } from "./step_list.js";
import { openSource } from "./sub_workflows.js";

const ZOOM = 1.3;
const STEP_PX = 60; // of the arrow keys with Shift

export default async function mount(element, context) {
  performance.mark("stepwell:graph-begins");
  const tab = new GraphTab(element, context);
  tab.draw();
  tab.canvas = new GraphCanvas(element.querySelector(".graph-canvas"), context.run.steps, {
    openStep: (id, part) => tab.openStep(id, part),
    onGroups: () => tab.draw(),
    openSource: (step, part, callbacks) => openSource(step, () => (part.source ? part.source.reader : context.reader), callbacks),
  });
  tab.draw();
  performance.measure("stepwell:graph-laid-out", "stepwell:graph-begins");
  context.onChange((run) => tab.update(run));
  context.onEvents((events) => tab.canvas.noteEvents(events));
  await tab.canvas.drawn;
}

class GraphTab {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.canvas = null;
    this.term = "";
    this.selected = null;
  }

  update(run) {
    this.canvas.update(run.steps);
    this.draw();
  }

  /** Opens a step of the run, or of a sub-workflow that has begun. */
  openStep(id, part = this.canvas.root) {
    const reader = part.source?.reader;
    if (part.source && !reader) return;
    this.selected = part.source ? null : id;
    this.canvas.select(id, part);
    this.draw();
    this.context.openStep(id, reader);
  }

  onSearch = (event) => {
    this.term = event.target.value.trim();
    this.canvas.search(this.term);
    this.draw();
  };

  /** Enter opens the first step that matches. */
  onSearchKey = (event) => {
    if (event.key === "Enter") this.element.querySelector(".step-row[data-step]")?.click();
  };

  onCanvasKey = (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const acts = { "+": () => this.canvas.zoomBy(ZOOM), "=": () => this.canvas.zoomBy(ZOOM),
      "-": () => this.canvas.zoomBy(1 / ZOOM), 0: () => this.canvas.fit(), Enter: () => this.canvas.openCurrent(),
      " ": () => this.canvas.toggleCurrent() };
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || (!move && !acts[event.key])) return;
    event.preventDefault();
    if (!move) acts[event.key]();
    else if (event.shiftKey) this.canvas.panBy(-move[0] * STEP_PX, -move[1] * STEP_PX);
    else announce(this.canvas.moveCurrent(...move) ?? "There is nothing in this direction.");
  };

  draw() {
    const { canvas, context, term, selected } = this;
    const { steps } = context.run;
    render(html`<div class="graph">
      <div class="graph-frame">
        <div class="graph-canvas" tabindex="0" role="application" ${ref(leaveWheelToPage)} @keydown=${this.onCanvasKey}
          aria-label=${`Graph of ${plural(steps.length, "step")}. Arrow keys go from step to step, Enter opens one, Space opens its sub-workflow in the graph. With Shift, arrow keys move the graph. Plus and minus zoom. The list of steps has the same content.`}></div>
        <div class="graph-tools" role="group" aria-label="Zoom">
          <button type="button" class="icon-button" aria-label="Zoom in" title="Zoom in (+)" @click=${() => canvas.zoomBy(ZOOM)}>+</button>
          <button type="button" class="icon-button" aria-label="Zoom out" title="Zoom out (−)" @click=${() => canvas.zoomBy(1 / ZOOM)}>−</button>
          <button type="button" class="icon-button" aria-label="Show the whole graph" title="Show the whole graph (0)"
            @click=${() => canvas.fit()}>${icon("fit")}</button>
        </div>
      </div>
      <section class="graph-list" aria-label="List of the steps">
        <label class="graph-search"><span class="visually-hidden">Search steps</span>
          <input type="search" placeholder="Search steps" maxlength="200" @input=${this.onSearch} @keydown=${this.onSearchKey}></label>
        <div class="graph-steps">${canvas ? stepList(canvas.root, {
          term, selected, open: (id, part) => this.openStep(id, part), toggle: (part, step) => canvas.toggleNode(part, step),
          groups: canvas.groups, openGroup: canvas.open, toggleGroup: (group) => canvas.toggleGroup(group),
        }) : nothing}</div>
      </section>
    </div>`, this.element);
  }
}

const guarded = new WeakSet();

/** The wheel scrolls the page, unless the graph has the focus (after a click) or Ctrl is pressed: then it zooms. */
function leaveWheelToPage(element) {
  if (!element || guarded.has(element)) return;
  guarded.add(element);
  element.addEventListener("pointerdown", () => element.focus({ preventScroll: true }));
  element.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey || document.activeElement === element) return;
    event.stopImmediatePropagation();
  }, { capture: true });
}
