"use strict";
// The rating page: what is on the screen, what a citizen does there, and what it hears. Times are measured by the clock
// that nobody can set.
const given = JSON.parse(document.getElementById("given").textContent);
const here = location.pathname;
const $ = (id) => document.getElementById(id);
const BAD = ["dissatisfied", "very_dissatisfied"];
const QUIET_MS = 30000;  // without a touch: whoever is silent for so long has gone; of every level alike, or it would tell
const EARLY_MS = 2500;  // before the invitation ends, so that the press is there in time
const STAY_EVERY_MS = 5000;
const SLOW_MS = 300;  // sooner nobody needs to be told that it is being saved
const WORRY_MS = 3000;
const THANKS_MS = 4000;
const OVER_MS = 3500;
const LOST_MS = 3000;

let language = new URLSearchParams(location.search).get("lang") === "en" || (!new URLSearchParams(location.search).has("lang") && /^en/i.test(navigator.language)) ? "en" : "zh";
const first = { language, large: new URLSearchParams(location.search).has("large") };
let now = { paused: false, clerk: null, invitation: null, ended: null, storage: "ok" };  // what the agent says
let ends_at = 0;  // of the invitation, by performance.now()
let total_ms = 1;
let shown = "";  // the invitation whose question is on the screen, as long as it is open for this page; "" for none
let choice = null;  // { level, tags, text, touched, from }
let over = null;  // { words, until }
let thanked_until = 0;
let answered = "";  // the invitation that this page has answered or declined: it is not asked again
let lost_since = performance.now();
let joined = false;
let known = false;  // whether the agent has said anything yet
let stayed_at = -Infinity;
let aloud = false;
let before = "";

const words = () => WORDS[language];
const face_name = (level) => document.querySelector(`.face[data-level="${level}"] .name`).dataset[language];
const open_invitation = () => (now.invitation && now.invitation.id !== answered && performance.now() < ends_at ? now.invitation : null);
const may_rate = () => Boolean(open_invitation()) || (given.walk_in && !now.paused && !unsure());

// ---- what is on the screen

function mode() {
  const at = performance.now();
  if (sending && sending.state === "refused") return "trouble";
  if (sending && at - sending.made > SLOW_MS) return "sending";
  if (sending) return before || "ask";
  if (choice) return "why";
  if (at < thanked_until) return "thanks";
  if (over && at < over.until) return "over";
  if (may_rate()) return "ask";
  if (given.one && known) return "over";
  if (unsure()) return "trouble";
  return now.paused ? "paused" : "idle";
}

function draw() {
  const at = performance.now();
  const is = mode();
  for (const each of document.querySelectorAll("main > section")) each.hidden = each.id !== is;
  $("clerk").hidden = !now.clerk || is === "idle";  // there the card is all of the page
  $("lost").hidden = joined || at - lost_since < LOST_MS;
  if (is === "ask") {
    const left = open_invitation() ? Math.max(0, Math.min(1, (ends_at - at) / total_ms)) : 1;
    $("left").value = left;
    $("left").parentElement.hidden = !open_invitation();
    $("decline").hidden = !open_invitation();
    $("case").textContent = open_invitation() && now.invitation.case ? words().case(now.invitation.case) : "";
  }
  if (is === "why" && choice) {
    $("soon").textContent = words().soon(Math.max(0, Math.ceil((due_at() - at) / 1000)), face_name(choice.level));
    const wanting = BAD.includes(choice.level) && !choice.tags.size && !choice.text.trim();
    $("submit").setAttribute("aria-disabled", String(wanting));
    $("count").textContent = choice.text ? words().left(given.text_max - [...choice.text].length) : "";
  }
  if (is === "sending") $("sending-words").hidden = at - sending.made < WORRY_MS;
  if (is === "trouble") {
    const certain = Boolean(sending && sending.certain);
    $("trouble-words").textContent = sending ? words().why_not[sending.why] || words().why_not[certain ? "other" : "unsure"] : words().why_not.before;
    document.querySelector("#trouble h1").textContent = certain ? words().not_kept : words().not_sure;
    $("leave").hidden = !certain;  // nobody is told that it was not kept where nobody knows
    $("again").hidden = !sending;  // it is being tried all the time
    $("trouble-sign").className = sending ? "sign" : "wait";
  }
  if (is === "over") $("over-words").textContent = words().over[over ? over.words : given.one && now.ended ? now.ended.state : "gone"];
  if (is !== before) {
    before = is;
    const head = document.querySelector(`#${is} h1`);
    if (is === "idle" || is === "paused") reset_ways();
    if (document.activeElement === document.body || !document.activeElement.offsetParent) head.focus({ preventScroll: true });
    scrollTo(0, 0);
    announce();
    if (is !== "idle") speak(head.textContent);
  }
}

// To whoever hears this page and does not see it: in the language that it is in now.
function announce() {
  const more = before === "why" ? [$("why-words"), $("soon")] : [];  // what is asked for, and what happens without
  const said = [document.querySelector(`#${before} h1`), ...more].map((each) => each.textContent);
  $("said").textContent = said.join(language === "zh" ? "。" : ". ");
}

function say_all() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = words().title;
  for (const each of document.querySelectorAll("[data-words]")) each.textContent = words()[each.dataset.words];
  for (const each of document.querySelectorAll(".face .name")) each.textContent = each.dataset[language];
  $("faces").setAttribute("aria-label", words().faces);
  $("other").textContent = words().other;
  $("other").lang = words().other_lang;
  draw_clerk();
  if (choice) draw_why();
  draw();
}

function draw_clerk() {
  const clerk = now.clerk;
  for (const [place, prefix] of [[$("clerk"), "clerk"], [$("card"), "card"]]) {
    if (place.id === "card") place.hidden = !clerk;
    if (!clerk) continue;
    $(`${prefix}-name`).textContent = clerk.name;
    $(`${prefix}-number`).textContent = words().number(clerk.number);
    const stars = $(`${prefix}-stars`);
    stars.textContent = "★".repeat(clerk.stars) + "☆".repeat(5 - clerk.stars);
    stars.hidden = !clerk.stars;
    stars.setAttribute("aria-label", words().stars(clerk.stars));
    const photo = $(`${prefix}-photo`);
    photo.hidden = !clerk.photo;
    const from = `${here}photo/${encodeURIComponent(clerk.number)}`;
    if (clerk.photo && photo.getAttribute("src") !== from) photo.src = from;
  }
  $("card-blank").hidden = !clerk || clerk.photo;
}

function draw_why() {
  const bad = BAD.includes(choice.level);
  document.querySelector("#why .chosen").className = `chosen ${choice.level}`;
  $("chosen-face").setAttribute("href", `/static/faces.svg#${choice.level}`);
  $("chosen").textContent = words().chosen(face_name(choice.level));
  $("why-words").textContent = bad ? words().bad : words().good;
  document.querySelector("#text-label > span").textContent = bad ? words().text_bad : words().text;
  $("tags").textContent = "";
  for (const [code, zh, en] of given.tags[choice.level]) {
    const text = language === "zh" ? zh : en;
    const tag = document.createElement("button");
    tag.type = "button";
    tag.textContent = text;
    tag.setAttribute("aria-pressed", String(choice.tags.has(code)));
    tag.addEventListener("click", () => {
      if (!choice) return;
      choice.tags.has(code) ? choice.tags.delete(code) : choice.tags.add(code);
      tag.setAttribute("aria-pressed", String(choice.tags.has(code)));
      touched();
      speak(text);
    });
    $("tags").append(tag);
  }
  $("text").value = choice.text;
}

// ---- what a citizen does

function choose(level) {
  if (sending || choice || !may_rate()) return;  // a second tap says no more than the first
  // What has ended here asks nobody, whatever the agent has heard of that: who touches a face now just walked in.
  choice = { level, tags: new Set(), text: "", touched: performance.now(), from: open_invitation() ? shown : "" };
  if (!BAD.includes(level) && given.reasons === "bad") return submit();
  $("why-words").classList.remove("wrong");
  draw_why();
  touched();
  draw();
  speak(`${$("chosen").textContent}。${$("why-words").textContent}`);
}

function touched() {
  const at = performance.now();
  choice.touched = at;
  if (choice.from && at - stayed_at > STAY_EVERY_MS) {
    stayed_at = at;
    const asked = choice.from;
    // Where it fails the question ends as it was to end, and what was chosen is sent before that.
    ask("stay", { invitation: asked }).then((said) => {
      if (said.ok && now.invitation && now.invitation.id === asked) set_end(said.body.left_ms);
    });
  }
  draw();
}

function due_at() {
  const quiet = choice.touched + QUIET_MS;
  return choice.from && now.invitation && now.invitation.id === choice.from ? Math.min(quiet, ends_at - EARLY_MS) : quiet;
}

function submit() {
  const made = choice.touched;
  const body = {
    boot, count: ++count, level: choice.level, invitation: choice.from,
    tags: [...choice.tags], tags_version: given.tags_version, text: clean(choice.text),
  };
  choice = null;
  send({ body, made: performance.now(), pressed: made, state: "new", why: "", tries: 0 });
}

function thank() {
  thanked_until = given.one ? Infinity : performance.now() + THANKS_MS;
  draw();
  setTimeout(draw, THANKS_MS + 20);
}

async function decline() {
  const invitation = open_invitation();
  if (!invitation || sending || choice) return;
  const over_at = ends_at;
  settled(invitation.id);
  end_with("declined");
  tell("declined", invitation.id);
  for (let tries = 1; performance.now() < over_at; tries += 1) {
    const said = await ask("decline", { invitation: invitation.id });
    if (said.ok || said.status < 500 && said.status) return;
    await new Promise((wake) => setTimeout(wake, Math.min(2000, 500 * tries)));
  }
}

// This page asks it no more. A late answer to one of before says nothing of the one that is asked now.
function settled(invitation) {
  if (now.invitation && now.invitation.id === invitation) answered = invitation;
  if (shown === invitation) shown = "";
}

function end_with(state) {
  over = { words: state, until: given.one ? Infinity : performance.now() + OVER_MS };
  draw();
  setTimeout(draw, OVER_MS + 20);
}

// ---- what it hears

function set_end(left_ms) {
  ends_at = performance.now() + left_ms;
  total_ms = Math.max(left_ms, 1);
}

function told(state) {
  const was = shown;
  now = state;
  known = true;
  const invitation = state.invitation && state.invitation.id !== answered ? state.invitation : null;
  if (invitation) set_end(state.left_ms);
  const is = invitation ? invitation.id : "";
  if (is !== was) {
    shown = is;
    // Where nobody else is asked yet, whoever chose still stands there, and is thanked for what is kept.
    if (choice && choice.from !== is) is ? leave_behind() : submit();
    if (sending && sending.body.invitation !== is && is) {
      const press = sending;
      sending = null;  // its own loop goes on, unless that had given up
      if (press.state === "refused") leave(press);
      else behind.add(press);
    }
    if (is) {
      stayed_at = -Infinity;
      thanked_until = 0;
      over = null;
      reset_ways();
      tell("asked", is);
    } else if (was && was !== answered && state.ended && state.ended.id === was && !sending) {
      end_with(state.ended.state);
      tell(state.ended.state, was);
    }
  }
  draw_clerk();
  draw();
}

// Whoever chose has gone, or the question has: what was chosen was pressed, and nobody's press is dropped.
function leave_behind() {
  submit();
  if (sending) behind.add(sending);
  sending = null;
}

// ---- begin

for (const face of document.querySelectorAll(".face")) {
  face.addEventListener("click", () => choose(face.dataset.level));
  face.addEventListener("focus", () => speak(face_name(face.dataset.level)));
}
$("faces").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const faces = [...document.querySelectorAll(".face")];
  const to = faces[(faces.indexOf(document.activeElement) + step + faces.length) % faces.length];
  to.focus();
  event.preventDefault();
});
$("decline").addEventListener("click", decline);
$("back").addEventListener("click", () => { choice = null; draw(); });
$("submit").addEventListener("click", () => {
  if (!choice || sending) return;
  if ($("submit").getAttribute("aria-disabled") === "true") {
    $("said").textContent = words().none;
    $("why-words").classList.add("wrong");
    speak(words().none);
    touched();
    return;
  }
  touched();
  submit();
});
$("text").addEventListener("input", () => { if (choice) { choice.text = [...$("text").value].slice(0, given.text_max).join(""); touched(); } });
$("again").addEventListener("click", () => { const press = sending; press.state = "new"; press.certain = false; press.made = performance.now(); send(press); });
$("leave").addEventListener("click", () => { sending = null; over = null; draw(); });
$("large").addEventListener("click", () => enlarge(!document.documentElement.classList.contains("large")));
$("aloud").addEventListener("click", () => {
  aloud = !aloud;
  $("aloud").setAttribute("aria-pressed", String(aloud));
  if (aloud) speak(document.querySelector(`#${mode()} h1`).textContent);
  else if (window.speechSynthesis) speechSynthesis.cancel();
});
$("other").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; say_all(); voices_known(); announce(); });
document.addEventListener("contextmenu", (event) => { if (event.target !== $("text")) event.preventDefault(); });  // a long touch on a kiosk

setInterval(() => {
  if (choice && performance.now() >= due_at()) submit();
  draw();
}, 250);
if (window.speechSynthesis) speechSynthesis.addEventListener("voiceschanged", voices_known);
voices_known();
enlarge(first.large);
say_all();
follow();
tell("ready", "");
