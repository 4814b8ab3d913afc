// A bot's page: each event tells all about it, and what differs is drawn.

import { Stream, byId, clock, duration, make, plain, post, status, when } from "./live.js";
import { Plot } from "./plot.js";

const botId = document.querySelector("main").dataset.bot;
const plots = [...document.querySelectorAll("figure[data-figure]")].map((element) => new Plot(element));
const ENDED = new Set(["stopped", "lost"]);
const shown = new Map();

/** Draw a part of the page, if what it shows has changed. */
function draw(id, data, fill) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  fill(byId(id), data);
}

function table(id, rows, cells) {
  draw(id, rows, (body) => {
    const titles = [...body.parentElement.querySelectorAll("th")].map((title) => title.textContent);
    body.replaceChildren(
      ...rows.map((row) => make("tr", {}, ...cells(row).map((cell, place) => make("td", { "data-label": titles[place] }, cell)))),
    );
    byId(`some-${id}`).hidden = !rows.length;
    byId(`no-${id}`).hidden = rows.length > 0;
  });
}

function take(news) {
  const { bot } = news;
  const word = bot?.status ?? "unknown";
  draw("status", word, (element) => {
    element.className = `status ${/^[a-z]+$/.test(word) ? word : ""}`;
    element.textContent = word;
  });
  byId("commands").hidden = !bot || ENDED.has(word);
  draw("sent", news.sent, showSent);
  if (!bot) {
    byId("summary").textContent = `Nobody knows a bot ${botId}.`;
    return;
  }
  const told = bot.as_of === null ? news.summary : `As of ${clock(bot.as_of)}: ${news.summary}`;
  draw("summary", told, (element) => (element.textContent = told));
  byId("status").classList.toggle("past", bot.as_of !== null);
  draw("facts", news.facts, (list) =>
    list.replaceChildren(...news.facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
  );
  draw("blocked", news.blocked, showBlocked);
  draw("stacks", news.stacks, showStacks);
  table("ledger", news.ledger, (entry) => [
    when(entry.at),
    entry.actor,
    entry.message ? `${entry.error} (on ${entry.message})` : entry.error,
    entry.backoff_s === null ? "–" : duration(entry.backoff_s),
  ]);
  table("messages", news.messages, (letter) => [
    status(letter.state),
    letter.reason ? `${letter.text} (${letter.reason})` : letter.text,
    plain(letter.sender),
    letter.queue,
    clock(letter.stored_at),
    String(letter.tries),
  ]);
  const none = byId("no-messages");
  none.textContent = news.messages_problem ? `They cannot be read: ${news.messages_problem}.` : "None.";
  if (news.messages_more) {
    none.hidden = false;
    none.textContent = `… and ${news.messages_more} more.`;
  }
  if (news.history) {
    byId("plots").hidden = false;
    for (const plot of plots) plot.take(news.history);
  }
}

function showBlocked(card, blocked) {
  card.hidden = !blocked;
  if (!blocked) return;
  card.replaceChildren(
    make("h2", {}, `Blocked at ${blocked.file}:${plain(blocked.line)} in ${blocked.function}`),
    make("pre", { tabindex: "0" }, blocked.stack.join("\n")),
  );
}

function showStacks(card, stacks) {
  card.hidden = !stacks;
  if (!stacks) return;
  card.replaceChildren(make("h2", {}, "Where its tasks stand"));
  for (const [name, lines] of Object.entries(stacks)) {
    card.append(make("h3", {}, name), make("pre", { tabindex: "0" }, lines.join("\n")));
  }
}

const STEPS = ["stored", "delivered", "handled"];

function showSent(list, sent) {
  list.replaceChildren(
    ...sent.map((receipt) => {
      const steps = STEPS.map((step) => {
        const at = receipt[`${step}_ms`];
        return make("li", { class: at === null ? "waits" : "reached" }, at === null ? step : `${step} ${Math.round(at)} ms`);
      });
      if (receipt.state === "dead") steps.push(make("li", { class: "failed" }, "given up"));
      const item = make("li", {}, make("span", { class: "text" }, receipt.text), make("ol", { class: "steps" }, ...steps));
      item.title = `${receipt.id}, ${receipt.where}, at ${clock(receipt.sent_at)}`;
      if (receipt.note) item.append(make("small", {}, receipt.note));
      return item;
    }),
  );
}

function say(words, failed) {
  const line = byId("sending");
  line.hidden = !words;
  line.textContent = words;
  line.classList.toggle("failed", failed);
}

const form = byId("send");
form.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { text, mode, durable } = form.elements;
  const button = form.querySelector("button");
  button.disabled = true;
  say("sending …", false);
  try {
    await post("/api/1/messages", { bot_id: botId, text: text.value, mode: mode.value, durable: durable.checked });
    text.value = "";
    say("", false);
  } catch (error) {
    say(`Not sent: ${error.message}`, true);
  }
  button.disabled = false;
  text.focus();
});
form.elements.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

const dialog = byId("confirm");
for (const button of document.querySelectorAll("[data-command]")) {
  button.addEventListener("click", () => {
    const { command, question, consequence } = button.dataset;
    byId("question").textContent = question;
    byId("consequence").textContent = consequence;
    byId("confirmed").textContent = button.textContent;
    byId("confirmed").className = command === "stop" ? "danger" : "main";
    dialog.returnValue = "";
    dialog.onclose = async () => {
      if (dialog.returnValue !== "yes") return;
      try {
        await post("/api/1/control", { bot_id: botId, command });
        say(`It was told: ${command}.`, false);
      } catch (error) {
        say(`Not told to ${command}: ${error.message}`, true);
      }
    };
    dialog.showModal();
  });
}

new Stream(`/api/1/bot/events?id=${encodeURIComponent(botId)}`, "bot", take);
