"use strict";
// Fetches the board every second and says so when it cannot: old figures must never look new.
const board = document.getElementById("board");
const stale = document.getElementById("stale");
const seen = document.getElementById("seen");
const two = (n) => String(n).padStart(2, "0");
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
function times(root) {
  const today = day(new Date());
  for (const each of root.querySelectorAll("time[data-ms]")) {
    const at = new Date(Number(each.dataset.ms));
    each.textContent = day(at) === today ? clock(at) : `${day(at)} ${clock(at)}`;
    each.dateTime = at.toISOString();
  }
}
async function refresh() {
  const patience = new AbortController();
  const end = setTimeout(() => patience.abort(), 5000);
  try {
    const answer = await fetch("/board", { cache: "no-store", signal: patience.signal });
    if (answer.status === 401) location.reload(); // signed out meanwhile
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    if (text !== refresh.shown) {
      board.innerHTML = text;
      times(board);
      refresh.shown = text;
    }
    seen.textContent = `${day(new Date())} ${clock(new Date())}`;
    stale.hidden = true;
  } catch (_) {
    stale.hidden = false;
  }
  clearTimeout(end);
  setTimeout(refresh, document.hidden ? 5000 : 1000);
}
times(board);
refresh();
