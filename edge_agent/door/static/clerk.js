"use strict";
// The clerk's page: asks for ratings and shows whether there was one. It is never told the level.
const $ = (id) => document.getElementById(id);
const words = JSON.parse($("words").textContent);
const form = $("work").dataset.form;
const me = $("work").dataset.me;
const is_page = Boolean($("work").dataset.page);
const LOOK_MS = 3000;
const LOOKS = 10;  // and then a stream is tried again
const CHECK_MS = 15000;  // a stream that a closed lid or the Wi-Fi has cut may be silent for minutes without an error
let now = null;
let ends_at = 0;
let stream = null;
let told_times = 0;
let checking = 0;
let replacing = "";  // the invitation that was opened in the place of another

// Where this sign-in has ended the page is on its way to sign in.
async function ask(what, more) {
  const patience = new AbortController();
  const end = setTimeout(() => patience.abort(), 5000);
  try {
    const answer = await fetch(`/clerk/${what}`, { ...more, cache: "no-store", signal: patience.signal });
    if (answer.status === 401) location.reload();
    return { ok: answer.ok, body: await answer.json() };
  } catch (_) {
    return { ok: false, body: null };
  } finally {
    clearTimeout(end);
  }
}

async function post(what, body) {
  const said = await ask(what, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Form": form } });
  return said.body || { error: { message: words.failed } };
}

function wrong(said) {
  const message = said.error ? said.error.message : "";
  const [zh, en] = message.split(" / ");
  $("wrong").textContent = words.language === "en" && en ? en : zh || "";
  $("wrong").hidden = !message;
}

function draw() {
  if (!now) return;
  const mine = now.seat === me;
  $("other-seat").hidden = mine || !now.seat;
  $("trouble").hidden = !now.trouble.zh;
  $("trouble").textContent = now.trouble[words.language] || "";
  $("sees").className = `sees ${now.sees}`;
  const named = is_page || !["asked", "welcome"].includes(now.sees) ? now.sees : `device_${now.sees}`;
  $("sees-words").textContent = words[named];
  const left = Math.max(0, Math.ceil((ends_at - performance.now()) / 1000));
  $("left").textContent = now.invitation && left ? words.left.replace("{}", left) : "";
  $("withdraw").hidden = !now.invitation;
  const replaced = now.invitation && now.invitation.id === replacing ? words.replaced : "";
  if ($("replaced").textContent !== replaced) $("replaced").textContent = replaced;
  $("pause").textContent = now.paused ? $("pause").dataset.on : $("pause").dataset.off;
  $("pause").setAttribute("aria-pressed", String(now.paused));
}

const is_today = (at) => at.toDateString() === new Date().toDateString();
const clock_of = (at) => `${is_today(at) ? "" : `${at.getMonth() + 1}-${at.getDate()} `}${at.toLocaleTimeString("zh-CN", { hour12: false })}`;

function draw_latest() {
  const last = now.latest.find((each) => each.state === "open" || is_today(new Date(each.opened_ms)));
  $("last-name").textContent = last && last.state === "open" ? words.this : words.before;
  $("last").textContent = last ? words[last.state] : "–";
  $("last").className = `sees ${last ? last.state : ""}`;
  if (!now.latest.length) return;
  $("latest").textContent = "";
  for (const each of now.latest) {
    const row = document.createElement("tr");
    for (const [text, kind] of [[clock_of(new Date(each.opened_ms)), "name"], [each.case_no || words.no_case, ""], [words[each.state], each.state]]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      cell.className = kind;
      row.append(cell);
    }
    $("latest").append(row);
  }
}

function follow() {
  stream = new EventSource("/clerk/events");
  stream.addEventListener("state", (event) => told(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    $("stale").hidden = false;
    if (stream.readyState !== EventSource.CLOSED) return;
    stream = null;
    look(LOOKS);
  });
}

// Beside the stream, and never in its place: what it said meanwhile is newer.
async function check() {
  const before = told_times;
  const said = stream ? await ask("state") : null;
  if (said && told_times === before) heard(said);
  clearTimeout(checking);
  checking = setTimeout(check, said && !said.ok ? LOOK_MS : CHECK_MS);
}

// Too many pages are open for a stream of this one, the agent is just starting, or this sign-in has ended.
async function look(times) {
  heard(await ask("state"));
  setTimeout(() => (times > 1 ? look(times - 1) : follow()), LOOK_MS);
}

// Where nobody answers, what is shown stays, and says that it is old.
function heard(said) {
  if (said.ok) told(said.body);
  else $("stale").hidden = false;
}

function told(state) {
  told_times += 1;
  now = state;
  if (now.invitation) ends_at = performance.now() + now.left_ms;
  $("stale").hidden = true;
  draw_latest();
  draw();
}

$("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("ask").disabled = true;
  const case_no = $("case").value.trim();
  const said = await post("ask", case_no ? { case_no } : {});
  $("ask").disabled = false;
  wrong(said);
  if (said.error) return;
  $("case").value = "";
  replacing = said.replaced ? said.id : "";
  draw();
});
$("withdraw").addEventListener("click", async () => { if (now && now.invitation) wrong(await post("withdraw", { invitation: now.invitation.id })); });
$("pause").addEventListener("click", async () => { if (now) wrong(await post("pause", { paused: !now.paused })); });
setInterval(draw, 500);
checking = setTimeout(check, CHECK_MS);
addEventListener("online", check);
document.addEventListener("visibilitychange", check);
follow();
