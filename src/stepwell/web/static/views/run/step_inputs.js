// The inputs of a step: its config over the run's defaults, and what mappings take from other steps. Pure functions.

const PATH = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*$/;

/** The inputs: [{name, value, from}]. `from` says where an input comes from that isn't in the step's config; `value` is
 *  undefined if it isn't known yet, or if only the service can compute it (a transform). Once the step has started, an
 *  expression has its value, if that is a result, an input or something of the run. *inputs* are those of the run; null: not known. */
export function inputsOf(step, run, inputs = null) {
  const mapped = new Set(step.input_mappings.map((each) => each.to_field));
  const all = new Map();
  const add = (values, from) => {
    for (const [name, value] of Object.entries(values ?? {})) {
      if (value !== null || !all.has(name)) all.set(name, { name, value, from }); // null hides no default
    }
  };
  const defaults = run.config?.step_defaults ?? {};
  add(defaults["*"], "default of the run");
  add(defaults[step.task_type], "default of the run");
  add(step.config, null);
  for (const name of mapped) all.delete(name);
  if (step.started_at && !step.for_each) for (const input of all.values()) evaluate(input, step, run, inputs);
  return [...all.values(), ...step.input_mappings.map((each) => mappedInput(each, run))];
}

/** Sets the value of an input whose expressions name nothing else than what is known. */
function evaluate(input, step, run, inputs) {
  if (typeof input.value !== "string" || !input.value.includes("${")) return;
  const texts = input.value.split(/(\$?\$\{[^{}]*\})/).filter(Boolean);
  const values = texts.map((text) => (text.startsWith("${") ? valueOf(text.slice(2, -1), step, run, inputs) : text.replace("$${", "${")));
  if (values.includes(undefined)) return;
  const value = values.length === 1 ? values[0] : values.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("");
  if (value === input.value) return;
  Object.assign(input, { value, from: [input.value, input.from].filter(Boolean).join(", ") });
}

/** The value of an expression that is a path, or several with "||" between them; undefined if it is more, or isn't known. */
function valueOf(expression, step, run, inputs) {
  let value = null;
  for (const path of expression.split("||").map((each) => each.trim())) {
    const [, quoted, name, rest] = /^(?:"([^"\\]+)"|([A-Za-z_]\w*))(.*)$/.exec(path) ?? [];
    const [root, tail] = [rootOf(quoted ?? name, step, run, inputs), rest?.replace(/^\./, "")];
    if (root === undefined || (tail && !PATH.test(`x${rest}`))) return undefined;
    value = (tail ? memberAt(root, tail) : root) ?? null;
    const isEmpty = value === null || value === false || value === "" || (typeof value === "object" && !Object.keys(value).length);
    if (!isEmpty) return value;
  }
  return value;
}

/** What the first name of a path stands for: the inputs, the run, or the result of a dependency. */
function rootOf(name, step, run, inputs) {
  if (name === "inputs") return inputs ?? undefined;
  if (name === "workflow") return { id: run.id, name: run.name, labels: run.labels, config: run.config };
  const source = step.dependencies.includes(name) && run.steps.find((each) => each.step_id === name);
  if (!source || (source.status === "COMPLETED" && !source.result)) return undefined; // in a large run it isn't read
  return source.result ?? null;
}

/** True if an expression in the config of *step* names the inputs of the run. */
export function readsInputs(step) {
  return /\$\{[^}]*\binputs\b/.test(JSON.stringify(step.config ?? null));
}

function mappedInput(mapping, run) {
  const source = run.steps.find((each) => each.step_id === mapping.from_step);
  const transform = mapping.transform && mapping.transform !== "NONE" ? ` as ${mapping.transform}` : "";
  const value = transform ? undefined : valueAt(source?.result, mapping.from_field);
  return { name: mapping.to_field, value, from: `${mapping.from_field} of ${mapping.from_step}${transform}` };
}

/** The value at a plain path such as "images[0].url"; undefined if there is none, or if the path is more than that. */
function valueAt(result, path) {
  if (!result) return undefined;
  if (Object.hasOwn(result, path)) return result[path];
  return PATH.test(path) ? memberAt(result, path) : undefined;
}

function memberAt(result, path) {
  let value = result;
  for (const part of path.match(/\w+/g)) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}
