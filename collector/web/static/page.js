"use strict";
// Fetches the board every second and says so when it cannot: old figures must never look new.
const board = document.getElementById("board");
const stale = document.getElementById("stale");
const two = (n) => String(n).padStart(2, "0");
function times(root) {
  for (const each of root.querySelectorAll("time[data-ms]")) {
    const at = new Date(Number(each.dataset.ms));
    each.textContent = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
    each.dateTime = at.toISOString();
    each.title = at.toLocaleString("zh-CN");
  }
}
async function refresh() {
  try {
    const answer = await fetch("/board", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    if (text !== refresh.shown) {
      board.innerHTML = text;
      times(board);
      refresh.shown = text;
    }
    stale.hidden = true;
  } catch (_) {
    stale.hidden = false;
  }
  setTimeout(refresh, document.hidden ? 5000 : 1000);
}
refresh();
