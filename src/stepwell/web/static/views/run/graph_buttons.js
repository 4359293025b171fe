// The buttons of those nodes of a graph that can be opened, as elements of the page above the canvas. They move with the graph.
import { html, nothing, ref, render, repeat, setStyle } from "../../lib/dom.js";
import { canOpen, nestedName } from "./graph_part.js";

const LEAST_ZOOM = 0.3; // nodes that are drawn smaller have no buttons
const TOP = { node: 12, frame: 6 }; // from the top of the node

export class NodeButtons {
  /** @param canvas see graph_canvas.js */
  constructor(canvas) {
    this.canvas = canvas;
    this.element = document.createElement("div");
    this.element.className = "graph-buttons";
    canvas.container.after(this.element);
  }

  /** Draws the buttons, and the links from open nodes to the pages of their runs. */
  draw() {
    clearTimeout(this.timer);
    this.timer = 0;
    const { nodes, openSource } = this.canvas;
    const nodesWithButton = openSource ? [...nodes].filter(([, { step }]) => canOpen(step)) : [];
    render(repeat(nodesWithButton, ([id]) => id, ([id, { step, part }]) => this.button(id, step, part)), this.element);
    this.move();
  }

  drawSoon() {
    this.timer ||= setTimeout(() => this.draw());
  }

  button(id, step, part) {
    const node = this.canvas.cy.getElementById(id);
    const { x, y } = node.position();
    const inner = part.open.get(step.step_id);
    const run = inner?.source.reader?.id;
    const name = nestedName(step);
    const style = setStyle({ left: `${x + node.width() / 2}px`, top: `${y - node.height() / 2 + (inner ? TOP.frame : TOP.node)}px` });
    return html`<span class="graph-button" ${ref(style)}>${run ? html`<a href=${`/ui/workflows/${run}`}
      aria-label=${`Page of the sub-workflow of ${step.step_id}`} title="Its page">↗</a>` : nothing}<button type="button"
      aria-expanded=${inner ? "true" : "false"} aria-label=${name} title=${name}
      @click=${() => this.canvas.toggleNode(part, step)}>${inner ? "−" : "+"}</button></span>`;
  }

  /** Moves the buttons to where the graph is now. */
  move() {
    const { cy } = this.canvas;
    const [zoom, { x, y }] = [cy.zoom(), cy.pan()];
    this.element.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    this.element.hidden = zoom < LEAST_ZOOM;
  }
}
