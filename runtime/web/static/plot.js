// A figure over time, as an inline SVG; drawn anew when it changes or its room does.

import { clock, figure } from "./live.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 120;
const LEFT = 44;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
const GAP_S = 90; // between points that are not joined: nobody knows what was there

function shape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The top of an axis that has some round figures: 1, 2, 5, 10, 20, 50 … */
function top(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most) || 1;
}

export class Plot {
  constructor(element) {
    this.name = element.dataset.figure;
    this.unit = element.dataset.unit;
    this.title = element.querySelector("figcaption span").textContent;
    this.output = element.querySelector("output");
    this.room = element.querySelector(".plot");
    this.steps = this.name === "restarts";
    this.points = [];
    this.room.addEventListener("pointermove", (event) => this.point(event));
    this.room.addEventListener("pointerleave", () => this.say());
    new ResizeObserver(() => this.draw()).observe(this.room);
  }

  take(history) {
    this.points = history.at.map((at, place) => [at, history[this.name][place]]).filter(([, value]) => value !== null);
    this.draw();
    this.say();
  }

  words(value) {
    return `${figure(value)}${this.unit && ` ${this.unit}`}`;
  }

  say() {
    const last = this.points.at(-1);
    this.output.textContent = last ? this.words(last[1]) : "–";
    this.mark?.setAttribute("visibility", "hidden");
  }

  point(event) {
    if (!this.points.length) return;
    const at = event.clientX - this.room.getBoundingClientRect().left;
    const near = this.points.reduce((best, each) => (Math.abs(this.x(each[0]) - at) < Math.abs(this.x(best[0]) - at) ? each : best));
    this.output.textContent = `${this.words(near[1])} at ${clock(near[0])}`;
    this.mark.setAttribute("cx", this.x(near[0]));
    this.mark.setAttribute("cy", this.y(near[1]));
    this.mark.setAttribute("visibility", "visible");
  }

  draw() {
    const width = this.room.clientWidth;
    if (!width) return;
    const values = this.points.map(([, value]) => value);
    const most = top(Math.max(0, ...values));
    const end = this.points.at(-1)?.[0] ?? Date.now() / 1000;
    const begin = Math.min(this.points[0]?.[0] ?? end, end - 120);
    this.x = (at) => LEFT + ((at - begin) / (end - begin)) * (width - LEFT - RIGHT);
    this.y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" });
    const said = this.points.length ? `${this.words(values.at(-1))} now, at most ${this.words(Math.max(...values))}` : "nothing known yet";
    svg.append(shape("title", {}, `${this.title}: ${said}`));
    for (const share of [0, 0.5, 1]) {
      const y = this.y(share * most);
      svg.append(shape("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "grid" }));
      if (share !== 0.5 || most >= 2) svg.append(shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, figure(share * most)));
    }
    svg.append(shape("text", { x: LEFT, y: HEIGHT - 5 }, clock(begin)));
    svg.append(shape("text", { x: width - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, clock(end)));
    for (const run of this.runs()) {
      const line = this.line(run);
      const [first, last] = [this.x(run[0][0]), this.x(run.at(-1)[0])];
      svg.append(shape("path", { d: `${line}L${last} ${this.y(0)}L${first} ${this.y(0)}Z`, class: "area" }));
      svg.append(shape("path", { d: line, class: "line" }));
      if (run.length === 1) svg.append(shape("circle", { cx: first, cy: this.y(run[0][1]), r: 2.5, class: "dot" }));
    }
    this.mark = shape("circle", { r: 4, class: "dot", visibility: "hidden" });
    svg.append(this.mark);
    this.room.replaceChildren(svg);
  }

  /** The points in runs without a gap. */
  runs() {
    const runs = [];
    for (const point of this.points) {
      const last = runs.at(-1);
      if (last && point[0] - last.at(-1)[0] <= GAP_S) last.push(point);
      else runs.push([point]);
    }
    return runs;
  }

  line(run) {
    return run
      .map(([at, value], place) => {
        const [x, y] = [this.x(at).toFixed(1), this.y(value).toFixed(1)];
        if (!place) return `M${x} ${y}`;
        return this.steps ? `H${x}V${y}` : `L${x} ${y}`;
      })
      .join("");
  }
}
