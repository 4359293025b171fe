// How the graph looks: the style of Cytoscape, in the colours of the page's theme.
import { NODE } from "./layout.js";

const STATUSES = ["running", "pending", "completed", "failed", "cancelled"];
const SHOWN_AS = { skipped: "cancelled" };

/** Reads the colours of the theme: a canvas knows no custom properties. */
export function readColours() {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["ink", "dim", "card", "raised", "line", "line-strong", "accent", "accent-soft"];
  const colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  colours.statuses = Object.fromEntries([...STATUSES, ...Object.keys(SHOWN_AS)].map((status) => {
    const shown = SHOWN_AS[status] ?? status;
    return [status.toUpperCase(), { line: colour(shown), soft: colour(`${shown}-soft`) }];
  }));
  probe.remove();
  return colours;
}

/** Calls *callback* when the theme changes. */
export function onThemeChange(callback) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
  new MutationObserver(callback).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

/** The style. A node's data: label, status, progress (0 to 1, of its progress), image, opens (1 if it has a button), kind ("step",
 *  "group", "heading", "frame", "note"); of a frame its width and height; z, if frames and what is in them lie on each other. */
export function graphStyle(colours, { font, fast }) {
  return [
    {
      selector: "node",
      style: {
        shape: fast ? "rectangle" : "round-rectangle", width: NODE.width, height: NODE.height,
        "background-color": colours.card, "border-width": 1.5, "border-color": colours["line-strong"],
        label: "data(label)", color: colours.ink, "font-family": font, "font-size": 12, "line-height": 1.25,
        "text-valign": "center", "text-halign": "center", "text-wrap": "wrap", "text-max-width": NODE.width - 16,
        "min-zoomed-font-size": 6, "overlay-opacity": 0,
      },
    },
    ...Object.entries(colours.statuses).map(([status, { line, soft }]) => ({
      selector: `node[status = "${status}"]`, style: { "background-color": soft, "border-color": line },
    })),
    ...Object.entries(colours.statuses).map(([status, { line, soft }]) => ({
      selector: `node[status = "${status}"][progress]`,
      style: {
        "background-fill": "linear-gradient", "background-gradient-direction": "to-right",
        "background-gradient-stop-colors": [mixColours(line, soft), mixColours(line, soft), soft, soft],
        "background-gradient-stop-positions": (node) => {
          const end = Math.round(node.data("progress") * 100);
          return [0, end, end, 100];
        },
      },
    })),
    ...Object.entries(colours.statuses).map(([status, { line }]) => ({
      selector: `node.far[kind = "step"][status = "${status}"]`, style: { "background-color": line },
    })),
    {
      selector: "node[image]",
      style: {
        "background-image": "data(image)", "background-image-crossorigin": "null", "background-fit": "none",
        "background-width": 40, "background-height": 40, "background-position-x": 4, "background-position-y": 4,
        "background-clip": "node", "text-margin-x": 20, "text-max-width": NODE.width - 56,
      },
    },
    { selector: 'node[kind = "group"]', style: { "border-style": "double", "border-width": 4, "font-weight": 600 } },
    {
      selector: 'node[kind = "heading"]',
      style: { "border-style": "dashed", "background-color": colours.raised, "font-weight": 600 },
    },
    { selector: "node[opens = 1]", style: { "text-margin-x": -12, "text-max-width": NODE.width - 40 } },
    {
      selector: "node[opens = 1][image]",
      style: { "text-margin-x": 8, "text-max-width": NODE.width - 84 },
    },
    {
      selector: 'node[kind = "frame"]',
      style: {
        width: "data(width)", height: "data(height)", "background-color": colours.raised, "font-weight": 600,
        "text-valign": "top", "text-margin-y": 26, "text-margin-x": -28, "text-max-width": (node) => node.data("width") - 80,
        "text-wrap": "ellipsis",
      },
    },
    { selector: 'node[kind = "note"]', style: { "border-width": 0, "background-opacity": 0, color: colours.dim } },
    { selector: "[z]", style: { "z-index-compare": "manual", "z-index": "data(z)" } },
    { selector: "node.selected", style: { "border-width": 4, "border-color": colours.accent } },
    { selector: "node.hovered", style: { "border-width": 3 } },
    { selector: "node.current", style: { "border-width": 4, "border-color": colours.accent, "border-style": "solid" } },
    { selector: "node.faded", style: { opacity: 0.25 } },
    {
      selector: "edge",
      style: {
        width: 1.2, "line-color": colours["line-strong"], opacity: 0.7, "overlay-opacity": 0,
        ...(fast ? { "curve-style": "haystack" } : {
          "curve-style": "round-taxi", "taxi-direction": "rightward", "taxi-turn": "-28px", "taxi-turn-min-distance": 8,
          "target-arrow-shape": "triangle", "target-arrow-color": colours["line-strong"], "arrow-scale": 0.8,
        }),
      },
    },
    ...(fast ? [] : [
      { selector: 'edge[folded = "down"]', style: { "taxi-direction": "downward", "taxi-turn": "-22px" } },
      {
        selector: 'edge[folded = "bent"]',
        style: {
          "curve-style": "round-segments", "edge-distances": "node-position", "segment-radii": 8,
          "segment-weights": (edge) => edge.data("weights"), "segment-distances": (edge) => edge.data("distances"),
        },
      },
    ]),
    { selector: "edge.selected", style: { width: 2.5, "line-color": colours.accent, "target-arrow-color": colours.accent, opacity: 1 } },
  ];
}

/** A third of *line* in *soft*; both are "rgb(…)". */
function mixColours(line, soft) {
  const [a, b] = [line, soft].map((text) => text.match(/[\d.]+/g).map(Number));
  return `rgb(${a.slice(0, 3).map((value, i) => Math.round(value * 0.3 + b[i] * 0.7)).join(",")})`;
}
