"use strict";
// A table of any length of which only the rows in view are in the document. Its box scrolls; a reader of rows is told
// how many there are and which this is, and the keys go through all of them. Where they are few, a style sheet may let
// the page scroll instead of the box (`.whole`): then all of them are there, each as high as what it says.
class Rows {
  static WHOLE_MAX = 200; // drawn in a moment, and scrolled past to what stands below
  // box: an empty element; heads: words of the columns; draw(item, row): fills a row's cells, given as row.cells;
  // open(item): what Enter and a click do; fold(item, open): what the arrows to the side do.
  constructor(box, heads, { draw, open, fold, label }) {
    this.box = box;
    this.draw = draw;
    this.open = open;
    this.fold = fold;
    this.items = [];
    this.active = 0;
    this.pool = new Map();
    box.className = "rows";
    box.tabIndex = 0;
    box.setAttribute("role", "treegrid");
    box.setAttribute("aria-label", label);
    this.head = this.row(heads.map((text) => [text, "columnheader"]));
    this.head.classList.add("head");
    this.head.setAttribute("aria-rowindex", "1");
    this.body = document.createElement("div");
    this.body.className = "body";
    this.body.setAttribute("role", "rowgroup");
    const top = document.createElement("div");
    top.setAttribute("role", "rowgroup");
    top.className = "top";
    top.append(this.head);
    box.append(top, this.body);
    box.addEventListener("scroll", () => this.soon(), { passive: true });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("focus", () => this.mark());
    box.addEventListener("blur", () => this.mark());
    this.body.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.measure()).observe(box);
    this.columns = heads.length;
    this.measure();
  }
  row(cells) {
    const row = document.createElement("div");
    row.setAttribute("role", "row");
    row.parts = cells.map(([text, role]) => {
      const cell = document.createElement("span");
      cell.setAttribute("role", role);
      cell.textContent = text;
      row.append(cell);
      return cell;
    });
    return row;
  }
  measure() {
    const height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) || 2.4;
    this.height = Math.round(height * parseFloat(getComputedStyle(document.documentElement).fontSize));
    this.box.style.setProperty("--height", `${this.height}px`);
    this.show(this.items);
  }
  show(items) {
    const kept = this.items[this.active];
    this.items = items;
    if (kept && items[this.active] !== kept) {
      const at = items.indexOf(kept);
      this.active = at >= 0 ? at : Math.min(this.active, Math.max(0, items.length - 1));
    }
    this.box.classList.toggle("whole", items.length <= Rows.WHOLE_MAX);
    this.whole = getComputedStyle(this.box).overflowY === "visible";
    this.box.setAttribute("aria-rowcount", String(items.length + 1));
    this.body.style.setProperty("height", `${items.length * this.height}px`);
    this.render();
  }
  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }
  render() {
    const view = this.box.clientHeight || 400;
    const first = this.whole ? 0 : Math.max(0, Math.floor(this.box.scrollTop / this.height) - 6);
    const end = this.whole ? Infinity : Math.ceil((this.box.scrollTop + view) / this.height) + 6;
    const last = Math.min(this.items.length, end);
    for (const [at, row] of this.pool)
      if (at < first || at >= last) {
        row.remove();
        this.pool.delete(at);
      }
    let before = null;
    for (let at = last - 1; at >= first; at--) {
      let row = this.pool.get(at);
      if (!row) {
        row = this.row(Array.from({ length: this.columns }, () => ["", "gridcell"]));
        row.id = `row-${at}`;
        row.setAttribute("aria-rowindex", String(at + 2));
        row.style.setProperty("top", `${at * this.height}px`);
        row.at = at;
        this.pool.set(at, row);
        this.body.insertBefore(row, before);
      }
      this.draw(this.items[at], row);
      before = row;
    }
    this.mark();
  }
  mark() {
    const focused = document.activeElement === this.box;
    for (const [at, row] of this.pool) row.classList.toggle("active", focused && at === this.active);
    if (focused && this.pool.has(this.active)) this.box.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }
  go(at) {
    this.active = Math.min(Math.max(0, at), Math.max(0, this.items.length - 1));
    const top = this.active * this.height;
    const room = this.box.clientHeight - this.head.offsetHeight - this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top > this.box.scrollTop + room) this.box.scrollTop = top - room;
    this.render();
    if (this.whole) this.pool.get(this.active)?.scrollIntoView({ block: "nearest" });
  }
  key(event) {
    const view = this.whole ? innerHeight : this.box.clientHeight;
    const page = Math.max(1, Math.floor(view / this.height) - 2);
    const ways = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const item = this.items[this.active];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in ways) this.go(this.active + ways[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && item) this.open(item);
    else if (event.key === "ArrowRight" && item) this.fold(item, true);
    else if (event.key === "ArrowLeft" && item) this.fold(item, false);
    else return;
    event.preventDefault();
  }
  click(event) {
    const row = event.target.closest("[role=row]");
    if (!row || event.target.closest("a") || getSelection().toString()) return;
    this.active = row.at;
    this.open(this.items[row.at]);
  }
}
