"use strict";
// Draws the tables of this page as charts. The tables stay, folded: for screen readers, and to read a number off.
// Below a chart stand the figures of the day under the pointer; of the newest day where no pointer is.
(() => {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const PADDING = 16; // of the box, both sides
  const LEVELS = ["--good", "--mark", "--soft", "--busy", "--look"];
  // Of ratings there are whole ones only.
  const WHOLE = Array.from({ length: 8 }, (_, at) => [1, 2, 5].map((step) => step * 10 ** at)).flat();
  // Each by its colour and by its dashes: who does not see the one sees the other.
  const LINES = [["--mark"], ["--soft", [4, 4]], ["--busy"], ["--look", [4, 4]]];
  const figure = new Intl.NumberFormat("en-US").format; // as in the tables
  function numbers(table) {
    const heads = [...table.tHead.rows[0].cells].slice(1).filter((cell) => !cell.classList.contains("sum"));
    const rows = [...table.tBodies[0].rows].reverse(); // the newest stands first in the table, and last in time
    const days = rows.map((row) => Date.parse(`${row.cells[0].textContent.trim()}T00:00:00Z`) / 1000);
    const columns = heads.map((_, at) =>
      rows.map((row) => {
        const text = row.cells[at + 1].textContent.trim();
        return text === "–" ? null : Number(text.replaceAll(",", ""));
      }),
    );
    return { names: heads.map((cell) => cell.textContent.trim()), days, columns };
  }
  function axes(counts) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const day = (s) => new Date(s * 1000).toISOString().slice(5, 10);
    return [{ ...axis, values: (_, at) => at.map(day), incrs: [86400, 2 * 86400, 7 * 86400] }, { ...axis, ...(counts ? { incrs: WHOLE } : {}), size: (_, labels) => 24 + 8 * Math.max(3, ...(labels || []).map((each) => each.length)) }];
  }
  function bars(table) {
    const { names, days, columns } = numbers(table);
    // One level upon the other: what is drawn is the sum up to it, the highest first, and the legend says its own.
    const sums = columns.map((_, at) => days.map((_, day) => columns.slice(0, at + 1).reduce((all, each) => all + each[day], 0)));
    const order = names.map((_, at) => at).reverse();
    const series = order.map((at) => ({
      label: names[at],
      fill: colour(LEVELS[at % LEVELS.length]),
      stroke: colour(LEVELS[at % LEVELS.length]),
      width: 0,
      paths: uPlot.paths.bars({ size: [0.6, 48] }),
      points: { show: false },
      value: (_, _value, _series, day) => figure(columns[at][day ?? days.length - 1]),
    }));
    return { series, data: [days, ...order.map((at) => sums[at])] };
  }
  function lines(table, unit) {
    const { names, days, columns } = numbers(table);
    const said = (value) => (value == null ? "–" : `${figure(value)}${unit}`);
    const series = names.map((label, at) => ({
      label,
      stroke: colour(LINES[at % LINES.length][0]),
      dash: LINES[at % LINES.length][1],
      width: 2,
      spanGaps: false,
      value: (_, _value, _series, day) => said(columns[at][day ?? days.length - 1]),
    }));
    return { series, data: [days, ...columns] };
  }
  for (const box of document.querySelectorAll(".chart")) {
    const table = document.getElementById(box.dataset.of);
    const { series, data } = (box.dataset.kind === "bars" ? bars : lines)(table, box.dataset.unit || "");
    table.closest("details").open = false;
    if (!data.slice(1).some((column) => column.some(Boolean))) {
      box.nextElementSibling.hidden = false; // that there was nothing
      continue;
    }
    box.setAttribute("aria-hidden", "true"); // its table says all of it
    const pad = 0.6 * 86400;
    const plot = new uPlot(
      {
        width: box.clientWidth - PADDING,
        height: 240,
        scales: { x: { time: false, range: [data[0][0] - pad, data[0].at(-1) + pad] }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
        series: [{ label: table.tHead.rows[0].cells[0].textContent, value: (_, s) => new Date((s ?? data[0].at(-1)) * 1000).toISOString().slice(0, 10) }, ...series],
        axes: axes(box.dataset.kind === "bars"),
        legend: { markers: { dash: (_, at) => (series[at - 1].dash ? "dashed" : "solid") } },
        cursor: { drag: { x: false, y: false } },
      },
      data,
      box,
    );
    new ResizeObserver(() => plot.setSize({ width: box.clientWidth - PADDING, height: 240 })).observe(box);
  }
})();
