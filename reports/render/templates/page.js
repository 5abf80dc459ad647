"use strict";
const number = text => { const t = text.trim().replace("−", "-"); return t !== "" && t !== "–" && !isNaN(t) ? Number(t) : null; };
const compare = (a, b) => {
  const x = number(a), y = number(b);
  if (x !== null && y !== null) return x - y;
  return (x === null) - (y === null) || a.localeCompare(b, "en", { numeric: true });
};
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const read = id => { const block = document.getElementById(id); return block && JSON.parse(block.textContent); };

/* Headings become buttons; `sort(column, down)` puts the rows in order. */
function makeSortable(table, sort) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = element("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(column, down);
    });
  });
}

/* The rows that a query finds. All its words must match: whole cells where a cell is that word ("FT" is not "CAR-FT"),
   else beginnings of words, else any part of the row. */
const WORD = /[\s/,;:()=]+/;
function finder(rows) {
  const cells = rows.map(row => row.map(text => text.trim().toLowerCase()));
  const texts = cells.map(row => row.join(" ")), words = cells.map(row => row.flatMap(text => [text, ...text.split(WORD)]));
  const whole = new Set(cells.flat());
  return query => {
    const wanted = query.trim().toLowerCase(), asked = wanted.split(/\s+/).filter(Boolean), all = rows.map((_, k) => k);
    if (!asked.length) return all;
    const begins = (k, word) => words[k].some(other => other.startsWith(word));
    const ways = [
      k => cells[k].includes(wanted),
      k => asked.every(word => whole.has(word) ? cells[k].includes(word) : begins(k, word)),
      k => asked.every(word => begins(k, word)),
      k => asked.every(word => texts[k].includes(word)),
    ];
    for (const way of ways) { const found = all.filter(way); if (found.length) return found; }
    return [];
  };
}

/* A table whose rows are in the page. */
function inPage(table, input, count) {
  const body = table.tBodies[0], rows = [...body.rows], original = [...rows];
  const find = finder(rows.map(row => [...row.cells].map(cell => cell.textContent)));
  makeSortable(table, (column, down) => {
    const text = row => row.cells[column].textContent;
    rows.sort((a, b) => (down ? -1 : 1) * compare(text(a), text(b)));
    rows.forEach(row => row.classList.remove("first"));
    body.append(...rows);
  });
  const tell = () => { count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`; };
  input.addEventListener("input", () => {
    const found = new Set(find(input.value));
    original.forEach((row, k) => { row.hidden = !found.has(k); });
    tell();
  });
  tell();
}

/* A table whose rows are in a block of data: only one leaf of it is in the page at a time. */
const LEAF = 50;
function paged(table, data, input, count, pager, fill) {
  const body = table.tBodies[0], [back, forth] = pager.querySelectorAll("button");
  const find = finder(data.rows);
  let order = data.rows.map((_, k) => k), start = 0;
  let shown = order;
  const draw = () => {
    body.replaceChildren(...shown.slice(start, start + LEAF).map(k => {
      const row = element("tr");
      data.rows[k].forEach((text, column) => {
        const cell = column === 0 ? element("th", undefined, { scope: "row" }) : element("td", undefined, data.columns[column][1] ? { class: "r" } : {});
        if (!fill || !fill(cell, k, column)) cell.textContent = text;
        row.append(cell);
      });
      return row;
    }));
    const total = data.rows.length.toLocaleString("en"), last = Math.min(start + LEAF, shown.length);
    count.textContent = shown.length ? `${(start + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${shown.length.toLocaleString("en")}` +
      (shown.length < data.rows.length ? ` found among ${total}` : "") : `none of ${total}`;
    back.disabled = start === 0; forth.disabled = last >= shown.length;
  };
  const filter = () => { const found = new Set(find(input.value)); shown = order.filter(k => found.has(k)); start = 0; draw(); };
  makeSortable(table, (column, down) => {
    order = [...order].sort((a, b) => (down ? -1 : 1) * compare(data.rows[a][column], data.rows[b][column]));
    filter();
  });
  input.addEventListener("input", filter);
  back.addEventListener("click", () => { start = Math.max(0, start - LEAF); draw(); });
  forth.addEventListener("click", () => { start += LEAF; draw(); });
  filter();
}

/* One cell, with everything that is known of it. */
const cells = read("cells-data"), dialog = document.getElementById("cell");
const places = new Map(cells.rows.map((row, k) => [row[0], k]));
function openCell(id) {
  const k = places.get(id);
  if (k === undefined) return;
  const [command, setting, maker, metrics] = cells.details[k], row = cells.rows[k];
  dialog.querySelector("h2").textContent = `Cell ${id}`;
  const facts = dialog.querySelector("dl");
  const pairs = cells.columns.map(([name], column) => [name, row[column]]).slice(1, 6).filter(pair => pair[1] !== "");
  pairs.push(["setting", cells.settings[setting]], ["made with", cells.makers[maker]]);
  if (row[9]) pairs.push(["caution", row[9]]);
  facts.replaceChildren(...pairs.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  dialog.querySelector("pre").textContent = command;
  dialog.querySelector(".metrics").replaceChildren(...metrics.map(([name, value]) => {
    const item = element("li", cells.metrics[name]);
    item.append(element("span", value === null ? "–" : String(value).replace("-", "−")));
    return item;
  }));
  if (!dialog.open) dialog.showModal();
}
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.querySelector(".copy").addEventListener("click", () => {
  const range = document.createRange();
  range.selectNodeContents(dialog.querySelector("pre"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(range.toString()).catch(() => {});
});
dialog.addEventListener("close", () => { if (location.hash.startsWith("#cell-")) history.replaceState(null, "", location.pathname + location.search); });
const follow = () => {
  if (location.hash.startsWith("#cell-")) { openCell(location.hash.slice(6)); return; }
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", follow);

for (const table of document.querySelectorAll("table[data-table]")) {
  const name = table.dataset.table, near = document.querySelector(`.tools[data-for="${name}"]`);
  const input = near.querySelector("input"), count = near.querySelector("output"), data = read(`${name}-data`);
  if (!data) { inPage(table, input, count); continue; }
  paged(table, data, input, count, near, name !== "cells" ? null : (cell, k, column) => {
    if (column !== 0) return false;
    const link = element("button", data.rows[k][0], { type: "button", class: "link" });
    link.addEventListener("click", () => openCell(data.rows[k][0]));
    cell.append(link);
    return true;
  });
}
follow();

/* The plot: hover, arrow keys, and one task at a time. */
const plot = document.querySelector("svg.plot");
if (plot) {
  const said = document.getElementById("said"), pick = document.getElementById("pick"), points = [...plot.querySelectorAll(".point")];
  const say = point => { said.textContent = point.dataset.words; };
  for (const point of points) {
    point.addEventListener("mouseenter", () => say(point));
    point.addEventListener("focus", () => say(point));
    point.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const reachable = points.filter(other => !pick.value || other.dataset.task === pick.value);
      const next = reachable[(reachable.indexOf(point) + step + reachable.length) % reachable.length];
      points.forEach(other => other.setAttribute("tabindex", other === next ? "0" : "-1"));
      next.focus();
    });
  }
  pick.addEventListener("change", () => {
    plot.classList.toggle("picked", pick.value !== "");
    for (const mark of plot.querySelectorAll("[data-task]")) mark.classList.toggle("on", mark.dataset.task === pick.value);
    const first = points.find(point => !pick.value || point.dataset.task === pick.value);
    points.forEach(other => other.setAttribute("tabindex", other === first ? "0" : "-1"));
  });
}

/* Paper cannot be clicked: everything is open on it. */
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; closed.forEach(d => { d.open = true; }); });
addEventListener("afterprint", () => { closed.forEach(d => { d.open = false; }); });
