"use strict";
// How the rating page is shown and read aloud: for one citizen, and as it was for the next.
function reset_ways() {
  language = first.language;
  aloud = false;
  $("aloud").setAttribute("aria-pressed", "false");
  enlarge(first.large);
  say_all();
}

function enlarge(yes) {
  document.documentElement.classList.toggle("large", yes);
  $("large").setAttribute("aria-pressed", String(yes));
}

function voice() {
  const wanted = language === "zh" ? "zh" : "en";
  return window.speechSynthesis ? speechSynthesis.getVoices().find((each) => each.lang.toLowerCase().startsWith(wanted)) : undefined;
}

function speak(text) {
  if (!aloud || !voice()) return;
  speechSynthesis.cancel();
  const said = new SpeechSynthesisUtterance(text);
  said.voice = voice();
  said.lang = said.voice.lang;
  said.rate = 0.9;
  speechSynthesis.speak(said);
}

function voices_known() {
  $("aloud").hidden = !voice();  // silent where there is no voice, and no button that does nothing
}
