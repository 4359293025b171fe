// JSON without a loss: integers above 2^53, such as seeds, keep their digits.

const LONG_NUMBER = /\d{16}/;
const OPEN = { "{": "}", "[": "]" };
const WIDTH = 100;

/** An integer that a number can't represent. It is written with all its digits, and computes as the nearest number. */
class ExactInteger extends Number {
  #digits;

  constructor(digits) {
    super(digits);
    this.#digits = digits;
  }

  toString() {
    return this.#digits;
  }

  toJSON() {
    return JSON.rawJSON(this.#digits);
  }
}

/** The value of the JSON *text*. In a browser that doesn't know JSON.rawJSON, large integers are rounded. */
export function parseJson(text) {
  if (!LONG_NUMBER.test(text) || !JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_name, value, { source }) => (
    typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER && /^-?\d+$/.test(source)
      ? new ExactInteger(source) : value));
}

/** The value of *text*; undefined if it isn't JSON. */
export function tryParseJson(text) {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

/** True if *value* is an object of JSON. */
export function isObject(value) {
  return value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;
}

/** *value* as JSON for people. */
export function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** The JSON *source* (which must be valid) with each token as it was, indented by two spaces. What fits in a line of 100
 *  characters is one line, except at the top. */
export function indented(source) {
  const tokens = source.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let at = 0;
  const read = () => {
    const token = tokens[at++];
    if (!(token in OPEN)) return token;
    const items = [];
    while (tokens[at] !== OPEN[token]) {
      const name = token === "{" ? `${tokens[at]}: ` : "";
      if (name) at += 2;
      items.push({ name, value: read() });
      if (tokens[at] === ",") at++;
    }
    at++;
    return { open: token, items };
  };
  const inline = (value) => (typeof value === "string" ? value
    : `${value.open}${value.items.map((each) => each.name + inline(each.value)).join(", ")}${OPEN[value.open]}`);
  const write = (value, depth, room) => {
    const line = inline(value);
    if (typeof value === "string" || !value.items.length || (depth > 1 && line.length <= room)) return line;
    const space = "  ".repeat(depth + 1);
    const lines = value.items.map(({ name, value: item }) =>
      space + name + write(item, depth + 1, WIDTH - space.length - name.length - 1));
    return `${value.open}\n${lines.join(",\n")}\n${"  ".repeat(depth)}${OPEN[value.open]}`;
  };
  return `${write(read(), 0, 0)}\n`;
}
