// The fleet: a row for each bot, kept by its id, so that only what has changed is drawn again.

import { Stream, byId, duration, make, plain, status } from "./live.js";

const ENDED = new Set(["stopped", "lost"]);
const STATUSES = ["blocked", "degraded", "lost", "starting", "draining", "healthy", "stopped"];

const COLUMNS = [
  ["Bot", "bot", (bot) => make("a", { href: `/bot?id=${encodeURIComponent(bot.bot_id)}` }, make("bdi", {}, bot.bot_id))],
  ["Status", "state", (bot) => status(bot.status)],
  ["Host", "host", (bot) => plain(bot.host)],
  ["Room", "room", (bot) => plain(bot.room_url)],
  ["Who", "participants", (bot) => String(bot.participant_count)],
  ["Up", "number", (bot) => duration(bot.uptime_s)],
  ["Restarts", "number", (bot) => plain(bot.restarts)],
  ["Lag", "number", (bot) => (bot.lag_ms === null ? "–" : `${bot.lag_ms} ms`)],
  ["Backend", "backend", (bot) => plain(bot.backend)],
  ["Seen", "number", (bot) => duration(bot.last_seen_s)],
];
const [UP, SEEN] = [5, COLUMNS.length - 1]; // they count on by themselves

const body = byId("bots");
const filter = byId("filter");
const ended = byId("ended");
const bots = new Map(); // id → {bot, row, heard, words}
const chosen = new Set();

function draw(known) {
  const { bot, row } = known;
  row.replaceChildren(
    ...COLUMNS.map(([title, kind, show], place) => {
      const cell = make("td", { class: kind, "data-label": title }, show(bot));
      if (title === "Who" && bot.participants.length) cell.title = bot.participants.join(", ");
      if (title === "Room") cell.title = bot.room_url;
      if (title === "Host") cell.title = bot.host;
      if (title === "Status" && bot.note) cell.append(make("small", {}, bot.note));
      if (place === SEEN) known.seen = cell;
      if (place === UP) known.up = cell;
      return cell;
    }),
  );
  row.classList.toggle("old", bot.as_of !== null);
  row.classList.toggle("ended", ENDED.has(bot.status));
}

function take(news) {
  if (news.reset) {
    bots.clear();
    body.replaceChildren();
  }
  for (const bot of news.bots) {
    let known = bots.get(bot.bot_id);
    if (!known) {
      known = { row: make("tr") };
      bots.set(bot.bot_id, known);
    }
    known.bot = bot;
    known.heard = performance.now();
    known.words = [bot.bot_id, bot.host, bot.room_url, bot.status, ...bot.participants].join("\n").toLowerCase();
    draw(known);
  }
  for (const id of news.gone) {
    bots.get(id)?.row.remove();
    bots.delete(id);
  }
  place();
  count();
  choose();
}

/** Put new rows where they belong; the others stay where they are, and keep the focus. */
function place() {
  const rows = [...bots.keys()].sort().map((id) => bots.get(id).row);
  rows.forEach((row, index) => {
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
}

function count() {
  const counts = new Map();
  for (const { bot } of bots.values()) counts.set(bot.status, (counts.get(bot.status) ?? 0) + 1);
  const words = [...new Set([...STATUSES, ...counts.keys()])].filter((word) => counts.has(word) || chosen.has(word));
  const group = byId("statuses");
  const had = document.activeElement?.dataset?.status;
  group.replaceChildren(
    ...words.map((word) => {
      const button = make("button", { type: "button", "data-status": word, "aria-pressed": String(chosen.has(word)) });
      button.append(status(word), ` ${counts.get(word) ?? 0}`);
      button.addEventListener("click", () => {
        if (!chosen.delete(word)) chosen.add(word);
        button.setAttribute("aria-pressed", String(chosen.has(word)));
        choose();
      });
      return button;
    }),
  );
  if (had) [...group.children].find((button) => button.dataset.status === had)?.focus();
}

function choose() {
  const wanted = filter.value.trim().toLowerCase().split(/\s+/);
  let shown = 0;
  for (const { bot, row, words } of bots.values()) {
    const asked = chosen.size ? chosen.has(bot.status) : ended.checked || !ENDED.has(bot.status);
    row.hidden = !(asked && wanted.every((word) => words.includes(word)));
    shown += row.hidden ? 0 : 1;
  }
  const empty = byId("empty");
  empty.hidden = shown > 0;
  const dead = [...bots.values()].filter(({ bot }) => ENDED.has(bot.status)).length;
  empty.textContent = filter.value || chosen.size ? "No such bots." : dead ? `No bots run; ${dead} ended.` : "No bots run.";
}

function countOn(cell, seconds, passed) {
  if (seconds === null) return;
  const text = duration(seconds + passed);
  if (cell.textContent !== text) cell.textContent = text;
}

function tick() {
  const now = performance.now();
  for (const { bot, row, heard, seen, up } of bots.values()) {
    if (row.hidden) continue;
    countOn(seen, bot.last_seen_s, (now - heard) / 1000);
    if (!ENDED.has(bot.status) && bot.as_of === null) countOn(up, bot.uptime_s, (now - heard) / 1000);
  }
}

byId("tools").hidden = false;
byId("tools").addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", choose);
ended.addEventListener("change", choose);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    filter.focus();
  }
  if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    choose();
  }
});
setInterval(tick, 1000);
new Stream("/api/1/fleet/events", "fleet", take);
