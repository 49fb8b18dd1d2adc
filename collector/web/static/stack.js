"use strict";
// On a narrow screen each row of a table stands as a card, and each value beside what its column is called. Without
// this script such a table is pushed sideways within its own frame.
const stack = (within) => {
  for (const table of within.querySelectorAll("table:not(.stacks)")) {
    const heads = [...table.querySelectorAll("thead tr:last-child > *")].map((head) => head.textContent.trim());
    if (!heads.length || table.querySelector("thead [colspan], thead [rowspan], tbody [rowspan]")) continue;
    table.classList.add("stacks");
    // Drawn otherwise than as a table it would be none any more for who hears it.
    table.setAttribute("role", "table");
    for (const part of table.querySelectorAll("thead, tbody, tfoot")) part.setAttribute("role", "rowgroup");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      for (const [at, cell] of [...row.cells].entries()) {
        const heading = cell.tagName === "TH";
        cell.setAttribute("role", !heading ? "cell" : row.parentElement.tagName === "THEAD" ? "columnheader" : "rowheader");
        if (cell.colSpan === 1 && row.parentElement.tagName !== "THEAD") cell.dataset.head = heads[at] ?? "";
      }
    }
  }
};
stack(document);
