// What the open nodes of a run's graph show: the graph of a sub-workflow, or the items or repeated runs of a step, each
// with a sub-workflow of its own. It is read again after events, until it is closed. All use the stream of the page.
//
// A source has
//   steps           of the node's part, null until they are known
//   text            why there are none
//   reader          of the run in which these steps are; null if they aren't those of a run
//   update(step)    takes the node's step as it is now
//   close()         ends the reads
import { getJson } from "../../lib/api.js";
import { plural } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";
import { stepsOfDefinition } from "./definition_steps.js";
import { RunReader } from "./reader.js";

const MOST_ITEMS = 100;

/** Opens the node of *step*. *readerOf()* returns the reader of the step's run, null if that hasn't begun. *onChange* is called after
 *  each read, and *onEvents* with the events of the run that is shown. */
export function openSource(step, readerOf, { onChange, onEvents }) {
  if (step.runList) return new Runs(step);
  if (step.child) return new ChildRun(step.child, { onChange, onEvents });
  return new Children(step, readerOf, { onChange, onEvents });
}

/** A sub-workflow. */
class ChildRun {
  constructor(id, { onChange, onEvents }) {
    this.reader = new RunReader(id, onChange);
    this.reader.onEvents(onEvents);
    this.reader.start();
  }

  get steps() {
    return this.reader.run?.steps ?? null;
  }

  get text() {
    const { error } = this.reader;
    return error ? (error.status === 404 ? "It was deleted." : error.title) : "Loading…";
  }

  update() {}

  close() {
    this.reader.stop();
  }
}

/** The repeated runs of an item. */
class Runs {
  constructor(item) {
    this.update(item);
  }

  update(item) {
    this.steps = item.runList;
  }

  close() {}
}

/** The sub-workflows of a step: its only one, or a list of items or runs. Before there are any, the steps of their definition. */
class Children {
  constructor(step, readerOf, callbacks) {
    Object.assign(this, { step, readerOf, callbacks, child: null, list: null, listText: "Loading…", isClosed: false });
    this.refresh = refresher(() => this.load());
    if (readerOf()) this.refresh();
    else this.list = this.defined;
  }

  get reader() {
    return this.child?.reader ?? null;
  }

  get steps() {
    return this.child?.steps ?? this.list;
  }

  get text() {
    return this.child ? this.child.text : this.listText;
  }

  get defined() {
    return stepsOfDefinition(this.step.config?.workflow);
  }

  update(step) {
    this.step = step;
    if (!this.child && this.readerOf()) this.refresh();
  }

  /** Reads which sub-workflows there are: each attempt at the step has the id of its own. */
  async load() {
    if (this.child || this.isClosed) return; // since the read began
    const { step } = this;
    const { path } = this.readerOf();
    try {
      const [{ tasks }, page] = await Promise.all([
        getJson(`${path}/tasks`, { query: { step_id: step.step_id, include_deleted: true } }),
        step.items && getJson(`${path}/steps/${encodeURIComponent(step.step_id)}/items`, { query: { limit: MOST_ITEMS } }),
      ]);
      if (!this.isClosed) this.take(tasks.filter((task) => task.remote_id), page);
    } catch (error) {
      this.listText = error.title ?? String(error);
    }
    if (!this.isClosed) this.callbacks.onChange();
  }

  take(tasks, page) {
    if (page) this.list = itemsOf(this.step, tasks, page);
    else if (this.step.for_each || !tasks.length) this.list = this.defined;
    else if (this.step.repeat) this.list = runsOf(tasks);
    else this.child = new ChildRun(tasks.at(-1).remote_id, this.callbacks);
    this.listText = "There are no items.";
  }

  close() {
    this.isClosed = true;
    this.child?.close();
  }
}

/** The runs of a step or an item, one after the other. A run that was resumed has several attempts at one sub-workflow. */
function runsOf(tasks) {
  const statuses = new Map(tasks.map((task) => [task.remote_id, task.status]));
  return [...statuses].map(([child, status], i) => ({
    step_id: `Run ${i + 1}`, dependencies: i ? [`Run ${i}`] : [], status, child,
  }));
}

function itemsOf(step, tasks, { items, total }) {
  const ofItem = new Map();
  for (const task of tasks) ofItem.set(task.item, [...ofItem.get(task.item) ?? [], task]);
  const cells = items.map(({ item, status }) => {
    const runs = runsOf(ofItem.get(item) ?? []);
    return { step_id: `Item ${item}`, dependencies: [], status, runList: step.repeat ? runs : null, child: runs.at(-1)?.child };
  });
  const more = total - items.length;
  return more > 0 ? [...cells, { step_id: `And ${plural(more, "item")} more`, dependencies: [], note: true }] : cells;
}
