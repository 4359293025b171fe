// The parts of a graph: the steps of the run, and what each open node shows. An open node is a frame around its part.
//
// A part has the steps {step_id, dependencies, status, …} of a run, or what stands for a list: the items of a step, or its
// repeated runs. Those have `child`, the id of their (latest) sub-workflow. A part that has no steps yet has a note instead.
import { number, percent } from "../../lib/format.js";
import { dependencyIndexes, foldedEdge, layersOf, NODE, orderLayers, positionsOf } from "./layout.js";

const FRAME = { top: 36, side: 12 };
const NAME_CHARS = 24;

/** True if the node of *step* can be opened. */
export function canOpen(step) {
  return step.task_type === "SUBWORKFLOW" || Boolean(step.child);
}

/** The name of the button that opens the node of *step*. */
export function nestedName(step) {
  const what = step.for_each ? "Items" : step.repeat || step.runList ? "Runs" : "Sub-workflow";
  return `${what} of ${step.step_id}`;
}

export class GraphPart {
  /** @param key begins the ids of its nodes  @param source see sub_workflows.js; null for the run itself
   *  @param ancestor the id of the step of the run itself in which it is; null for the run itself */
  constructor(key, source, ancestor = null) {
    Object.assign(this, { key, source, ancestor });
    this.open = new Map(); // the parts in open nodes, by the ids of their steps
    this.progress = new Map(); // the progress of running steps, by id
  }

  /** Takes the steps as they are now; null if there are none yet. Returns true if there are other nodes than before. */
  setSteps(steps) {
    const before = this.ids;
    this.steps = steps?.length ? steps : [{ step_id: "", dependencies: [], note: true }];
    this.byId = new Map(this.steps.map((step) => [step.step_id, step]));
    this.ids = [...this.byId.keys()].join("\n");
    let differs = this.ids !== before;
    if (differs) this.layOut();
    for (const [id, part] of this.open) {
      if (this.byId.has(id)) {
        part.source.update(this.byId.get(id));
        differs = part.setSteps(part.source.steps) || differs;
      } else {
        this.close(id);
      }
    }
    return differs;
  }

  layOut() {
    this.dependencies = dependencyIndexes(this.steps);
    this.layers = orderLayers(layersOf(this.dependencies), this.dependencies);
  }

  close(stepId) {
    const part = this.open.get(stepId);
    for (const id of part.open.keys()) part.close(id);
    part.source.close();
    this.open.delete(stepId);
  }

  /** All parts in it, itself included. */
  get all() {
    return [this, ...[...this.open.values()].flatMap((part) => part.all)];
  }

  sizeOf = (i) => {
    const part = this.open.get(this.steps[i].step_id);
    return part ? { width: part.width + 2 * FRAME.side, height: part.height + FRAME.top + FRAME.side } : NODE;
  };

  /** Arranges the nodes of the parts in it, then its own, so that each part fits into *box* {width, height} if it can. */
  arrange(box) {
    for (const part of this.open.values()) part.arrange(box);
    Object.assign(this, positionsOf(this.layers, this.sizeOf, box));
  }

  nodeId(i) {
    return `${this.key}:${this.steps[i].step_id}`;
  }

  /** The nodes of the steps *indexes* at their *positions*, and what is in them. Calls *onStep* with each node's id, step and part. */
  nodes(indexes, positions, onStep, { describe, x: left = 0, y: top = 0, depth = 0 }) {
    return indexes.flatMap((i) => {
      const [step, at, part] = [this.steps[i], positions.get(i), this.open.get(this.steps[i].step_id)];
      const [x, y] = [left + at.x, top + at.y];
      const node = { data: this.stepData(step, describe), position: { x, y } };
      if (depth || part) node.data.z = 2 * depth + 1;
      onStep(node.data.id, step, this);
      if (!part) return [node];
      const { width, height } = this.sizeOf(i);
      Object.assign(node.data, { width, height });
      const inside = { describe, x: x - width / 2 + FRAME.side, y: y - height / 2 + FRAME.top + part.height / 2, depth: depth + 1 };
      return [node, ...part.elements(onStep, inside)];
    });
  }

  elements(onStep, options) {
    const nodes = this.nodes(this.steps.map((_, i) => i), this.positions, onStep, options);
    const edges = this.dependencies.flatMap((each, i) => each.map((dependency) => {
      const edge = edgeBetween(this.nodeId(dependency), this.nodeId(i), options.depth);
      const [from, to] = [this.positions.get(dependency), this.positions.get(i)];
      if (from.band !== to.band) Object.assign(edge.data, foldedEdge(from, to, this.sizeOf(dependency), this.sizeOf(i)));
      return edge;
    }));
    return [...nodes, ...edges];
  }

  /** The data of a step's node. *describe* returns its second line. */
  stepData(step, describe) {
    const id = `${this.key}:${step.step_id}`;
    if (step.note) return { id, kind: "note", label: step.step_id || (this.source?.text ?? "") };
    const isOpen = this.open.has(step.step_id);
    const progress = step.status === "RUNNING" && !isOpen ? this.progress.get(step.step_id) : undefined;
    const waits = step.status === "RUNNING" && step.next_attempt_at;
    const items = step.items?.total ? ` · ${number(step.items.completed)} of ${number(step.items.total)}` : "";
    const state = waits ? "Waits to try again" : describe(step) + items + (progress === undefined ? "" : ` · ${percent(progress * 100)}`);
    return {
      id, kind: isOpen ? "frame" : "step", stepId: step.step_id, status: step.status, progress, opens: canOpen(step) ? 1 : 0,
      label: `${shortenName(step.step_id)}${isOpen ? " · " : "\n"}${state}`,
    };
  }

  /** Notes the progress that events of its run report. Returns the steps that show it. */
  noteEvents(events) {
    const changed = new Set();
    for (const { type, step_id: id, data } of events) {
      if (data.item !== undefined) continue; // an event about an item says nothing about its step
      if (type === "step.progress") this.progress.set(id, data.progress);
      else if (id) this.progress.delete(id);
      if (type === "step.progress" && this.byId.has(id)) changed.add(this.byId.get(id));
    }
    return changed;
  }
}

export function edgeBetween(source, target, depth = 0) {
  const data = { id: `${source}\n${target}`, source, target };
  if (depth) data.z = 2 * depth;
  return { data };
}

function shortenName(name) {
  if (name.length <= NAME_CHARS) return name;
  const half = (NAME_CHARS - 1) / 2;
  return `${name.slice(0, Math.ceil(half))}…${name.slice(name.length - Math.floor(half))}`;
}
