"use strict";
// The clerk's page: asks for ratings and shows whether there was one. It is never told the level.
const $ = (id) => document.getElementById(id);
const words = JSON.parse($("words").textContent);
const form = $("work").dataset.form;
const me = $("work").dataset.me;
const is_page = Boolean($("work").dataset.page);
const LOOK_MS = 3000;
const LOOKS = 10;  // and then a stream is tried again
let now = null;
let ends_at = 0;

async function post(what, body) {
  try {
    const answer = await fetch(`/clerk/${what}`, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Form": form }, cache: "no-store" });
    if (answer.status === 401) { location.reload(); return {}; }
    return await answer.json();
  } catch (_) {
    return { error: { message: words.failed } };
  }
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
  $("pause").textContent = now.paused ? $("pause").dataset.on : $("pause").dataset.off;
  $("pause").setAttribute("aria-pressed", String(now.paused));
}

function draw_latest() {
  const last = now.latest[0];
  $("last-name").textContent = last && last.state === "open" ? words.this : words.before;
  $("last").textContent = last ? words[last.state] : "–";
  $("last").className = `sees ${last ? last.state : ""}`;
  if (!now.latest.length) return;
  $("latest").replaceChildren(...now.latest.map((each) => {
    const row = document.createElement("tr");
    const at = new Date(each.opened_ms);
    for (const [text, kind] of [[at.toLocaleTimeString("zh-CN", { hour12: false }), "name"], [each.case_no || words.no_case, ""], [words[each.state], each.state]]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      cell.className = kind;
      row.append(cell);
    }
    return row;
  }));
}

function follow() {
  const stream = new EventSource("/clerk/events");
  stream.addEventListener("state", (event) => told(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    $("stale").hidden = false;
    if (stream.readyState === EventSource.CLOSED) look(LOOKS);
  });
}

// Too many pages are open for a stream of this one, the agent is just starting, or this sign-in has ended.
async function look(times) {
  try {
    const answer = await fetch("/clerk/state", { cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (answer.ok) told(await answer.json());
  } catch (_) { /* it is away: what is shown stays, and says that it is old */ }
  setTimeout(() => (times > 1 ? look(times - 1) : follow()), LOOK_MS);
}

function told(state) {
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
  if (!said.error) $("case").value = "";
});
$("withdraw").addEventListener("click", async () => { if (now && now.invitation) wrong(await post("withdraw", { invitation: now.invitation.id })); });
$("pause").addEventListener("click", async () => { if (now) wrong(await post("pause", { paused: !now.paused })); });
setInterval(draw, 500);
follow();
