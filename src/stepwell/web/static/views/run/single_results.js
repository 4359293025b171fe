// Results of single steps, for a run that is so large that its steps were read without them.
import { getJson } from "../../lib/api.js";

const MOST = 200; // results that are remembered

export class SingleResults {
  /** @param path of the run  @param onRead called after results were read */
  constructor(path, onRead) {
    this.path = path;
    this.onRead = onRead;
    this.results = new Map(); // by the id of the step's task; null while the result is being read
  }

  /** Sets `result` of those *steps* whose results were read. */
  applyTo(steps) {
    for (const step of steps) {
      const result = this.results.get(step.task_id);
      if (result) step.result = result;
    }
  }

  /** Reads the results of those *steps* that were not read yet. */
  async read(steps) {
    const missing = steps.filter((step) => step.status === "COMPLETED" && step.task_id && !this.results.has(step.task_id));
    if (!missing.length) return;
    await Promise.all(missing.map((step) => this.readOne(step)));
    for (const taskId of [...this.results.keys()].slice(0, Math.max(0, this.results.size - MOST))) this.results.delete(taskId);
    this.onRead();
  }

  async readOne({ step_id: stepId, task_id: taskId }) {
    this.results.set(taskId, null);
    try {
      const step = await getJson(`${this.path}/steps/${encodeURIComponent(stepId)}`);
      this.results.delete(taskId); // it may have run again meanwhile
      this.results.set(step.task_id, step.result ?? {});
    } catch (error) {
      this.results.delete(taskId); // the next read tries again
      console.warn(error);
    }
  }
}
