// The outputs of a run, as the tab "Outputs" lists them: files, texts and JSON, the run's own result first.
//
// An output: {key, stepId, name, kind, path, text, whole, isFinal, size}
//   kind    "image", "video", "sound", "text", "json" or "file"
//   path    of a file, else null
//   text    of a text or JSON that is part of the result, else null
//   whole   true if the file is shown instead of a preview, because it moves or scales
//   size    in pixels, as text, if the result tells it
import { pretty } from "../../lib/json.js";
import { filesOf, kindOf } from "../../lib/outputs.js";

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** The outputs of *run*, whose steps have their results. A file that several steps name is the output of its maker. */
export function outputsOf(run) {
  const makers = new Map(run.steps.map((step) => [step.task_id, step.step_id]));
  const ended = run.steps.filter((step) => isObject(step.result));
  const final = ended.filter((step) => step.step_id === run.final_step_id);
  const found = new Map();
  for (const step of [...final, ...ended.filter((each) => !final.includes(each))]) {
    for (const output of outputsOfStep(step, makers, step.step_id === run.final_step_id)) {
      if (!found.has(output.key)) found.set(output.key, output);
    }
  }
  return [...found.values()];
}

/** The files among *tasks*, for runs that are too large to be read with their results. */
export function outputsOfTasks(run, tasks) {
  const outputs = tasks.filter((task) => task.status === "COMPLETED").flatMap((task) => task.outputs.map(({ path }) => (
    fileOutput(path, task.step_id, { isFinal: task.step_id === run.final_step_id })
  )));
  return [...outputs.filter((each) => each.isFinal), ...outputs.filter((each) => !each.isFinal)];
}

function outputsOfStep({ step_id: stepId, result }, makers, isFinal) {
  const files = filesOf(result);
  const size = files.length === 1 && result.width && result.height ? `${result.width} × ${result.height}` : "";
  const outputs = files.map((path) => fileOutput(path, makers.get(path.split("/")[1]) ?? stepId, {
    isFinal, size, moves: path === result.result_video_path,
  }));
  const add = (name, kind, text) => outputs.push({
    key: `${stepId}\n${name}`, stepId, name, kind, path: null, text, whole: false, isFinal, size: "",
  });
  if (typeof result.result_text === "string") add("Text", "text", result.result_text);
  if (result.result_json !== undefined && result.result_json !== null) add("JSON", "json", pretty(result.result_json));
  if (!outputs.length && Object.keys(result).length) add("Result", "json", pretty(result));
  return outputs;
}

function fileOutput(path, stepId, { isFinal, size = "", moves = false }) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const kind = name.endsWith(".json") ? "json" : kindOf(path);
  const whole = moves || /\.(svg|gif|apng)$/i.test(name);
  return { key: path, stepId, name, kind, path, text: null, whole, isFinal, size };
}

/** The name under which a browser stores the output: files of several steps often have one name. */
export function downloadName({ stepId, name, path, kind }) {
  const file = path ? name : `result.${kind === "json" ? "json" : "txt"}`;
  return `${stepId.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "").slice(0, 80) || "step"}-${file}`;
}
