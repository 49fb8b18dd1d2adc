"use strict";
// A table that is wider than its frame says how many of its columns are out of sight, and the keyboard reaches it.
const BEYOND = document.currentScript.dataset.beyond;
const sideways = (frame) => {
  const words = document.createElement("p");
  words.className = "beyond";
  words.setAttribute("aria-hidden", "true"); // whoever hears the table hears all of its columns
  const tell = () => {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    if (wide && !words.isConnected) frame.prepend(words);
    if (!wide) return words.remove();
    if (!frame.hasAttribute("tabindex")) frame.tabIndex = 0;
    const edge = frame.getBoundingClientRect().right;
    const heads = [...frame.querySelectorAll("thead tr:last-child > *")];
    const beyond = heads.filter((head) => head.getBoundingClientRect().right > edge + 1).length;
    // Empty it keeps its place: the table does not jump while it is pushed.
    words.textContent = beyond ? BEYOND.replace("{}", beyond) : "\u00a0";
  };
  new ResizeObserver(tell).observe(frame);
  new ResizeObserver(tell).observe(frame.querySelector("table"));
  frame.addEventListener("scroll", tell, { passive: true });
};
for (const frame of document.querySelectorAll("main section:has(> table, > details > table)")) sideways(frame);
