// The outputs of a run, as the tab "Outputs" lists them: files, texts and JSON, those of the final result first.
//
// An output: {key, stepPath, stepId, name, kind, path, text, whole, isFinal, isNested, size}
//   stepPath  the steps and items that lead to it, like each/0/large
//   stepId    of the run's own step on that path, or null if it is unknown there
//   kind      "image", "video", "sound", "text", "json" or "file"
//   path      of a file, else null
//   text      of a text or JSON that is part of the result, else null
//   whole     true if the file is shown instead of a preview, because it moves or scales
//   isNested  true if a sub-workflow made it
//   size      in pixels, if the result has it, and bytes, as text
import { bytes } from "../../lib/format.js";
import { isObject, pretty } from "../../lib/json.js";
import { filesOf, kindOf } from "../../lib/outputs.js";

/** *files* of the API's list, and with *hasResults* the texts in the results of the *run*'s own steps, in the order of the
 *  steps. Files of sub-workflows are last. */
export function outputsOf(run, files, hasResults) {
  const positions = new Map(run.steps.map((step, position) => [step.step_id, position]));
  const rank = ({ isFinal, isNested, stepId }) => (isFinal ? -1 : isNested ? run.steps.length : positions.get(stepId) ?? run.steps.length);
  // The names in a path are cut to 100 bytes. Of several that begin alike, only the first is without a number.
  const stepOf = (name) => run.steps[positions.get(name)] ?? run.steps.find((step) => step.step_id.startsWith(name));
  const outputs = files.map((file) => fileOutput(file, stepOf));
  for (const step of hasResults ? run.steps : []) if (isObject(step.result)) outputs.push(...textsOf(step, run.final_step_id));
  return outputs.sort((one, other) => rank(one) - rank(other));
}

function fileOutput({ path, step_path: encoded, name, size, final }, stepOf) {
  const parts = encoded.split("/").map(decodeURIComponent);
  const step = stepOf(parts[0]);
  const stepPath = [step?.step_id ?? parts[0], ...parts.slice(1)].join("/");
  const result = step?.result;
  const isOfStep = [result?.result_image_path, result?.result_video_path].includes(path);
  return {
    key: `${stepPath}\n${path}`, stepPath, stepId: step?.step_id ?? null, name, path, text: null, isFinal: final,
    isNested: step?.task_type === "SUBWORKFLOW", kind: name.endsWith(".json") ? "json" : kindOf(path),
    whole: path === result?.result_video_path || /\.(svg|gif|apng)$/i.test(name),
    size: isOfStep && result.width && result.height ? `${result.width} × ${result.height} · ${bytes(size)}` : bytes(size),
  };
}

function textsOf({ step_id: stepId, result }, finalStepId) {
  const output = (name, kind, text) => ({
    key: `${stepId}\n${name}`, stepPath: stepId, stepId, name, kind, path: null, text, whole: false,
    isFinal: stepId === finalStepId, isNested: false, size: "",
  });
  const outputs = [];
  if (typeof result.result_text === "string") outputs.push(output("Text", "text", result.result_text));
  if (result.result_json !== undefined && result.result_json !== null) outputs.push(output("JSON", "json", pretty(result.result_json)));
  if (outputs.length || filesOf(result).length || !Object.keys(result).length) return outputs;
  return [output("Result", "json", pretty(result))];
}

/** The name under which a browser stores the output: files of several steps often have one name. */
export function downloadName({ stepPath, name, path, kind }) {
  const file = path ? name : `result.${kind === "json" ? "json" : "txt"}`;
  return `${stepPath.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "").slice(-80) || "step"}-${file}`;
}
