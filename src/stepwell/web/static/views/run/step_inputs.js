// The inputs of a step: its config over the run's defaults, and what mappings take from other steps. Pure functions.

const PATH = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*$/;

/** The inputs: [{name, value, from}]. `from` says where an input comes from that isn't in the step's config; `value` is
 *  undefined if it isn't known yet, or if only the service can compute it (an expression or a transform). */
export function inputsOf(step, run) {
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
  return [...all.values(), ...step.input_mappings.map((each) => mappedInput(each, run))];
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
  if (!PATH.test(path)) return undefined;
  let value = result;
  for (const part of path.match(/\w+/g)) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}
