// Which steps the expressions in a config name: "${a.text}". Only the service parses expressions fully.

const EXPRESSION = /\$?\$\{/g;
const TOKEN = /'(?:[^'\\]|\\.)*'?|`(?:[^`\\]|\\.)*`?|"(?<quoted>(?:[^"\\]|\\.)*)"?|(?<name>[A-Za-z_]\w*)|(?<mark>[{}])/gs;
const OWN_NAMES = ["inputs", "workflow", "item"];

/** Returns those of *ids* that expressions in *config* name. A name that isn't the first of a path doesn't count. */
export function stepsNamed(config, ids) {
  const known = new Set(ids);
  const named = new Set();
  for (const text of textsIn(config)) for (const name of firstNames(text)) named.add(name);
  return [...named].filter((name) => known.has(name) && !OWN_NAMES.includes(name));
}

function* textsIn(value) {
  if (typeof value === "string") yield value;
  else if (value && typeof value === "object") for (const each of Object.values(value)) yield* textsIn(each);
}

function* firstNames(text) {
  for (const begin of text.matchAll(EXPRESSION)) {
    if (begin[0] === "$${") continue;
    const rest = text.slice(begin.index + begin[0].length);
    let depth = 0;
    for (const token of rest.matchAll(TOKEN)) {
      const { mark } = token.groups;
      if (mark === "}" && !depth) break;
      if (mark) depth += mark === "{" ? 1 : -1;
      const name = token.groups.name ?? token.groups.quoted;
      const isFirst = !/[.&]\s*$/.test(rest.slice(0, token.index)) && !/^\s*[:(]/.test(rest.slice(token.index + token[0].length));
      if (name !== undefined && isFirst) yield name;
    }
  }
}
