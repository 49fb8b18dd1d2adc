"use strict";
// All windows once, then only what changes. When no news come the page says since when: old figures must never look new.
(() => {
  const live = document.getElementById("live");
  const find = document.getElementById("find");
  const stale = document.getElementById("stale");
  const seen = document.createElement("span");
  document.getElementById("seen").append(" ", seen);
  const counted = document.getElementById("counted");
  const words = live.dataset;
  const QUIET_MS = 8000; // a stream says something every three seconds
  const ASK_MS = 4000;
  const BEIJING_MS = 8 * 3600000;
  const two = (n) => String(n).padStart(2, "0");
  const clock = (ms, seconds) => {
    const at = new Date(ms + BEIJING_MS);
    return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${seconds ? `:${two(at.getUTCSeconds())}` : ""}`;
  };
  const figure = new Intl.NumberFormat("en-US").format; // as the page is written, whatever the reader's language
  let states = [];
  let lines = [];
  let halls = [];
  let id = "";
  let heard = 0; // by this machine's own clock
  let at = 0;
  let stream = null;
  const folded = new Map(); // what a reader opened or closed, by hall
  const box = document.createElement("div");
  const rows = new Rows(box, [words.number, words.standing, words.today, words.last], {
    label: find.closest("section").getAttribute("aria-label"),
    draw: (item, row) => (item.lines ? drawHall(item, row) : drawLine(item, row)),
    open: (item) => (item.lines ? fold(item, !item.open) : (location.href = address(item))),
    fold: (item, open) => fold(item.lines ? item : item.hall, open),
  });
  function fold(hall, open) {
    folded.set(hall.name, open);
    arrange();
  }
  const address = (line) => `/windows/${encodeURIComponent(line.agent)}/${encodeURIComponent(line.window)}`;
  const put = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  // ---- one row

  function parts(row, kind) {
    if (row.kind === kind) return row.made;
    row.kind = kind;
    row.className = kind;
    for (const cell of row.parts) cell.textContent = "";
    const made = (tag, name, into) => {
      const element = document.createElement(tag);
      element.className = name;
      into.append(element);
      return element;
    };
    const [number, standing] = row.parts;
    row.made = { mark: null };
    if (kind === "hall") row.made.name = made("span", "name", number);
    else {
      row.made.name = made("a", "name", number);
      row.made.name.tabIndex = -1;
      row.made.mark = made("span", "mark", standing);
      row.made.mark.setAttribute("aria-hidden", "true");
    }
    row.made.words = made("span", "words", standing);
    row.setAttribute("aria-level", kind === "hall" ? "1" : "2");
    return row.made;
  }
  function drawHall(hall, row) {
    const made = parts(row, "hall");
    row.setAttribute("aria-expanded", String(hall.open));
    put(made.name, `${hall.open ? "▾" : "▸"} ${hall.name || words.elsewhere}`);
    const text = `${figure(hall.lines.length)} ${hall.lines.length === 1 ? words.window : words.windows} · ` +
      hall.counts.map(([state, n]) => `${states[state].mark} ${states[state].name} ${figure(n)}`).join(" · ");
    put(made.words, text);
    made.words.title = text;
    put(row.parts[2], figure(hall.ratings));
    put(row.parts[3], hall.last ? clock(hall.last * 1000) : "–");
    row.classList.toggle("troubled", states[hall.worst].trouble);
  }
  function drawLine(line, row) {
    const made = parts(row, "window");
    row.removeAttribute("aria-expanded");
    const state = states[line.state];
    put(made.name, line.number || `${line.agent}/${line.window}`);
    if (made.name.getAttribute("href") !== address(line)) made.name.href = address(line);
    put(made.mark, state.mark);
    made.mark.className = `mark ${state.look}`;
    put(made.words, line.words);
    made.words.title = line.words;
    put(row.parts[2], figure(line.ratings));
    put(row.parts[3], line.last_s ? clock(line.last_s * 1000) : "–");
  }

  // ---- which rows, in which order

  const asked = () => Object.fromEntries(new FormData(find));
  function arrange() {
    const { q, state, sort } = asked();
    const wanted = q.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = (line) =>
      (!state || states[line.state].key === state || (state === "trouble" && states[line.state].trouble)) &&
      wanted.every((part) => line.text.includes(part));
    const groups = new Map();
    for (const line of lines) {
      if (!shown(line)) continue;
      let group = groups.get(line.hallName);
      if (!group) groups.set(line.hallName, (group = { name: line.hallName, lines: [], place: line.place }));
      group.lines.push(line);
      line.hall = group;
    }
    const found = [...groups.values()];
    for (const hall of found) sum(hall, sort);
    if (sort === "backlog") found.sort((a, b) => (a.oldest || Infinity) - (b.oldest || Infinity) || a.place - b.place);
    else if (sort !== "number") found.sort((a, b) => a.worst - b.worst || b.troubled - a.troubled || a.place - b.place);
    const items = [];
    const few = found.length < 4;
    for (const hall of found) {
      hall.open = folded.get(hall.name) ?? (few || wanted.length > 0 || Boolean(state) || hall.troubled > 0);
      items.push(hall);
      if (hall.open) items.push(...hall.lines);
    }
    const number = found.reduce((all, hall) => all + hall.lines.length, 0);
    put(document.getElementById("how-many"), number === lines.length ? figure(number) : `${figure(number)} / ${figure(lines.length)}`);
    nothing.hidden = number > 0;
    rows.show(items);
    tell();
  }
  function sum(hall, sort) {
    const counts = new Map();
    hall.ratings = hall.last = hall.oldest = hall.troubled = 0;
    for (const line of hall.lines) {
      counts.set(line.state, (counts.get(line.state) || 0) + 1);
      hall.ratings += line.ratings;
      hall.last = Math.max(hall.last, line.last_s);
      if (line.oldest_s) hall.oldest = hall.oldest ? Math.min(hall.oldest, line.oldest_s) : line.oldest_s;
      if (states[line.state].trouble) hall.troubled++;
    }
    hall.counts = [...counts].sort((a, b) => a[0] - b[0]);
    hall.worst = hall.counts[0][0];
    if (sort === "backlog") hall.lines.sort((a, b) => (a.oldest_s || Infinity) - (b.oldest_s || Infinity) || a.place - b.place);
    else if (sort !== "number") hall.lines.sort((a, b) => a.state - b.state || a.place - b.place);
  }
  const list = document.getElementById("states");
  function tell() {
    const counts = states.map(() => 0);
    for (const line of lines) counts[line.state]++;
    const now = counts.join();
    if (now === tell.shown) return;
    tell.shown = now;
    const select = find.elements.state;
    const chosen = select.value;
    for (const option of [...select.options].slice(2)) option.remove();
    for (const [place, state] of states.entries())
      if (counts[place] || state.key === chosen) select.add(new Option(`${state.mark} ${state.name}`, state.key));
    select.value = chosen;
    list.replaceChildren(
      ...states.flatMap((state, place) => {
        if (!counts[place]) return [];
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = `?state=${state.key}`;
        link.dataset.state = state.key;
        const mark = document.createElement("span");
        mark.className = `mark ${state.look}`;
        mark.textContent = state.mark;
        mark.setAttribute("aria-hidden", "true");
        const number = document.createElement("b");
        number.textContent = figure(counts[place]);
        link.append(mark, `${state.name} `, number);
        item.append(link);
        return [item];
      }),
    );
  }
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    find.elements.state.value = find.elements.state.value === link.dataset.state ? "" : link.dataset.state;
    filtered();
  });
  // Rows do not jump away from under a hand or an eye: their order waits until it is elsewhere.
  const held = () => box.matches(":hover") || document.activeElement === box;
  let later = 0;
  function changed(moved) {
    if (!moved) return rows.render();
    if (!held()) return arrange();
    rows.render();
    tell();
    later ||= setTimeout(() => {
      later = 0;
      changed(true);
    }, 3000);
  }
  function filtered() {
    const kept = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(asked())) value ? kept.set(name, value) : kept.delete(name);
    const text = kept.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    folded.clear();
    box.scrollTop = 0;
    arrange();
  }
  let typing = 0;
  find.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filtered, 120);
  });
  find.addEventListener("submit", (event) => {
    event.preventDefault();
    filtered();
  });

  // ---- what comes

  async function whole() {
    const answer = await fetch("/board/windows", { cache: "no-store" });
    if (answer.status === 401) location.reload(); // signed out, or too long without anything done: the sign-in page says so
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    const found = await answer.json();
    states = found.states.map(([key, name, look, mark]) => ({ key, name, look, mark, trouble: look === "look" || look === "busy" || key === "unknown" }));
    halls = found.halls;
    lines = found.agent.map((agent, place) => ({
      place,
      agent,
      window: found.window[place],
      hallName: halls[found.hall[place]],
      number: found.number[place],
      text: `${halls[found.hall[place]]} ${found.number[place]} ${agent}/${found.window[place]} ${found.device[place]}`.toLowerCase(),
      state: found.state[place],
      words: found.words[place],
      ratings: found.ratings[place],
      last_s: found.last_s[place],
      oldest_s: found.oldest_s[place],
    }));
    took(found);
    tell.shown = "";
    live.hidden = false;
    document.getElementById("plain").hidden = true;
    rows.measure();
    arrange();
  }
  function took(found) {
    id = found.id;
    if (found.at_ms === at) return; // an answer that brings no later moment is no news
    at = found.at_ms;
    heard = performance.now();
    stale.hidden = true;
    put(seen, clock(at, true));
  }
  async function take(found) {
    if (found.again) return whole();
    let moved = false;
    for (const [place, state, said, ratings, last_s, oldest_s] of found.rows) {
      const line = lines[place];
      moved ||= line.state !== state || line.oldest_s !== oldest_s;
      Object.assign(line, { state, words: said, ratings, last_s, oldest_s });
    }
    for (const name of ["totals", "lists"])
      if (name in found) {
        const part = document.getElementById(name);
        part.innerHTML = found[name];
        stack(part);
      }
    took(found);
    // The ledger as a whole is counted less often where it is large.
    put(counted, found.at_ms - found.counted_ms > 5000 ? `${words.counted} ${clock(found.counted_ms, true)}` : "");
    if (found.rows.length) changed(moved);
  }
  function follow() {
    stream?.close();
    stream = new EventSource(`/board/stream?since=${id}`);
    stream.onmessage = (event) => take(JSON.parse(event.data)).catch(() => {});
    stream.onerror = () => {
      // Refused, and not merely broken off: then there is no room for another stream.
      if (stream.readyState === EventSource.CLOSED) stream = null;
    };
  }
  async function ask() {
    const answer = await fetch(`/board/changes?since=${id}`, { cache: "no-store" });
    if (answer.status === 401) location.reload(); // signed out, or too long without anything done: the sign-in page says so
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    await take(await answer.json());
  }
  let turn = 0;
  setInterval(() => {
    if (performance.now() - heard > QUIET_MS) {
      stale.hidden = false;
      put(document.getElementById("stale-since"), at ? `${words.since} ${clock(at, true)}` : "");
    }
    if (stream) return;
    if (!id) whole().then(follow, () => {});
    else ask().then(() => ++turn % 8 === 0 && follow(), () => {});
  }, ASK_MS);

  const nothing = document.createElement("p");
  nothing.className = "none";
  nothing.hidden = true;
  nothing.setAttribute("role", "status");
  nothing.textContent = words.nothing;
  live.append(box, nothing);
  const given = new URLSearchParams(location.search);
  for (const name of ["q", "sort"]) if (given.has(name)) find.elements[name].value = given.get(name);
  document.getElementById("show").hidden = true;
  whole().then(follow, () => {});
})();
