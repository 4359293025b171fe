// The graph of a run on a canvas, drawn by Cytoscape.js at positions that layout.js gives.
//
// What must hold:
// - Names and statuses are drawn as text. Nothing of a run is a selector or a style.
// - Up to GROUPED_ABOVE steps are drawn one by one. In a larger run groups of layers are drawn; one at a time can be open.
// - Images are loaded only for nodes that can be seen, and large enough for that.
import cytoscape from "../../vendor/cytoscape.js";
import { number, percent } from "../../lib/format.js";
import { fileUrl, filesOf, kindOf } from "../../lib/outputs.js";
import { statusText, stepStatusText } from "../../lib/status.js";
import { graphStyle, onThemeChange, readColours } from "./graph_style.js";
import {
  dependencyIndexes, groupName, groupPositions, groupsOf, layersOf, NODE, orderLayers, positionsOf,
} from "./layout.js";

const GROUPED_ABOVE = 1_500;
const FAST_ABOVE = 250; // beyond that, edges are straight, and hidden while the graph moves
const FAR_ZOOM = 0.3; // nodes that are drawn smaller than this have no readable text
const IMAGES_FROM_ZOOM = 0.45;
const MOST_IMAGES = 60; // loaded at once
const SETTLED_MS = 150;
const PADDING = 24; // around the graph
const NAME_CHARS = 24;
const STYLE_SHEET = "__________cytoscape_stylesheet";
// The status of a group is the first of these that one of its steps has.
const WORST_FIRST = ["FAILED", "RUNNING", "CANCELLED", "SKIPPED", "PENDING", "COMPLETED"];

export class GraphCanvas {
  /** @param openStep called with a step's id  @param onGroups called after a group was opened or closed
   *  @param describe returns the second line of a step's node: by default its status */
  constructor(container, steps, { openStep, onGroups = () => {}, describe = stepStatusText }) {
    this.container = container;
    this.openStep = openStep;
    this.onGroups = onGroups;
    this.describe = describe;
    this.shares = new Map(); // the progress of running steps, by id
    this.selected = null;
    this.isFar = false;
    this.setGraph(steps);
    this.build();
  }

  setGraph(steps) {
    this.setSteps(steps);
    this.open = null; // the open group
    const dependencies = dependencyIndexes(steps);
    this.dependencies = dependencies;
    this.layers = orderLayers(layersOf(dependencies), dependencies);
    this.groups = steps.length > GROUPED_ABOVE ? groupsOf(this.layers) : null;
    this.indexGroups();
  }

  /** Draws another graph. */
  replace(steps) {
    this.setGraph(steps);
    this.replaceElements();
    this.reserveHeight();
    this.fit();
  }

  replaceElements() {
    this.cy.batch(() => {
      this.cy.elements().remove();
      this.cy.add(this.elements());
    });
    this.isFar = false;
  }

  /** From afar, nodes have the strong colours of their statuses: pale ones can't be told apart. */
  markDistance() {
    const isFar = this.cy.zoom() < FAR_ZOOM;
    if (isFar === this.isFar) return;
    this.isFar = isFar;
    this.cy.batch(() => this.cy.nodes().toggleClass("far", isFar));
  }

  setSteps(steps) {
    this.steps = steps;
    this.byId = new Map(steps.map((step) => [step.step_id, step]));
  }

  indexGroups() {
    this.groupOf = new Map();
    this.groups?.forEach((group, number) => {
      group.key = `g:${number}`;
      for (const layer of group.layers) for (const i of layer) this.groupOf.set(i, group);
    });
  }

  build() {
    withoutInlineStyle();
    const elements = this.elements();
    this.fast = this.steps.length > FAST_ABOVE;
    this.cy = cytoscape({
      container: this.container,
      elements,
      style: this.style(),
      layout: { name: "preset", fit: false },
      minZoom: 0.02, maxZoom: 3,
      boxSelectionEnabled: false, autoungrabify: true, autounselectify: true,
      hideEdgesOnViewport: this.fast, textureOnViewport: this.fast, pixelRatio: this.fast ? 1 : "auto",
    });
    this.drawn = this.cy.promiseOn("render"); // the graph for the first time
    this.cy.on("tap", "node", (event) => this.onTap(event.target));
    this.cy.on("mouseover", "node", (event) => {
      event.target.addClass("hovered");
      this.container.classList.add("pointing");
    });
    this.cy.on("mouseout", "node", (event) => {
      event.target.removeClass("hovered");
      this.container.classList.remove("pointing");
    });
    this.cy.on("viewport", () => {
      this.markDistance();
      this.loadImagesSoon();
    });
    onThemeChange(() => this.cy.style(this.style()));
    new ResizeObserver(() => this.onResize()).observe(this.container);
    // Once the user has moved the graph, it stays where they put it.
    for (const type of ["pointerdown", "wheel"]) this.container.addEventListener(type, () => { this.moved = true; }, { passive: true });
    this.reserveHeight();
    this.fit();
    this.loadImagesSoon();
  }

  /** Tells the style sheet how high the graph is, so that a small one leaves no room empty. Open groups need all room. */
  reserveHeight() {
    if (this.groups) return;
    const { w, h } = this.cy.elements().boundingBox();
    const zoom = Math.min(1, (this.cy.width() - 2 * PADDING) / w);
    this.container.style.setProperty("--graph-height", `${Math.ceil(h * zoom + 2 * PADDING)}px`);
    this.cy.resize();
  }

  style() {
    return graphStyle(readColours(), { font: getComputedStyle(document.body).fontFamily, fast: this.fast });
  }

  elements() {
    return this.groups ? this.groupedElements() : this.plainElements();
  }

  plainElements() {
    const { positions } = positionsOf(this.layers);
    const nodes = this.steps.map((step, i) => ({ data: this.stepData(step), position: positions.get(i) }));
    const edges = this.dependencies.flatMap((each, i) => each.map((dependency) => this.edge(
      `s:${this.steps[dependency].step_id}`, `s:${this.steps[i].step_id}`)));
    return [...nodes, ...edges];
  }

  groupedElements() {
    const nodes = [];
    for (const { group, x, y, at } of groupPositions(this.groups, (each) => each === this.open)) {
      nodes.push({ data: this.groupData(group), position: { x, y } });
      for (const [i, position] of at ?? []) nodes.push({ data: this.stepData(this.steps[i]), position });
    }
    const edges = new Map();
    this.dependencies.forEach((each, i) => {
      const group = this.groupOf.get(i);
      for (const dependency of each) {
        const other = this.groupOf.get(dependency);
        const edge = other !== group ? this.edge(other.key, group.key)
          : group === this.open ? this.edge(`s:${this.steps[dependency].step_id}`, `s:${this.steps[i].step_id}`) : null;
        if (edge) edges.set(edge.data.id, edge);
      }
    });
    return [...nodes, ...edges.values()];
  }

  edge(source, target) {
    return { data: { id: `${source}\n${target}`, source, target } };
  }

  stepData(step) {
    const share = step.status === "RUNNING" ? this.shares.get(step.step_id) : undefined;
    const waits = step.status === "RUNNING" && step.next_attempt_at;
    const items = step.items?.total ? ` · ${number(step.items.completed)} of ${number(step.items.total)}` : "";
    const state = waits ? "Waits to try again" : this.describe(step) + items + (share === undefined ? "" : ` · ${percent(share * 100)}`);
    return {
      id: `s:${step.step_id}`, kind: "step", stepId: step.step_id, status: step.status, share,
      label: `${shortenName(step.step_id)}\n${state}`,
    };
  }

  groupData(group) {
    const counts = countStatuses(group, this.steps);
    const found = WORST_FIRST.filter((status) => counts.get(status));
    const isOpen = group === this.open;
    const state = found.slice(0, 2).map((status) => `${number(counts.get(status))} ${statusText(status).toLowerCase()}`).join(" · ");
    return {
      id: group.key, kind: isOpen ? "heading" : "group", status: found[0],
      share: isOpen ? undefined : (counts.get("COMPLETED") ?? 0) / group.count,
      label: `${groupName(group)}\n${isOpen ? "Close" : state}`,
    };
  }

  /** Makes the nearest node in a direction the current one, and shows it. *x* and *y* are -1, 0 or 1. At first the node that
   *  is the farthest to the left becomes current. Returns its label, or null if there is no node in that direction. */
  moveCurrent(x, y) {
    const nodes = this.cy.nodes().toArray();
    const current = this.cy.nodes(".current")[0];
    const next = current ? nearest(nodes, current.position(), x, y)
      : nodes.reduce((first, node) => (first && first.position("x") <= node.position("x") ? first : node), null);
    if (!next) return null;
    current?.removeClass("current");
    next.addClass("current");
    this.show(next);
    return next.data("label").replace("\n", ", ");
  }

  /** Opens the step or the group that is current. */
  openCurrent() {
    const current = this.cy.nodes(".current")[0];
    if (!current) return;
    this.onTap(current);
    this.cy.getElementById(current.id()).addClass("current"); // a group that opens replaces all nodes
  }

  /** Moves the graph if *node* can't be seen. */
  show(node) {
    const { x1, y1, x2, y2 } = this.cy.extent();
    const { x, y } = node.position();
    if (x < x1 || x > x2 || y < y1 || y > y2) this.cy.center(node);
  }

  onTap(node) {
    if (node.data("kind") === "step") this.openStep(node.data("stepId"));
    else this.toggleGroup(this.groups.find((group) => group.key === node.id()));
  }

  /** Opens a group, or closes it if it is open. */
  toggleGroup(group) {
    const opens = this.open !== group;
    this.open = opens ? group : null;
    this.replaceElements();
    if (opens) this.cy.fit(this.cy.nodes('[kind = "step"]'), PADDING);
    else this.fit();
    this.limitZoom();
    this.search(this.term ?? "");
    this.onGroups();
  }

  /** Shows the new statuses of the steps. */
  update(steps) {
    this.setSteps(steps);
    this.cy.batch(() => {
      if (this.groups) {
        for (const group of this.groups) this.replaceData(this.groupData(group));
        for (const layer of this.open?.layers ?? []) for (const i of layer) this.replaceData(this.stepData(steps[i]));
      } else {
        for (const step of steps) this.replaceData(this.stepData(step));
      }
    });
    this.loadImagesSoon();
  }

  replaceData(data) {
    const node = this.cy.getElementById(data.id);
    const known = node.data();
    if (known.label === data.label && known.status === data.status && known.share === data.share) return;
    if (data.share === undefined) node.removeData("share");
    node.data(data);
  }

  /** Notes the progress that events of the run report. */
  noteEvents(events) {
    for (const { type, step_id: id, data } of events) {
      if (data.item !== undefined) continue; // an event about an item says nothing about its step
      if (type === "step.progress") this.shares.set(id, data.progress);
      else if (id) this.shares.delete(id);
      const step = this.byId.get(id);
      if (type === "step.progress" && step && this.cy.getElementById(`s:${id}`).nonempty()) this.replaceData(this.stepData(step));
    }
  }

  /** Fades the nodes whose step doesn't contain *term*. */
  search(term) {
    this.term = term;
    const wanted = term.toLowerCase();
    this.cy.batch(() => {
      this.cy.nodes().forEach((node) => {
        const name = node.data("stepId");
        node.toggleClass("faded", Boolean(wanted) && name !== undefined && !name.toLowerCase().includes(wanted));
      });
    });
  }

  /** Marks a step, and moves the graph so that it can be seen. In a grouped graph its group opens. */
  select(stepId) {
    this.selected = stepId;
    const group = this.groupOf.get(this.steps.findIndex((step) => step.step_id === stepId));
    if (group && group !== this.open) this.toggleGroup(group);
    this.cy.elements(".selected").removeClass("selected");
    if (stepId === null) return;
    const node = this.cy.getElementById(`s:${stepId}`);
    node.addClass("selected");
    node.connectedEdges().addClass("selected");
    if (node.nonempty()) this.show(node);
  }

  onResize() {
    this.cy.resize();
    if (!this.moved && !this.open && this.selected === null) this.fit();
  }

  fit() {
    this.moved = false;
    this.cy.fit(undefined, PADDING);
    this.limitZoom();
    const top = this.cy.elements().renderedBoundingBox().y1;
    this.cy.panBy({ x: 0, y: Math.min(0, PADDING - top) }); // no empty room above the graph
  }

  /** A small graph isn't blown up. */
  limitZoom() {
    this.markDistance();
    if (this.cy.zoom() <= 1) return;
    this.cy.zoom(1);
    this.cy.center();
  }

  zoomBy(factor) {
    this.moved = true;
    const middle = { x: this.cy.width() / 2, y: this.cy.height() / 2 };
    this.cy.zoom({ level: this.cy.zoom() * factor, renderedPosition: middle });
  }

  panBy(x, y) {
    this.moved = true;
    this.cy.panBy({ x, y });
  }

  loadImagesSoon() {
    clearTimeout(this.imageTimer);
    this.imageTimer = setTimeout(() => this.loadImages(), SETTLED_MS);
  }

  loadImages() {
    if (this.cy.zoom() < IMAGES_FROM_ZOOM) return;
    const { x1, y1, x2, y2 } = this.cy.extent();
    const found = [];
    this.cy.nodes('[kind = "step"]').forEach((node) => {
      const { x, y } = node.position();
      const visible = x > x1 - NODE.width && x < x2 + NODE.width && y > y1 - NODE.height && y < y2 + NODE.height;
      if (!visible || node.data("image")) return;
      const [path] = filesOf(this.byId.get(node.data("stepId")).result);
      if (path && kindOf(path) === "image" && found.length < MOST_IMAGES) found.push([node, fileUrl(path, { width: 64 })]);
    });
    this.cy.batch(() => found.forEach(([node, image]) => node.data("image", image)));
  }
}

/** Cytoscape adds a style sheet of one rule to the page unless it is there. The page's policy forbids that: run.css has
 *  the rule, and this element has the id that Cytoscape looks for. */
function withoutInlineStyle() {
  if (document.getElementById(STYLE_SHEET)) return;
  const element = document.createElement("template");
  element.id = STYLE_SHEET;
  document.head.append(element);
}

/** The node that is nearest to *from* in a direction; one that is far aside counts as farther away. */
function nearest(nodes, from, x, y) {
  let [found, least] = [null, Infinity];
  for (const node of nodes) {
    const [dx, dy] = [node.position("x") - from.x, node.position("y") - from.y];
    const [ahead, aside] = [dx * x + dy * y, Math.abs(dx * y) + Math.abs(dy * x)];
    const distance = ahead + 3 * aside;
    if (ahead > 1 && distance < least) [found, least] = [node, distance];
  }
  return found;
}

function countStatuses(group, steps) {
  const counts = new Map();
  for (const layer of group.layers) {
    for (const i of layer) counts.set(steps[i].status, (counts.get(steps[i].status) ?? 0) + 1);
  }
  return counts;
}

function shortenName(name) {
  if (name.length <= NAME_CHARS) return name;
  const half = (NAME_CHARS - 1) / 2;
  return `${name.slice(0, Math.ceil(half))}…${name.slice(name.length - Math.floor(half))}`;
}
