// What both pages share: elements, words for figures, and the stream that keeps them live.

export const byId = (id) => document.getElementById(id);

/** Make an element. Texts become text nodes: nothing that a bot says is ever read as HTML. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const two = (number) => String(number).padStart(2, "0");
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m${two(whole % 60)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

/** The time of day at which something was, given in seconds since the epoch. */
export const clock = (at) => new Date(at * 1000).toTimeString().slice(0, 8);

/** The day and time of a text such as 2026-01-31T12:00:00+00:00, where the browser is. */
export function when(text) {
  const day = new Date(text);
  return Number.isNaN(day.getTime()) ? text : day.toLocaleString("sv"); // as ISO 8601 has it
}

export const plain = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));

export const figure = (value) => (value >= 100 ? Math.round(value) : Math.round(value * 10) / 10).toLocaleString("en");

export function status(word) {
  return make("span", { class: `status ${/^[a-z]+$/.test(word) ? word : ""}` }, word);
}

const trouble = (state) => {
  const asOf = state.as_of === null ? "" : clock(state.as_of);
  if (state.problem) return `The bots cannot be read: ${state.problem}.${asOf && ` This is as of ${asOf}.`}`;
  if (state.away) {
    return `Redis is away (${state.away}): only this host's files tell of bots now.${asOf && ` The rest is as of ${asOf}.`}`;
  }
  return "";
};

/**
 * Keep a page live.
 *
 * A hidden page lets its stream go, as a browser has only six of them for one server.
 */
export class Stream {
  constructor(path, name, take) {
    this.path = path;
    this.name = name;
    this.take = take;
    this.heardAt = null;
    this.state = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", () => this.open());
    this.open();
  }

  open() {
    if (this.source || document.hidden) return;
    this.source = new EventSource(this.path);
    this.source.addEventListener(this.name, (event) => this.hear(JSON.parse(event.data)));
    this.source.addEventListener("open", () => this.show(true));
    this.source.addEventListener("error", () => this.lose());
  }

  close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  hear(document_) {
    this.state = { as_of: document_.as_of, away: document_.away, problem: document_.problem };
    this.take(document_);
    this.show(true);
  }

  lose() {
    this.show(false);
    if (this.source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    this.close();
    fetch("/api/1/fleet", { method: "HEAD" })
      .then((answer) => answer.status === 401 && location.assign("/login"))
      .catch(() => {});
    this.retry = setTimeout(() => this.open(), 3000);
  }

  show(connected) {
    const live = byId("live");
    if (connected) this.heardAt = Date.now() / 1000;
    const state = this.state ?? {};
    const old = !connected || state.as_of || state.problem;
    live.className = `live ${old ? "old" : "now"}`;
    const at = connected ? state.as_of : this.heardAt;
    live.textContent = !old ? "live" : at ? `as of ${clock(at)}` : "nothing known yet";
    const words = connected ? trouble(state) : "This page has lost its server, and tries to reach it again.";
    const banner = byId("banner");
    banner.hidden = !words;
    if (banner.textContent !== words) banner.textContent = words;
  }
}

/** Ask the server to do something; throws an Error that says in words why it did not. */
export async function post(path, document_) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(document_),
    });
  } catch {
    throw new Error("the server of this page does not answer");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `the server answered with ${answer.status}`);
  return said;
}
