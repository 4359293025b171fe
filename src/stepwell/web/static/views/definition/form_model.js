// The form of a definition's inputs, without the DOM: the fields that a JSON Schema has, and the inputs that they give.
//
// What must hold:
// - Every schema has a form. The kinds of fields are text, number, integer, choice, yes/no, list, object, file and json. A field of the
//   kind json shows whatever the others can't.
// - The values are those of the stored inputs, else the defaults of the schema. Stored inputs that no field shows stay as they are.
// - A hostile schema makes a small form: `$ref` in a circle, and what is beyond MOST_FIELDS, MOST_LEVELS and MOST_ITEMS, are fields for JSON.
// - The service checks the inputs. The form finds only what it can't send: texts that aren't numbers or JSON, and what is missing.
import { isObject, parseJson, pretty } from "../../lib/json.js";

const [MOST_FIELDS, MOST_LEVELS, MOST_ITEMS] = [500, 12, 100];
const SHORT_TEXT = 100; // characters: a text that may be longer has several lines
// With one of these words, a schema has members that depend on others, or items of several schemas.
const COMBINED = ["oneOf", "anyOf", "allOf", "if", "dependentSchemas", "dependencies", "patternProperties", "prefixItems",
  "$dynamicRef", "$recursiveRef"];
const ANNOTATIONS = ["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"];
const LIMITS = {
  minimum: (value) => `at least ${value}`, exclusiveMinimum: (value) => `more than ${value}`, minItems: (value) => `at least ${value}`,
  maximum: (value) => `at most ${value}`, exclusiveMaximum: (value) => `less than ${value}`, maxItems: (value) => `at most ${value}`,
  minLength: (value) => (value > 1 ? `at least ${value} characters` : ""), maxLength: (value) => `at most ${value} characters`,
  multipleOf: (value) => `a multiple of ${value}`, pattern: (value) => `pattern ${value}`,
  format: (value) => (["artifact", "date"].includes(value) ? "" : value), contentMediaType: (value) => value,
};

const member = (object, name) => (isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined);
const isEqual = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The form for *schema*, an inputs_schema or null, and *stored*, the inputs of the definition: a field of the kind object or json. */
export function createForm(schema, stored = {}) {
  const builder = new FormBuilder(schema ?? {});
  const options = { name: "inputs", isRequired: true, stored };
  const root = builder.field(isObject(schema) && !schema.$ref ? { type: "object", ...schema } : schema ?? {}, options);
  return root.kind === "object" ? root : { ...builder.field({}, options), schema, title: "Inputs" };
}

class FormBuilder {
  constructor(root) {
    Object.assign(this, { root, count: 0, left: MOST_FIELDS });
  }

  /** The field for *source*. *stored* is its value in the stored inputs, *preset* the one by a default above it. *refs* are the references
   *  that led to it. */
  field(source, { name, isRequired = false, stored, preset, refs = ["#"], level = 0 }) {
    const resolved = this.left-- > 0 && level < MOST_LEVELS ? this.resolve(source, refs) : null;
    const schema = resolved?.schema ?? (isObject(source) ? source : {});
    const first = stored ?? preset ?? schema.default;
    const kind = resolved && !(Array.isArray(first) && first.length > MOST_ITEMS) ? kindOf(schema) : "json";
    const [title, description] = ["title", "description"].map((word) => (typeof schema[word] === "string" ? schema[word] : ""));
    const field = { id: this.count++, kind, name, isRequired, schema, stored, first, title: title || name, description, hint: hintOf(schema, kind) };
    const below = (each, options) => this.field(each, { refs: resolved.refs, level: level + 1, ...options });
    if (kind === "object") {
      const required = Array.isArray(schema.required) ? schema.required : [];
      field.fields = Object.entries(schema.properties).map(([key, each]) => below(each, {
        name: key, isRequired: required.includes(key), stored: member(stored, key), preset: member(first, key),
      }));
    } else if (kind === "list") {
      const item = (value) => below(schema.items, { name: "", isRequired: true, preset: value });
      const ofItem = this.resolve(schema.items, resolved.refs)?.schema;
      field.fileSchema = kindOf(ofItem) === "file" ? ofItem : null; // of a list of files
      field.items = (Array.isArray(first) ? first : Array(isRequired ? Math.min(MOST_ITEMS, schema.minItems || 0) : 0).fill()).map(item);
      field.addItem = () => {
        this.left = MOST_FIELDS;
        field.items.push(item());
        return field.items.at(-1);
      };
    } else {
      if (kind === "choice") field.choices = Object.hasOwn(schema, "const") ? [schema.const] : schema.enum;
      field.isLong = kind === "text" && !schema.format && !schema.pattern && !(schema.maxLength <= SHORT_TEXT);
      field.value = textOf(field);
    }
    return field;
  }

  /** The schema that *schema* makes with its `$ref`, and with the one branch that it has beside null; and all references that led to it. null
   *  in a circle, and if the two contradict each other. */
  resolve(schema, refs) {
    const word = isObject(schema) && ["$ref", "anyOf", "oneOf"].find((each) => Object.hasOwn(schema, each));
    const branches = word && word !== "$ref" ? schema[word].filter((each) => each?.type !== "null") : [];
    if (!word || branches.length > 1) return { schema, refs };
    const { [word]: value, ...own } = schema;
    const target = word !== "$ref" ? branches[0] : refs.includes(value) ? undefined : this.find(value);
    if (!isObject(target) || Object.keys(own).some((each) => Object.hasOwn(target, each) && !ANNOTATIONS.includes(each))) return null;
    return this.resolve({ ...target, ...own }, word === "$ref" ? [...refs, value] : refs);
  }

  /** What *ref* names within the schema, by a JSON pointer (RFC 6901) or an anchor. */
  find(ref) {
    if (ref.startsWith("#/")) {
      const parts = ref.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
      return parts.reduce((value, part) => (Array.isArray(value) ? value[part] : member(value, part)), this.root);
    }
    const waiting = [this.root];
    for (const each of waiting) { // it grows
      if (each?.$anchor === ref.slice(1) || each?.$id === ref) return each;
      if (each !== null && typeof each === "object") waiting.push(...Object.values(each));
    }
    return undefined;
  }
}

function kindOf(schema) {
  if (!isObject(schema) || COMBINED.some((word) => Object.hasOwn(schema, word))) return "json";
  if (Array.isArray(schema.enum) || Object.hasOwn(schema, "const")) return "choice";
  const [type, ...others] = [schema.type].flat().filter((each) => each !== "null");
  if (others.length) return "json";
  if (type === "string") return schema.format === "artifact" ? "file" : "text";
  if (type === "number" || type === "integer") return type;
  if (type === "boolean") return "yes/no";
  if (type === "array" && isObject(schema.items)) return "list";
  const isMap = isObject(schema.additionalProperties) && Object.keys(schema.additionalProperties).length;
  return type === "object" && Object.keys(schema.properties ?? {}).length && !isMap ? "object" : "json";
}

function hintOf(schema, kind) {
  if (kind === "json" || kind === "choice") return "";
  const words = Object.keys(LIMITS).filter((word) => ["number", "string"].includes(typeof schema[word]));
  return words.map((word) => LIMITS[word](schema[word])).filter(Boolean).join(", ");
}

/** The first value of a field as the text of its control. A choice is the index of its value. */
function textOf({ kind, first, choices }) {
  if (first === undefined) return "";
  if (kind === "json") return pretty(first);
  if (kind === "choice") return String(choices.findIndex((each) => isEqual(each, first))).replace("-1", "");
  const fits = kind === "yes/no" ? typeof first === "boolean" : typeof first !== "object" || first instanceof Number;
  return fits ? String(first) : "";
}

/** What the form gives: {inputs, faults}. *inputs* is the JSON merge patch (RFC 7396) that makes the stored inputs those of the form. A fault
 *  is {loc, message, isMissing}. */
export function readForm(form) {
  const faults = [];
  const inputs = valueOf(form, [], faults) ?? {};
  return { inputs: patchOf(form.stored, inputs), faults };
}

/** The value of a field; undefined if it has none. */
function valueOf(field, loc, faults) {
  const { kind, isRequired, stored } = field;
  if (kind === "object") return objectOf(field, loc, faults);
  if (kind === "list") {
    const items = field.items.map((each, index) => valueOf(each, [...loc, index], faults));
    return items.length || isRequired || stored !== undefined ? items : undefined;
  }
  const fail = (message, isMissing = false) => { faults.push({ loc, message, isMissing }); };
  const text = kind === "text" ? field.value : field.value.trim();
  const isEmptyText = kind === "text" && stored !== undefined; // a stored text that is cleared
  if (text === "" && !isEmptyText) return isRequired ? fail("Required", true) : undefined;
  if (kind === "text" || kind === "file") return text;
  if (kind === "choice") return field.choices[text];
  if (kind === "yes/no") return text === "true";
  if (kind === "json") {
    try {
      return parseJson(text);
    } catch (error) {
      return fail(`Not JSON: ${error.message}`);
    }
  }
  const number = /^-?[1-9]\d*$/.test(text) ? parseJson(text) : Number(text); // with all digits
  const fits = kind === "integer" ? Number.isInteger(Number(number)) : Number.isFinite(Number(number));
  return fits ? number : fail(kind === "integer" ? "Expected an integer" : "Expected a number");
}

/** An object that may be missing is missing if none of its fields has a value. Then none of these is required. */
function objectOf({ fields, first, stored, isRequired }, loc, faults) {
  const ownFaults = [];
  const names = new Set(fields.map((each) => each.name));
  const others = Object.entries(isObject(first) ? first : {}).filter(([name]) => !names.has(name));
  const members = fields.map((each) => [each.name, valueOf(each, [...loc, each.name], ownFaults)]).filter(([, value]) => value !== undefined);
  if (!isRequired && stored === undefined && !others.length && !members.length && ownFaults.every((each) => each.isMissing)) return undefined;
  faults.push(...ownFaults);
  return Object.fromEntries([...others, ...members]);
}

function patchOf(stored, wanted) {
  if (!isObject(stored) || !isObject(wanted)) return wanted;
  const removed = Object.keys(stored).filter((name) => !Object.hasOwn(wanted, name) && stored[name] !== null).map((name) => [name, null]);
  const patches = Object.entries(wanted).map(([name, value]) => [name, patchOf(member(stored, name), value), member(stored, name)]);
  const changed = patches.filter(([, patch, old]) => !isEqual(patch, old) && !(isObject(old) && isEqual(patch, {})));
  return Object.fromEntries([...removed, ...changed]);
}

/** The field at *loc*, a place in the inputs, and the rest of the place within the field: [field, rest]. */
export function fieldAt(field, loc) {
  const below = field.kind === "list" ? field.items[loc[0]] : field.fields?.find((each) => each.name === loc[0]);
  return loc.length && below ? fieldAt(below, loc.slice(1)) : [field, loc];
}
