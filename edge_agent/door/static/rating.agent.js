"use strict";
// What the rating page asks its agent and hears of it, and what it says to the page around it.
const LOOK_MS = 3000;  // where there is no room for a stream: a citizen does not notice, and the agent neither
const LOOKS = 10;  // and then a stream is tried again
const CHECK_MS = 15000;  // a stream that a tablet's sleep or its Wi-Fi has cut may be silent for minutes without an error
let stream = null;
let told_times = 0;
let checking = 0;

async function ask(what, body) {
  const patience = new AbortController();
  const end = setTimeout(() => patience.abort(), 5000);
  try {
    const said = body ? { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {};
    const answer = await fetch(here + what, { ...said, cache: "no-store", signal: patience.signal });
    return { ok: answer.ok, status: answer.status, body: await answer.json() };
  } catch (_) {
    return { ok: false, status: 0, body: null };
  } finally {
    clearTimeout(end);
  }
}

function follow() {
  stream = new EventSource(`${here}events`);
  stream.addEventListener("state", (event) => {
    heard(JSON.parse(event.data));
    if (is_done()) stream.close();
  });
  stream.addEventListener("error", () => {
    unheard();
    if (stream.readyState !== EventSource.CLOSED) return;
    stream = null;
    if (!is_done()) look(LOOKS);
  });
}

// Beside the stream, and never in its place: what it said meanwhile is newer.
async function check() {
  const before = told_times;
  const said = stream && !is_done() ? await ask(`state?last=${shown}`) : null;
  if (said && told_times === before) said.ok ? heard(said.body) : unheard();
  clearTimeout(checking);
  checking = setTimeout(check, said && !said.ok ? LOOK_MS : CHECK_MS);
}

// Too many pages are open for a stream of this one, or the agent is just starting: no screen stays blank for that.
async function look(times) {
  const said = await ask(`state?last=${shown}`);
  said.ok ? heard(said.body) : unheard();
  if (!is_done()) setTimeout(() => (times > 1 ? look(times - 1) : follow()), LOOK_MS);
}

function heard(state) {
  told_times += 1;
  joined = true;
  told(state);
}

function unheard() {
  if (joined) lost_since = performance.now();
  joined = is_done();
}

const is_done = () => Boolean(given.one && now.ended);  // a page of one invitation has no more to hear

// Never the level: whoever embeds this page learns that it is done, and no more. Only those that the agent names do.
function tell(event, invitation) {
  if (window.parent === window) return;
  for (const origin of given.embed) parent.postMessage({ from: "hall-rating", event, invitation }, origin);
}

addEventListener("message", (event) => {
  if (event.source !== parent || !given.embed.includes(event.origin) || !event.data || event.data.to !== "hall-rating") return;
  if (event.data.do === "language" && event.data.language in WORDS) { language = first.language = event.data.language; say_all(); announce(); }
  if (event.data.do === "large") enlarge(first.large = Boolean(event.data.large));
  if (event.data.do === "decline") decline();
});

checking = setTimeout(check, CHECK_MS);
addEventListener("online", check);
document.addEventListener("visibilitychange", check);
