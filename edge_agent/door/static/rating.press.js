"use strict";
// A press on its way: said again, under the same number, until the agent has it on the disk or says that it will not;
// only then is anybody thanked.
const GIVE_UP_MS = 15000;
const LATER_MS = 10000;
const TROUBLE_MS = 20000;
const AGE_MAX_MS = 9999999999;  // the agent takes no larger number; what is so old is nobody's rating anyway

const boot = 1 + Math.floor(Math.random() * 9e9);  // of this start of the page; each press of it has a number
let count = 0;
let sending = null;  // the press on its way: { body, pressed, made, tries, state, why, certain }
const behind = new Set();  // presses of citizens who have gone, said again until it is certain what became of them

// Of a press that no invitation tells from the next one: whoever touches a face now may be the same citizen again, who
// would count twice. Nobody is asked before it is certain; nobody else could be kept any sooner.
const unsure = () => given.walk_in && [...behind].some((press) => !press.body.invitation);

const clean = (text) => [...(text.toWellFormed ? text.toWellFormed() : text).replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim()].slice(0, given.text_max).join("");

async function send(press) {
  sending = press;
  draw();
  const begun = performance.now();
  for (;;) {
    const said = await say(press);
    if (said.ok) return kept(press);
    if (is_no(said) || performance.now() - begun > GIVE_UP_MS) {
      if (sending === press) return refused(press, said);
      tell("not_kept", press.body.invitation);
      return is_no(said) ? behind.delete(press) : send_quietly(press);
    }
    await new Promise((wake) => setTimeout(wake, Math.min(2000, 200 * press.tries)));
  }
}

function say(press) {
  press.tries += 1;
  return ask("press", told_of(press));
}

const told_of = (press) => ({ ...press.body, age_ms: Math.min(Math.round(performance.now() - press.pressed), AGE_MAX_MS) });

function refused(press, said) {
  press.state = "refused";
  press.certain = is_no(said);
  press.why = said.body && said.body.error ? said.body.error.code || "" : "";
  tell("not_kept", press.body.invitation);
  draw();
  setTimeout(() => { if (sending === press && press.state === "refused") leave(press); }, TROUBLE_MS);
}

// An answer that says that it is not kept, and not that nobody knows.
const is_no = (said) => said.status === 507 || (said.status >= 400 && said.status < 500);

// Nobody stands there any more. What was told to have been refused stays so; what nobody knows of is said again.
function leave(press) {
  sending = null;
  over = null;
  draw();
  if (!press.certain) send_quietly(press);
}

// Of a citizen who has gone, while the next one is being asked: never given up while this page is open.
async function send_quietly(press) {
  behind.add(press);
  draw();
  for (;;) {
    const said = await say(press);
    const waited_for = !sending && !choice && mode() === "trouble";  // the screen still shows this very thing
    if (said.ok || is_no(said)) behind.delete(press);
    if (said.ok && waited_for) thank();
    if (is_no(said) && waited_for) { sending = press; refused(press, said); }
    if (said.ok || is_no(said)) return draw();
    await new Promise((wake) => setTimeout(wake, Math.min(LATER_MS, 500 * press.tries)));
  }
}

function kept(press) {
  tell("kept", press.body.invitation);
  settled(press.body.invitation);
  behind.delete(press);
  if (sending !== press) return;
  sending = null;
  thank();
}

// A phone that is put away and a kiosk that goes on take no press along; said twice, it is one. Of whoever walked in and
// has not sent it yet nothing is said: nothing would tell them from themselves, should the page come back.
addEventListener("pagehide", () => {
  if (choice && choice.from) submit();
  for (const press of new Set([...behind, ...(sending && !sending.certain ? [sending] : [])])) {
    navigator.sendBeacon(`${here}press`, JSON.stringify(told_of(press)));
  }
});
