// The graph of a run on a canvas, drawn by Cytoscape.js at positions that layout.js gives.
//
// What must hold:
// - Names and statuses are drawn as text. Nothing of a run is a selector or a style.
// - Up to GROUPED_ABOVE steps are drawn one by one. In a larger run groups of layers are drawn; one at a time can be open.
// - Images are loaded only for nodes that can be seen, and large enough for that.
// - A node that can be opened has a button, an element of the page above the canvas. At most MOST_OPEN nodes are open at once,
//   because each reads its run again after events.
import cytoscape from "../../vendor/cytoscape.js";
import { announce } from "../../lib/dom.js";
import { number } from "../../lib/format.js";
import { fileUrl, kindOf, shownFile } from "../../lib/outputs.js";
import { statusText, stepStatusText } from "../../lib/status.js";
import { NodeButtons } from "./graph_buttons.js";
import { canOpen, edgeBetween, GraphPart } from "./graph_part.js";
import { graphStyle, onThemeChange, readColours } from "./graph_style.js";
import { groupName, groupPositions, groupsOf, NODE } from "./layout.js";

const GROUPED_ABOVE = 1_500;
const FAST_ABOVE = 250; // beyond that, edges are straight, and hidden while the graph moves
const FAR_ZOOM = 0.3; // nodes that are drawn smaller than this have no readable text
const IMAGES_FROM_ZOOM = 0.45;
const MOST_IMAGES = 60; // loaded at once
const SETTLED_MS = 150;
const PADDING = 24; // around the graph
const MOST_OPEN = 12;
const READABLE_ZOOM = 0.7;
const NEAREST_ZOOM = 1.25; // of a graph that fits into its box
const STYLE_SHEET = "__________cytoscape_stylesheet";
// The status of a group is the first of these that one of its steps has.
const WORST_FIRST = ["FAILED", "RUNNING", "CANCELLED", "SKIPPED", "PENDING", "COMPLETED"];

export class GraphCanvas {
  /** @param openStep called with a step's id and the part of the graph in which it is  @param onGroups called after a group or a node was
   *  opened or closed, or what is in a node has changed  @param describe returns the second line of a step's node: by default its
   *  status  @param openSource returns what an open node shows, given its step, its part and callbacks: see sub_workflows.js */
  constructor(container, steps, { openStep, onGroups = () => {}, describe = stepStatusText, openSource = null }) {
    Object.assign(this, { container, openStep, onGroups, describe, openSource });
    this.selected = null;
    this.isFar = false;
    this.root = new GraphPart("s", null);
    this.keys = 0; // of the parts
    this.mostHeight = container.clientHeight; // before `reserveHeight` makes it lower
    this.setGraph(steps);
    this.build();
  }

  setGraph(steps) {
    this.root.setSteps(steps);
    this.root.layOut(); // also if only the dependencies are others
    this.open = null; // the open group
    this.groups = steps.length > GROUPED_ABOVE ? groupsOf(this.root.layers) : null;
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
    this.buttons.draw();
  }

  /** From afar, nodes have the strong colours of their statuses: pale ones can't be told apart. */
  markDistance() {
    const isFar = this.cy.zoom() < FAR_ZOOM;
    if (isFar === this.isFar) return;
    this.isFar = isFar;
    this.cy.batch(() => this.cy.nodes().toggleClass("far", isFar));
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
    this.fast = this.root.steps.length > FAST_ABOVE;
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
    this.buttons = new NodeButtons(this);
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
      this.buttons.move();
      this.loadImagesSoon();
    });
    onThemeChange(() => this.cy.style(this.style()));
    new ResizeObserver(() => this.onResize()).observe(this.container);
    // Once the user has moved the graph, it stays where they put it.
    for (const type of ["pointerdown", "wheel"]) this.container.addEventListener(type, () => { this.moved = true; }, { passive: true });
    this.reserveHeight();
    this.fit();
    this.buttons.draw();
    this.loadImagesSoon();
  }

  /** Tells the style sheet how high the graph is, so that a small one leaves no room empty. Open groups need all room. */
  reserveHeight() {
    if (this.groups) return;
    const { w, h } = this.cy.elements().boundingBox();
    const zoom = Math.min(NEAREST_ZOOM, (this.cy.width() - 2 * PADDING) / w);
    this.container.style.setProperty("--graph-height", `${Math.ceil(h * zoom + 2 * PADDING)}px`);
    this.cy.resize();
  }

  style() {
    return graphStyle(readColours(), { font: getComputedStyle(document.body).fontFamily, fast: this.fast });
  }

  elements() {
    this.nodes = new Map(); // the step and the part of each node, by the node's id
    this.width = this.container.clientWidth;
    const box = { width: this.width - 2 * PADDING, height: this.mostHeight - 2 * PADDING };
    this.root.arrange(this.groups || box.width <= 0 ? null : box);
    return this.groups ? this.groupedElements() : this.root.elements(this.onNode, { describe: this.describe });
  }

  onNode = (id, step, part) => this.nodes.set(id, { step, part });

  groupedElements() {
    const { root } = this;
    const nodes = [];
    for (const { group, x, y, at } of groupPositions(this.groups, (each) => each === this.open, root.sizeOf)) {
      nodes.push({ data: this.groupData(group), position: { x, y } });
      if (at) nodes.push(...root.nodes([...at.keys()], at, this.onNode, { describe: this.describe }));
    }
    const edges = new Map();
    root.dependencies.forEach((each, i) => {
      const group = this.groupOf.get(i);
      for (const dependency of each) {
        const other = this.groupOf.get(dependency);
        const edge = other !== group ? edgeBetween(other.key, group.key)
          : group === this.open ? edgeBetween(root.nodeId(dependency), root.nodeId(i)) : null;
        if (edge) edges.set(edge.data.id, edge);
      }
    });
    return [...nodes, ...edges.values()];
  }

  groupData(group) {
    const counts = countStatuses(group, this.root.steps);
    const statuses = WORST_FIRST.filter((status) => counts.get(status));
    const isOpen = group === this.open;
    const state = statuses.slice(0, 2).map((status) => `${number(counts.get(status))} ${statusText(status).toLowerCase()}`).join(" · ");
    return {
      id: group.key, kind: isOpen ? "heading" : "group", status: statuses[0],
      progress: isOpen ? undefined : (counts.get("COMPLETED") ?? 0) / group.count,
      label: `${groupName(group)}\n${isOpen ? "Close" : state}`,
    };
  }

  /** Makes the nearest node in a direction the current one, and shows it. *x* and *y* are -1, 0 or 1. At first the node that
   *  is the farthest to the left becomes current. Returns its label, or null if there is no node in that direction. */
  moveCurrent(x, y) {
    const nodes = this.cy.nodes().filter((node) => node.data("kind") !== "note").toArray();
    const current = this.cy.nodes(".current")[0];
    const next = current ? nearest(nodes, current.position(), x, y)
      : nodes.reduce((first, node) => (first && first.position("x") <= node.position("x") ? first : node), null);
    if (!next) return null;
    current?.removeClass("current");
    next.addClass("current");
    this.show(next);
    const node = this.nodes.get(next.id());
    const opens = !node || !canOpen(node.step) ? "" : node.part.open.has(node.step.step_id) ? ", open" : ", Space opens it";
    return next.data("label").replace("\n", ", ") + opens;
  }

  /** Opens what the current node contains, or closes it. */
  toggleCurrent() {
    const node = this.nodes.get(this.cy.nodes(".current")[0]?.id());
    if (node && canOpen(node.step)) this.toggleNode(node.part, node.step);
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

  onTap(element) {
    const node = this.nodes.get(element.id());
    if (!node) this.toggleGroup(this.groups.find((group) => group.key === element.id()));
    else if (node.step.task_type) this.openStep(node.step.step_id, node.part);
    else if (canOpen(node.step)) this.toggleNode(node.part, node.step);
  }

  /** Opens the node of *step*, which is in *part*, or closes it. */
  toggleNode(part, step) {
    const id = step.step_id;
    if (part.open.has(id)) {
      part.close(id);
    } else if (this.root.all.length > MOST_OPEN) {
      announce(`At most ${MOST_OPEN} nodes can be open. Close one first.`);
      return;
    } else {
      let inner = null;
      const source = this.openSource(step, part, {
        onChange: () => inner && this.updatePart(inner),
        onEvents: (events) => inner && this.noteEvents(events, inner),
      });
      inner = new GraphPart(`s${++this.keys}`, source, part.ancestor ?? id);
      inner.setSteps(source.steps);
      part.open.set(id, inner);
    }
    this.rearrange(`${part.key}:${id}`);
  }

  /** After what an open node shows was read. */
  updatePart(part) {
    if (!this.root.all.includes(part)) return;
    if (part.setSteps(part.source.steps)) {
      const [owner, id] = this.ownerOf(part);
      this.rearrange(`${owner.key}:${id}`);
      return;
    }
    this.cy.batch(() => this.replaceSteps(part));
    this.buttons.drawSoon();
    this.onGroups();
  }

  ownerOf(part) {
    for (const owner of this.root.all) for (const [id, each] of owner.open) if (each === part) return [owner, id];
    return null;
  }

  /** Draws the graph again after a node has opened, closed or got other steps. The node *id* stays where it is, if the user has
   *  moved the graph. */
  rearrange(id) {
    const corner = () => {
      const node = this.cy.getElementById(id);
      return node.empty() ? { x1: 0, y1: 0 } : node.renderedBoundingBox({ includeLabels: false });
    };
    const current = this.cy.nodes(".current")[0]?.id();
    const before = corner();
    const { moved } = this;
    this.replaceElements();
    this.container.classList.toggle("graph-open", this.root.open.size > 0);
    this.reserveHeight();
    const after = corner();
    if (moved) this.cy.panBy({ x: before.x1 - after.x1, y: before.y1 - after.y1 });
    else this.fitNode(id);
    if (current) this.cy.getElementById(current).addClass("current");
    this.markSelected();
    this.search(this.term ?? "");
    this.loadImagesSoon();
    this.onGroups();
  }

  /** Shows the whole graph, or if that would be too small to read, the node *id*. */
  fitNode(id) {
    this.fit();
    const node = this.cy.getElementById(id);
    if (this.cy.zoom() >= READABLE_ZOOM || node.empty()) return;
    this.cy.fit(node, PADDING);
    this.limitZoom(node);
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
    if (this.root.setSteps(steps)) this.rearrange("");
    this.cy.batch(() => {
      for (const group of this.groups ?? []) this.replaceData(this.groupData(group));
      this.replaceSteps(this.root);
    });
    this.loadImagesSoon();
  }

  /** Shows the new statuses of the steps of *part* and of those in it. */
  replaceSteps(part) {
    for (const each of part.all) {
      for (const step of each.steps) this.replaceStep(each, step);
    }
  }

  replaceStep(part, step) {
    const id = `${part.key}:${step.step_id}`;
    if (!this.nodes.has(id)) return; // its group is closed
    this.nodes.set(id, { step, part });
    this.replaceData(part.stepData(step, this.describe));
  }

  replaceData(data) {
    const node = this.cy.getElementById(data.id);
    const known = node.data();
    if (known.label === data.label && known.status === data.status && known.progress === data.progress && known.opens === data.opens) return;
    if (known.opens !== data.opens) this.buttons.drawSoon();
    if (data.progress === undefined) node.removeData("progress");
    node.data(data);
  }

  /** Notes the progress that events of the run of *part* report. */
  noteEvents(events, part = this.root) {
    for (const step of part.noteEvents(events)) this.replaceStep(part, step);
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
  select(stepId, part = this.root) {
    this.selected = stepId === null ? null : `${part.key}:${stepId}`;
    const group = part === this.root && this.groupOf.get(part.steps.findIndex((step) => step.step_id === stepId));
    if (group && group !== this.open) this.toggleGroup(group);
    this.cy.elements(".selected").removeClass("selected");
    this.markSelected();
    const node = this.cy.getElementById(this.selected ?? "");
    if (node.nonempty()) this.show(node);
  }

  markSelected() {
    const node = this.cy.getElementById(this.selected ?? "");
    node.addClass("selected");
    node.connectedEdges().addClass("selected");
  }

  onResize() {
    this.cy.resize();
    if (this.moved || this.open || this.selected !== null) return;
    if (this.width !== this.container.clientWidth && !this.fast && !this.groups) this.rearrange("");
    else this.fit();
  }

  fit() {
    this.moved = false;
    this.cy.fit(undefined, PADDING);
    this.limitZoom();
  }

  /** A small graph isn't blown up. *centre* are the elements in the middle, by default all. */
  limitZoom(centre) {
    this.markDistance();
    if (this.cy.zoom() <= NEAREST_ZOOM) return;
    this.cy.zoom(NEAREST_ZOOM);
    this.cy.center(centre);
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
    const images = [];
    this.cy.nodes('[kind = "step"]').forEach((node) => {
      const { step } = this.nodes.get(node.id());
      const { x, y } = node.position();
      const visible = x > x1 - NODE.width && x < x2 + NODE.width && y > y1 - NODE.height && y < y2 + NODE.height;
      if (!visible || node.data("image")) return;
      const path = shownFile(step.result);
      if (path && kindOf(path) === "image" && images.length < MOST_IMAGES) images.push([node, fileUrl(path, { width: 64 })]);
    });
    this.cy.batch(() => images.forEach(([node, image]) => node.data("image", image)));
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
  let [best, least] = [null, Infinity];
  for (const node of nodes) {
    const [dx, dy] = [node.position("x") - from.x, node.position("y") - from.y];
    const [ahead, aside] = [dx * x + dy * y, Math.abs(dx * y) + Math.abs(dy * x)];
    const distance = ahead + 3 * aside;
    if (ahead > 1 && distance < least) [best, least] = [node, distance];
  }
  return best;
}

function countStatuses(group, steps) {
  const counts = new Map();
  for (const layer of group.layers) {
    for (const i of layer) counts.set(steps[i].status, (counts.get(steps[i].status) ?? 0) + 1);
  }
  return counts;
}
