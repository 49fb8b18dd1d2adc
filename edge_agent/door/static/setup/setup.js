// Parts of a page kept fresh, copying, and waiting for the agent to come back. Everything else is plain HTML.
"use strict";

const EVERY_MS = 1000, FAST_MS = 400, LATE_MS = 20000, ELSEWHERE_MS = 5000, STALE_MS = 5000, TWICE_MS = 2000;

function dated(root) {
  for (const time of root.querySelectorAll("time[data-ms]")) {
    const at = new Date(Number(time.dataset.ms));
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleString("sv");  // 2026-11-29 20:14:39, as everywhere else, in either language
  }
}

function put(part, html) {
  if (part.dataset.shown === html) return;
  part.dataset.shown = html;
  // Whoever is on a button in here stays on it.
  const held = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html;
  dated(part);
  if (held) document.getElementById(held)?.focus();
}

let heard_at = Date.now();

async function fresh(part) {
  try {
    const answer = await fetch(part.dataset.poll, {headers: {"X-Part": "1"}});
    if (answer.status === 401) return location.reload();
    if (answer.ok && !answer.redirected) put(part, await answer.text());
    heard_at = Date.now();
  } catch { /* the agent is starting again: what is shown stays until it is back, and is called old before long */ }
  say_whether_old();
  setTimeout(fresh, "fast" in part.dataset ? FAST_MS : EVERY_MS, part);
}

// Also by the clock: an agent that hangs never answers, and never hangs up.
function say_whether_old() {
  document.getElementById("stale").hidden = Date.now() - heard_at < STALE_MS;
}

async function back(waiting) {
  const begun = Date.now(), late = waiting.querySelector("[data-late]");
  // Another address may not be asked from here: it is gone to when it should be there.
  if ("elsewhere" in waiting.dataset) {
    return setTimeout(() => location.replace(waiting.dataset.next), ELSEWHERE_MS);
  }
  for (;;) {
    await new Promise((done) => setTimeout(done, 250));
    try {
      const answer = await fetch("/setup/alive", {cache: "no-store"});
      if (answer.ok && String((await answer.json()).started) !== waiting.dataset.restart) break;
    } catch { /* not back yet */ }
    late.hidden = Date.now() - begun < LATE_MS;
  }
  location.replace(waiting.dataset.next);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const what = document.getElementById(button.dataset.copy), said = button.textContent;
  try {
    await navigator.clipboard.writeText(what.innerText);
    button.textContent = button.dataset.done;
  } catch {
    // A page of another machine may not: it is marked, to be copied by hand.
    getSelection().selectAllChildren(what);
    button.textContent = "Ctrl + C";
  }
  setTimeout(() => { button.textContent = said; }, 2000);
});

// A double click is one click: the second would be told what the first has changed.
const sent = new WeakMap();
document.addEventListener("submit", (event) => {
  if (performance.now() - sent.get(event.target) < TWICE_MS) event.preventDefault();
  else sent.set(event.target, performance.now());
});

// A device that has no name yet is named after its window, until somebody names it otherwise.
document.querySelectorAll("[data-after]").forEach((device) => {
  const window_ = document.getElementById(device.dataset.after);
  let proposed = device.value;
  const follow = () => {
    if (device.value !== proposed) return;
    const stem = window_.value.trim().replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "");
    proposed = device.value = stem ? stem.slice(0, 32 - device.dataset.ending.length) + device.dataset.ending : "";
  };
  window_.addEventListener("input", follow);
  follow();  // whoever is quick has typed it by now
});

dated(document);
document.querySelectorAll("[data-poll]").forEach((part) => {
  setTimeout(fresh, EVERY_MS, part);
  setInterval(say_whether_old, EVERY_MS);
});
document.querySelectorAll("[data-restart]").forEach(back);
